//! What the worker threads and the one that watches them have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Under load, not measured.
    Warmup,
    /// Under load and measured.
    Measure,
    /// Publishers are done; consumers take what is left.
    Drain,
    /// Everyone stops.
    Stop,
}

/// The current phase, read by workers once per batch.
#[derive(Debug, Default)]
pub(crate) struct Control {
    phase: AtomicU8,
    interrupted: AtomicBool,
    failed: AtomicBool,
}

impl Control {
    /// Moves on.
    pub(crate) fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Where we are.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Warmup,
            1 => Phase::Measure,
            2 => Phase::Drain,
            _ => Phase::Stop,
        }
    }

    /// Whether the user asked to end early.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Says that a worker could not go on.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether one could not.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether there is no reason to end early.
    pub(crate) fn running(&self) -> bool {
        !self.interrupted() && !self.failed()
    }

    /// Lets Ctrl-C end the run early; a second one ends the process.
    pub(crate) fn watch_interrupt(self: &Arc<Self>) {
        let control = Arc::clone(self);
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    control.interrupted.store(true, Ordering::Relaxed);
                    eprintln!("\nending early; Ctrl-C again to quit at once");
                }
                if tokio::signal::ctrl_c().await.is_ok() {
                    std::process::exit(130);
                }
            });
        });
    }
}

/// One worker's progress, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Progress {
    /// Messages published or delivered.
    pub(crate) messages: AtomicU64,
    /// Messages confirmed.
    pub(crate) confirmed: AtomicU64,
    /// Messages the broker refused.
    pub(crate) nacked: AtomicU64,
    /// When the last message or confirm was counted.
    pub(crate) last: AtomicU64,
    /// The worker is through.
    pub(crate) done: AtomicBool,
}

impl Progress {
    /// Adds messages, seen at `now`.
    #[inline]
    pub(crate) fn add(&self, messages: u64, now: u64) {
        // One writer each, so no read-modify-write is needed.
        let before = self.messages.load(Ordering::Relaxed);
        self.messages.store(before + messages, Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Adds confirms, seen at `now`.
    pub(crate) fn add_confirms(&self, confirmed: u64, nacked: u64, now: u64) {
        if confirmed + nacked == 0 {
            return;
        }
        self.last.store(now, Ordering::Relaxed);
        self.confirmed.fetch_add(confirmed, Ordering::Relaxed);
        if nacked > 0 {
            self.nacked.fetch_add(nacked, Ordering::Relaxed);
        }
    }

    /// The count so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Says that the worker is through.
    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(crate) fn done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}
