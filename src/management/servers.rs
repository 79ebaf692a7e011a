//! The servers of one broker: the API with its pages, and the metrics.
//!
//! Owns their start and end as one: bound early, so that a port in use is told at once; served from
//! when the broker is there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::local::LocalAccess;
use super::node::{Listening, Node};
use super::server::{HttpServer, HttpSettings, HttpThreads};
use super::{Context, metrics, routes};
use crate::broker::Broker;
use crate::config::{self, Config, InForce};
use crate::net;

/// Bound sockets, not yet served.
pub struct HttpServers {
    management: Option<Bound>,
    metrics: Option<Bound>,
    settings: config::Management,
}

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    fn bind(address: config::Address) -> Result<Option<Self>, (SocketAddr, io::Error)> {
        let Some(address) = address.get() else {
            return Ok(None);
        };
        let bind = || {
            let listener = net::listen(address)?;
            let address = listener.local_addr()?;
            Ok(Bound { listener, address })
        };
        bind().map(Some).map_err(|e| (address, e))
    }
}

impl HttpServers {
    /// Binds those that are not off; on failure says which address it was.
    pub fn bind(config: &Config) -> Result<Self, (SocketAddr, io::Error)> {
        Ok(HttpServers {
            management: Bound::bind(config.management.listen)?,
            metrics: Bound::bind(config.metrics.listen)?,
            settings: config.management.clone(),
        })
    }

    /// Serves. `others` are the sockets that listen for something else, by RabbitMQ's name of it.
    pub fn start(
        self,
        broker: Arc<Broker>,
        config: &InForce,
        others: impl Iterator<Item = (&'static str, SocketAddr)>,
    ) -> io::Result<Running> {
        let threads = HttpThreads::start()?;
        let listens = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.address);
        let own = [
            ("http", listens(&self.management)),
            ("http/prometheus", listens(&self.metrics)),
        ];
        let own = own
            .into_iter()
            .filter_map(|(name, address)| Some((name, address?)));
        let listening = others.chain(own);
        let listening = listening.map(|(protocol, address)| Listening { protocol, address });
        let data_dir = config.load().data_dir.clone();
        let local = match &self.management {
            Some(Bound { address, .. }) => {
                let prefix = &self.settings.path_prefix;
                let access = LocalAccess::open(&data_dir, *address, prefix)?;
                Some(Arc::new(access))
            }
            None => None,
        };
        let context = Context {
            broker,
            node: Arc::new(Node::new(data_dir, listening.collect())),
            config: Arc::clone(config),
            local,
        };
        let mut servers = Vec::new();
        if let Some(Bound { listener, address }) = self.management {
            info!(%address, "listening for HTTP");
            let settings = HttpSettings {
                prefix: self.settings.path_prefix,
                cors: Some(Arc::clone(config)),
            };
            let router = routes::api(context.clone());
            servers.push(HttpServer::start(&threads, listener, router, settings)?);
        }
        if let Some(Bound { listener, address }) = self.metrics {
            info!(%address, "listening for Prometheus");
            let router = metrics::routes(context);
            let settings = HttpSettings::default();
            servers.push(HttpServer::start(&threads, listener, router, settings)?);
        }
        Ok(Running { threads, servers })
    }
}

/// The servers while they serve.
pub struct Running {
    threads: HttpThreads,
    servers: Vec<HttpServer>,
}

impl Running {
    /// Stops accepting, lets requests end that are being answered, at most for `grace`, and ends the
    /// threads.
    pub async fn stop(self, grace: Duration) {
        for server in &self.servers {
            server.stop(grace).await;
        }
        self.threads.stop();
    }
}
