//! Declaring, deleting and purging queues (A4, and their faults of A2).

use futures_lite::StreamExt;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::AMQPValue::{self, LongInt};

use crate::client::{Chan, Rig, next, ok, refused, run, string};

const NO_Q: &str = "NOT_FOUND - no queue 'q' in vhost '/'";

async fn delete(channel: &Chan, if_unused: bool, if_empty: bool) -> lapin::Result<u32> {
    let options = QueueDeleteOptions {
        if_unused,
        if_empty,
        nowait: false,
    };
    channel.queue_delete("q".into(), options).await
}

async fn purge(channel: &Chan) -> lapin::Result<u32> {
    let options = QueuePurgeOptions::default();
    channel.queue_purge("q".into(), options).await
}

#[test]
fn a4_1_declare_ok_counts_what_is_ready_and_who_consumes() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let queue = channel.queue("q").await;
        assert_eq!((queue.message_count(), queue.consumer_count()), (0, 0));
        for body in ["1", "2", "3"] {
            channel.publish("", "q", body).await;
        }
        let got = channel.get("q").await.unwrap();
        assert_eq!(got.message_count, 2);
        let queue = channel.queue("q").await;
        assert_eq!((queue.message_count(), queue.consumer_count()), (2, 0));
        channel.prefetch(1).await;
        let mut consumer = channel.consume("q").await;
        next(&mut consumer).await;
        assert_eq!(channel.counts("q").await, (1, 1));
    });
}

#[test]
fn a4_2_the_broker_makes_up_a_name() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        let (a, b) = (channel.queue("").await, channel.queue("").await);
        assert!(a.name().as_str().starts_with("amq.gen-"), "{}", a.name());
        assert_ne!(a.name(), b.name());
        // The empty name is the last queue from now on.
        channel.publish("", b.name().as_str(), "1").await;
        assert_eq!(channel.take_all("").await, ["1"]);
        let text = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
        refused(&rig.connection, 403, text, async |c| {
            c.queue_with("amq.mine", QueueDeclareOptions::default(), &[])
                .await
        })
        .await;
    });
}

#[test]
fn a4_3_an_exclusive_queue_is_for_its_connection() {
    run(async {
        let rig = Rig::start().await;
        let other = rig.connect().await;
        let mine = rig.channel().await;
        let exclusive = QueueDeclareOptions::exclusive();
        mine.queue_with("q", exclusive, &[]).await.unwrap();
        // Another channel of the same connection may do everything.
        let second = rig.channel().await;
        second.queue_with("q", exclusive, &[]).await.unwrap();
        second.bind("q", "amq.fanout", "").await;
        second.publish("", "q", "1").await;

        let text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost \
                    '/'. It could be originally declared on another connection or the exclusive \
                    property value does not match that of the original declaration.";
        refused(&other, 405, text, async |c| {
            c.queue_with("q", exclusive, &[]).await
        })
        .await;
        refused(&other, 405, text, async |c| {
            c.queue_with("q", QueueDeclareOptions::default(), &[]).await
        })
        .await;
        refused(&other, 405, text, async |c| c.find("q").await).await;
        refused(&other, 405, text, async |c| {
            c.bind_with("q", "amq.direct", "k", &[]).await
        })
        .await;
        refused(&other, 405, text, async |c| {
            c.consume_with("q", BasicConsumeOptions::default(), &[])
                .await
        })
        .await;
        refused(&other, 405, text, async |c| {
            c.basic_get("q".into(), BasicGetOptions::default()).await
        })
        .await;
        refused(&other, 405, text, async |c| purge(c).await).await;
        refused(&other, 405, text, async |c| delete(c, false, false).await).await;
        // Anyone may publish to it.
        Chan::confirming(&other).await.publish("", "q", "2").await;
        assert_eq!(mine.take_all("q").await, ["1", "2"]);

        rig.connection.close(200, ok()).await.unwrap();
        refused(&other, 404, NO_Q, async |c| c.find("q").await).await;
    });
}

#[test]
fn a4_4_an_auto_delete_queue_goes_with_its_last_consumer() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let options = QueueDeclareOptions::default().auto_delete();
        channel.queue_with("q", options, &[]).await.unwrap();
        // Neither time nor a get ends it, as long as nobody has consumed.
        channel.publish("", "q", "1").await;
        channel.get("q").await.unwrap();
        let (first, second) = (channel.consume("q").await, channel.consume("q").await);
        let cancel = BasicCancelOptions::default();
        channel.basic_cancel(first.tag(), cancel).await.unwrap();
        assert_eq!(channel.counts("q").await, (0, 1));
        channel.basic_cancel(second.tag(), cancel).await.unwrap();
        refused(&rig.connection, 404, NO_Q, async |c| c.find("q").await).await;

        // The end of the channel or of the connection counts as well.
        let channel = rig.channel().await;
        channel.queue_with("q", options, &[]).await.unwrap();
        let _consumer = channel.consume("q").await;
        channel.close(200, ok()).await.unwrap();
        refused(&rig.connection, 404, NO_Q, async |c| c.find("q").await).await;
        let other = rig.connect().await;
        let channel = Chan::open(&other).await;
        channel.queue_with("q", options, &[]).await.unwrap();
        let _consumer = channel.consume("q").await;
        other.close(200, ok()).await.unwrap();
        refused(&rig.connection, 404, NO_Q, async |c| c.find("q").await).await;
    });
}

