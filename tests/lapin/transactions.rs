//! Transactions (A5.5): what a commit does at once, and what a crash leaves of it.

use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions, QueueDeclareOptions,
};

use crate::client::{Chan, Rig, next, persistent, run, string, text};

#[test]
fn a5_5_a_commit_acks_rejects_and_requeues_in_one() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        channel.queue("dead").await;
        let arguments = [
            ("x-dead-letter-exchange", string("")),
            ("x-dead-letter-routing-key", string("dead")),
        ];
        let options = QueueDeclareOptions::default();
        let declared = channel.queue_with("q", options, &arguments).await;
        declared.unwrap();
        for body in ["acked", "rejected", "requeued"] {
            channel.publish("", "q", body).await;
        }
        channel.tx_select().await.unwrap();
        let acked = channel.get("q").await.unwrap();
        let rejected = channel.get("q").await.unwrap();
        let requeued = channel.get("q").await.unwrap();
        // The rejects first: they must not make the channel forget where the requeued came from.
        let forever = BasicRejectOptions { requeue: false };
        rejected.reject(forever).await.unwrap();
        let back = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        requeued.nack(back).await.unwrap();
        acked.ack(BasicAckOptions::default()).await.unwrap();
        channel.tx_commit().await.unwrap();
        assert_eq!(channel.take_all("q").await, ["requeued"]);
        assert_eq!(channel.take_all("dead").await, ["rejected"]);
    });
}

#[test]
fn a5_5_a_commit_lets_all_consumers_of_the_channel_go_on() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        for queue in ["a", "b"] {
            channel.queue(queue).await;
            channel.publish("", queue, queue).await;
        }
        channel.tx_select().await.unwrap();
        let shared = BasicQosOptions { global: true };
        channel.basic_qos(1, shared).await.unwrap();
        let mut first = channel.consume("a").await;
        let mut second = channel.consume("b").await;
        let delivery = next(&mut first).await;
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        channel.tx_commit().await.unwrap();
        assert_eq!(text(&next(&mut second).await), "b");
    });
}

#[test]
fn a5_5_after_a_crash_a_commit_has_moved_its_message_or_not() {
    const COUNT: usize = 400;
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        for queue in ["from", "to", "copy"] {
            channel.durable(queue).await;
        }
        for number in 0..COUNT {
            let body = number.to_string();
            channel.publish_with("", "from", &body, persistent()).await;
        }
        let mover = rig.channel().await;
        mover.tx_select().await.unwrap();
        for _ in 0..COUNT / 2 {
            let got = mover.get("from").await.unwrap();
            for queue in ["to", "copy"] {
                let body = text(&got);
                mover.publish_with("", queue, &body, persistent()).await;
            }
            got.ack(BasicAckOptions::default()).await.unwrap();
            mover.tx_commit().await.unwrap();
        }
        // One more, of which nothing may be left.
        let got = mover.get("from").await.unwrap();
        mover
            .publish_with("", "to", &text(&got), persistent())
            .await;
        got.ack(BasicAckOptions::default()).await.unwrap();
        let rig = rig.crash().await;
        let channel = rig.channel().await;
        let numbers =
            |range: std::ops::Range<usize>| range.map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(channel.take_all("from").await, numbers(COUNT / 2..COUNT));
        assert_eq!(channel.take_all("to").await, numbers(0..COUNT / 2));
        assert_eq!(channel.take_all("copy").await, numbers(0..COUNT / 2));
    });
}
