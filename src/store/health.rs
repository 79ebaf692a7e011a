//! How the log is doing, in numbers that only grow.
//!
//! Owns the counts. Kept by the threads that do the work, once a group, a read or a segment; who shows them
//! reads [`Log::figures`](super::Log::figures).

use std::time::Duration;

use crate::base::counter::{Counter, SharedCounter};

/// Upper bounds of the classes of [`LogFigures::syncs`] in microseconds; the last class has none.
pub const SYNC_BOUNDS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

/// Classes of sync times.
pub const SYNC_CLASSES: usize = SYNC_BOUNDS_US.len() + 1;

/// The log's figures at one moment. Counts are since the start, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFigures {
    /// Syncs of the log (`fdatasync`), by how long they took: one count for each of
    /// [`SYNC_BOUNDS_US`], not added up, and one for all that took longer.
    pub syncs: [u64; SYNC_CLASSES],
    /// What all syncs took together, in microseconds.
    pub syncs_us: u64,
    /// Group commits: what was written with one call, and synced with one.
    pub groups: u64,
    /// Batches in them: what a connection's one read made, and the like.
    pub group_batches: u64,
    /// Records in them: messages (once for all queues), acks, pages, changes of the catalogue.
    pub group_records: u64,
    /// Octets in them, headers included.
    pub group_bytes: u64,
    /// Segment files that there are now.
    pub segments: u64,
    /// Octets of all segments now, without what is written ahead.
    pub bytes: u64,
    /// Messages (once a queue) and pages in the segments now that a queue holds.
    pub live: u64,
    /// Messages (once a queue) and pages that those segments ever held. `live / total` is how much of
    /// the log is in use.
    pub total: u64,
    /// Segments that nobody needed any more, whose files were kept for reuse or deleted.
    pub segments_retired: u64,
    /// Segments that were written over the file of an earlier one.
    pub segments_reused: u64,
    /// Messages that compaction wrote again, to free the segment they stood in.
    pub compacted: u64,
    /// Octets of them.
    pub compacted_bytes: u64,
    /// Pages of queues that were read back.
    pub pages_read: u64,
    /// Messages that were read back.
    pub messages_read: u64,
    /// Octets read back for these, with what lay between them.
    pub read_bytes: u64,
    /// Checkpoints that were taken.
    pub checkpoints: u64,
    /// Files of the spill that there are now.
    pub spill_segments: u64,
    /// Octets in them.
    pub spill_bytes: u64,
    /// Transient messages (once a queue) and pages in them that a queue holds.
    pub spill_live: u64,
}

/// The counts behind [`LogFigures`].
#[derive(Debug, Default)]
pub(crate) struct Health {
    syncs: [Counter; SYNC_CLASSES],
    syncs_us: Counter,
    groups: Counter,
    group_batches: Counter,
    group_records: Counter,
    group_bytes: Counter,
    segments_retired: SharedCounter,
    segments_reused: SharedCounter,
    compacted: SharedCounter,
    compacted_bytes: SharedCounter,
    pages_read: SharedCounter,
    messages_read: SharedCounter,
    read_bytes: SharedCounter,
    checkpoints: SharedCounter,
}

impl Health {
    /// A sync by the writer's thread, which is the only one to call this and [`Self::group`].
    pub(crate) fn synced(&self, took: Duration) {
        let took_us = took.as_micros() as u64;
        let class = SYNC_BOUNDS_US.partition_point(|bound_us| *bound_us < took_us);
        if let Some(count) = self.syncs.get(class) {
            count.add(1);
        }
        self.syncs_us.add(took_us);
    }

    pub(crate) fn group(&self, batches: usize, records: u64, bytes: usize) {
        self.groups.add(1);
        self.group_batches.add(batches as u64);
        self.group_records.add(records);
        self.group_bytes.add(bytes as u64);
    }

    pub(crate) fn retired(&self) {
        self.segments_retired.add(1);
    }

    pub(crate) fn reused(&self) {
        self.segments_reused.add(1);
    }

    pub(crate) fn compacted(&self, messages: u64, bytes: u64) {
        self.compacted.add(messages);
        self.compacted_bytes.add(bytes);
    }

    pub(crate) fn page_read(&self) {
        self.pages_read.add(1);
    }

    pub(crate) fn messages_read(&self, messages: usize) {
        self.messages_read.add(messages as u64);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.read_bytes.add(bytes as u64);
    }

    pub(crate) fn checkpoint(&self) {
        self.checkpoints.add(1);
    }

    /// All but what the segments' counts say.
    pub(crate) fn figures(&self) -> LogFigures {
        let mut syncs = [0; SYNC_CLASSES];
        for (shown, count) in syncs.iter_mut().zip(&self.syncs) {
            *shown = count.get();
        }
        LogFigures {
            syncs,
            syncs_us: self.syncs_us.get(),
            groups: self.groups.get(),
            group_batches: self.group_batches.get(),
            group_records: self.group_records.get(),
            group_bytes: self.group_bytes.get(),
            segments_retired: self.segments_retired.get(),
            segments_reused: self.segments_reused.get(),
            compacted: self.compacted.get(),
            compacted_bytes: self.compacted_bytes.get(),
            pages_read: self.pages_read.get(),
            messages_read: self.messages_read.get(),
            read_bytes: self.read_bytes.get(),
            checkpoints: self.checkpoints.get(),
            ..LogFigures::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_in_the_class_that_it_just_fits() {
        let health = Health::default();
        for took_us in [0, 50, 51, 1_000_000, 1_000_001, 90_000_000] {
            health.synced(Duration::from_micros(took_us));
        }
        let figures = health.figures();
        assert_eq!(figures.syncs[..3], [2, 1, 0]);
        assert_eq!(figures.syncs[13..], [1, 2]);
        assert_eq!(figures.syncs.iter().sum::<u64>(), 6);
        assert_eq!(figures.syncs_us, 92_000_102);
    }
}
