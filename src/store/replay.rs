//! The queues while the log is replayed: what a checkpoint says of them, and what changed since.
//!
//! Owns the rules of replay in `record.rs`, what of it a checkpoint knows already, and the order of
//! messages. No message is read, and a page
//! only if something in it has gone. Memory follows what the replayed stretch brought, not what the
//! queues hold.

use std::collections::{BTreeSet, HashMap};

use crate::base::index::{Described, IndexEntry, PageState};
use crate::base::{LogPos, QueueId};

use super::checkpoint_file::QueueRow;
use super::reader::Reader;
use super::record::{Page, Publish};
use super::unranked::{Item, Rank, Unranked};

/// Tells what it can of a message from its octets; `None` if they are none.
pub type Describe = fn(&[u8]) -> Option<Described>;

/// All queues.
pub(crate) struct Replay {
    queues: HashMap<QueueId, Replayed>,
    pages: LoadedPages,
    /// For a repair: records that tell of something may be missing. What is not known is taken to be
    /// there.
    missing: Option<Describe>,
}

/// A queue.
#[derive(Default)]
struct Replayed {
    /// Records before this one are in the checkpoint's state.
    from: LogPos,
    /// As `from` for records of pages and renamed messages, of which none behind it is.
    end: LogPos,
    loose: HashMap<LogPos, Loose>,
    pages: HashMap<LogPos, Paged>,
    /// The largest position in a page, and the page.
    spans: BTreeSet<(LogPos, LogPos)>,
    /// Pages with messages in many segments, as compaction leaves them; not in `spans`.
    wide: Vec<LogPos>,
    /// The page that was hit last: mostly the next one, too.
    hint: LogPos,
    /// The largest position in a page of the checkpoint: what is published behind it is new.
    known_to: LogPos,
    next_rank: u64,
}

struct Loose {
    rank: Rank,
    entry: IndexEntry,
}

struct Paged {
    rank: Rank,
    lane: u8,
    state: PageState,
}

impl Replay {
    pub(crate) fn new(rows: Vec<QueueRow>, reader: Reader) -> Replay {
        let queues = rows.into_iter();
        let queues = queues.map(|row| (row.state.queue, Replayed::new(row)));
        Replay {
            queues: queues.collect(),
            pages: LoadedPages {
                reader,
                loaded: HashMap::new(),
            },
            missing: None,
        }
    }

    /// Records may be missing, and what they brought is not to be.
    pub(crate) fn over_gaps(&mut self, describe: Describe) {
        self.missing = Some(describe);
    }

    pub(crate) fn publish(&mut self, pos: LogPos, publish: &Publish<'_>, described: Described) {
        for queue in publish.queue_ids() {
            let entry = described.entry(pos, publish.stamped_ms);
            let queue = self.queues.entry(queue).or_default();
            if pos >= queue.from {
                queue.publish(entry, &mut self.pages);
            }
        }
    }

    /// An ack whose record is at `at`; so for the others.
    pub(crate) fn ack(
        &mut self,
        at: LogPos,
        queue: QueueId,
        positions: impl Iterator<Item = LogPos>,
    ) {
        if let Some(queue) = self.queues.get_mut(&queue).filter(|queue| at >= queue.from) {
            positions.for_each(|pos| queue.ack(pos, &mut self.pages));
        }
    }

    pub(crate) fn mark_redelivered(
        &mut self,
        queue: QueueId,
        positions: impl Iterator<Item = LogPos>,
    ) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            for pos in positions {
                if let Some(loose) = queue.loose.get_mut(&pos) {
                    loose.entry.redelivered = true;
                }
            }
        }
    }

    pub(crate) fn rename(
        &mut self,
        at: LogPos,
        queue: QueueId,
        mut positions: impl Iterator<Item = LogPos>,
    ) {
        let queue = match self.missing {
            Some(_) => Some(self.queues.entry(queue).or_default()),
            None => self.queues.get_mut(&queue),
        };
        let Some(queue) = queue.filter(|queue| at >= queue.end) else {
            return;
        };
        while let (Some(old), Some(new)) = (positions.next(), positions.next()) {
            let found = queue.rename(old, new, &mut self.pages);
            if let Some(describe) = self.missing.filter(|_| !found)
                && let Some(entry) = self.pages.entry(new, describe)
            {
                queue.publish(entry, &mut self.pages);
            }
        }
    }

    pub(crate) fn page(&mut self, at: LogPos, page: Page) {
        let queue = match self.missing {
            Some(_) => Some(self.queues.entry(page.queue).or_default()),
            None => self.queues.get_mut(&page.queue),
        };
        if let Some(queue) = queue.filter(|queue| at >= queue.end) {
            queue.page(at, &page, &mut self.pages, self.missing.is_some());
        }
    }

    pub(crate) fn ack_pages(
        &mut self,
        at: LogPos,
        queue: QueueId,
        pages: impl Iterator<Item = LogPos>,
    ) {
        if let Some(queue) = self.queues.get_mut(&queue).filter(|queue| at >= queue.end) {
            for page in pages {
                queue.take_page(page);
            }
        }
    }

    /// What the queues hold. Without a clean stop all of it may have been delivered before.
    pub(crate) fn finish(self, clean: bool) -> Vec<Unranked> {
        let finished = self.queues.into_iter().map(|(queue, replayed)| {
            let mut items: Vec<(Rank, Item)> = Vec::new();
            for Loose { rank, mut entry } in replayed.loose.into_values() {
                entry.redelivered |= !clean;
                items.push((rank, Item::Loose(entry)));
            }
            for paged in replayed.pages.into_values() {
                let mut state = paged.state;
                state.redelivered |= !clean;
                items.push((paged.rank, Item::Page(paged.lane, state)));
            }
            items.sort_unstable_by_key(|(rank, _)| *rank);
            Unranked { queue, items }
        });
        finished.filter(|queue| !queue.items.is_empty()).collect()
    }
}

