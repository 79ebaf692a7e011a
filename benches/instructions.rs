//! Instructions of the core path, counted by callgrind against a recorded budget:
//!
//!     CARGO_INCREMENTAL=0 cargo bench --profile quick --bench instructions              checks
//!     CARGO_INCREMENTAL=0 cargo bench --profile quick --bench instructions -- --record  writes the budget anew
//!
//! Octets go into one connection's state machine and come out of another's, over a real broker,
//! without sockets: the same work each time, so the count does not depend on what else the machine
//! does. What the log's threads do is not counted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench that cannot go on says so by panicking"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::{env, fs};

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue};
use amq_protocol::types::FieldTable;
use bytes::{BufMut, BytesMut};
use warren::amqp::{Detached, Settings};
use warren::broker::Broker;
use warren::codec::encode;
use warren::codec::{FrameCursor, FrameKind, Method, parse_method};
use warren::config::{Config, Durability};

// As the broker itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How far above the budget a count may be, and how far below before it should be recorded.
const MARGIN: f64 = 0.05;

/// Batches that are counted, after as many that are not.
const ROUNDS: usize = 100;

/// Messages in a batch, as one read brings them.
const BATCH: usize = 100;

/// Does its work and tells in how many ops: a publish or a delivery, or what its name says.
type Scenario = fn(&World) -> usize;

const SCENARIOS: [(&str, Scenario); 6] = [
    ("transient: 16 octets, automatic ack", transient),
    ("durable: 1 KiB, confirms, each acked", durable),
    ("fanout to 5 queues: 16 octets, automatic ack", fanout),
    ("topic: 1,000 bindings, keys that differ", topic),
    ("one message at a time", single),
    ("a connection: opened, a channel, closed", churn),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|a| a == "--scenario") {
        let number: usize = arguments[at + 1].parse().unwrap();
        SCENARIOS[number].1(&World::new());
        return ExitCode::SUCCESS;
    }
    compare(arguments.iter().any(|a| a == "--record"))
}

fn budget_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.budget")
}

/// Counts every scenario and holds it against the budget.
fn compare(record: bool) -> ExitCode {
    let text = fs::read_to_string(budget_file()).unwrap_or_default();
    let budget: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.rsplit_once('='))
        .map(|(name, count)| (name.trim(), count.trim().parse().unwrap()))
        .collect();
    let mut counted = String::from("# Instructions an op; see instructions.rs.\n");
    let mut over = 0;
    for (number, (name, _)) in SCENARIOS.iter().enumerate() {
        let count = count(number);
        writeln!(counted, "{name} = {count}").unwrap();
        let verdict = match budget.get(name) {
            None => {
                over += 1;
                "NOT IN THE BUDGET: --record".to_owned()
            }
            Some(&budget) => {
                let change = count as f64 / budget as f64 - 1.0;
                let note = match change {
                    more if more > MARGIN => {
                        over += 1;
                        "OVER THE BUDGET"
                    }
                    less if less < -MARGIN => "better: --record",
                    _ => "",
                };
                format!("budget {budget:6}  {:+5.1} %  {note}", change * 100.0)
            }
        };
        println!("{name:46} {count:6}  {verdict}");
    }
    if record {
        fs::write(budget_file(), counted).unwrap();
    }
    match record || over == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Runs a scenario under callgrind; instructions an op.
