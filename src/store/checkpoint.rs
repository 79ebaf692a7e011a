//! Taking a checkpoint while the log goes on, and deleting the segments it makes needless.
//!
//! Owns the order of steps. Never looks into a queue: the broker brings the states.
//!
//! 1. [`Log::begin_checkpoint`] notes `below`, the position up to which the queues in memory speak for
//!    the log, and then which segments before it nobody needs.
//! 2. The broker adds the state of each queue, one after the other, while it is locked. Each holds all
//!    that is logged before `below`, and some of what is logged behind it, which replay will meet
//!    again: so how far the log was is noted with each.
//! 3. [`Checkpoint::finish`] waits until all that was appended is on disk: a state may have seen it.
//!    Only then the checkpoint replaces the one before.
//! 4. Now the segments of 1 go, wherever they stand. What emptied them was applied before 1, so no
//!    state of 2 refers to them; records before `below` are never replayed again.
//!
//! A segment stays while its catalogue records are not in sled, on disk: they are replayed on their
//! own.

use std::sync::atomic::Ordering;

use crate::base::LogPos;
use crate::base::index::QueueState;

use super::checkpoint_file::{self, FILE, QueueRow};
use super::error::StoreError;
use super::format::file_name;
use super::log::Log;

/// A checkpoint that was begun: add the states of all durable queues, then finish it.
#[must_use = "only finishing it does anything"]
pub struct Checkpoint {
    log: Log,
    below: LogPos,
    empty: Vec<u32>,
    queues: Vec<QueueRow>,
}

impl Log {
    /// Begins a checkpoint. Only one at a time may be under way.
    pub fn begin_checkpoint(&self) -> Checkpoint {
        self.shared.due.begin();
        // In this order: what is released after a batch was applied is seen below.
        let below = self.applied_below();
        let empty = self.shared.segments.empty_before(below.segment());
        Checkpoint {
            log: self.clone(),
            below,
            empty,
            queues: Vec::new(),
        }
    }

    /// Waits until a checkpoint is due. False when there is to be none any more: after
    /// [`Log::end_checkpoints`], or when the log has failed.
    pub fn wait_for_checkpoint(&self) -> bool {
        self.shared.due.wait()
    }

    /// Makes a checkpoint due, say because much was purged.
    pub fn ask_for_checkpoint(&self) {
        self.shared.due.ask();
    }

    /// Makes a checkpoint due in a few seconds: there is something to gain.
    pub fn want_checkpoint(&self) {
        self.shared.due.soon();
    }

    /// A stop is under way: ends [`Log::wait_for_checkpoint`], now and for ever, and has the log fail, rather
    /// than wait for space, should the disk be full. So a checkpoint that is being taken comes to its end.
    pub fn end_checkpoints(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.due.end();
    }
}

impl Checkpoint {
    /// Adds a queue's state. The queue must be locked from before it was taken until this returns, and
    /// every record of pages and of renamed messages must be appended under that lock.
    pub fn add(&mut self, state: QueueState) {
        if !state.is_empty() {
            self.queues.push(QueueRow {
                state,
                from: self.log.applied_below(),
                end: self.log.shared.end(),
            });
        }
    }

    /// Makes the checkpoint durable, then deletes what it makes needless. Blocks for some disk
    /// syncs.
    ///
    /// # Errors
    ///
    /// The log's failure, or [`StoreError::Io`] for the file: the checkpoint before still stands
    /// then, nothing was deleted, and a new one is soon due.
    pub fn finish(self) -> Result<(), StoreError> {
        self.log.sync()?;
        self.write(false)
    }

    /// The part after the sync. `clean`: it is the last thing this broker writes.
    pub(crate) fn write(self, clean: bool) -> Result<(), StoreError> {
        let shared = &self.log.shared;
        let checkpoint = checkpoint_file::Checkpoint {
            below: self.below,
            clean,
            segments: shared.segments.rows(&self.empty),
            queues: self.queues,
        };
        let octets = checkpoint_file::encode(&checkpoint);
        let written = shared.with_room(|| shared.io.replace(FILE, &octets));
        written.map_err(|reason| {
            shared.due.soon();
            StoreError::io("write", FILE, reason)
        })?;
        shared.health.checkpoint();
        let keep = !shared.space.is_scarce();
        for segment in self.empty {
            // A file that cannot be deleted is in no checkpoint any more, and goes at the next start.
            let name = file_name(segment);
            match shared.spares.retire(&*shared.io, segment, keep) {
                Ok(()) => {
                    shared.health.retired();
                    tracing::debug!(file = name, "segment is gone");
                }
                Err(error) => tracing::error!(%error, file = name, "cannot delete a segment"),
            }
            shared.segments.forget(segment);
        }
        Ok(())
    }
}
