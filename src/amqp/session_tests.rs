//! A connection's state machine over a real broker, without a socket: frames in, frames out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, parse_class};
use bytes::{Bytes, BytesMut};

use super::link::{Capabilities, Link};
use super::outbox::Outbox;
use super::session::{Go, Session};
use super::{OutBuffer, Settings};
use crate::auth::{self, Authority, Limits, Login};
use crate::base::{AmqpError, ConnectionId, Name};
use crate::broker::stats::{ConnectionDetails, ConnectionStats};
use crate::broker::{
    Broker, ConnectionHandle, DeleteIf, Entered, Publisher, QueueDeclaration, Vhost,
};
use crate::codec::encode::{self, short_string};
use crate::codec::{FrameCursor, FrameKind, RawTable, TableBuilder, Value};
use crate::config::{Config, Limit};
use crate::message::{Facts, Message};

const FRAME_MAX: u32 = 131_072;
const ELSEWHERE: ConnectionId = ConnectionId(1000);

struct Bench {
    session: Session,
    outbox: Arc<Outbox>,
    vhost: Arc<Vhost>,
    broker: Arc<Broker>,
    _dir: tempfile::TempDir,
}

/// Of a connection that is open.
fn open_stats(broker: &Broker, vhost: &Vhost, outbox: &Arc<Outbox>) -> Arc<ConnectionStats> {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let stats = broker.connect(outbox.clone(), address(40_000), address(5672));
    let details = ConnectionDetails {
        user: "guest".into(),
        vhost: vhost.name().clone(),
        mechanism: "PLAIN".into(),
        client_properties: RawTable::default(),
        channel_max: 10,
        frame_max: FRAME_MAX,
        heartbeat_s: 0,
        connected_at_ms: 0,
    };
    broker.opened(&stats, vhost, details);
    stats
}

