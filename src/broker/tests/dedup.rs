//! Messages that are sent twice (A3.21).

use std::ops::ControlFlow;

use super::*;
use crate::broker::browse::Bounds;
use crate::codec::PropertyPatch;
use crate::queue::{Cursor, Requeue};

fn dedup(fields: &[(&str, i64)]) -> RawTable {
    let mut table = TableBuilder::new();
    table.insert("x-message-deduplication", Value::Bool(true));
    for &(name, value) in fields {
        table.insert(name, Value::I64(value));
    }
    table.finish()
}

fn with_id(exchange: &str, key: &str, id: &str, ttl_ms: Option<Value<'_>>) -> Message {
    let mut headers = TableBuilder::new();
    headers.insert("x-deduplication-header", Value::LongStr(id.as_bytes()));
    if let Some(ttl_ms) = ttl_ms {
        headers.insert("x-cache-ttl", ttl_ms);
    }
    let headers = headers.finish();
    let properties = PropertyPatch::new().headers(headers.view()).build();
    let body = vec![Bytes::copy_from_slice(id.as_bytes())];
    let facts = Facts::new(true, 0, false);
    let (exchange, key) = (exchange.as_bytes(), key.as_bytes());
    Message::from_parts(exchange, key, properties.raw(), body, facts)
}

impl Bench {
    /// As one batch. Where it ends in the log, and which messages a queue refused.
    fn send_ids(&self, exchange: &str, key: &str, ids: &[&str]) -> (LogPos, Vec<u32>) {
        self.send_ids_for(exchange, key, ids, None)
    }

    /// The same with a header that says for how long to remember the ids.
    fn send_ids_for(
        &self,
        exchange: &str,
        key: &str,
        ids: &[&str],
        ttl_ms: Option<Value<'_>>,
    ) -> (LogPos, Vec<u32>) {
        let mut publisher = Publisher::new(self.vhost.clone());
        for id in ids {
            publisher.check_exchange(exchange.as_bytes()).unwrap();
            let routed = publisher.publish(with_id(exchange, key, id, ttl_ms), &[]);
            // To who sends it a duplicate is as good as the first.
            assert_eq!(routed, Routed::ToQueues);
        }
        let end = publisher.flush().unwrap();
        (end, publisher.take_refused())
    }

    fn dedup_queue(&self, name: &str, fields: &[(&str, i64)]) -> QueueRef {
        self.declare(name, |q| {
            q.durable = true;
            q.arguments = dedup(fields);
        })
    }

    fn ids_in(&self, queue: &str) -> Vec<String> {
        self.bodies(queue).into_iter().map(|(id, _)| id).collect()
    }
}

#[test]
fn a3_21_a_queue_takes_an_id_once() {
    let bench = Bench::new();
    bench.dedup_queue("q", &[]);
    bench.send_ids("", "q", &["a", "b", "a"]);
    bench.send_ids("", "q", &["b", "c"]);
    // Without an id nothing is dropped, and the order stays.
    bench.publish("", "q", b"plain", true);
    bench.publish("", "q", b"plain", true);
    assert_eq!(bench.ids_in("q"), ["a", "b", "c", "plain", "plain"]);
}

