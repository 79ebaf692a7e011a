//! The node as the API and the metrics show it: its name, where it listens, and how many files its
//! process has open. Memory and disk are measured for the alarms.
//!
//! Owns the reading of `/proc`; a figure that cannot be read is absent, never made up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::{Resource, getrlimit};

use crate::base::host;

/// A listening socket.
#[derive(Debug, Clone)]
pub(super) struct Listening {
    /// RabbitMQ's name of the protocol, such as `amqp`.
    pub(super) protocol: &'static str,
    /// Where.
    pub(super) address: SocketAddr,
}

/// What does not change while the broker runs.
pub(super) struct Node {
    name: String,
    started: Instant,
    /// Every socket that listens.
    pub(super) listening: Vec<Listening>,
    /// The data directory.
    pub(super) data_dir: PathBuf,
}

impl Node {
    /// This node, on this machine, from now on.
    pub(super) fn new(data_dir: PathBuf, listening: Vec<Listening>) -> Self {
        Node {
            name: host::node_name(),
            started: Instant::now(),
            listening,
            data_dir,
        }
    }

    /// Its name, `warren@host`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Milliseconds since the start.
    pub(super) fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the system says of this process now.
pub(super) struct Process {
    /// Open files, sockets included.
    pub(super) open_files: Option<u64>,
    /// Open sockets.
    pub(super) open_sockets: Option<u64>,
    /// Most files that may be open.
    pub(super) files_max: Option<u64>,
}

impl Process {
    pub(super) fn now() -> Self {
        let (open_files, open_sockets) = descriptors().unzip();
        Process {
            open_files,
            open_sockets,
            files_max: getrlimit(Resource::Nofile).current,
        }
    }
}

fn descriptors() -> Option<(u64, u64)> {
    let mut open = 0;
    let mut sockets = 0;
    for entry in std::fs::read_dir("/proc/self/fd").ok()?.flatten() {
        open += 1;
        let leads_to = std::fs::read_link(entry.path()).unwrap_or_default();
        sockets += u64::from(leads_to.to_string_lossy().starts_with("socket:"));
    }
    Some((open, sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_asked() {
        let process = Process::now();
        let open = process.open_files.unwrap();
        assert!(open >= 3 && open >= process.open_sockets.unwrap());
        assert!(process.files_max.unwrap() >= open);
        let node = Node::new(".".into(), vec![]);
        assert!(node.name().starts_with("warren@") && node.name().len() > 7);
    }
}
