//! Consuming: prefetch, turns, exclusive use, cancelling (A6).

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions,
    QueueDeleteOptions,
};

use crate::client::{Chan, Rig, arrived, next, next_texts, refused, run, text};

const GLOBAL: BasicQosOptions = BasicQosOptions { global: true };

/// A channel with confirms, and `count` messages in `q`: "1", "2", and so on.
async fn with_messages(rig: &Rig, count: usize) -> Chan {
    let channel = Chan::confirming(&rig.connection).await;
    channel.queue("q").await;
    for number in 1..=count {
        channel.publish("", "q", &number.to_string()).await;
    }
    channel
}

#[test]
fn a6_1_prefetch_holds_for_each_consumer_that_starts_later() {
    run(async {
        let rig = Rig::start().await;
        with_messages(&rig, 10).await;
        let channel = rig.channel().await;
        channel.prefetch(2).await;
        let mut first = channel.consume("q").await;
        // Does not change the one that runs.
        channel.prefetch(3).await;
        let mut second = channel.consume("q").await;
        let one = next(&mut first).await;
        let two = next(&mut first).await;
        assert_eq!(next_texts(&mut second, 3).await, ["3", "4", "5"]);
        channel.settle().await;
        assert_eq!(
            (arrived(&mut first).await, arrived(&mut second).await),
            (None, None)
        );
        assert_eq!(channel.counts("q").await, (5, 2));
        // Room for one, and one comes; then for another.
        one.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(text(&next(&mut first).await), "6");
        two.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(text(&next(&mut first).await), "7");
        channel.settle().await;
        assert_eq!(
            (arrived(&mut first).await, arrived(&mut second).await),
            (None, None)
        );
    });
}

#[test]
fn a6_1_without_prefetch_everything_comes() {
    run(async {
        let rig = Rig::start().await;
        with_messages(&rig, 1000).await;
        let channel = rig.channel().await;
        let mut consumer = channel.consume("q").await;
        let expected: Vec<_> = (1..=1000).map(|number| number.to_string()).collect();
        assert_eq!(next_texts(&mut consumer, 1000).await, expected);
        assert_eq!(channel.counts("q").await, (0, 1));
    });
}

#[test]
fn a6_2_global_prefetch_is_shared_by_the_channel_and_changes_at_once() {
    run(async {
        let rig = Rig::start().await;
        with_messages(&rig, 10).await;
        let channel = rig.channel().await;
        channel.queue("other").await;
        channel.basic_qos(3, GLOBAL).await.unwrap();
        let mut first = channel.consume("q").await;
        let mut second = channel.consume("other").await;
        assert_eq!(next_texts(&mut first, 2).await, ["1", "2"]);
        let third = next(&mut first).await;
        channel.publish("", "other", "o").await;
        channel.settle().await;
        assert_eq!(
            (arrived(&mut first).await, arrived(&mut second).await),
            (None, None)
        );
        // Raised by one: one more, from whichever queue; then all of the rest.
        channel.basic_qos(4, GLOBAL).await.unwrap();
        channel.settle().await;
        let came = [arrived(&mut first).await, arrived(&mut second).await];
        assert_eq!(came.iter().flatten().count(), 1, "{came:?}");
        channel.basic_qos(0, GLOBAL).await.unwrap();
        channel.settle().await;
        assert_eq!(channel.counts("q").await, (0, 1));
        assert_eq!(channel.counts("other").await, (0, 1));
        third.ack(BasicAckOptions { multiple: true }).await.unwrap();
    });
}

#[test]
fn a6_3_no_ack_is_not_counted_and_gone_at_once() {
    run(async {
        let rig = Rig::start().await;
        with_messages(&rig, 10).await;
        let channel = rig.channel().await;
        channel.prefetch(1).await;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let mut consumer = channel.consume_with("q", options, &[]).await.unwrap();
        assert_eq!(next_texts(&mut consumer, 10).await.len(), 10);
        channel.close(200, "OK".into()).await.unwrap();
        let channel = rig.channel().await;
        assert_eq!(channel.counts("q").await, (0, 0));
    });
}

#[test]
fn a6_4_consumers_take_turns() {
    run(async {
        let rig = Rig::start().await;
        let publishing = with_messages(&rig, 0).await;
        let other = rig.connect().await;
        let channels = [rig.channel().await, Chan::open(&other).await];
        let mut consumers = Vec::new();
        for channel in &channels {
            for _ in 0..2 {
                consumers.push(channel.consume("q").await);
            }
        }
        for number in 1..=40 {
            publishing.publish("", "q", &number.to_string()).await;
        }
        for consumer in &mut consumers {
            assert_eq!(next_texts(consumer, 10).await.len(), 10);
        }
        for (channel, consumer) in channels.iter().zip(consumers.chunks_mut(2)) {
            channel.settle().await;
            assert_eq!(arrived(&mut consumer[0]).await, None);
            assert_eq!(arrived(&mut consumer[1]).await, None);
        }
    });
}

