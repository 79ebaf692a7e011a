//! The whole broker in one process: builds every part and owns the order in which they stop.
//!
//! Start: data directory, broker state, listeners. Stop: no new connections, 320 to the open ones,
//! then the log is closed, so that what a client was promised is on disk before the process ends.

mod reload;

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::amqp;
use crate::base::AmqpError;
use crate::base::limits::{SHUTDOWN_GRACE, SPANS_GRACE};
use crate::broker::definitions::{Progress, Scope};
use crate::broker::{Broker, INTERNAL_USER, OpenError};
use crate::config::{self, Config, Endpoint, InForce};
use crate::management::HttpServers;
use crate::net::{ListenError, Listeners};
use reload::Followers;
pub use reload::Source;

/// Why the broker did not start, or stopped on a fault; one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address can't be listened on, or its certificates can't be used.
    #[error("{fault}{hint}")]
    Listen {
        /// Which, and why.
        fault: ListenError,
        /// What to do about it.
        hint: String,
    },
    /// The data directory can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The definitions to start with can't be read, or have a fault.
    #[error("cannot import the definitions {path}: {reason}")]
    Definitions {
        /// The file.
        path: String,
        /// Why; where in it.
        reason: String,
    },
    /// The runtime or the signal handlers can't be set up.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// Runs the broker until SIGTERM or SIGINT. A second signal ends the process at once. SIGHUP has the settings read
/// from `source` again, which `config` came from.
pub fn run(config: Config, source: &dyn Source) -> Result<(), ServerError> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("warren-worker")
        .build()
        .map_err(ServerError::Runtime)?;
    runtime.block_on(serve(config, source))
}

async fn serve(config: Config, source: &dyn Source) -> Result<(), ServerError> {
    for caution in config.cautions() {
        warn!("{caution}");
    }
    let mut stop = StopSignal::new().map_err(ServerError::Runtime)?;
    survive_file_size_limit().map_err(ServerError::Runtime)?;
    // From now on it does not end the process; one that comes early waits until the broker serves.
    let mut hang_up = signal(SignalKind::hangup()).map_err(ServerError::Runtime)?;
    // Before recovery, which may take long: a port in use is told at once.
    let listeners = Listeners::bind(&config.listen, &config.tls)
        .map_err(|fault| listen_fault(fault, &config))?;
    let http = HttpServers::bind(&config).map_err(|(address, source)| {
        let address = Endpoint::Tcp(address);
        listen_fault(ListenError::Socket { address, source }, &config)
    })?;
    let broker = Arc::new(Broker::open(&config)?);
    load_definitions(&broker, &config.load_definitions)?;
    for (address, tls) in listeners.addresses() {
        match tls {
            false => info!(%address, "listening for AMQP 0-9-1"),
            true => info!(%address, "listening for AMQP 0-9-1 over TLS"),
        }
    }
    let amqp = listeners.addresses().filter_map(|(endpoint, tls)| {
        let protocol = if tls { "amqp/ssl" } else { "amqp" };
        match endpoint {
            Endpoint::Tcp(address) => Some((protocol, address)),
            Endpoint::Unix(_) => None,
        }
    });
    let settings = amqp::Settings::from(&config);
    let in_force: InForce = Arc::new(ArcSwap::from_pointee(config));
    let http = http
        .start(Arc::clone(&broker), &in_force, amqp)
        .map_err(ServerError::Runtime)?;
    let connections = listeners.accept(&broker, settings);
    let clock = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.keep_time().await }
    });
    let statistics = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.keep_statistics().await }
    });
    let resources = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.watch_resources().await }
    });
    let token_keys = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.keep_token_keys().await }
    });
    let events = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.publish_events().await }
    });
    let end_of_spans = CancellationToken::new();
    let mut spans = tokio::spawn({
        let (broker, stop) = (Arc::clone(&broker), end_of_spans.clone());
        async move { broker.export_spans(stop).await }
    });
    let followers = Followers {
        source,
        in_force: &in_force,
        broker: &broker,
        connections: &connections,
    };
    loop {
        tokio::select! {
            () = stop.received() => break info!("stopping"),
            fault = broker.failed() => break warn!(%fault, "stopping: the log has failed"),
            Some(()) = hang_up.recv() => tokio::task::block_in_place(|| followers.reload()),
        }
    }
    tokio::spawn(async move {
        stop.received().await;
        warn!("second signal: ending at once");
        std::process::exit(1);
    });
    connections.stop_accepting().await;
    http.stop(SHUTDOWN_GRACE).await;
    broker.close_connections(&AmqpError::shutdown());
    if !connections.finished(SHUTDOWN_GRACE).await {
        warn!("some connections did not close in time and were cut off");
    }
    for task in [clock, statistics, resources, token_keys, events] {
        task.abort();
        let _ = task.await;
    }
    let closed = tokio::task::block_in_place(|| broker.close());
    end_of_spans.cancel();
    if timeout(SPANS_GRACE, &mut spans).await.is_err() {
        spans.abort();
        let _ = spans.await;
        warn!("some spans were not exported in time and are lost");
    }
    closed?;
    info!("stopped");
    Ok(())
}

fn listen_fault(fault: ListenError, config: &Config) -> ServerError {
    let hint = match &fault {
        ListenError::Socket { address, source } => match (source.kind(), address) {
            (io::ErrorKind::AddrInUse, _) => {
                let flag = flag_of(address, config);
                format!(" (is another broker running? choose another with {flag})")
            }
            (io::ErrorKind::PermissionDenied, Endpoint::Tcp(_)) => {
                " (ports below 1024 need privileges)".to_owned()
            }
            _ => String::new(),
        },
        ListenError::Tls(_) => String::new(),
    };
    ServerError::Listen { fault, hint }
}

/// The flag by which an address was chosen. One that was chosen twice is in use when it is bound the second time:
/// that is the last of these, which are in the order of binding.
fn flag_of(address: &Endpoint, config: &Config) -> &'static str {
    let is_http = |chosen: config::Address| match address {
        Endpoint::Tcp(address) => chosen.get() == Some(*address),
        Endpoint::Unix(_) => false,
    };
    if is_http(config.metrics.listen) {
        return "--metrics";
    }
    if is_http(config.management.listen) {
        return "--management";
    }
    match config.tls.listen.iter().any(|listen| listen.at == *address) {
        true => "--tls-listen",
        false => "--listen",
    }
}

/// Imports the definitions that the configuration names, before any client connects.
fn load_definitions(broker: &Broker, path: &Path) -> Result<(), ServerError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let fault = |reason: &dyn std::fmt::Display| ServerError::Definitions {
        path: path.display().to_string(),
        reason: reason.to_string(),
    };
    let json = std::fs::read(path).map_err(|e| fault(&e))?;
    let mut tell = |progress: Progress| {
        info!(
            done = progress.done,
            total = progress.total,
            "importing definitions"
        );
    };
    let imported = broker.import_definitions(&json, &Scope::Broker, INTERNAL_USER, &mut tell);
    imported.map(drop).map_err(|e| fault(&e))
}

/// Each connection is a file; the soft limit of many systems is 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            warn!(error = %e, "cannot raise the limit of open files");
        }
    }
}

/// A write past the limit on the size of files (RLIMIT_FSIZE) raises SIGXFSZ, which kills without a
/// word. With a handler the write fails instead, as on a full disk, and the log says so. The
/// handler stays when its receiver is dropped.
fn survive_file_size_limit() -> io::Result<()> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop)
}

struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn new() -> io::Result<Self> {
        Ok(StopSignal {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
