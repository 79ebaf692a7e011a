//! Deduplication (A3.21): what was published to an exchange or a queue a short while ago is dropped.
//!
//! Owns the windows: ids that were seen, bounded in number and age. (A queue without a window goes by the ids
//! that are in it, which are its own; here they are only found again at a start.) A window's ids are in memory as a set, and once more as the
//! messages of a window's queue, which no client sees: so they rest on the log and its recovery. An id and the
//! message it came with are one batch of the log, so after a crash both are there, or neither. The lock on the
//! ids is held from the look at them until that batch has its place in the log: whoever finds an id there can
//! wait for the same place, and a confirm of a duplicate means what it always means.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::MutexGuard;
use tracing::error;

use super::aftermath::Posted;
use super::pager::page_at_start;
use super::vhost::Vhost;
use crate::base::index::QueueState;
use crate::base::{AmqpError, LogPos, Name, QueueId};
use crate::message::{Dedup, DedupId, DedupMark, Message};
use crate::queue::{QueueOptions, QueueRef};
use crate::store::{Log, Reader};

/// The ids of every window of a vhost, by the window's queue.
pub(super) type Seen = HashMap<QueueId, Ids>;

/// A window: how it drops, and where its ids are on disk.
#[derive(Clone)]
pub(super) struct Window {
    pub(super) rule: Dedup,
    pub(super) queue: QueueRef,
}

/// Whose window it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WindowOf {
    Exchange(Name),
    Queue(Name),
}

/// What the queue of a window is like. It has no time to live, which would be the most that a mark can have:
/// each mark brings its own, longer or shorter than the window's.
pub(super) fn options(rule: &Dedup) -> QueueOptions {
    QueueOptions {
        max_len: Some(rule.size),
        ..QueueOptions::default()
    }
}

/// The ids of one window, in the order they came. One that is too old is not known, but keeps its place until
/// it is the first.
#[derive(Default)]
pub(super) struct Ids {
    /// Of each id the number of its place in `order`.
    places: HashMap<DedupId, u64>,
    /// With the time from which on it is not known.
    order: VecDeque<(DedupId, u64)>,
    /// Places that are gone from the front of `order`.
    gone: u64,
    /// Where the last of them ends in the log.
    end: LogPos,
}

impl Ids {
    /// Whether an id is new. It is seen from now on.
    fn see(&mut self, mark: DedupMark, rule: &Dedup) -> bool {
        let now_ms = mark.seen_at_ms;
        self.forget_old(now_ms);
        if self.knows(mark.id, now_ms) {
            return false;
        }
        self.places
            .insert(mark.id, self.gone + self.order.len() as u64);
        let ttl_ms = mark.ttl_ms.or(rule.ttl_ms);
        let until_ms = ttl_ms.map_or(u64::MAX, |ttl_ms| now_ms.saturating_add(ttl_ms));
        self.order.push_back((mark.id, until_ms));
        if self.order.len() as u64 > rule.size {
            self.drop_first();
        }
        true
    }

    fn knows(&self, id: DedupId, now_ms: u64) -> bool {
        let place = self.places.get(&id).and_then(|n| n.checked_sub(self.gone));
        let known = place.and_then(|place| self.order.get(place as usize));
        known.is_some_and(|&(_, until_ms)| now_ms < until_ms)
    }

    fn forget(&mut self, id: DedupId) {
        self.places.remove(&id);
    }

    fn forget_old(&mut self, now_ms: u64) {
        let is_old = |&(_, until_ms): &(DedupId, u64)| until_ms <= now_ms;
        while self.order.front().is_some_and(is_old) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some((id, _)) = self.order.pop_front() {
            // It may have been forgotten and seen again since.
            if self.places.get(&id) == Some(&self.gone) {
                self.places.remove(&id);
            }
            self.gone += 1;
        }
    }
}

/// A look at the windows that lasts until a batch of publishes has its place in the log.
pub(super) struct Look<'v> {
    seen: MutexGuard<'v, Seen>,
    now_ms: u64,
    fresh: Vec<Fresh>,
    /// What the duplicates that were found wait for.
    waits_for: LogPos,
}