fn count(number: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(["--collect-atstart=no", "--toggle-collect=*measured_work*"])
        .arg(env::current_exe().unwrap())
        .args(["--scenario", &number.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let of = |text: &str, mark: &str| -> Option<u64> {
        let line = text.lines().find(|line| line.contains(mark))?;
        line.rsplit_once(':')?.1.trim().parse().ok()
    };
    let ops = of(&String::from_utf8_lossy(&output.stdout), "ops");
    match (of(&said, "Collected"), ops) {
        (Some(instructions), Some(ops)) if output.status.success() => instructions / ops,
        _ => panic!("valgrind says:\n{said}"),
    }
}

/// What callgrind collects, by this name: `work`, and nothing outside.
#[inline(never)]
fn measured_work<R>(work: impl FnOnce() -> R) -> R {
    black_box(work())
}

/// A broker and the connections to it.
struct World {
    broker: Arc<Broker>,
    settings: Arc<Settings>,
    /// Where slow hashes of passwords are checked.
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: dir.path().join("data"),
            ..Config::default()
        };
        // The disk is not what is counted.
        config.storage.durability = Durability::Os;
        World {
            broker: Arc::new(Broker::open(&config).unwrap()),
            settings: Arc::new(Settings::from(&config)),
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
            _dir: dir,
        }
    }

    fn connect(&self) -> Client {
        self.open(handshake())
    }

    /// A connection that says these, one after each answer.
    fn open(&self, steps: Vec<BytesMut>) -> Client {
        let mut client = Client {
            wire: Detached::new(Arc::clone(&self.broker), Arc::clone(&self.settings)),
            input: BytesMut::new(),
            heard: BytesMut::new(),
        };
        for step in steps {
            client.input = step;
            client.heard.clear();
            client.wire.receive(&mut client.input);
            self.runtime.block_on(client.wire.log_in(&mut client.input));
            client.turn();
            assert!(!client.heard.is_empty(), "no answer");
        }
        client
    }
}

/// Calls `work` twice ROUNDS times and has the second half counted; `ops` is what one call does.
fn repeat(ops: usize, mut prepare: impl FnMut(), mut work: impl FnMut(bool)) -> usize {
    for _ in 0..ROUNDS {
        prepare();
        work(false);
    }
    for _ in 0..ROUNDS {
        prepare();
        work(true);
    }
    println!("ops: {}", ROUNDS * ops);
    ROUNDS * ops
}

/// Has the work counted if `on`.
fn counted_if<R>(on: bool, work: impl FnOnce() -> R) -> R {
    match on {
        true => measured_work(work),
        false => work(),
    }
}

/// A client's end.
struct Client {
    wire: Detached,
    /// What the broker has not taken yet.
    input: BytesMut,
    /// What it said last.
    heard: BytesMut,
}

impl Client {
    /// Has the broker take what was written for it, and do the rest of its round.
    fn turn(&mut self) {
        self.wire.receive(&mut self.input);
        self.wire.work();
        let heard = &mut self.heard;
        while self.wire.sendable_len() > 0 {
            let take = |slices: &[std::io::IoSlice<'_>]| {
                slices.iter().for_each(|slice| heard.put_slice(slice));
                Ok(slices.iter().map(|slice| slice.len()).sum())
            };
            self.wire.send(take).unwrap();
        }
    }

    /// As a turn, until the broker has said something: it may wait for the log.
    fn hear(&mut self) {
        self.heard.clear();
        while self.heard.is_empty() {
            self.turn();
            std::thread::yield_now();
        }
    }

    /// Sends a method and waits for the answer.
    fn call(&mut self, method: &AMQPClass) {
        encode::write_method(&mut self.input, 1, method);
        self.hear();
    }

    fn declare_queue(&mut self, name: &str, durable: bool) {
        self.call(&AMQPClass::Queue(queue::AMQPMethod::Declare(
            queue::Declare {
                queue: name.into(),
                passive: false,
                durable,
                exclusive: false,
                auto_delete: false,
                nowait: false,
                arguments: FieldTable::default(),
            },
        )));
    }

    fn declare_exchange(&mut self, name: &str, kind: &str) {
        self.call(&AMQPClass::Exchange(exchange::AMQPMethod::Declare(
            exchange::Declare {
                exchange: name.into(),
                kind: kind.into(),
                passive: false,
                durable: false,
                auto_delete: false,
                internal: false,
                nowait: false,
                arguments: FieldTable::default(),
            },
        )));
    }

    fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        self.call(&AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: FieldTable::default(),
        })));
    }

    fn consume(&mut self, queue: &str, no_ack: bool) {
        self.call(&AMQPClass::Basic(basic::AMQPMethod::Consume(
            basic::Consume {
                queue: queue.into(),
                consumer_tag: format!("of {queue}").as_str().into(),
                no_local: false,
                no_ack,
                exclusive: false,
                nowait: false,
                arguments: FieldTable::default(),
            },
        )));
    }
}

/// What a client says from the protocol header to channel.open, a piece for each answer.
fn handshake() -> Vec<BytesMut> {
    let start_ok = connection::StartOk {
        client_properties: FieldTable::default(),
        mechanism: "PLAIN".into(),
        response: "\0guest\0guest".into(),
        locale: "en_US".into(),
    };
    let tune_ok = connection::TuneOk {
        channel_max: 100,
        frame_max: 131_072,
        heartbeat: 0,
    };
    let open = connection::Open {
        virtual_host: "/".into(),
    };
    let mut steps = vec![BytesMut::from(&b"AMQP\x00\x00\x09\x01"[..])];
    let mut step = |channel, methods: &[AMQPClass]| {
        let mut frames = BytesMut::new();
        for method in methods {
            encode::write_method(&mut frames, channel, method);
        }
        steps.push(frames);
    };
    step(
        0,
        &[AMQPClass::Connection(connection::AMQPMethod::StartOk(
            start_ok,
        ))],
    );
    step(
        0,
        &[
            AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)),
            AMQPClass::Connection(connection::AMQPMethod::Open(open)),
        ],
    );
    step(
        1,
        &[AMQPClass::Channel(channel::AMQPMethod::Open(
            channel::Open {},
        ))],
    );
    steps
}

/// `count` publishes, as one read brings them.
fn publishes(
    exchange: &str,
    key: impl Fn(usize) -> String,
    size: usize,
    persistent: bool,
    count: usize,
) -> BytesMut {
    let mut frames = BytesMut::new();
    for number in 0..count {
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish {
            exchange: exchange.into(),
            routing_key: key(number).as_str().into(),
            mandatory: false,
            immediate: false,
        }));
        let properties: &[u8] = if persistent {
            b"\x10\x00\x02"
        } else {
            b"\x00\x00"
        };
        encode::write_method(&mut frames, 1, &publish);
        encode::content_header(&mut frames, 1, size as u64, properties);
        encode::body(&mut frames, 1, &vec![7; size], 131_072);
    }
    frames
}

/// A publisher and a consumer with automatic acks for each of `queues`.
fn relay(world: &World, declare: impl Fn(&mut Client), queues: &[&str], batch: &BytesMut) -> usize {
    let mut publisher = world.connect();
    declare(&mut publisher);
    let mut consumers: Vec<Client> = queues.iter().map(|_| world.connect()).collect();
    for (consumer, queue) in consumers.iter_mut().zip(queues) {
        consumer.consume(queue, true);
    }
    // As long as what is read at once mostly is.
    let input = std::cell::RefCell::new(publisher.input.split());
    let prepare = || *input.borrow_mut() = batch.clone();
    let messages = BATCH * (1 + queues.len());
    repeat(messages, prepare, |on| {
        publisher.input = std::mem::take(&mut input.borrow_mut());
        counted_if(on, || {
            publisher.turn();
            for consumer in &mut consumers {
                consumer.heard.clear();
                consumer.turn();
            }
        });
        for consumer in &consumers {
            assert!(consumer.heard.len() > BATCH * 16, "not all was delivered");
        }
    })
}

fn transient(world: &World) -> usize {
    let batch = publishes("", |_| "q".into(), 16, false, BATCH);
    relay(
        world,
        |client| client.declare_queue("q", false),
        &["q"],
        &batch,
    )
}

