//! What each segment still holds: the counts that say when its file may go.
//!
//! Owns the counts; `checkpoint.rs` deletes the files, never a producer.
//!
//! A segment goes, wherever it stands, with the first checkpoint that begins when
//!
//! 1. every queue has released every message in it, and every page in it,
//! 2. replay would begin behind it,
//! 3. its catalogue records are in sled, and sled's flush has returned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::base::LogPos;

use super::checkpoint_file::SegmentRow;
use super::compaction::Sparse;

#[derive(Debug, Default)]
struct Segment {
    /// Messages not released, counted once for each queue, and pages.
    live: AtomicU64,
    /// As `live`, without those that were released: what it once held.
    total: AtomicU64,
    /// Position of the last catalogue record, 0 if there is none.
    last_catalogue: AtomicU64,
    /// Where its last batch ends; 0 while it is written.
    end: AtomicU32,
}

/// The counts of all segments that have a file.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_id: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// The segment that new batches go to. None before it changes.
    active: AtomicU32,
    /// The last catalogue record that is in sled and flushed.
    flushed: AtomicU64,
}

impl Segments {
    /// A segment found by recovery, and how much in it is held.
    pub(crate) fn found(&self, row: SegmentRow, live: u64) {
        let entry = Segment {
            live: live.into(),
            total: row.total.into(),
            last_catalogue: row.last_catalogue.0.into(),
            end: row.end.into(),
        };
        self.by_id.write().insert(row.segment, Arc::new(entry));
    }

    /// New batches go to `segment` from now on.
    pub(crate) fn activate(&self, segment: u32) {
        self.by_id.write().entry(segment).or_default();
        self.active.store(segment, Ordering::Release);
    }

    /// The last batch of `segment` ends at `end`.
    pub(crate) fn close(&self, segment: u32, end: u32) {
        if let Some(entry) = self.by_id.read().get(&segment) {
            entry.end.store(end, Ordering::Relaxed);
        }
    }

    /// Counts a batch. Must happen before anyone can release what is in it.
    pub(crate) fn add(&self, segment: u32, publications: u32, last_catalogue: Option<LogPos>) {
        if let Some(entry) = self.by_id.read().get(&segment) {
            let publications = u64::from(publications);
            entry.live.fetch_add(publications, Ordering::Relaxed);
            entry.total.fetch_add(publications, Ordering::Relaxed);
            if let Some(position) = last_catalogue {
                entry.last_catalogue.store(position.0, Ordering::Relaxed);
            }
        }
    }