impl Bench {
    /// A session with channel 1 open.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().join("data"),
            ..Config::default()
        };
        let broker = Arc::new(Broker::open(&config).unwrap());
        let outbox = Arc::new(Outbox::default());
        let stats = open_stats(&broker, &broker.vhost("/").unwrap(), &outbox);
        let login = Arc::new(Login {
            user: "guest".into(),
            tags: vec![],
            authority: Authority::Directory,
        });
        let Entered {
            vhost,
            actor,
            seat,
            quota,
        } = broker.enter(stats.id(), login, "/").unwrap();
        let link = Link {
            stats,
            broker: broker.clone(),
            settings: Arc::new(Settings::from(&config)),
            vhost: vhost.clone(),
            actor,
            seat,
            quota,
            pause: None,
            capabilities: Capabilities {
                consumer_cancel_notify: true,
                connection_blocked: true,
                ..Capabilities::default()
            },
            frame_max: FRAME_MAX,
            outbox: outbox.clone(),
            out: OutBuffer::default(),
            exclusive: Vec::new(),
            told_of_header: false,
            published: false,
            look_every: None,
        };
        let mut bench = Bench {
            session: Session::new(link, 10),
            outbox,
            vhost,
            broker,
            _dir: dir,
        };
        bench.send(AMQPClass::Channel(channel::AMQPMethod::Open(
            channel::Open {},
        )));
        bench.out();
        bench
    }

    fn declare(&self, name: &str, durable: bool) {
        let wanted = QueueDeclaration {
            name: name.into(),
            durable,
            exclusive: false,
            auto_delete: false,
            arguments: RawTable::default(),
        };
        let declared = self.vhost.declare_queue(&wanted, ELSEWHERE).unwrap();
        assert_eq!(&*declared.value.name, name);
    }

    fn declare_with(&self, name: &str, argument: &str, value: i64) {
        let mut arguments = TableBuilder::new();
        arguments.insert(argument, Value::I64(value));
        let wanted = QueueDeclaration {
            name: name.into(),
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: arguments.finish(),
        };
        let _ = self.vhost.declare_queue(&wanted, ELSEWHERE).unwrap().value;
    }

    fn delete(&self, name: &str) {
        let deleted =
            self.vhost
                .delete_queue(&name.into(), DeleteIf::default(), ELSEWHERE, "guest");
        let _ = deleted.unwrap().value;
    }

    fn publish(&self, queue: &str, count: usize, body_len: usize) {
        let mut publisher = Publisher::new(self.vhost.clone());
        let body = Bytes::from(vec![0; body_len]);
        for _ in 0..count {
            publisher.check_exchange(b"").unwrap();
            let facts = Facts::default();
            let queue = queue.as_bytes();
            let message = Message::from_parts(b"", queue, b"\0\0", vec![body.clone()], facts);
            publisher.publish(message, &[]);
        }
        publisher.flush().unwrap();
    }

    fn send(&mut self, method: AMQPClass) {
        self.send_all(&[method]);
    }

    /// As one read.
    fn send_all(&mut self, methods: &[AMQPClass]) {
        let mut frames = BytesMut::new();
        for method in methods {
            encode::write_method(&mut frames, 1, method);
        }
        assert_eq!(self.session.frames(&frames.freeze()), Ok(Go::On));
    }

    /// The method of a publish to a queue; then its header, in which the message has no body.
    fn client_publishes(&mut self, queue: &str) {
        let mut frames = BytesMut::new();
        let publish = basic::Publish {
            routing_key: short_string(queue),
            ..basic::Publish::default()
        };
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        encode::write_method(&mut frames, 1, &publish);
        encode::content_header(&mut frames, 1, 0, &[0, 0]);
        assert_eq!(self.session.frames(&frames.freeze()), Ok(Go::On));
    }

    fn consume(&mut self, queue: &str, no_ack: bool) {
        self.send(AMQPClass::Basic(basic::AMQPMethod::Consume(
            basic::Consume {
                queue: short_string(queue),
                consumer_tag: short_string(&format!("of {queue}")),
                no_ack,
                ..basic::Consume::default()
            },
        )));
    }

    /// What a task does in one round: takes what others left, and writes everything. Methods as
    /// words, bodies left out.
    fn round(&mut self) -> Vec<String> {
        let reason = self.session.work();
        assert_eq!(reason, None);
        self.out()
    }

    fn out(&mut self) -> Vec<String> {
        let mut octets = BytesMut::new();
        while self.session.link.out.sendable_len() > 0 {
            let written = self.session.link.out.write_with(|slices| {
                slices.iter().for_each(|s| octets.extend_from_slice(s));
                Ok(slices.iter().map(|s| s.len()).sum())
            });
            written.unwrap();
        }
        self.session.written();
        let octets = octets.freeze();
        let mut cursor = FrameCursor::new(&octets);
        let mut said = Vec::new();
        while let Some(frame) = cursor.next_frame().unwrap() {
            if frame.kind == FrameKind::Method {
                said.push(word(&parse_class(frame.payload).unwrap().1));
            }
        }
        said
    }
}

fn word(method: &AMQPClass) -> String {
    match method {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(m)) => {
            format!("{} {}", m.consumer_tag, m.delivery_tag)
        }
        AMQPClass::Basic(basic::AMQPMethod::Cancel(m)) => format!("cancel {}", m.consumer_tag),
        AMQPClass::Basic(basic::AMQPMethod::CancelOk(m)) => {
            format!("cancel-ok {}", m.consumer_tag)
        }
        AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)) => "consume-ok".into(),
        AMQPClass::Basic(basic::AMQPMethod::QosOk(_)) => "qos-ok".into(),
        AMQPClass::Basic(basic::AMQPMethod::Ack(m)) => format!("ack {}", m.delivery_tag),
        AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => "open-ok".into(),
        AMQPClass::Channel(channel::AMQPMethod::Close(_)) => "channel.close".into(),
        AMQPClass::Confirm(_) => "select-ok".into(),
        AMQPClass::Connection(connection::AMQPMethod::Blocked(m)) => {
            format!("blocked {}", m.reason)
        }
        AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => "unblocked".into(),
        other => format!("{other:?}"),
    }
}

