//! Has queues refer to copies of what they hold in sparse segments, so that those segments can go.
//!
//! Owns which segments are worth it, and the order of steps; runs on the checkpoint's thread, before a
//! checkpoint, which then deletes what was left empty. What a copy is, the store says; what can be moved in a
//! queue, the queue.
//!
//! 1. Tails that hold something of a victim become pages.
//! 2. What the queues hold in the victims is listed, and copied forward. The copies are on disk before
//! 3. each queue, under its lock, logs that it refers to them, and does.
//!
//! What has left its queue by step 3, or is on its way out, is passed over.
//!
//! Sparse segments of the spill are copied in the same way, within the spill, and nothing is logged of them.

use std::collections::{HashMap, HashSet};

use tracing::{debug, error};

use super::checkpoints::{each_durable, each_queue};
use super::pager::Vhosts;
use crate::base::LogPos;
use crate::base::index::{IndexEntry, PageState};
use crate::queue::QueueRef;
use crate::store::{Copies, Log, LogError, Reader, Sparse};

/// At most so much is copied before a checkpoint, unless one segment has more.
const ROUND_BYTES: u64 = 32 << 20;
const ROUND_MESSAGES: u64 = 250_000;

/// What is remembered from one round to the next.
pub(super) struct Compactor {
    log: Log,
    reader: Reader,
    /// How much was held in segments that were sparse at the last round.
    seen: HashMap<u32, u64>,
    /// Segments with something that cannot be read, and so not be copied.
    damaged: HashSet<u32>,
}

/// Whether a page of these is one of the spill.
fn is_spilled(entries: &[IndexEntry]) -> bool {
    entries.first().is_some_and(|entry| entry.pos.is_spilled())
}

/// A queue's pages that are to be written again.
type Pages = (QueueRef, Vec<PageState>);

impl Compactor {
    pub(super) fn new(log: Log) -> Compactor {
        Compactor {
            reader: log.reader(),
            log,
            seen: HashMap::new(),
            damaged: HashSet::new(),
        }
    }

    /// Empties some sparse segments. Whether there may be more to gain soon.
    ///
    /// # Errors
    ///
    /// The log's failure.
    pub(super) fn round(&mut self, vhosts: &Vhosts) -> Result<bool, LogError> {
        // Copies take space before they give any back.
        if self.log.is_full() {
            return Ok(false);
        }
        let (victims, more) = self.choose();
        if victims.is_empty() {
            return Ok(more);
        }
        let is_victim = |segment: u32| victims.binary_search(&segment).is_ok();
        self.page_tails(vhosts, is_victim)?;
        let mut damaged = Vec::new();
        let (mut positions, mut pages) = (Vec::new(), Vec::new());
        each_queue(vhosts, |queue| {
            let found = queue.lock().records_in(is_victim, &mut positions);
            if !found.is_empty() {
                pages.push((queue.clone(), found));
            }
        });
        for page in pages.iter().flat_map(|(_, pages)| pages) {
            match self.reader.page(page.pos) {
                Ok(entries) => {
                    let left = entries.iter().enumerate();
                    let left = left.filter(|(place, _)| !page.removed.contains(*place));
                    let wanted = left.map(|(_, entry)| entry.pos);
                    positions.extend(wanted.filter(|pos| is_victim(pos.segment())));
                }
                Err(fault) if fault.is_gone() || fault.is_passing() => {}
                Err(fault) => {
                    error!(%fault, "a page cannot be copied; its segment stays");
                    damaged.push(fault.segment);
                    damaged.extend(page.segments.iter().map(|(segment, _)| *segment));
                }
            }
        }
        positions.sort_unstable();
        positions.dedup();
        let copies = self.log.copy_forward(&positions)?;
        for fault in &copies.unreadable {
            error!(%fault, "a message cannot be copied; its segment stays");
            damaged.push(fault.segment);
        }
        let mut moved = self.refer(vhosts, &copies)?;
        for queue in &pages {
            moved += self.refer_pages(queue, &copies)?;
        }
        drop(copies);
        // The others will be worth it again.
        damaged.retain(|segment| is_victim(*segment));
        self.damaged.extend(damaged);
        debug!(
            segments = victims.len(),
            moved, "sparse segments were copied forward"
        );
        Ok(more || moved > 0)
    }

