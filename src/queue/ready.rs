//! The messages of a queue that wait for a consumer, in the order in which they will go out.
//!
//! Owns order by priority and then by sequence number, and expiry wherever a message stands. Never
//! decides who gets a message.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use crate::base::LogPos;
use crate::message::Message;

/// When a message that does not expire would.
pub(super) const NEVER_MS: u64 = u64::MAX;

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
    /// When it was accepted, in ms since 1970.
    pub(super) stamped_ms: u64,
    /// When it expires, in ms since 1970.
    pub(super) expires_at_ms: u64,
    /// It expires before the queue's own time to live would have it, so not in the queue's order.
    pub(super) early: bool,
    /// Whether it was delivered before.
    pub(super) redelivered: bool,
    /// Deliveries that failed (A6.14).
    pub(super) failed_deliveries: u32,
}

/// A place in a lane: its sequence number, and the message unless it expired out of turn.
type Place = (u64, Option<Entry>);

/// The messages of one priority. The first place is never empty.
#[derive(Debug, Default)]
struct Lane {
    places: VecDeque<Place>,
    empty_places: usize,
}

/// Ready messages. Priority 0 has a lane of its own; one for a higher priority exists only while it
/// holds something, so unused levels cost nothing.
#[derive(Debug, Default)]
pub(super) struct Ready {
    max_priority: u8,
    base: Lane,
    /// Lanes of priority 1 and up, none of them empty.
    lanes: BTreeMap<u8, Lane>,
    /// Messages that came back, by their places. Apart from the lanes, so that the return of many
    /// moves nothing of a backlog.
    returned: BTreeMap<(Reverse<u8>, u64), Entry>,
    /// Early ones: when they expire, their lane, their number.
    early: BTreeSet<(u64, u8, u64)>,
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

    /// Octets of the ready bodies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A new message, whose sequence number must be the highest so far.
    pub(super) fn push(&mut self, entry: Entry) {
        let level = self.count(&entry);
        match level {
            0 => self.base.push(entry),
            level => self.lanes.entry(level).or_default().push(entry),
        }
    }

