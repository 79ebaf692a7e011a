//! Publishing: confirms, returns, sizes, priorities (A5).

use futures_lite::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::AMQPValue::{self, LongInt};
use lapin::{BasicProperties, Confirmation};

use crate::client::{Chan, Rig, next, next_texts, persistent, refused, run, string, table, text};

const MANDATORY: BasicPublishOptions = BasicPublishOptions {
    mandatory: true,
    immediate: false,
};

#[test]
fn a5_2_each_publish_is_confirmed() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        // A second time is no error.
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        channel.queue("transient").await;
        channel.durable("durable").await;
        for queue in ["transient", "durable", "absent"] {
            for properties in [BasicProperties::default(), persistent()] {
                let confirm = channel.send("", queue, "1", properties).await.unwrap();
                assert_eq!(confirm, Confirmation::Ack(None));
            }
        }
        assert_eq!(channel.counts("durable").await.0, 2);
    });
}

#[test]
fn a5_2_many_in_flight_are_all_confirmed() {
    const COUNT: usize = 5_000;
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        channel.queue("other").await;
        channel.bind("q", "amq.fanout", "").await;
        channel.bind("other", "amq.fanout", "").await;
        let mut confirms = Vec::new();
        for number in 0..COUNT {
            let properties = [BasicProperties::default(), persistent()][number % 2].clone();
            let body = number.to_string();
            let sent = channel.basic_publish(
                "amq.fanout".into(),
                "".into(),
                MANDATORY,
                body.as_bytes(),
                properties,
            );
            confirms.push(sent.await.unwrap());
        }
        for confirm in confirms {
            assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
        }
        for queue in ["q", "other"] {
            assert_eq!(channel.counts(queue).await.0 as usize, COUNT);
            let mut consumer = channel.consume(queue).await;
            let expected: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
            assert_eq!(next_texts(&mut consumer, COUNT).await, expected);
        }
    });
}

#[test]
fn a5_2_a_mandatory_message_that_goes_nowhere_comes_back_before_its_ack() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        let properties = persistent()
            .with_message_id("m-1".into())
            .with_headers(table(&[("n", LongInt(1)), ("s", string("x"))]));
        // lapin gives the message that was returned before the ack.
        let (exchange, key) = ("amq.direct".into(), "nowhere".into());
        let sent = channel.basic_publish(exchange, key, MANDATORY, b"body", properties.clone());
        let confirm = sent.await.unwrap().await.unwrap();
        let Confirmation::Ack(Some(returned)) = confirm else {
            panic!("not returned: {confirm:?}");
        };
        assert_eq!(
            (returned.reply_code, returned.reply_text.as_str()),
            (312, "NO_ROUTE")
        );
        assert_eq!(
            (returned.exchange.as_str(), returned.routing_key.as_str()),
            ("amq.direct", "nowhere")
        );
        assert_eq!(returned.data, b"body");
        assert_eq!(returned.properties, properties);
        // To the queue, and not back.
        let sent = channel.basic_publish("".into(), "q".into(), MANDATORY, b"1", persistent());
        assert_eq!(sent.await.unwrap().await.unwrap(), Confirmation::Ack(None));
        assert_eq!(channel.take_all("q").await, ["1"]);
    });
}

#[test]
fn a5_2_returns_belong_to_their_messages() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        let mut confirms = Vec::new();
        for number in 0..300 {
            let key = ["q", "nowhere", "else"][number % 3];
            let body = number.to_string();
            let options = BasicPublishOptions {
                mandatory: number % 3 != 2,
                immediate: false,
            };
            let none = BasicProperties::default();
            let sent = channel.basic_publish("".into(), key.into(), options, body.as_bytes(), none);
            confirms.push(sent.await.unwrap());
        }
        let mut returned = Vec::new();
        for confirm in confirms {
            let confirm = confirm.await.unwrap();
            assert!(confirm.is_ack());
            returned.extend(confirm.take_message().map(|message| text(&message)));
        }
        returned.sort_by_key(|body| body.parse::<u32>().unwrap());
        let expected: Vec<_> = (0..300)
            .filter(|n| n % 3 == 1)
            .map(|n| n.to_string())
            .collect();
        assert_eq!(returned, expected);
        assert_eq!(channel.counts("q").await.0, 100);
    });
}

