//! Messages whose records are written again elsewhere in the log, so that a sparse segment can go.
//!
//! Owns which records of a queue can be moved, and what changes when they are. Copies nothing itself. What is
//! about to leave the queue stays where it is: what says so names the old record.

use super::entry::{NEVER_MS, Spot};
use super::machine::Queue;
use crate::base::LogPos;
use crate::base::index::{IndexEntry, PageState};

/// An old and a new position.
type Pair = (LogPos, LogPos);

impl Queue {
    /// Makes pages of those tails that hold a message with a record that `is_wanted`, as far as the log
    /// is settled: recovery knows a message at a tail by its place in the log, and one that was moved has
    /// another. `spill_takes` and `append` as for [`Self::page_out`].
    ///
    /// # Errors
    /// Those of `append`: the entries stay as they are.
    pub fn page_tails_with<G, E>(
        &mut self,
        is_wanted: impl Fn(LogPos) -> bool,
        settled: LogPos,
        spill_takes: bool,
        append: impl FnMut(u8, &[IndexEntry]) -> Result<(LogPos, G), E>,
    ) -> Result<(), E> {
        let lanes = self.ready.lanes();
        let with = lanes.filter(|(_, lane)| lane.whole_tail().any(|entry| is_wanted(entry.pos)));
        let levels: Vec<u8> = with.map(|(level, _)| level).collect();
        self.page_out_lanes(&levels, settled, spill_takes, true, append)
    }

    /// The records of messages in no page that can be moved.
    fn movable(&self) -> impl Iterator<Item = LogPos> {
        let tails = self.ready.lanes().flat_map(|(_, lane)| lane.whole_tail());
        // What is in the spill is never recovered.
        let tails = tails.filter(|entry| entry.pos.is_kept());
        let mut tails: Vec<Spot> = tails.map(|entry| entry.spot).collect();
        tails.sort_unstable();
        let unacked = self.unacked.iter().filter(|(_, unacked)| !unacked.pinned);
        let unacked = unacked.map(|(_, unacked)| &unacked.entry);
        let ready = self.ready.lanes().flat_map(|(_, lane)| lane.entries());
        let ready = ready.filter(move |entry| tails.binary_search(&entry.spot).is_err());
        let all = unacked.chain(ready).chain(self.ready.returned.values());
        all.map(|entry| entry.pos).filter(|pos| pos.is_some())
    }

    /// The records in segments that are `is_wanted`: of messages in no page, and the pages that are or hold some.
    pub fn records_in(
        &self,
        is_wanted: impl Fn(u32) -> bool,
        loose: &mut Vec<LogPos>,
    ) -> Vec<PageState> {
        loose.extend(self.movable().filter(|pos| is_wanted(pos.segment())));
        let pages = self.ready.lanes().flat_map(|(_, lane)| lane.pages());
        let wanted = pages.filter(|page| {
            let holds = |(segment, _): &(u32, u32)| is_wanted(*segment);
            is_wanted(page.pos.segment()) || page.segments.iter().any(holds)
        });
        wanted.cloned().collect()
    }

    /// Has messages in no page refer to their copies, which `copy_of` tells. `append` gets the pairs first,
    /// and writes them to the log. What was moved.
    ///
    /// # Errors
    /// Those of `append`: nothing is changed.
    pub fn move_records<E>(
        &mut self,
        copy_of: impl Fn(LogPos) -> Option<LogPos>,
        append: impl FnOnce(&[Pair]) -> Result<(), E>,
    ) -> Result<Vec<Pair>, E> {
        let pair = |pos| Some((pos, copy_of(pos)?));
        let mut pairs: Vec<Pair> = self.movable().filter_map(pair).collect();
        if pairs.is_empty() {
            return Ok(pairs);
        }
        pairs.sort_unstable();
        append(&pairs)?;
        let new = |pos: LogPos| {
            let at = pairs.binary_search_by_key(&pos, |(old, _)| *old);
            pairs.get(at.ok()?).map(|(_, new)| *new)
        };
        for (_, unacked) in &mut self.unacked {
            if let Some(to) = new(unacked.entry.pos) {
                unacked.entry.pos = to;
            }
        }
        let ttl_ms = self.ready.ttl_ms;
        let mut moved = Vec::new();
        for entry in self.ready.returned.values_mut() {
            if let Some(to) = new(entry.pos) {
                entry.pos = to;
                moved.push((entry.spot, entry.expiry_ms(ttl_ms), to));
            }
        }
        for (_, lane) in self.ready.lanes_mut() {
            for entry in lane.entries_mut() {
                if let Some(to) = new(entry.pos) {
                    entry.pos = to;
                    moved.push((entry.spot, entry.own_expiry_ms, to));
                }
            }
        }
        for (spot, early_ms, to) in moved {
            self.note_moved(spot, early_ms, to);
        }
        Ok(pairs)
    }

    /// Has a page, whose record is at `pos` and whose entries were read from there, refer to the copies that
    /// `copy_of` tells. `append` gets its lane and new entries, writes them to the log, or to the spill, as what
    /// replaces the page, and tells their record. What was moved; `None` if there is no such page any more, or if
    /// it has no new record ([`LogPos::NONE`]).
    ///
    /// # Errors
    /// Those of `append`: nothing is changed.
    pub fn move_page<E>(
        &mut self,
        pos: LogPos,
        mut entries: Vec<IndexEntry>,
        copy_of: impl Fn(LogPos) -> Option<LogPos>,
        append: impl FnOnce(u8, &[IndexEntry]) -> Result<LogPos, E>,
    ) -> Result<Option<Vec<Pair>>, E> {
        let mut lanes = self.ready.lanes_mut();
        let found = lanes.find_map(|(level, lane)| Some((level, lane.page_mut(pos)?)));
        let Some((level, page)) = found.filter(|(_, page)| page.len as usize == entries.len())
        else {
            return Ok(None);
        };
        let (mut pairs, mut noted) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter_mut().enumerate() {
            if page.removed.contains(place) {
                continue;
            }
            if let Some(to) = copy_of(entry.pos) {
                pairs.push((entry.pos, to));
                entry.pos = to;
                if let Some(ttl_ms) = entry.ttl_ms {
                    let spot = Spot::new(level, page.first_seq + place as u64);
                    noted.push((spot, entry.stamped_ms.saturating_add(ttl_ms), to));
                }
            }
        }
        let record = append(level, &entries)?;
        if !record.is_some() {
            return Ok(None);
        }
        let old = std::mem::replace(page, PageState::new(record, page.first_seq, &entries));
        page.redelivered = old.redelivered;
        for (place, entry) in entries.iter().enumerate() {
            if old.removed.contains(place) {
                page.remove(place, entry.pos, entry.body_bytes);
            }
        }
        drop(lanes);
        for (spot, early_ms, to) in noted {
            self.note_moved(spot, early_ms, to);
        }
        Ok(Some(pairs))
    }

    fn note_moved(&mut self, spot: Spot, early_ms: u64, to: LogPos) {
        if early_ms != NEVER_MS {
            self.ready.moved(spot, early_ms, to);
        }
    }
}
