//! Messages that came back and wait before they are ready again (A6.16).
//!
//! Owns how long, and when the wait is over. Such a message stays among the unacked, where nobody can settle it,
//! so that whatever holds for those holds for it: its record is kept, moved and counted alike. After a restart
//! none waits.

use std::collections::BTreeSet;

use super::consumer::Slot;
use super::entry::{Entry, NEVER_MS};
use super::machine::{Queue, hold};
use super::outcome::Effects;

/// How a message comes back to its queue (A4.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeue {
    /// Rejected, or its consumer is gone. Counts as a failed delivery (A6.14).
    Failed,
    /// By basic.nack. Counts as a failed delivery, too.
    Nacked,
    /// It was only looked at.
    Seen,
}

/// Which of the messages that come back wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedRetry {
    /// Those that failed.
    pub failed: bool,
    /// Those that were nacked.
    pub nacked: bool,
    /// The wait after the first failed delivery; n times that after the nth.
    pub min_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

impl DelayedRetry {
    fn wait_ms(self, how: Requeue, failed_deliveries: u32) -> u64 {
        let waits = match how {
            Requeue::Failed => self.failed,
            Requeue::Nacked => self.nacked,
            Requeue::Seen => false,
        };
        match waits {
            true => (self.min_ms.saturating_mul(u64::from(failed_deliveries))).min(self.max_ms),
            false => 0,
        }
    }
}

/// When the waits end.
pub(super) type Waits = BTreeSet<(u64, Slot)>;

impl Queue {
    /// Makes a message ready that came back, or lets it wait.
    pub(super) fn come_back(&mut self, entry: Entry, how: Requeue, now_ms: u64) {
        let retry = self.options.delayed_retry;
        match retry.map_or(0, |retry| retry.wait_ms(how, entry.failed_deliveries)) {
            0 => self.ready.put_back(entry),
            wait_ms => self.let_wait(entry, now_ms.saturating_add(wait_ms)),
        }
    }

    fn let_wait(&mut self, mut entry: Entry, until_ms: u64) {
        self.tally.waits(entry.body_bytes as usize);
        let message = entry.message.take();
        let slot = hold(
            &mut self.unacked,
            &mut self.unacked_octets,
            self.ready.window.octets,
            entry,
            message.as_ref(),
            None,
        );
        self.waits.get_or_insert_default().insert((until_ms, slot));
    }

    /// Ends the waits that are over, and delivers what that makes possible.
    pub(super) fn end_waits(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.next_wait_ms() > now_ms {
            return;
        }
        while self.next_wait_ms() <= now_ms
            && let Some((_, slot)) = self.waits.as_mut().and_then(|waits| waits.pop_first())
        {
            if let Some(entry) = self.take_unacked(slot) {
                self.ready.put_back(entry);
            }
        }
        self.waits = self.waits.take().filter(|waits| !waits.is_empty());
        self.dispatch(effects);
    }

    /// When the next wait ends.
    pub(super) fn next_wait_ms(&self) -> u64 {
        let first = self.waits.as_ref().and_then(|waits| waits.first());
        first.map_or(NEVER_MS, |&(until_ms, _)| until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a6_16_the_wait_grows_with_the_failures_up_to_the_longest() {
        let retry = DelayedRetry {
            failed: true,
            nacked: false,
            min_ms: 100,
            max_ms: 250,
        };
        let waits = [1, 2, 3, u32::MAX].map(|failures| retry.wait_ms(Requeue::Failed, failures));
        assert_eq!(waits, [100, 200, 250, 250]);
        assert_eq!(retry.wait_ms(Requeue::Nacked, 1), 0);
        assert_eq!(retry.wait_ms(Requeue::Seen, 1), 0);
    }
}
