//! Time to live, limits of length and of deliveries, waits of what came back, deaths: one queue without consumers against a
//! sorted list, with a clock that is a counter.

use std::cmp::Reverse;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::disk::Disk;
use super::number;
use crate::base::{LogPos, QueueId};
use crate::message::{Facts, Message};
use crate::queue::options::{DeadLetter, DeathReason, Overflow};
use crate::queue::{Admission, DelayedRetry, Effects, Queue, QueueOptions, Requeue, Slot};

#[derive(Debug, Clone)]
struct Sent {
    number: u64,
    level: u8,
    seq: u64,
    size: u64,
    expires_at_ms: Option<u64>,
    failed: u32,
    redelivered: bool,
    /// Its record.
    pos: LogPos,
}

impl Sent {
    fn place(&self) -> (Reverse<u8>, u64) {
        (Reverse(self.level), self.seq)
    }

    fn is_over(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }
}

struct World {
    rng: StdRng,
    queue: Queue,
    disk: Disk,
    window: usize,
    options: QueueOptions,
    now_ms: u64,
    next_number: u64,
    ready: Vec<Sent>,
    unacked: Vec<(Slot, Sent)>,
    /// What came back, and until when it waits.
    waiting: Vec<(u64, Sent)>,
    /// How many have waited.
    waited: usize,
    /// When the queue asked to be woken.
    wakes: Vec<u64>,
    deaths: Vec<DeathReason>,
}

