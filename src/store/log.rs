//! The commit log as its producers see it.
//!
//! Owns positions: who appends gets one, in order, in a critical section that copies nothing. The
//! bytes are written by `writer.rs`. Never waits for the disk except in [`Log::sync`] and
//! [`Log::close`].
//!
//! Locks, in the order they may be taken: `pending`, then `applied` or the segments' map. `waiters`,
//! `room`, `pool` are leaves. No waiter is called under any of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::base::LogPos;

use super::applied::Applied;
use super::batch::{Batch, RecordOffset};
use super::error::LogError;
use super::format::{FILE_HEADER_BYTES, file_name};
use super::options::{Options, POOL_BUFFER_BYTES_MAX, POOL_BUFFERS_MAX, SEGMENT_MAX};
use super::segments::Segments;
use super::waiters::{Durable, Latch, Waiters};

/// The largest batch: a segment of its own, whose end must still be a 32-bit offset.
const BATCH_BYTES_MAX: u64 = (u32::MAX - FILE_HEADER_BYTES) as u64;

/// A handle to the commit log; clones are the same log.
#[derive(Clone)]
pub struct Log {
    pub(crate) shared: Arc<Shared>,
}

/// What producers and the writer thread share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pending: Mutex<Pending>,
    wake: Condvar,
    /// Everything that ends at or before this position counts as durable.
    durable: AtomicU64,
    /// Octets appended and not yet durable.
    pending_bytes: AtomicUsize,
    failure: OnceLock<LogError>,
    waiters: Mutex<Waiters>,
    room: Mutex<Vec<Arc<dyn Durable>>>,
    applied: Mutex<Applied>,
    pool: Mutex<Vec<Vec<u8>>>,
    pub(crate) segments: Segments,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Pending {
    /// Where the next batch goes, unless it begins a new segment.
    next: LogPos,
    batches: Vec<PendingBatch>,
    syncs: Vec<Arc<Latch>>,
    closed: bool,
    /// Something other than a batch asks for a turn of the writer.
    nudged: bool,
    /// The writer waits on `wake`; otherwise a notification would be a wasted system call.
    writer_sleeps: bool,
}

/// A batch that has its place.
pub(crate) struct PendingBatch {
    pub(crate) position: LogPos,
    pub(crate) batch: Batch,
}

/// What the writer takes for one turn.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) batches: Vec<PendingBatch>,
    /// Who waits for a real sync.
    pub(crate) syncs: Vec<Arc<Latch>>,
    /// Nothing will follow.
    pub(crate) closed: bool,
}

impl Log {
    /// A log that continues at the start of `segment`, which has only its file header.
    pub(crate) fn new(options: Options, segment: u32) -> Log {
        let start = LogPos::new(segment, FILE_HEADER_BYTES);
        let shared = Shared {
            options,
            pending: Mutex::new(Pending {
                next: start,
                batches: Vec::new(),
                syncs: Vec::new(),
                closed: false,
                nudged: false,
                writer_sleeps: false,
            }),
            wake: Condvar::new(),
            durable: start.0.into(),
            pending_bytes: 0.into(),
            failure: OnceLock::new(),
            waiters: Mutex::default(),
            room: Mutex::default(),
            applied: Mutex::new(Applied::new(start)),
            pool: Mutex::default(),
            segments: Segments::default(),
            writer: Mutex::new(None),
        };
        Log {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn own_writer(&self, thread: JoinHandle<()>) {
        *self.shared.writer.lock() = Some(thread);
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
        let mut pending = shared.pending.lock();
        // Checked under the lock: the writer sets the failure first and then empties the list.
        if let Some(failure) = shared.failure.get() {
            return Err(failure.clone());
        }
        if pending.closed {
            return Err(LogError::Closed);
        }
        if batch.is_empty() {
            let end = pending.next;
            return Ok(Appended {
                base: end,
                end,
                number: None,
                shared: shared.clone(),
            });
        }
        let base = shared.place(&mut pending, bytes as u32)?;
        let end = LogPos(base.0 + bytes as u64);
        pending.next = end;
        shared.segments.add(
            base.segment(),
            batch.publications(),
            batch.last_catalogue().map(|offset| offset.at(base)),
        );
        let number = Some(shared.applied.lock().register(base, end));
        shared.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
        pending.batches.push(PendingBatch {
            position: base,
            batch,
        });
        let wake = std::mem::take(&mut pending.writer_sleeps);
        drop(pending);
        if wake {
            shared.wake.notify_one();
        }
        Ok(Appended {
            base,
            end,
            number,
            shared: shared.clone(),
        })
    }

    /// Everything that ends at or before this position is durable, as
    /// [`Durability`](super::Durability) has it.
    pub fn durable(&self) -> LogPos {
        LogPos(self.shared.durable.load(Ordering::Acquire))
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
        self.release_in_segment(pos.segment(), u64::from(queues));
    }

    /// As [`Log::release`] for one queue and many messages, cheapest when they are in order.
    pub fn release_all(&self, positions: impl IntoIterator<Item = LogPos>) {
        let (mut segment, mut count) = (0, 0);
        for position in positions {
            if position.segment() != segment {
                self.release_in_segment(segment, count);
                (segment, count) = (position.segment(), 0);
            }
            count += 1;
        }
        self.release_in_segment(segment, count);
    }

    fn release_in_segment(&self, segment: u32, count: u64) {
        if count > 0 && self.shared.segments.release(segment, count) {
            self.shared.nudge();
        }
    }

    /// Below this position every batch has been applied to memory (its [`Appended`] dropped).
    pub fn applied_below(&self) -> LogPos {
        self.shared.applied.lock().below()
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

    /// Waits until everything appended so far is synced, whatever the durability setting.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub fn sync(&self) -> Result<(), LogError> {
        let latch = Arc::new(Latch::default());
        {
            let mut pending = self.shared.pending.lock();
            if let Some(failure) = self.shared.failure.get() {
                return Err(failure.clone());
            }
            if pending.closed {
                return Err(LogError::Closed);
            }
            pending.syncs.push(latch.clone());
            pending.writer_sleeps = false;
        }
        self.shared.wake.notify_one();
        latch.wait();
        self.failure().map_or(Ok(()), Err)
    }

    /// Takes no more, writes and syncs what is pending, and ends the writer thread. The second call
    /// does nothing.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared.pending.lock().closed = true;
        self.shared.wake.notify_one();
        let thread = self.shared.writer.lock().take();
        if let Some(thread) = thread {
            // A panic has become a failure of the log (`writer.rs`), reported below.
            let _ = thread.join();
        }
        self.failure().map_or(Ok(()), Err)
    }
}

impl Shared {
    /// Where a batch of `bytes` octets starts. Begins a new segment when it does not fit.
    fn place(&self, pending: &mut Pending, bytes: u32) -> Result<LogPos, LogError> {
        let next = pending.next;
        let fits = next.offset().checked_add(bytes).is_some_and(|end| {
            end <= self.options.segment_bytes || next.offset() == FILE_HEADER_BYTES
        });
        if fits {
            return Ok(next);
        }
        if next.segment() >= SEGMENT_MAX {
            let reason = std::io::Error::other("all segment numbers are used up");
            return Err(LogError::failed(
                "follow",
                file_name(next.segment()),
                0,
                reason,
            ));
        }
        let segment = next.segment() + 1;
        self.segments.activate(segment);
        Ok(LogPos::new(segment, FILE_HEADER_BYTES))
    }

