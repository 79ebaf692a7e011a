//! What routing and binding cost. Asserts nothing: run it with
//! `CARGO_PROFILE_TEST_OPT_LEVEL=3 cargo test --lib router::measure -- --ignored --nocapture`.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::base::Name;

/// A handle as the broker has it: shared, and compared by the id inside.
#[derive(Clone, Debug)]
struct Queue(Arc<(u64, [u64; 30])>);

impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 == other.0.0
    }
}

impl Eq for Queue {}

impl PartialOrd for Queue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queue {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.0.cmp(&other.0.0)
    }
}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0.hash(state);
    }
}

/// Numbers that look random, the same every time.
fn scatter(number: usize) -> usize {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// One of 100,000 keys of five words.
fn topic_key(number: usize) -> String {
    let part = |divisor: usize, modulus: usize| (number / divisor) % modulus;
    format!(
        "region{}.site{}.rack{}.host{}.disk{}",
        part(1, 10),
        part(10, 10),
        part(100, 10),
        part(1000, 10),
        part(10_000, 10)
    )
}

fn graph(kind: ExchangeKind) -> Graph<Queue> {
    let mut graph = Graph::new();
    graph.insert(ExchangeSpec {
        name: Name::from("x"),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Bytes::new(),
        alternate: None,
        hash_on: HashOn::default(),
        history_len: 0,
        delayed: false,
    });
    graph
}

fn header(number: usize) -> [(&'static [u8], HeaderValue<'static>); 2] {
    [
        (b"tenant", HeaderValue::Int(number as i64)),
        (b"kind", HeaderValue::LongString(b"report")),
    ]
}

/// The message of a number.
struct Message(usize);

impl MessageView for Message {
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)> {
        [(&b"app"[..], HeaderValue::LongString(b"billing"))]
            .into_iter()
            .chain(header(self.0))
    }

    fn property(&self, _: HashProperty) -> Option<HeaderValue<'_>> {
        None
    }

    fn random(&self) -> u64 {
        scatter(self.0) as u64
    }
}

impl Target for Queue {
    fn name(&self) -> Name {
        format!("q{}", self.0.0).into()
    }
}

type Part = fn(usize) -> String;

/// Binds one queue after another, each to a clone of a published graph.
fn fill(
    kind: ExchangeKind,
    count: usize,
    key: impl Fn(usize) -> String,
) -> (Graph<Queue>, Duration) {
    let queues: Vec<_> = (0..count)
        .map(|id| Queue(Arc::new((id as u64, [0; 30]))))
        .collect();
    let bindings: Vec<_> = queues
        .into_iter()
        .enumerate()
        .map(|(number, queue)| {
            let arguments = match kind {
                ExchangeKind::Headers => BindingArguments::new(
                    format!("{number:016}").as_bytes(),
                    header(number).into_iter(),
                ),
                _ => BindingArguments::default(),
            };
            (key(number), queue, arguments)
        })
        .collect();
    let mut published = Arc::new(graph(kind));
    let start = Instant::now();
    for (key, queue, arguments) in bindings {
        let mut next = Graph::clone(&published);
        next.bind(b"x", Destination::Queue(queue), key.as_bytes(), arguments)
            .unwrap();
        published = Arc::new(next);
    }
    let took = start.elapsed();
    (Graph::clone(&published), took)
}

/// Sends to `spread` different keys in turn.
fn route(
    graph: &Graph<Queue>,
    spread: usize,
    rounds: usize,
    key: impl Fn(usize) -> String,
) -> (f64, f64) {
    let exchange = graph.get(b"x").unwrap();
    let count = exchange.binding_count();
    let keys: Vec<_> = (0..rounds)
        .map(|round| scatter(round % spread) % count)
        .map(|n| (n, key(n)))
        .collect();
    let mut out = Routes::new();
    let mut found = 0;
    let start = Instant::now();
    for (number, key) in &keys {
        graph.route(exchange, key.as_bytes(), &Message(*number), &mut out);
        found += black_box(out.queues()).len();
    }
    let nanos = start.elapsed().as_nanos() as f64 / rounds as f64;
    (nanos, found as f64 / rounds as f64)
}

fn report(label: &str, kind: ExchangeKind, bound: Part, sent: Part) {
    for count in [10, 1_000, 100_000] {
        let (graph, took) = fill(kind, count, bound);
        // As many as give the clock something to do, however many queues one message goes to.
        let (_, each) = route(&graph, 1, 1, sent);
        let rounds = (1_000_000.0 / each.max(5.0)) as usize;
        let (nanos, found) = route(&graph, usize::MAX, rounds, sent);
        let (hot, _) = route(&graph, 1000, rounds, sent);
        let bind = took.as_nanos() as f64 / count as f64;
        let mut emptied = graph.clone();
        let start = Instant::now();
        let bindings: Vec<_> = graph.bindings_of_source(b"x").cloned().collect();
        for binding in bindings {
            let mut next = emptied.clone();
            next.remove_destination(&binding.destination);
            emptied = next;
        }
        let unbind = start.elapsed().as_nanos() as f64 / count as f64;
        println!(
            "{label:28} {count:7}: route {nanos:9.0} ns ({hot:9.0} ns if to 1000 keys) to {found:8.1} queues, \
             bind {bind:6.0} ns, remove {unbind:6.0} ns"
        );
        assert!(emptied.is_bare());
    }
}

#[test]
#[ignore = "measures, asserts nothing"]
fn costs() {
    use ExchangeKind::*;
    let name: Part = |number| format!("queue-{number}");
    report("direct, own keys", Direct, name, name);
    report("direct, one key", Direct, |_| "k".into(), |_| "k".into());
    report("fanout", Fanout, name, name);
    report("topic, literal", Topic, topic_key, topic_key);
    let star: Part = |number| {
        let key = topic_key(number);
        let words: Vec<_> = key.split('.').collect();
        match number % 3 {
            0 => format!("{}.*.{}.{}.{}", words[0], words[2], words[3], words[4]),
            1 => format!("{}.{}.*.{}.{}", words[0], words[1], words[3], words[4]),
            _ => key,
        }
    };
    report("topic, two thirds with *", Topic, star, topic_key);
    let hash: Part = |number| format!("#.disk{}.{}", number % 10, number);
    report("topic, # first", Topic, hash, topic_key);
    let tail: Part = |number| format!("region{}.site{number}.#", number % 10);
    report("topic, # last", Topic, tail, |number| {
        format!("region{}.site{number}.rack.host.disk", number % 10)
    });
    report(
        "headers, all of 2",
        Headers,
        |_| String::new(),
        |_| String::new(),
    );
}

#[test]
#[ignore = "measures, asserts nothing"]
fn costs_of_picking_one() {
    use ExchangeKind::*;
    for (kind, key) in [
        (Direct, "k"),
        (ConsistentHash, "3"),
        (ModulusHash, ""),
        (Random, ""),
    ] {
        for count in [1, 4, 16, 100, 1_000, 10_000] {
            let number: Part = |number| format!("order-{number}");
            let bound = fill(kind, count, |_| key.into());
            let (nanos, _) = route(&bound.0, usize::MAX, 20_000, number);
            let bind = bound.1.as_nanos() as f64 / count as f64;
            let name = kind.name();
            println!("{name:20} {count:5} bound: route {nanos:8.0} ns, bind {bind:6.0} ns");
        }
    }
}