/// An id that a message of the batch brought.
pub(super) struct Fresh {
    pub(super) window: QueueRef,
    pub(super) mark: DedupMark,
    /// Which of the batch's messages it is.
    pub(super) number: u32,
    /// The queue whose window it is; none if it is an exchange's.
    pub(super) queue: Option<QueueId>,
}

impl Look<'_> {
    /// Whether a message may pass: if it has no id, or one that the window has not seen.
    pub(super) fn admits(
        &mut self,
        window: &Window,
        message: &Message,
        number: u32,
        queue: Option<QueueId>,
    ) -> bool {
        let Some(id) = message.dedup_id(&window.rule.header) else {
            return true;
        };
        let mark = DedupMark {
            id,
            seen_at_ms: self.now_ms,
            ttl_ms: message.dedup_ttl_ms().or(window.rule.ttl_ms),
        };
        let ids = self.seen.entry(window.queue.id).or_default();
        if !ids.see(mark, &window.rule) {
            self.waits_for = self.waits_for.max(ids.end);
            return false;
        }
        self.fresh.push(Fresh {
            window: window.queue.clone(),
            mark,
            number,
            queue,
        });
        true
    }

    /// The ids that came since the last call, to be written with their messages.
    pub(super) fn fresh_from(&self, first: usize) -> &[Fresh] {
        self.fresh.get(first..).unwrap_or_default()
    }

    /// How many ids have come.
    pub(super) fn fresh_len(&self) -> usize {
        self.fresh.len()
    }

    /// The batch ends at `end`. What it must wait for besides, and the ids it brought.
    pub(super) fn end(mut self, end: LogPos) -> (LogPos, Vec<Fresh>) {
        for fresh in &self.fresh {
            if let Some(ids) = self.seen.get_mut(&fresh.window.id) {
                ids.end = ids.end.max(end);
            }
        }
        (self.waits_for, self.fresh)
    }
}

impl Vhost {
    /// Looks at the windows for a batch of publishes.
    pub(super) fn look(&self, now_ms: u64) -> Look<'_> {
        Look {
            seen: self.seen.lock(),
            now_ms,
            fresh: Vec::new(),
            waits_for: LogPos::NONE,
        }
    }

    /// Forgets ids whose messages a queue refused: they will be sent again.
    pub(super) fn forget_seen(&self, refused: &[Fresh]) -> Result<(), AmqpError> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut seen = self.seen.lock();
        let mut batch = self.log.batch();
        let mut posted = Vec::new();
        for fresh in refused {
            if let Some(ids) = seen.get_mut(&fresh.window.id) {
                ids.forget(fresh.mark.id);
            }
            let mark = DedupMark {
                seen_at_ms: 0,
                ..fresh.mark
            };
            let message = mark.to_message();
            let targets = [fresh.window.clone()];
            let record = self.record(&message, &targets, &mut batch);
            posted.extend(Posted::to_each(targets, &message, record));
        }
        self.post_all(batch, posted).map(drop)
    }

    /// Reads, at start, what the windows had seen.
    pub(super) fn restore_windows(&self) {
        let topology = self.topology();
        let of_exchanges = topology.exchange_windows.values();
        let mut seen = self.seen.lock();
        for window in of_exchanges.chain(topology.queue_windows.values()) {
            let ids = seen.entry(window.queue.id).or_default();
            let marks = window.queue.lock().peek_all();
            for mark in marks.iter().filter_map(DedupMark::from_message) {
                match mark.seen_at_ms {
                    0 => ids.forget(mark.id),
                    _ => {
                        ids.see(mark, &window.rule);
                    }
                }
            }
        }
    }
}

