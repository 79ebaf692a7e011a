//! A publisher's timetable at a set rate.
//!
//! Each message is stamped with the time it was due, not the time it was written. When the broker
//! holds the publisher up, the messages that were due meanwhile show the delay they suffered,
//! instead of being sent late and measured from then: no omission to correct afterwards.

/// When each message of a publisher is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    start: u64,
    rate: f64,
}

impl Pacer {
    /// `rate` messages per second from `start` (nanoseconds) on.
    pub(crate) fn new(start: u64, rate: f64) -> Self {
        Self { start, rate }
    }

    /// When message `seq` (from 0) is due.
    pub(crate) fn due(&self, seq: u64) -> u64 {
        self.start + (seq as f64 * 1e9 / self.rate) as u64
    }

    /// How many messages from `seq` on are due at `now`.
    pub(crate) fn ready(&self, seq: u64, now: u64) -> u64 {
        if now < self.due(seq) {
            return 0;
        }
        let elapsed = now.saturating_sub(self.start) as f64;
        let mut total = (elapsed * self.rate / 1e9) as u64 + 1;
        // Rounding may put the last one a nanosecond into the future.
        while total > seq + 1 && self.due(total - 1) > now {
            total -= 1;
        }
        total.saturating_sub(seq).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate() {
        let pacer = Pacer::new(1_000, 1_000_000.0);
        assert_eq!(pacer.ready(0, 999), 0);
        assert_eq!(pacer.ready(0, 1_000), 1);
        assert_eq!(pacer.due(5), 6_000);
        assert_eq!(pacer.ready(5, 5_999), 0);
        assert_eq!(pacer.ready(5, 6_000), 1);
        assert_eq!(pacer.ready(5, 8_500), 3);
    }

    #[test]
    fn a_stall_shows_in_every_message_that_was_due_in_it() {
        // 1000 a second; the publisher is held up for 100 ms after message 9.
        let pacer = Pacer::new(0, 1_000.0);
        let resumed = 110_000_000;
        let late = pacer.ready(10, resumed);
        assert_eq!(late, 101);
        let delays: Vec<u64> = (10..10 + late)
            .map(|seq| resumed - pacer.due(seq))
            .collect();
        assert_eq!(delays.first(), Some(&100_000_000));
        assert_eq!(delays.last(), Some(&0));
        let mean = delays.iter().sum::<u64>() / late;
        assert_eq!(mean, 50_000_000);
    }

    #[test]
    fn what_is_ready_is_due() {
        let pacer = Pacer::new(123, 3_333.3);
        let mut seq = 0;
        for now in (0..1_000_000_000).step_by(77_777) {
            let ready = pacer.ready(seq, now);
            if ready > 0 {
                assert!(pacer.due(seq + ready - 1) <= now);
                assert!(pacer.due(seq + ready) > now);
            }
            seq += ready;
        }
        assert_eq!(seq, 3_334);
    }
}
