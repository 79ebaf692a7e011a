//! What a connection's task needs of a socket, whatever kind it is.
//!
//! Owns the trait, and the kinds that need nothing in between: TCP and Unix sockets. All are asked
//! whether they are ready, then tried; none waits while it reads or writes.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::base::Name;

/// An open stream of octets in both directions.
pub trait Stream: Send + Sync {
    /// Waits until one of the interests may succeed.
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> + Send;

    /// Reads once into the room that `buf` has. 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there.
    fn try_read(&mut self, buf: &mut BytesMut) -> io::Result<usize>;

    /// Writes some of `slices`.
    ///
    /// # Errors
    /// `WouldBlock` if nothing of it can be taken now.
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Octets in the socket that were not read yet.
    fn unread_bytes(&self) -> u64;

    /// Whether octets that were taken have not reached the socket yet.
    fn holds_back(&self) -> bool {
        false
    }

    /// Moves what is held back on, as far as the socket takes it.
    fn try_flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Says goodbye as the kind of stream has it; nothing is written after that.
    fn finish(&mut self) {}
}

/// Where a connection comes from, as its listener knows it.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client, or who a trusted proxy says it is. Of a Unix socket: loopback, port 0.
    pub peer: SocketAddr,
    /// What it connected to; as above.
    pub local: SocketAddr,
    /// When it was accepted: the handshake's deadline counts from here.
    pub accepted: Instant,
    /// Its TLS session, if there is one.
    pub tls: Option<TlsSession>,
}

impl Origin {
    /// Accepted just now, in the clear.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Origin {
            peer,
            local,
            accepted: Instant::now(),
            tls: None,
        }
    }
}

/// What a TLS handshake settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSession {
    /// `tlsv1.3` or `tlsv1.2`.
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: String,
    /// The user that the client's verified certificate names, where the configuration takes logins
    /// from it.
    pub user: Option<Name>,
}

/// Ends a `try_io` around a read of `count` octets into `room`. If they did not fill it the socket is
/// empty, and its readiness is withdrawn here, or the next read would only find that out. What has come
/// since `try_io` began stays noticed.
fn withdraw_if_empty(count: usize, room: usize) -> io::Result<()> {
    match count {
        1.. if count < room => Err(ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

impl Stream for TcpStream {
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        TcpStream::ready(self, interest).await
    }

    fn try_read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        let (room, mut read) = (buf.capacity() - buf.len(), None);
        let outcome = self.try_io(Interest::READABLE, || {
            let count = self.try_read_buf(buf)?;
            read = Some(count);
            withdraw_if_empty(count, room)
        });
        read.map_or_else(|| outcome.map(|()| 0), Ok)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }

    fn unread_bytes(&self) -> u64 {
        rustix::io::ioctl_fionread(self).unwrap_or(0)
    }
}

impl Stream for UnixStream {
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        UnixStream::ready(self, interest).await
    }

    fn try_read(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        let (room, mut read) = (buf.capacity() - buf.len(), None);
        let outcome = self.try_io(Interest::READABLE, || {
            let count = self.try_read_buf(buf)?;
            read = Some(count);
            withdraw_if_empty(count, room)
        });
        read.map_or_else(|| outcome.map(|()| 0), Ok)
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }

    fn unread_bytes(&self) -> u64 {
        rustix::io::ioctl_fionread(self).unwrap_or(0)
    }
}
