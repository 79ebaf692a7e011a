//! Who has connected and not come to connection.open yet.
//!
//! Owns how many of them there may be, in all and from one address, and how fast they may come from one. They are
//! strangers: whoever has many of them must not keep others out, so when there are too many the address with the
//! most loses the one that has waited longest for its client.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::base::source_of;
use crate::config::Throttle;

/// See the module.
pub struct Newcomers {
    rules: ArcSwap<Throttle>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sources: HashMap<IpAddr, Source>,
    /// Addresses by how many they have.
    by_count: BTreeSet<(usize, IpAddr)>,
    count: usize,
    last_number: u64,
    /// Dropped since that was last told.
    dropped: u64,
    told: Option<Instant>,
    /// Addresses at which those without anything to remember are looked for.
    sweep_at: usize,
}

struct Source {
    /// By number, and so by age.
    waiting: BTreeMap<u64, Arc<Place>>,
    /// When all that came would have come at the rate.
    due: Instant,
}

#[derive(Default)]
struct Place {
    evicted: CancellationToken,
    /// It is not the client that is waited for.
    busy: AtomicBool,
}

/// Why a connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// From this address.
    #[error("too many connections from this address are in their handshake")]
    FromAddress,
    /// In all, and its address has as many as any.
    #[error("too many connections are in their handshake")]
    Handshakes,
}

/// One of them, until it is dropped.
pub struct Newcomer {
    held: Option<Held>,
    not_before: Option<Instant>,
}

struct Held {
    newcomers: Arc<Newcomers>,
    source: IpAddr,
    number: u64,
    place: Arc<Place>,
}

/// Sources below which there is nothing to gain from forgetting any.
const SWEEP_MIN: usize = 1024;

/// How often the log is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What comes at once from one address is as much as the rate allows in this.
const BURST: Duration = Duration::from_secs(1);

impl Newcomers {
    /// By these rules.
    pub fn new(rules: Throttle) -> Arc<Self> {
        Arc::new(Newcomers {
            rules: ArcSwap::from_pointee(rules),
            state: Mutex::default(),
        })
    }

    /// Goes by other rules from now on.
    pub fn set_rules(&self, rules: Throttle) {
        self.rules.store(Arc::new(rules));
    }

    /// Takes a connection in that came at `now`.
    ///
    /// # Errors
    /// It is to be dropped.
    pub fn admit(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Result<Newcomer, TooMany> {
        let peer = peer.to_canonical();
        let rules = self.rules.load();
        if rules.exempt.iter().any(|network| network.contains(&peer)) {
            return Ok(Newcomer::exempt());
        }
        let source = source_of(peer);
        let limit = |most: usize| if most == 0 { usize::MAX } else { most };
        let mut state = self.state.lock();
        let own = state.sources.get(&source).map_or(0, |s| s.waiting.len());
        if own >= limit(rules.handshakes_per_address) {
            return Err(state.dropped(TooMany::FromAddress, source, now));
        }
        if state.count >= limit(rules.handshakes) {
            let full = state.dropped(TooMany::Handshakes, source, now);
            if !state.make_room() {
                return Err(full);
            }
        }
        state.sweep(now);
        Ok(Newcomer {
            not_before: state.turn(source, rules.connects_per_address_per_s, now),
            held: Some(state.enter(self, source, now)),
        })
    }
}

impl State {
    /// Tells the log that some are dropped, not every time.
    fn dropped(&mut self, reason: TooMany, newest: IpAddr, now: Instant) -> TooMany {
        self.dropped += 1;
        if self.told.is_none_or(|told| now >= told + TOLD_EVERY) {
            let count = std::mem::take(&mut self.dropped);
            warn!(count, %newest, "connections dropped: {reason}");
            self.told = Some(now);
        }
        reason
    }

    /// Whether anybody could be sent away from the address that has the most.
    fn make_room(&mut self) -> bool {
        let Some(&(_, source)) = self.by_count.last() else {
            return false;
        };
        let waiting = self.sources.get(&source).map(|s| &s.waiting);
        let mut oldest_first = waiting.into_iter().flatten();
        let idle = oldest_first.find(|(_, place)| !place.busy.load(Ordering::Relaxed));
        let Some((&number, place)) = idle else {
            return false;
        };
        place.evicted.cancel();
        self.leave(source, number);
        true
    }

    /// When one that comes now from `source` may begin, if that is later.
    fn turn(&mut self, source: IpAddr, per_s: u32, now: Instant) -> Option<Instant> {
        let interval = BURST.checked_div(per_s)?;
        let held = self.source(source, now);
        held.due = held.due.max(now) + interval;
        let begin = held.due.checked_sub(BURST)?;
        (begin > now).then_some(begin)
    }

    fn source(&mut self, source: IpAddr, now: Instant) -> &mut Source {
        self.sources.entry(source).or_insert_with(|| Source {
            waiting: BTreeMap::new(),
            due: now,
        })
    }

    fn enter(&mut self, newcomers: &Arc<Newcomers>, source: IpAddr, now: Instant) -> Held {
        self.last_number += 1;
        let (number, place) = (self.last_number, Arc::<Place>::default());
        let waiting = &mut self.source(source, now).waiting;
        waiting.insert(number, Arc::clone(&place));
        let count = waiting.len();
        self.by_count.remove(&(count - 1, source));
        self.by_count.insert((count, source));
        self.count += 1;
        Held {
            newcomers: Arc::clone(newcomers),
            source,
            number,
            place,
        }
    }

