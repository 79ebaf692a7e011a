//! What producers and the log's writer thread share: the list of pending batches, the durable
//! position, and who waits for what.
//!
//! Owns the locks. The order in which they may be taken: `pending`, then `applied` or the segments'
//! map; `waiters`, `room`, `pool`, `due` and the spill's are leaves. No waiter is called under any of them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::base::LogPos;

use super::applied::Applied;
use super::batch::Batch;
use super::due::Due;
use super::error::LogError;
use super::format::{FILE_HEADER_BYTES, file_name};
use super::health::Health;
use super::io::Io;
use super::options::{
    Options, POOL_BUFFER_BYTES_MAX, POOL_BUFFERS_MAX, SEGMENT_MAX, SPARSE_SPILL_SEGMENTS,
};
use super::segments::Segments;
use super::space::Space;
use super::spares::Spares;
use super::spill::Spill;
use super::waiters::{Durable, Latch, SyncRequest, Waiters};

/// What producers and the writer thread share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) io: Arc<dyn Io>,
    pending: Mutex<Pending>,
    wake: Condvar,
    /// Everything that ends at or before this position counts as durable.
    pub(crate) durable: AtomicU64,
    /// Octets appended and not yet durable.
    pub(crate) pending_bytes: AtomicUsize,
    /// The last write found no space, and is tried again.
    pub(crate) full: AtomicBool,
    /// A stop is under way: what cannot be written is not waited for.
    pub(crate) stopping: AtomicBool,
    pub(crate) failure: OnceLock<LogError>,
    pub(crate) waiters: Mutex<Waiters>,
    pub(crate) room: Mutex<Vec<Arc<dyn Durable>>>,
    pub(crate) applied: Mutex<Applied>,
    pub(crate) pool: Mutex<Vec<Vec<u8>>>,
    pub(crate) segments: Segments,
    pub(crate) spill: Arc<Spill>,
    pub(crate) spares: Spares,
    pub(crate) space: Space,
    pub(crate) health: Arc<Health>,
    pub(crate) due: Due,
    pub(crate) writer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) spiller: Mutex<Option<JoinHandle<()>>>,
}

struct Pending {
    /// Where the next batch goes, unless it begins a new segment.
    next: LogPos,
    batches: Vec<PendingBatch>,
    syncs: Vec<SyncRequest>,
    closed: bool,
    /// The writer waits on `wake`; otherwise a notification would be a wasted system call.
    writer_sleeps: bool,
}

/// Start and end of a batch, and its number among the registrations in `applied` unless it is empty.
pub(crate) type Registered = (LogPos, LogPos, Option<u64>);

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
    pub(crate) syncs: Vec<SyncRequest>,
    /// Nothing will follow.
    pub(crate) closed: bool,
}

impl Shared {
    /// A log that ends at `start`, durably.
    pub(crate) fn new(options: Options, io: Arc<dyn Io>, start: LogPos) -> Shared {
        Shared {
            io,
            pending: Mutex::new(Pending {
                next: start,
                batches: Vec::new(),
                syncs: Vec::new(),
                closed: false,
                writer_sleeps: false,
            }),
            wake: Condvar::new(),
            durable: start.0.into(),
            pending_bytes: 0.into(),
            full: false.into(),
            stopping: false.into(),
            failure: OnceLock::new(),
            waiters: Mutex::default(),
            room: Mutex::default(),
            applied: Mutex::new(Applied::new(start)),
            pool: Mutex::default(),
            segments: Segments::default(),
            spill: Arc::default(),
            spares: Spares::default(),
            space: Space::default(),
            health: Arc::default(),
            due: Due::every(u64::from(options.segment_bytes)),
            writer: Mutex::new(None),
            spiller: Mutex::new(None),
            options,
        }
    }

    /// Start and end of the batch, and its number among the registrations in `applied`.
    pub(crate) fn append(&self, batch: Batch) -> Result<Registered, LogError> {
        self.append_behind(0, batch)
    }

    /// As [`Self::append`], into a segment behind `left`.
    pub(crate) fn append_behind(&self, left: u32, batch: Batch) -> Result<Registered, LogError> {
        let bytes = batch.len();
        let mut pending = self.pending.lock();
        self.check_open(&pending)?;
        if batch.is_empty() {
            return Ok((pending.next, pending.next, None));
        }
        let base = self.place(&mut pending, bytes as u32, left)?;
        let end = LogPos(base.0 + bytes as u64);
        pending.next = end;
        let last_catalogue = batch.last_catalogue().map(|offset| offset.at(base));
        self.segments
            .add(base.segment(), batch.publications(), last_catalogue);
        let number = self.applied.lock().register(base, end);
        self.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
        pending.batches.push(PendingBatch {
            position: base,
            batch,
        });
        let wake = std::mem::take(&mut pending.writer_sleeps);
        drop(pending);
        if wake {
            self.wake.notify_one();
        }
        Ok((base, end, Some(number)))
    }