    /// A message that comes back to the place its sequence number gives it (A4.12).
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        // It is not in a lane, whose order would say when it expires.
        entry.early = entry.expires_at_ms != NEVER_MS;
        let level = self.count(&entry);
        self.returned.insert((Reverse(level), entry.seq), entry);
    }

    /// The next message: highest priority first, then first come (A7.11).
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let (level, entry) = match self.is_returned_first() {
            true => self
                .returned
                .pop_first()
                .map(|((level, _), entry)| (level.0, entry)),
            false => {
                let level = self.lanes.last_key_value().map_or(0, |(&level, _)| level);
                self.pop_lane(level).map(|entry| (level, entry))
            }
        }?;
        self.forget(&entry, level);
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
        lane.places
            .front()
            .is_none_or(|&(first, _)| returned < (Reverse(level), first))
    }

    /// When the first message expires; [`NEVER_MS`] if none does.
    pub(super) fn next_expiry_ms(&self) -> u64 {
        let early = self.early.first().map_or(NEVER_MS, |&(at_ms, ..)| at_ms);
        // In a lane all others expire in the order they stand in.
        let lanes = std::iter::once(&self.base).chain(self.lanes.values());
        lanes.map(Lane::first_expiry_ms).fold(early, u64::min)
    }

    /// Takes a message out whose time has come by `now_ms`.
    pub(super) fn pop_expired(&mut self, now_ms: u64) -> Option<Entry> {
        while let Some(&(at_ms, level, seq)) = self.early.first()
            && at_ms <= now_ms
        {
            let entry = self.take(level, seq);
            self.early.pop_first();
            if let Some(entry) = entry {
                self.forget(&entry, level);
                return Some(entry);
            }
        }
        let due = |lane: &Lane| lane.first_expiry_ms() <= now_ms;
        let level = match due(&self.base) {
            true => 0,
            false => self
                .lanes
                .iter()
                .find(|(_, lane)| due(lane))
                .map(|(&level, _)| level)?,
        };
        let entry = self.pop_lane(level)?;
        self.forget(&entry, level);
        Some(entry)
    }

    /// Copies messages from number `first` on, which have just come and found no taker, out of the
    /// read buffers that they are slices of: one that stays must not hold all that was read with it.
    pub(super) fn settle_from(&mut self, first: u64) {
        let mut arena = BytesMut::new();
        let mut moved = Vec::new();
        let lanes = std::iter::once(&mut self.base).chain(self.lanes.values_mut());
        for lane in lanes {
            let new = lane
                .places
                .iter_mut()
                .rev()
                .take_while(|(seq, _)| *seq >= first);
            for entry in new.filter_map(|(_, entry)| entry.as_mut()) {
                let at = entry.message.settle(&mut arena);
                moved.extend(at.map(|at| (&mut entry.message, at)));
            }
        }
        let arena = arena.freeze();
        for (message, at) in moved {
            *message = message.settled_in(&arena, at);
        }
    }

    /// Those without a priority that have not been delivered.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Message> {
        let entries = self
            .base
            .places
            .iter()
            .filter_map(|(_, entry)| entry.as_ref());
        entries.map(|entry| &entry.message)
    }

    /// All of them, in no particular order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let lanes = std::iter::once(&self.base).chain(self.lanes.values());
        let fresh =
            lanes.flat_map(|lane| lane.places.iter().filter_map(|(_, entry)| entry.as_ref()));
        fresh.chain(self.returned.values())
    }

    /// Places for messages without a priority.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.base.places.capacity()
    }

    /// Empties it, giving memory back; in no particular order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Entry> + use<> {
        let all = std::mem::replace(self, Ready::new(self.max_priority));
        let lanes = all.lanes.into_values().chain([all.base]);
        let fresh = lanes.flat_map(|mut lane| std::iter::from_fn(move || lane.pop()));
        fresh.chain(all.returned.into_values())
    }

    fn pop_lane(&mut self, level: u8) -> Option<Entry> {
        if level == 0 {
            return self.base.pop();
        }
        let lane = self.lanes.get_mut(&level)?;
        let entry = lane.pop();
        if lane.places.is_empty() {
            self.lanes.remove(&level);
        }
        entry
    }

    /// Takes one out from wherever it stands.
    fn take(&mut self, level: u8, seq: u64) -> Option<Entry> {
        if let Some(entry) = self.returned.remove(&(Reverse(level), seq)) {
            return Some(entry);
        }
        if level == 0 {
            return self.base.remove(seq);
        }
        let lane = self.lanes.get_mut(&level)?;
        let entry = lane.remove(seq);
        if lane.places.is_empty() {
            self.lanes.remove(&level);
        }
        entry
    }

    /// Counts it in. Its level.
    fn count(&mut self, entry: &Entry) -> u8 {
        self.len += 1;
        self.bytes += entry.message.body_len();
        let level = entry.message.priority().min(self.max_priority);
        if entry.early {
            self.early.insert((entry.expires_at_ms, level, entry.seq));
        }
        level
    }

    fn forget(&mut self, entry: &Entry, level: u8) {
        self.len -= 1;
        self.bytes -= entry.message.body_len();
        if entry.early {
            self.early.remove(&(entry.expires_at_ms, level, entry.seq));
        }
    }
}

impl Lane {
    fn push(&mut self, entry: Entry) {
        self.places.push_back((entry.seq, Some(entry)));
    }

    fn pop(&mut self) -> Option<Entry> {
        let (_, entry) = self.places.pop_front()?;
        self.trim();
        if self.places.is_empty() && self.places.capacity() > KEPT_MAX {
            self.places = VecDeque::new();
        }
        entry
    }

    fn first_expiry_ms(&self) -> u64 {
        let first = self.places.front().and_then(|(_, entry)| entry.as_ref());
        first.map_or(NEVER_MS, |entry| entry.expires_at_ms)
    }

    /// Takes one out of the middle. Its place stays until as many are empty as are not, so that
    /// taking many out costs no more than walking over them.
    fn remove(&mut self, seq: u64) -> Option<Entry> {
        let at = self.places.partition_point(|(other, _)| *other < seq);
        let (found, place) = self.places.get_mut(at)?;
        if *found != seq {
            return None;
        }
        let entry = place.take()?;
        self.empty_places += 1;
        self.trim();
        if self.empty_places * 2 > self.places.len() {
            self.places.retain(|(_, entry)| entry.is_some());
            self.places.shrink_to(self.places.len() * 2);
            self.empty_places = 0;
        }
        Some(entry)
    }

    fn trim(&mut self) {
        while self
            .places
            .front()
            .is_some_and(|(_, entry)| entry.is_none())
        {
            self.places.pop_front();
            self.empty_places -= 1;
        }
    }
}
