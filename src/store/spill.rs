//! The spill: transient messages that do not fit the windows of their queues, and pages of them, in files of
//! their own beside the log.
//!
//! Owns these files, what in them is held, and what its thread `warren-spill` does. Nothing in them outlives
//! the broker, so there is no recovery, no checkpoint and no sync, and a file goes as soon as nothing in it is
//! held. Never waits for anything of the log, nor the log for it.
//!
//! As in the log, who appends gets a position at once, and the octets are written behind. They can be read
//! from then on: from memory until they are in a file. While the disk takes no more, nor does the spill;
//! messages stay in memory with their queues then. What it has taken stays with it, and is written again.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::base::LogPos;

use super::batch::{Batch, RecordOffset};
use super::compaction::Sparse;
use super::format::{Cursor, RECORD_HEADER_BYTES};
use super::io::{Io, IoFile};
use super::options::SAY_FULL_EVERY;
use super::shared::Shared;

/// What a file's name ends with.
pub(crate) const SUFFIX: &str = ".spill";

/// A segment that is still written is given up when it is empty and so long: a purge gives its octets back.
const GIVEN_UP_FROM_BYTES: u32 = 1 << 20;

/// The name of the file that `segment`, as in a position of the spill, is in.
pub(crate) fn file_name(segment: u32) -> String {
    format!("{:08}{SUFFIX}", segment & (u32::MAX >> 1))
}

/// See the module. Takes nothing before [`Spill::begin`].
#[derive(Default)]
pub(crate) struct Spill {
    io: OnceLock<Arc<dyn Io>>,
    state: Mutex<State>,
    wake: Condvar,
    /// Octets that are in no file yet.
    pending_bytes: AtomicUsize,
    /// The last attempt to write has failed.
    stuck: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Where the next batch goes.
    next: LogPos,
    /// What is in no file yet, in order.
    pending: VecDeque<Unwritten>,
    /// By their segments, as in a position.
    segments: BTreeMap<u32, Held>,
    /// About how many octets of them nobody needs.
    idle_bytes: u64,
    /// Of how many at most half is held.
    sparse: usize,
    /// It was said that there is enough to gain by copying.
    told: bool,
    /// Segments whose files are to be deleted.
    doomed: Vec<u32>,
    /// The same that could not be; tried again with the next ones.
    undeleted: Vec<u32>,
    closed: bool,
    /// The thread waits on `wake`.
    sleeps: bool,
}

#[derive(Clone)]
struct Unwritten {
    position: LogPos,
    batch: Arc<Batch>,
}

impl Unwritten {
    fn end(&self) -> LogPos {
        LogPos(self.position.0 + self.batch.len() as u64)
    }
}

/// What a segment holds.
#[derive(Default)]
struct Held {
    /// Messages not released, counted once for each queue, and pages.
    live: u64,
    /// As `live`, with those that were released.
    total: u64,
    bytes: u32,
}

impl Held {
    fn is_sparse(&self) -> bool {
        self.total > 0 && self.live <= self.total / 2
    }

    /// About how many octets nobody needs.
    fn idle_bytes(&self) -> u64 {
        let gone = self.total.saturating_sub(self.live);
        u64::from(self.bytes).saturating_mul(gone) / self.total.max(1)
    }
}

impl State {
    /// Changes what a segment holds, and the sums with it. `None` if there is no such segment.
    fn change<T>(&mut self, segment: u32, change: impl FnOnce(&mut Held) -> T) -> Option<T> {
        let held = self.segments.get_mut(&segment)?;
        let (idle_bytes, was_sparse) = (held.idle_bytes(), held.is_sparse());
        let value = change(held);
        self.idle_bytes = self.idle_bytes.saturating_sub(idle_bytes) + held.idle_bytes();
        self.sparse = self.sparse.saturating_sub(was_sparse.into()) + usize::from(held.is_sparse());
        Some(value)
    }

    fn remove(&mut self, segment: u32) {
        if let Some(held) = self.segments.remove(&segment) {
            self.idle_bytes = self.idle_bytes.saturating_sub(held.idle_bytes());
            self.sparse = self.sparse.saturating_sub(held.is_sparse().into());
        }
    }

    /// Whether it is time to say that there is enough to gain: once when it comes to that, and each time when
    /// another segment is `newly_sparse`.
    fn is_time(&mut self, newly_sparse: bool, idle_max_bytes: u64) -> bool {
        let enough = self.sparse > 0 && self.idle_bytes > idle_max_bytes;
        let told = std::mem::replace(&mut self.told, enough);
        enough && (newly_sparse || !told)
    }
}

