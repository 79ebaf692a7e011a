//! The broker that scenarios are played to, and what an operator does to it meanwhile.
//!
//! Owns the alarm of a RabbitMQ; that of Warren is in `broker`.

use std::net::SocketAddr;
use std::process::Command;

/// A broker that plays.
pub(crate) trait Peer: Sync {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// Raises or ends its memory alarm; returns when it has taken that up.
    fn set_alarm(&self, on: bool);
}

/// A RabbitMQ that runs already.
pub(crate) struct RabbitMq {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its `rabbitmqctl`, with the words that make it find the node.
    pub(crate) tool: String,
}

impl Peer for RabbitMq {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn set_alarm(&self, on: bool) {
        // Of what the node uses, any part is more than nothing; 0.4 is the default of 3.10.
        let watermark = if on { "0" } else { "0.4" };
        let mut words = self.tool.split_whitespace();
        let done = Command::new(words.next().unwrap())
            .args(words)
            .args(["set_vm_memory_high_watermark", watermark])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {said}", self.tool);
    }
}
