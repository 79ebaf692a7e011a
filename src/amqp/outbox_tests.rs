//! The outbox between queue threads and a connection's task: nothing waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::outbox::{ChannelCredit, Outbox, Port};
use crate::base::limits::OUTBOUND_HIGH_BYTES;
use crate::base::{AmqpError, ConnectionId, LogPos, QueueId};
use crate::broker::ConnectionHandle;
use crate::message::{Facts, Message};
use crate::queue::{
    ConsumerKey, ConsumerPort, ConsumerSpec, ConsumerToken, Delivery, Effects, QueueKind,
};
use crate::queue::{QueueRef, QueueSpec, Settings, Slot};

/// Longer than any wake-up takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Shorter than a test that must see no wake-up should take.
const BRIEF: Duration = Duration::from_millis(50);

fn token(number: u32) -> ConsumerToken {
    ConsumerToken { channel: 1, number }
}

fn port(outbox: &Arc<Outbox>, credit: &Arc<ChannelCredit>, number: u32) -> Port {
    Port::new(outbox.clone(), credit.clone(), token(number))
}

fn message(body: &Bytes) -> Message {
    Message::from_parts(b"", b"q", b"\0\0", vec![body.clone()], Facts::default())
}

/// Fills the outbox; how many octets that took.
fn fill(port: &Port) -> usize {
    let mut batch = vec![Delivery {
        message: message(&Bytes::from(vec![0; OUTBOUND_HIGH_BYTES])),
        token: token(0),
        slot: Slot::NONE,
        redelivered: false,
    }];
    let bytes = batch[0].cost();
    port.hand_over(&mut batch, bytes);
    assert!(batch.is_empty());
    bytes
}

async fn is_woken(outbox: &Outbox) -> bool {
    timeout(BRIEF, outbox.woken()).await.is_ok()
}

#[tokio::test]
async fn one_wake_serves_all_that_came_since_the_last_look() {
    let (outbox, credit) = (Arc::new(Outbox::default()), Arc::default());
    let port = port(&outbox, &credit, 0);
    fill(&port);
    fill(&port);
    assert!(is_woken(&outbox).await);
    assert!(!is_woken(&outbox).await);
    let mut taken = Vec::new();
    outbox.take(&mut taken);
    assert_eq!(taken.len(), 2);
    taken.clear();
    fill(&port);
    assert!(is_woken(&outbox).await);
}

#[tokio::test]
async fn room_is_what_was_not_handed_over_or_has_been_written() {
    let (outbox, credit) = (Arc::new(Outbox::default()), Arc::default());
    let port = port(&outbox, &credit, 0);
    assert_eq!(port.room_bytes(), OUTBOUND_HIGH_BYTES);
    let bytes = fill(&port);
    assert_eq!(port.room_bytes(), 0);
    outbox.take(&mut Vec::new());
    assert_eq!(port.room_bytes(), 0, "taken is not yet written");
    outbox.written(bytes);
    assert_eq!(port.room_bytes(), OUTBOUND_HIGH_BYTES);
}

#[tokio::test]
async fn a_starved_consumer_is_resumed_once_there_is_room() {
    let (outbox, credit) = (Arc::new(Outbox::default()), Arc::default());
    let port = port(&outbox, &credit, 0);
    let bytes = fill(&port);
    port.starved();
    assert!(is_woken(&outbox).await);
    outbox.take(&mut Vec::new());
    assert_eq!(outbox.next_starved(), None, "no room yet");
    // The task looks for starved consumers before it writes: the room that writing makes must bring
    // it back, also if the socket has taken everything and there is nothing else to wait for.
    outbox.written(bytes);
    assert!(is_woken(&outbox).await, "asleep with a starved consumer");
    assert_eq!(outbox.next_starved(), Some(token(0)));
    assert_eq!(outbox.next_starved(), None);
}

#[tokio::test]
async fn a_consumer_that_starves_when_there_is_room_already_wakes_the_task() {
    let (outbox, credit) = (Arc::new(Outbox::default()), Arc::default());
    let port = port(&outbox, &credit, 0);
    port.starved();
    assert!(is_woken(&outbox).await);
    assert_eq!(outbox.next_starved(), Some(token(0)));
}

#[tokio::test]
async fn starved_consumers_are_resumed_in_turn_and_once() {
    let (outbox, credit) = (Arc::new(Outbox::default()), Arc::default());
    let ports: Vec<Port> = (0..3).map(|n| port(&outbox, &credit, n)).collect();
    for at in [1, 0, 1, 2, 0] {
        ports[at].starved();
    }
    assert_eq!(outbox.next_starved(), Some(token(1)));
    ports[1].starved();
    let rest = std::iter::from_fn(|| outbox.next_starved());
    assert_eq!(rest.map(|t| t.number).collect::<Vec<_>>(), [0, 2, 1]);
}

#[tokio::test]
async fn an_order_to_close_wakes_and_the_first_reason_stays() {
    let outbox = Outbox::default();
    outbox.close(AmqpError::shutdown());
    outbox.close(AmqpError::internal());
    assert!(is_woken(&outbox).await);
    assert_eq!(
        outbox.take(&mut Vec::new()).close,
        Some(AmqpError::shutdown())
    );
    assert_eq!(outbox.take(&mut Vec::new()).close, None);
}

