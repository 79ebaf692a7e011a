//! What outlives the broker, and what must not (A3.17, A4.3, A4.5, A5.4).

use lapin::ExchangeKind::{Direct, Topic};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
    ExchangeBindOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::AMQPValue::LongInt;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};

use crate::client::{Chan, Rig, arrived, next, ok, persistent, refused, run, string, table, text};

const DURABLE: ExchangeDeclareOptions = ExchangeDeclareOptions {
    passive: false,
    durable: true,
    auto_delete: false,
    internal: false,
    nowait: false,
};

/// Publishes without waiting for each confirm, and then waits for all.
async fn publish_numbers(channel: &Chan, queue: &str, count: usize) {
    let mut confirms = Vec::new();
    for number in 0..count {
        let (exchange, options) = ("".into(), BasicPublishOptions::default());
        let body = number.to_string();
        let sent = channel.basic_publish(
            exchange,
            queue.into(),
            options,
            body.as_bytes(),
            persistent(),
        );
        confirms.push(sent.await.unwrap());
    }
    for confirm in confirms {
        assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
    }
}

/// Consumes `count` messages, acks them all, and checks that nothing follows.
async fn consume_numbers(channel: &Chan, queue: &str, count: usize, redelivered: bool) {
    let declared = channel.durable(queue).await;
    assert_eq!(declared.message_count() as usize, count);
    let mut consumer = channel.consume(queue).await;
    for number in 0..count {
        let delivery = next(&mut consumer).await;
        assert_eq!(text(&delivery), number.to_string());
        assert_eq!(delivery.redelivered, redelivered, "{number}");
        if number + 1 == count {
            delivery
                .ack(BasicAckOptions { multiple: true })
                .await
                .unwrap();
        }
    }
    channel.settle().await;
    assert_eq!(arrived(&mut consumer).await, None);
}

#[test]
fn ten_thousand_persistent_messages_outlive_a_stop() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        publish_numbers(&channel, "q", 10_000).await;
        let rig = rig.restart().await;
        consume_numbers(&rig.channel().await, "q", 10_000, false).await;
        // The acks outlive it, too.
        let rig = rig.restart().await;
        assert_eq!(rig.channel().await.counts("q").await, (0, 0));
    });
}

#[test]
fn ten_thousand_persistent_messages_outlive_a_kill() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        publish_numbers(&channel, "q", 10_000).await;
        let rig = rig.crash().await;
        // Nobody knows whether they were delivered.
        consume_numbers(&rig.channel().await, "q", 10_000, true).await;
    });
}

#[test]
fn a3_17_durable_topology_outlives_a_stop_and_nothing_else_does() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let spare = [("alternate-exchange", string("spare"))];
        channel
            .exchange_with("x", Topic, DURABLE, &spare)
            .await
            .unwrap();
        channel
            .exchange_with("spare", Direct, DURABLE, &[])
            .await
            .unwrap();
        channel.exchange("gone-x", Direct).await;
        channel.durable("q").await;
        channel.durable("headers").await;
        channel.queue("gone-q").await;
        let exclusive = QueueDeclareOptions {
            durable: true,
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_with("gone-exclusive", exclusive, &[])
            .await
            .unwrap();
        let named = channel
            .queue_with("", QueueDeclareOptions::durable(), &[])
            .await
            .unwrap();
        let named = named.name().as_str().to_owned();
        channel.bind("q", "x", "a.#").await;
        channel.bind("q", "gone-x", "k").await;
        channel.bind("gone-q", "x", "b").await;
        channel.bind(&named, "spare", "c").await;
        let arguments = [("x-match", string("any")), ("n", LongInt(1))];
        channel
            .bind_with("headers", "amq.headers", "", &arguments)
            .await
            .unwrap();
        let options = ExchangeBindOptions::default();
        let none = FieldTable::default();
        let (to, from, key) = ("amq.headers".into(), "x".into(), "h".into());
        channel
            .exchange_bind(to, from, key, options, none)
            .await
            .unwrap();

        let rig = rig.restart().await;
        let channel = Chan::confirming(&rig.connection).await;
        // As it was, with its arguments.
        channel
            .exchange_with("x", Topic, DURABLE, &spare)
            .await
            .unwrap();
        for gone in ["gone-q", "gone-exclusive"] {
            let text = format!("NOT_FOUND - no queue '{gone}' in vhost '/'");
            refused(&rig.connection, 404, &text, async |c| c.find(gone).await).await;
        }
        let text = "NOT_FOUND - no exchange 'gone-x' in vhost '/'";
        refused(&rig.connection, 404, text, async |c| {
            c.bind_with("q", "gone-x", "", &[]).await
        })
        .await;
        let headers = BasicProperties::default().with_headers(table(&[("n", LongInt(1))]));
        for (key, body) in [
            ("a", "1"),
            ("a.b", "2"),
            ("b", "none"),
            ("c", "3"),
            ("h", "4"),
        ] {
            channel.publish_with("x", key, body, headers.clone()).await;
        }
        assert_eq!(channel.take_all("q").await, ["1", "2"]);
        assert_eq!(channel.take_all(&named).await, ["3"]);
        assert_eq!(channel.take_all("headers").await, ["4"]);
        // Names that are free again may be taken for something else.
        channel.durable("gone-q").await;
        channel.exchange("gone-x", Topic).await;
        // New server-named queues do not meet old ones.
        assert_ne!(channel.queue("").await.name().as_str(), named);
    });
}