fn cancel(queue: &str) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Cancel(basic::Cancel {
        consumer_tag: short_string(&format!("of {queue}")),
        nowait: false,
    }))
}

fn ack(delivery_tag: u64) -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack {
        delivery_tag,
        multiple: false,
    }))
}

#[test]
fn a6_7_the_end_of_a_queue_is_told_though_another_consumer_is_cancelled_meanwhile() {
    let mut bench = Bench::new();
    for queue in ["a", "b"] {
        bench.declare(queue, false);
        bench.consume(queue, false);
    }
    bench.out();
    bench.delete("a");
    bench.send(cancel("b"));
    let mut said = bench.out();
    said.extend(bench.round());
    said.sort();
    assert_eq!(said, ["cancel of a", "cancel-ok of b"]);
}

#[test]
fn an_order_to_close_is_kept_though_a_consumer_is_cancelled_meanwhile() {
    let mut bench = Bench::new();
    bench.declare("a", false);
    bench.consume("a", false);
    bench.outbox.close(AmqpError::shutdown());
    bench.send(cancel("a"));
    assert_eq!(bench.session.work(), Some(AmqpError::shutdown()));
}

#[test]
fn a_cancel_that_crosses_the_end_of_its_queue_is_answered_and_hits_no_later_consumer() {
    let mut bench = Bench::new();
    bench.declare("a", false);
    bench.declare("b", false);
    bench.consume("a", false);
    bench.out();
    bench.delete("a");
    bench.send(cancel("a"));
    // Gets the number that the first one had.
    bench.consume("b", true);
    let mut said = bench.out();
    said.extend(bench.round());
    assert!(said.contains(&"cancel-ok of a".to_owned()), "{said:?}");
    assert!(!said.contains(&"cancel of b".to_owned()), "{said:?}");
    bench.publish("b", 1, 1);
    assert_eq!(bench.round(), ["of b 1"]);
}

#[test]
fn a2_nothing_is_confirmed_on_a_channel_that_was_closed() {
    let mut bench = Bench::new();
    bench.declare("a", true);
    bench.broker.log().sync().unwrap();
    let select = confirm::Select { nowait: false };
    bench.send(AMQPClass::Confirm(confirm::AMQPMethod::Select(select)));
    assert_eq!(bench.out(), ["select-ok"]);

    let mut frames = BytesMut::new();
    let publish = basic::Publish {
        routing_key: short_string("a"),
        ..basic::Publish::default()
    };
    let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
    encode::write_method(&mut frames, 1, &publish);
    encode::content_header(&mut frames, 1, 0, &[0x10, 0, 2]);
    encode::write_method(&mut frames, 1, &ack(77));
    bench.session.frames(&frames.freeze()).unwrap();
    let mut said = bench.out();
    bench.broker.log().sync().unwrap();
    said.extend(bench.round());
    let closed = said.iter().position(|word| word == "channel.close");
    assert_eq!(closed, Some(said.len() - 1), "{said:?}");
    let ready = bench.vhost.queue(&Name::from("a"), ELSEWHERE).unwrap();
    assert_eq!(ready.lock().ready_len(), 1, "published before the fault");
}

#[test]
fn a_long_queue_leaves_room_for_the_others_of_its_connection() {
    let mut bench = Bench::new();
    for (queue, count) in [("long", 100), ("short", 3)] {
        bench.declare(queue, false);
        bench.publish(queue, count, 400_000);
    }
    bench.consume("long", true);
    bench.consume("short", true);
    let mut said = bench.out();
    for _ in 0..20 {
        said.extend(bench.round());
    }
    let of = |queue: &str| said.iter().filter(|word| word.contains(queue)).count();
    assert_eq!(of("short"), 3, "of the other {} were sent", of("long"));
    assert!(of("long") < 100);
}

