//! Lists of what there is, for whoever shows it.
//!
//! Owns how an object is looked at. Each call copies what is shown of one object under its own lock.

use std::sync::Arc;

use super::{ChannelStats, ConnectionStats, ExchangeStats};
use crate::base::history::Sample;
use crate::base::{AmqpError, ConnectionId, Name};
use crate::broker::Broker;
use crate::broker::vhost::Vhost;
use crate::queue::{ConsumerInfo, QueueCounts, QueueRef, QueueSample};

/// A queue as it stands.
#[derive(Debug, Clone)]
pub struct QueueView {
    /// What it was declared as; its history is behind its lock.
    pub queue: QueueRef,
    /// Messages that wait.
    pub ready: u64,
    /// Octets of their bodies.
    pub ready_bytes: u64,
    /// Messages that are out.
    pub unacked: u64,
    /// Octets of their bodies.
    pub unacked_bytes: u64,
    /// Consumers.
    pub consumers: usize,
    /// Whom a single-active queue serves (A6.5).
    pub single_active: Option<ConsumerInfo>,
    /// The consumer that is the only one allowed (A6.6).
    pub exclusive: Option<ConsumerInfo>,
    /// What it has done.
    pub counts: QueueCounts,
    /// What rates are made of, once two samples were taken.
    pub recent: Option<[Sample<QueueSample>; 2]>,
    /// Since when it has been as it is, in ms since 1970 and as exact as the sampler; `None` if it
    /// has changed since the last sample, or if none was taken.
    pub idle_since_ms: Option<u64>,
}

impl QueueView {
    /// Looks at a queue.
    pub fn of(queue: &QueueRef) -> Self {
        let state = queue.lock();
        let tally = state.tally();
        let recent = tally.history().and_then(|history| history.last_two());
        let counts = tally.counts();
        let now = QueueSample {
            ready: state.ready_len() as u64,
            unacked: state.unacked_len() as u64,
            counts,
        };
        let (since_ms, seen) = tally.seen();
        let single_active = match state.options().single_active {
            true => state.consumers().find(|consumer| consumer.active),
            false => None,
        };
        QueueView {
            queue: queue.clone(),
            ready: now.ready,
            ready_bytes: state.ready_bytes() as u64,
            unacked: now.unacked,
            unacked_bytes: tally.unacked_bytes(),
            consumers: state.consumers_len(),
            single_active,
            exclusive: state.consumers().find(|consumer| consumer.exclusive),
            counts,
            recent,
            idle_since_ms: (since_ms > 0 && seen == now).then_some(since_ms),
        }
    }
}

impl Vhost {
    /// The queue of a name, whoever may use it.
    pub fn queue_named(&self, name: &[u8]) -> Option<QueueRef> {
        self.topology().queues.get(name).cloned()
    }

    /// All its queues, in no particular order.
    pub fn queues(&self) -> Vec<QueueRef> {
        self.topology().queues.values().cloned().collect()
    }

    /// Consumers of a queue.
    pub fn consumers(&self, queue: &QueueRef) -> Vec<ConsumerInfo> {
        queue.lock().consumers().collect()
    }

    /// The counts of an exchange; the default one has the empty name.
    pub fn exchange_stats(&self, name: &Name) -> Arc<ExchangeStats> {
        let found = self
            .exchange_stats
            .get(name)
            .map(|stats| Arc::clone(&stats));
        found.unwrap_or_else(|| Arc::clone(&self.exchange_stats.entry(name.clone()).or_default()))
    }
}

impl Broker {
    /// The connections that are open, in the order they came.
    pub fn connections(&self) -> Vec<Arc<ConnectionStats>> {
        let open = |stats: &Arc<ConnectionStats>| stats.details().is_some();
        let all = self
            .connections
            .iter()
            .map(|entry| Arc::clone(&entry.stats));
        let mut found: Vec<_> = all.filter(open).collect();
        found.sort_by_key(|stats| stats.id());
        found
    }

    /// An open connection.
    pub fn connection(&self, id: ConnectionId) -> Option<Arc<ConnectionStats>> {
        let stats = Arc::clone(&self.connections.get(&id)?.stats);
        stats.details().is_some().then_some(stats)
    }

    /// An open connection by RabbitMQ's name of it.
    pub fn connection_named(&self, name: &str) -> Option<Arc<ConnectionStats>> {
        let mut all = self.connections.iter();
        let found = all.find(|e| e.stats.details().is_some() && e.stats.name() == name);
        found.map(|entry| Arc::clone(&entry.stats))
    }

    /// The open channels, each with its connection.
    pub fn channels(&self) -> Vec<(Arc<ConnectionStats>, Arc<ChannelStats>)> {
        let of_one = |connection: Arc<ConnectionStats>| {
            let channels = connection.channels().into_iter();
            channels.map(move |channel| (Arc::clone(&connection), channel))
        };
        self.connections().into_iter().flat_map(of_one).collect()
    }

    /// Has a connection close for the operator's `reason` (320). Whether there was one.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let Some(handle) = self.connections.get(&id).map(|e| Arc::clone(&e.handle)) else {
            return false;
        };
        handle.close(AmqpError::forced(reason));
        true
    }

    /// Has all open connections close that are `chosen`. How many there were.
    pub fn close_connections_where(
        &self,
        chosen: impl Fn(&ConnectionStats) -> bool,
        reason: &str,
    ) -> usize {
        let connections = self.connections().into_iter();
        let doomed = connections.filter(|connection| chosen(connection));
        doomed
            .filter(|connection| self.close_connection(connection.id(), reason))
            .count()
    }
}