#[test]
fn a5_properties_pass_through_unchanged() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        let inner = table(&[("deep", LongInt(-5)), ("flag", AMQPValue::Boolean(true))]);
        let headers = [
            ("text", string("grün")),
            ("table", AMQPValue::FieldTable(inner)),
            ("void", AMQPValue::Void),
            ("double", AMQPValue::Double(0.5)),
            ("time", AMQPValue::Timestamp(1_700_000_000)),
        ];
        let properties = persistent()
            .with_content_type("text/plain".into())
            .with_content_encoding("utf-8".into())
            .with_headers(table(&headers))
            .with_priority(3)
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_message_id("m".into())
            .with_timestamp(1_700_000_001)
            .with_type("t".into())
            .with_user_id("guest".into())
            .with_app_id("a".into())
            .with_cluster_id("k".into());
        channel.publish_with("", "q", "1", properties.clone()).await;
        let got = channel.get("q").await.unwrap();
        assert_eq!(got.properties, properties);
        assert_eq!(got.data, b"1");
    });
}

#[test]
fn a5_8_priorities_go_first_and_keep_their_order() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let arguments = [("x-max-priority", LongInt(5))];
        let options = QueueDeclareOptions::default();
        channel.queue_with("q", options, &arguments).await.unwrap();
        // 9 counts as 5, and none as 0.
        for (body, priority) in [
            ("a", Some(0)),
            ("b", Some(5)),
            ("c", None),
            ("d", Some(3)),
            ("e", Some(9)),
            ("f", Some(3)),
        ] {
            let properties = BasicProperties::default();
            let properties = match priority {
                Some(priority) => properties.with_priority(priority),
                None => properties,
            };
            channel.publish_with("", "q", body, properties).await;
        }
        let mut consumer = channel.consume("q").await;
        let order = next_texts(&mut consumer, 6).await;
        assert_eq!(order, ["b", "e", "d", "f", "a", "c"]);
    });
}

#[test]
fn a1_11_large_messages_pass_and_larger_ones_do_not() {
    const MIB: usize = 1024 * 1024;
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let other = rig.connect().await;
        let consuming = Chan::open(&other).await;
        consuming.durable("q").await;
        let mut consumer = consuming.consume("q").await;
        for (len, properties) in [
            (0, persistent()),
            (1, persistent()),
            (MIB, persistent()),
            (MIB, BasicProperties::default()),
            (16 * MIB, persistent()),
            (16 * MIB, BasicProperties::default()),
        ] {
            let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let (exchange, key) = ("".into(), "q".into());
            let sent = channel.basic_publish(exchange, key, MANDATORY, &body, properties);
            assert_eq!(sent.await.unwrap().await.unwrap(), Confirmation::Ack(None));
            let delivery = next(&mut consumer).await;
            assert!(delivery.data == body, "{len} octets came back different");
            delivery.ack(Default::default()).await.unwrap();
        }
        let text = "PRECONDITION_FAILED - message size 16777217 is larger than configured max size \
                    16777216";
        refused(&rig.connection, 406, text, async |c| {
            c.confirm_select(ConfirmSelectOptions::default()).await?;
            let body = vec![0; 16 * MIB + 1];
            let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
            c.basic_publish("".into(), "q".into(), options, &body, none)
                .await?
                .await
        })
        .await;
        assert_eq!(consuming.counts("q").await, (0, 1));
    });
}

#[test]
fn a5_2_what_is_published_on_another_connection_arrives_in_order() {
    run(async {
        let rig = Rig::start().await;
        let other = rig.connect().await;
        let consuming = Chan::open(&other).await;
        consuming.queue("q").await;
        let mut consumer = consuming.consume("q").await;
        let channel = rig.channel().await;
        for number in 0..1000 {
            channel.publish("", "q", &number.to_string()).await;
        }
        for number in 0..1000 {
            let delivery = consumer.next().await.unwrap().unwrap();
            assert_eq!(text(&delivery), number.to_string());
            assert!(!delivery.redelivered);
        }
    });
}
