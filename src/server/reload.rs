//! SIGHUP: the settings are read again, and those change that can without a restart.
//!
//! Owns the order of it: first everything is read that could have a fault, so that a bad file changes nothing; then
//! each part is told; then the log says, setting by setting, what has changed and what waits for a restart.

use std::sync::Arc;

use tracing::{info, warn};

use crate::broker::Broker;
use crate::config::{Config, InForce};
use crate::net::{self, Connections, TlsRead};

/// Where settings come from: the command line, the environment and a file. And the log, which is set up before the
/// broker.
pub trait Source {
    /// Reads and checks them all.
    ///
    /// # Errors
    /// What is wrong, in one line.
    fn read(&self) -> Result<Config, String>;

    /// Has the log show what a filter that was read lets through.
    ///
    /// # Errors
    /// It can't be set.
    fn set_log(&self, filter: &str) -> Result<(), String>;
}

/// Who is told.
pub(super) struct Followers<'s> {
    pub(super) source: &'s dyn Source,
    pub(super) in_force: &'s InForce,
    pub(super) broker: &'s Broker,
    pub(super) connections: &'s Connections,
}

impl Followers<'_> {
    /// Reads the settings again.
    pub(super) fn reload(&self) {
        let before = self.in_force.load_full();
        let wanted = match self.source.read() {
            Ok(wanted) => wanted,
            Err(fault) => {
                warn!(%fault, "the settings stay as they are");
                // As far as these go the old ones are still good.
                return self.take_up(&before, self.read_tls(&before));
            }
        };
        let now = before.taking_up(&wanted);
        let tls = match self.connections.read_tls(&now) {
            Ok(tls) => tls,
            Err(fault) if now.tls != before.tls => {
                return warn!(%fault, "the settings stay as they are");
            }
            Err(fault) => {
                net::not_reloaded(&fault);
                None
            }
        };
        if now.log != before.log
            && let Err(fault) = self.source.set_log(&now.log)
        {
            return warn!(%fault, "the settings stay as they are");
        }
        self.take_up(&now, tls);
        let now = Arc::new(now);
        self.in_force.store(Arc::clone(&now));
        for change in before.changes(&now) {
            info!(setting = %change.key, before = %change.before, now = %change.after, "changed");
        }
        let waiting = now.changes(&wanted);
        for change in &waiting {
            warn!(
                setting = %change.key, now = %change.before, wanted = %change.after,
                "changes with the next start"
            );
        }
        info!(waiting = waiting.len(), "the settings were read again");
    }

    fn read_tls(&self, config: &Config) -> Option<TlsRead> {
        let read = self.connections.read_tls(config);
        read.inspect_err(net::not_reloaded).ok().flatten()
    }

    fn take_up(&self, config: &Config, tls: Option<TlsRead>) {
        self.broker.follow(config);
        self.connections.follow(config, tls);
    }
}