    /// Sparse segments that are not emptied anyway, in order; and whether there are more.
    fn choose(&mut self) -> (Vec<u32>, bool) {
        let sparse = self.log.sparse_segments();
        let now = sparse.iter().map(|sparse| (sparse.segment, sparse.live));
        let before = std::mem::replace(&mut self.seen, now.collect());
        let mut victims = Vec::new();
        let (mut more, mut octets, mut messages) = (false, 0, 0);
        for Sparse {
            segment,
            live,
            live_bytes,
        } in sparse
        {
            if self.damaged.contains(&segment) {
                continue;
            }
            // One that is being consumed goes by itself.
            let rests = before.get(&segment);
            let rests = rests.is_some_and(|was| live.saturating_add(live / 8) >= *was);
            octets += live_bytes;
            messages += live;
            let fits = octets <= ROUND_BYTES && messages <= ROUND_MESSAGES;
            if rests && (fits || victims.is_empty()) {
                victims.push(segment);
            } else {
                more = true;
            }
        }
        victims.sort_unstable();
        (victims, more)
    }

    fn page_tails(&self, vhosts: &Vhosts, is_victim: impl Fn(u32) -> bool) -> Result<(), LogError> {
        let (settled, mut done, mut any) = (self.log.settled(), Ok(()), false);
        let spill_takes = self.log.takes_spill();
        each_durable(vhosts, |queue| {
            if done.is_err() {
                return;
            }
            let is_wanted = |pos: LogPos| pos.is_kept() && is_victim(pos.segment());
            done =
                queue
                    .lock()
                    .page_tails_with(is_wanted, settled, spill_takes, |lane, entries| {
                        let mut batch = self.log.batch();
                        let record = batch.page(queue.id, lane, LogPos::NONE, entries);
                        if is_spilled(entries) {
                            let spilled = self.log.spill(batch);
                            let page = spilled.map_or(LogPos::NONE, |page| page.position(record));
                            return Ok((page, None));
                        }
                        any = true;
                        let appended = self.log.append(batch)?;
                        Ok((appended.position(record), Some(appended)))
                    });
        });
        done?;
        match any {
            true => self.log.sync(),
            false => Ok(()),
        }
    }

    /// Messages in no page. How many were moved.
    fn refer(&self, vhosts: &Vhosts, copies: &Copies) -> Result<usize, LogError> {
        let (mut done, mut count) = (Ok(()), 0);
        each_queue(vhosts, |queue| {
            if done.is_err() {
                return;
            }
            let mut state = queue.lock();
            let moved = state.move_records(
                |pos| copies.of(pos),
                |pairs| {
                    let kept = pairs.iter().filter(|(old, _)| old.is_kept());
                    let kept: Vec<_> = kept.copied().collect();
                    if kept.is_empty() {
                        return Ok(());
                    }
                    let mut batch = self.log.batch();
                    batch.rename(queue.id, &kept);
                    self.log.append(batch).map(drop)
                },
            );
            match moved {
                // While it is locked: nobody can let go of a copy before it is held.
                Ok(pairs) => {
                    count += pairs.len();
                    copies.referred(&pairs);
                }
                Err(failure) => done = Err(failure),
            }
        });
        done.map(|()| count)
    }

    /// Pages, and the messages in them. How many of either were moved.
    fn refer_pages(&mut self, (queue, pages): &Pages, copies: &Copies) -> Result<usize, LogError> {
        let mut count = 0;
        for PageState { pos, .. } in pages {
            // What cannot be read was said.
            let Ok(entries) = self.reader.page(*pos) else {
                continue;
            };
            let mut state = queue.lock();
            let moved = state.move_page(
                *pos,
                entries,
                |pos| copies.of(pos),
                |lane, entries| {
                    let mut batch = self.log.batch();
                    let record = batch.page(queue.id, lane, *pos, entries);
                    if is_spilled(entries) {
                        let spilled = self.log.spill(batch);
                        return Ok(spilled.map_or(LogPos::NONE, |page| page.position(record)));
                    }
                    let appended = self.log.append(batch)?;
                    Ok::<_, LogError>(appended.position(record))
                },
            )?;
            if let Some(pairs) = moved {
                count += pairs.len() + 1;
                copies.referred(&pairs);
                self.log.release(*pos, 1);
            }
        }
        Ok(count)
    }
}
