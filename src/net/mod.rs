//! Listeners: from an address to a connection's task.
//!
//! Owns the sockets that accept, what stands before AMQP on a connection (who may connect, the
//! PROXY protocol, TLS), and the set of connection tasks, which it joins at the end. Never looks at
//! what is sent after that.

mod gate;
mod proxy;
mod socket;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::amqp::{self, Newcomers};
use crate::broker::Broker;
use crate::config::{self, Config, Endpoint, Listen};
use gate::Gate;
use socket::Socket;
pub use socket::listen;
use tls::Tls;
pub use tls::{CertificateEnds, TlsError, TlsRead, certificate_ends, not_reloaded};

/// Pause after a failed accept (out of files, say), so that it does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Bound sockets, not yet accepting.
pub struct Listeners {
    sockets: Vec<(Socket, Arc<Gate>)>,
    tls: Option<Arc<Tls>>,
}

/// Why a listener can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be listened on.
    #[error("cannot listen on {address}: {source}")]
    Socket {
        /// The address.
        address: Endpoint,
        /// The system's reason.
        source: io::Error,
    },
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Listeners {
    /// Reads the certificates and binds all sockets; on failure says which it was.
    pub fn bind(plain: &[Listen], tls: &config::Tls) -> Result<Self, ListenError> {
        let session = match tls.listen.is_empty() {
            true => None,
            false => Some(Arc::new(Tls::load(tls)?)),
        };
        let clear = plain.iter().map(|listen| (listen, None));
        let sealed = tls.listen.iter().map(|listen| (listen, session.clone()));
        let bound = clear.chain(sealed).map(|(listen, tls)| {
            let socket = Socket::bind(&listen.at).map_err(|source| ListenError::Socket {
                address: listen.at.clone(),
                source,
            })?;
            Ok((socket, Arc::new(Gate::new(listen, tls))))
        });
        Ok(Listeners {
            sockets: bound.collect::<Result<_, ListenError>>()?,
            tls: session,
        })
    }

    /// Where they listen, and whether it is TLS that is spoken there.
    pub fn addresses(&self) -> impl Iterator<Item = (Endpoint, bool)> {
        let shown = |(socket, gate): &(Socket, Arc<Gate>)| (socket.address(), gate.has_tls());
        self.sockets.iter().map(shown)
    }

    /// Begins to accept.
    pub fn accept(self, broker: &Arc<Broker>, settings: amqp::Settings) -> Connections {
        let newcomers = Newcomers::new(settings.throttle.clone());
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let connections = Connections {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            listeners: TaskTracker::new(),
            gates: self
                .sockets
                .iter()
                .map(|(_, gate)| Arc::clone(gate))
                .collect(),
            newcomers: Arc::clone(&newcomers),
            settings: Arc::clone(&settings),
            tls: self.tls.clone(),
        };
        for (socket, gate) in self.sockets {
            let newcomers = Arc::clone(&newcomers);
            let (stop, tasks) = (connections.stop.clone(), connections.tasks.clone());
            let (broker, settings) = (Arc::clone(broker), Arc::clone(&settings));
            connections.listeners.spawn(async move {
                let accepting = accept_all(&socket, &gate, &newcomers, &tasks, &broker, &settings);
                stop.run_until_cancelled(accepting).await;
            });
        }
        if let Some(tls) = self.tls {
            let stop = connections.stop.clone();
            connections.listeners.spawn(async move {
                stop.run_until_cancelled(tls.keep_fresh()).await;
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
    /// Those of the listeners in the clear, then those over TLS.
    gates: Vec<Arc<Gate>>,
    newcomers: Arc<Newcomers>,
    settings: Arc<ArcSwap<amqp::Settings>>,
    tls: Option<Arc<Tls>>,
}

impl Connections {
    /// Reads the certificates that `config` names, for [`Self::follow`]. `None` without a TLS listener.
    ///
    /// # Errors
    /// They can't be used.
    pub fn read_tls(&self, config: &Config) -> Result<Option<TlsRead>, TlsError> {
        let read = self.tls.as_ref().map(|tls| tls.read(&config.tls));
        read.transpose()
    }

    /// Goes by other settings from now on; connections that are open keep theirs. The listeners must be those that
    /// are there.
    pub fn follow(&self, config: &Config, tls: Option<TlsRead>) {
        let listeners = config.listen.iter().chain(&config.tls.listen);
        for (gate, listen) in self.gates.iter().zip(listeners) {
            gate.allow(listen.allow.clone());
        }
        self.newcomers.set_rules(config.throttle.clone());
        self.settings.store(Arc::new(amqp::Settings::from(config)));
        if let (Some(current), Some(read)) = (&self.tls, tls) {
            current.replace(read);
        }
    }

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

async fn accept_all(
    socket: &Socket,
    gate: &Arc<Gate>,
    newcomers: &Arc<Newcomers>,
    tasks: &TaskTracker,
    broker: &Arc<Broker>,
    settings: &ArcSwap<amqp::Settings>,
) {
    let address = socket.address();
    loop {
        match socket.accept().await {
            Ok(accepted) => {
                let settings = settings.load_full();
                gate.admit(accepted, &address, newcomers, tasks, broker, settings);
            }
            Err(e) => {
                warn!(%address, error = %e, "cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
