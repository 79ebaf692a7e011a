//! AMQP 0-9-1: handshake, connection and channel.
//!
//! Owns the protocol's state machines and the task that runs one connection. `Connection` is
//! synchronous: octets and the time go in, octets come out in its `OutBuffer`; [`serve`] is the
//! thin shell with the socket and the timers. What other tasks have for a connection comes through
//! its `Outbox`. Work that one read brought is done as one batch: one flush of each channel's
//! publishes, one settling of its acks, one write.
//!
//! Never decides what a queue or an exchange does; the broker does.

mod assembly;
#[cfg(test)]
mod assembly_tests;
mod channel;
mod channels;
mod checks;
mod commands;
mod confirms;
mod connection;
mod delivery;
mod detached;
mod handshake;
mod ledger;
mod link;
mod newcomers;
mod out_buffer;
mod outbox;
#[cfg(test)]
mod outbox_tests;
mod patience;
mod replies;
mod reply_to;
mod session;
#[cfg(test)]
mod session_tests;
mod stamps;
mod stream;
mod task;
mod transaction;

use std::time::Duration;

pub use checks::{compose, visible_properties};
use connection::Connection;
pub use detached::Detached;
pub use newcomers::{Newcomer, Newcomers};
use out_buffer::OutBuffer;
use stamps::Stamps;
pub use stream::{Origin, Stream, TlsSession};
pub use task::serve;

use crate::config::{Config, Throttle};

/// What connections are offered and held to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest frame, in octets.
    pub frame_max_bytes: u32,
    /// Most channels open at a time.
    pub channel_max: u16,
    /// Suggested heartbeat; 0 is none.
    pub heartbeat_s: u16,
    /// From accept to connection.open.
    pub handshake_timeout: Duration,
    /// Largest message body, in octets.
    pub max_message_bytes: u64,
    /// Most consumers on one channel.
    pub consumers_per_channel: Option<u64>,
    /// How fast strangers may come.
    pub throttle: Throttle,
    /// How long a consumer of a quorum queue may take to settle a delivery, unless told otherwise; 0 is for
    /// ever (A6.13).
    pub consumer_timeout_ms: u64,
    /// That a consumer is late closes its channel, and the limit holds for every type of queue, as before 4.3.
    pub consumer_timeout_closes_channel: bool,
    /// What is noted in messages as they come.
    stamps: Option<Stamps>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Settings {
            frame_max_bytes: config.amqp.frame_max_bytes,
            channel_max: config.amqp.channel_max,
            heartbeat_s: config.amqp.heartbeat_s,
            handshake_timeout: Duration::from_secs(config.amqp.handshake_timeout_s),
            max_message_bytes: config.amqp.max_message_bytes,
            throttle: config.throttle.clone(),
            consumers_per_channel: u64::try_from(config.limits.consumers_per_channel).ok(),
            consumer_timeout_ms: config.amqp.consumer_timeout_ms,
            consumer_timeout_closes_channel: config.amqp.consumer_timeout_closes_channel,
            stamps: Stamps::new(config.interceptors),
        }
    }
}
