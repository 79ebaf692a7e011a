//! What of a queue must be read from the log, and what becomes of it when it has been.
//!
//! Owns what is read ahead, in the order in which it will be wanted. Reads nothing itself: whoever
//! owns the queue asks [`Queue::next_load`], reads without its lock, and gives back what is read;
//! what is no longer wanted by then is passed over.

use super::entry::{Entry, Spot, octets};
use super::lane::Next;
use super::machine::Queue;
use super::options::QueueKind;
use super::outcome::Effects;
use super::ready::Ready;
use crate::base::LogPos;
use crate::base::index::{IndexEntry, PAGE_LEN};
use crate::message::Message;

/// What to read next.
#[derive(Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing: the queue asks again when there is something.
    Nothing,
    /// What is wanted can be read once the log is durable beyond this position.
    Wait(LogPos),
    /// The page at this position: [`Queue::page_loaded`].
    Page(LogPos),
    /// These messages: [`Queue::loaded`].
    Messages(Vec<Wanted>),
}

/// A message to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its record.
    pub pos: LogPos,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready(Spot),
    /// Its number among the dead that wait.
    Dead(usize),
}

impl Queue {
    /// What to read now, if the log is durable up to `durable`: at most about `budget_bytes` of
    /// messages are read ahead.
    pub fn next_load(&mut self, durable: LogPos, now_ms: u64, budget_bytes: usize) -> Load {
        let load = self.find_load(durable, now_ms, budget_bytes);
        if load == Load::Nothing {
            self.load_asked = false;
        }
        load
    }

    fn find_load(&mut self, durable: LogPos, now_ms: u64, budget_bytes: usize) -> Load {
        if self.gone {
            return Load::Nothing;
        }
        let dead = self.late.iter().take(PAGE_LEN).enumerate();
        let dead = dead.filter(|(_, late)| late.entry.message.is_none());
        let wanted: Vec<Wanted> = dead
            .map(|(at, late)| Wanted {
                pos: late.entry.pos,
                place: Place::Dead(at),
            })
            .collect();
        if !wanted.is_empty() {
            return readable(wanted, durable);
        }
        let too_long = || match self.is_too_long() {
            true => self.ready.front_page().map(|page| page.pos),
            false => None,
        };
        if let Some(pos) = self.ready.due_page(now_ms).or_else(too_long) {
            return page(pos, durable);
        }
        match self.reads_ahead() {
            true => self.ready.next_load(durable, budget_bytes),
            false => Load::Nothing,
        }
    }

    /// As [`Self::next_load`], for somebody who waits for the next message.
    pub fn next_needed(&mut self, durable: LogPos, budget_bytes: usize) -> Load {
        self.ready.next_load(durable, budget_bytes)
    }

    /// A page was read.
    pub fn page_loaded(&mut self, pos: LogPos, entries: &[IndexEntry], effects: &mut Effects) {
        let lanes = self.ready.lanes_mut();
        let opened = lanes.filter_map(|(_, lane)| lane.open_page(pos, entries));
        if opened.count() > 0 {
            effects.opened.push(pos);
        }
        self.ready.drop_empty_lanes();
    }

    /// A message was read. [`Self::dispatch`] and [`Self::wake`] follow, once for all that were.
    pub fn loaded(&mut self, wanted: Wanted, message: Message) {
        let quorum = self.options.kind == QueueKind::Quorum;
        let fill = |entry: &mut Entry| {
            if entry.pos == wanted.pos && entry.message.is_none() {
                entry.message = Some(match quorum && entry.failed_deliveries > 0 {
                    true => message.with_delivery_count(entry.failed_deliveries),
                    false => message,
                });
            }
        };
        match wanted.place {
            Place::Ready(spot) => self.ready.change(spot, fill),
            Place::Dead(at) => {
                if let Some(late) = self.late.get_mut(at) {
                    fill(&mut late.entry);
                }
            }
        }
    }

    /// A message could not be read: it is set aside, neither delivered nor gone. False if it is not here any more.
    pub fn unreadable(&mut self, wanted: Wanted) -> bool {
        match wanted.place {
            Place::Ready(spot) => self.ready.set_aside(spot, wanted.pos),
            Place::Dead(at) => {
                if let Some(late) = self.late.get(at)
                    && late.entry.pos == wanted.pos
                    && let Some(late) = self.late.remove(at)
                {
                    self.dying.remove(&late.entry.pos);
                    self.ready.aside.entries.push(late.entry);
                    return true;
                }
                false
            }
        }
    }

    /// As [`Self::unreadable`], for a whole page.
    pub fn page_unreadable(&mut self, pos: LogPos) -> bool {
        let lanes = self.ready.lanes_mut();
        let mut lost = Vec::new();
        for (level, lane) in lanes {
            lost.extend(lane.shift_page(pos).map(|page| (level, page)));
            lane.advance();
        }
        let was_here = !lost.is_empty();
        for (level, page) in lost {
            self.ready.count_page(&page, false);
            self.ready.aside.pages.push((level, page));
        }
        self.ready.drop_empty_lanes();
        was_here
    }

