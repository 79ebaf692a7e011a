//! Transient messages of long queues are on disk, and all that holds for queues holds for them.

use std::time::{Duration, Instant};

use super::*;
use crate::base::LogPos;
use crate::broker::pager::{Found, put_in, read};
use crate::queue::Load;
use crate::store::ReadError;

const BODY_BYTES: usize = 2000;

/// Some more than one queue keeps in memory: 12 MB.
const MANY: usize = 6000;

fn body(number: usize) -> String {
    format!("{number:.<BODY_BYTES$}")
}

impl Bench {
    /// Publishes to an exchange, in batches as a channel would. `persistent` says which are.
    fn fill(
        &self,
        exchange: &str,
        key: &str,
        numbers: std::ops::Range<usize>,
        persistent: impl Fn(usize) -> bool,
    ) {
        let mut publisher = Publisher::new(self.vhost.clone());
        for number in numbers {
            publisher.check_exchange(exchange.as_bytes()).unwrap();
            let message = message(exchange, key, body(number).as_bytes(), persistent(number));
            publisher.publish(message, &[]);
            if number % 20 == 19 {
                publisher.flush().unwrap();
            }
        }
        publisher.flush().unwrap();
    }

    fn drain(&self, queue: &str) -> Vec<usize> {
        let bodies = self.bodies(queue).into_iter();
        bodies.map(|(body, _)| number(&body)).collect()
    }

    fn spilled(&self) -> (u64, u64) {
        let figures = self.broker.log().figures();
        (figures.spill_bytes, figures.spill_live)
    }

