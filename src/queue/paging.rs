//! What of a queue goes to the log besides its messages, and the queue as a checkpoint has it.
//!
//! Owns when a stretch of the tail becomes a page. Writes nothing itself.

use std::collections::BTreeMap;

use super::entry::{Entry, Spot};
use super::lane::{Cut, Lane};
use super::machine::Queue;
use super::outcome::Effects;
use super::ready::Contents;
use crate::base::index::{IndexEntry, LaneState, PageState, QueueState};
use crate::base::{LogPos, QueueId};

impl Queue {
    /// Whether [`Self::page_out`] may have something to do, or [`Self::spills`] have become true.
    pub fn has_long_tail(&self) -> bool {
        let window = self.ready.window;
        let mut octets = 0;
        for (_, lane) in self.ready.lanes() {
            if lane.has_long_tail(window) {
                return true;
            }
            octets += lane.tail_octets();
        }
        octets >= window.spills_from() || self.unacked_octets >= window.spills_from_out()
    }

    /// Whether transient messages that come to it should have a record in the spill, so that they need not
    /// stay in memory: not while it is short, and not much is out.
    pub fn spills(&self) -> bool {
        let window = self.ready.window;
        let lanes = || self.ready.lanes().map(|(_, lane)| lane);
        let octets = || lanes().map(Lane::tail_octets).sum::<usize>();
        lanes().any(Lane::is_long)
            || octets() >= window.spills_from()
            || self.unacked_octets >= window.spills_from_out()
    }

    /// Makes pages of what the tail holds beyond the window, as far as the log is settled (up to
    /// `settled`). `append` writes a Page record for a lane, where the records of its entries are, which is in
    /// the log or in the spill for all of them, and tells its position; what else it
    /// gives is kept until the page is in place. [`LogPos::NONE`]: there can be no page now. Unless `spill_takes`
    /// pages, it is not asked for those of the spill.
    ///
    /// # Errors
    /// Those of `append`: the entries stay as they are.
    pub fn page_out<G, E>(
        &mut self,
        settled: LogPos,
        spill_takes: bool,
        append: impl FnMut(u8, &[IndexEntry]) -> Result<(LogPos, G), E>,
    ) -> Result<(), E> {
        let levels: Vec<u8> = self.ready.lanes().map(|(level, _)| level).collect();
        self.page_out_lanes(&levels, settled, spill_takes, false, append)
    }

