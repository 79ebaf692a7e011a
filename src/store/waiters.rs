//! Who is to be told when a position is durable, or when there is room again.
//!
//! Owns the list of waiters. A waiter is never called while a lock of the store is held.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::base::LogPos;

/// Something that waits for the log.
pub trait Durable: Send + Sync {
    /// Called once for each registration, when what was waited for has come or, at the latest, when
    /// the log has failed or is closed: look at [`Log::durable`](super::Log::durable) and
    /// [`Log::failure`](super::Log::failure) to see which. It runs on the log's writer thread, or
    /// inside the registration itself, so it must be quick, must not block and must not take a lock
    /// that its caller holds.
    fn durable(&self);
}

/// Waiters by the position they wait for, the smallest first.
#[derive(Default)]
pub(crate) struct Waiters {
    heap: BinaryHeap<Reverse<Entry>>,
}

struct Entry {
    end: LogPos,
    waiter: Arc<dyn Durable>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.end == other.end
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.end.cmp(&other.end)
    }
}

impl Waiters {
    pub(crate) fn add(&mut self, end: LogPos, waiter: Arc<dyn Durable>) {
        self.heap.push(Reverse(Entry { end, waiter }));
    }

    /// Moves those that wait for `durable` or less to `out`.
    pub(crate) fn take_until(&mut self, durable: LogPos, out: &mut Vec<Arc<dyn Durable>>) {
        while self
            .heap
            .peek()
            .is_some_and(|Reverse(first)| first.end <= durable)
        {
            if let Some(Reverse(entry)) = self.heap.pop() {
                out.push(entry.waiter);
            }
        }
    }
}

/// Lets one thread wait for another.
#[derive(Default)]
pub(crate) struct Latch {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    fn open(&self) {
        *self.open.lock() = true;
        self.changed.notify_all();
    }

    pub(crate) fn wait(&self) {
        let mut open = self.open.lock();
        while !*open {
            self.changed.wait(&mut open);
        }
    }
}

/// A wish for a sync. Dropping it, for whatever reason, lets the thread that waits go on; it then
/// looks whether the log has failed.
pub(crate) struct SyncRequest(pub(crate) Arc<Latch>);

impl Drop for SyncRequest {
    fn drop(&mut self) {
        self.0.open();
    }
}
