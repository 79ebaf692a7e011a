//! Rates that publishers are held to: messages and octets a second.
//!
//! Owns the arithmetic. Who goes too fast is not refused anything: it is told how long to be quiet,
//! and its socket is not read for so long. Charged once for a batch, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Limit, Limits};
use crate::base::limits::QUOTA_BURST;

/// The two rates of a vhost or a user.
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

impl Quota {
    /// Those of `limits`.
    pub fn new(limits: &Limits) -> Self {
        let quota = Quota::default();
        quota.set(limits);
        quota
    }

    /// Other rates from now on.
    pub fn set(&self, limits: &Limits) {
        self.messages.set(limits.get(Limit::MessageRate));
        self.bytes.set(limits.get(Limit::ByteRate));
    }

    /// Whether there is any rate to be held to.
    pub fn is_set(&self) -> bool {
        let set = |meter: &Meter| meter.per_s.load(Ordering::Relaxed) > 0;
        set(&self.messages) || set(&self.bytes)
    }

    /// Counts a batch at `now`, a time since any fixed one. How long its publisher is to be quiet.
    pub fn charge(&self, messages: u64, bytes: u64, now: Duration) -> Duration {
        let now_ns = now.as_nanos() as u64;
        let wait_ns = self.messages.charge(messages, now_ns);
        Duration::from_nanos(wait_ns.max(self.bytes.charge(bytes, now_ns)))
    }
}

impl Meter {
    /// A rate of 0 would stop a publisher for ever: the lowest is 1.
    fn set(&self, per_s: Option<u64>) {
        let per_s = per_s.map_or(0, |per_s| per_s.max(1));
        self.per_s.store(per_s, Ordering::Relaxed);
    }

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
        let ahead = before.max(now_ns).saturating_add(cost) - now_ns;
        ahead.saturating_sub(QUOTA_BURST.as_nanos() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(rates: &[(Limit, i64)]) -> Quota {
        let mut limits = Limits::default();
        for (limit, value) in rates {
            limits.set(*limit, *value);
        }
        Quota::new(&limits)
    }

    /// Sends batches for a while as fast as it may; how many messages went through.
    fn flood(quota: &Quota, batch: u64, bytes: u64, until: Duration) -> u64 {
        let (mut now, mut sent) = (Duration::from_secs(1000), 0);
        let end = now + until;
        while now < end {
            sent += batch;
            now += quota.charge(batch, bytes, now) + Duration::from_micros(10);
        }
        sent
    }

    #[test]
    fn a_flood_goes_at_the_rate_whatever_its_batches() {
        for batch in [1, 10, 1000] {
            let sent = flood(
                &quota(&[(Limit::MessageRate, 5000)]),
                batch,
                0,
                Duration::from_secs(60),
            );
            let allowed = 5000 * 60;
            assert!((allowed..allowed + 2000).contains(&sent), "{batch}: {sent}");
        }
    }

    #[test]
    fn the_slower_of_two_rates_counts() {
        let quota = quota(&[(Limit::MessageRate, 5000), (Limit::ByteRate, 10_000)]);
        let sent = flood(&quota, 1, 100, Duration::from_secs(60));
        assert!((6000..6100).contains(&sent), "{sent}");
    }

    #[test]
    fn who_stays_below_is_not_held_up() {
        let quota = quota(&[(Limit::MessageRate, 1000)]);
        let mut now = Duration::from_secs(1000);
        for _ in 0..5000 {
            assert_eq!(quota.charge(1, 1 << 20, now), Duration::ZERO);
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn no_limit_and_a_limit_taken_away_hold_nobody_up() {
        let free = Quota::default();
        assert_eq!(
            free.charge(u64::MAX, u64::MAX, Duration::ZERO),
            Duration::ZERO
        );
        let quota = quota(&[(Limit::MessageRate, 0)]);
        assert!(quota.charge(1000, 0, Duration::ZERO) > Duration::from_secs(900));
        quota.set(&Limits::default());
        assert_eq!(quota.charge(1000, 0, Duration::ZERO), Duration::ZERO);
    }
}
