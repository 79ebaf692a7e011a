//! Listening sockets: TCP and Unix.
//!
//! Owns how they are bound, and the file of a Unix socket, which goes with it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Endpoint;

/// Connections the kernel keeps until they are accepted: a storm of reconnects must fit.
const BACKLOG: i32 = 4096;

/// A bound socket that connections come from.
pub(super) enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixSocket),
}

/// A Unix socket and its file.
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

/// A connection just accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Socket {
    pub(super) fn bind(address: &Endpoint) -> io::Result<Self> {
        match address {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::from_std(listen(*address)?)?;
                let actual = listener.local_addr()?;
                Ok(Socket::Tcp(listener, actual))
            }
            Endpoint::Unix(path) => {
                remove_stale(path)?;
                Ok(Socket::Unix(UnixSocket {
                    listener: UnixListener::bind(path)?,
                    path: path.clone(),
                }))
            }
        }
    }

    /// Where it listens; port 0 has become a real one.
    pub(super) fn address(&self) -> Endpoint {
        match self {
            Socket::Tcp(_, address) => Endpoint::Tcp(*address),
            Socket::Unix(socket) => Endpoint::Unix(socket.path.clone()),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Socket::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, peer))
            }
            Socket::Unix(socket) => Ok(Accepted::Unix(socket.listener.accept().await?.0)),
        }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Whoever tidied up before us did what we want.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A listening socket that does not block, for any runtime.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A broker that was killed leaves its socket's file. One that answers is another broker's.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = |found: std::fs::Metadata| found.file_type().is_socket();
    if !std::fs::symlink_metadata(path).is_ok_and(is_socket) {
        // Nothing there, or what binding will complain about.
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_file_of_a_killed_broker_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let address = Endpoint::Unix(path.clone());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&address).unwrap();
        let second = Socket::bind(&address).err().map(|e| e.kind());
        assert_eq!(second, Some(ErrorKind::AddrInUse));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert!(Socket::bind(&Endpoint::Unix(path.clone())).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
    }
}