    fn leave(&mut self, source: IpAddr, number: u64) {
        let Some(held) = self.sources.get_mut(&source) else {
            return;
        };
        let count = held.waiting.len();
        if held.waiting.remove(&number).is_none() {
            return;
        }
        self.count -= 1;
        self.by_count.remove(&(count, source));
        if count > 1 {
            self.by_count.insert((count - 1, source));
        }
    }

    /// Forgets addresses of which nothing needs to be known, each time there are twice as many.
    fn sweep(&mut self, now: Instant) {
        if self.sources.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.sources
            .retain(|_, source| !source.waiting.is_empty() || source.due > now);
        self.sweep_at = self.sources.len() * 2;
    }
}

impl Newcomer {
    /// One that counts nowhere.
    pub fn exempt() -> Self {
        Newcomer {
            held: None,
            not_before: None,
        }
    }

    /// Waits until it may begin, as its address is too fast.
    pub async fn turn(&self) {
        if let Some(at) = self.not_before {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Waits until it has to make room for others; for ever, most often.
    pub async fn evicted(&self) {
        match &self.held {
            Some(held) => held.place.evicted.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether it waits for the broker, and not for its client: then it is not sent away.
    pub(super) fn set_busy(&self, busy: bool) {
        if let Some(held) = &self.held {
            held.place.busy.store(busy, Ordering::Relaxed);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.newcomers.state.lock().leave(self.source, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomers(handshakes: usize, per_address: usize, per_s: u32) -> Arc<Newcomers> {
        Newcomers::new(Throttle {
            handshakes,
            handshakes_per_address: per_address,
            connects_per_address_per_s: per_s,
            ..Throttle::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admit(newcomers: &Arc<Newcomers>, peer: &str) -> Result<Newcomer, TooMany> {
        newcomers.admit(ip(peer), Instant::now())
    }

    fn is_evicted(newcomer: &Newcomer) -> bool {
        let held = newcomer.held.as_ref().unwrap();
        held.place.evicted.is_cancelled()
    }

    #[test]
    fn an_address_has_its_limit_until_some_have_finished() {
        let newcomers = newcomers(0, 2, 0);
        let one = admit(&newcomers, "10.0.0.1").unwrap();
        let _two = admit(&newcomers, "::ffff:10.0.0.1").unwrap();
        let third = admit(&newcomers, "10.0.0.1");
        assert_eq!(third.err(), Some(TooMany::FromAddress));
        assert!(admit(&newcomers, "10.0.0.2").is_ok());
        drop(one);
        assert!(admit(&newcomers, "10.0.0.1").is_ok());
    }

    #[test]
    fn the_address_with_the_most_makes_room_with_its_oldest() {
        let newcomers = newcomers(5, 0, 0);
        let many: Vec<_> = (0..4)
            .map(|_| admit(&newcomers, "10.0.0.1").unwrap())
            .collect();
        let few = admit(&newcomers, "10.0.0.2").unwrap();
        many[0].set_busy(true);
        let fresh = admit(&newcomers, "10.0.0.3").unwrap();
        let evicted: Vec<_> = many.iter().map(is_evicted).collect();
        assert_eq!(evicted, [false, true, false, false], "the first is busy");
        assert!(!is_evicted(&few) && !is_evicted(&fresh));
        // Also for one of its own.
        let _own = admit(&newcomers, "10.0.0.1").unwrap();
        assert!(is_evicted(&many[2]));
        drop(many);
        let state = newcomers.state.lock();
        assert_eq!((state.count, state.by_count.len()), (3, 3));
    }

    #[test]
    fn nobody_is_sent_away_while_the_broker_is_what_is_waited_for() {
        let newcomers = newcomers(1, 0, 0);
        let one = admit(&newcomers, "10.0.0.1").unwrap();
        one.set_busy(true);
        let second = admit(&newcomers, "10.0.0.2");
        assert_eq!(second.err(), Some(TooMany::Handshakes));
        one.set_busy(false);
        assert!(admit(&newcomers, "10.0.0.2").is_ok());
        assert!(is_evicted(&one));
    }

    #[test]
    fn an_address_that_is_too_fast_is_slowed_to_the_rate() {
        let newcomers = newcomers(0, 0, 10);
        let now = Instant::now();
        let mut all = Vec::new();
        for number in 0..30u64 {
            let newcomer = newcomers.admit(ip("10.0.0.1"), now).unwrap();
            let wait = newcomer.not_before.map_or(Duration::ZERO, |at| at - now);
            let expected = Duration::from_millis(100 * number.saturating_sub(9));
            assert_eq!(wait, expected, "{number}");
            all.push(newcomer);
        }
        let other = newcomers.admit(ip("10.0.0.2"), now).unwrap();
        assert_eq!(other.not_before, None);
        let later = now + Duration::from_secs(3);
        let same = newcomers.admit(ip("10.0.0.1"), later).unwrap();
        assert_eq!(same.not_before, None);
    }

    #[test]
    fn addresses_are_forgotten_when_nothing_is_to_be_known_of_them() {
        let newcomers = newcomers(0, 0, 10);
        let mut now = Instant::now();
        for number in 0..10 * SWEEP_MIN as u32 {
            let peer = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            drop(newcomers.admit(peer, now));
            now += Duration::from_millis(1);
        }
        assert!(newcomers.state.lock().sources.len() <= 2 * SWEEP_MIN);
    }

    #[test]
    fn exempt_networks_count_nowhere() {
        let newcomers = newcomers(1, 1, 1);
        let all: Vec<_> = (0..5).map(|_| admit(&newcomers, "127.0.0.1")).collect();
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(newcomers.state.lock().count, 0);
    }
}