fn fanout(world: &World) -> usize {
    const QUEUES: [&str; 5] = ["q1", "q2", "q3", "q4", "q5"];
    let declare = |client: &mut Client| {
        client.declare_exchange("fan", "fanout");
        for queue in QUEUES {
            client.declare_queue(queue, false);
            client.bind(queue, "fan", "");
        }
    };
    let batch = publishes("fan", |_| String::new(), 16, false, BATCH);
    relay(world, declare, &QUEUES, &batch)
}

/// Each message is routed by itself; one in ten reaches the queue that has a consumer.
fn topic(world: &World) -> usize {
    let key = |number: usize| format!("a.{}.b.{}.c", number % 10, number / 10);
    let declare = |client: &mut Client| {
        client.declare_exchange("top", "topic");
        client.declare_queue("q", false);
        for number in 0..1000 {
            let pattern = match number % 3 {
                0 => format!("a.{}.*.{}.c", number % 10, number / 10),
                1 => format!("a.*.b.{}.#", number / 10),
                _ => key(number),
            };
            client.bind("q", "top", &pattern);
        }
    };
    let batch = publishes("top", key, 16, false, BATCH);
    relay(world, declare, &["q"], &batch)
}

fn durable(world: &World) -> usize {
    let mut publisher = world.connect();
    publisher.declare_queue("q", true);
    publisher.call(&AMQPClass::Confirm(confirm::AMQPMethod::Select(
        confirm::Select { nowait: false },
    )));
    let mut consumer = world.connect();
    consumer.consume("q", false);
    let batch = publishes("", |_| "q".into(), 1024, true, BATCH);
    let mut tag = 0;
    let input = std::cell::RefCell::new(BytesMut::new());
    let prepare = || *input.borrow_mut() = batch.clone();
    repeat(2 * BATCH, prepare, |on| {
        publisher.input = std::mem::take(&mut input.borrow_mut());
        publisher.heard.clear();
        consumer.heard.clear();
        counted_if(on, || {
            publisher.turn();
            consumer.turn();
        });
        for _ in 0..BATCH {
            tag += 1;
            encode::ack(&mut consumer.input, 1, tag, false);
        }
        counted_if(on, || consumer.turn());
        // Waiting for the log is not work.
        while !is_ack(&mut publisher.heard) {
            publisher.turn();
            std::thread::yield_now();
        }
    })
}

fn is_ack(heard: &mut BytesMut) -> bool {
    let octets = heard.clone().freeze();
    let frame = FrameCursor::new(&octets).next_frame().unwrap();
    frame.is_some_and(|frame| {
        frame.kind == FrameKind::Method
            && matches!(parse_method(frame.payload), Ok(Method::Ack { .. }))
    })
}

/// What a lone message costs, when there is no batch to share it with.
fn single(world: &World) -> usize {
    let mut publisher = world.connect();
    publisher.declare_queue("q", false);
    let mut consumer = world.connect();
    consumer.consume("q", true);
    let one = publishes("", |_| "q".into(), 16, false, 1);
    let input = std::cell::RefCell::new(BytesMut::new());
    let prepare = || *input.borrow_mut() = one.clone();
    repeat(2, prepare, |on| {
        publisher.input = std::mem::take(&mut input.borrow_mut());
        consumer.heard.clear();
        counted_if(on, || {
            publisher.turn();
            consumer.turn();
        });
        assert!(!consumer.heard.is_empty(), "it was not delivered");
    })
}

fn churn(world: &World) -> usize {
    let close = AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close {
        reply_code: 200,
        reply_text: "".into(),
        class_id: 0,
        method_id: 0,
    }));
    let mut frames = BytesMut::new();
    encode::write_method(&mut frames, 0, &close);
    let steps: Vec<BytesMut> = handshake().into_iter().chain([frames]).collect();
    let opened = |on: bool| {
        let inputs = steps.clone();
        counted_if(on, || drop(world.open(inputs)));
    };
    repeat(1, || (), opened)
}
