//! What each segment still holds: the counts that say when its file may go.
//!
//! Owns the counts; the files are deleted by the log's writer thread, never by a producer.
//!
//! Only a prefix of the log is ever deleted, oldest first. A later segment without a live message
//! may hold the acks of messages in an earlier one that stands because of some other message: if
//! the later file went first, a restart would bring those acked messages back.
//! A segment of the prefix goes when
//!
//! 1. every queue has released every message in it,
//! 2. it is not the one being written,
//! 3. its catalogue records are in sled, and sled's flush has returned,
//! 4. what had been appended when 1 was seen is durable. A release follows the append of its ack
//!    or move; without this rule a crash could lose a move and the message it would have moved.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::base::LogPos;

#[derive(Debug, Default)]
struct Segment {
    /// Messages not released, counted once for each queue.
    live: AtomicU64,
    /// Position of the last catalogue record, 0 if there is none.
    last_catalogue: AtomicU64,
}

/// The counts of all segments that have a file.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_id: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// The segment that new batches go to. None before it changes.
    active: AtomicU32,
    /// The last catalogue record that is in sled and flushed.
    checkpoint: AtomicU64,
    /// Something changed that may make a segment deletable.
    look: AtomicBool,
}

impl Segments {
    /// A segment found by recovery.
    pub(crate) fn found(&self, segment: u32, live: u64, last_catalogue: LogPos) {
        let entry = Segment {
            live: live.into(),
            last_catalogue: last_catalogue.0.into(),
        };
        self.by_id.write().insert(segment, Arc::new(entry));
        self.look.store(true, Ordering::Release);
    }

    /// New batches go to `segment` from now on. The one before may have been empty already.
    pub(crate) fn activate(&self, segment: u32) {
        self.by_id.write().entry(segment).or_default();
        self.active.store(segment, Ordering::Release);
        self.look.store(true, Ordering::Release);
    }

    /// Counts a batch. Must happen before anyone can release what is in it.
    pub(crate) fn add(&self, segment: u32, publications: u32, last_catalogue: Option<LogPos>) {
        if let Some(entry) = self.by_id.read().get(&segment) {
            entry
                .live
                .fetch_add(u64::from(publications), Ordering::Relaxed);
            if let Some(position) = last_catalogue {
                entry.last_catalogue.store(position.0, Ordering::Relaxed);
            }
        }
    }

    /// `count` queues need the messages of `segment` no longer. True if the segment is empty now
    /// and the writer should look.
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
        let emptied = before == count && segment < self.active.load(Ordering::Acquire);
        if emptied {
            self.look.store(true, Ordering::Release);
        }
        emptied
    }

    /// All catalogue records up to this one are in sled, on disk.
    pub(crate) fn checkpoint(&self, position: LogPos) {
        self.checkpoint.store(position.0, Ordering::Release);
        self.look.store(true, Ordering::Release);
    }

    /// Whether [`Segments::deletable`] may have something new to say. Resets itself.
    pub(crate) fn should_look(&self) -> bool {
        self.look.swap(false, Ordering::AcqRel)
    }

    /// Look again next time: what was found could not be acted upon yet.
    pub(crate) fn look_again(&self) {
        self.look.store(true, Ordering::Release);
    }

    /// The segments, oldest first, that fulfil rules 1 to 3; none from `written` on.
    pub(crate) fn deletable(&self, written: u32) -> Vec<u32> {
        let active = self.active.load(Ordering::Acquire).min(written);
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        self.by_id
            .read()
            .iter()
            .take_while(|(id, segment)| {
                **id < active
                    && segment.live.load(Ordering::Acquire) == 0
                    && segment.last_catalogue.load(Ordering::Acquire) <= checkpoint
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// The file is gone.
    pub(crate) fn forget(&self, segment: u32) {
        self.by_id.write().remove(&segment);
    }

    /// Number of segment files and of unreleased messages in all of them.
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
    fn only_a_prefix_is_deletable() {
        let segments = Segments::default();
        segments.found(1, 1, LogPos::NONE);
        segments.found(2, 0, LogPos::NONE);
        segments.found(3, 0, LogPos::new(3, 32));
        segments.activate(4);
        assert_eq!(segments.deletable(4), Vec::<u32>::new());
        assert!(segments.release(1, 1));
        assert_eq!(segments.deletable(4), [1, 2]);
        assert_eq!(
            segments.deletable(2),
            [1],
            "not what is still being written"
        );
        segments.checkpoint(LogPos::new(3, 32));
        assert_eq!(segments.deletable(4), [1, 2, 3]);
    }
}
