//! Statistics: what the broker's parts have done, and how they stand.
//!
//! Owns the counts of connections, channels and exchanges, the totals, and the one sampler that
//! rates and charts come from. Queues count for themselves. Listings walk over snapshots and look at
//! one object at a time: nothing is locked over the whole, however much there is.

mod clients;
mod exchanges;
mod overview;
mod sampler;
mod views;

use std::sync::Arc;

use parking_lot::Mutex;

pub use clients::{
    ChannelCounts, ChannelStats, ConnectionDetails, ConnectionStats, OpenChannel, Traffic,
};
pub(super) use exchanges::ExchangeTally;
pub use exchanges::{ExchangeCounts, ExchangeStats};
pub use overview::{ObjectTotals, Overview, OverviewSample};
pub(super) use sampler::Course;
pub use views::QueueView;

use super::events::Events;
use crate::base::counter::SharedCounter;
use crate::queue::{QueueCounts, QueueKind};

/// Counts of the whole broker since it started.
#[derive(Default)]
pub struct BrokerCounters {
    /// Connections that logged in and opened a vhost.
    pub connections_opened: SharedCounter,
    /// Of these: ended.
    pub connections_closed: SharedCounter,
    /// Channels opened.
    pub channels_opened: SharedCounter,
    /// Channels closed, with their connection or before it.
    pub channels_closed: SharedCounter,
    /// queue.declare that succeeded, whether it created the queue or not; passive ones not.
    pub queues_declared: SharedCounter,
    /// Queues created.
    pub queues_created: SharedCounter,
    /// Queues deleted, by whatever cause.
    pub queues_deleted: SharedCounter,
    /// Logins that were let in.
    pub logins_succeeded: SharedCounter,
    /// Logins that were refused.
    pub logins_failed: SharedCounter,
}

/// What connections, channels and queues of a vhost had counted when they ended, and where they tell
/// that they do.
pub(super) struct Ended {
    pub(super) broker: Arc<BrokerCounters>,
    pub(super) events: Arc<Events>,
    pub(super) counts: Mutex<EndedCounts>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct EndedCounts {
    pub(super) traffic: Traffic,
    pub(super) channels: ChannelCounts,
    classic: QueueCounts,
    quorum: QueueCounts,
}

impl EndedCounts {
    /// Those of queues of a kind.
    pub(super) fn queues(&mut self, kind: QueueKind) -> &mut QueueCounts {
        match kind {
            QueueKind::Classic => &mut self.classic,
            QueueKind::Quorum => &mut self.quorum,
        }
    }
}

impl Ended {
    pub(super) fn new(broker: Arc<BrokerCounters>, events: Arc<Events>) -> Self {
        Ended {
            broker,
            events,
            counts: Mutex::default(),
        }
    }
}