impl Replayed {
    fn new(row: QueueRow) -> Replayed {
        let QueueRow { state, from, end } = row;
        let mut queue = Replayed {
            from,
            end,
            ..Replayed::default()
        };
        for lane in state.lanes {
            queue.next_rank = queue.next_rank.max(lane.next_seq);
            for (seq, entry) in lane.loose {
                let rank = (seq, 0);
                queue.loose.insert(entry.pos, Loose { rank, entry });
            }
            for page in lane.pages {
                queue.known_to = queue.known_to.max(page.span.1);
                queue.enter_page((page.first_seq, 0), lane.priority, page);
            }
        }
        queue
    }

    fn enter_page(&mut self, rank: Rank, lane: u8, state: PageState) {
        if is_narrow(state.span) {
            self.spans.insert((state.span.1, state.pos));
        } else {
            self.wide.push(state.pos);
        }
        self.pages.insert(state.pos, Paged { rank, lane, state });
    }

    fn take_page(&mut self, page: LogPos) -> Option<Paged> {
        let paged = self.pages.remove(&page)?;
        if is_narrow(paged.state.span) {
            self.spans.remove(&(paged.state.span.1, page));
        } else {
            self.wide.retain(|other| *other != page);
        }
        Some(paged)
    }

    fn publish(&mut self, entry: IndexEntry, pages: &mut LoadedPages) {
        // A checkpoint may know it already.
        let in_page = entry.pos <= self.known_to && self.find_in_pages(entry.pos, pages).is_some();
        if in_page || self.loose.contains_key(&entry.pos) {
            return;
        }
        let rank = (self.next_rank, 0);
        self.next_rank += 1;
        self.loose.insert(entry.pos, Loose { rank, entry });
    }

    fn ack(&mut self, pos: LogPos, pages: &mut LoadedPages) {
        if self.loose.remove(&pos).is_some() {
            return;
        }
        let Some((page, place, body_bytes)) = self.find_in_pages(pos, pages) else {
            return;
        };
        if let Some(paged) = self.pages.get_mut(&page) {
            paged.state.remove(place, pos, body_bytes);
            if paged.state.live() == 0 {
                self.take_page(page);
            }
        }
    }

    /// Whether the message was there.
    fn rename(&mut self, old: LogPos, new: LogPos, pages: &mut LoadedPages) -> bool {
        self.pull_out(old, pages);
        let Some(mut loose) = self.loose.remove(&old) else {
            return false;
        };
        loose.entry.pos = new;
        self.loose.insert(new, loose);
        true
    }

    /// If the message at `pos` is in a page, that page was loaded before what happens to the message
    /// now: all that is left of it is in no page any more.
    fn pull_out(&mut self, pos: LogPos, pages: &mut LoadedPages) {
        if self.loose.contains_key(&pos) {
            return;
        }
        let Some((page, ..)) = self.find_in_pages(pos, pages) else {
            return;
        };
        let Some(Paged { rank, lane, state }) = self.take_page(page) else {
            return;
        };
        let redelivered = state.redelivered;
        for (place, entry) in pages.load(page).entries.iter().enumerate() {
            if !state.removed.contains(place) {
                let rank = (rank.0, place as u32);
                let mut entry = *entry;
                entry.priority = lane;
                entry.redelivered |= redelivered;
                self.loose.insert(entry.pos, Loose { rank, entry });
            }
        }
    }

