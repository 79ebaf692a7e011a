//! What the log says that queues hold, on its way from replay to the queues.
//!
//! Owns the order of each queue's messages and pages, and what of them can be read. Never reads the log
//! from front to back.

use std::collections::BTreeSet;

use crate::base::index::{IndexEntry, LaneState, PageState, QueueState};
use crate::base::{LogPos, QueueId};

use super::error::ReadError;
use super::reader::Reader;

/// The order within a lane. What was in a page that had to be dissolved keeps its place by the second
/// number.
pub(crate) type Rank = (u64, u32);

/// A queue's messages and pages in order, before its highest priority is known.
#[derive(Clone)]
pub(crate) struct Unranked {
    pub(crate) queue: QueueId,
    pub(crate) items: Vec<(Rank, Item)>,
}

#[derive(Clone)]
pub(crate) enum Item {
    Loose(IndexEntry),
    Page(u8, PageState),
}

impl Unranked {
    /// Positions that keep a segment: each page and each message in none; and messages in pages by
    /// their segment.
    pub(crate) fn held(&self, mut hold: impl FnMut(u32, u64)) {
        for (_, item) in &self.items {
            match item {
                Item::Loose(entry) => hold(entry.pos.segment(), 1),
                Item::Page(_, page) => {
                    hold(page.pos.segment(), 1);
                    for (segment, live) in &page.segments {
                        hold(*segment, u64::from(*live));
                    }
                }
            }
        }
    }

    /// Takes out the pages whose records cannot be read: their places, and what they were.
    pub(crate) fn take_broken_pages<E>(
        &mut self,
        reader: &mut Reader,
        mut broken: impl FnMut(ReadError) -> Result<(), E>,
    ) -> Result<Vec<BrokenPage>, E> {
        let (mut found, mut ended) = (Vec::new(), Ok(()));
        self.items.retain(|(rank, item)| {
            let Item::Page(lane, page) = item else {
                return true;
            };
            let Err(error) = reader.page(page.pos) else {
                return true;
            };
            if ended.is_ok() {
                ended = broken(error);
            }
            let (rank, lane, page) = (*rank, *lane, page.clone());
            found.push(BrokenPage { rank, lane, page });
            false
        });
        ended.map(|()| found)
    }

    /// Reads all that it holds, and lets go of what cannot be read. `read` is told how many messages were
    /// read, and what failed; an error of its own ends it.
    pub(crate) fn drop_unreadable<E>(
        &mut self,
        reader: &mut Reader,
        mut read: impl FnMut(u64, Option<ReadError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let loose = self.items.iter().filter_map(|(_, item)| match item {
            Item::Loose(entry) => Some(entry.pos),
            Item::Page(..) => None,
        });
        let lost = unreadable(reader, &loose.collect::<Vec<_>>(), &mut read)?;
        let mut at = 0..;
        self.items.retain(|(_, item)| match item {
            Item::Loose(_) => at.next().is_some_and(|at| !lost.contains(&at)),
            Item::Page(..) => true,
        });
        for (_, item) in &mut self.items {
            let Item::Page(_, page) = item else {
                continue;
            };
            let entries = reader.page(page.pos).unwrap_or_default();
            let left = entries.iter().enumerate();
            let left: Vec<_> = left
                .filter(|(place, _)| !page.removed.contains(*place))
                .collect();
            let positions: Vec<LogPos> = left.iter().map(|(_, entry)| entry.pos).collect();
            let lost = unreadable(reader, &positions, &mut read)?;
            for (place, entry) in lost.iter().filter_map(|at| left.get(*at)) {
                page.remove(*place, entry.pos, entry.body_bytes);
            }
        }
        self.items.retain(|(_, item)| match item {
            Item::Loose(_) => true,
            Item::Page(_, page) => page.live() > 0,
        });
        Ok(())
    }

    /// Messages in it.
    pub(crate) fn len(&self) -> u64 {
        let len = |(_, item): &(Rank, Item)| match item {
            Item::Loose(_) => 1,
            Item::Page(_, page) => u64::from(page.live()),
        };
        self.items.iter().map(len).sum()
    }

    /// Lanes with numbers anew, dense and in order. Priorities above `max_priority` count as that.
    pub(crate) fn state(self, max_priority: u8) -> QueueState {
        let mut lanes: Vec<LaneState> = Vec::new();
        for (_, item) in self.items {
            let priority = match &item {
                Item::Loose(entry) => entry.priority.min(max_priority),
                Item::Page(lane, _) => (*lane).min(max_priority),
            };
            let at = match lanes.iter().position(|lane| lane.priority == priority) {
                Some(at) => at,
                None => {
                    lanes.push(LaneState {
                        priority,
                        ..LaneState::default()
                    });
                    lanes.len() - 1
                }
            };
            let Some(lane) = lanes.get_mut(at) else {
                continue;
            };
            let seq = lane.next_seq;
            match item {
                Item::Loose(mut entry) => {
                    entry.priority = priority;
                    lane.loose.push((seq, entry));
                    lane.next_seq += 1;
                }
                Item::Page(_, mut page) => {
                    page.first_seq = seq;
                    lane.next_seq += u64::from(page.len);
                    lane.pages.push(page);
                }
            }
        }
        lanes.sort_unstable_by_key(|lane| lane.priority);
        QueueState {
            queue: self.queue,
            lanes,
        }
    }
}

/// A page whose record cannot be read.
pub(crate) struct BrokenPage {
    pub(crate) rank: Rank,
    pub(crate) lane: u8,
    pub(crate) page: PageState,
}

/// Which of `positions` cannot be read.
fn unreadable<E>(
    reader: &mut Reader,
    positions: &[LogPos],
    read: &mut impl FnMut(u64, Option<ReadError>) -> Result<(), E>,
) -> Result<BTreeSet<usize>, E> {
    let mut lost = BTreeSet::new();
    for (chunk, positions) in positions.chunks(CHUNK).enumerate() {
        let mut ended = Ok(());
        reader.messages(positions, &mut |index, found| {
            if found.is_err() {
                lost.insert(chunk * CHUNK + index);
            }
            if ended.is_ok() {
                ended = read(1, found.err());
            }
        });
        ended?;
    }
    Ok(lost)
}

/// Messages read before an error ends it.
const CHUNK: usize = 1024;