#[test]
fn a6_2_shared_credit_goes_round_among_the_channels_consumers() {
    let mut bench = Bench::new();
    for queue in ["a", "b", "c"] {
        bench.declare(queue, false);
        bench.publish(queue, 50, 1);
    }
    let qos = basic::Qos {
        prefetch_count: 1,
        global: true,
    };
    bench.send(AMQPClass::Basic(basic::AMQPMethod::Qos(qos)));
    for queue in ["a", "b", "c"] {
        bench.consume(queue, false);
    }
    let mut said = bench.out();
    said.retain(|word| word.starts_with("of"));
    for tag in 1..=30 {
        let round = bench.round();
        said.extend(round.into_iter().filter(|word| word.starts_with("of")));
        assert_eq!(said.len(), tag, "one at a time: {said:?}");
        bench.send(ack(tag as u64));
    }
    for queue in ["of a", "of b", "of c"] {
        let count = said.iter().filter(|word| word.starts_with(queue)).count();
        assert!((8..=12).contains(&count), "{queue}: {count} of 30");
    }
}

#[test]
fn a6_8_what_is_handed_over_while_a_channel_ends_goes_back() {
    let mut bench = Bench::new();
    bench.declare("a", false);
    bench.publish("a", 5, 10);
    bench.consume("a", false);
    // Delivered, and not yet taken from the outbox.
    bench.session.end();
    let queue = bench.vhost.queue(&Name::from("a"), ELSEWHERE).unwrap();
    let queue = queue.lock();
    assert_eq!((queue.ready_len(), queue.unacked_len()), (5, 0));
}

#[test]
fn a1_13_who_is_told_that_it_is_closed_counts_no_longer() {
    let mut bench = Bench::new();
    let mut one = Limits::default();
    one.set(auth::Limit::Connections, 1);
    let put = bench.broker.put_vhost_limits(&"/".into(), one, "test");
    let _ = put.unwrap();
    let enter = |bench: &Bench| {
        let login = Arc::new(Login {
            user: "guest".into(),
            tags: vec![],
            authority: Authority::Directory,
        });
        bench.broker.enter(ELSEWHERE, login, "/").is_ok()
    };
    assert!(!enter(&bench));
    let close = AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close::default()));
    let mut frame = BytesMut::new();
    encode::write_method(&mut frame, 0, &close);
    assert_eq!(bench.session.frames(&frame.freeze()), Ok(Go::Closed));
    // Its answer is not even sent.
    assert!(enter(&bench));
}

#[test]
fn a_channel_counts_what_it_does() {
    let mut bench = Bench::new();
    bench.declare("a", false);
    let select = confirm::Select { nowait: false };
    bench.send(AMQPClass::Confirm(confirm::AMQPMethod::Select(select)));
    bench.consume("a", false);
    let mut frames = BytesMut::new();
    for key in ["a", "a", "nowhere"] {
        let publish = basic::Publish {
            routing_key: short_string(key),
            ..basic::Publish::default()
        };
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        encode::write_method(&mut frames, 1, &publish);
        encode::content_header(&mut frames, 1, 0, &[0, 0]);
    }
    bench.session.frames(&frames.freeze()).unwrap();
    bench.round();
    bench.send(ack(1));
    let (_, channel) = bench.broker.channels().pop().unwrap();
    let counts = channel.counts();
    assert_eq!((counts.published, counts.published_confirm), (3, 3));
    assert_eq!((counts.confirmed, counts.dropped), (3, 1));
    assert_eq!((counts.delivered, counts.acked), (2, 1));
    assert_eq!((channel.unacked.get(), channel.unconfirmed.get()), (1, 0));
    assert_eq!(channel.consumers.get(), 1);
    assert!(channel.is_confirming());
    bench.session.end();
    assert!(bench.broker.channels().is_empty());
}

