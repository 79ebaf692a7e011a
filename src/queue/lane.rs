//! The messages of one priority: a window at the head in memory, pages of the log in the middle, and a
//! tail that will be pages.
//!
//! Owns their order, and what is kept in memory of a message that has come. Loading and writing pages
//! is asked of others: `load` and `paging` say when.
//!
//! A lane that fits its window is its head and nothing else.

use std::collections::VecDeque;

use super::entry::{Entry, Spot};
use super::places::Places;
use crate::base::LogPos;
use crate::base::index::{IndexEntry, PageState};

/// How much of a lane is in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Octets of messages from which on a lane keeps no more of them at its head.
    pub(super) octets: usize,
    /// Messages of a page.
    pub(super) page_len: usize,
}

/// So many windows of transient messages may wait behind the heads before the next ones go to the spill: a
/// queue that is short now and then must not touch the disk.
const WINDOWS_BEHIND: usize = 3;

/// So many windows may be with consumers before the next ones go to the spill, so that they need not stay in
/// memory until they are settled.
const WINDOWS_OUT: usize = 32;

impl Window {
    /// Octets of whole messages behind the heads from which on a queue spills.
    pub(super) fn spills_from(self) -> usize {
        self.octets.saturating_mul(WINDOWS_BEHIND)
    }

    /// Octets of whole messages that are out from which on a queue spills.
    pub(super) fn spills_from_out(self) -> usize {
        self.octets.saturating_mul(WINDOWS_OUT)
    }
}

/// See the module. The head is not empty unless a page is next, or nothing is there.
#[derive(Debug, Default)]
pub(super) struct Lane {
    head: Places,
    behind: Option<Box<Behind>>,
}

/// What does not fit the window.
#[derive(Debug, Default)]
struct Behind {
    blocks: VecDeque<Block>,
    tail: Places,
}

#[derive(Debug)]
enum Block {
    Page(PageState),
    /// Entries that make no page, since they are in memory only, or since too few in a row are of the log, or of
    /// the spill. The first number is what it was at first.
    Run(u64, Places),
}

impl Block {
    fn first_seq(&self) -> u64 {
        match self {
            Block::Page(page) => page.first_seq,
            Block::Run(first_seq, _) => *first_seq,
        }
    }
}

/// What was taken out of the middle of a lane.
pub(super) enum Taken {
    /// It was there as an entry.
    Entry(Entry),
    /// It was a place of a page; the page, if that was its last.
    OfPage(Option<LogPos>),
}

/// A part of a lane, for somebody who looks.
pub(super) enum Part<'l> {
    Entry(&'l Entry),
    Page(&'l PageState),
}

impl Part<'_> {
    pub(super) fn first_seq(&self) -> u64 {
        match self {
            Part::Entry(entry) => entry.spot.seq(),
            Part::Page(page) => page.first_seq,
        }
    }
}

/// What stands behind a head with room.
pub(super) enum Next {
    /// A page that must be read first.
    Page(LogPos),
    /// It is at the head now, or nothing is.
    Moved,
}

/// What the front of a tail is to become.
pub(super) enum Cut {
    Nothing,
    /// A page of so many, all of which have their records in the log, or all in the spill.
    Page(usize),
    /// A run of so many.
    Run(usize),
}