/// The place of a batch in the spill.
#[derive(Debug, Clone, Copy)]
pub struct Spilled(LogPos);

impl Spilled {
    /// The position of a record of the batch.
    pub fn position(self, offset: RecordOffset) -> LogPos {
        offset.at(self.0)
    }
}

/// Where a record is.
pub(crate) enum Place {
    /// In memory: whole records, of which it is the first.
    Memory(Bytes),
    /// In its segment's file, in which all before this offset can be read.
    File(u32),
    /// Nowhere any more: nothing of its segment was held.
    Gone,
}

/// The file that is written.
pub(crate) type Active = Option<(u32, Arc<dyn IoFile>)>;

impl Spill {
    /// From now on it takes messages, into files of `io`, of which it is to be the only user.
    pub(crate) fn begin(&self, io: Arc<dyn Io>) {
        let mut state = self.state.lock();
        state.next = LogPos::spilled(1, 0);
        let first = state.next.segment();
        state.segments.insert(first, Held::default());
        // Once only.
        let _ = self.io.set(io);
    }

    /// Gives the batch a place, unless the disk takes no more.
    pub(crate) fn append(&self, batch: Batch, segment_bytes: u32) -> Option<Spilled> {
        let bytes = u32::try_from(batch.len()).ok()?;
        if !self.takes() || batch.is_empty() {
            return None;
        }
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        let offset = state.next.offset();
        let fits = |end| end <= segment_bytes || offset == 0;
        if !offset.checked_add(bytes).is_some_and(fits) {
            self.next_segment(&mut state);
        }
        let position = state.next;
        state.next = LogPos(position.0 + u64::from(bytes));
        let publications = u64::from(batch.publications());
        let _ = state.change(position.segment(), |held| {
            held.live += publications;
            held.total += publications;
            held.bytes = position.offset().saturating_add(bytes);
        });
        let batch = Arc::new(batch);
        state.pending.push_back(Unwritten { position, batch });
        self.pending_bytes
            .fetch_add(bytes as usize, Ordering::AcqRel);
        self.wake(state);
        Some(Spilled(position))
    }