const NO_MEMORY: Limit = Limit::Bytes(0);
const ENOUGH: Limit = Limit::Fraction(1.0);

#[test]
fn a1_15_a_connection_is_blocked_by_its_first_publish_under_an_alarm() {
    let mut bench = Bench::new();
    bench.declare("q", false);
    bench.broker.set_memory_watermark(NO_MEMORY);
    bench.consume("q", true);
    assert_eq!(bench.round(), ["consume-ok"]);
    assert!(!bench.session.is_blocked(), "it only consumes");
    bench.client_publishes("q");
    // What was published is taken, and deliveries go on.
    assert_eq!(bench.round(), ["blocked low on memory", "of q 1"]);
    assert!(bench.session.is_blocked());
    bench.publish("q", 1, 1);
    assert_eq!(bench.round(), ["of q 2"]);
    bench.broker.set_disk_free_limit(Limit::Bytes(u64::MAX));
    bench.broker.set_memory_watermark(ENOUGH);
    assert_eq!(bench.round(), Vec::<String>::new(), "one alarm is left");
    bench.broker.set_disk_free_limit(Limit::Bytes(0));
    assert_eq!(bench.round(), ["unblocked"]);
    assert!(!bench.session.is_blocked());
    bench.client_publishes("q");
    assert_eq!(bench.round(), ["of q 3"]);
}

#[test]
fn a1_15_half_a_message_blocks_too() {
    let mut bench = Bench::new();
    bench.broker.set_memory_watermark(NO_MEMORY);
    let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(basic::Publish::default()));
    bench.send(publish);
    assert_eq!(bench.round(), ["blocked low on memory"]);
}

#[test]
fn a1_15_a_client_that_does_not_know_of_alarms_is_told_nothing() {
    let mut bench = Bench::new();
    bench.session.link.capabilities.connection_blocked = false;
    bench.declare("q", false);
    bench.broker.set_memory_watermark(NO_MEMORY);
    bench.client_publishes("q");
    assert_eq!(bench.round(), Vec::<String>::new());
    assert!(bench.session.is_blocked());
    bench.broker.set_memory_watermark(ENOUGH);
    assert_eq!(bench.round(), Vec::<String>::new());
    assert!(!bench.session.is_blocked());
}

#[test]
fn who_passes_a_queues_quota_is_told_and_consumers_go_on() {
    let mut bench = Bench::new();
    bench.declare_with("q", "x-max-messages-per-second", 1);
    bench.declare("free", false);
    bench.consume("q", true);
    assert_eq!(bench.round(), ["consume-ok"]);
    bench.client_publishes("free");
    assert_eq!(bench.session.pause_left(), None);
    bench.client_publishes("q");
    let reason = "blocked queue 'q' in vhost '/' exceeds its quota of 1 messages per second";
    assert_eq!(bench.round(), [reason, "of q 1"]);
    assert!(bench.session.pause_left().unwrap() > Duration::from_millis(100));
    // Others publish, and it still gets what they do.
    bench.publish("q", 1, 1);
    assert_eq!(bench.round(), ["of q 2"]);
    bench.delete("q");
    assert_eq!(bench.session.pause_left(), None, "the quota is gone");
    assert_eq!(bench.round(), ["unblocked", "cancel of q"]);
}