/// A message with an expiration, or without.
fn message(number: u64, priority: u8, padding: usize, ttl_ms: Option<u64>) -> Message {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(8 + padding, b'.');
    let properties = match ttl_ms {
        None => vec![0, 0],
        Some(ttl_ms) => {
            let text = ttl_ms.to_string();
            [&[1, 0, text.len() as u8], text.as_bytes()].concat()
        }
    };
    let facts = Facts::new(false, priority, ttl_ms.is_some());
    Message::from_parts(b"", b"q", &properties, vec![Bytes::from(body)], facts)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let overflows = [
            Overflow::DropHead,
            Overflow::RejectPublish,
            Overflow::RejectPublishDlx,
        ];
        let mut perhaps = |range: std::ops::Range<u64>| match rng.random() {
            true => Some(rng.random_range(range)),
            false => None,
        };
        let mut options = QueueOptions {
            message_ttl_ms: perhaps(0..200),
            max_len: perhaps(0..30),
            max_len_bytes: perhaps(0..600),
            delivery_limit: perhaps(0..4).map(|limit| limit as u32),
            ..QueueOptions::default()
        };
        options.max_priority = *[0, 0, 5].choose(&mut rng).unwrap();
        options.overflow = *overflows.choose(&mut rng).unwrap();
        options.dead_letter = rng.random::<bool>().then(|| DeadLetter {
            exchange: "dlx".into(),
            routing_key: None,
        });
        options.delayed_retry = rng.random::<bool>().then(|| DelayedRetry {
            failed: rng.random(),
            nacked: rng.random(),
            min_ms: rng.random_range(0..40),
            max_ms: rng.random_range(0..100),
        });
        let window = match rng.random() {
            true => rng.random_range(0..2000),
            false => usize::MAX,
        };
        World {
            queue: Queue::with_window(options.clone(), window, 4),
            disk: Disk::new(rng.random()),
            window,
            rng,
            options,
            now_ms: 1_000_000,
            next_number: 0,
            ready: Vec::new(),
            unacked: Vec::new(),
            waiting: Vec::new(),
            waited: 0,
            wakes: Vec::new(),
            deaths: Vec::new(),
        }
    }

    /// One random operation, what always follows it, and every check.
    fn step(&mut self) {
        let mut effects = Effects::default();
        // Who leaves the queue by the operation itself: alive, or dead.
        let mut consumed = Vec::new();
        let mut dead = Vec::new();
        match self.rng.random_range(0..100) {
            0..45 => self.publish(&mut effects, &mut consumed, &mut dead),
            45..65 => self.get(&mut effects, &mut consumed, &mut dead),
            65..85 => self.settle(&mut effects, &mut consumed, &mut dead),
            85..98 => self.now_ms += self.rng.random_range(0..60),
            98 => self.restart(),
            _ => {
                assert_eq!(self.queue.purge(&mut effects), self.ready.len());
                consumed.append(&mut self.ready);
            }
        }
        self.wake(&mut effects, &mut dead);
        // What is in pages is known when they are read.
        while self
            .disk
            .read_all(&mut self.queue, self.now_ms, &mut effects)
        {
            self.wake(&mut effects, &mut dead);
        }
        self.disk.perhaps_page_out(&mut self.queue);
        self.check(effects, &consumed, dead);
    }

    /// The broker is killed and begins again from a checkpoint, in which the dead that are not in the log
    /// yet are alive.
    fn restart(&mut self) {
        let state = self.queue.snapshot(QueueId(7));
        self.queue = Queue::with_window(self.options.clone(), self.window, 4);
        self.queue.restore(state);
        self.disk.restarted(&mut self.queue);
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let unacked = std::mem::take(&mut self.unacked).into_iter();
        for sent in unacked
            .map(|(_, sent)| sent)
            .chain(waiting.map(|(_, sent)| sent))
        {
            let mut sent = sent;
            sent.redelivered = true;
            // No longer where its requeue would have put it, but in its lane.
            self.put(sent);
        }
        self.ready.retain(|sent| sent.pos.is_kept());
        self.wakes.clear();
    }

    fn publish(&mut self, effects: &mut Effects, consumed: &mut Vec<Sent>, dead: &mut Deaths) {
        for _ in 0..self.rng.random_range(1..6) {
            let number = self.next_number;
            self.next_number += 1;
            let ttl_ms = match self.rng.random_range(0..3) {
                0 => Some(self.rng.random_range(0..300)),
                _ => None,
            };
            let priority = self.rng.random_range(0..8);
            let message = message(number, priority, self.rng.random_range(0..60), ttl_ms);
            let lives_ms = [ttl_ms, self.options.message_ttl_ms].into_iter().flatten();
            let pos = self.disk.write_or_spill(&message);
            let sent = Sent {
                number,
                pos,
                level: priority.min(self.options.max_priority),
                seq: number,
                size: message.body_len() as u64,
                expires_at_ms: lives_ms.min().map(|ms| self.now_ms + ms),
                failed: 0,
                redelivered: false,
            };
            let admission = self.queue.publish(sent.pos, message, self.now_ms, effects);
            let full = self.is_over(1, sent.size);
            if self.options.overflow == Overflow::DropHead || !full {
                assert_eq!(admission, Admission::Taken);
                self.put(sent);
                continue;
            }
            assert_eq!(admission, Admission::Refused);
            match self.options.overflow {
                Overflow::RejectPublishDlx => dead.push((sent, DeathReason::MaxLen)),
                _ => consumed.push(sent),
            }
        }
    }

    fn get(&mut self, effects: &mut Effects, consumed: &mut Vec<Sent>, dead: &mut Deaths) {
        // As the broker does, so that nobody gets what is expired.
        self.wake(effects, dead);
        let no_ack = self.rng.random();
        let mut got = self.queue.get(no_ack, effects);
        while got.is_none() && !self.ready.is_empty() {
            self.disk.read_next(&mut self.queue, effects);
            // As the broker does: what a page held may be over.
            self.wake(effects, dead);
            got = self.queue.get(no_ack, effects);
        }
        assert_eq!(got.is_some(), !self.ready.is_empty());
        let Some(got) = got else { return };
        let sent = self.ready.remove(0);
        assert_eq!(number(&got.message), sent.number, "out of order");
        assert_eq!(got.redelivered, sent.redelivered);
        match no_ack {
            true => consumed.push(sent),
            false => self.unacked.push((got.slot, sent)),
        }
    }

    fn settle(&mut self, effects: &mut Effects, consumed: &mut Vec<Sent>, dead: &mut Deaths) {
        for _ in 0..self.rng.random_range(1..4) {
            if self.unacked.is_empty() {
                return;
            }
            let at = self.rng.random_range(0..self.unacked.len());
            let (slot, mut sent) = self.unacked.swap_remove(at);
            match self.rng.random_range(0..6) {
                0 => {
                    self.queue.settle([slot], effects);
                    consumed.push(sent);
                }
                1 => {
                    self.queue.reject([slot], effects);
                    dead.push((sent, DeathReason::Rejected));
                }
                how => {
                    let how = [
                        Requeue::Seen,
                        Requeue::Nacked,
                        Requeue::Failed,
                        Requeue::Failed,
                    ][how - 2];
                    self.queue.requeue([slot], how, self.now_ms, effects);
                    sent.failed += u32::from(how != Requeue::Seen);
                    sent.redelivered = true;
                    match self.options.delivery_limit {
                        Some(limit) if sent.failed > limit => {
                            dead.push((sent, DeathReason::DeliveryLimit));
                        }
                        _ => self.come_back(sent, how),
                    }
                }
            }
        }
    }

    fn come_back(&mut self, sent: Sent, how: Requeue) {
        let retry = self.options.delayed_retry.filter(|retry| match how {
            Requeue::Failed => retry.failed,
            Requeue::Nacked => retry.nacked,
            Requeue::Seen => false,
        });
        let wait_ms = retry.map_or(0, |retry| {
            (retry.min_ms * u64::from(sent.failed)).min(retry.max_ms)
        });
        match wait_ms {
            0 => self.put(sent),
            wait_ms => self.waiting.push((self.now_ms + wait_ms, sent)),
        }
    }

    fn wake(&mut self, effects: &mut Effects, dead: &mut Deaths) {
        let over: Vec<_> = self
            .waiting
            .extract_if(.., |(until_ms, _)| *until_ms <= self.now_ms)
            .collect();
        self.waited += over.len();
        over.into_iter().for_each(|(_, sent)| self.put(sent));
        self.queue.wake(self.now_ms, effects);
        self.disk.note(effects);
        self.wakes.retain(|&at_ms| at_ms > self.now_ms);
        self.wakes.extend(effects.wake_at_ms.take());
        let now_ms = self.now_ms;
        let over = |sent: &mut Sent| sent.is_over(now_ms);
        let expired = self.ready.extract_if(.., over);
        dead.extend(expired.map(|sent| (sent, DeathReason::Expired)));
        while self.options.overflow == Overflow::DropHead && self.is_over(0, 0) {
            dead.push((self.ready.remove(0), DeathReason::MaxLen));
        }
    }

    fn put(&mut self, sent: Sent) {
        self.ready.push(sent);
        self.ready.sort_by_key(Sent::place);
    }

    fn bytes(&self) -> u64 {
        self.ready.iter().map(|sent| sent.size).sum()
    }

    /// Whether so much more is more than fits.
    fn is_over(&self, count: u64, bytes: u64) -> bool {
        let (len, bytes) = (self.ready.len() as u64 + count, self.bytes() + bytes);
        self.options.max_len.is_some_and(|most| len > most)
            || self.options.max_len_bytes.is_some_and(|most| bytes > most)
    }

    fn check(&mut self, effects: Effects, consumed: &[Sent], mut dead: Deaths) {
        let mut consumed: Vec<LogPos> = consumed.iter().map(|sent| sent.pos).collect();
        if self.options.dead_letter.is_none() {
            consumed.extend(dead.drain(..).map(|(sent, _)| sent.pos));
        }
        consumed.retain(|pos| pos.is_some());
        consumed.sort();
        let mut said = effects.consumed;
        let before = said.len();
        let pages = effects.pages.iter().map(|pos| &self.disk.pages[pos]);
        // Of a page that was purged, what had not gone before.
        let paged = pages.flatten().map(|entry| entry.pos);
        said.extend(paged.filter(|pos| consumed.binary_search(pos).is_ok()));
        let released: u32 = effects.released.iter().map(|(_, count)| count).sum();
        assert_eq!(released as usize, said.len() - before, "released");
        said.sort();
        assert_eq!(said, consumed, "consumed");

        let told = effects.dead.iter();
        let told = told.map(|dead| (number(&dead.message), dead.pos, dead.reason));
        let mut told: Vec<_> = told.collect();
        let expected = dead.iter();
        let expected = expected.map(|(sent, reason)| (sent.number, sent.pos, *reason));
        let mut expected: Vec<_> = expected.collect();
        self.deaths.extend(told.iter().map(|(.., reason)| *reason));
        // In order but for those whose time was over at once.
        let order = |&(number, _, reason): &(u64, LogPos, DeathReason)| {
            (reason == DeathReason::Expired).then_some(number)
        };
        told.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(told, expected, "dead");
        self.bury(told.iter().map(|(_, pos, _)| *pos).collect());

        assert_eq!(self.queue.ready_len(), self.ready.len(), "ready");
        assert_eq!(self.queue.ready_bytes() as u64, self.bytes(), "octets");
        assert_eq!(
            self.queue.unacked_len(),
            self.unacked.len() + self.waiting.len(),
            "unacked"
        );
        let next = self.ready.iter().filter_map(|sent| sent.expires_at_ms);
        let next = next.chain(self.waiting.iter().map(|(until_ms, _)| *until_ms));
        if let Some(next_ms) = next.min() {
            let woken = self.wakes.iter().any(|&at_ms| at_ms <= next_ms);
            assert!(woken, "nothing wakes it at {next_ms}: {:?}", self.wakes);
        }
    }
}

