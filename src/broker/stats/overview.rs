//! Sums over the whole broker or one vhost.
//!
//! Owns what is summed up. A sum looks at each queue and channel in turn, at queues without their locks.

use std::sync::Arc;

use super::{ChannelCounts, EndedCounts, Traffic};
use crate::base::history::History;
use crate::broker::Broker;
use crate::broker::vhost::Vhost;
use crate::queue::{QueueCounts, QueueKind, QueueRef};

/// How a vhost or the whole broker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OverviewSample {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that are out.
    pub unacked: u64,
    /// Octets read and written.
    pub traffic: Traffic,
    /// What channels did.
    pub channels: ChannelCounts,
}

impl OverviewSample {
    /// Adds a queue. How many consumers it has.
    pub(super) fn add_queue(&mut self, queue: &QueueRef) -> usize {
        let levels = queue.levels();
        self.ready += levels.ready();
        self.unacked += levels.unacked();
        usize::try_from(levels.consumers()).unwrap_or(usize::MAX)
    }

    fn add_ended(&mut self, ended: &EndedCounts) {
        self.traffic += ended.traffic;
        self.channels += ended.channels;
    }

    /// Adds another vhost's.
    pub(super) fn add(&mut self, other: &OverviewSample) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.traffic += other.traffic;
        self.channels += other.channels;
    }

    /// What connections and channels of a vhost did, also those that have ended.
    pub(super) fn of_clients(broker: &Broker, vhost: &Vhost) -> Self {
        let mut sum = OverviewSample::default();
        sum.add_ended(&vhost.ended.counts.lock());
        for connection in broker.connections() {
            if connection
                .details()
                .is_some_and(|d| d.vhost == *vhost.name())
            {
                sum.traffic += connection.traffic();
                for channel in connection.channels() {
                    sum.channels += channel.counts();
                }
            }
        }
        sum
    }
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectTotals {
    /// Open connections.
    pub connections: usize,
    /// Open channels.
    pub channels: usize,
    /// Exchanges, the default ones included.
    pub exchanges: usize,
    /// Queues.
    pub queues: usize,
    /// Consumers.
    pub consumers: usize,
    /// Bindings, but for those to the default exchange.
    pub bindings: usize,
}

/// The whole broker.
#[derive(Debug, Clone)]
pub struct Overview {
    /// How it stands.
    pub now: OverviewSample,
    /// How many there are.
    pub objects: ObjectTotals,
    /// How it stood before.
    pub history: History<OverviewSample>,
}

impl Broker {
    /// Sums over everything.
    pub fn overview(&self) -> Overview {
        let mut now = OverviewSample::default();
        let mut objects = ObjectTotals::default();
        for vhost in self.vhosts() {
            now.add(&self.vhost_sample(&vhost, &mut objects));
        }
        let connections = self.connections();
        objects.connections = connections.len();
        objects.channels = connections.iter().map(|c| c.channels_len()).sum();
        Overview {
            now,
            objects,
            history: self.course.node(),
        }
    }

    /// Sums over a vhost.
    pub fn vhost_overview(&self, vhost: &Vhost) -> Overview {
        let mut objects = ObjectTotals::default();
        let now = self.vhost_sample(vhost, &mut objects);
        for connection in self.connections() {
            if connection
                .details()
                .is_some_and(|d| d.vhost == *vhost.name())
            {
                objects.connections += 1;
                objects.channels += connection.channels_len();
            }
        }
        Overview {
            now,
            objects,
            history: self.course.vhost(vhost.name()),
        }
    }

    /// What all queues of a kind did, also those that were deleted. Takes the lock of each.
    pub fn queue_counts(&self, kind: QueueKind) -> QueueCounts {
        let mut sum = QueueCounts::default();
        for vhost in self.vhosts() {
            sum += *vhost.ended.counts.lock().queues(kind);
            let topology = vhost.topology();
            let queues = topology.queues.values();
            for queue in queues.filter(|q| q.kind == kind && q.levels().is_used()) {
                sum += queue.lock().tally().counts();
            }
        }
        sum
    }

    fn vhost_sample(&self, vhost: &Vhost, objects: &mut ObjectTotals) -> OverviewSample {
        let mut now = OverviewSample::of_clients(self, vhost);
        let topology = vhost.topology();
        for queue in topology.queues.values() {
            objects.consumers += now.add_queue(queue);
        }
        objects.queues += topology.queues.len();
        objects.exchanges += topology.graph.exchange_count() + 1;
        objects.bindings += topology.graph.binding_count();
        now
    }

    /// All vhosts, in the order of their names.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut all: Vec<_> = self.vhosts.load().values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }
}
