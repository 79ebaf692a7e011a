//! Many connections and channels at once: nothing lost, nothing doubled, and each publisher's order
//! kept.

use futures_lite::StreamExt;
use lapin::Connection;
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use lapin::{BasicProperties, ExchangeKind};
use tokio::sync::mpsc;

use crate::client::{Chan, Rig, next, persistent, run, text};

const PUBLISHERS: usize = 4;
const CONSUMERS: usize = 4;
const MESSAGES: usize = 5_000;

/// Confirms of one publisher outstanding at a time.
const WINDOW: usize = 500;

/// What a consumer got: its number, the publisher's, and the message's.
type Got = (usize, usize, usize);

/// Publishes "publisher number", every other message persistent, and waits for the confirms.
async fn publish(connection: Connection, publisher: usize, exchange: &'static str) {
    let channel = Chan::confirming(&connection).await;
    let mut confirms = std::collections::VecDeque::new();
    for number in 0..MESSAGES {
        let body = format!("{publisher} {number}");
        let properties = [BasicProperties::default(), persistent()][number % 2].clone();
        let (key, options) = ("q".into(), BasicPublishOptions::default());
        let sent =
            channel.basic_publish(exchange.into(), key, options, body.as_bytes(), properties);
        confirms.push_back(sent.await.unwrap());
        if confirms.len() == WINDOW {
            assert!(confirms.pop_front().unwrap().await.unwrap().is_ack());
        }
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// Reports and acks everything, one by one or ten at a time, until its connection is closed.
async fn consume(
    connection: Connection,
    queue: String,
    number: usize,
    report: mpsc::UnboundedSender<Got>,
) {
    let channel = Chan::open(&connection).await;
    channel.prefetch(100).await;
    let mut consumer = channel.consume(&queue).await;
    let mut count = 0;
    loop {
        let delivery = tokio::select! {
            () = report.closed() => return,
            delivery = consumer.next() => delivery.unwrap().unwrap(),
        };
        assert!(!delivery.redelivered);
        let body = text(&delivery);
        let (publisher, message) = body.split_once(' ').unwrap();
        count += 1;
        let multiple = number.is_multiple_of(2);
        if !multiple || count % 10 == 0 {
            delivery.ack(BasicAckOptions { multiple }).await.unwrap();
        }
        if report
            .send((number, publisher.parse().unwrap(), message.parse().unwrap()))
            .is_err()
        {
            return;
        }
    }
}

/// Runs publishers and consumers, and collects `expected` messages.
async fn collect(
    rig: &Rig,
    exchange: &'static str,
    queue_of: impl Fn(usize) -> String,
    expected: usize,
) -> Vec<Got> {
    let (report, mut reports) = mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for number in 0..CONSUMERS {
        let (connection, queue) = (rig.connect().await, queue_of(number));
        tasks.push(tokio::spawn(consume(
            connection,
            queue,
            number,
            report.clone(),
        )));
    }
    for publisher in 0..PUBLISHERS {
        tasks.push(tokio::spawn(publish(
            rig.connect().await,
            publisher,
            exchange,
        )));
    }
    drop(report);
    let mut got = Vec::new();
    while got.len() < expected {
        got.push(
            reports
                .recv()
                .await
                .expect("a consumer or publisher has failed"),
        );
    }
    // Whoever consumes sees that nobody listens any more.
    reports.close();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(reports.try_recv().is_err(), "more came than was published");
    got
}

/// Every message of every publisher, in order as far as one consumer saw it.
fn check_order(got: &[Got]) {
    let mut last = [[None; PUBLISHERS]; CONSUMERS];
    for &(consumer, publisher, message) in got {
        let last = &mut last[consumer][publisher];
        assert!(
            *last < Some(message),
            "{message} after {last:?} of {publisher}"
        );
        *last = Some(message);
    }
}

#[test]
fn four_publishers_and_four_consumers_share_a_queue() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        channel.durable("q").await;
        let total = PUBLISHERS * MESSAGES;
        let mut got = collect(&rig, "", |_| "q".to_owned(), total).await;
        check_order(&got);
        for consumer in 0..CONSUMERS {
            assert!(
                got.iter().any(|&(by, ..)| by == consumer),
                "{consumer} got nothing"
            );
        }
        got.sort_by_key(|&(_, publisher, message)| (publisher, message));
        got.dedup_by_key(|(_, publisher, message)| (*publisher, *message));
        assert_eq!(got.len(), total);
    });
}

#[test]
fn four_publishers_fan_out_to_four_consumers() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        channel.exchange("fan", ExchangeKind::Fanout).await;
        for number in 0..CONSUMERS {
            let queue = format!("q{number}");
            match number % 2 {
                0 => channel.durable(&queue).await,
                _ => channel.queue(&queue).await,
            };
            channel.bind(&queue, "fan", "").await;
        }
        let total = PUBLISHERS * MESSAGES * CONSUMERS;
        let got = collect(&rig, "fan", |number| format!("q{number}"), total).await;
        check_order(&got);
        // In order, so none came twice; and all came.
        for consumer in 0..CONSUMERS {
            let count = got.iter().filter(|&&(by, ..)| by == consumer).count();
            assert_eq!(count, PUBLISHERS * MESSAGES);
        }
    });
}

#[test]
fn a_consumer_gets_all_of_a_large_backlog_without_acking() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        // Far more than a connection is given to write at a time.
        let body = "x".repeat(200_000);
        for _ in 0..100 {
            channel.publish("", "q", &body).await;
        }
        let mut consumer = channel.consume("q").await;
        for _ in 0..100 {
            next(&mut consumer).await;
        }
    });
}

#[test]
fn a_slow_consumer_does_not_hold_up_another() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        for queue in ["slow", "fast"] {
            channel.queue(queue).await;
            channel.bind(queue, "amq.fanout", "").await;
        }
        // It asks for everything and then reads nothing of it: 64 MiB do not fit on the way.
        let mut slow = crate::support::raw::RawClient::open(rig.broker.address());
        slow.take_from("slow", 0);
        let mut fast = channel.consume("fast").await;
        let body = "x".repeat(1024 * 1024);
        for _ in 0..64 {
            channel.publish("amq.fanout", "", &body).await;
            let delivery = next(&mut fast).await;
            assert_eq!(delivery.data.len(), body.len());
            delivery.ack(BasicAckOptions::default()).await.unwrap();
        }
        assert!(channel.counts("slow").await.0 > 0, "held back in the queue");
        drop(slow);
        // What it held comes back, all of it.
        let mut consumer = channel.consume("slow").await;
        for _ in 0..64 {
            next(&mut consumer).await;
        }
    });
}