    /// Octets that wait to be written, if they ever will be: whoever adds to them should wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        match self.stuck.load(Ordering::Acquire) {
            true => 0,
            false => self.pending_bytes.load(Ordering::Acquire),
        }
    }

    /// Whether it would take something now: nobody need gather what it refuses.
    pub(crate) fn takes(&self) -> bool {
        self.io.get().is_some() && !self.stuck.load(Ordering::Acquire)
    }

    /// `count` more queues hold messages of `segment`.
    pub(crate) fn hold(&self, segment: u32, count: u64) {
        let _ = self.state.lock().change(segment, |held| {
            held.live += count;
            held.total += count;
        });
    }

    /// As if `count` messages of `segment` had never been held: who holds them now was counted besides.
    pub(crate) fn unhold(&self, segment: u32, count: u64, idle_max_bytes: u64) -> bool {
        self.let_go(segment, count, true, idle_max_bytes)
    }

    /// `count` queues need the messages of `segment` no longer. True if by now it is worth while to copy what is
    /// left: more than `idle_max_bytes` lie idle, and another segment is half empty.
    pub(crate) fn release(&self, segment: u32, count: u64, idle_max_bytes: u64) -> bool {
        self.let_go(segment, count, false, idle_max_bytes)
    }

    fn let_go(&self, segment: u32, count: u64, uncounted: bool, idle_max_bytes: u64) -> bool {
        let mut state = self.state.lock();
        let changed = state.change(segment, |held| {
            debug_assert!(held.live >= count, "released more than is held");
            let was_sparse = held.is_sparse();
            held.live = held.live.saturating_sub(count);
            if uncounted {
                held.total = held.total.saturating_sub(count);
            }
            (held.live, !was_sparse && held.is_sparse())
        });
        let Some((live, newly_sparse)) = changed else {
            debug_assert!(
                state.closed,
                "released a message of a spilled segment that is gone"
            );
            return false;
        };
        if live > 0 {
            return state.is_time(newly_sparse, idle_max_bytes);
        }
        if segment != state.next.segment() {
            self.doom(&mut state, segment);
        } else if state.next.offset() >= GIVEN_UP_FROM_BYTES {
            self.next_segment(&mut state);
        }
        if !state.doomed.is_empty() {
            self.wake(state);
        }
        false
    }

    /// Segments with something in them, their octets, and what is held.
    pub(crate) fn sums(&self) -> (usize, u64, u64) {
        let state = self.state.lock();
        let held = state.segments.values().filter(|held| held.bytes > 0);
        held.fold((0, 0, 0), |(count, bytes, live), held| {
            (count + 1, bytes + u64::from(held.bytes), live + held.live)
        })
    }

    /// Closed segments of which at most half is held, if more than `idle_max_bytes` lie idle: the sparsest first.
    pub(crate) fn sparse(&self, idle_max_bytes: u64) -> Vec<Sparse> {
        let state = self.state.lock();
        if state.idle_bytes <= idle_max_bytes {
            return Vec::new();
        }
        let closed = state.segments.range(..state.next.segment());
        let sparse = closed.filter(|(_, held)| held.is_sparse());
        let mut sparse: Vec<Sparse> = sparse
            .map(|(segment, held)| Sparse {
                segment: *segment,
                live: held.live,
                live_bytes: u64::from(held.bytes) - held.idle_bytes(),
            })
            .collect();
        sparse.sort_unstable_by_key(|sparse| (sparse.live_bytes, sparse.segment));
        sparse
    }

    #[cfg(test)]
    pub(crate) fn idle_bytes(&self) -> u64 {
        self.state.lock().idle_bytes
    }

    /// That the running sums are those of the segments.
    #[cfg(test)]
    pub(crate) fn check_sums(&self) {
        let state = self.state.lock();
        let idle_bytes: u64 = state.segments.values().map(Held::idle_bytes).sum();
        let sparse = state.segments.values().filter(|held| held.is_sparse());
        assert_eq!(
            (state.idle_bytes, state.sparse),
            (idle_bytes, sparse.count())
        );
    }

    fn next_segment(&self, state: &mut State) {
        let before = state.next.segment();
        state.next = LogPos::new(before + 1, 0);
        state.segments.insert(before + 1, Held::default());
        match state.segments.get(&before) {
            Some(held) if held.live > 0 => {
                // Only now it can be copied.
                state.told &= !held.is_sparse();
            }
            _ => self.doom(state, before),
        }
    }

    /// Nothing of a segment is needed.
    fn doom(&self, state: &mut State, segment: u32) {
        state.remove(segment);
        state.doomed.push(segment);
        let mut bytes = 0;
        state.pending.retain(|unwritten| {
            let stays = unwritten.position.segment() != segment;
            bytes += if stays { 0 } else { unwritten.batch.len() };
            stays
        });
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn wake(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        if std::mem::take(&mut state.sleeps) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Where the record at `pos` is. From memory come about `bytes` octets, and that record in any case.
    pub(crate) fn find(&self, pos: LogPos, bytes: usize) -> Place {
        let state = self.state.lock();
        if !state.segments.contains_key(&pos.segment()) {
            return Place::Gone;
        }
        let at = state.pending.partition_point(|batch| batch.end() <= pos);
        let unwritten = state.pending.get(at);
        let Some(found) = unwritten.filter(|batch| batch.position <= pos) else {
            let first = unwritten.filter(|batch| batch.position.segment() == pos.segment());
            return Place::File(first.map_or(u32::MAX, |batch| batch.position.offset()));
        };
        let found = found.clone();
        drop(state);
        let from = (pos.0 - found.position.0) as usize;
        let octets = found.batch.bytes().get(from..).unwrap_or_default();
        Place::Memory(Bytes::copy_from_slice(whole_records(octets, bytes)))
    }

    /// The file of a segment.
    pub(crate) fn open(&self, segment: u32) -> io::Result<Arc<dyn IoFile>> {
        let io = self.io.get().ok_or(io::ErrorKind::NotFound)?;
        io.open(&file_name(segment))
    }

    /// Deletes what is to be deleted and writes what is to be written. Its buffers go to `used`.
    pub(crate) fn turn(&self, active: &mut Active, used: &mut Vec<Batch>) -> io::Result<()> {
        let Some(io) = self.io.get() else {
            return Ok(());
        };
        let (doomed, batches) = {
            let mut state = self.state.lock();
            let batches: Vec<Unwritten> = state.pending.iter().cloned().collect();
            let mut doomed = std::mem::take(&mut state.undeleted);
            doomed.append(&mut state.doomed);
            (doomed, batches)
        };
        for segment in doomed {
            active.take_if(|(of, _)| *of == segment);
            let name = file_name(segment);
            match io.delete(&name) {
                // It was emptied before anything of it was written.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(%error, file = name, "cannot delete a file");
                    self.state.lock().undeleted.push(segment);
                }
                Ok(()) => tracing::debug!(file = name, "spilled segment is gone"),
            }
        }
        let same = |a: &Unwritten, b: &Unwritten| a.position.segment() == b.position.segment();
        for run in batches.chunk_by(same) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let segment = first.position.segment();
            let file = match active {
                Some((of, file)) if *of == segment => Arc::clone(file),
                _ => {
                    let name = file_name(segment);
                    let file = match io.create(&name, &[]) {
                        // An attempt that failed came so far.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            io.open(&name)?
                        }
                        created => created?,
                    };
                    *active = Some((segment, Arc::clone(&file)));
                    file
                }
            };
            let slices: Vec<IoSlice<'_>> = run
                .iter()
                .map(|unwritten| IoSlice::new(unwritten.batch.bytes()))
                .collect();
            file.write_all_at(&slices, u64::from(first.position.offset()))?;
            self.written(last.position);
        }
        let unshared = batches
            .into_iter()
            .map(|batch| Arc::into_inner(batch.batch));
        used.extend(unshared.flatten());
        Ok(())
    }

    /// All up to the batch at `last` is in files.
    fn written(&self, last: LogPos) {
        let mut state = self.state.lock();
        let mut bytes = 0;
        while let Some(first) = state.pending.front()
            && first.position <= last
        {
            bytes += first.batch.len();
            state.pending.pop_front();
        }
        drop(state);
        self.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Waits until there is something to do, or for `patience`. False once it is closed.
    fn wait(&self, patience: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        if let Some(patience) = patience
            && !state.closed
        {
            self.wake.wait_for(&mut state, patience);
        }
        while !state.closed && state.pending.is_empty() && state.doomed.is_empty() {
            state.sleeps = true;
            self.wake.wait(&mut state);
        }
        state.sleeps = false;
        !state.closed
    }

    /// Nobody will read any of it.
    fn clear(&self) {
        let doomed: Vec<u32> = {
            let state = &mut *self.state.lock();
            let segments = std::mem::take(&mut state.segments).into_keys();
            // Those of a purge just before the end, too.
            let doomed = state.doomed.drain(..).chain(state.undeleted.drain(..));
            segments.chain(doomed).collect()
        };
        if let Some(io) = self.io.get() {
            for segment in doomed {
                // What stays is deleted by the next start.
                let _ = io.delete(&file_name(segment));
            }
        }
    }

    /// Takes no more; its thread ends, and with it all that is there.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }
}

