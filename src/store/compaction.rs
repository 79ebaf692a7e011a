//! Copying what is left of sparse segments forward, so that they can go.
//!
//! Owns which segments are sparse, and the copies. Whose messages they are, the broker knows: it has the
//! queues refer to the copies ([`Batch::rename`](super::Batch::rename), [`Batch::page`](super::Batch::page)). Deletes
//! nothing: a segment that is left empty goes with the next checkpoint, as any other.
//!
//! A crash between any two steps costs nothing: copies that no record refers to are held by nobody.

use bytes::Bytes;

use crate::base::LogPos;

use super::batch::{Batch, RecordOffset};
use super::error::{LogError, ReadError};
use super::log::Log;

/// A closed segment of which at most half is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sparse {
    /// Its number.
    pub segment: u32,
    /// Messages (once a queue) and pages in it that queues hold.
    pub live: u64,
    /// About how many octets they have.
    pub live_bytes: u64,
}

/// Messages that were written again, durably. Each is held until this is dropped: by then the queues
/// should hold what they want.
pub struct Copies {
    log: Log,
    /// Old and new position, in order.
    pairs: Vec<(LogPos, LogPos)>,
    /// Messages that could not be read: damage, of which the segment is to be kept.
    pub unreadable: Vec<ReadError>,
}

impl Log {
    /// Segments that are worth being copied, the sparsest first: all in them is on disk and in the queues. Then
    /// those of the spill.
    pub fn sparse_segments(&self) -> Vec<Sparse> {
        let settled = self.settled().segment();
        let mut sparse = self.shared.segments.sparse_before(settled);
        let idle_max_bytes = self.shared.sparse_spill_from_bytes();
        sparse.extend(self.shared.spill.sparse(idle_max_bytes));
        sparse
    }

    /// Writes the messages at `positions`, which are in order, again at the log's end, or the spill's. Waits until those
    /// in the log are on disk.
    ///
    /// # Errors
    ///
    /// The log's failure.
    pub fn copy_forward(&self, positions: &[LogPos]) -> Result<Copies, LogError> {
        let mut copies = Copies {
            log: self.clone(),
            pairs: Vec::with_capacity(positions.len()),
            unreadable: Vec::new(),
        };
        let mut gathered = Gathered {
            batch: self.batch(),
            offsets: Vec::new(),
        };
        let mut done = Ok(());
        self.reader().published(positions, &mut |index, found| {
            let Some(old) = positions.get(index).filter(|_| done.is_ok()) else {
                return;
            };
            match found {
                Ok((stamped_ms, message)) => gathered.add(*old, stamped_ms, &message),
                Err(error) if error.is_gone() || error.is_passing() => {}
                Err(error) => copies.unreadable.push(error),
            }
            // Those of the spill come last.
            let next = positions.get(index + 1).copied().unwrap_or_default();
            if gathered.batch.len() >= COPY_BATCH_BYTES || next.is_spilled() != old.is_spilled() {
                done = copies.append(&mut gathered);
            }
        });
        done?;
        copies.append(&mut gathered)?;
        Ok(copies)
    }
}

/// Copies go to the log in batches of about this size, each of them synced before the next: they must
/// not be in the way of producers.
const COPY_BATCH_BYTES: usize = 1 << 20;

struct Gathered {
    batch: Batch,
    offsets: Vec<(LogPos, RecordOffset)>,
}

impl Gathered {
    fn add(&mut self, old: LogPos, stamped_ms: u64, message: &Bytes) {
        let offset = self.batch.copy(stamped_ms, message);
        self.offsets.push((old, offset));
    }
}

impl Copies {
    fn append(&mut self, gathered: &mut Gathered) -> Result<(), LogError> {
        let batch = std::mem::replace(&mut gathered.batch, self.log.batch());
        let (messages, bytes) = (gathered.offsets.len() as u64, batch.len() as u64);
        if batch.is_empty() {
            return Ok(());
        }
        let first = gathered.offsets.first();
        if first.is_some_and(|(old, _)| old.is_spilled()) {
            let spilled = self.log.spill(batch);
            for (old, offset) in gathered.offsets.drain(..) {
                // If the disk takes no more they stay where they are.
                let pair = spilled.map(|spilled| (old, spilled.position(offset)));
                self.pairs.extend(pair);
            }
            return Ok(());
        }
        let appended = self.log.append(batch)?;
        for (old, offset) in gathered.offsets.drain(..) {
            self.pairs.push((old, appended.position(offset)));
        }
        drop(appended);
        self.log.shared.health.compacted(messages, bytes);
        self.log.sync()
    }

    /// Where the message that was at `old` is, too.
    pub fn of(&self, old: LogPos) -> Option<LogPos> {
        let at = self.pairs.binary_search_by_key(&old, |(old, _)| *old);
        self.pairs.get(at.ok()?).map(|(_, new)| *new)
    }

    /// A queue holds these copies now, in the place of what they are copies of.
    pub fn referred(&self, pairs: &[(LogPos, LogPos)]) {
        for (_, new) in pairs {
            self.log.hold_many(new.segment(), 1);
        }
        self.log.release_all(pairs.iter().map(|(old, _)| *old));
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let same = |a: &(LogPos, LogPos), b: &(LogPos, LogPos)| a.1.segment() == b.1.segment();
        for run in self.pairs.chunk_by(same) {
            if let Some((_, new)) = run.first() {
                self.log.unhold_many(new.segment(), run.len() as u64);
            }
        }
    }
}
