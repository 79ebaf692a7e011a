//! Time to live (A7.9): also of messages in the middle of a queue, which RabbitMQ leaves until they
//! are at its head; and dead letters over crashes.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::AMQPValue::LongInt;

use crate::client::{Chan, Rig, next, persistent, run, string, text};

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_millis() as u64
}

/// A durable queue whose dead go to `dead`, durable too.
async fn dying(channel: &Chan, queue: &str, dead: &str) {
    channel.durable(dead).await;
    let arguments = [
        ("x-dead-letter-exchange", string("")),
        ("x-dead-letter-routing-key", string(dead)),
    ];
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_with(queue, options, &arguments).await;
    declared.unwrap();
}

/// Publishes all at once, and waits for the confirms. `properties` gives those of each.
async fn publish_all(
    channel: &Chan,
    queue: &str,
    count: usize,
    mut properties: impl FnMut(usize) -> BasicProperties,
) {
    let mut confirms = Vec::new();
    for number in 0..count {
        let (options, body) = (BasicPublishOptions::default(), number.to_string());
        let (body, properties) = (body.as_bytes(), properties(number));
        let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
        confirms.push(sent.await.unwrap());
    }
    for confirm in confirms {
        assert!(!confirm.await.unwrap().is_nack());
    }
}

/// Waits until a queue has `count` messages ready.
async fn holds(channel: &Chan, queue: &str, count: u32) {
    while channel.counts(queue).await.0 != count {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn number(delivery: &Delivery) -> usize {
    text(delivery).parse().unwrap()
}

fn living(ttl_ms: u64) -> BasicProperties {
    persistent().with_expiration(ttl_ms.to_string().as_str().into())
}

#[test]
fn a7_9_20_000_messages_expire_each_in_its_time_behind_one_that_never_does() {
    const COUNT: usize = 20_000;
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        dying(&channel, "q", "dead").await;
        channel.publish("", "q", "head").await;
        let watching = Chan::open(&rig.connect().await).await;
        let mut letters = watching.consume("dead").await;
        let watch = async {
            let mut died = vec![None; COUNT];
            for _ in 0..COUNT {
                let letter = next(&mut letters).await;
                let before = died[number(&letter)].replace(now_ms());
                assert_eq!(before, None, "dead twice");
            }
            died
        };
        // When each was published at the earliest, and how long it lives.
        let mut lives = Vec::new();
        let publish = publish_all(&channel, "q", COUNT, |number| {
            let ttl_ms = 50 + rand::random_range(0..=1450);
            lives.push((now_ms(), ttl_ms));
            match number % 2 {
                0 => living(ttl_ms),
                _ => living(ttl_ms).with_delivery_mode(1),
            }
        });
        let (died, ()) = tokio::join!(watch, publish);
        for (number, (died, (published, ttl_ms))) in died.into_iter().zip(lives).enumerate() {
            let lived_ms = died.unwrap() - published;
            assert!(lived_ms >= ttl_ms, "{number} lived {lived_ms} of {ttl_ms}");
        }
        assert_eq!(channel.counts("q").await, (1, 0));
        assert_eq!(channel.take_all("q").await, ["head"]);
        assert_eq!(channel.counts("dead").await, (0, 1));
    });
}

#[test]
fn a7_9_counts_follow_what_expires_in_the_middle() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        publish_all(&channel, "q", 300, |number| match number % 3 {
            0 => persistent(),
            1 => living(300),
            _ => living(3_600_000),
        })
        .await;
        holds(&channel, "q", 200).await;
        let left: Vec<_> = (0..300)
            .filter(|n| n % 3 != 1)
            .map(|n| n.to_string())
            .collect();
        assert_eq!(channel.take_all("q").await, left);
    });
}

#[test]
fn a7_9_what_is_left_of_a_time_to_live_is_left_after_a_crash() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        dying(&channel, "q", "dead").await;
        let published_ms = now_ms();
        // Some die before the broker is there again, some after it.
        publish_all(&channel, "q", 400, |number| match number % 4 {
            0 => persistent(),
            1 => living(1),
            2 => living(4000),
            _ => living(3_600_000),
        })
        .await;
        let last_ms = now_ms();
        let rig = rig.crash().await;
        let channel = rig.channel().await;
        let mut letters = channel.consume("dead").await;
        let mut died = HashSet::new();
        for _ in 0..200 {
            let letter = next(&mut letters).await;
            assert!(died.insert(number(&letter)), "dead twice");
            if number(&letter) % 4 == 2 {
                assert!(now_ms() - published_ms >= 4000, "dead too soon");
            }
        }
        let expected = (0..400).filter(|n| matches!(n % 4, 1 | 2)).collect();
        assert_eq!(died, expected);
        // Had the time begun anew at the restart, it would be over later than that.
        let late_ms = now_ms() - last_ms;
        assert!(late_ms < 3 * 4000, "the last died after {late_ms} ms");
        assert_eq!(channel.counts("q").await.0, 200);
    });
}

#[test]
fn a7_1_dead_letters_are_in_one_queue_or_the_other_whenever_the_broker_is_killed() {
    const COUNT: usize = 3000;
    run(async {
        let mut rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        dying(&channel, "q", "dead").await;
        for round in 0..4 {
            let channel = Chan::confirming(&rig.connection).await;
            publish_all(&channel, "q", COUNT, |number| match (round, number % 2) {
                (0 | 1, _) => persistent(),
                (_, 0) => living(1 + rand::random_range(0..400)),
                _ => persistent(),
            })
            .await;
            // Killed in the middle of deaths: some rejected, some expired.
            let mut consumer = channel.consume("q").await;
            for _ in 0..COUNT / 4 {
                let delivery = next(&mut consumer).await;
                let reject = BasicNackOptions::default();
                delivery.nack(reject).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..50))).await;
            rig = rig.crash().await;
            let channel = rig.channel().await;
            let mut seen = vec![0; COUNT];
            // Until the last that expires has done so, nothing else changes.
            tokio::time::sleep(Duration::from_millis(800)).await;
            for queue in ["q", "dead"] {
                let count = channel.counts(queue).await.0;
                let mut consumer = channel.consume(queue).await;
                for left in (0..count).rev() {
                    let delivery = next(&mut consumer).await;
                    seen[number(&delivery)] += 1;
                    let died = delivery.properties.headers().as_ref();
                    let died = died.is_some_and(|h| h.inner().contains_key("x-death"));
                    assert_eq!(died, queue == "dead");
                    if left == 0 {
                        let ack = BasicAckOptions { multiple: true };
                        delivery.ack(ack).await.unwrap();
                    }
                }
            }
            let wrong: Vec<_> = (0..COUNT).filter(|&n| seen[n] != 1).collect();
            assert_eq!(wrong, [0; 0], "round {round}");
            channel.settle().await;
            channel.close(200, "done".into()).await.unwrap();
        }
    });
}

#[test]
fn a4_10_a_durable_queue_that_expires_does_so_after_a_crash_too() {
    run(async {
        let rig = Rig::start().await;
        let options = QueueDeclareOptions::durable();
        let arguments = [("x-expires", LongInt(500))];
        let channel = rig.channel().await;
        let declared = channel.queue_with("q", options, &arguments).await;
        declared.unwrap();
        let rig = rig.crash().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(rig.channel().await.find("q").await.is_err());
    });
}
