//! Room on the disk: what is kept for need, what is given up in need, and when to look how much is left.
//!
//! Owns the reserve, a file whose blocks are there only to be given back: a purge on a disk that is full
//! needs records, a sync and a checkpoint before it can delete anything. Never measures: the broker does
//! ([`Log::room_measured`]), and is told when it should do so sooner ([`Log::notify_when_short`]).
//!
//! While an alarm is up nothing is kept ready nor written ahead, and a long segment of which little is held
//! is left, so that it can go: a broker must not keep an alarm up by what nobody needs.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::base::{LogPos, QueueId};

use super::batch::Batch;
use super::format::FILE_HEADER_BYTES;
use super::log::Log;
use super::options::LEFT_FROM_BYTES;
use super::shared::Shared;
use super::waiters::Durable;

/// Name of the reserve's file.
pub(crate) const RESERVE: &str = "reserve";

/// See the module.
#[derive(Default)]
pub(crate) struct Space {
    /// There is an alarm.
    scarce: AtomicBool,
    /// The reserve was given up, and could not be made again.
    reserve_used: AtomicBool,
    /// Octets that may be written until there should be a look; 0: nobody wants to be told.
    until_short_bytes: AtomicU64,
    short: OnceLock<Arc<dyn Durable>>,
}

impl Space {
    /// Whether nothing is to be kept ready nor written ahead.
    pub(crate) fn is_scarce(&self) -> bool {
        self.scarce.load(Ordering::Acquire)
    }

    /// Files have grown by so much.
    pub(crate) fn grown(&self, bytes: u64) {
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let before = self.until_short_bytes.fetch_update(set, fetch, less);
        if (1..=bytes).contains(&before.unwrap_or(0)) {
            self.ask();
        }
    }

    /// There should be a look at how much room is left.
    pub(crate) fn ask(&self) {
        if let Some(short) = self.short.get() {
            short.durable();
        }
    }
}

impl Shared {
    /// Gives up what is only kept ready: the spare files, or else the reserve. True if that made room.
    pub(crate) fn make_room(&self) -> bool {
        if self.spares.give_up(&*self.io) {
            return true;
        }
        match self.io.delete(RESERVE) {
            Ok(()) => {
                self.space.reserve_used.store(true, Ordering::Release);
                tracing::warn!("the disk is full: the reserve is given up");
                self.space.ask();
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => {
                tracing::error!(%error, file = RESERVE, "cannot delete the reserve");
                false
            }
        }
    }

    /// Does something that takes room, with what can be given up for it.
    pub(crate) fn with_room<T>(&self, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Err(error) if is_full(&error) && self.make_room() => {}
                result => return result,
            }
        }
    }

    fn keep_reserve(&self) {
        let bytes = self.options.reserve_bytes;
        match self.io.reserve(RESERVE, bytes) {
            Ok(()) => {
                if self.space.reserve_used.swap(false, Ordering::AcqRel) {
                    tracing::info!("there is a reserve on the disk again");
                }
            }
            // A file system on which nothing can be reserved, or on which there is less room than it says.
            Err(error) => tracing::debug!(%error, bytes, "no reserve on the disk"),
        }
    }

    /// Leaves the active segment if it is long and at most half of it is held.
    fn leave_idle_segment(&self) {
        let long = LEFT_FROM_BYTES.min(self.options.segment_bytes / 2);
        let active = self.end();
        if active.offset() < long || !self.segments.is_idle(active.segment()) {
            return;
        }
        // A checkpoint's position must be in the next segment before this one can go, so something must be
        // there: an ack of nothing.
        let mut batch = Batch::with_buffer(Vec::new());
        let nothing = LogPos::new(active.segment(), FILE_HEADER_BYTES);
        batch.ack(QueueId(0), [nothing]);
        // An error is the log's, and known to all.
        if let Ok((_, _, Some(number))) = self.append_behind(active.segment(), batch) {
            self.applied.lock().apply(number);
            self.due.ask();
        }
    }
}

impl Log {
    /// So much room was found on the disk, and so much there should be; `alarm`: publishers are stopped since
    /// there is too little. To be called once a second, and when [`Self::notify_when_short`] has called. May
    /// wait for the disk.
    pub fn room_measured(&self, free_bytes: u64, limit_bytes: u64, alarm: bool) {
        let (shared, space) = (&self.shared, &self.shared.space);
        space.scarce.store(alarm, Ordering::Release);
        let until_short_bytes = match alarm {
            true => 0,
            false => free_bytes.saturating_sub(limit_bytes).max(1),
        };
        space
            .until_short_bytes
            .store(until_short_bytes, Ordering::Release);
        if self.is_full() || shared.stopped() || shared.is_closed() {
            return;
        }
        if alarm {
            shared.spares.give_up(&*shared.io);
            shared.leave_idle_segment();
        }
        let reserve_bytes = shared.options.reserve_bytes;
        if free_bytes.saturating_sub(reserve_bytes) >= limit_bytes.max(reserve_bytes) {
            shared.keep_reserve();
        }
    }

    /// Calls `waiter` whenever so much was written since the last measurement that less room may be left than
    /// there should be, and when the log finds none. It must be quick, as any of the log's waiters. The first
    /// one counts.
    pub fn notify_when_short(&self, waiter: Arc<dyn Durable>) {
        // A second one would be a second broker's.
        let _ = self.shared.space.short.set(waiter);
    }

    /// Whether the log has found the disk full, and it is still, or there is no room yet for another
    /// reserve.
    pub fn is_out_of_room(&self) -> bool {
        self.is_full() || self.shared.space.reserve_used.load(Ordering::Acquire)
    }
}

/// No space, or none for this user. The write may have happened in part.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