#[test]
fn a6_6_an_exclusive_consumer_is_alone() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_messages(&rig, 0).await;
        let exclusive = BasicConsumeOptions {
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel.consume_with("q", exclusive, &[]).await.unwrap();
        let text = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
        for options in [exclusive, BasicConsumeOptions::default()] {
            refused(&rig.connection, 403, text, async |c| {
                c.consume_with("q", options, &[]).await
            })
            .await;
        }
        let options = BasicCancelOptions::default();
        channel.basic_cancel(consumer.tag(), options).await.unwrap();
        let _consumer = channel.consume("q").await;
        refused(&rig.connection, 403, text, async |c| {
            c.consume_with("q", exclusive, &[]).await
        })
        .await;
    });
}

#[test]
fn a6_7_a_consumer_is_told_when_its_queue_goes() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_messages(&rig, 3).await;
        let other = rig.connect().await;
        let consuming = Chan::open(&other).await;
        consuming.prefetch(1).await;
        let mut consumer = consuming.consume("q").await;
        let unacked = next(&mut consumer).await;
        let options = QueueDeleteOptions::default();
        assert_eq!(channel.queue_delete("q".into(), options).await.unwrap(), 2);
        assert!(consumer.next().await.is_none());
        // What it still holds can be acked, to no effect; the channel lives.
        consuming
            .basic_ack(unacked.delivery_tag, BasicAckOptions::default())
            .await
            .unwrap();
        consuming.queue("q").await;
        assert_eq!(consuming.counts("q").await, (0, 0));
    });
}

#[test]
fn a6_8_cancelling_keeps_what_is_unacked() {
    run(async {
        let rig = Rig::start().await;
        with_messages(&rig, 5).await;
        let channel = rig.channel().await;
        channel.prefetch(2).await;
        let mut consumer = channel.consume("q").await;
        let (one, _two) = (next(&mut consumer).await, next(&mut consumer).await);
        let options = BasicCancelOptions::default();
        channel.basic_cancel(consumer.tag(), options).await.unwrap();
        assert_eq!(channel.counts("q").await, (3, 0));
        channel
            .basic_ack(one.delivery_tag, BasicAckOptions::default())
            .await
            .unwrap();
        channel.settle().await;
        assert_eq!(channel.counts("q").await, (3, 0));
        channel.close(200, "OK".into()).await.unwrap();
        // The other one went back to the front.
        let channel = rig.channel().await;
        assert_eq!(channel.take_all("q").await, ["2", "3", "4", "5"]);
    });
}

#[test]
fn a6_9_get_counts_what_is_left() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_messages(&rig, 2).await;
        let got = channel.get("q").await.unwrap();
        assert_eq!(
            (text(&got).as_str(), got.message_count, got.redelivered),
            ("1", 1, false)
        );
        assert_eq!((got.exchange.as_str(), got.routing_key.as_str()), ("", "q"));
        let options = BasicGetOptions { no_ack: true };
        let got = channel
            .basic_get("q".into(), options)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((text(&got).as_str(), got.message_count), ("2", 0));
        assert!(channel.get("q").await.is_none());
    });
}

#[test]
fn a6_18_consumer_tags() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_messages(&rig, 0).await;
        let consumer = channel.consume("q").await;
        assert!(
            consumer.tag().as_str().starts_with("amq.ctag-"),
            "{}",
            consumer.tag()
        );
        let consume = async |channel: &Chan| {
            let (options, none) = (BasicConsumeOptions::default(), Default::default());
            channel
                .basic_consume("q".into(), "tag".into(), options, none)
                .await
        };
        let consumer = consume(&channel).await.unwrap();
        assert_eq!(consumer.tag().as_str(), "tag");
        // The same tag on another channel is another consumer.
        let second = rig.channel().await;
        let _consumer = consume(&second).await.unwrap();
        let other = rig.connect().await;
        let text = "NOT_ALLOWED - attempt to reuse consumer tag 'tag'";
        refused(&other, 530, text, async |channel| {
            let _first = consume(channel).await.unwrap();
            consume(channel).await
        })
        .await;
        assert!(!other.status().connected());
    });
}
