//! When the next checkpoint is due.
//!
//! Owns the reasons and who waits for one. Never takes a checkpoint.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// So much of the log may have to be replayed at start, and what is written beside it is forgotten.
const WRITTEN_BYTES: u64 = 64 << 20;

/// How long segments that nobody needs may stay, and how soon a checkpoint that failed is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What speaks for a checkpoint since the last one began.
#[derive(Debug, Default)]
pub(crate) struct Due {
    reasons: Mutex<Reasons>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Reasons {
    written_bytes: u64,
    asked: bool,
    /// Since when there has been something to gain.
    since: Option<Instant>,
    ended: bool,
}

impl Reasons {
    fn now(&self) -> bool {
        self.ended || self.asked || self.written_bytes >= WRITTEN_BYTES
    }
}

impl Due {
    /// So much was written to the log.
    pub(crate) fn written(&self, bytes: usize) {
        let mut reasons = self.reasons.lock();
        reasons.written_bytes += bytes as u64;
        if reasons.written_bytes >= WRITTEN_BYTES {
            self.changed.notify_all();
        }
    }

    /// There is something to gain: a segment that nobody needs, or a checkpoint that failed.
    pub(crate) fn soon(&self) {
        let mut reasons = self.reasons.lock();
        if reasons.since.is_none() {
            reasons.since = Some(Instant::now());
            self.changed.notify_all();
        }
    }

    /// Somebody asks for it.
    pub(crate) fn ask(&self) {
        self.reasons.lock().asked = true;
        self.changed.notify_all();
    }

    /// There will be none any more.
    pub(crate) fn end(&self) {
        self.reasons.lock().ended = true;
        self.changed.notify_all();
    }

    /// One begins now: what has spoken for it is dealt with.
    pub(crate) fn begin(&self) {
        let mut reasons = self.reasons.lock();
        *reasons = Reasons {
            ended: reasons.ended,
            ..Reasons::default()
        };
    }

    /// Waits until a checkpoint is due: true; or until there will be none any more: false.
    pub(crate) fn wait(&self) -> bool {
        let mut reasons = self.reasons.lock();
        while !reasons.now() {
            match reasons.since {
                Some(since) if since.elapsed() >= PATIENCE => break,
                Some(since) => {
                    self.changed.wait_until(&mut reasons, since + PATIENCE);
                }
                None => self.changed.wait(&mut reasons),
            }
        }
        !reasons.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_counts_and_is_used_up() {
        let due = Due::default();
        due.written(WRITTEN_BYTES as usize - 1);
        assert!(!due.reasons.lock().now());
        due.written(1);
        assert!(due.wait());
        due.begin();
        assert!(!due.reasons.lock().now());
        due.ask();
        assert!(due.wait());
        due.begin();
        due.reasons.lock().since = Instant::now().checked_sub(PATIENCE);
        assert!(due.wait());
        due.begin();
        due.end();
        assert!(!due.wait());
        due.begin();
        assert!(!due.wait(), "for ever");
    }
}
