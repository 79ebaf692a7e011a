//! The commit log as its producers see it.
//!
//! Owns positions: who appends gets one, in order, in a critical section that copies nothing. The
//! bytes are written by `writer.rs`. Never waits for the disk except in [`Log::sync`] and
//! [`Log::close`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::base::{Durability, LogPos};

use super::batch::{Batch, RecordOffset};
use super::error::LogError;
use super::format::FILE_HEADER_BYTES;
use super::health::LogFigures;
use super::io::Io;
use super::options::Options;
use super::reader::Reader;
use super::shared::Shared;
use super::spill::{self, Spilled};
use super::waiters::Durable;

/// The largest batch: a segment of its own, whose end must still be a 32-bit offset.
const BATCH_BYTES_MAX: u64 = (u32::MAX - FILE_HEADER_BYTES) as u64;

/// A handle to the commit log; clones are the same log.
#[derive(Clone)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
}

impl Log {
    /// A log that continues at the start of `segment`, which has only its file header.
    pub(crate) fn new(options: Options, io: Arc<dyn Io>, segment: u32) -> Log {
        let start = LogPos::new(segment, FILE_HEADER_BYTES);
        Log {
            shared: Arc::new(Shared::new(options, io, start)),
        }
    }

    pub(crate) fn own_writer(&self, thread: JoinHandle<()>) {
        *self.shared.writer.lock() = Some(thread);
    }

    /// From now on [`Log::spill`] takes messages, into files of `io`, of which it is to be the only user.
    pub(crate) fn start_spill(&self, io: Arc<dyn Io>) -> std::io::Result<()> {
        let shared = &self.shared;
        shared.spill.begin(io);
        let thread = std::thread::Builder::new()
            .name("warren-spill".into())
            .spawn({
                let shared = shared.clone();
                move || spill::run(&shared)
            })?;
        *shared.spiller.lock() = Some(thread);
        Ok(())
    }

    /// Gives transient messages ([`Batch::spill`]), or a page of such, a place on disk outside the log: it can be
    /// read at once, need not be waited for, and is gone with the broker. It is to be released as what is in the log. `None`
    /// while the disk takes no more: then they are to stay in memory.
    pub fn spill(&self, batch: Batch) -> Option<Spilled> {
        let shared = &self.shared;
        shared.spill.append(batch, shared.options.segment_bytes)
    }

    /// Whether [`Log::spill`] would take something: if not, nobody need gather it.
    pub fn takes_spill(&self) -> bool {
        self.shared.spill.takes()
    }

    /// An empty batch, in a used buffer if there is one.
    pub fn batch(&self) -> Batch {
        let buffer = self.shared.pool.lock().pop();
        Batch::with_buffer(buffer.unwrap_or_default())
    }

    /// Gives the batch the next place in the log and to the writer thread. An empty batch takes no
    /// place; its `end` is the end of all that was appended before.
    ///
    /// # Errors
    ///
    /// [`LogError::Failed`] and [`LogError::Closed`] for ever after; [`LogError::BatchTooLarge`]
    /// for this batch only. Nothing of the batch is written then.
    pub fn append(&self, batch: Batch) -> Result<Appended, LogError> {
        let shared = &self.shared;
        let bytes = batch.len();
        if bytes as u64 > BATCH_BYTES_MAX {
            let limit_bytes = BATCH_BYTES_MAX;
            return Err(LogError::BatchTooLarge {
                bytes: bytes as u64,
                limit_bytes,
            });
        }
        let (base, end, number) = shared.append(batch)?;
        Ok(Appended {
            base,
            end,
            number,
            shared: shared.clone(),
        })
    }

    /// Something to read messages and pages back with.
    pub fn reader(&self) -> Reader {
        let shared = &self.shared;
        Reader::new(shared.io.clone(), shared.health.clone()).with_spill(shared.spill.clone())
    }

    /// Everything that ends at or before this position is as durable as its batch wanted to be, or as the
    /// log's [`Durability`] has it.
    pub fn durable(&self) -> LogPos {
        LogPos(self.shared.durable.load(Ordering::Acquire))
    }

    /// What "durable" means for a batch that does not say.
    pub fn durability(&self) -> Durability {
        self.shared.options.durability
    }

    /// Calls `waiter` once when `end` is durable; at once if it is already, or if the log has
    /// failed.
    pub fn notify_when_durable(&self, end: LogPos, waiter: Arc<dyn Durable>) {
        let shared = &self.shared;
        {
            // The writer moves `durable` first and then empties the list: looking under the list's
            // lock cannot miss both.
            let mut waiters = shared.waiters.lock();
            if self.durable() < end && !shared.stopped() {
                waiters.add(end, waiter);
                return;
            }
        }
        waiter.durable();
    }

