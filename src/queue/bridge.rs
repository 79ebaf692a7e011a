//! A queue whose messages are all in memory, as a checkpoint has it.

use super::machine::Queue;
use super::ready::Entry;
use crate::base::QueueId;
use crate::base::index::{IndexEntry, LaneState, QueueState};

impl Queue {
    /// All of it that is in the log, as it is now.
    pub fn snapshot(&self, queue: QueueId) -> QueueState {
        let mut lanes: Vec<LaneState> = Vec::new();
        let unacked = self.unacked().map(|entry| (entry, true));
        for (entry, delivered) in self
            .ready
            .entries()
            .map(|entry| (entry, false))
            .chain(unacked)
        {
            if !entry.pos.is_some() {
                continue;
            }
            let priority = entry.message.priority().min(self.options.max_priority);
            let at = lanes.iter().position(|lane| lane.priority == priority);
            let at = at.unwrap_or_else(|| {
                lanes.push(LaneState {
                    priority,
                    next_seq: self.next_seq,
                    ..LaneState::default()
                });
                lanes.len() - 1
            });
            if let Some(lane) = lanes.get_mut(at) {
                lane.loose
                    .push((entry.seq, index(entry, priority, delivered)));
            }
        }
        for lane in &mut lanes {
            lane.loose.sort_unstable_by_key(|(seq, _)| *seq);
        }
        QueueState { queue, lanes }
    }
}

fn index(entry: &Entry, priority: u8, delivered: bool) -> IndexEntry {
    IndexEntry {
        pos: entry.pos,
        stamped_ms: entry.stamped_ms,
        ttl_ms: entry.message.ttl_ms(),
        body_bytes: entry.message.body_len() as u32,
        failed_deliveries: entry.failed_deliveries,
        priority,
        redelivered: entry.redelivered || delivered,
    }
}