    /// As [`Self::page_out`] for some lanes; with `short`, all of their tails that can be.
    pub(super) fn page_out_lanes<G, E>(
        &mut self,
        levels: &[u8],
        settled: LogPos,
        spill_takes: bool,
        short: bool,
        mut append: impl FnMut(u8, &[IndexEntry]) -> Result<(LogPos, G), E>,
    ) -> Result<(), E> {
        let window = self.ready.window;
        for &level in levels {
            loop {
                let lane = self.ready.lane_mut(level);
                match lane.cut(window, settled, short) {
                    Cut::Nothing => break,
                    Cut::Run(len) => lane.close_run(len),
                    Cut::Page(len) => {
                        let first = lane.tail(1).next();
                        if !spill_takes && first.is_some_and(|entry| entry.pos.is_spilled()) {
                            break;
                        }
                        let mut entries = Vec::with_capacity(len);
                        entries.extend(lane.tail(len).map(Entry::index));
                        let first = lane.tail(1).next().map_or(0, |entry| entry.spot.seq());
                        let (pos, _held) = append(level, &entries)?;
                        if !pos.is_some() {
                            break;
                        }
                        let paged = lane.close_page(PageState::new(pos, first, &entries));
                        for (place, entry) in paged.iter().enumerate() {
                            let spot = Spot::new(level, first + place as u64);
                            self.ready.renumber(entry, spot);
                            if let Some(present) = &mut self.present {
                                present.renumber(entry.spot, spot);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// All of it that is in the log, as it is now; of what is in the spill, nothing.
    pub fn snapshot(&self, queue: QueueId) -> QueueState {
        let mut lanes: BTreeMap<u8, LaneState> = BTreeMap::new();
        let next_seq = self.next_seq;
        let state = |level| LaneState {
            priority: level,
            next_seq,
            ..LaneState::default()
        };
        let unacked = self.unacked.iter().map(|(_, unacked)| {
            let mut index = unacked.entry.index();
            index.redelivered = true;
            (unacked.entry.spot, index)
        });
        let ready = self.ready.lanes().flat_map(|(_, lane)| lane.entries());
        let ready = ready
            .chain(self.ready.returned.values())
            .chain(&self.ready.aside.entries)
            .map(|entry| (entry.spot, entry.index()));
        let dying = self.dying.values().copied();
        for (spot, index) in unacked.chain(ready).chain(dying) {
            if index.pos.is_kept() {
                let level = spot.level();
                let lane = lanes.entry(level).or_insert_with(|| state(level));
                lane.loose.push((spot.seq(), index));
            }
        }
        let pages = self.ready.lanes();
        let pages = pages.flat_map(|(level, lane)| lane.pages().map(move |page| (level, page)));
        let aside = self.ready.aside.pages.iter();
        let pages = pages.chain(aside.map(|(level, page)| (*level, page)));
        for (level, page) in pages.filter(|(_, page)| page.pos.is_kept()) {
            let lane = lanes.entry(level).or_insert_with(|| state(level));
            lane.pages.push(page.clone());
        }
        let mut lanes: Vec<LaneState> = lanes.into_values().collect();
        for lane in &mut lanes {
            lane.loose.sort_unstable_by_key(|(seq, _)| *seq);
            lane.pages.sort_unstable_by_key(|page| page.first_seq);
        }
        QueueState { queue, lanes }
    }

    /// Puts in what recovery found, into a queue that is empty. All of it is on disk only. What is in
    /// [`Self::pages_with_ttl`] then must be told of by [`Self::note_page`].
    pub fn restore(&mut self, state: QueueState) {
        let most = self.options.max_priority;
        for lane in state.lanes {
            self.next_seq = self.next_seq.max(lane.next_seq);
            let level = lane.priority.min(most);
            let mut loose = lane.loose.into_iter().peekable();
            for page in lane.pages {
                while let Some((seq, index)) = loose.next_if(|(seq, _)| *seq < page.first_seq) {
                    self.restore_entry(level, seq, index);
                }
                self.ready.count_page(&page, true);
                self.ready.lane_mut(level).restore_page(page);
            }
            for (seq, index) in loose {
                self.restore_entry(level, seq, index);
            }
            self.ready.lane_mut(level).advance();
        }
        self.ready.drop_empty_lanes();
    }

    fn restore_entry(&mut self, level: u8, seq: u64, mut index: IndexEntry) {
        index.priority = level;
        let entry = Entry::on_disk(seq, &index);
        self.ready.count(&entry, entry.own_expiry_ms);
        self.ready.lane_mut(level).restore_entry(entry);
    }

    /// Lanes and positions of the pages with messages that have a time to live of their own.
    pub fn pages_with_ttl(&self) -> Vec<(u8, LogPos)> {
        let lanes = self.ready.lanes();
        let pages = lanes.flat_map(|(level, lane)| lane.pages().map(move |page| (level, page)));
        let with_ttl = pages.filter(|(_, page)| page.has_ttl);
        with_ttl.map(|(level, page)| (level, page.pos)).collect()
    }

    /// Notes when the messages of a page expire.
    pub fn note_page(&mut self, level: u8, pos: LogPos, entries: &[IndexEntry]) {
        self.ready.note_page(level, pos, entries);
    }
}

impl Contents {
    /// All of it is gone.
    pub(super) fn drop_into(self, effects: &mut Effects) {
        for entry in self.entries {
            effects.gone(entry.pos);
        }
        for page in self.pages {
            effects.pages.push(page.pos);
            effects.released.extend(page.segments);
        }
    }
}