#[test]
fn a3_21_an_id_is_free_again_when_its_message_has_left_the_queue() {
    let mut bench = Bench::new();
    let mut table = TableBuilder::new();
    table.insert("x-message-deduplication", Value::Bool(true));
    table.insert("x-max-length", Value::I32(3));
    let arguments = table.finish();
    bench.declare("q", |q| {
        q.durable = true;
        q.arguments = arguments;
    });
    let get = |bench: &Bench| {
        let got = bench.vhost.get(&bench.queue("q"), false).unwrap();
        got.unwrap().slot
    };
    let settle = |bench: &Bench, slot, requeue| {
        let how = match requeue {
            true => Settle::Requeued(Requeue::Seen),
            false => Settle::Rejected,
        };
        let effects = &mut crate::queue::Effects::default();
        let settled = bench.vhost.settle(&bench.queue("q"), [slot], how, effects);
        settled.unwrap();
    };
    bench.send_ids("", "q", &["a"]);
    // One that is out is still the queue's, and so is one that comes back.
    let out = get(&bench);
    bench.send_ids("", "q", &["a"]);
    assert_eq!(bench.queue("q").lock().ready_len(), 0);
    settle(&bench, out, true);
    bench.send_ids("", "q", &["a"]);
    assert_eq!(bench.ids_in("q"), ["a"]);
    // Got without an ack, and rejected.
    bench.send_ids("", "q", &["a"]);
    let out = get(&bench);
    settle(&bench, out, false);
    bench.send_ids("", "q", &["a"]);
    // Purged, but for what is out.
    let out = get(&bench);
    bench.send_ids("", "q", &["b"]);
    assert_eq!(bench.vhost.purge_queue(&bench.queue("q")).unwrap().value, 1);
    bench.send_ids("", "q", &["a", "b"]);
    assert_eq!(bench.ids_in("q"), ["b"]);
    settle(&bench, out, false);
    // Taken out by an operator.
    bench.send_ids("", "q", &["a"]);
    let queue = bench.queue("q");
    let mut id = None;
    let bounds = Bounds {
        messages: 1,
        bytes: usize::MAX,
    };
    let browsed = bench
        .vhost
        .browse(&queue, Cursor::default(), bounds, &mut |seen, _| {
            id = Some(seen.id);
            ControlFlow::Continue(())
        });
    browsed.unwrap();
    assert!(
        bench
            .vhost
            .delete_message(&queue, id.unwrap())
            .unwrap()
            .value
    );
    bench.send_ids("", "q", &["a"]);
    assert_eq!(bench.ids_in("q"), ["a"]);
    // Pushed out of a queue that is too long.
    bench.send_ids("", "q", &["a", "b", "c", "d"]);
    bench.send_ids("", "q", &["a"]);
    assert_eq!(bench.ids_in("q"), ["c", "d", "a"]);
    // Nothing but what is there is known after a stop of either kind.
    bench.send_ids("", "q", &["a", "b"]);
    assert_eq!(
        bench
            .vhost
            .get(&bench.queue("q"), true)
            .unwrap()
            .unwrap()
            .ready_left,
        1
    );
    for stop in [Bench::crash, Bench::restart] {
        bench = stop(bench);
        bench.send_ids("", "q", &["b"]);
        assert_eq!(bench.queue("q").lock().ready_len(), 1);
    }
    bench.send_ids("", "q", &["a"]);
    assert_eq!(bench.ids_in("q"), ["b", "a"]);
}

