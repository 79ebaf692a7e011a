//! What recovery found, until the broker has taken it.
//!
//! Owns the hand-over of queue states to those queues that exist.

use std::collections::BTreeMap;

use crate::base::QueueId;
use crate::base::index::QueueState;

use super::catalogue::{Row, Table};
use super::log::Log;
use super::unranked::Unranked;

/// What the data directory held. Look at the catalogue first, then take the queues with
/// [`Recovered::restore`].
pub struct Recovered {
    /// The catalogue's rows, ordered by key.
    pub rows: BTreeMap<Table, Vec<Row>>,
    /// The broker was shut down in order. Otherwise every message may have been delivered before, and
    /// says so.
    pub clean: bool,
    /// The highest queue id in any record that was replayed: new ids must be higher than this and
    /// than those in the catalogue.
    pub highest_queue_id: QueueId,
    pub(crate) queues: Vec<Unranked>,
    pub(crate) log: Log,
}

/// What [`Recovered::restore`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Messages handed over, counted once a queue.
    pub messages: u64,
    /// Messages dropped because their queue does not exist.
    pub dropped: u64,
}

impl Recovered {
    /// Whether any queue, known or not, holds a message.
    pub fn holds_messages(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Hands every queue's state to `visit`. `max_priority` is the highest priority of a queue, or
    /// `None` if it does not exist: what it held is released. Numbers are given anew, dense in each
    /// lane. Reads nothing.
    pub fn restore(
        self,
        mut max_priority: impl FnMut(QueueId) -> Option<u8>,
        mut visit: impl FnMut(QueueState),
    ) -> Restored {
        let mut restored = Restored::default();
        for queue in self.queues {
            match max_priority(queue.queue) {
                Some(max_priority) => {
                    restored.messages += queue.len();
                    visit(queue.state(max_priority));
                }
                None => {
                    restored.dropped += queue.len();
                    queue.held(|segment, count| self.log.release_many(segment, count));
                }
            }
        }
        restored
    }
}