    /// `count` more queues hold messages of `segment`.
    pub(crate) fn hold(&self, segment: u32, count: u64) {
        if let Some(entry) = self.by_id.read().get(&segment) {
            entry.live.fetch_add(count, Ordering::Relaxed);
            entry.total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// As if `count` messages of `segment` had never been held: who holds them now was counted besides. True if
    /// that emptied the segment.
    pub(crate) fn unhold(&self, segment: u32, count: u64) -> bool {
        let by_id = self.by_id.read();
        let Some(entry) = by_id.get(&segment) else {
            debug_assert!(false, "copies in segment {segment}, which is gone");
            return false;
        };
        // Before they can be found to be released, or the segment would look sparse.
        entry.total.fetch_sub(count, Ordering::Relaxed);
        let before = entry.live.fetch_sub(count, Ordering::AcqRel);
        debug_assert!(
            before >= count,
            "segment {segment}: gave back more than it holds"
        );
        before == count && segment < self.active.load(Ordering::Acquire)
    }

    /// `count` queues need the messages of `segment` no longer. True if that emptied a segment, or left
    /// it half empty.
    pub(crate) fn release(&self, segment: u32, count: u64) -> bool {
        let by_id = self.by_id.read();
        let Some(entry) = by_id.get(&segment) else {
            debug_assert!(
                false,
                "released a message of segment {segment}, which is gone"
            );
            return false;
        };
        let before = entry.live.fetch_sub(count, Ordering::AcqRel);
        debug_assert!(
            before >= count,
            "segment {segment}: released more than it holds"
        );
        let (half, after) = (
            entry.total.load(Ordering::Relaxed) / 2,
            before.saturating_sub(count),
        );
        let is_time = after == 0 || (before > half && after <= half);
        is_time && segment < self.active.load(Ordering::Acquire)
    }

    /// All catalogue records up to this one are in sled, on disk.
    pub(crate) fn flushed(&self, position: LogPos) {
        self.flushed.store(position.0, Ordering::Release);
    }

    /// Segments before `segment` that nobody needs.
    pub(crate) fn empty_before(&self, segment: u32) -> Vec<u32> {
        let flushed = self.flushed.load(Ordering::Acquire);
        self.by_id
            .read()
            .range(..segment)
            .filter(|(_, entry)| {
                entry.live.load(Ordering::Acquire) == 0
                    && entry.last_catalogue.load(Ordering::Acquire) <= flushed
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether at most half of what `segment` once held is held.
    pub(crate) fn is_idle(&self, segment: u32) -> bool {
        self.by_id.read().get(&segment).is_some_and(|entry| {
            let total = entry.total.load(Ordering::Relaxed);
            entry.live.load(Ordering::Acquire) <= total / 2
        })
    }

    /// Closed segments before `segment` of which at most half is held, the sparsest first.
    pub(crate) fn sparse_before(&self, segment: u32) -> Vec<Sparse> {
        let by_id = self.by_id.read();
        let mut sparse: Vec<Sparse> = by_id
            .range(..segment)
            .filter_map(|(id, entry)| {
                let live = entry.live.load(Ordering::Acquire);
                let total = entry.total.load(Ordering::Relaxed).max(1);
                let bytes = u64::from(entry.end.load(Ordering::Relaxed));
                (live > 0 && live <= total / 2).then_some(Sparse {
                    segment: *id,
                    live,
                    live_bytes: bytes.saturating_mul(live) / total,
                })
            })
            .collect();
        sparse.sort_unstable_by_key(|sparse| (sparse.live_bytes, sparse.segment));
        sparse
    }

    /// Whether a checkpoint could delete something.
    pub(crate) fn any_empty(&self) -> bool {
        !self
            .empty_before(self.active.load(Ordering::Acquire))
            .is_empty()
    }

    /// What a checkpoint keeps of each segment but `without`, which are in order.
    pub(crate) fn rows(&self, without: &[u32]) -> Vec<SegmentRow> {
        let by_id = self.by_id.read();
        let kept = by_id
            .iter()
            .filter(|(id, _)| without.binary_search(id).is_err());
        kept.map(|(id, entry)| SegmentRow {
            segment: *id,
            total: entry.total.load(Ordering::Relaxed),
            last_catalogue: LogPos(entry.last_catalogue.load(Ordering::Relaxed)),
            end: entry.end.load(Ordering::Relaxed),
        })
        .collect()
    }

    /// The file is gone.
    pub(crate) fn forget(&self, segment: u32) {
        self.by_id.write().remove(&segment);
    }

    /// Octets of the segments that are closed, what all hold and what they ever held.
    pub(crate) fn sums(&self) -> (u64, u64, u64) {
        let by_id = self.by_id.read();
        let mut sums = (0, 0, 0);
        for segment in by_id.values() {
            sums.0 += u64::from(segment.end.load(Ordering::Relaxed));
            sums.1 += segment.live.load(Ordering::Relaxed);
            sums.2 += segment.total.load(Ordering::Relaxed);
        }
        sums
    }

    /// Number of segment files and of unreleased messages and pages in all of them.
    pub(crate) fn totals(&self) -> (usize, u64) {
        let by_id = self.by_id.read();
        (
            by_id.len(),
            by_id
                .values()
                .map(|segment| segment.live.load(Ordering::Relaxed))
                .sum(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_are_all_held_do_not_make_a_segment_sparse() {
        let segments = Segments::default();
        segments.activate(1);
        segments.add(1, 10, None);
        segments.hold(1, 9);
        assert!(!segments.unhold(1, 10));
        segments.activate(2);
        segments.close(1, 1000);
        assert_eq!(segments.totals(), (2, 9));
        assert_eq!(segments.sparse_before(2), []);
        assert!(!segments.release(1, 4));
        assert!(segments.release(1, 1), "4 of 9");
        assert_eq!(segments.sparse_before(2).len(), 1);
        segments.add(2, 3, None);
        segments.activate(3);
        assert!(segments.unhold(2, 3), "nobody wanted them");
        assert_eq!(segments.empty_before(3), [2]);
    }

    #[test]
    fn a_segment_goes_wherever_it_stands() {
        let segments = Segments::default();
        let row = |segment, last_catalogue| SegmentRow {
            segment,
            total: 2,
            last_catalogue,
            end: 100,
        };
        segments.found(row(1, LogPos::NONE), 2);
        segments.found(row(2, LogPos::NONE), 0);
        segments.found(row(3, LogPos::new(3, 32)), 0);
        segments.activate(4);
        assert_eq!(segments.empty_before(4), [2], "the catalogue needs 3");
        assert!(
            segments.empty_before(2).is_empty(),
            "not what may be replayed"
        );
        segments.flushed(LogPos::new(3, 32));
        assert_eq!(segments.empty_before(4), [2, 3]);
        assert!(segments.release(1, 1), "half of it");
        let sparse = Sparse {
            segment: 1,
            live: 1,
            live_bytes: 50,
        };
        assert_eq!(segments.sparse_before(4), [sparse]);
        assert!(segments.release(1, 1), "emptied");
        assert!(segments.sparse_before(4).is_empty(), "nothing is left");
        assert!(segments.any_empty());
        assert_eq!(segments.empty_before(5), [1, 2, 3, 4]);
        let kept: Vec<_> = segments
            .rows(&[1, 3])
            .iter()
            .map(|row| row.segment)
            .collect();
        assert_eq!(kept, [2, 4]);
    }
}