#[test]
fn a5_4_transient_messages_and_queues_end_with_the_broker() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        channel.queue("transient").await;
        for (body, properties) in [
            ("1", persistent()),
            ("2", BasicProperties::default()),
            ("3", BasicProperties::default().with_delivery_mode(1)),
            ("4", persistent()),
        ] {
            channel.publish_with("", "q", body, properties).await;
        }
        channel
            .publish_with("", "transient", "1", persistent())
            .await;
        let rig = rig.restart().await;
        let channel = rig.channel().await;
        assert_eq!(channel.take_all("q").await, ["1", "4"]);
        // The queue itself is gone, and the message does not come back with its name.
        assert_eq!(channel.durable("transient").await.message_count(), 0);
    });
}

#[test]
fn what_was_out_at_a_clean_stop_is_marked_and_the_rest_is_not() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        publish_numbers(&channel, "q", 10).await;
        let consuming = rig.channel().await;
        consuming.prefetch(4).await;
        let mut consumer = consuming.consume("q").await;
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(next(&mut consumer).await);
        }
        // 1 is gone for good, 2 was given back; 0, 3 and what came for them are still out.
        held[1].ack(BasicAckOptions::default()).await.unwrap();
        let requeue = BasicNackOptions {
            requeue: true,
            multiple: false,
        };
        consuming
            .basic_cancel(consumer.tag(), Default::default())
            .await
            .unwrap();
        held[2].nack(requeue).await.unwrap();
        consuming.settle().await;
        let mut out: Vec<String> = held.iter().map(text).collect();
        // What was handed over before the cancel may be among them.
        while let Some(body) = arrived_before_cancel(&mut consumer).await {
            out.push(body);
        }
        let rig = rig.restart().await;
        let channel = rig.channel().await;
        let mut found = Vec::new();
        while let Some(got) = channel.get("q").await {
            assert_eq!(got.redelivered, out.contains(&text(&got)), "{}", text(&got));
            found.push(text(&got));
        }
        assert_eq!(found, ["0", "2", "3", "4", "5", "6", "7", "8", "9"]);
    });
}

async fn arrived_before_cancel(consumer: &mut lapin::Consumer) -> Option<String> {
    use futures_lite::StreamExt;
    Some(text(&consumer.next().await?.unwrap()))
}

#[test]
fn a_priority_queue_keeps_its_order_over_a_restart() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let arguments = [("x-max-priority", LongInt(3))];
        let options = QueueDeclareOptions::durable();
        channel.queue_with("q", options, &arguments).await.unwrap();
        for (body, priority) in [("a", 0), ("b", 2), ("c", 9), ("d", 2), ("e", 0), ("f", 3)] {
            let properties = persistent().with_priority(priority);
            channel.publish_with("", "q", body, properties).await;
        }
        let rig = rig.restart().await;
        let channel = rig.channel().await;
        // Still the same queue.
        channel.queue_with("q", options, &arguments).await.unwrap();
        assert_eq!(channel.take_all("q").await, ["c", "f", "b", "d", "a", "e"]);
    });
}

#[test]
fn messages_come_back_whole() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.durable("q").await;
        channel
            .exchange_with("x", Direct, DURABLE, &[])
            .await
            .unwrap();
        channel.bind("q", "x", "key").await;
        let properties = persistent()
            .with_message_id("m".into())
            .with_headers(table(&[("text", string("grün")), ("n", LongInt(-1))]));
        let bodies = ["".to_owned(), "small".to_owned(), "large".repeat(300_000)];
        for body in &bodies {
            channel
                .publish_with("x", "key", body, properties.clone())
                .await;
        }
        let rig = rig.restart().await;
        let rig = rig.crash().await;
        let channel = rig.channel().await;
        for body in &bodies {
            let got = channel.get("q").await.unwrap();
            assert!(got.data == body.as_bytes(), "{} octets differ", body.len());
            assert_eq!(
                (got.exchange.as_str(), got.routing_key.as_str()),
                ("x", "key")
            );
            assert_eq!(got.properties, properties);
        }
    });
}

#[test]
fn what_is_deleted_or_purged_or_taken_does_not_come_back() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        for queue in ["deleted", "purged", "no-ack", "anew"] {
            channel.durable(queue).await;
            publish_numbers(&channel, queue, 10).await;
        }
        channel
            .queue_delete("deleted".into(), Default::default())
            .await
            .unwrap();
        channel
            .queue_purge("purged".into(), Default::default())
            .await
            .unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let mut consumer = channel.consume_with("no-ack", options, &[]).await.unwrap();
        for _ in 0..10 {
            next(&mut consumer).await;
        }
        channel
            .queue_delete("anew".into(), Default::default())
            .await
            .unwrap();
        channel.durable("anew").await;
        publish_numbers(&channel, "anew", 3).await;
        rig.connection.close(200, ok()).await.unwrap();

        let rig = rig.restart().await;
        let channel = rig.channel().await;
        let text = "NOT_FOUND - no queue 'deleted' in vhost '/'";
        refused(&rig.connection, 404, text, async |c| {
            c.find("deleted").await
        })
        .await;
        assert_eq!(channel.counts("purged").await, (0, 0));
        assert_eq!(channel.counts("no-ack").await, (0, 0));
        assert_eq!(channel.take_all("anew").await, ["0", "1", "2"]);
    });
}
