//! Finding the queues of a message, for each type of exchange and number of bindings.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use warren::base::Name;
use warren::router::{
    BindingArguments, Destination, ExchangeKind, ExchangeSpec, Graph, HashProperty, HeaderValue,
    MessageView, Routes, Target,
};

const BINDINGS: [usize; 3] = [10, 1_000, 100_000];

/// Numbers that look random, the same every time.
fn scatter(number: usize) -> usize {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

/// A handle as the broker has it: shared, and compared by the id inside.
#[derive(Clone, Debug)]
struct Queue(Arc<(u64, [u64; 30])>);

impl Queue {
    fn new(number: usize) -> Self {
        Queue(Arc::new((number as u64, [0; 30])))
    }
}

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

impl Target for Queue {
    fn name(&self) -> Name {
        format!("q{}", self.0.0).into()
    }
}

fn headers(number: usize) -> [(&'static [u8], HeaderValue<'static>); 2] {
    [
        (b"tenant", HeaderValue::Int(number as i64)),
        (b"kind", HeaderValue::LongString(b"report")),
    ]
}

/// The message of a number.
struct Message(usize);

impl MessageView for Message {
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)> {
        headers(self.0).into_iter()
    }

    fn property(&self, _: HashProperty) -> Option<HeaderValue<'_>> {
        None
    }

    fn random(&self) -> u64 {
        scatter(self.0) as u64
    }
}

/// One of 100,000 keys of five words.
fn words(number: usize) -> String {
    let part = |divisor: usize| (number / divisor) % 10;
    format!(
        "region{}.site{}.rack{}.host{}.disk{}",
        part(1),
        part(10),
        part(100),
        part(1000),
        part(10_000)
    )
}

/// Binds a queue of its own for each number, and gives the keys that messages are sent with.
struct Setting {
    name: &'static str,
    kind: ExchangeKind,
    bound: fn(usize) -> String,
    sent: fn(usize) -> String,
}

const SETTINGS: [Setting; 8] = [
    Setting {
        name: "direct",
        kind: ExchangeKind::Direct,
        bound: words,
        sent: words,
    },
    Setting {
        name: "topic, literal",
        kind: ExchangeKind::Topic,
        bound: words,
        sent: words,
    },
    Setting {
        name: "topic, one * of 5 words",
        kind: ExchangeKind::Topic,
        // The last word is like no other, so that each key matches one binding.
        bound: |number| {
            let key = format!("{}{number}", words(number));
            let mut words: Vec<_> = key.split('.').collect();
            words[1 + number % 3] = "*";
            words.join(".")
        },
        sent: |number| format!("{}{number}", words(number)),
    },
    Setting {
        name: "topic, # last",
        kind: ExchangeKind::Topic,
        bound: |number| format!("region{}.site{number}.#", number % 10),
        sent: |number| format!("region{}.site{number}.rack.host.disk", number % 10),
    },
    Setting {
        name: "headers",
        kind: ExchangeKind::Headers,
        bound: |_| String::new(),
        sent: |_| String::new(),
    },
    Setting {
        name: "consistent hash",
        kind: ExchangeKind::ConsistentHash,
        bound: |_| "3".to_owned(),
        sent: words,
    },
    Setting {
        name: "modulus hash",
        kind: ExchangeKind::ModulusHash,
        bound: |_| String::new(),
        sent: words,
    },
    Setting {
        name: "random",
        kind: ExchangeKind::Random,
        bound: |_| String::new(),
        sent: words,
    },
];

fn graph(setting: &Setting, count: usize) -> Graph<Queue> {
    let mut graph = Graph::new();
    graph.insert(ExchangeSpec::plain("x".into(), setting.kind));
    for number in 0..count {
        let arguments = match setting.kind {
            ExchangeKind::Headers => BindingArguments::new(
                format!("{number:016}").as_bytes(),
                headers(number).into_iter(),
            ),
            _ => BindingArguments::default(),
        };
        let (key, to) = (
            (setting.bound)(number),
            Destination::Queue(Queue::new(number)),
        );
        graph.bind(b"x", to, key.as_bytes(), arguments).unwrap();
    }
    graph
}

/// Keys in turn: 4,096 different ones, or as many as there are bindings.
fn route(group: &mut BenchmarkGroup<'_, WallTime>, setting: &Setting, count: usize) {
    let graph = graph(setting, count);
    let exchange = graph.get(b"x").unwrap();
    let sent: Vec<_> = (0..4096)
        .map(|turn| scatter(turn) % count)
        .map(|number| (Message(number), (setting.sent)(number)))
        .collect();
    let mut out = Routes::new();
    let mut turn = 0;
    group.bench_function(BenchmarkId::new(setting.name, count), |bench| {
        bench.iter(|| {
            let (message, key) = &sent[turn % 4096];
            turn += 1;
            graph.route(exchange, key.as_bytes(), message, &mut out);
            black_box(out.queues()).len()
        });
    });
}

/// One more queue bound to a clone of what is published, as a change of the topology does it, and
/// taken out again.
fn bind(group: &mut BenchmarkGroup<'_, WallTime>, setting: &Setting, count: usize) {
    let published = graph(setting, count);
    let (key, to) = ((setting.sent)(count), Destination::Queue(Queue::new(count)));
    group.bench_function(BenchmarkId::new(setting.name, count), |bench| {
        bench.iter(|| {
            let mut next = published.clone();
            let arguments = BindingArguments::default();
            next.bind(b"x", to.clone(), key.as_bytes(), arguments)
                .unwrap();
            black_box(next.remove_destination(&to)).bindings.len()
        });
    });
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bind and remove");
    for setting in SETTINGS.iter().take(2) {
        for count in BINDINGS {
            bind(&mut group, setting, count);
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("route");
    for setting in &SETTINGS {
        for count in BINDINGS {
            // A binding of a hash exchange is a change of all of them.
            let hashes = matches!(
                setting.kind,
                ExchangeKind::ConsistentHash | ExchangeKind::ModulusHash | ExchangeKind::Random
            );
            if !(hashes && count > 1_000) {
                route(&mut group, setting, count);
            }
        }
    }
    // What 100,000 are held against.
    for setting in SETTINGS.iter().filter(|s| s.kind == ExchangeKind::Topic) {
        route(&mut group, setting, 100);
    }
    let fanout = Setting {
        name: "fanout",
        kind: ExchangeKind::Fanout,
        bound: |_| String::new(),
        sent: |_| String::new(),
    };
    for count in [10, 1_000] {
        route(&mut group, &fanout, count);
    }
    group.finish();
}
