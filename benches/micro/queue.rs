//! A queue: messages in, out to a consumer, and acked.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use warren::base::{ConnectionId, LogPos};
use warren::message::{Facts, Message};
use warren::queue::{
    ConsumerPort, ConsumerSpec, ConsumerToken, Delivery, Effects, Queue, QueueOptions, Slot,
};

/// As many messages as a batch often has.
const RUN: usize = 100;

/// Keeps what it is given, for the bench to take.
#[derive(Default)]
struct Port(parking_lot::Mutex<Vec<Delivery>>);

impl ConsumerPort for Port {
    fn room_bytes(&self) -> usize {
        usize::MAX
    }

    fn take_credit(&self) -> bool {
        true
    }

    fn hand_over(&self, batch: &mut Vec<Delivery>, _: usize) {
        self.0.lock().append(batch);
    }

    fn starved(&self) {}

    fn cancelled(&self) {}
}

fn message(priority: u8) -> Message {
    let facts = Facts::new(false, priority, false);
    let body = vec![Bytes::from_static(&[7; 128])];
    Message::from_parts(b"x", b"key", b"\0\0", body, facts)
}

fn subscribe(queue: &mut Queue, no_ack: bool) -> Arc<Port> {
    let port = Arc::new(Port::default());
    let spec = ConsumerSpec {
        tag: "c".into(),
        connection: ConnectionId(1),
        arguments: Bytes::new(),
        token: ConsumerToken {
            channel: 1,
            number: 0,
        },
        no_ack,
        exclusive: false,
        prefetch: 0,
        priority: 0,
        port: port.clone(),
    };
    queue.subscribe(spec).unwrap();
    port
}

fn publish(queue: &mut Queue, messages: &[Message], effects: &mut Effects) {
    for message in messages {
        let _ = queue.publish(LogPos::NONE, message.clone(), 0, effects);
    }
}

pub(crate) fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue, each message");
    group.throughput(Throughput::Elements(RUN as u64));
    let alike: Vec<_> = (0..RUN).map(|_| message(0)).collect();
    let mut effects = Effects::default();

    group.bench_function("push, pop", |bench| {
        let mut queue = Queue::new(QueueOptions::default());
        let port = subscribe(&mut queue, true);
        bench.iter(|| {
            publish(&mut queue, &alike, &mut effects);
            queue.dispatch(&mut effects);
            queue.wake(0, &mut effects);
            port.0.lock().drain(..).count()
        });
    });
    group.bench_function("push, pop, ack", |bench| {
        let mut queue = Queue::new(QueueOptions::default());
        let port = subscribe(&mut queue, false);
        let mut slots: Vec<Slot> = Vec::new();
        bench.iter(|| {
            publish(&mut queue, &alike, &mut effects);
            queue.dispatch(&mut effects);
            queue.wake(0, &mut effects);
            slots.extend(port.0.lock().drain(..).map(|delivery| delivery.slot));
            queue.settle(slots.drain(..), &mut effects);
        });
    });
    for levels in [10, 255] {
        let mixed: Vec<_> = (0..RUN).map(|n| message((n * 37 % levels) as u8)).collect();
        group.bench_function(format!("push, pop, {levels} priorities"), |bench| {
            let mut queue = Queue::new(QueueOptions {
                max_priority: 255,
                ..QueueOptions::default()
            });
            bench.iter(|| {
                publish(&mut queue, &mixed, &mut effects);
                queue.wake(0, &mut effects);
                while queue.get(true, &mut effects).is_some() {}
            });
        });
    }
    group.finish();
}
