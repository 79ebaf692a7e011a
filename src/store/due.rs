//! When the next checkpoint is due.
//!
//! Owns the reasons and who waits for one. Never takes a checkpoint.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long segments that nobody needs may stay, and how soon a checkpoint that failed is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What speaks for a checkpoint since the last one began.
#[derive(Debug)]
pub(crate) struct Due {
    /// After so much one is due: it may have to be replayed at start.
    every_bytes: u64,
    reasons: Mutex<Reasons>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Reasons {
    written_bytes: u64,
    much_written: bool,
    asked: bool,
    /// Since when there has been something to gain.
    since: Option<Instant>,
    ended: bool,
}

impl Reasons {
    fn now(&self) -> bool {
        self.ended || self.asked || self.much_written
    }
}

impl Due {
    /// One is due each time so much was written.
    pub(crate) fn every(every_bytes: u64) -> Due {
        Due {
            every_bytes,
            reasons: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// So much was written to the log.
    pub(crate) fn written(&self, bytes: usize) {
        let mut reasons = self.reasons.lock();
        reasons.written_bytes += bytes as u64;
        if reasons.written_bytes >= self.every_bytes && !reasons.much_written {
            reasons.much_written = true;
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
        let due = Due::every(1000);
        due.written(999);
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