/// How many of the first `len` entries, by their positions, stand before `settled` and before all that
/// follow them. Messages of several publishers may come to a queue in another order than to the log,
/// but never far from it. Recovery puts a page where its last message stands in the log: one of its
/// messages behind a message that is not in it would change places.
fn in_log_order(positions: &[LogPos], len: usize, settled: LogPos) -> usize {
    let (front, behind) = positions.split_at(len.min(positions.len()));
    let highest = front.iter().scan(LogPos::NONE, |highest, &pos| {
        *highest = pos.max(*highest);
        Some(*highest)
    });
    let highest: Vec<LogPos> = highest.collect();
    let mut lowest_behind = behind.iter().copied().filter(|pos| pos.is_kept()).min();
    for (at, (&pos, &highest)) in front.iter().zip(&highest).enumerate().rev() {
        if highest < settled && lowest_behind.is_none_or(|lowest| highest < lowest) {
            return at + 1;
        }
        lowest_behind = lowest_behind.into_iter().chain([pos]).min();
    }
    0
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.behind.is_none()
    }

    pub(super) fn head(&self) -> &Places {
        &self.head
    }

    /// Whether nothing stands behind the head.
    pub(super) fn is_head_all(&self) -> bool {
        self.behind.is_none()
    }

    /// Whether nothing of it is on disk only, nor behind what is.
    pub(super) fn is_whole(&self) -> bool {
        self.behind.is_none() && self.head.on_disk() == 0
    }

    /// Takes a new message. The octets of one that has a record are let go if they are beyond the window.
    pub(super) fn push(&mut self, mut entry: Entry, window: Window) {
        if self.is_whole() && self.head.octets() < window.octets {
            self.head.push(entry);
            return;
        }
        let behind = self.behind.get_or_insert_default();
        // Near the end a consumer that catches up must not have to wait for the disk: while there is
        // no page, some of the tail stays whole.
        let near = behind.blocks.is_empty() && behind.tail.octets() < window.octets / 2;
        if entry.pos.is_some() && !near {
            entry.message = None;
        }
        behind.tail.push(entry);
        self.advance();
    }

    /// Takes what recovery found, in order.
    pub(super) fn restore_entry(&mut self, entry: Entry) {
        match &mut self.behind {
            None => self.head.push(entry),
            Some(behind) => behind.tail.push(entry),
        }
    }

    /// Takes a page that recovery found, in order.
    pub(super) fn restore_page(&mut self, page: PageState) {
        let behind = self.behind.get_or_insert_default();
        behind.close_tail();
        behind.blocks.push_back(Block::Page(page));
    }

    /// The next message, unless it is in a page.
    pub(super) fn front(&self) -> Option<&Entry> {
        self.head.front()
    }

    /// The page that the next message is in.
    pub(super) fn front_page(&self) -> Option<&PageState> {
        if !self.head.is_empty() {
            return None;
        }
        match self.behind.as_ref()?.blocks.front()? {
            Block::Page(page) => Some(page),
            Block::Run(..) => None,
        }
    }

    /// The number from which on its messages are.
    pub(super) fn first_seq(&self) -> Option<u64> {
        let in_page = || self.front_page().map(|page| page.first_seq);
        self.front().map(|entry| entry.spot.seq()).or_else(in_page)
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.head.pop()?;
        if self.head.is_empty() {
            self.advance();
        }
        Some(entry)
    }

    /// Takes one out from wherever it stands. `pos` and `body_bytes` are what is known of it.
    pub(super) fn take(&mut self, seq: u64, pos: LogPos, body_bytes: u32) -> Option<Taken> {
        if let Some(entry) = self.head.remove(seq) {
            self.advance();
            return Some(Taken::Entry(entry));
        }
        let behind = self.behind.as_mut()?;
        let taken = behind.take(seq, pos, body_bytes)?;
        self.advance();
        Some(taken)
    }

    /// Entries from number `first` on that are in memory as entries, the last one first.
    pub(super) fn newest_mut(&mut self, first: u64) -> impl Iterator<Item = &mut Entry> {
        let tail = self.behind.as_mut().map(|behind| &mut behind.tail);
        let tail = tail.into_iter().flat_map(move |tail| tail.since_mut(first));
        tail.chain(self.head.since_mut(first))
    }

    /// Everything that is in memory as entries, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let behind = self.behind.as_deref();
        let runs = behind.into_iter().flat_map(|behind| &behind.blocks);
        let runs = runs.filter_map(|block| match block {
            Block::Run(_, places) => Some(places),
            Block::Page(_) => None,
        });
        let tail = behind.map(|behind| &behind.tail);
        let all = std::iter::once(&self.head).chain(runs).chain(tail);
        all.flat_map(Places::iter)
    }

    /// All of it from a number on, in order; the page that the number is in as a whole.
    pub(super) fn from(&self, seq: u64) -> impl Iterator<Item = Part<'_>> {
        let behind = self.behind.as_deref();
        let blocks = behind.into_iter().flat_map(move |behind| {
            let at = behind.block_at(seq).unwrap_or(0);
            behind.blocks.range(at..)
        });
        let blocks = blocks.flat_map(move |block| {
            let (run, page) = match block {
                Block::Run(_, places) => (Some(places), None),
                Block::Page(page) => (None, Some(page)),
            };
            let run = run.into_iter().flat_map(move |places| places.since(seq));
            let page = page.filter(|page| page.first_seq + u64::from(page.len) > seq);
            run.map(Part::Entry).chain(page.map(Part::Page))
        });
        let tail = behind.into_iter().flat_map(move |b| b.tail.since(seq));
        let head = self.head.since(seq).map(Part::Entry);
        head.chain(blocks).chain(tail.map(Part::Entry))
    }

    /// Whether the message at a number is still the one whose record is at `pos`; `page` is the page it
    /// was seen in.
    pub(super) fn holds(&self, seq: u64, pos: LogPos, page: Option<LogPos>) -> bool {
        if let Some(entry) = self.head.get(seq) {
            return entry.pos == pos;
        }
        let Some(behind) = self.behind.as_deref() else {
            return false;
        };
        if let Some(entry) = behind.tail.get(seq) {
            return entry.pos == pos;
        }
        let block = behind.block_at(seq).and_then(|at| behind.blocks.get(at));
        match block {
            None => false,
            Some(Block::Run(_, places)) => places.get(seq).is_some_and(|entry| entry.pos == pos),
            Some(Block::Page(found)) => {
                let place = usize::try_from(seq - found.first_seq).unwrap_or(usize::MAX);
                page == Some(found.pos)
                    && place < found.len as usize
                    && !found.removed.contains(place)
            }
        }
    }

    pub(super) fn pages(&self) -> impl Iterator<Item = &PageState> {
        let behind = self.behind.as_deref();
        let blocks = behind.into_iter().flat_map(|behind| &behind.blocks);
        blocks.filter_map(|block| match block {
            Block::Page(page) => Some(page),
            Block::Run(..) => None,
        })
    }

    /// As [`Self::entries`]. What is changed must not change what they count for.
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let (blocks, tail) = match self.behind.as_deref_mut() {
            Some(behind) => (Some(&mut behind.blocks), Some(&mut behind.tail)),
            None => (None, None),
        };
        let runs = blocks
            .into_iter()
            .flatten()
            .filter_map(|block| match block {
                Block::Run(_, places) => Some(places),
                Block::Page(_) => None,
            });
        let all = std::iter::once(&mut self.head).chain(runs).chain(tail);
        all.flat_map(Places::iter_mut)
    }

    pub(super) fn page_mut(&mut self, pos: LogPos) -> Option<&mut PageState> {
        let behind = self.behind.as_deref_mut()?;
        behind.blocks.iter_mut().find_map(|block| match block {
            Block::Page(page) if page.pos == pos => Some(page),
            _ => None,
        })
    }

    /// The tail alone.
    pub(super) fn whole_tail(&self) -> impl Iterator<Item = &Entry> {
        let tail = self.behind.as_deref().map(|behind| behind.tail.iter());
        tail.into_iter().flatten()
    }

    /// Takes it apart: entries and pages, each in order.
    pub(super) fn take_apart(self) -> (Vec<Entry>, Vec<PageState>) {
        let mut entries: Vec<Entry> = self.head.into_entries().collect();
        let mut pages = Vec::new();
        if let Some(behind) = self.behind {
            for block in behind.blocks {
                match block {
                    Block::Page(page) => pages.push(page),
                    Block::Run(_, places) => entries.extend(places.into_entries()),
                }
            }
            entries.extend(behind.tail.into_entries());
        }
        (entries, pages)
    }

    /// Moves what stands behind the head to it, unless that must be read first.
    pub(super) fn pull(&mut self) -> Next {
        if let Some(behind) = &mut self.behind {
            match behind.blocks.pop_front() {
                Some(Block::Page(page)) => {
                    let pos = page.pos;
                    behind.blocks.push_front(Block::Page(page));
                    return Next::Page(pos);
                }
                Some(Block::Run(_, mut places)) => self.head.append(&mut places),
                None => {
                    self.head.append(&mut behind.tail);
                    self.behind = None;
                }
            }
        }
        Next::Moved
    }

    /// The first page was read: its messages are entries of the head now. The page; `None` if that is
    /// not the first one any more.
    pub(super) fn open_page(&mut self, pos: LogPos, entries: &[IndexEntry]) -> Option<PageState> {
        let page = self.shift_page(pos)?;
        for (place, index) in entries.iter().enumerate() {
            if !page.removed.contains(place) {
                let mut entry = Entry::on_disk(page.first_seq + place as u64, index);
                entry.redelivered |= page.redelivered;
                self.head.push(entry);
            }
        }
        self.advance();
        Some(page)
    }

    /// Takes the first page out.
    pub(super) fn shift_page(&mut self, pos: LogPos) -> Option<PageState> {
        let behind = self.behind.as_mut()?;
        match behind.blocks.pop_front()? {
            Block::Page(page) if page.pos == pos => Some(page),
            other => {
                behind.blocks.push_front(other);
                None
            }
        }
    }

    /// Changes an entry of the head.
    pub(super) fn change(&mut self, seq: u64, change: impl FnOnce(&mut Entry)) {
        self.head.change(seq, change);
    }

    /// Whether the tail may be long enough for [`Self::cut`].
    pub(super) fn has_long_tail(&self, window: Window) -> bool {
        self.behind
            .as_ref()
            .is_some_and(|behind| behind.tail.len() >= window.page_len)
    }

    /// Octets of the whole messages at its tail.
    pub(super) fn tail_octets(&self) -> usize {
        self.behind
            .as_ref()
            .map_or(0, |behind| behind.tail.octets())
    }

    /// Whether anything behind its head is on disk only, or stands behind such.
    pub(super) fn is_long(&self) -> bool {
        self.behind
            .as_ref()
            .is_some_and(|behind| !behind.blocks.is_empty() || behind.tail.on_disk() > 0)
    }

    /// What the front of the tail can become; with `short`, at all: however short it is. All that stands in the log before `settled` can be read
    /// back, and has come to the queue if it ever will.
    pub(super) fn cut(&self, window: Window, settled: LogPos, short: bool) -> Cut {
        let Some(behind) = self.behind.as_deref() else {
            return Cut::Nothing;
        };
        let tail = &behind.tail;
        // All of it is in memory: it will be wanted soon.
        let near = behind.blocks.is_empty() && tail.on_disk() == 0;
        if tail.is_empty() || (!short && (tail.len() < window.page_len || near)) {
            return Cut::Nothing;
        }
        // Asked with each batch, and most often it is too early: then one look must do.
        let last = tail.at(window.page_len.saturating_sub(1));
        if !short && last.is_some_and(|last| last.pos.is_kept() && last.pos >= settled) {
            return Cut::Nothing;
        }
        let Some(first) = tail.front().map(|entry| entry.pos) else {
            return Cut::Nothing;
        };
        let alike = |entry: &&Entry| match first.is_some() {
            true => entry.pos.is_some() && entry.pos.is_kept() == first.is_kept(),
            false => !entry.pos.is_some(),
        };
        if !first.is_some() {
            return Cut::Run(tail.iter().take_while(alike).count());
        }
        let len = tail.iter().take(window.page_len).take_while(alike).count();
        let least = match short && first.is_kept() {
            true => 1,
            false => window.page_len.div_ceil(4),
        };
        if len < least {
            return Cut::Run(len);
        }
        if first.is_spilled() {
            // After a restart there is none of it, so that no order is to be kept.
            return Cut::Page(len);
        }
        // These iterators do not know how long they are: without a capacity the list would be copied as it grows.
        let mut positions = Vec::with_capacity(tail.len());
        positions.extend(tail.iter().map(|entry| entry.pos));
        match in_log_order(&positions, len, settled) {
            len if len >= least => Cut::Page(len),
            _ => Cut::Nothing,
        }
    }

    /// The first `len` of the tail.
    pub(super) fn tail(&self, len: usize) -> impl Iterator<Item = &Entry> {
        let tail = self.behind.as_deref().map(|behind| behind.tail.iter());
        tail.into_iter().flatten().take(len)
    }

    /// Puts `page` in the place of the tail's first messages, which come back.
    pub(super) fn close_page(&mut self, page: PageState) -> Vec<Entry> {
        let Some(behind) = &mut self.behind else {
            return Vec::new();
        };
        let len = page.len as usize;
        let mut gone = Vec::with_capacity(len);
        gone.extend(std::iter::from_fn(|| behind.tail.pop()).take(len));
        behind.blocks.push_back(Block::Page(page));
        self.advance();
        gone
    }

    /// Moves the first `len` of the tail out of the way of those that can be paged.
    pub(super) fn close_run(&mut self, len: usize) {
        if let Some(behind) = &mut self.behind {
            let mut run = Places::default();
            for entry in std::iter::from_fn(|| behind.tail.pop()).take(len) {
                run.push(entry);
            }
            behind.push_run(run);
            self.advance();
        }
    }

    /// Moves up what needs no reading.
    pub(super) fn advance(&mut self) {
        while self.head.is_empty()
            && self.behind.is_some()
            && let Next::Moved = self.pull()
        {}
    }
}