#[test]
fn a3_21_ids_on_disk_are_known_too() {
    let mut bench = Bench::new();
    bench.dedup_queue("q", &[]);
    let ids: Vec<String> = (0..6_000).map(|n| format!("{n:0>300}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for chunk in ids.chunks(500) {
        bench.send_ids("", "q", chunk);
    }
    for stop in [Bench::crash, Bench::restart] {
        bench = stop(bench);
        for chunk in ids.chunks(500) {
            bench.send_ids("", "q", chunk);
        }
        assert_eq!(bench.queue("q").lock().ready_len(), ids.len());
    }
    assert_eq!(
        bench.vhost.purge_queue(&bench.queue("q")).unwrap().value,
        ids.len()
    );
    assert_eq!(bench.live_messages(), 0);
    bench.send_ids("", "q", &ids[..10]);
    assert_eq!(bench.queue("q").lock().ready_len(), 10);
}

#[test]
fn a3_21_an_exchange_passes_an_id_on_once_whatever_its_type() {
    let bench = Bench::new();
    for kind in ["fanout", "x-message-deduplication"] {
        let (exchange, name) = (format!("x-{kind}"), format!("q-{kind}"));
        bench.declare_exchange(&exchange, |x| {
            x.kind = kind.into();
            x.durable = true;
            x.arguments = match kind {
                "fanout" => dedup(&[]),
                _ => argument("x-cache-size", Value::I32(10)),
            };
        });
        let queue = bench.declare(&name, |q| q.durable = true);
        bench.bind(&exchange, &queue);
        bench.send_ids(&exchange, "k", &["a", "a", "b"]);
        bench.send_ids(&exchange, "k", &["b", "c"]);
        assert_eq!(bench.ids_in(&name), ["a", "b", "c"]);
    }
}

#[test]
fn a3_21_a_window_is_as_large_as_it_is_told() {
    let bench = Bench::new();
    bench.dedup_queue("q", &[("x-cache-size", 2)]);
    bench.send_ids("", "q", &["a", "b", "c", "a", "c"]);
    assert_eq!(bench.ids_in("q"), ["a", "b", "c", "a"]);
}

#[test]
fn a3_21_an_id_that_is_old_enough_is_new() {
    let bench = Bench::new();
    bench.dedup_queue("q", &[("x-cache-ttl", 5)]);
    let begun = std::time::Instant::now();
    bench.send_ids("", "q", &["a"]);
    while bench.queue("q").lock().ready_len() < 2 {
        assert!(begun.elapsed().as_secs() < 20, "still seen");
        std::thread::sleep(std::time::Duration::from_millis(1));
        bench.send_ids("", "q", &["a"]);
    }
}

impl Bench {
    /// A durable exchange that drops what it has seen, and a durable queue bound to it, of the same name.
    fn dedup_exchange(&self, name: &str, fields: &[(&str, i64)]) {
        self.declare_exchange(name, |x| {
            x.durable = true;
            x.arguments = dedup(fields);
        });
        let queue = self.declare(name, |q| q.durable = true);
        self.bind(name, &queue);
    }

    /// Sends an id until it is new once more.
    fn send_until_new(&self, exchange: &str, id: &str, ttl_ms: Option<Value<'_>>) {
        let before = self.queue(exchange).lock().ready_len();
        let begun = std::time::Instant::now();
        while self.queue(exchange).lock().ready_len() == before {
            assert!(begun.elapsed().as_secs() < 20, "still seen: {id}");
            std::thread::sleep(std::time::Duration::from_millis(1));
            self.send_ids_for(exchange, "k", &[id], ttl_ms);
        }
    }
}

#[test]
fn a3_21_a_header_says_how_long_an_id_is_known() {
    let mut bench = Bench::new();
    let (short, long) = (Some(Value::I32(5)), Some(Value::I64(600_000)));
    // Longer than the exchange says, shorter than it says, and shorter than for ever.
    bench.dedup_exchange("brief", &[("x-cache-ttl", 5)]);
    bench.dedup_exchange("lasting", &[("x-cache-ttl", 600_000)]);
    bench.dedup_exchange("endless", &[]);
    // A queue with a window goes by it as well.
    bench.dedup_queue("window", &[("x-cache-ttl", 5)]);
    bench.send_ids_for("", "window", &["a"], long);
    bench.send_ids_for("brief", "k", &["long"], long);
    bench.send_ids("brief", "k", &["plain"]);
    bench.send_until_new("brief", "plain", None);
    for exchange in ["lasting", "endless"] {
        bench.send_ids(exchange, "k", &["plain"]);
        bench.send_ids_for(exchange, "k", &["short"], short);
        bench.send_until_new(exchange, "short", short);
    }
    // Of an id that is known the header has no meaning.
    bench.send_ids_for("lasting", "k", &["plain"], short);
    for stop in [Bench::crash, Bench::restart] {
        bench = stop(bench);
        bench.send_until_new("brief", "plain", None);
        bench.send_ids("brief", "k", &["long"]);
        bench.send_ids_for("", "window", &["a"], short);
        for exchange in ["lasting", "endless"] {
            bench.send_until_new(exchange, "short", short);
            bench.send_ids(exchange, "k", &["plain"]);
        }
    }
    assert_eq!(bench.ids_in("window"), ["a"]);
    let of = |exchange: &str, id: &str| {
        let ids = bench.ids_in(exchange);
        ids.iter().filter(|other| *other == id).count()
    };
    assert_eq!(of("brief", "long"), 1);
    assert_eq!(of("lasting", "plain"), 1);
    assert_eq!(of("endless", "plain"), 1);
}

#[test]
fn a3_21_an_id_for_no_time_is_never_known_and_a_bad_time_is_none() {
    let bench = Bench::new();
    bench.dedup_exchange("x", &[]);
    let never = Some(Value::I32(0));
    bench.send_ids_for("x", "k", &["a", "a"], never);
    bench.send_ids_for("x", "k", &["a"], never);
    assert_eq!(bench.ids_in("x"), ["a", "a", "a"]);
    for (id, bad) in [
        ("b", Value::LongStr(b"1")),
        ("c", Value::I32(-1)),
        ("d", Value::Bool(false)),
        ("e", Value::I64(i64::MAX)),
    ] {
        bench.send_ids_for("x", "k", &[id, id], Some(bad));
        bench.send_ids_for("x", "k", &[id], Some(bad));
        assert_eq!(bench.ids_in("x"), [id]);
    }
}

#[test]
fn a3_21_what_is_no_longer_known_takes_no_disk() {
    let bench = Bench::new();
    bench.dedup_exchange("x", &[]);
    bench.send_ids_for("x", "k", &["a", "b"], Some(Value::I32(5)));
    assert_eq!(bench.ids_in("x"), ["a", "b"]);
    let begun = std::time::Instant::now();
    while bench.live_messages() > 0 {
        assert!(begun.elapsed().as_secs() < 20, "ids stay on disk");
        std::thread::sleep(std::time::Duration::from_millis(1));
        // Without an id: nothing but the timer, which a bench has not, or the next id looks at the window.
        bench.send_ids_for("x", "k", &["c"], Some(Value::I32(0)));
        bench.ids_in("x");
    }
}

#[test]
fn a3_21_what_was_seen_is_known_after_a_crash() {
    let mut bench = Bench::new();
    bench.dedup_queue("q", &[("x-cache-size", 3)]);
    bench.declare_exchange("x", |x| {
        x.durable = true;
        x.arguments = dedup(&[]);
    });
    let bound = bench.declare("bound", |q| q.durable = true);
    bench.bind("x", &bound);
    bench.send_ids("", "q", &["old", "a", "b", "c"]);
    bench.send_ids("x", "k", &["a"]);
    assert_eq!(bench.ids_in("q").len(), 4);
    for stop in [Bench::crash, Bench::restart, Bench::crash] {
        bench = stop(bench);
        bench.send_ids("", "q", &["a", "b", "c"]);
        assert!(bench.ids_in("q").is_empty());
        bench.send_ids("x", "k", &["a"]);
        assert_eq!(bench.queue("bound").lock().ready_len(), 1);
    }
    bench.send_ids("", "q", &["old"]);
    assert_eq!(bench.ids_in("q"), ["old"], "no longer in the window");
}

#[test]
fn a3_21_a_duplicate_is_confirmed_no_sooner_than_the_first() {
    let bench = Bench::new();
    bench.dedup_queue("q", &[]);
    let (first, _) = bench.send_ids("", "q", &["a"]);
    let (second, _) = bench.send_ids("", "q", &["a"]);
    assert!(first.is_some() && second >= first, "{first} {second}");
}

#[test]
fn a3_21_what_a_full_queue_refused_may_come_again() {
    let mut bench = Bench::new();
    let mut table = TableBuilder::new();
    table.insert("x-message-deduplication", Value::Bool(true));
    table.insert("x-cache-size", Value::I32(10));
    table.insert("x-max-length", Value::I32(1));
    table.insert("x-overflow", Value::LongStr(b"reject-publish"));
    let arguments = table.finish();
    bench.declare("q", |q| {
        q.durable = true;
        q.arguments = arguments;
    });
    let (_, refused) = bench.send_ids("", "q", &["a", "b"]);
    assert_eq!(refused, [1]);
    assert_eq!(bench.ids_in("q"), ["a"]);
    bench = bench.crash();
    let (_, refused) = bench.send_ids("", "q", &["a", "b"]);
    assert!(refused.is_empty());
    assert_eq!(bench.ids_in("q"), ["b"]);
}

#[test]
fn a3_21_of_many_who_send_an_id_at_once_one_is_first() {
    let bench = Bench::new();
    bench.dedup_queue("q", &[("x-cache-size", 10_000)]);
    let ids: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                ids.iter()
                    .for_each(|id| drop(bench.send_ids("", "q", &[id])))
            });
        }
    });
    let mut got = bench.ids_in("q");
    got.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(got, ids);
}

#[test]
fn a3_21_a_window_goes_with_what_it_belongs_to() {
    let bench = Bench::new();
    bench.dedup_queue("q", &[]);
    bench.send_ids("", "q", &["a"]);
    let deleted = bench
        .vhost
        .delete_queue(&"q".into(), DeleteIf::default(), HERE, BY);
    assert_eq!(deleted.unwrap().value, 1);
    assert_eq!(bench.live_messages(), 0);
    bench.dedup_queue("q", &[]);
    bench.send_ids("", "q", &["a"]);
    assert_eq!(bench.ids_in("q"), ["a"]);
}

#[test]
fn a3_21_arguments_that_cannot_be_are_refused() {
    let bench = Bench::new();
    let refused = |fields: &[(&str, i64)]| {
        let mut wanted = plain("q");
        wanted.arguments = dedup(fields);
        code(bench.vhost.declare_queue(&wanted, HERE))
    };
    for (name, value) in [
        ("x-cache-size", 0),
        ("x-cache-size", -1),
        ("x-cache-size", 100_001),
        ("x-cache-ttl", 0),
    ] {
        assert_eq!(refused(&[(name, value)]), ReplyCode::PreconditionFailed);
    }
}
