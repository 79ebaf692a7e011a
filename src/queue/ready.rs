//! The messages of a queue that wait for a consumer, in the order in which they will go out.
//!
//! Owns order by priority and then by sequence number, and expiry wherever a message stands. Never
//! decides who gets a message. What is on disk only is loaded in `load` and written in `paging`.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::entry::{Entry, NEVER_MS, Spot};
use super::lane::{Lane, Taken, Window, spot_in_page};
use crate::base::LogPos;
use crate::base::index::{IndexEntry, PageState};
use crate::base::limits::QUEUE_WINDOW_BYTES;
use crate::message::Message;

/// Ready messages. Priority 0 has a lane of its own; one for a higher priority exists only while it
/// holds something, so unused levels cost nothing.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) max_priority: u8,
    /// The queue's own time to live.
    pub(super) ttl_ms: Option<u64>,
    pub(super) window: Window,
    pub(super) base: Lane,
    /// Lanes of priority 1 and up, none of them empty.
    pub(super) lanes: BTreeMap<u8, Lane>,
    /// Messages that came back, by their places. Apart from the lanes, so that the return of many
    /// moves nothing of a backlog.
    pub(super) returned: BTreeMap<Spot, Entry>,
    /// Octets of those returned that are in memory whole.
    pub(super) returned_octets: usize,
    pub(super) returned_on_disk: usize,
    /// When those expire that a lane's order does not tell of, also in pages; their records and the
    /// octets of their bodies, so that nothing must be read when they do.
    early: BTreeMap<(u64, Spot), (LogPos, u32)>,
    /// What could not be read: neither ready nor gone.
    pub(super) aside: Aside,
    len: usize,
    bytes: usize,
}

/// Messages whose octets are damaged.
#[derive(Debug, Default)]
pub(super) struct Aside {
    pub(super) entries: Vec<Entry>,
    pub(super) pages: Vec<(u8, PageState)>,
}

/// All that was in it.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) entries: Vec<Entry>,
    pub(super) pages: Vec<PageState>,
}

impl Default for Ready {
    fn default() -> Self {
        Ready::new(0, None)
    }
}