impl World {
    /// The dead are in a checkpoint until they are in the log.
    fn bury(&mut self, mut dead: Vec<LogPos>) {
        dead.retain(|pos| pos.is_kept());
        let loose = |queue: &Queue| -> Vec<LogPos> {
            let lanes = queue.snapshot(QueueId(7)).lanes.into_iter();
            let loose = lanes.flat_map(|lane| lane.loose);
            loose.map(|(_, entry)| entry.pos).collect()
        };
        let before = loose(&self.queue);
        assert!(dead.iter().all(|pos| before.contains(pos)), "dying");
        self.queue.buried(&dead);
        let after = loose(&self.queue);
        assert!(!dead.iter().any(|pos| after.contains(pos)), "dead");
    }
}

type Deaths = Vec<(Sent, DeathReason)>;

/// Run one seed alone with `WARREN_SEED=n`.
#[test]
fn random_deaths_agree_with_the_model() {
    const STEPS: usize = 1_500;
    let only = std::env::var("WARREN_SEED").map(|seed| seed.parse().unwrap());
    let seeds = only.map_or(0..150, |seed: u64| seed..seed + 1);
    let alone = seeds.end - seeds.start == 1;
    let mut deaths = Vec::new();
    let mut waited = 0;
    for seed in seeds {
        // Shown only if the test fails: the last one is at fault.
        eprintln!("WARREN_SEED={seed}");
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        deaths.append(&mut world.deaths);
        waited += world.waited;
    }
    assert!(alone || waited > 100, "hardly any waited: {waited}");
    for reason in [
        DeathReason::Rejected,
        DeathReason::Expired,
        DeathReason::MaxLen,
        DeathReason::DeliveryLimit,
    ] {
        let count = deaths.iter().filter(|death| **death == reason).count();
        eprintln!("{count} {}", reason.name());
        assert!(alone || count > 100, "hardly any {}", reason.name());
    }
}