/// The ids in a queue that takes none twice, with lane and number, at a start. One that is there twice
/// all the same, since a crash came before the record that the second was dropped, is taken out here.
pub(super) fn ids_there(
    state: &mut QueueState,
    header: &str,
    reader: &mut Reader,
    log: &Log,
) -> Vec<(u8, u64, DedupId)> {
    let mut all: Vec<Stored> = Vec::new();
    for lane in &state.lanes {
        let loose = lane.loose.iter();
        all.extend(loose.map(|(seq, entry)| (entry.pos, lane.priority, *seq, entry.body_bytes)));
        for page in &lane.pages {
            // One that cannot be read is found out when it is wanted.
            let entries = page_at_start(reader, page.pos).unwrap_or_default();
            let left = entries.iter().enumerate();
            let left = left.filter(|(place, _)| !page.removed.contains(*place));
            all.extend(left.map(|(place, entry)| {
                let seq = page.first_seq + place as u64;
                (entry.pos, lane.priority, seq, entry.body_bytes)
            }));
        }
    }
    all.sort_unstable();
    let positions: Vec<LogPos> = all.iter().map(|(pos, ..)| *pos).collect();
    let (mut known, mut ids, mut twice) = (HashSet::new(), Vec::new(), Vec::new());
    reader.messages(&positions, &mut |index, octets| {
        let message = octets.ok().and_then(Message::from_logged);
        let id = message.and_then(|message| message.dedup_id(header));
        let (Some(id), Some(&stored)) = (id, all.get(index)) else {
            return;
        };
        match known.insert(id) {
            true => ids.push((stored.1, stored.2, id)),
            false => twice.push(stored),
        }
    });
    drop_at_start(state, &twice, log);
    ids
}

/// A message on disk: its record, its lane and number, and the octets of its body.
type Stored = (LogPos, u8, u64, u32);

/// Takes messages out of what a queue is to be restored from.
fn drop_at_start(state: &mut QueueState, gone: &[Stored], log: &Log) {
    if gone.is_empty() {
        return;
    }
    for (pos, level, seq, body_bytes) in gone {
        for lane in &mut state.lanes {
            if lane.priority != *level {
                continue;
            }
            lane.loose.retain(|(other, _)| other != seq);
            for page in &mut lane.pages {
                if let Some(place) = seq.checked_sub(page.first_seq) {
                    page.remove(place as usize, *pos, *body_bytes);
                }
            }
            lane.pages.retain(|page| {
                let stays = page.live() > 0;
                if !stays {
                    log.release(page.pos, 1);
                }
                stays
            });
        }
    }
    let mut batch = log.batch();
    batch.ack(state.queue, gone.iter().map(|(pos, ..)| *pos));
    match log.append(batch) {
        Ok(appended) => {
            log.release_all(gone.iter().map(|(pos, ..)| *pos));
            drop(appended);
        }
        Err(fault) => {
            error!(queue = state.queue.0, %fault, "messages that are there twice stay so")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(id: u8, seen_at_ms: u64, ttl_ms: Option<u64>) -> DedupMark {
        DedupMark {
            id: DedupId([id; 16]),
            seen_at_ms,
            ttl_ms,
        }
    }

    /// What came, in the plainest model.
    struct Came {
        id: u8,
        until_ms: u64,
        counts: bool,
    }

    proptest! {
        /// Against the plainest model: a list of what came, looked through from the end.
        #[test]
        fn ids_are_bounded_in_number_and_age(
            size in 1..6_u64,
            ttl_ms in proptest::option::of(1..20_u64),
            steps in proptest::collection::vec(
                (0..8_u8, 0..6_u64, proptest::option::of(0..40_u64), any::<bool>()),
                1..200,
            ),
        ) {
            let rule = Dedup { size, ttl_ms, ..Dedup::default() };
            let mut ids = Ids::default();
            let mut model: Vec<Came> = Vec::new();
            let mut now_ms = 1;
            for (id, later_ms, own_ttl_ms, forget) in steps {
                now_ms += later_ms;
                let young = model.iter().position(|came| now_ms < came.until_ms);
                model.drain(..young.unwrap_or(model.len()));
                if forget {
                    ids.forget(DedupId([id; 16]));
                    model.iter_mut().filter(|came| came.id == id).for_each(|came| came.counts = false);
                    continue;
                }
                let known = |came: &Came| came.id == id && came.counts && now_ms < came.until_ms;
                let known = model.iter().any(known);
                prop_assert_eq!(ids.see(mark(id, now_ms, own_ttl_ms), &rule), !known);
                if !known {
                    let ttl_ms = own_ttl_ms.or(ttl_ms);
                    let until_ms = ttl_ms.map_or(u64::MAX, |ttl_ms| now_ms + ttl_ms);
                    model.push(Came { id, until_ms, counts: true });
                    if model.len() as u64 > size {
                        model.remove(0);
                    }
                }
                prop_assert!(ids.order.len() as u64 <= size && ids.places.len() as u64 <= size);
            }
        }
    }
}
