//! The octets of a connection: plain TCP, or TLS over it.

use crate::error::{Error, Result};
use rustix::net::RecvFlags;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

/// A connected socket. Reads and writes wait for as long as the socket's timeouts say.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<Tls>),
}

/// The state of TLS and the socket below it.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ClientConnection,
    socket: TcpStream,
}

impl Stream {
    /// Begins TLS; the handshake goes along with the first reads and writes.
    pub(crate) fn tls(socket: TcpStream, config: &Arc<ClientConfig>, host: &str) -> Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::Usage(format!("'{host}' is no name for a certificate")))?;
        let connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| Error::Io(io::Error::other(error)))?;
        Ok(Self::Tls(Box::new(Tls { connection, socket })))
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// Whether a read would find something without asking the socket.
    pub(crate) fn has_buffered(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls
                .connection
                .process_new_packets()
                .is_ok_and(|state| state.plaintext_bytes_to_read() > 0),
        }
    }

    /// Reads what comes.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(room),
            Self::Tls(tls) => tls.read(room, Wait::UntilTimeout),
        }
    }

    /// Reads what is there.
    pub(crate) fn read_now(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => receive_now(socket, room),
            Self::Tls(tls) => tls.read(room, Wait::Never),
        }
    }

    /// Writes as much as the peer takes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }
}

#[derive(Clone, Copy)]
enum Wait {
    UntilTimeout,
    Never,
}

/// A socket read through TLS.
struct Source<'a>(&'a TcpStream, Wait);

impl Read for Source<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.1 {
            Wait::UntilTimeout => self.0.read(room),
            Wait::Never => receive_now(self.0, room),
        }
    }
}

fn receive_now(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let (got, _) = rustix::net::recv(socket, room, RecvFlags::DONTWAIT)?;
    Ok(got)
}

impl Tls {
    fn read(&mut self, room: &mut [u8], wait: Wait) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.flush_if_taken()?;
            if self.connection.read_tls(&mut Source(&self.socket, wait))? == 0 {
                return Ok(0);
            }
            self.connection
                .process_new_packets()
                .map_err(io::Error::other)?;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What was taken over before must be gone, or it would pile up here.
        self.flush()?;
        let taken = self.connection.writer().write(bytes)?;
        self.flush_if_taken()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Flushes as far as the peer takes it; the rest goes with the next read or write.
    fn flush_if_taken(&mut self) -> io::Result<()> {
        match self.flush() {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(())
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust;
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{self, JoinHandle};
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

    /// Sends back what one client says; gives its own certificate as PEM.
    fn echo() -> (SocketAddr, String, JoinHandle<()>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let mut buffer = [0; 10_000];
            while let Ok(got @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..got]).is_err() {
                    break;
                }
            }
        });
        (address, own.cert.pem(), server)
    }

    fn client(address: SocketAddr, pem: Option<&str>) -> Stream {
        let file = tempfile::NamedTempFile::new().unwrap();
        if let Some(pem) = pem {
            std::fs::write(file.path(), pem).unwrap();
        }
        let config = trust::client_config(pem.map(|_| file.path())).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        Stream::tls(socket, &config, "localhost").unwrap()
    }

    #[test]
    fn tls_carries_what_is_written_both_ways() {
        for trusting in [true, false] {
            let (address, pem, server) = echo();
            let mut stream = client(address, trusting.then_some(&pem));
            let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
            let (mut written, mut got) = (0, Vec::new());
            let mut room = [0; 4096];
            while got.len() < sent.len() {
                if written < sent.len() {
                    let end = sent.len().min(written + 8000);
                    written += stream.write(&sent[written..end]).unwrap();
                }
                let count = match got.len() % 2 {
                    0 => stream.read(&mut room).unwrap(),
                    _ => stream.read_now(&mut room).unwrap_or(0),
                };
                got.extend_from_slice(&room[..count]);
            }
            assert!(got == sent);
            drop(stream);
            server.join().unwrap();
        }
    }

    #[test]
    fn tls_refuses_whom_it_was_not_told_to_trust() {
        let (address, _, server) = echo();
        let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut stream = client(address, Some(&stranger.cert.pem()));
        let error = stream.read(&mut [0; 10]).unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
        drop(stream);
        server.join().unwrap();
    }
}
