//! Sparse segments are copied forward, and whatever a queue holds in them comes with it.

use std::time::{Duration, Instant};

use super::*;
use crate::codec::{Property, PropertyPatch};

const SEGMENT_BYTES: u32 = 64 << 10;

impl Bench {
    fn with_small_segments() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = crate::config::Config {
            data_dir: dir.path().join("data"),
            ..Default::default()
        };
        config.storage.segment_bytes = SEGMENT_BYTES;
        let broker = Broker::open(&config).unwrap();
        let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
        Bench { broker, vhost, dir }
    }

    fn durable(&self, name: &str) -> QueueRef {
        self.declare(name, |queue| queue.durable = true)
    }

    /// Fills about a segment with messages that are consumed at once.
    fn pass_by(&self, queue: &QueueRef) {
        let mut publisher = Publisher::new(self.vhost.clone());
        let key = queue.name.to_string();
        for _ in 0..SEGMENT_BYTES / 2048 {
            publisher.publish(message("", &key, &[b'x'; 2000], true), &[]);
            publisher.flush().unwrap();
        }
        let _purged = self.vhost.purge_queue(queue).unwrap();
    }

    /// Takes checkpoints until the log has no more than `most` segments.
    fn shrinks_to(&self, most: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.broker.log().totals().0 > most {
            assert!(
                Instant::now() < until,
                "{:?}, {:?}",
                self.broker.log().totals(),
                self.broker.log().sparse_segments()
            );
            self.broker.log().ask_for_checkpoint();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until exactly so many messages are held: while a copy is made, it is held as well.
    fn holds(&self, count: u64) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.live_messages() != count {
            assert!(Instant::now() < until, "{}", self.live_messages());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn names(&self, queue: &str) -> Vec<String> {
        let bodies = self.bodies(queue).into_iter();
        bodies
            .map(|(body, _)| body.trim_end_matches('.').to_owned())
            .collect()
    }
}

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

#[test]
fn one_old_message_in_each_segment_does_not_keep_them() {
    let bench = Bench::with_small_segments();
    let (busy, old) = (bench.durable("busy"), bench.durable("old"));
    let mut slots = Vec::new();
    for n in 0..100 {
        bench.publish("", "old", n.to_string().as_bytes(), true);
        if n % 2 == 0 {
            // Half of them are with a consumer.
            slots.push(bench.vhost.get(&old, false).unwrap().unwrap().slot);
        }
        bench.pass_by(&busy);
    }
    bench.shrinks_to(4);
    bench.holds(100);
    assert!(bench.broker.log().figures().compacted >= 95);
    // Acked by what they are now.
    let how = Settle::Acked;
    let settled = bench
        .vhost
        .settle(&old, slots.drain(..10), how, &mut Default::default());
    settled.unwrap();
    drop((busy, old));
    let bench = bench.crash();
    assert_eq!(bench.queue("old").lock().ready_len(), 90);
    let left = bench.names("old");
    assert_eq!(left.len(), 90);
    let all: std::collections::BTreeSet<_> = left.iter().collect();
    assert_eq!(all.len(), 90, "none twice");
}

#[test]
fn pages_move_and_keep_their_order() {
    for crash in [false, true] {
        let bench = Bench::with_small_segments();
        let (busy, long) = (bench.durable("busy"), bench.durable("long"));
        let mut publisher = Publisher::new(bench.vhost.clone());
        for n in 0..4000_usize {
            let body = format!("{n:.<700}");
            publisher.publish(message("", "long", body.as_bytes(), true), &[]);
            if n % 20 == 19 {
                publisher.flush().unwrap();
                bench.pass_by(&busy);
            }
        }
        let before = bench.broker.log().totals().0;
        assert!(before > 100, "{before}");
        // It holds 3 MB, in 45 segments.
        bench.shrinks_to(80);
        if crash {
            drop((busy, long, publisher));
            let bench = bench.crash();
            assert_eq!(bench.names("long"), numbers(0..4000));
            assert_eq!(bench.live_messages(), 0);
        } else {
            assert_eq!(bench.names("long"), numbers(0..4000));
            assert_eq!(bench.live_messages(), 0);
            bench.shrinks_to(2);
        }
    }
}

#[test]
fn what_is_expired_or_acked_after_a_move_is_gone() {
    let bench = Bench::with_small_segments();
    let (busy, old) = (bench.durable("busy"), bench.durable("old"));
    let properties = PropertyPatch::new()
        .text(Property::Expiration, b"600000")
        .build();
    let facts = Facts::new(true, 0, true);
    let with_ttl = |body: &str| {
        let body = vec![Bytes::copy_from_slice(body.as_bytes())];
        Message::from_parts(b"", b"old", properties.raw(), body, facts)
    };
    let mut publisher = Publisher::new(bench.vhost.clone());
    for n in 0..60_usize {
        publisher.publish(with_ttl(&n.to_string()), &[]);
        publisher.flush().unwrap();
        bench.pass_by(&busy);
    }
    bench.shrinks_to(4);
    // An hour passes: each leaves by the record it has now.
    let later = crate::base::clock::now_ms() + 3_600_000;
    let mut effects = crate::queue::Effects::default();
    old.lock().wake(later, &mut effects);
    assert_eq!(effects.consumed.len(), 60);
    bench.vhost.follow_up(&old, &mut effects).unwrap();
    assert_eq!(bench.live_messages(), 0);
    drop((busy, old, publisher));
    let bench = bench.crash();
    assert_eq!(bench.queue("old").lock().ready_len(), 0);
}

#[test]
fn one_copy_serves_all_queues() {
    let bench = Bench::with_small_segments();
    let busy = bench.durable("busy");
    bench.declare_exchange("all", |exchange| exchange.durable = true);
    for name in ["a", "b", "c"] {
        let queue = bench.durable(name);
        bench.bind("all", &queue);
    }
    for n in 0..40_usize {
        bench.publish("all", "key", n.to_string().as_bytes(), true);
        bench.pass_by(&busy);
    }
    bench.shrinks_to(4);
    let copied = bench.broker.log().figures().compacted;
    assert!((35..=40).contains(&copied), "once for all: {copied}");
    assert_eq!(bench.live_messages(), 120);
    assert_eq!(bench.names("a"), numbers(0..40));
    assert_eq!(bench.live_messages(), 80);
    drop(busy);
    let bench = bench.crash();
    for name in ["b", "c"] {
        assert_eq!(bench.names(name), numbers(0..40));
    }
    assert_eq!(bench.live_messages(), 0);
}
