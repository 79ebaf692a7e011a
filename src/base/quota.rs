//! Rates that publishers are held to: messages and octets a second.
//!
//! Owns the arithmetic. Who goes too fast is not refused anything: it is told how long to be quiet,
//! and its socket is not read for so long. Charged once for a batch, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limits::{QUOTA_BURST, QUOTA_RESUME};

/// The two rates of a vhost, a user or a queue.
#[derive(Debug, Default)]
pub struct Quota {
    messages: Meter,
    bytes: Meter,
}

/// One rate, as the time at which all that was let through would have been at that rate.
#[derive(Debug, Default)]
struct Meter {
    /// 0 is no limit.
    per_s: AtomicU64,
    due_ns: AtomicU64,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Messages.
    Messages,
    /// Octets of bodies.
    Octets,
}

/// That a rate is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// How long to be quiet, until what was let through is nearly within the rate.
    pub wait: Duration,
    /// What is too much.
    pub unit: Unit,
    /// The rate.
    pub per_s: u64,
}

impl Quota {
    /// With these rates; absent is no limit. A rate of 0 would stop a publisher for ever: the lowest is
    /// 1.
    pub fn new(messages_per_s: Option<u64>, bytes_per_s: Option<u64>) -> Self {
        let quota = Quota::default();
        quota.set(messages_per_s, bytes_per_s);
        quota
    }

    /// Other rates from now on. Where one has changed, what was let through before is forgotten.
    pub fn set(&self, messages_per_s: Option<u64>, bytes_per_s: Option<u64>) {
        self.messages.set(messages_per_s);
        self.bytes.set(bytes_per_s);
    }

    /// Whether there is any rate to be held to.
    pub fn is_set(&self) -> bool {
        let set = |meter: &Meter| meter.per_s.load(Ordering::Relaxed) > 0;
        set(&self.messages) || set(&self.bytes)
    }

    /// Counts a batch at `now`, a time since any fixed one. Whether its publisher is to be quiet.
    pub fn charge(&self, messages: u64, bytes: u64, now: Duration) -> Option<Excess> {
        let now_ns = now.as_nanos() as u64;
        let of_messages = self.messages.charge(messages, now_ns);
        let of_bytes = self.bytes.charge(bytes, now_ns);
        let excess = |unit, meter: &Meter, ahead_ns| {
            let ahead = Duration::from_nanos(ahead_ns);
            (ahead > QUOTA_BURST).then(|| Excess {
                wait: ahead.saturating_sub(QUOTA_RESUME),
                unit,
                per_s: meter.per_s.load(Ordering::Relaxed),
            })
        };
        match of_bytes > of_messages {
            true => excess(Unit::Octets, &self.bytes, of_bytes),
            false => excess(Unit::Messages, &self.messages, of_messages),
        }
    }

    /// How long who was held up has still to be quiet, as the rates are at `now`.
    pub fn wait(&self, now: Duration) -> Duration {
        let now_ns = now.as_nanos() as u64;
        let ahead = |meter: &Meter| match meter.per_s.load(Ordering::Relaxed) {
            0 => 0,
            _ => meter.due_ns.load(Ordering::Relaxed).saturating_sub(now_ns),
        };
        let ahead = ahead(&self.messages).max(ahead(&self.bytes));
        Duration::from_nanos(ahead).saturating_sub(QUOTA_RESUME)
    }
}

impl Meter {
    fn set(&self, per_s: Option<u64>) {
        let per_s = per_s.map_or(0, |per_s| per_s.max(1));
        if self.per_s.swap(per_s, Ordering::Relaxed) != per_s {
            self.due_ns.store(0, Ordering::Relaxed);
        }
    }

    /// How far it is ahead now, in nanoseconds.
    fn charge(&self, amount: u64, now_ns: u64) -> u64 {
        let per_s = self.per_s.load(Ordering::Relaxed);
        if per_s == 0 {
            return 0;
        }
        let cost = u128::from(amount) * 1_000_000_000 / u128::from(per_s);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let later = |due: u64| Some(due.max(now_ns).saturating_add(cost));
        let before = self
            .due_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later)
            .unwrap_or_default();
        before.max(now_ns).saturating_add(cost) - now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends batches for a while as fast as it may; how many messages went through.
    fn flood(quota: &Quota, batch: u64, bytes: u64, until: Duration) -> u64 {
        let (mut now, mut sent) = (Duration::from_secs(1000), 0);
        let end = now + until;
        while now < end {
            sent += batch;
            let excess = quota.charge(batch, bytes, now);
            now += excess.map_or(Duration::ZERO, |e| e.wait) + Duration::from_micros(10);
        }
        sent
    }

