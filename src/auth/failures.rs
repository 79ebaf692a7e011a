//! Failed logins: whoever guesses passwords is slowed down (A10).
//!
//! Owns what is remembered of failures, and the delays that come of it; both are bounded. Three counts:
//!
//! - of a user from one address: its next attempts from there wait for their turn, even with the right password;
//! - of an address, how many users it has failed as: all its attempts wait for their turn;
//! - of a user from anywhere: that an attempt failed is told late.
//!
//! So a right password from elsewhere is never delayed, nor are others behind the address of one client that has a
//! wrong password.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::base::limits::{FAILED_LOGIN_DELAY_MIN, FAILED_LOGIN_FORGOTTEN, FAILED_LOGINS_MAX};
use crate::base::source_of;

/// When failures count.
#[derive(Debug, Clone, Default)]
pub struct FailureRules {
    /// From these networks they do not.
    pub exempt: Vec<IpNet>,
    /// How many are free.
    pub free: u32,
    /// The longest delay; zero is none ever.
    pub delay_max: Duration,
}

/// See the module.
pub(super) struct Failures {
    rules: ArcSwap<FailureRules>,
    hasher: RandomState,
    counts: Mutex<Counts>,
}

/// By digests of addresses and users. When `recent` is full it takes the place of `older`, which goes: what
/// is still in use is in one of them.
#[derive(Default)]
struct Counts {
    recent: HashMap<u64, Count>,
    older: HashMap<u64, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
    /// When the next attempt may be made.
    turn: Instant,
}

/// That an attempt would have to wait too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl Failures {
    pub(super) fn new(rules: FailureRules) -> Self {
        Failures {
            rules: ArcSwap::from_pointee(rules),
            hasher: RandomState::new(),
            counts: Mutex::default(),
        }
    }

    /// Counts by other rules from now on.
    pub(super) fn set_rules(&self, rules: FailureRules) {
        self.rules.store(Arc::new(rules));
    }

    fn is_exempt(&self, peer: IpAddr) -> bool {
        let rules = self.rules.load();
        let mut exempt = rules.exempt.iter();
        rules.delay_max.is_zero() || exempt.any(|network| network.contains(&peer))
    }

    /// The digests under which a user from an address, and the address, are counted.
    fn keys(&self, peer: IpAddr, user: &str) -> [u64; 2] {
        let source = source_of(peer);
        [
            self.hasher.hash_one((source, user)),
            self.hasher.hash_one(source),
        ]
    }

    /// When an attempt may be made. It takes its turn.
    ///
    /// # Errors
    /// There are so many before it that it is refused.
    pub(super) fn turn(&self, peer: IpAddr, user: &str, now: Instant) -> Result<Instant, TooMany> {
        let peer = peer.to_canonical();
        if self.is_exempt(peer) {
            return Ok(now);
        }
        let keys = self.keys(peer, user);
        let mut counts = self.counts.lock();
        let found = keys.map(|key| counts.get(key, now));
        let turns = found.iter().flatten().filter(|c| self.delays(c));
        let turn = turns.map(|count| count.turn).max().unwrap_or(now).max(now);
        if turn > now + self.rules.load().delay_max {
            return Err(TooMany);
        }
        for (key, count) in keys.into_iter().zip(found) {
            if let Some(count) = count.filter(|count| self.delays(count)) {
                let turn = turn + self.delay(count.failures);
                counts.put(key, Count { turn, ..count });
            }
        }
        Ok(turn)
    }

    /// An attempt has failed. How long that is not to be told yet.
    pub(super) fn failed(&self, peer: IpAddr, user: &str, now: Instant) -> Duration {
        let peer = peer.to_canonical();
        if self.is_exempt(peer) {
            return Duration::ZERO;
        }
        let [pair, source] = self.keys(peer, user);
        let mut counts = self.counts.lock();
        if self.count(&mut counts, pair, now) == 1 {
            self.count(&mut counts, source, now);
        }
        let of_user = self.count(&mut counts, self.hasher.hash_one(user), now);
        self.delay(of_user)
    }

    /// An attempt has succeeded: the user's failures from there are forgotten.
    pub(super) fn succeeded(&self, peer: IpAddr, user: &str) {
        let [pair, _] = self.keys(peer.to_canonical(), user);
        let mut counts = self.counts.lock();
        counts.recent.remove(&pair);
        counts.older.remove(&pair);
    }

    fn count(&self, counts: &mut Counts, key: u64, now: Instant) -> u32 {
        let before = counts.get(key, now);
        let failures = before.map_or(0, |count| count.failures).saturating_add(1);
        let next = now + self.delay(failures);
        counts.put(
            key,
            Count {
                failures,
                last: now,
                turn: before.map_or(next, |count| count.turn.max(next)),
            },
        );
        failures
    }

    fn delays(&self, count: &Count) -> bool {
        count.failures > self.rules.load().free
    }

    /// Twice as long for each failure.
    fn delay(&self, failures: u32) -> Duration {
        let rules = self.rules.load();
        match failures.checked_sub(rules.free) {
            None | Some(0) => Duration::ZERO,
            Some(more) => {
                let factor = 1u32.checked_shl(more - 1).unwrap_or(u32::MAX);
                let delay = FAILED_LOGIN_DELAY_MIN.checked_mul(factor);
                delay.map_or(rules.delay_max, |d| d.min(rules.delay_max))
            }
        }
    }
}