    /// Asks the writer for a sync; the latch opens when it is done or will never be.
    pub(crate) fn request_sync(&self) -> Result<Arc<Latch>, LogError> {
        let latch = Arc::new(Latch::default());
        let mut pending = self.pending.lock();
        self.check_open(&pending)?;
        pending.syncs.push(SyncRequest(latch.clone()));
        pending.writer_sleeps = false;
        drop(pending);
        self.wake.notify_one();
        Ok(latch)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.pending.lock().closed
    }

    /// Lets the writer finish what is pending and end.
    pub(crate) fn close(&self) {
        self.pending.lock().closed = true;
        self.wake.notify_one();
    }

    /// Under the lock, since the writer sets the failure first and empties the list then: nothing
    /// can be appended to a list that nobody will look at again.
    fn check_open(&self, pending: &Pending) -> Result<(), LogError> {
        match self.failure.get() {
            Some(failure) => Err(failure.clone()),
            None if pending.closed => Err(LogError::Closed),
            None => Ok(()),
        }
    }

    /// Where a batch of `bytes` octets starts. Begins a new segment when it does not fit, or when the last one
    /// is `left`.
    fn place(&self, pending: &mut Pending, bytes: u32, left: u32) -> Result<LogPos, LogError> {
        let next = pending.next;
        let stays = next.segment() > left;
        let fits = stays
            && next.offset().checked_add(bytes).is_some_and(|end| {
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
        // The segment before may have been emptied while it was written.
        if self.segments.any_empty() {
            self.due.soon();
        }
        Ok(LogPos::new(segment, FILE_HEADER_BYTES))
    }

    /// Waits until there is something to do or `deadline` has come, and takes it. `group` comes
    /// back with what was pending; its old vectors are reused.
    pub(crate) fn take(&self, group: &mut Group, deadline: Option<Instant>) {
        let mut pending = self.pending.lock();
        loop {
            let idle = pending.batches.is_empty() && pending.syncs.is_empty();
            if !idle || pending.closed {
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

    /// `end` is durable now: tells everyone who waits for it. `bytes` octets are no longer pending.
    pub(crate) fn advance(&self, end: LogPos, bytes: usize) {
        self.durable.store(end.0, Ordering::Release);
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.due.written(bytes);
        let mut ready = Vec::new();
        self.waiters.lock().take_until(end, &mut ready);
        if self.has_room() {
            ready.append(&mut self.room.lock());
        }
        for waiter in ready {
            waiter.durable();
        }
    }

    /// Octets that may lie idle in the spill before what is left around them is copied.
    pub(crate) fn sparse_spill_from_bytes(&self) -> u64 {
        u64::from(self.options.segment_bytes) * SPARSE_SPILL_SEGMENTS
    }

    /// Tells who waits for room if there is some.
    pub(crate) fn room_may_be(&self) {
        if self.has_room() {
            let ready = std::mem::take(&mut *self.room.lock());
            ready.into_iter().for_each(|waiter| waiter.durable());
        }
    }

    /// Takes used buffers back for producers.
    pub(crate) fn recycle(&self, batches: &mut Vec<PendingBatch>) {
        self.keep_buffers(batches.drain(..).map(|used| used.batch.into_buffer()));
    }

    /// As [`Self::recycle`].
    pub(crate) fn keep_buffers(&self, buffers: impl Iterator<Item = Vec<u8>>) {
        let mut pool = self.pool.lock();
        for buffer in buffers {
            if pool.len() < POOL_BUFFERS_MAX && buffer.capacity() <= POOL_BUFFER_BYTES_MAX {
                pool.push(buffer);
            }
        }
    }

    /// The log has failed: nothing more becomes durable, and everyone who
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
        self.due.end();
        self.wake_all();
        drop(syncs);
    }

    /// Tells everyone, whatever they wait for.
    pub(crate) fn wake_all(&self) {
        let mut ready = Vec::new();
        self.waiters.lock().take_until(LogPos(u64::MAX), &mut ready);
        ready.append(&mut self.room.lock());
        for waiter in ready {
            waiter.durable();
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        let most = self.options.pending_limit_bytes;
        let pending_bytes = self.pending_bytes.load(Ordering::Acquire);
        (pending_bytes < most && self.spill.waiting_bytes() < most) || self.stopped()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.failure.get().is_some()
    }
}
