//! Acking, rejecting, requeueing and recovering (A4.12, A6.10 to A6.15).

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicRecoverAsyncOptions, BasicRecoverOptions,
    BasicRejectOptions,
};
use lapin::{Connection, Consumer};

use crate::client::{Chan, Rig, fault, next, next_texts, ok, run, text};

const MULTIPLE: BasicAckOptions = BasicAckOptions { multiple: true };

/// A channel that has received "1" to `count` from `q`, and its consumer.
async fn holding(connection: &Connection, count: usize) -> (Chan, Consumer, Vec<Delivery>) {
    let channel = Chan::confirming(connection).await;
    channel.queue("q").await;
    for number in 1..=count {
        channel.publish("", "q", &number.to_string()).await;
    }
    let mut consumer = channel.consume("q").await;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(next(&mut consumer).await);
    }
    (channel, consumer, held)
}

/// What is in `q`, with the flag of each.
async fn rest(connection: &Connection) -> Vec<(String, bool)> {
    let channel = Chan::open(connection).await;
    let mut rest = Vec::new();
    while let Some(got) = channel.get("q").await {
        got.ack(BasicAckOptions::default()).await.unwrap();
        rest.push((text(&got), got.redelivered));
    }
    rest
}

fn redelivered(bodies: &[&str]) -> Vec<(String, bool)> {
    bodies.iter().map(|&body| (body.to_owned(), true)).collect()
}

#[test]
fn a6_10_ack_one_or_up_to_one_or_all() {
    run(async {
        let rig = Rig::start().await;
        let (channel, _consumer, held) = holding(&rig.connection, 6).await;
        held[4].ack(BasicAckOptions::default()).await.unwrap();
        held[1].ack(MULTIPLE).await.unwrap();
        channel.close(200, ok()).await.unwrap();
        assert_eq!(rest(&rig.connection).await, redelivered(&["3", "4", "6"]));

        let (channel, _consumer, _held) = holding(&rig.connection, 3).await;
        channel.basic_ack(0, MULTIPLE).await.unwrap();
        // All, also if there is nothing.
        channel.basic_ack(0, MULTIPLE).await.unwrap();
        channel.close(200, ok()).await.unwrap();
        assert_eq!(rest(&rig.connection).await, []);
    });
}

#[test]
fn a2_406_a_tag_that_is_not_known() {
    run(async {
        let rig = Rig::start().await;
        let ack = async |channel: &Chan, tag, multiple| {
            channel.basic_ack(tag, BasicAckOptions { multiple }).await
        };
        for (tag, multiple) in [(1, false), (3, false), (3, true), (0, false)] {
            let (channel, mut consumer, held) = holding(&rig.connection, 2).await;
            held[0].ack(BasicAckOptions::default()).await.unwrap();
            ack(&channel, tag, multiple).await.unwrap();
            let error = consumer.next().await.unwrap().unwrap_err();
            let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
            assert_eq!(fault(&error), (406, text));
            // What was unacked is back, once the broker has closed the channel.
            assert_eq!(rest(&rig.connection).await, redelivered(&["2"]));
        }
    });
}

#[test]
fn a4_12_requeued_messages_go_back_to_where_they_were() {
    run(async {
        let rig = Rig::start().await;
        let publishing = Chan::confirming(&rig.connection).await;
        let (channel, consumer, held) = holding(&rig.connection, 5).await;
        let cancel = Default::default();
        channel.basic_cancel(consumer.tag(), cancel).await.unwrap();
        publishing.publish("", "q", "6").await;
        // In whatever order they are given back.
        let requeue = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        for at in [3, 0, 4, 1] {
            held[at].nack(requeue).await.unwrap();
        }
        channel.settle().await;
        let mut expected = redelivered(&["1", "2", "4", "5"]);
        expected.push(("6".to_owned(), false));
        assert_eq!(rest(&rig.connection).await, expected);
        // The third is still out.
        held[2].nack(requeue).await.unwrap();
        channel.settle().await;
        assert_eq!(rest(&rig.connection).await, redelivered(&["3"]));
    });
}

#[test]
fn a6_15_nack_and_reject_with_and_without_requeue() {
    run(async {
        let rig = Rig::start().await;
        let (channel, mut consumer, held) = holding(&rig.connection, 6).await;
        let drop = BasicNackOptions {
            multiple: true,
            requeue: false,
        };
        held[1].nack(drop).await.unwrap();
        held[2]
            .reject(BasicRejectOptions { requeue: false })
            .await
            .unwrap();
        // It comes back to the same consumer.
        held[3]
            .reject(BasicRejectOptions { requeue: true })
            .await
            .unwrap();
        let again = next(&mut consumer).await;
        assert_eq!((text(&again).as_str(), again.redelivered), ("4", true));
        assert_ne!(again.delivery_tag, held[3].delivery_tag);
        let back = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        held[5].nack(back).await.unwrap();
        assert_eq!(next_texts(&mut consumer, 2).await, ["5", "6"]);
        channel.close(200, ok()).await.unwrap();
        assert_eq!(rest(&rig.connection).await, redelivered(&["4", "5", "6"]));
    });
}

#[test]
fn a6_11_recover_gives_everything_again() {
    run(async {
        let rig = Rig::start().await;
        let (channel, mut consumer, held) = holding(&rig.connection, 4).await;
        held[1].ack(BasicAckOptions::default()).await.unwrap();
        let options = BasicRecoverOptions { requeue: true };
        // lapin drops what has arrived before recover-ok: look without a consumer.
        let cancel = Default::default();
        channel.basic_cancel(consumer.tag(), cancel).await.unwrap();
        channel.basic_recover(options).await.unwrap();
        assert_eq!(rest(&rig.connection).await, redelivered(&["1", "3", "4"]));
        assert!(consumer.next().await.is_none());

        let (channel, consumer, _held) = holding(&rig.connection, 2).await;
        let options = BasicRecoverAsyncOptions { requeue: true };
        let cancel = Default::default();
        channel.basic_cancel(consumer.tag(), cancel).await.unwrap();
        channel.basic_recover_async(options).await.unwrap();
        channel.settle().await;
        assert_eq!(rest(&rig.connection).await, redelivered(&["1", "2"]));
    });
}

#[test]
fn a6_11_recover_without_requeue_is_not_implemented() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        let options = BasicRecoverOptions { requeue: false };
        let error = channel.basic_recover(options).await.unwrap_err();
        let text = "NOT_IMPLEMENTED - requeue=false".to_owned();
        assert_eq!(fault(&error), (540, text));
    });
}

#[test]
fn a6_what_a_lost_connection_held_comes_back_in_order() {
    run(async {
        let rig = Rig::start().await;
        let mut lost = crate::support::raw::RawClient::open(rig.broker.address());
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        for number in 1..=100 {
            channel.publish("", "q", &number.to_string()).await;
        }
        // The other client takes them all, and is gone without a word.
        lost.take_from("q", 100);
        assert_eq!(channel.counts("q").await, (0, 1));
        let mut consumer = channel.consume("q").await;
        drop(lost);
        for number in 1..=100 {
            let delivery = next(&mut consumer).await;
            assert_eq!(text(&delivery), number.to_string());
            assert!(delivery.redelivered);
        }
    });
}