impl Counts {
    fn get(&self, key: u64, now: Instant) -> Option<Count> {
        let found = self.recent.get(&key).or_else(|| self.older.get(&key));
        found
            .filter(|count| now < count.last + FAILED_LOGIN_FORGOTTEN)
            .copied()
    }

    fn put(&mut self, key: u64, count: Count) {
        if self.recent.len() >= FAILED_LOGINS_MAX / 2 && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a time that the test sets.
    struct Bench {
        failures: Failures,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Bench {
                failures: Failures::new(FailureRules {
                    exempt: vec!["127.0.0.0/8".parse().unwrap()],
                    free: 3,
                    delay_max: Duration::from_secs(5),
                }),
                now: Instant::now(),
            }
        }

        fn fail(&self, peer: &str, user: &str) -> u128 {
            let told = self.failures.failed(ip(peer), user, self.now);
            told.as_millis()
        }

        /// How long an attempt waits for its turn, in milliseconds.
        fn wait(&self, peer: &str, user: &str) -> Result<u128, TooMany> {
            let turn = self.failures.turn(ip(peer), user, self.now)?;
            Ok((turn - self.now).as_millis())
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_delay_grows_to_its_longest_and_only_where_it_failed() {
        let mut bench = Bench::new();
        let mut waits = Vec::new();
        for _ in 0..12 {
            bench.now += Duration::from_secs(20);
            bench.fail("10.0.0.1", "u");
            waits.push(bench.wait("10.0.0.1", "u").unwrap());
        }
        assert_eq!(
            waits,
            [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]
        );
        assert_eq!(bench.wait("10.0.0.2", "u"), Ok(0), "from elsewhere");
        assert_eq!(bench.wait("10.0.0.1", "other"), Ok(0), "another user");
        bench.failures.succeeded(ip("10.0.0.1"), "u");
        assert_eq!(bench.wait("10.0.0.1", "u"), Ok(0));
    }

    #[test]
    fn attempts_side_by_side_take_turns_and_too_many_are_refused() {
        let bench = Bench::new();
        for _ in 0..6 {
            bench.fail("10.0.0.1", "u");
        }
        let waits: Vec<_> = (0..20).map(|_| bench.wait("10.0.0.1", "u")).collect();
        // One each 400 ms, in the 5 s that one may wait.
        let in_time: Vec<u128> = waits.iter().flatten().copied().collect();
        let expected: Vec<u128> = (1..=12).map(|n| n * 400).collect();
        assert_eq!(in_time, expected);
        assert_eq!(waits.last(), Some(&Err(TooMany)));
    }

    #[test]
    fn who_fails_as_many_users_waits_as_any_of_them() {
        let bench = Bench::new();
        for number in 0..5 {
            bench.fail("2001:db8::1", &format!("user{number}"));
        }
        // One host has all of the network.
        assert_eq!(bench.wait("2001:db8::2", "fresh"), Ok(200));
        assert_eq!(bench.wait("2001:db8:0:1::1", "fresh"), Ok(0));
    }

    #[test]
    fn that_a_user_failed_anywhere_is_told_late() {
        let mut bench = Bench::new();
        let told: Vec<_> = (0..6)
            .map(|n| bench.fail(&format!("10.0.0.{n}"), "u"))
            .collect();
        assert_eq!(told, [0, 0, 0, 100, 200, 400]);
        bench.now += FAILED_LOGIN_FORGOTTEN;
        assert_eq!(bench.fail("10.0.0.9", "u"), 0);
    }

    #[test]
    fn exempt_networks_and_no_rules_delay_nobody() {
        let bench = Bench::new();
        let free = Bench {
            failures: Failures::new(FailureRules::default()),
            now: bench.now,
        };
        for _ in 0..20 {
            assert_eq!(bench.fail("::ffff:127.0.0.9", "u"), 0);
            assert_eq!(free.fail("10.0.0.1", "u"), 0);
        }
        assert_eq!(bench.wait("127.0.0.9", "u"), Ok(0));
        assert_eq!(free.wait("10.0.0.1", "u"), Ok(0));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_in_use_stays() {
        let bench = Bench::new();
        for number in 0..3 * FAILED_LOGINS_MAX {
            bench.fail("10.0.0.1", &number.to_string());
            if number % 100 == 0 {
                bench.fail("10.0.0.2", "u");
            }
        }
        let held = |counts: &Counts| counts.recent.len() + counts.older.len();
        assert!(held(&bench.failures.counts.lock()) <= FAILED_LOGINS_MAX);
        assert_eq!(bench.wait("10.0.0.2", "u"), Ok(5000));
    }
}