    /// Nothing is held in the spill, and its space comes back.
    fn assert_spill_is_empty(&self) {
        assert_eq!(self.spilled().1, 0, "still held");
        let until = Instant::now() + Duration::from_secs(60);
        let bytes = || -> u64 {
            let files = std::fs::read_dir(self.dir.path().join("data/transient")).unwrap();
            files
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum()
        };
        while bytes() > 1 << 20 {
            assert!(Instant::now() < until, "{} octets are left", bytes());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn number(body: &str) -> usize {
    body.trim_end_matches('.').parse().unwrap()
}

fn table(entries: &[(&str, Value<'_>)]) -> RawTable {
    let mut table = TableBuilder::new();
    for (name, value) in entries {
        table.insert(name, *value);
    }
    table.finish()
}

fn is_transient(_: usize) -> bool {
    false
}

#[test]
fn a_short_queue_touches_no_disk_and_a_long_one_keeps_its_order() {
    let bench = Bench::new();
    let queue = bench.declare("long", |_| {});
    bench.fill("", "long", 0..1000, is_transient);
    assert_eq!(bench.spilled(), (0, 0), "2 MB are short");
    bench.fill("", "long", 1000..MANY, is_transient);
    let (bytes, live) = bench.spilled();
    assert!(bytes > 4 << 20 && live > 2000, "{bytes} octets, {live}");
    assert!(queue.lock().peek_all().len() < 3000, "in memory");
    assert!(queue.spills());
    assert_eq!(bench.drain("long"), (0..MANY).collect::<Vec<_>>());
    bench.assert_spill_is_empty();
    // The next one finds out that the queue is short again.
    bench.fill("", "long", 0..1, is_transient);
    assert!(!queue.spills());
    let before = bench.spilled().0;
    bench.fill("", "long", 1..50, is_transient);
    assert_eq!(bench.spilled().0, before);
}

#[test]
fn persistent_and_transient_ones_stay_in_order_and_a_restart_keeps_the_persistent_ones() {
    for (stretch, crash) in [(1, true), (700, false), (700, true), (100, true)] {
        let persistent = |number: usize| (number / stretch).is_multiple_of(3);
        let bench = Bench::new();
        bench.declare("mixed", |queue| queue.durable = true);
        bench.declare("gone", |_| {});
        bench.fill("", "mixed", 0..MANY, persistent);
        bench.fill("", "gone", 0..MANY, |_| true);
        assert!(bench.spilled().1 > 2000);
        let first: Vec<usize> = (0..1000)
            .map(|_| {
                let got = bench.vhost.get(&bench.queue("mixed"), true).unwrap();
                number(&text(&got.unwrap().message))
            })
            .collect();
        assert_eq!(first, (0..1000).collect::<Vec<_>>());
        let bench = match crash {
            true => bench.crash(),
            false => bench.restart(),
        };
        assert!(!bench.has_queue("gone"));
        assert_eq!(bench.spilled(), (0, 0));
        let left: Vec<usize> = (1000..MANY).filter(|number| persistent(*number)).collect();
        assert_eq!(bench.drain("mixed"), left, "stretches of {stretch}");
        assert_eq!(bench.live_messages(), 0);
        // It takes both kinds as before.
        bench.fill("", "mixed", 0..MANY, persistent);
        assert_eq!(bench.drain("mixed"), (0..MANY).collect::<Vec<_>>());
        assert_eq!(bench.live_messages(), 0);
        bench.assert_spill_is_empty();
    }
}

#[test]
fn purge_and_delete_give_the_disk_back() {
    let bench = Bench::new();
    let queue = bench.declare("long", |_| {});
    bench.fill("", "long", 0..MANY, is_transient);
    let purged = bench.vhost.purge_queue(&queue).unwrap();
    assert_eq!(purged.value, MANY);
    bench.assert_spill_is_empty();
    bench.fill("", "long", 0..MANY, is_transient);
    let _unacked = bench.vhost.get(&queue, false).unwrap().unwrap();
    let all = DeleteIf::default();
    let deleted = bench.vhost.delete_queue(&"long".into(), all, HERE, BY);
    assert_eq!(deleted.unwrap().value, MANY - 1);
    bench.assert_spill_is_empty();
}

#[test]
fn a_fanout_is_spilled_once() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        let queue = bench.declare(name, |_| {});
        bench.bind("amq.fanout", &queue);
    }
    bench.fill("amq.fanout", "", 0..MANY, is_transient);
    let (bytes, live) = bench.spilled();
    assert!(live > 3 * 2000, "{live}");
    let once = (MANY * (BODY_BYTES + 200)) as u64;
    assert!(bytes < once, "{bytes} octets");
    for name in ["b", "c", "a"] {
        assert_eq!(bench.drain(name), (0..MANY).collect::<Vec<_>>());
    }
    bench.assert_spill_is_empty();
}

#[test]
fn what_was_delivered_comes_back_marked_and_in_its_place() {
    let bench = Bench::new();
    let queue = bench.declare("long", |_| {});
    bench.fill("", "long", 0..MANY, is_transient);
    let slots: Vec<Slot> = (0..MANY)
        .map(|_| bench.vhost.get(&queue, false).unwrap().unwrap().slot)
        .collect();
    assert_eq!(queue.lock().ready_len(), 0);
    let mut effects = Default::default();
    let half = slots.iter().copied().step_by(2);
    let settled = bench
        .vhost
        .settle(&queue, half, Settle::Acked, &mut effects);
    settled.unwrap();
    let half = slots.iter().copied().skip(1).step_by(2);
    let back = Settle::Requeued(crate::queue::Requeue::Failed);
    let settled = bench.vhost.settle(&queue, half, back, &mut effects);
    settled.unwrap();
    let left = bench.bodies("long").into_iter();
    let left: Vec<(usize, bool)> = left.map(|(body, again)| (number(&body), again)).collect();
    let odd = (1..MANY).step_by(2).map(|number| (number, true));
    assert_eq!(left, odd.collect::<Vec<_>>());
    bench.assert_spill_is_empty();
}

#[test]
fn what_is_out_does_not_all_stay_in_memory() {
    const OUT: usize = 24_000;
    let bench = Bench::new();
    let queue = bench.declare("short", |_| {});
    let mut slots = Vec::new();
    let mut publisher = Publisher::new(bench.vhost.clone());
    for number in 0..OUT {
        publisher.check_exchange(b"").unwrap();
        let message = message("", "short", body(number).as_bytes(), false);
        publisher.publish(message, &[]);
        publisher.flush().unwrap();
        slots.push(bench.vhost.get(&queue, false).unwrap().unwrap().slot);
        if number == 10_000 {
            assert_eq!(bench.spilled(), (0, 0), "20 MB may be out");
        }
    }
    let (_, live) = bench.spilled();
    assert!((4000..10_000).contains(&live), "{live}");
    let back = Settle::Requeued(crate::queue::Requeue::Failed);
    let settled = bench
        .vhost
        .settle(&queue, slots, back, &mut Default::default());
    settled.unwrap();
    assert_eq!(bench.drain("short"), (0..OUT).collect::<Vec<_>>());
    bench.assert_spill_is_empty();
    bench.fill("", "short", 0..20, is_transient);
    assert!(!queue.spills());
}

#[test]
fn the_dead_go_from_one_long_queue_into_another() {
    let bench = Bench::new();
    let (dead, long) = (bench.declare("dead", |_| {}), "long");
    bench.bind("amq.fanout", &dead);
    let queue = bench.declare(long, |queue| {
        queue.arguments = table(&[
            ("x-dead-letter-exchange", Value::LongStr(b"amq.fanout")),
            ("x-max-length", Value::I32(4000)),
        ]);
    });
    bench.fill("", long, 0..2 * MANY, is_transient);
    wait_for(|| dead.lock().ready_len() == 2 * MANY - 4000);
    assert_eq!(queue.lock().ready_len(), 4000);
    assert!(bench.spilled().1 > 2000);
    let (gone, left) = (0..2 * MANY - 4000, 2 * MANY - 4000..2 * MANY);
    assert_eq!(bench.drain("dead"), gone.collect::<Vec<_>>());
    assert_eq!(bench.drain(long), left.collect::<Vec<_>>());
    bench.assert_spill_is_empty();
}

#[test]
fn they_expire_in_time_wherever_they_are() {
    let bench = Bench::new();
    let queue = bench.declare("long", |queue| {
        queue.arguments = table(&[("x-message-ttl", Value::I32(1500))]);
    });
    bench.fill("", "long", 0..MANY, is_transient);
    assert!(bench.spilled().1 > 1000);
    let until = Instant::now() + Duration::from_secs(60);
    while queue.lock().ready_len() > 0 {
        assert!(Instant::now() < until);
        bench.vhost.on_timer(&queue).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    bench.assert_spill_is_empty();
}

/// A queue that is hardly consumed, and one through which much goes: what is left of the slow one does not keep
/// all that stood beside it.
#[test]
fn a_slow_queue_does_not_keep_the_files_of_a_fast_one() {
    const ROUNDS: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::config::Config {
        data_dir: dir.path().join("data"),
        ..Default::default()
    };
    config.storage.segment_bytes = 1 << 20;
    let broker = Broker::open(&config).unwrap();
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let bench = Bench { broker, vhost, dir };
    let slow = bench.declare("slow", |_| {});
    let fast = bench.declare("fast", |_| {});
    bench.fill("", "slow", 0..3000, is_transient);
    bench.fill("", "fast", 0..3000, is_transient);
    assert!(slow.spills() && fast.spills());
    let mut next = 3000;
    for _ in 0..ROUNDS {
        bench.fill("", "fast", 0..500, is_transient);
        bench.fill("", "slow", next..next + 20, is_transient);
        next += 20;
    }
    let all = bench.spilled().0;
    let _purged = bench.vhost.purge_queue(&fast).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while bench.spilled().0 > 16 << 20 {
        assert!(Instant::now() < until, "{:?} of {all}", bench.spilled());
        bench.broker.log().ask_for_checkpoint();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(all > 40 << 20, "{all}");
    assert_eq!(bench.drain("slow"), (0..next).collect::<Vec<_>>());
    bench.assert_spill_is_empty();
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As with too many open files: nothing of the queue is set aside, and all of it comes once it can be read.
#[test]
fn what_cannot_be_read_for_now_stays_in_its_queue() {
    for persistent in [false, true] {
        let bench = Bench::new();
        let queue = bench.declare("long", |queue| queue.durable = true);
        bench.fill("", "long", 0..MANY, |_| persistent);
        let short = |pos: LogPos| ReadError::io(pos, std::io::Error::from_raw_os_error(24));
        let (mut pages, mut messages) = (0, 0);
        let mut reader = bench.broker.log().reader();
        for _ in 0..MANY {
            let mut effects = Default::default();
            let state = &mut *queue.lock();
            let load = state.next_needed(bench.broker.log().durable(), usize::MAX);
            let (refused, right) = match load {
                Load::Page(pos) => {
                    pages += 1;
                    let refused = Found::Page(pos, Err(short(pos)));
                    (refused, Found::Page(pos, reader.page(pos)))
                }
                Load::Messages(wanted) => {
                    messages += 1;
                    let refused = wanted.iter().map(|one| (*one, Err(short(one.pos))));
                    let refused = Found::Messages(refused.collect());
                    (
                        refused,
                        read(Load::Messages(wanted), &mut reader, usize::MAX).unwrap(),
                    )
                }
                _ => break,
            };
            assert!(put_in(&queue, state, refused, &mut effects).is_some());
            assert_eq!(state.ready_len(), MANY);
            assert!(put_in(&queue, state, right, &mut effects).is_none());
            bench.broker.log().release_all(effects.opened);
        }
        assert!(pages > 0 && messages > 0, "{pages}, {messages}");
        assert_eq!(bench.drain("long"), (0..MANY).collect::<Vec<_>>());
        bench.assert_spill_is_empty();
    }
}