    /// Waits until there is something to do or `deadline` has come, and takes it. `group` comes
    /// back with what was pending; its old vectors are reused.
    pub(crate) fn take(&self, group: &mut Group, deadline: Option<Instant>) {
        let mut pending = self.pending.lock();
        loop {
            let idle = pending.batches.is_empty() && pending.syncs.is_empty();
            if !idle || pending.closed || std::mem::take(&mut pending.nudged) {
                break;
            }
            pending.writer_sleeps = true;
            match deadline {
                Some(at) if self.wake.wait_until(&mut pending, at).timed_out() => break,
                Some(_) => {}
                None => self.wake.wait(&mut pending),
            }
        }
        pending.writer_sleeps = false;
        std::mem::swap(&mut pending.batches, &mut group.batches);
        std::mem::swap(&mut pending.syncs, &mut group.syncs);
        group.closed = pending.closed;
    }

    /// Where the log ends when everything pending is written.
    pub(crate) fn end(&self) -> LogPos {
        self.pending.lock().next
    }

    /// Gives the writer a turn though nothing was appended.
    pub(crate) fn nudge(&self) {
        let mut pending = self.pending.lock();
        pending.nudged = true;
        pending.writer_sleeps = false;
        drop(pending);
        self.wake.notify_one();
    }

    /// `end` is durable now: tells everyone who waits for it. `bytes` octets are no longer pending.
    pub(crate) fn advance(&self, end: LogPos, bytes: usize) {
        self.durable.store(end.0, Ordering::Release);
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let mut ready = Vec::new();
        self.waiters.lock().take_until(end, &mut ready);
        if self.has_room() {
            ready.append(&mut self.room.lock());
        }
        for waiter in ready {
            waiter.durable();
        }
    }

    /// Takes used buffers back for producers.
    pub(crate) fn recycle(&self, batches: &mut Vec<PendingBatch>) {
        let mut pool = self.pool.lock();
        for used in batches.drain(..) {
            let buffer = used.batch.into_buffer();
            if pool.len() < POOL_BUFFERS_MAX && buffer.capacity() <= POOL_BUFFER_BYTES_MAX {
                pool.push(buffer);
            }
        }
    }

    /// The log has failed, or is closed for good: nothing more becomes durable, and everyone who
    /// waits is told.
    pub(crate) fn stop(&self, reason: LogError) {
        // The first reason stays.
        let _ = self.failure.set(reason);
        let (batches, syncs) = {
            let mut pending = self.pending.lock();
            (
                std::mem::take(&mut pending.batches),
                std::mem::take(&mut pending.syncs),
            )
        };
        drop(batches);
        self.pending_bytes.store(0, Ordering::Release);
        self.wake_all(syncs);
    }

    /// Tells everyone, whatever they wait for.
    pub(crate) fn wake_all(&self, syncs: Vec<Arc<Latch>>) {
        let mut ready = Vec::new();
        self.waiters.lock().take_until(LogPos(u64::MAX), &mut ready);
        ready.append(&mut self.room.lock());
        for waiter in ready {
            waiter.durable();
        }
        for latch in syncs {
            latch.open();
        }
    }

    fn has_room(&self) -> bool {
        let pending_bytes = self.pending_bytes.load(Ordering::Acquire);
        pending_bytes < self.options.pending_limit_bytes || self.stopped()
    }

    fn stopped(&self) -> bool {
        self.failure.get().is_some()
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
    fn at(self, base: LogPos) -> LogPos {
        LogPos(base.0 + u64::from(self.0))
    }
}
