//! Listeners: from an address to a connection's task.
//!
//! Owns the sockets that accept, and the set of connection tasks, which it joins at the end. Never
//! looks at what is sent.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::amqp;
use crate::broker::Broker;

/// Connections the kernel keeps until they are accepted: a storm of reconnects must fit.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept (out of files, say), so that it does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Bound sockets, not yet accepting.
pub struct Listeners(Vec<(SocketAddr, TcpListener)>);

impl Listeners {
    /// Binds them all; on failure says which address it was.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, (SocketAddr, io::Error)> {
        let bound = addresses.iter().map(|&address| {
            let listener = listen(address).and_then(TcpListener::from_std);
            let listener = listener.map_err(|e| (address, e))?;
            let actual = listener.local_addr().map_err(|e| (address, e))?;
            Ok((actual, listener))
        });
        bound.collect::<Result<_, _>>().map(Listeners)
    }

    /// Where they listen; port 0 has become a real one.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|&(address, _)| address)
    }

    /// Begins to accept.
    pub fn accept(self, broker: Arc<Broker>, settings: Arc<amqp::Settings>) -> Connections {
        let connections = Connections {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            listeners: TaskTracker::new(),
        };
        for (address, listener) in self.0 {
            let (stop, tasks) = (connections.stop.clone(), connections.tasks.clone());
            let (broker, settings) = (Arc::clone(&broker), Arc::clone(&settings));
            connections.listeners.spawn(async move {
                let accepting = accept_all(address, listener, &tasks, &broker, &settings);
                stop.run_until_cancelled(accepting).await;
            });
        }
        connections
    }
}

/// The running listeners and their connections.
pub struct Connections {
    stop: CancellationToken,
    tasks: TaskTracker,
    listeners: TaskTracker,
}

impl Connections {
    /// Closes the listening sockets. When it returns no further connection begins.
    pub async fn stop_accepting(&self) {
        self.stop.cancel();
        self.listeners.close();
        self.listeners.wait().await;
        self.tasks.close();
    }

    /// Waits until all connections have ended, at most for `grace`. Whether they have.
    pub async fn finished(&self, grace: Duration) -> bool {
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}

/// A listening socket that does not block, for any runtime.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept_all(
    address: SocketAddr,
    listener: TcpListener,
    tasks: &TaskTracker,
    broker: &Arc<Broker>,
    settings: &Arc<amqp::Settings>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(e) = stream.set_nodelay(true) {
                    debug!(%peer, error = %e, "gone before it began");
                    continue;
                }
                let (broker, settings) = (Arc::clone(broker), Arc::clone(settings));
                tasks.spawn(amqp::serve(stream, peer, address, broker, settings));
            }
            Err(e) => {
                warn!(%address, error = %e, "cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