impl Behind {
    fn close_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        self.push_run(tail);
    }

    fn push_run(&mut self, mut run: Places) {
        let Some(first) = run.front().map(|entry| entry.spot.seq()) else {
            return;
        };
        match self.blocks.back_mut() {
            Some(Block::Run(_, last)) => last.append(&mut run),
            _ => self.blocks.push_back(Block::Run(first, run)),
        }
    }

    /// The block that a number would be in.
    fn block_at(&self, seq: u64) -> Option<usize> {
        let behind = self.blocks.partition_point(|b| b.first_seq() <= seq);
        behind.checked_sub(1)
    }

    fn take(&mut self, seq: u64, pos: LogPos, body_bytes: u32) -> Option<Taken> {
        if let Some(entry) = self.tail.remove(seq) {
            return Some(Taken::Entry(entry));
        }
        let at = self.block_at(seq)?;
        let (taken, is_empty) = match self.blocks.get_mut(at)? {
            Block::Run(_, places) => {
                let entry = places.remove(seq)?;
                (Taken::Entry(entry), places.is_empty())
            }
            Block::Page(page) => {
                let place = usize::try_from(seq - page.first_seq).ok()?;
                if !page.remove(place, pos, body_bytes) {
                    return None;
                }
                let emptied = (page.live() == 0).then_some(page.pos);
                (Taken::OfPage(emptied), emptied.is_some())
            }
        };
        if is_empty {
            self.blocks.remove(at);
        }
        Some(taken)
    }
}

/// Where a message of a page stands.
pub(super) fn spot_in_page(level: u8, page: &PageState, place: usize) -> Spot {
    Spot::new(level, page.first_seq + place as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(positions: &[u64], len: usize, settled: u64) -> usize {
        let positions: Vec<LogPos> = positions.iter().copied().map(LogPos).collect();
        in_log_order(&positions, len, LogPos(settled))
    }

    #[test]
    fn a_page_ends_where_queue_and_log_agree() {
        assert_eq!(cut(&[1, 2, 3, 4], 4, 9), 4);
        assert_eq!(cut(&[1, 2, 3, 4], 3, 9), 3);
        assert_eq!(cut(&[1, 2, 3, 4], 4, 3), 2, "only what is settled");
        assert_eq!(cut(&[1, 3, 2, 4], 2, 9), 1, "2 would come behind the page");
        assert_eq!(
            cut(&[1, 3, 2, 4], 3, 9),
            3,
            "within a page any order will do"
        );
        assert_eq!(cut(&[3, 2, 1], 2, 9), 0);
        assert_eq!(cut(&[1, 2, 0, 3], 2, 9), 2, "one that is in memory only");
        assert_eq!(cut(&[], 4, 9), 0);
    }
}
