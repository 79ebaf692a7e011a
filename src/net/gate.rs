//! What a connection passes between accept and AMQP.
//!
//! Owns the order of it: may this address connect here, who does the proxy say it is, TLS. All of
//! it runs in the connection's own task and counts against the handshake's deadline.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use super::proxy;
use super::socket::Accepted;
use super::tls::Tls;
use crate::amqp::{self, Newcomer, Newcomers, Origin, Stream};
use crate::broker::Broker;
use crate::config::{Endpoint, Listen};

/// What holds for the connections of one listener.
pub(super) struct Gate {
    proxy_protocol: bool,
    allow: ArcSwap<Vec<IpNet>>,
    tls: Option<Arc<Tls>>,
}

/// What the protocol needs.
struct Next {
    broker: Arc<Broker>,
    settings: Arc<amqp::Settings>,
}

/// Both ends of a Unix socket's connection: it comes from this machine.
const THIS_MACHINE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Gate {
    pub(super) fn new(listen: &Listen, tls: Option<Arc<Tls>>) -> Self {
        Gate {
            proxy_protocol: listen.proxy_protocol,
            allow: ArcSwap::from_pointee(listen.allow.clone()),
            tls,
        }
    }

    /// Lets connect who is in `networks` from now on.
    pub(super) fn allow(&self, networks: Vec<IpNet>) {
        self.allow.store(Arc::new(networks));
    }

    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Gives a connection that was just accepted its task, or drops it.
    pub(super) fn admit(
        self: &Arc<Self>,
        accepted: Accepted,
        listener: &Endpoint,
        newcomers: &Arc<Newcomers>,
        tasks: &TaskTracker,
        broker: &Arc<Broker>,
        settings: Arc<amqp::Settings>,
    ) {
        let broker = Arc::clone(broker);
        let gate = Arc::clone(self);
        match accepted {
            Accepted::Tcp(stream, peer) => {
                if !self.allows(peer) {
                    info!(%peer, %listener, "not in a network that may connect here");
                    return;
                }
                // Whom a proxy comes for is not known yet.
                let newcomer = match self.proxy_protocol {
                    true => Ok(Newcomer::exempt()),
                    false => newcomers.admit(peer.ip(), Instant::now()),
                };
                let Ok(newcomer) = newcomer else {
                    return;
                };
                let ready = stream.set_nodelay(true).and_then(|()| stream.local_addr());
                match ready {
                    Ok(local) => {
                        let origin = Origin::new(peer, local);
                        let newcomers = Arc::clone(newcomers);
                        let next = Next { broker, settings };
                        tasks.spawn(gate.serve(stream, origin, newcomer, newcomers, next));
                    }
                    Err(e) => debug!(%peer, error = %e, "gone before it began"),
                }
            }
            Accepted::Unix(stream) => {
                let origin = Origin::new(THIS_MACHINE, THIS_MACHINE);
                let (newcomer, newcomers) = (Newcomer::exempt(), Arc::clone(newcomers));
                let next = Next { broker, settings };
                tasks.spawn(gate.serve(stream, origin, newcomer, newcomers, next));
            }
        }
    }

    fn allows(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        let allow = self.allow.load();
        allow.is_empty() || allow.iter().any(|network| network.contains(&ip))
    }

    async fn serve<S>(
        self: Arc<Self>,
        mut stream: S,
        mut origin: Origin,
        mut newcomer: Newcomer,
        newcomers: Arc<Newcomers>,
        next: Next,
    ) where
        S: Stream + AsyncRead + AsyncWrite + Unpin,
    {
        let Next { broker, settings } = next;
        let deadline = origin.accepted + settings.handshake_timeout;
        if self.proxy_protocol {
            match in_time(deadline, &newcomer, proxy::read(&mut stream)).await {
                Ok(None) => {}
                Ok(Some((peer, local))) => {
                    (origin.peer, origin.local) = (peer, local);
                    newcomer = match newcomers.admit(peer.ip(), Instant::now()) {
                        Ok(newcomer) => newcomer,
                        Err(_) => return,
                    };
                }
                Err(e) => return info!(peer = %origin.peer, error = %e, "no PROXY header"),
            }
        }
        let turn = async {
            newcomer.turn().await;
            Ok(())
        };
        if in_time(deadline, &newcomer, turn).await.is_err() {
            return;
        }
        let Some(tls) = &self.tls else {
            return amqp::serve(stream, origin, newcomer, broker, settings).await;
        };
        // Boxed, or the task of every connection in the clear would be as large as one with TLS.
        match in_time(deadline, &newcomer, Box::pin(tls.accept(stream))).await {
            Ok((stream, session)) => {
                origin.tls = Some(session);
                Box::pin(amqp::serve(stream, origin, newcomer, broker, settings)).await;
            }
            Err(e) => info!(peer = %origin.peer, error = %e, "TLS handshake failed"),
        }
    }
}

/// A step of what comes before AMQP, as long as there is time and nobody else needs the room.
async fn in_time<T>(
    deadline: Instant,
    newcomer: &Newcomer,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let timed_out = |what| Err(io::Error::new(io::ErrorKind::TimedOut, what));
    tokio::select! {
        biased;
        done = timeout_at(deadline, step) => match done {
            Ok(done) => done,
            Err(_) => timed_out("not in time"),
        },
        () = newcomer.evicted() => timed_out("made room for others"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_networks_named_may_connect() {
        let listen = |allow: &[&str]| Listen {
            allow: allow.iter().map(|n| n.parse().unwrap()).collect(),
            ..Endpoint::Tcp(THIS_MACHINE).into()
        };
        let allows = |allow: &[&str], peer: &str| {
            Gate::new(&listen(allow), None).allows(SocketAddr::new(peer.parse().unwrap(), 1))
        };
        assert!(allows(&[], "192.0.2.1"));
        let networks = ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"];
        for peer in ["10.255.0.1", "::ffff:10.0.0.1", "192.0.2.7", "fd12::1"] {
            assert!(allows(&networks, peer), "{peer}");
        }
        for peer in ["11.0.0.1", "192.0.2.8", "fe80::1", "::1"] {
            assert!(!allows(&networks, peer), "{peer}");
        }
    }
}