    /// Octets appended and not yet durable.
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending_bytes.load(Ordering::Acquire)
    }

    /// Whether producers should go on. Who asks before each append keeps what is pending within
    /// the limit plus one batch a producer. True after a failure: append tells about it.
    pub fn has_room(&self) -> bool {
        self.shared.has_room()
    }

    /// Calls `waiter` once when [`Log::has_room`], at once if that is now.
    pub fn notify_when_room(&self, waiter: Arc<dyn Durable>) {
        {
            let mut room = self.shared.room.lock();
            if !self.has_room() {
                room.push(waiter);
                return;
            }
        }
        waiter.durable();
    }

    /// `queues` queues need the message at `pos` no longer. Call it after the record that takes the
    /// message away was appended, and once only for each queue.
    pub fn release(&self, pos: LogPos, queues: u32) {
        self.release_many(pos.segment(), u64::from(queues));
    }

    /// As [`Log::release`] for one queue and many messages, cheapest when they are in order.
    pub fn release_all(&self, positions: impl IntoIterator<Item = LogPos>) {
        let (mut segment, mut count) = (0, 0);
        for position in positions {
            if position.segment() != segment {
                self.release_many(segment, count);
                (segment, count) = (position.segment(), 0);
            }
            count += 1;
        }
        self.release_many(segment, count);
    }

    /// As [`Log::release`] for `count` messages or pages of one segment.
    pub fn release_many(&self, segment: u32, count: u64) {
        if count == 0 {
            return;
        }
        if LogPos::new(segment, 0).is_spilled() {
            let spared_bytes = self.shared.sparse_spill_from_bytes();
            if self.shared.spill.release(segment, count, spared_bytes) {
                self.shared.due.soon();
            }
        } else if self.shared.segments.release(segment, count) {
            self.shared.due.soon();
        }
    }

    /// `count` more queues hold messages of `segment`: copies that compaction made.
    pub fn hold_many(&self, segment: u32, count: u64) {
        match LogPos::new(segment, 0).is_spilled() {
            true => self.shared.spill.hold(segment, count),
            false => self.shared.segments.hold(segment, count),
        }
    }

    /// Gives back the hold on `count` messages of `segment` that their copier had, and no queue.
    pub(crate) fn unhold_many(&self, segment: u32, count: u64) {
        let gains = match LogPos::new(segment, 0).is_spilled() {
            true => {
                let spared_bytes = self.shared.sparse_spill_from_bytes();
                self.shared.spill.unhold(segment, count, spared_bytes)
            }
            false => self.shared.segments.unhold(segment, count),
        };
        if gains {
            self.shared.due.soon();
        }
    }

    /// Below this position every batch has been applied to memory (its [`Appended`] dropped).
    pub fn applied_below(&self) -> LogPos {
        self.shared.applied.lock().below()
    }

    /// Whether the disk is full: nothing is confirmed, and what was appended waits until there is space.
    /// Nothing is lost by that.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// What ends at or before this position is durable, and so is all before it; and it has been applied
    /// to memory. Nothing before it is still on its way to a queue.
    pub fn settled(&self) -> LogPos {
        self.durable().min(self.applied_below())
    }

    /// Why the log stopped, if it has.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.failure.get().cloned()
    }

    /// Number of segment files, and of messages in them that no queue has released, counted once a
    /// queue.
    pub fn totals(&self) -> (usize, u64) {
        self.shared.segments.totals()
    }

    /// How the log is doing. Cheap enough for every scrape: it reads a few counts for each segment.
    pub fn figures(&self) -> LogFigures {
        let (closed_bytes, live, total) = self.shared.segments.sums();
        let (spill_segments, spill_bytes, spill_live) = self.shared.spill.sums();
        LogFigures {
            spill_segments: spill_segments as u64,
            spill_bytes,
            spill_live,
            segments: self.totals().0 as u64,
            bytes: closed_bytes + u64::from(self.durable().offset()),
            live,
            total,
            ..self.shared.health.figures()
        }
    }

    /// Whether [`Log::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Waits until everything appended so far is synced, whatever the durability setting.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub fn sync(&self) -> Result<(), LogError> {
        self.shared.request_sync()?.wait();
        self.failure().map_or(Ok(()), Err)
    }

    /// Takes no more, writes and syncs what is pending, and ends the writer thread. The second call
    /// does nothing. Not to be called by a waiter, which may run on that thread.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared.close();
        self.shared.spill.close();
        let mut spiller = self.shared.spiller.lock();
        if let Some(thread) = spiller.take() {
            // A panic in it has been printed, and nothing of it was to last.
            let _ = thread.join();
        }
        drop(spiller);
        // Held while joining, so that a second caller waits for the end, too.
        let mut writer = self.shared.writer.lock();
        if let Some(thread) = writer.take() {
            // A panic has become a failure of the log (`writer.rs`), reported below.
            let _ = thread.join();
        }
        drop(writer);
        self.failure().map_or(Ok(()), Err)
    }
}

/// A batch that has its place in the log but is perhaps not yet on disk.
///
/// Hold it while the batch's effects are put into memory, drop it after: see
/// [`Log::applied_below`].
#[must_use = "dropping it says that the batch has been applied to memory"]
pub struct Appended {
    base: LogPos,
    end: LogPos,
    number: Option<u64>,
    shared: Arc<Shared>,
}

impl Appended {
    /// The position of a record of this batch.
    pub fn position(&self, offset: RecordOffset) -> LogPos {
        offset.at(self.base)
    }

    /// The batch is durable once [`Log::durable`] has reached this.
    pub fn end(&self) -> LogPos {
        self.end
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.applied.lock().apply(number);
        }
    }
}

impl RecordOffset {
    pub(crate) fn at(self, base: LogPos) -> LogPos {
        LogPos(base.0 + u64::from(self.0))
    }
}
