//! Consumers, channels, connections and queues that come and go while messages flow.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicPublishOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::{BasicProperties, Connection};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Chan, Rig, next, ok, persistent, run, text};

const PUBLISHERS: u64 = 2;
const CONSUMERS: u64 = 4;
const MESSAGES: u64 = 3_000;

#[derive(Default)]
struct Seen {
    delivered: BTreeSet<String>,
    acked: BTreeSet<String>,
}

impl Seen {
    fn complete(&self) -> bool {
        self.acked.len() as u64 == PUBLISHERS * MESSAGES
    }
}

async fn publish(connection: Connection, publisher: u64) {
    let channel = Chan::confirming(&connection).await;
    let mut confirms = Vec::new();
    for number in 0..MESSAGES {
        let body = format!("{publisher} {number}");
        let properties = [BasicProperties::default(), persistent()][number as usize % 2].clone();
        let (key, options) = ("q".into(), BasicPublishOptions::default());
        let sent = channel.basic_publish("".into(), key, options, body.as_bytes(), properties);
        confirms.push(sent.await.unwrap());
        if confirms.len() == 100 {
            for confirm in confirms.drain(..) {
                assert!(confirm.await.unwrap().is_ack());
            }
        }
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// Consumes a few messages on a channel of its own, settles most of them in some way, and leaves in
/// some way.
async fn visit(connection: &Connection, seen: &Mutex<Seen>, rng: &mut StdRng) {
    let channel = Chan::open(connection).await;
    let prefetch = rng.random_range(1..60);
    channel.prefetch(prefetch).await;
    let mut consumer = channel.consume("q").await;
    let mut unacked = 0;
    for _ in 0..rng.random_range(1..300) {
        if unacked == prefetch || seen.lock().unwrap().complete() {
            break;
        }
        // It may be that the others have all the rest.
        channel.settle().await;
        let Some(delivery) = futures_lite::future::poll_once(consumer.next()).await else {
            break;
        };
        let delivery = delivery.unwrap().unwrap();
        let body = text(&delivery);
        let again = {
            let mut seen = seen.lock().unwrap();
            assert!(!seen.acked.contains(&body), "{body} was acked");
            !seen.delivered.insert(body.clone())
        };
        assert!(
            delivery.redelivered || !again,
            "{body} comes again, and is not marked"
        );
        match rng.random_range(0..20) {
            0 => {
                let options = BasicNackOptions {
                    multiple: false,
                    requeue: true,
                };
                delivery.nack(options).await.unwrap();
            }
            1 => unacked += 1,
            _ => {
                // Before the ack: what it makes room for may be acked by others at once.
                assert!(seen.lock().unwrap().acked.insert(body));
                delivery.ack(BasicAckOptions::default()).await.unwrap();
            }
        }
    }
    if rng.random_bool(0.5) {
        let options = BasicCancelOptions::default();
        channel.basic_cancel(consumer.tag(), options).await.unwrap();
    }
    channel.close(200, ok()).await.unwrap();
    drop(consumer);
}

async fn consume(rig: Arc<Rig>, seen: Arc<Mutex<Seen>>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut connection = rig.connect().await;
    while !seen.lock().unwrap().complete() {
        visit(&connection, &seen, &mut rng).await;
        if rng.random_ratio(1, 5) {
            connection.close(200, ok()).await.unwrap();
            connection = rig.connect().await;
        }
    }
}

#[test]
fn consumers_that_come_and_go_get_everything_once() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    run(async {
        let rig = Arc::new(Rig::start().await);
        rig.channel().await.durable("q").await;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = Vec::new();
        for publisher in 0..PUBLISHERS {
            tasks.push(tokio::spawn(publish(rig.connect().await, publisher)));
        }
        for consumer in 0..CONSUMERS {
            let (rig, seen) = (Arc::clone(&rig), Arc::clone(&seen));
            tasks.push(tokio::spawn(consume(
                rig,
                seen,
                seed.wrapping_add(consumer),
            )));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(rig.channel().await.counts("q").await, (0, 0));
    });
}

#[test]
fn a4_9_what_is_published_to_a_queue_that_goes_is_confirmed() {
    run(async {
        let rig = Rig::start().await;
        let (publishing, changing) = (rig.connect().await, rig.channel().await);
        changing.durable("q").await;
        let mut task = tokio::spawn(publish(publishing, 0));
        let mut times = 0;
        while !task.is_finished() {
            let options = QueueDeleteOptions::default();
            changing.queue_delete("q".into(), options).await.unwrap();
            changing.durable("q").await;
            times += 1;
        }
        (&mut task).await.unwrap();
        assert!(times > 0);
        // What is there now is whole, and the queue works.
        let left = changing.counts("q").await.0;
        let mut consumer = changing.consume("q").await;
        let mut last = None;
        for _ in 0..left {
            let body = text(&next(&mut consumer).await);
            let number: u64 = body.strip_prefix("0 ").unwrap().parse().unwrap();
            assert!(Some(number) > last);
            last = Some(number);
        }
    });
}

/// Asks `count` times over the server's queue, and gets each answer in a queue of its own.
async fn ask(connection: Connection, client: u64, count: u64) {
    let channel = Chan::open(&connection).await;
    let exclusive = QueueDeclareOptions::exclusive().auto_delete();
    let replies = channel.queue_with("", exclusive, &[]).await.unwrap();
    let replies = replies.name().clone();
    let mut consumer = channel.consume(replies.as_str()).await;
    for number in 0..count {
        let body = format!("{client} {number}");
        let properties = BasicProperties::default()
            .with_reply_to(replies.clone())
            .with_correlation_id(body.as_str().into());
        channel.publish_with("", "server", &body, properties).await;
        let answer = next(&mut consumer).await;
        assert_eq!(text(&answer), format!("answer to {body}"));
        let correlation = answer.properties.correlation_id().as_ref();
        assert_eq!(correlation.map(|id| id.as_str()), Some(body.as_str()));
        answer.ack(BasicAckOptions::default()).await.unwrap();
    }
    connection.close(200, ok()).await.unwrap();
}

#[test]
fn a4_3_questions_and_answers_over_exclusive_queues() {
    run(async {
        let rig = Rig::start().await;
        let server = rig.channel().await;
        server.queue("server").await;
        let mut questions = server.consume("server").await;
        let mut clients = Vec::new();
        for client in 0..8 {
            clients.push(tokio::spawn(ask(rig.connect().await, client, 100)));
        }
        for _ in 0..800 {
            let question = next(&mut questions).await;
            let to = question.properties.reply_to().clone().unwrap();
            let id = question.properties.correlation_id().clone().unwrap();
            let properties = BasicProperties::default().with_correlation_id(id);
            let answer = format!("answer to {}", text(&question));
            server
                .publish_with("", to.as_str(), &answer, properties)
                .await;
            question.ack(BasicAckOptions::default()).await.unwrap();
        }
        for client in clients {
            client.await.unwrap();
        }
    });
}
