//! What exchanges keep: delays (A3.11) and histories (A3.10).

use super::*;
use crate::codec::{Properties, PropertyPatch};

const NO_STORE: (&str, Value<'static>) = ("x-recent-history-no-store", Value::Bool(true));

fn with_header(exchange: &str, body: &[u8], (name, value): (&str, Value<'_>)) -> Message {
    let headers = argument(name, value);
    let properties = PropertyPatch::new().headers(headers.view()).build();
    let body = vec![Bytes::copy_from_slice(body)];
    Message::from_parts(
        exchange.as_bytes(),
        b"key",
        properties.raw(),
        body,
        Facts::default(),
    )
}

impl Bench {
    fn send(&self, message: Message) -> Routed {
        let mut publisher = Publisher::new(self.vhost.clone());
        publisher.check_exchange(message.exchange()).unwrap();
        let routed = publisher.publish(message, &[]);
        publisher.flush().unwrap();
        routed
    }

    fn send_delayed(&self, exchange: &str, body: &[u8], delay_ms: i64) -> Routed {
        self.send(with_header(
            exchange,
            body,
            ("x-delay", Value::I64(delay_ms)),
        ))
    }

    fn delayed_exchange(&self, name: &str) {
        self.declare_exchange(name, |x| {
            x.kind = "x-delayed-message".into();
            x.durable = true;
            x.arguments = argument("x-delayed-type", Value::LongStr(b"direct"));
        });
    }

    fn history_exchange(&self, name: &str, len: i64) {
        self.declare_exchange(name, |x| {
            x.kind = "x-recent-history".into();
            x.durable = true;
            x.arguments = argument("x-recent-history-length", Value::I64(len));
        });
    }

    fn store_of(&self, exchange: &str) -> QueueRef {
        let topology = self.vhost.topology();
        let exchange = topology.graph.get(exchange.as_bytes()).unwrap();
        exchange.store().unwrap().clone()
    }

    /// Waits until `store` holds no more than `most`, waking it as its timer would.
    fn wait_until_held(&self, store: &QueueRef, most: usize) {
        let begun = std::time::Instant::now();
        while store.lock().ready_len() > most {
            assert!(begun.elapsed().as_secs() < 20, "still held back");
            self.vhost.on_timer(store).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn texts(&self, queue: &str) -> Vec<String> {
        self.bodies(queue)
            .into_iter()
            .map(|(text, _)| text)
            .collect()
    }
}

fn durable(queue: &mut QueueDeclaration) {
    queue.durable = true;
}

#[test]
fn a3_11_messages_come_out_in_the_order_of_their_time() {
    let bench = Bench::new();
    bench.delayed_exchange("x");
    let queue = bench.declare("q", durable);
    bench.bind("x", &queue);
    for (body, delay_ms) in [("c", 90), ("a", 30), ("d", 90), ("b", 60)] {
        let routed = bench.send_delayed("x", body.as_bytes(), delay_ms);
        assert_eq!(routed, Routed::Nowhere, "not in a queue yet");
    }
    assert_eq!(queue.lock().ready_len(), 0);
    let store = bench.store_of("x");
    assert_eq!(store.lock().ready_len(), 4);
    bench.wait_until_held(&store, 0);
    assert_eq!(bench.texts("q"), ["a", "b", "c", "d"]);
    assert_eq!(bench.live_messages(), 0);
}

#[test]
fn a3_11_the_header_tells_what_the_delay_was() {
    let bench = Bench::new();
    bench.delayed_exchange("x");
    let queue = bench.declare("q", durable);
    bench.bind("x", &queue);
    bench.send_delayed("x", b"m", 5);
    bench.wait_until_held(&bench.store_of("x"), 0);
    let got = bench.vhost.get(&queue, true).unwrap().unwrap();
    let properties = Properties::trusted(got.message.properties_bytes());
    let headers = properties.headers().unwrap();
    assert_eq!(headers.get("x-delay"), Some(Value::I32(-5)));
    assert_eq!(got.message.exchange(), b"x");
    assert_eq!(got.message.routing_key(), b"key");
}

#[test]
fn a3_11_what_asks_for_no_delay_goes_at_once() {
    let bench = Bench::new();
    bench.delayed_exchange("x");
    let queue = bench.declare("q", durable);
    bench.bind("x", &queue);
    let most = i64::from(u32::MAX);
    for delay_ms in [0, -7, most + 1] {
        let routed = bench.send_delayed("x", b"now", delay_ms);
        assert_eq!(routed, Routed::ToQueues, "{delay_ms}");
    }
    bench.send(with_header(
        "x",
        b"now",
        ("x-delay", Value::LongStr(b"soon")),
    ));
    bench.send(message("x", "key", b"now", true));
    assert_eq!(bench.texts("q").len(), 5);
    assert_eq!(bench.send_delayed("x", b"later", most), Routed::Nowhere);
}

#[test]
fn a3_11_a_crash_loses_no_delay_and_doubles_none() {
    let bench = Bench::new();
    bench.delayed_exchange("x");
    let queue = bench.declare("q", durable);
    bench.bind("x", &queue);
    // Like the plugin, whatever the delivery mode: what is held back is on disk.
    for n in 0..50 {
        bench.send_delayed("x", format!("{n:02}").as_bytes(), 1 + n);
    }
    bench.send_delayed("x", b"far", 3_600_000);
    bench.wait_until_held(&bench.store_of("x"), 30);
    let before = bench.texts("q");
    let bench = bench.crash();
    let store = bench.store_of("x");
    bench.wait_until_held(&store, 1);
    // What was on disk only is read first, by another thread.
    let mut all = before;
    let begun = std::time::Instant::now();
    while all.len() < 50 && begun.elapsed().as_secs() < 20 {
        all.extend(bench.texts("q"));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let expected: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
    assert_eq!(all, expected);
    assert_eq!(store.lock().ready_len(), 1, "the hour is not over");
}

#[test]
fn a3_11_the_store_is_nobodys_queue_and_goes_with_its_exchange() {
    let bench = Bench::new();
    bench.delayed_exchange("x");
    let store = bench.store_of("x");
    assert!(!bench.has_queue("x"));
    // A queue of the same name is another one, on disk too.
    bench.declare("x", durable);
    bench.send(message("", "x", b"m", true));
    bench.send_delayed("x", b"m", 3_600_000);
    assert_eq!(store.lock().ready_len(), 1);
    let bench = bench.crash();
    assert_eq!(bench.store_of("x").lock().ready_len(), 1);
    let deleted = bench.vhost.delete_exchange(&"x".into(), false, BY).unwrap();
    assert_eq!(bench.live_messages(), 1, "{deleted:?}");
    let bench = bench.crash();
    assert!(!bench.has_exchange("x"));
    assert_eq!(bench.live_messages(), 1);
    assert_eq!(bench.texts("x"), ["m"]);
}

#[test]
fn a3_11_the_type_to_route_by_must_be_one() {
    let bench = Bench::new();
    let declare = |arguments: RawTable| {
        let mut wanted = exchange("x");
        wanted.kind = "x-delayed-message".into();
        wanted.arguments = arguments;
        bench.vhost.declare_exchange(&wanted).unwrap_err().text
    };
    let kind = |name: &'static str| argument("x-delayed-type", Value::LongStr(name.as_bytes()));
    assert!(declare(RawTable::default()).contains("'x-delayed-type' must be an existing"));
    for name in ["nonsense", "x-delayed-message", "x-recent-history"] {
        let text = format!("PRECONDITION_FAILED - unknown exchange type '{name}'");
        assert_eq!(declare(kind(name)), text);
    }
}

#[test]
fn a3_10_a_new_binding_gets_the_last_messages() {
    let bench = Bench::new();
    bench.history_exchange("x", 2);
    let first = bench.declare("first", durable);
    for body in ["1", "2", "3"] {
        assert_eq!(
            bench.send(message("x", "key", body.as_bytes(), false)),
            Routed::Nowhere
        );
    }
    bench.send(with_header("x", b"4", NO_STORE));
    bench.bind("x", &first);
    // Bound already: nothing again.
    bench.bind("x", &first);
    assert_eq!(bench.texts("first"), ["2", "3"]);
    assert_eq!(
        bench.send(message("x", "key", b"5", true)),
        Routed::ToQueues
    );
    assert_eq!(bench.texts("first"), ["5"]);
    let second = bench.declare("second", durable);
    bench.declare_exchange("y", |_| ());
    bench.bind("y", &second);
    bench.bind_exchange("x", "y");
    assert_eq!(bench.texts("second"), ["3", "5"]);
}

#[test]
fn a3_10_a_durable_exchange_remembers_over_a_crash() {
    let bench = Bench::new();
    bench.history_exchange("x", 3);
    for body in ["1", "2", "3", "4"] {
        bench.send(message("x", "key", body.as_bytes(), false));
    }
    let bench = bench.crash();
    let queue = bench.declare("q", durable);
    bench.bind("x", &queue);
    assert_eq!(bench.texts("q"), ["2", "3", "4"]);
    let bench = bench.restart();
    let queue = bench.declare("later", durable);
    bench.bind("x", &queue);
    assert_eq!(bench.texts("later"), ["2", "3", "4"]);
    let _deleted = bench.vhost.delete_exchange(&"x".into(), false, BY).unwrap();
    assert_eq!(bench.live_messages(), 0);
}
