//! A TLS connection as a [`Stream`]: asked whether it is ready, then tried.
//!
//! Owns the session and what was read and not decrypted yet. One read of the socket takes as much
//! as one in the clear would, and is decrypted whole.

use std::io::{self, ErrorKind, IoSlice, Write};

use bytes::{Buf, BytesMut};
use tokio::io::{Interest, Ready};
use tokio_rustls::rustls::ServerConnection;

use crate::amqp::Stream;
use crate::base::limits::READ_MIN_BYTES;

/// What encryption adds to the largest read: some 30 octets to each record of 16 KiB.
const READ_OVERHEAD: usize = 512;

/// See the module.
pub(in crate::net) struct TlsStream<S> {
    socket: S,
    session: ServerConnection,
    /// Read from the socket, not decrypted yet.
    sealed: BytesMut,
    /// The handshake may have brought more than itself, which no readiness of the socket will tell.
    unlooked: bool,
}

impl<S: Stream> TlsStream<S> {
    /// After the handshake.
    pub(super) fn new(socket: S, session: ServerConnection) -> Self {
        TlsStream {
            socket,
            session,
            sealed: BytesMut::new(),
            unlooked: true,
        }
    }

    /// Moves what is decrypted to `buf`.
    fn take_decrypted(&mut self, buf: &mut BytesMut) -> io::Result<()> {
        use std::io::BufRead;
        let mut reader = self.session.reader();
        loop {
            match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(chunk) => {
                    buf.extend_from_slice(chunk);
                    let len = chunk.len();
                    reader.consume(len);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// Decrypts all whole records that were read. Whether the client has said goodbye.
    fn decrypt(&mut self, buf: &mut BytesMut) -> io::Result<bool> {
        loop {
            let mut octets: &[u8] = &self.sealed;
            let taken = self.session.read_tls(&mut octets)?;
            self.sealed.advance(taken);
            let state = match self.session.process_new_packets() {
                Ok(state) => state,
                Err(fault) => {
                    // The alert tells the client; whether it arrives changes nothing.
                    let _ = self.try_flush();
                    return Err(io::Error::new(ErrorKind::InvalidData, fault));
                }
            };
            self.take_decrypted(buf)?;
            if state.peer_has_closed() || self.sealed.is_empty() {
                self.sealed = BytesMut::new();
                return Ok(state.peer_has_closed());
            }
        }
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        if self.unlooked && interest.is_readable() {
            return Ok(Ready::READABLE);
        }
        self.socket.ready(interest).await
    }

    fn try_read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        let before = buf.len();
        if std::mem::take(&mut self.unlooked) {
            self.take_decrypted(buf)?;
            if buf.len() > before {
                return Ok(buf.len() - before);
            }
        }
        let room = (buf.capacity() - buf.len()).max(READ_MIN_BYTES);
        self.sealed.reserve(room + READ_OVERHEAD);
        if self.socket.try_read(&mut self.sealed)? == 0 {
            return Ok(0);
        }
        let closed = self.decrypt(buf)?;
        match buf.len() - before {
            0 if !closed => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.session.writer().write_vectored(slices)?;
        self.try_flush()?;
        match count {
            // Its buffer is full, and the socket as well.
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn unread_bytes(&self) -> u64 {
        self.socket.unread_bytes()
    }

    fn holds_back(&self) -> bool {
        self.session.wants_write()
    }

    fn try_flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Sealed(&mut self.socket)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.session.send_close_notify();
        // The client may be gone, or not read any more.
        let _ = self.try_flush();
    }
}

/// The socket as rustls wants to write to it.
struct Sealed<'s, S>(&'s mut S);

impl<S: Stream> Write for Sealed<'_, S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.try_write(&[IoSlice::new(octets)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