#[test]
fn a4_8_purge_drops_what_is_ready_only() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        for body in ["1", "2", "3"] {
            channel.publish("", "q", body).await;
        }
        let got = channel.get("q").await.unwrap();
        assert_eq!(purge(&channel).await.unwrap(), 2);
        assert_eq!(purge(&channel).await.unwrap(), 0);
        got.reject(lapin::options::BasicRejectOptions { requeue: true })
            .await
            .unwrap();
        assert_eq!(channel.take_all("q").await, ["1"]);
        refused(
            &rig.connection,
            404,
            "NOT_FOUND - no queue 'absent' in vhost '/'",
            async |c| {
                c.queue_purge("absent".into(), QueuePurgeOptions::default())
                    .await
            },
        )
        .await;
    });
}

#[test]
fn a4_9_delete_under_conditions() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        channel.publish("", "q", "1").await;
        channel.publish("", "q", "2").await;
        let text = "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty";
        refused(&rig.connection, 406, text, async |c| {
            delete(c, true, true).await
        })
        .await;
        channel.prefetch(1).await;
        let mut consumer = channel.consume("q").await;
        next(&mut consumer).await;
        let text = "PRECONDITION_FAILED - queue 'q' in vhost '/' in use";
        refused(&rig.connection, 406, text, async |c| {
            delete(c, true, false).await
        })
        .await;
        assert_eq!(delete(&channel, false, false).await.unwrap(), 1);
        refused(&rig.connection, 404, NO_Q, async |c| c.find("q").await).await;
        // A second time it is no error.
        assert_eq!(delete(&channel, true, true).await.unwrap(), 0);
        // The consumer was told (A6.7).
        assert!(consumer.next().await.is_none());
        // A queue of the same name is another one.
        channel.queue("q").await;
        assert_eq!(channel.counts("q").await, (0, 0));
    });
}

#[test]
fn a2_404_a_queue_that_is_not_there() {
    run(async {
        let rig = Rig::start().await;
        let connection = &rig.connection;
        refused(connection, 404, NO_Q, async |c| c.find("q").await).await;
        refused(connection, 404, NO_Q, async |c| {
            c.bind_with("q", "amq.direct", "", &[]).await
        })
        .await;
        refused(connection, 404, NO_Q, async |c| {
            c.consume_with("q", BasicConsumeOptions::default(), &[])
                .await
        })
        .await;
        refused(connection, 404, NO_Q, async |c| {
            c.basic_get("q".into(), BasicGetOptions::default()).await
        })
        .await;
        let text = "NOT_FOUND - no previously declared queue";
        refused(connection, 404, text, async |c| {
            c.basic_get("".into(), BasicGetOptions::default()).await
        })
        .await;
    });
}

#[test]
fn a2_406_a_redeclaration_must_be_the_same() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        let durable = QueueDeclareOptions::durable();
        let five = [
            ("x-max-priority", LongInt(5)),
            ("x-unknown", string("kept")),
        ];
        channel.queue_with("q", durable, &five).await.unwrap();
        channel.queue_with("q", durable, &five).await.unwrap();
        // The width of an integer does not matter, nor does an argument nobody knows.
        let wide = [("x-max-priority", AMQPValue::LongLongInt(5))];
        channel.queue_with("q", durable, &wide).await.unwrap();

        let differs = async |what: &str, options, arguments: &[(&str, AMQPValue)]| {
            let text = format!("PRECONDITION_FAILED - inequivalent arg {what}");
            refused(&rig.connection, 406, &text, async |c| {
                c.queue_with("q", options, arguments).await
            })
            .await;
        };
        let text = "'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
        differs(text, QueueDeclareOptions::default(), &five).await;
        let text =
            "'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'";
        differs(text, durable.auto_delete(), &five).await;
        let text = "'x-max-priority' for queue 'q' in vhost '/': received none but current is the \
                    value '5' of type 'signedint'";
        differs(text, durable, &[]).await;
        let text = "'x-max-priority' for queue 'q' in vhost '/': received '6' but current is '5'";
        differs(text, durable, &[("x-max-priority", LongInt(6))]).await;

        channel.durable("plain").await;
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'plain' in \
                    vhost '/': received the value '5' of type 'signedint' but current is none";
        refused(&rig.connection, 406, text, async |c| {
            c.queue_with("plain", durable, &five).await
        })
        .await;
    });
}

#[test]
fn a2_406_arguments_that_cannot_be() {
    run(async {
        let rig = Rig::start().await;
        let options = QueueDeclareOptions::durable();
        for (value, why) in [
            (LongInt(-1), "{value_negative,-1}"),
            (LongInt(256), "{max_value_exceeded,256}"),
            (string("high"), "\"expected integer, got longstr\""),
        ] {
            let text = format!(
                "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/': \
                 {why}"
            );
            let arguments = [("x-max-priority", value)];
            refused(&rig.connection, 406, &text, async |c| {
                c.queue_with("q", options, &arguments).await
            })
            .await;
        }
        refused(&rig.connection, 404, NO_Q, async |c| c.find("q").await).await;
    });
}