    /// `over_gaps`: what the page lists was there then, whether it is known or not.
    fn page(&mut self, pos: LogPos, page: &Page, pages: &mut LoadedPages, over_gaps: bool) {
        let old = match page.replaces.is_some() {
            true => self.take_page(page.replaces),
            false => None,
        };
        if page.replaces.is_some() && old.is_none() && !over_gaps {
            return;
        }
        if let Some(old) = old {
            let mut state = PageState::new(pos, old.state.first_seq, &page.entries);
            state.redelivered = old.state.redelivered;
            for (place, entry) in page.entries.iter().enumerate() {
                if old.state.removed.contains(place) {
                    state.remove(place, entry.pos, entry.body_bytes);
                }
            }
            self.enter_page(old.rank, page.lane, state);
            return;
        }
        let mut state = PageState::new(pos, 0, &page.entries);
        let mut rank = None;
        for (place, entry) in page.entries.iter().enumerate() {
            self.pull_out(entry.pos, pages);
            match self.loose.remove(&entry.pos) {
                Some(loose) => rank = rank.max(Some(loose.rank)),
                None if over_gaps => {}
                None => {
                    state.remove(place, entry.pos, entry.body_bytes);
                }
            }
        }
        if over_gaps && rank.is_none() {
            rank = Some((self.next_rank, 0));
            self.next_rank += 1;
        }
        if let Some(rank) = rank {
            self.enter_page(rank, page.lane, state);
        }
    }

    /// The page that holds the message at `pos`, its place there and the octets of its body.
    fn find_in_pages(
        &mut self,
        pos: LogPos,
        pages: &mut LoadedPages,
    ) -> Option<(LogPos, usize, u32)> {
        let mut look = |page: LogPos| {
            let state = &self.pages.get(&page)?.state;
            if pos < state.span.0 || pos > state.span.1 {
                return None;
            }
            let (place, body_bytes) = pages.load(page).find(pos)?;
            (!state.removed.contains(place)).then_some((page, place, body_bytes))
        };
        let behind = LogPos::new(pos.segment().saturating_add(NARROW_SEGMENTS + 1), 0);
        let near = self
            .spans
            .range((pos, LogPos::NONE)..(behind, LogPos::NONE));
        let candidates = std::iter::once(self.hint)
            .chain(near.map(|(_, page)| *page))
            .chain(self.wide.iter().copied());
        let found = candidates.into_iter().find_map(&mut look)?;
        self.hint = found.0;
        Some(found)
    }
}

/// Pages with messages in more segments are looked through one by one.
const NARROW_SEGMENTS: u32 = 2;

fn is_narrow((smallest, largest): (LogPos, LogPos)) -> bool {
    largest.segment() - smallest.segment() <= NARROW_SEGMENTS
}

/// Most pages kept in memory: 64 octets a place, 64 MiB.
const LOADED_MAX: usize = 1024;

/// Pages that were read because something in them has gone.
struct LoadedPages {
    reader: Reader,
    loaded: HashMap<LogPos, LoadedPage>,
}

/// A page's entries, and their positions sorted, each with its place.
#[derive(Default)]
struct LoadedPage {
    entries: Vec<IndexEntry>,
    by_pos: Vec<(LogPos, u16)>,
}

impl LoadedPages {
    /// What is to be known of the message at `pos`, read anew.
    fn entry(&mut self, pos: LogPos, describe: Describe) -> Option<IndexEntry> {
        let mut entry = None;
        self.reader.published(&[pos], &mut |_, found| {
            let described = found
                .ok()
                .and_then(|(stamped_ms, octets)| Some((stamped_ms, describe(&octets)?)));
            entry = described.map(|(stamped_ms, described)| IndexEntry {
                pos,
                stamped_ms,
                ttl_ms: described.ttl_ms,
                body_bytes: described.body_bytes,
                failed_deliveries: 0,
                priority: described.priority,
                redelivered: true,
            });
        });
        entry
    }

    /// A page that cannot be read is empty here: nothing in it can be delivered either, and whoever
    /// tries is told again.
    fn load(&mut self, pos: LogPos) -> &LoadedPage {
        if self.loaded.len() >= LOADED_MAX && !self.loaded.contains_key(&pos) {
            self.loaded.clear();
        }
        let reader = &mut self.reader;
        self.loaded.entry(pos).or_insert_with(|| {
            let entries = reader.page(pos).unwrap_or_else(|error| {
                tracing::error!(%error, "a page of a queue is damaged");
                Vec::new()
            });
            let places = entries.iter().enumerate();
            let mut by_pos: Vec<_> = places.map(|(at, entry)| (entry.pos, at as u16)).collect();
            by_pos.sort_unstable();
            LoadedPage { entries, by_pos }
        })
    }
}

impl LoadedPage {
    fn find(&self, pos: LogPos) -> Option<(usize, u32)> {
        let at = self
            .by_pos
            .binary_search_by_key(&pos, |(pos, _)| *pos)
            .ok()?;
        let place = usize::from(self.by_pos.get(at)?.1);
        Some((place, self.entries.get(place)?.body_bytes))
    }
}
