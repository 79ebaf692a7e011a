//! The messages of a queue that wait for a consumer, in the order in which they will go out.
//!
//! Owns order by priority and then by sequence number. Never decides who gets a message.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crate::base::LogPos;
use crate::message::Message;

/// Most places that an empty queue keeps for messages to come. A backlog's memory is given back when
/// it is gone.
pub(super) const KEPT_MAX: usize = 1024;

/// A message with its place in a queue.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its place: assigned at publish, kept through requeue (A4.12).
    pub(super) seq: u64,
    /// Its publish record, or [`LogPos::NONE`] if it is only in memory.
    pub(super) pos: LogPos,
    /// The message itself.
    pub(super) message: Message,
    /// Whether it was delivered before.
    pub(super) redelivered: bool,
}

/// Ready messages. Priority 0 has a plain ring; a lane for a higher priority exists only while it
/// holds something, so unused levels cost nothing.
#[derive(Debug, Default)]
pub(super) struct Ready {
    max_priority: u8,
    base: VecDeque<Entry>,
    /// Lanes of priority 1 and up, none of them empty.
    lanes: BTreeMap<u8, VecDeque<Entry>>,
    /// Messages that came back, by their places. Apart from the lanes, so that the return of many
    /// moves nothing of a backlog.
    returned: BTreeMap<(Reverse<u8>, u64), Entry>,
    len: usize,
    bytes: usize,
}

impl Ready {
    /// `max_priority` 0 means an ordinary queue that ignores priorities.
    pub(super) fn new(max_priority: u8) -> Self {
        Ready {
            max_priority,
            ..Ready::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets of the ready messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new message, whose sequence number must be the highest so far.
    pub(super) fn push(&mut self, entry: Entry) {
        self.count(&entry);
        self.lane(&entry).push_back(entry);
    }

    /// A message that comes back to the place its sequence number gives it (A4.12).
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.count(&entry);
        let place = (Reverse(self.level(&entry)), entry.seq);
        self.returned.insert(place, entry);
    }

    /// The next message: highest priority first, then first come (A7.11).
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = match self.is_returned_first() {
            true => self.returned.pop_first().map(|(_, entry)| entry),
            false => self.pop_lane(),
        }?;
        self.len -= 1;
        self.bytes -= entry.message.size();
        Some(entry)
    }

    fn is_returned_first(&self) -> bool {
        let Some((&returned, _)) = self.returned.first_key_value() else {
            return false;
        };
        let (level, lane) = match self.lanes.last_key_value() {
            Some((&level, lane)) => (level, lane),
            None => (0, &self.base),
        };
        lane.front()
            .is_none_or(|first| returned < (Reverse(level), first.seq))
    }

    fn pop_lane(&mut self) -> Option<Entry> {
        let Some(mut lane) = self.lanes.last_entry() else {
            let entry = self.base.pop_front();
            if self.base.is_empty() && self.base.capacity() > KEPT_MAX {
                self.base = VecDeque::new();
            }
            return entry;
        };
        let entry = lane.get_mut().pop_front();
        if lane.get().is_empty() {
            lane.remove();
        }
        entry
    }

    /// Places for messages without a priority.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.base.capacity()
    }

    /// All of them, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let fresh = self.base.iter().chain(self.lanes.values().flatten());
        fresh.chain(self.returned.values())
    }

    /// Empties it, giving memory back; in no particular order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Entry> + use<> {
        let all = std::mem::replace(self, Ready::new(self.max_priority));
        let fresh = all.lanes.into_values().flatten().chain(all.base);
        fresh.chain(all.returned.into_values())
    }

    fn count(&mut self, entry: &Entry) {
        self.len += 1;
        self.bytes += entry.message.size();
    }

    fn lane(&mut self, entry: &Entry) -> &mut VecDeque<Entry> {
        match self.level(entry) {
            0 => &mut self.base,
            level => self.lanes.entry(level).or_default(),
        }
    }

    fn level(&self, entry: &Entry) -> u8 {
        entry.message.priority().min(self.max_priority)
    }
}