    #[test]
    fn a_flood_goes_at_the_rate_whatever_its_batches() {
        for batch in [1, 10, 1000] {
            let quota = Quota::new(Some(5000), None);
            let sent = flood(&quota, batch, 0, Duration::from_secs(60));
            let allowed = 5000 * 60;
            assert!((allowed..allowed + 2000).contains(&sent), "{batch}: {sent}");
        }
    }

    /// Who is held up comes back late: by its timer, by a busy machine, by the way to its client and back.
    #[test]
    fn a_flood_that_comes_back_late_goes_at_the_rate_over_any_four_seconds() {
        let seconds = Duration::from_secs;
        for (batch, late_ms) in [(1, 0), (10, 15), (100, 15), (1300, 40), (100, 45)] {
            let quota = Quota::new(Some(5000), None);
            let (mut now, mut sent) = (seconds(1000), Vec::new());
            while now < seconds(1060) {
                sent.push((now, batch));
                let excess = quota.charge(batch, 0, now);
                let late = Duration::from_millis(late_ms);
                now += excess.map_or(Duration::from_micros(10), |e| e.wait + late);
            }
            for begin in 1001..1056 {
                let of = |&(at, count): &(Duration, u64)| match at {
                    at if at < seconds(begin) || at >= seconds(begin + 4) => 0,
                    _ => count,
                };
                let count: u64 = sent.iter().map(of).sum();
                let slack = 1000.max(2 * batch);
                let fits = 20_000 - slack..=20_000 + slack;
                assert!(
                    fits.contains(&count),
                    "{batch} late by {late_ms} ms: {count}"
                );
            }
        }
    }

    #[test]
    fn the_slower_of_two_rates_counts_and_is_named() {
        let quota = Quota::new(Some(5000), Some(10_000));
        let sent = flood(&quota, 1, 100, Duration::from_secs(60));
        assert!((6000..6200).contains(&sent), "{sent}");
        let now = Duration::from_secs(2000);
        let excess = quota.charge(1, 20_000, now).unwrap();
        assert_eq!((excess.unit, excess.per_s), (Unit::Octets, 10_000));
        assert_eq!(excess.wait, Duration::from_secs(2) - QUOTA_RESUME);
        let excess = quota.charge(50_000, 1, now).unwrap();
        assert_eq!((excess.unit, excess.per_s), (Unit::Messages, 5000));
    }

    #[test]
    fn who_stays_below_is_not_held_up() {
        let quota = Quota::new(Some(1000), None);
        let mut now = Duration::from_secs(1000);
        for _ in 0..5000 {
            assert_eq!(quota.charge(1, 1 << 20, now), None);
            now += Duration::from_millis(1);
        }
        // Nor who sends in one burst what the rate allows in its time, and not a message more.
        now += Duration::from_secs(1);
        assert_eq!(quota.charge(100, 0, now), None);
        assert!(quota.charge(1, 0, now).is_some());
    }

    #[test]
    fn no_limit_and_a_limit_changed_hold_nobody_up() {
        let free = Quota::default();
        assert_eq!(free.charge(u64::MAX, u64::MAX, Duration::ZERO), None);
        let quota = Quota::new(Some(0), None);
        let excess = quota.charge(1000, 0, Duration::ZERO).unwrap();
        assert_eq!(excess.wait, Duration::from_secs(1000) - QUOTA_RESUME);
        let left = Duration::from_secs(999) - QUOTA_RESUME;
        assert_eq!(quota.wait(Duration::from_secs(1)), left);
        quota.set(Some(1), None);
        assert_eq!(quota.wait(Duration::from_secs(1)), left, "the same");
        quota.set(Some(10), None);
        assert_eq!(quota.wait(Duration::from_secs(1)), Duration::ZERO);
        quota.set(None, None);
        assert_eq!(quota.charge(1000, 0, Duration::ZERO), None);
    }
}