/// The first records of `octets`, which are about `bytes` octets long, or one record.
fn whole_records(octets: &[u8], bytes: usize) -> &[u8] {
    let mut end = 0;
    while let Some(rest) = octets.get(end..)
        && let Some(len) = Cursor(rest).u32()
        && let next = end.saturating_add(RECORD_HEADER_BYTES - 1 + len as usize)
        && next <= octets.len()
        && (end == 0 || next <= bytes)
    {
        end = next;
    }
    octets.get(..end).unwrap_or_default()
}

/// Nobody waits for a thread that has panicked.
struct PanicGuard<'s>(&'s Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.spill.stuck.store(true, Ordering::Release);
            self.0.room_may_be();
        }
    }
}

/// The spill's thread.
pub(crate) fn run(shared: &Shared) {
    let _guard = PanicGuard(shared);
    let spill = &shared.spill;
    let (mut active, mut used) = (None, Vec::new());
    let mut said: Option<Instant> = None;
    let mut patience = None;
    while spill.wait(patience) {
        match spill.turn(&mut active, &mut used) {
            Ok(()) => {
                patience = None;
                if spill.stuck.swap(false, Ordering::AcqRel) {
                    said = None;
                    tracing::info!("transient messages can be written to the disk again");
                }
            }
            Err(error) => {
                patience = Some(shared.options.full_retry_every);
                spill.stuck.store(true, Ordering::Release);
                if said.is_none_or(|said| said.elapsed() >= SAY_FULL_EVERY) {
                    said = Some(Instant::now());
                    tracing::error!(%error, "cannot write transient messages to the disk: they stay in memory");
                }
            }
        }
        shared.room_may_be();
        shared.keep_buffers(used.drain(..).map(Batch::into_buffer));
    }
    spill.clear();
}