#[test]
fn a6_2_credit_is_shared_and_its_return_is_told_to_who_waits() {
    let (outbox, credit) = (Arc::new(Outbox::default()), Arc::default());
    let (one, two) = (port(&outbox, &credit, 0), port(&outbox, &credit, 1));
    // Without a limit it is counted all the same: the limit may come.
    assert!(one.take_credit());
    assert!(!credit.set_limit(2));
    assert!(two.take_credit());
    assert!(!credit.give_back(0), "nobody waits");
    assert!(!one.take_credit());
    assert!(credit.give_back(1));
    assert!(!credit.give_back(0), "told once");
    assert!(two.take_credit());
    assert!(!two.take_credit());
    assert!(credit.set_limit(3));
    assert!(two.take_credit());
    assert!(!two.take_credit());
    assert!(credit.set_limit(0));
    assert!(two.take_credit());
}

/// A queue with one consumer, a thread that publishes into it, and a task that does what a
/// connection's task does, in its order.
struct Exchange {
    outbox: Arc<Outbox>,
    credit: Arc<ChannelCredit>,
    queue: QueueRef,
    key: ConsumerKey,
}

impl Exchange {
    fn new(no_ack: bool, credit_limit: u32) -> Self {
        let (outbox, credit) = (Arc::new(Outbox::default()), Arc::<ChannelCredit>::default());
        credit.set_limit(credit_limit);
        let spec = QueueSpec {
            is_store: false,
            id: QueueId(1),
            vhost: "/".into(),
            name: "q".into(),
            durable: false,
            exclusive_to: None,
            auto_delete: false,
            kind: QueueKind::Classic,
        };
        let queue = QueueRef::new(spec, Settings::default());
        let spec = ConsumerSpec {
            tag: "tag".into(),
            connection: ConnectionId(1),
            arguments: Bytes::new(),
            token: token(0),
            no_ack,
            exclusive: false,
            prefetch: 0,
            priority: 0,
            port: Arc::new(port(&outbox, &credit, 0)),
        };
        let key = queue.lock().subscribe(spec).unwrap();
        Exchange {
            outbox,
            credit,
            queue,
            key,
        }
    }

    fn publish(&self, total: usize, body_len: usize) {
        let body = Bytes::from(vec![0; body_len]);
        for sent in 0..total {
            let mut queue = self.queue.lock();
            queue.publish(LogPos::NONE, message(&body), 0, &mut Effects::default());
            queue.dispatch(&mut Effects::default());
            drop(queue);
            if sent % 7 == 0 {
                std::thread::yield_now();
            }
        }
    }

    fn resume(&self) {
        let mut queue = self.queue.lock();
        queue.resume(self.key);
        queue.dispatch(&mut Effects::default());
    }

    /// Takes `total` messages; acks what is unacked whenever nothing else is to be done.
    async fn consume(&self, total: usize, seen: &AtomicUsize) {
        let mut deliveries = Vec::new();
        let mut unacked: Vec<Slot> = Vec::new();
        while seen.load(Ordering::Relaxed) < total {
            self.outbox.take(&mut deliveries);
            let bytes: usize = deliveries.iter().map(Delivery::cost).sum();
            seen.fetch_add(deliveries.len(), Ordering::Relaxed);
            let slots = deliveries.drain(..).map(|d| d.slot);
            unacked.extend(slots.filter(|&slot| slot != Slot::NONE));
            while self.outbox.next_starved().is_some() {
                self.resume();
            }
            if bytes > 0 {
                self.outbox.written(bytes);
            }
            if !unacked.is_empty() {
                let count = unacked.len() as u32;
                let mut queue = self.queue.lock();
                queue.settle(unacked.drain(..), &mut Effects::default());
                queue.dispatch(&mut Effects::default());
                drop(queue);
                if self.credit.give_back(count) {
                    self.resume();
                }
            }
            if seen.load(Ordering::Relaxed) < total {
                self.outbox.woken().await;
            }
        }
    }
}

/// Publishes and consumes on threads of their own; fails if it does not come to an end.
async fn must_finish(no_ack: bool, credit_limit: u32, total: usize, body_len: usize) {
    let exchange = Arc::new(Exchange::new(no_ack, credit_limit));
    let seen = Arc::new(AtomicUsize::new(0));
    let (publisher, consumer, count) = (exchange.clone(), exchange.clone(), seen.clone());
    let publishing = std::thread::spawn(move || publisher.publish(total, body_len));
    let consuming = tokio::spawn(async move { consumer.consume(total, &count).await });
    let finished = timeout(PATIENCE, consuming).await.is_ok();
    let seen = seen.load(Ordering::Relaxed);
    assert!(finished, "asleep after {seen} of {total} messages");
    publishing.join().unwrap();
    assert_eq!(exchange.queue.lock().ready_len(), 0);
    assert_eq!(exchange.queue.lock().unacked_len(), 0);
    assert_eq!(seen, total);
    let room = port(&exchange.outbox, &exchange.credit, 0).room_bytes();
    assert_eq!(room, OUTBOUND_HIGH_BYTES, "octets were miscounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_without_acks() {
    // The room is full after one message, after three, and seldom.
    for body_len in [OUTBOUND_HIGH_BYTES, OUTBOUND_HIGH_BYTES / 3, 20_000] {
        must_finish(true, 0, 20_000, body_len).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_with_acks_and_little_credit() {
    for (credit, body_len) in [(1, 1), (3, 1), (2, OUTBOUND_HIGH_BYTES), (0, 300_000)] {
        must_finish(false, credit, 20_000, body_len).await;
    }
}