    /// Whether messages are to be read before anybody asks for one.
    fn reads_ahead(&self) -> bool {
        !self.consumers.is_empty() || self.got
    }

    /// Asks for a load if there is something to load, once until it is done.
    pub(super) fn ask_for_load(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.load_asked || self.gone {
            return;
        }
        let wanted = !self.late.is_empty()
            || (self.reads_ahead() && self.ready.wants_load())
            || (self.is_too_long() && self.ready.front_page().is_some())
            || self.ready.due_page(now_ms).is_some();
        if wanted {
            self.load_asked = true;
            effects.load = true;
        }
    }
}

fn page(pos: LogPos, durable: LogPos) -> Load {
    match pos.is_readable(durable) {
        true => Load::Page(pos),
        false => Load::Wait(pos),
    }
}

/// Those that can be read; the first ones, so that they come back in order.
fn readable(mut wanted: Vec<Wanted>, durable: LogPos) -> Load {
    let Some(first) = wanted.first().map(|wanted| wanted.pos) else {
        return Load::Nothing;
    };
    let is_readable = |wanted: &&Wanted| wanted.pos.is_readable(durable);
    let len = wanted.iter().take_while(is_readable);
    match len.count() {
        0 => Load::Wait(first),
        len => {
            wanted.truncate(len);
            Load::Messages(wanted)
        }
    }
}

/// What may be read ahead.
struct Budget {
    octets: usize,
    wanted: Vec<Wanted>,
}

impl Budget {
    /// Takes the next message in order. Whether there is any left.
    fn take(&mut self, entry: &Entry) -> bool {
        let octets = match &entry.message {
            Some(message) => octets(message),
            None => {
                self.wanted.push(Wanted {
                    pos: entry.pos,
                    place: Place::Ready(entry.spot),
                });
                entry.body_bytes as usize + std::mem::size_of::<Entry>()
            }
        };
        self.octets = self.octets.saturating_sub(octets);
        self.octets > 0 && self.wanted.len() < PAGE_LEN
    }
}

impl Ready {
    /// Whether so little is in memory of what is next that it is time to read on.
    pub(super) fn wants_load(&self) -> bool {
        if self.len() > 0 && !self.has_next() {
            return true;
        }
        let mut octets = self.returned_octets;
        if self.returned_on_disk > 0 {
            return octets < self.window.octets / 2;
        }
        for (_, lane) in self.lanes() {
            octets += lane.head().octets();
            if octets >= self.window.octets / 2 {
                return false;
            }
            if !lane.is_whole() {
                return true;
            }
        }
        false
    }

    fn next_load(&mut self, durable: LogPos, budget_bytes: usize) -> Load {
        let mut budget = Budget {
            octets: budget_bytes,
            wanted: Vec::new(),
        };
        let first = self.is_returned_first();
        if first && !self.returned.values().all(|entry| budget.take(entry)) {
            return readable(budget.wanted, durable);
        }
        for (_, lane) in self.lanes_mut() {
            let mut seen = 0;
            loop {
                let left = lane
                    .head()
                    .iter()
                    .skip(seen)
                    .all(|entry| budget.take(entry));
                if !left {
                    return readable(budget.wanted, durable);
                }
                seen = lane.head().len();
                if lane.is_head_all() {
                    break;
                }
                if !budget.wanted.is_empty() {
                    return readable(budget.wanted, durable);
                }
                if let Next::Page(pos) = lane.pull() {
                    return page(pos, durable);
                }
            }
        }
        if !first {
            self.returned.values().all(|entry| budget.take(entry));
        }
        readable(budget.wanted, durable)
    }

    /// Changes one that stands at `spot`, if it is still there.
    fn change(&mut self, spot: Spot, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.returned.remove(&spot) {
            self.uncount_returned(&entry);
            change(&mut entry);
            self.count_returned(&entry);
            self.returned.insert(spot, entry);
            return;
        }
        let lane = match spot.level() {
            0 => Some(&mut self.base),
            level => self.lanes.get_mut(&level),
        };
        if let Some(lane) = lane {
            lane.change(spot.seq(), change);
        }
    }

    fn set_aside(&mut self, spot: Spot, pos: LogPos) -> bool {
        let mut found = None;
        self.change(spot, |entry| {
            found = (entry.pos == pos).then(|| entry.clone());
        });
        let Some(entry) = found else { return false };
        if self.returned.contains_key(&spot) {
            self.forget(&entry, entry.expiry_ms(self.ttl_ms));
            if let Some(entry) = self.returned.remove(&spot) {
                self.uncount_returned(&entry);
            }
        } else {
            self.forget(&entry, entry.own_expiry_ms);
            self.lane_mut(spot.level()).take(spot.seq(), pos, 0);
        }
        self.drop_empty_lanes();
        self.aside.entries.push(entry);
        true
    }

    pub(super) fn drop_empty_lanes(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_empty());
    }
}
