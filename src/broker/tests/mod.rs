//! The rules of a vhost and of publishing, over a real data directory and without sockets.

mod access;
mod browse;
mod compaction;
mod dedup;
mod definitions;
mod durability;
mod events;
mod messages;
mod parameters;
mod policies;
mod spill;
mod statistics;
mod stores;
mod topology;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::base::{AmqpError, Name, ReplyCode};
use crate::codec::{RawTable, TableBuilder, Value};
use crate::message::{Facts, Message};
use crate::queue::{
    ConsumerKey, ConsumerPort, ConsumerSpec, ConsumerToken, Delivery, QueueRef, Slot,
};

/// Whose doing it is.
const BY: &str = "guest";
const HERE: ConnectionId = ConnectionId(1);
const ELSEWHERE: ConnectionId = ConnectionId(2);

fn open(dir: &Path) -> Broker {
    let config = crate::config::Config {
        data_dir: dir.join("data"),
        ..Default::default()
    };
    Broker::open(&config).unwrap()
}

struct Bench {
    broker: Broker,
    vhost: Arc<Vhost>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = open(dir.path());
        let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
        Bench { broker, vhost, dir }
    }

    /// Stops in order and starts again.
    fn restart(self) -> Self {
        self.broker.close().unwrap();
        self.crash()
    }

    /// Starts again without having said so: what was written is there.
    fn crash(self) -> Self {
        let Bench { broker, vhost, dir } = self;
        drop((vhost, broker));
        let broker = open(dir.path());
        let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
        Bench { broker, vhost, dir }
    }

    fn queue(&self, name: &str) -> QueueRef {
        self.vhost.queue(&name.into(), HERE).unwrap()
    }

    fn has_queue(&self, name: &str) -> bool {
        self.vhost.topology().queues.contains_key(name.as_bytes())
    }

    fn has_exchange(&self, name: &str) -> bool {
        self.vhost.find_exchange(&name.into()).is_ok()
    }

    fn declare(&self, name: &str, change: impl FnOnce(&mut QueueDeclaration)) -> QueueRef {
        let mut wanted = plain(name);
        change(&mut wanted);
        self.vhost.declare_queue(&wanted, HERE).unwrap().value
    }

    fn declare_exchange(&self, name: &str, change: impl FnOnce(&mut ExchangeDeclaration)) {
        let mut wanted = exchange(name);
        change(&mut wanted);
        self.vhost.declare_exchange(&wanted).unwrap().value
    }

    fn bind(&self, source: &str, queue: &QueueRef) {
        let bound = self.vhost.bind_queue(queue, &binding(source), BY);
        bound.unwrap().value
    }

    fn bind_exchange(&self, source: &str, to: &str) {
        let bound = self.vhost.bind_exchange(&to.into(), &binding(source), BY);
        bound.unwrap().value
    }

    fn publish(&self, exchange: &str, key: &str, body: &[u8], persistent: bool) -> Routed {
        let mut publisher = Publisher::new(self.vhost.clone());
        publisher.check_exchange(exchange.as_bytes()).unwrap();
        let routed = publisher.publish(message(exchange, key, body, persistent), &[]);
        publisher.flush().unwrap();
        routed
    }

    fn bodies(&self, queue: &str) -> Vec<(String, bool)> {
        let queue = self.queue(queue);
        let got = std::iter::from_fn(|| self.vhost.get(&queue, true).unwrap());
        got.map(|got| (text(&got.message), got.redelivered))
            .collect()
    }

    fn log_bytes(&self) -> u64 {
        self.broker.log().sync().unwrap();
        // Of the one segment there is: files are longer than what is written.
        u64::from(self.broker.log().durable().offset())
    }

    fn live_messages(&self) -> u64 {
        self.broker.log().totals().1
    }
}

fn plain(name: &str) -> QueueDeclaration {
    QueueDeclaration {
        name: name.into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: RawTable::default(),
    }
}

fn exchange(name: &str) -> ExchangeDeclaration {
    ExchangeDeclaration {
        name: name.into(),
        kind: "fanout".into(),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: RawTable::default(),
    }
}

fn binding(source: &str) -> BindingSpec {
    BindingSpec {
        source: source.into(),
        key: Bytes::from_static(b"key"),
        arguments: RawTable::default(),
    }
}

fn argument(key: &str, value: Value<'_>) -> RawTable {
    let mut table = TableBuilder::new();
    table.insert(key, value);
    table.finish()
}

fn message(exchange: &str, key: &str, body: &[u8], persistent: bool) -> Message {
    let facts = Facts::new(persistent, 0, false);
    let body = vec![Bytes::copy_from_slice(body)];
    Message::from_parts(exchange.as_bytes(), key.as_bytes(), b"\0\0", body, facts)
}

fn text(message: &Message) -> String {
    String::from_utf8(message.body_parts().collect::<Vec<_>>().concat()).unwrap()
}

fn code<T>(result: Result<T, AmqpError>) -> ReplyCode {
    result.err().expect("refused").code
}

/// A consumer that takes everything.
#[derive(Default)]
struct Sink {
    received: Mutex<Vec<Delivery>>,
    cancelled: AtomicBool,
}

impl ConsumerPort for Sink {
    fn room_bytes(&self) -> usize {
        usize::MAX
    }
    fn take_credit(&self) -> bool {
        true
    }
    fn hand_over(&self, batch: &mut Vec<Delivery>, _: usize) {
        self.received.lock().append(batch);
    }
    fn starved(&self) {}
    fn cancelled(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }
}

impl Bench {
    fn consume(&self, queue: &QueueRef, no_ack: bool) -> (ConsumerKey, Arc<Sink>) {
        let port = Arc::new(Sink::default());
        let token = ConsumerToken {
            channel: 1,
            number: 0,
        };
        let spec = ConsumerSpec {
            tag: "tag".into(),
            connection: ConnectionId(1),
            arguments: Bytes::new(),
            token,
            no_ack,
            exclusive: false,
            prefetch: 0,
            priority: 0,
            port: port.clone(),
        };
        let key = self.vhost.subscribe(queue, spec, BY).unwrap();
        self.vhost.resume(queue, key).unwrap();
        (key, port)
    }
}

/// A client's and the broker's, as listings show them.
fn addresses() -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::from(([127, 0, 0, 1], 40_000)),
        SocketAddr::from(([127, 0, 0, 1], 5672)),
    )
}

#[derive(Default)]
struct Handle(Mutex<Option<AmqpError>>);

impl ConnectionHandle for Handle {
    fn close(&self, reason: AmqpError) {
        *self.0.lock() = Some(reason);
    }

    fn alarms_over(&self) {}
}

#[test]
fn a_connection_that_begins_while_all_are_closed_is_closed_too() {
    let bench = Bench::new();
    let (before, after) = (Arc::new(Handle::default()), Arc::new(Handle::default()));
    let (peer, local) = addresses();
    bench.broker.connect(before.clone(), peer, local);
    bench.broker.close_connections(&AmqpError::shutdown());
    bench.broker.connect(after.clone(), peer, local);
    for handle in [before, after] {
        assert_eq!(*handle.0.lock(), Some(AmqpError::shutdown()));
    }
}