#[test]
fn quotas_of_vhost_and_user_have_their_reasons_and_may_be_lifted() {
    let mut bench = Bench::new();
    bench.declare("q", false);
    let rate = |limit, value| {
        let mut limits = Limits::default();
        limits.set(limit, value);
        limits
    };
    let of_vhost = rate(auth::Limit::MessageRate, 1);
    let of_user = rate(auth::Limit::ByteRate, 1);
    let put = bench.broker.put_vhost_limits(&"/".into(), of_vhost, "test");
    let _ = put.unwrap();
    bench.client_publishes("q");
    let reason = "blocked vhost '/' exceeds its quota of 1 messages per second";
    assert_eq!(bench.round(), [reason]);
    // An alarm on top is not told again, and must be over too.
    bench.client_publishes("q");
    bench.broker.set_memory_watermark(NO_MEMORY);
    bench.client_publishes("q");
    let none = Limits::default();
    let put = bench.broker.put_vhost_limits(&"/".into(), none, "test");
    let _ = put.unwrap();
    assert_eq!(bench.session.pause_left(), None);
    assert_eq!(bench.round(), Vec::<String>::new());
    bench.broker.set_memory_watermark(ENOUGH);
    assert_eq!(bench.round(), ["unblocked"]);
    let put = bench
        .broker
        .put_user_limits(&"guest".into(), of_user, "test");
    let _ = put.unwrap();
    bench.client_publishes("q");
    assert_eq!(bench.session.pause_left(), None, "its body is empty");
}

#[test]
fn who_does_not_know_of_blocking_is_held_up_without_a_word() {
    let mut bench = Bench::new();
    bench.session.link.capabilities.connection_blocked = false;
    bench.declare_with("q", "x-max-messages-per-second", 1);
    bench.client_publishes("q");
    assert_eq!(bench.round(), Vec::<String>::new());
    assert!(bench.session.pause_left().is_some());
    bench.delete("q");
    assert_eq!(bench.session.pause_left(), None);
    assert_eq!(bench.round(), Vec::<String>::new());
}

#[test]
fn a6_17_so_many_consumers_and_no_more() {
    let mut bench = Bench::new();
    let mut settings = Settings::clone(&bench.session.link.settings);
    settings.consumers_per_channel = Some(2);
    bench.session.link.settings = Arc::new(settings);
    for queue in ["a", "b", "c"] {
        bench.declare(queue, false);
    }
    bench.consume("a", false);
    bench.consume("b", false);
    assert_eq!(bench.out(), ["consume-ok", "consume-ok"]);
    // Whoever is gone does not count.
    bench.send(cancel("a"));
    bench.consume("c", false);
    assert_eq!(bench.out(), ["cancel-ok of a", "consume-ok"]);
    let mut frames = BytesMut::new();
    let consume = basic::Consume {
        queue: short_string("a"),
        ..basic::Consume::default()
    };
    let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
    encode::write_method(&mut frames, 1, &consume);
    let fault = AmqpError::consumer_limit(2).at(60, 20);
    assert_eq!(bench.session.frames(&frames.freeze()), Err(fault));
}

#[test]
fn a10_a_channel_has_its_limit_of_consumers_and_each_channel_its_own() {
    let mut bench = Bench::new();
    Arc::make_mut(&mut bench.session.link.settings).consumers_per_channel = Some(2);
    for name in ["a", "b", "c"] {
        bench.declare(name, false);
    }
    bench.consume("a", true);
    bench.consume("b", true);
    assert_eq!(bench.round(), ["consume-ok", "consume-ok"]);
    // One that goes makes room.
    bench.delete("a");
    assert_eq!(bench.round(), ["cancel of a"]);
    bench.consume("c", true);
    assert_eq!(bench.round(), ["consume-ok"]);
    let mut frames = BytesMut::new();
    let third = basic::Consume {
        queue: short_string("b"),
        consumer_tag: short_string("third"),
        ..basic::Consume::default()
    };
    let third = AMQPClass::Basic(basic::AMQPMethod::Consume(third));
    let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
    encode::write_method(&mut frames, 2, &open);
    encode::write_method(&mut frames, 2, &third);
    assert_eq!(bench.session.frames(&frames.split().freeze()), Ok(Go::On));
    assert_eq!(
        bench.round(),
        ["open-ok", "consume-ok"],
        "on another channel"
    );
    encode::write_method(&mut frames, 1, &third);
    let refused = bench.session.frames(&frames.freeze()).unwrap_err();
    let text = "NOT_ALLOWED - reached maximum (2) of consumers per channel";
    assert_eq!((refused.code.code(), refused.text.as_str()), (530, text));
}