impl Ready {
    /// `max_priority` 0 means an ordinary queue that ignores priorities.
    pub(super) fn new(max_priority: u8, ttl_ms: Option<u64>) -> Self {
        Ready {
            max_priority,
            ttl_ms,
            window: Window {
                octets: QUEUE_WINDOW_BYTES,
                page_len: crate::base::index::PAGE_LEN,
            },
            base: Lane::default(),
            lanes: BTreeMap::new(),
            returned: BTreeMap::new(),
            returned_octets: 0,
            returned_on_disk: 0,
            early: BTreeMap::new(),
            aside: Aside::default(),
            len: 0,
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Octets of the ready bodies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Another time to live of the queue, for all that are in it.
    pub(super) fn set_ttl(&mut self, ttl_ms: Option<u64>) {
        let before_ms = std::mem::replace(&mut self.ttl_ms, ttl_ms);
        for entry in self.returned.values() {
            let (old_ms, new_ms) = (entry.expiry_ms(before_ms), entry.expiry_ms(ttl_ms));
            self.early.remove(&(old_ms, entry.spot));
            if new_ms != NEVER_MS {
                let known = (entry.pos, entry.body_bytes);
                self.early.insert((new_ms, entry.spot), known);
            }
        }
    }

    /// A new message, whose sequence number must be the highest so far.
    pub(super) fn push(&mut self, entry: Entry) {
        self.count(&entry, entry.own_expiry_ms);
        let window = self.window_of_lane();
        self.lane_mut(entry.spot.level()).push(entry, window);
    }

    /// The part of the window that a lane may fill now: all lanes have one together. One that filled more
    /// of it while it was alone keeps that until it is consumed, so that n of them hold 1 + 1/2 + … + 1/n
    /// windows at the most.
    fn window_of_lane(&self) -> Window {
        Window {
            octets: self.window.octets / (self.lanes.len() + 1),
            ..self.window
        }
    }

    /// A message that comes back to the place its sequence number gives it (A4.12).
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        // It is not in a lane, whose order would say when it expires.
        self.count(&entry, entry.expiry_ms(self.ttl_ms));
        if entry.pos.is_some() && self.returned_octets >= self.window.octets {
            entry.message = None;
        }
        self.count_returned(&entry);
        self.returned.insert(entry.spot, entry);
    }

    /// Whether [`Self::pop`] has a message.
    pub(super) fn has_next(&self) -> bool {
        self.front().is_some_and(|entry| entry.message.is_some())
    }

    /// The next message: highest priority first, then first come (A7.11). `None` also if that must
    /// be read first.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        match self.has_next() {
            true => self.pop_any(),
            false => None,
        }
    }

    /// As [`Self::pop`], also one that is on disk only; `None` if it is in a page.
    pub(super) fn pop_any(&mut self) -> Option<Entry> {
        if self.is_returned_first() {
            let (_, entry) = self.returned.pop_first()?;
            self.uncount_returned(&entry);
            self.forget(&entry, entry.expiry_ms(self.ttl_ms));
            return Some(entry);
        }
        let level = self.lanes.last_key_value().map_or(0, |(&level, _)| level);
        self.pop_lane(level)
    }

    /// The next message, unless that is in a page.
    fn front(&self) -> Option<&Entry> {
        match self.is_returned_first() {
            true => self.returned.first_key_value().map(|(_, entry)| entry),
            false => self.top().1.front(),
        }
    }

    /// The page that the next message is in.
    pub(super) fn front_page(&self) -> Option<&PageState> {
        match self.is_returned_first() {
            true => None,
            false => self.top().1.front_page(),
        }
    }

    pub(super) fn is_returned_first(&self) -> bool {
        let Some((&returned, _)) = self.returned.first_key_value() else {
            return false;
        };
        let (level, lane) = self.top();
        lane.first_seq()
            .is_none_or(|seq| returned < Spot::new(level, seq))
    }

    /// The highest lane with messages.
    fn top(&self) -> (u8, &Lane) {
        match self.lanes.last_key_value() {
            Some((&level, lane)) => (level, lane),
            None => (0, &self.base),
        }
    }

    /// Lanes by priority, the highest first.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (u8, &Lane)> {
        let lanes = self.lanes.iter().rev().map(|(&level, lane)| (level, lane));
        lanes.chain([(0, &self.base)])
    }

    pub(super) fn lanes_mut(&mut self) -> impl Iterator<Item = (u8, &mut Lane)> {
        let lanes = self.lanes.iter_mut().rev();
        let lanes = lanes.map(|(&level, lane)| (level, lane));
        lanes.chain([(0, &mut self.base)])
    }

    pub(super) fn lane_mut(&mut self, level: u8) -> &mut Lane {
        match level {
            0 => &mut self.base,
            level => self.lanes.entry(level).or_default(),
        }
    }

    /// When the first message expires that has not by `now_ms`; [`NEVER_MS`] if none does.
    pub(super) fn next_expiry_ms(&self, now_ms: u64) -> u64 {
        let early = self.early.first_key_value();
        let early = early.map_or(NEVER_MS, |(&(at_ms, _), _)| at_ms);
        // In a lane all others expire in the order they stand in.
        let lanes = self.lanes().map(|(_, lane)| {
            let front = lane.front().map(|entry| entry.queue_expiry_ms(self.ttl_ms));
            front.unwrap_or_else(|| match self.page_expiry_ms(lane) {
                // To be read first.
                at_ms if at_ms <= now_ms => NEVER_MS,
                at_ms => at_ms,
            })
        });
        lanes.fold(early, u64::min)
    }

    /// When the first message expires of the page that is first in a lane.
    fn page_expiry_ms(&self, lane: &Lane) -> u64 {
        match (lane.front_page(), self.ttl_ms) {
            (Some(page), Some(ttl_ms)) => page.first_stamped_ms.saturating_add(ttl_ms),
            _ => NEVER_MS,
        }
    }

    /// The first page of some lane, if its time has come: it must be read to know whose.
    pub(super) fn due_page(&self, now_ms: u64) -> Option<LogPos> {
        self.ttl_ms?;
        let mut due = self.lanes().map(|(_, lane)| lane);
        let lane = due.find(|lane| self.page_expiry_ms(lane) <= now_ms)?;
        lane.front_page().map(|page| page.pos)
    }

    /// Takes a message out whose time has come by `now_ms`. A page that this empties is added to
    /// `emptied`.
    pub(super) fn pop_expired(&mut self, now_ms: u64, emptied: &mut Vec<LogPos>) -> Option<Entry> {
        while let Some(first) = self.early.first_entry()
            && first.key().0 <= now_ms
        {
            let ((at_ms, spot), (pos, body_bytes)) = first.remove_entry();
            if let Some(entry) = self.take(spot, pos, body_bytes, at_ms, emptied) {
                self.len -= 1;
                self.bytes -= entry.body_bytes as usize;
                return Some(entry);
            }
        }
        let ttl_ms = self.ttl_ms;
        ttl_ms?;
        let due = |lane: &Lane| {
            let front = lane.front();
            front.is_some_and(|entry| entry.queue_expiry_ms(ttl_ms) <= now_ms)
        };
        let level = self.lanes().find(|(_, lane)| due(lane))?.0;
        self.pop_lane(level)
    }

    /// Copies messages from number `first` on, which have just come and found no taker, out of the
    /// read buffers that they are slices of: one that stays must not hold all that was read with it.
    pub(super) fn settle_from(&mut self, first: u64) {
        let mut arena = BytesMut::new();
        let mut moved = Vec::new();
        for (_, lane) in self.lanes_mut() {
            let new = lane.newest_mut(first);
            for message in new.filter_map(|entry| entry.message.as_mut()) {
                let at = message.settle(&mut arena);
                moved.extend(at.map(|at| (message, at)));
            }
        }
        let arena = arena.freeze();
        for (message, at) in moved {
            *message = message.settled_in(&arena, at);
        }
    }

    /// Those without a priority that have not been delivered and are in memory whole.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Message> {
        let entries = self.base.entries();
        entries.filter_map(|entry| entry.message.as_ref())
    }

    /// Places for messages without a priority.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.base.head().capacity()
    }

    /// Empties it, giving memory back; in no particular order. What could not be read goes, too.
    pub(super) fn take_all(&mut self) -> Contents {
        let new = Ready {
            window: self.window,
            ..Ready::new(self.max_priority, self.ttl_ms)
        };
        let all = std::mem::replace(self, new);
        let mut contents = Contents {
            entries: all
                .returned
                .into_values()
                .chain(all.aside.entries)
                .collect(),
            pages: all.aside.pages.into_iter().map(|(_, page)| page).collect(),
        };
        for lane in all.lanes.into_values().chain([all.base]) {
            let (entries, pages) = lane.take_apart();
            contents.entries.extend(entries);
            contents.pages.extend(pages);
        }
        contents
    }

    fn pop_lane(&mut self, level: u8) -> Option<Entry> {
        let entry = match level {
            0 => self.base.pop(),
            level => {
                let lane = self.lanes.get_mut(&level)?;
                let entry = lane.pop();
                if lane.is_empty() {
                    self.lanes.remove(&level);
                }
                entry
            }
        }?;
        self.forget(&entry, entry.own_expiry_ms);
        Some(entry)
    }

    /// Takes one out from wherever it stands.
    fn take(
        &mut self,
        spot: Spot,
        pos: LogPos,
        body_bytes: u32,
        at_ms: u64,
        emptied: &mut Vec<LogPos>,
    ) -> Option<Entry> {
        if let Some(entry) = self.returned.remove(&spot) {
            self.uncount_returned(&entry);
            return Some(entry);
        }
        let level = spot.level();
        let taken = self.lane_mut(level).take(spot.seq(), pos, body_bytes);
        if level > 0 && self.lane_mut(level).is_empty() {
            self.lanes.remove(&level);
        }
        match taken? {
            Taken::Entry(entry) => Some(entry),
            Taken::OfPage(page) => {
                emptied.extend(page);
                Some(Entry::expired_unread(spot, pos, body_bytes, at_ms))
            }
        }
    }

    /// Takes one out from wherever it stands, of which `index` tells, and `page` in which page it was
    /// seen; `None` if it is not there any more. A page that this empties is added to `emptied`.
    pub(super) fn pick(
        &mut self,
        spot: Spot,
        index: &IndexEntry,
        page: Option<LogPos>,
        emptied: &mut Vec<LogPos>,
    ) -> Option<Entry> {
        if let Some(entry) = self.returned.get(&spot) {
            if entry.pos != index.pos {
                return None;
            }
            let entry = self.returned.remove(&spot)?;
            self.uncount_returned(&entry);
            self.forget(&entry, entry.expiry_ms(self.ttl_ms));
            return Some(entry);
        }
        let lane = match spot.level() {
            0 => &self.base,
            level => self.lanes.get(&level)?,
        };
        if !lane.holds(spot.seq(), index.pos, page) {
            return None;
        }
        let known = Entry::on_disk(spot.seq(), index);
        self.take(
            spot,
            index.pos,
            index.body_bytes,
            known.own_expiry_ms,
            emptied,
        )?;
        self.forget(&known, known.own_expiry_ms);
        Some(known)
    }

    /// Counts one in that expires out of turn at `early_ms`.
    pub(super) fn count(&mut self, entry: &Entry, early_ms: u64) {
        self.len += 1;
        self.bytes += entry.body_bytes as usize;
        self.note_early(entry.spot, early_ms, entry.pos, entry.body_bytes);
    }

    pub(super) fn forget(&mut self, entry: &Entry, early_ms: u64) {
        self.len -= 1;
        self.bytes -= entry.body_bytes as usize;
        if early_ms != NEVER_MS {
            self.early.remove(&(early_ms, entry.spot));
        }
    }

    /// Counts a page in, or out.
    pub(super) fn count_page(&mut self, page: &PageState, is_in: bool) {
        let (len, bytes) = (page.live() as usize, page.body_bytes as usize);
        match is_in {
            true => (self.len, self.bytes) = (self.len + len, self.bytes + bytes),
            false => (self.len, self.bytes) = (self.len - len, self.bytes - bytes),
        }
    }

    fn note_early(&mut self, spot: Spot, at_ms: u64, pos: LogPos, body_bytes: u32) {
        if at_ms != NEVER_MS {
            self.early.insert((at_ms, spot), (pos, body_bytes));
        }
    }

    /// A page gave a message another number.
    pub(super) fn renumber(&mut self, entry: &Entry, to: Spot) {
        if entry.own_expiry_ms != NEVER_MS && entry.spot != to {
            self.early.remove(&(entry.own_expiry_ms, entry.spot));
            self.note_early(to, entry.own_expiry_ms, entry.pos, entry.body_bytes);
        }
    }

    /// Notes when the messages of a page expire, which recovery has not read.
    pub(super) fn note_page(&mut self, level: u8, pos: LogPos, entries: &[IndexEntry]) {
        let lane = match level {
            0 => Some(&self.base),
            level => self.lanes.get(&level),
        };
        let mut noted = Vec::new();
        let page = lane.and_then(|lane| lane.pages().find(|page| page.pos == pos));
        if let Some(page) = page {
            for (place, index) in entries.iter().enumerate() {
                if let Some(ttl_ms) = index.ttl_ms
                    && !page.removed.contains(place)
                {
                    let at_ms = index.stamped_ms.saturating_add(ttl_ms);
                    noted.push((spot_in_page(level, page, place), at_ms, index));
                }
            }
        }
        for (spot, at_ms, index) in noted {
            self.note_early(spot, at_ms, index.pos, index.body_bytes);
        }
    }

    /// The record of a message that expires at `early_ms` is elsewhere.
    pub(super) fn moved(&mut self, spot: Spot, early_ms: u64, to: LogPos) {
        if let Some((pos, _)) = self.early.get_mut(&(early_ms, spot)) {
            *pos = to;
        }
    }

    pub(super) fn count_returned(&mut self, entry: &Entry) {
        self.returned_octets += entry.octets();
        self.returned_on_disk += usize::from(entry.message.is_none());
    }

    pub(super) fn uncount_returned(&mut self, entry: &Entry) {
        self.returned_octets -= entry.octets();
        self.returned_on_disk -= usize::from(entry.message.is_none());
    }
}
