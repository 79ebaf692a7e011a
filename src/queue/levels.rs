//! How a queue stands, for whoever looks at 100,000 of them and must not take as many locks.
//!
//! Owns copies of a few numbers that the queue's owner leaves whenever it gives the lock back. Each is right by itself;
//! two of them need not be of the same instant.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Queue;

/// See the module.
#[derive(Debug, Default)]
pub struct Levels {
    ready: AtomicU64,
    unacked: AtomicU64,
    consumers: AtomicU64,
    used: AtomicBool,
}

impl Levels {
    /// Only the owner of the lock calls it.
    pub(super) fn show(&self, queue: &Queue) {
        self.ready
            .store(queue.ready_len() as u64, Ordering::Relaxed);
        self.unacked
            .store(queue.unacked_len() as u64, Ordering::Relaxed);
        self.consumers
            .store(queue.consumers_len() as u64, Ordering::Relaxed);
        self.used.store(queue.tally().is_used(), Ordering::Relaxed);
    }

    /// Messages that wait.
    pub fn ready(&self) -> u64 {
        self.ready.load(Ordering::Relaxed)
    }

    /// Messages that are out.
    pub fn unacked(&self) -> u64 {
        self.unacked.load(Ordering::Relaxed)
    }

    /// Consumers.
    pub fn consumers(&self) -> u64 {
        self.consumers.load(Ordering::Relaxed)
    }

    /// Whether anything has been counted, or a message is there: of the others there is nothing to sample.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed) || self.ready() > 0
    }
}
