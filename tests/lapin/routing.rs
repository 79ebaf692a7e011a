//! From a message to the right queues, each once (A3.2 to A3.6, A3.12, A3.13).

use lapin::BasicProperties;
use lapin::ExchangeKind::{Direct, Fanout, Headers, Topic};
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, ExchangeUnbindOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Chan, Rig, refused, run, string, table};

/// A channel with confirms and these queues, so that a published message is where it should be.
async fn with_queues(rig: &Rig, names: &[&str]) -> Chan {
    let channel = Chan::confirming(&rig.connection).await;
    for name in names {
        channel.queue(name).await;
    }
    channel
}

#[test]
fn a3_2_direct_goes_by_the_whole_key_and_to_each_queue_once() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["a", "b", "c"]).await;
        channel.exchange("x", Direct).await;
        channel.bind("a", "x", "one").await;
        channel.bind("b", "x", "one").await;
        channel.bind("b", "x", "two").await;
        // The same key twice, with different arguments: two bindings, one message.
        let arguments = [("n", AMQPValue::LongInt(1))];
        channel
            .bind_with("b", "x", "one", &arguments)
            .await
            .unwrap();
        for key in ["one", "two", "three", "on", ""] {
            channel.publish("x", key, key).await;
        }
        assert_eq!(channel.take_all("a").await, ["one"]);
        assert_eq!(channel.take_all("b").await, ["one", "two"]);
        assert!(channel.take_all("c").await.is_empty());
    });
}

#[test]
fn a3_3_fanout_does_not_look_at_the_key() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["a", "b", "c"]).await;
        channel.exchange("x", Fanout).await;
        channel.bind("a", "x", "").await;
        channel.bind("b", "x", "some").await;
        channel.publish("x", "", "1").await;
        channel.publish("x", "other", "2").await;
        assert_eq!(channel.take_all("a").await, ["1", "2"]);
        assert_eq!(channel.take_all("b").await, ["1", "2"]);
        assert!(channel.take_all("c").await.is_empty());
    });
}

#[test]
fn a3_4_topic_goes_by_words() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["star", "hash", "both", "exact"]).await;
        channel.exchange("x", Topic).await;
        channel.bind("star", "x", "a.*").await;
        channel.bind("hash", "x", "a.#").await;
        channel.bind("both", "x", "*.b.#").await;
        channel.bind("both", "x", "#.c").await;
        channel.bind("exact", "x", "a.b").await;
        for key in ["a", "a.b", "a.b.c", "b", "a.", "", "c"] {
            channel.publish("x", key, key).await;
        }
        assert_eq!(channel.take_all("star").await, ["a.b", "a."]);
        assert_eq!(channel.take_all("hash").await, ["a", "a.b", "a.b.c", "a."]);
        assert_eq!(channel.take_all("both").await, ["a.b", "a.b.c", "c"]);
        assert_eq!(channel.take_all("exact").await, ["a.b"]);
    });
}

async fn publish_headers(channel: &Chan, body: &str, headers: &[(&str, AMQPValue)]) {
    let properties = BasicProperties::default().with_headers(table(headers));
    channel.publish_with("x", "", body, properties).await;
}

#[test]
fn a3_5_headers_go_by_values_all_or_any() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["all", "any", "present", "with-x"]).await;
        channel.exchange("x", Headers).await;
        let two = [("kind", string("k")), ("n", AMQPValue::LongInt(7))];
        channel.bind_with("all", "x", "", &two).await.unwrap();
        let mut any = two.to_vec();
        any.push(("x-match", string("any")));
        channel.bind_with("any", "x", "", &any).await.unwrap();
        let present = [("kind", AMQPValue::Void)];
        channel
            .bind_with("present", "x", "", &present)
            .await
            .unwrap();
        let with_x = [
            ("x-match", string("all-with-x")),
            ("x-n", AMQPValue::LongInt(1)),
        ];
        channel.bind_with("with-x", "x", "", &with_x).await.unwrap();

        publish_headers(&channel, "both", &two).await;
        // The width of an integer does not matter.
        let wide = [("kind", string("k")), ("n", AMQPValue::LongLongInt(7))];
        publish_headers(&channel, "wide", &wide).await;
        publish_headers(&channel, "one", &[("n", AMQPValue::LongInt(7))]).await;
        publish_headers(&channel, "other", &[("kind", string("z"))]).await;
        publish_headers(&channel, "x", &[("x-n", AMQPValue::LongInt(1))]).await;
        publish_headers(&channel, "none", &[]).await;
        assert_eq!(channel.take_all("all").await, ["both", "wide"]);
        assert_eq!(channel.take_all("any").await, ["both", "wide", "one"]);
        assert_eq!(channel.take_all("present").await, ["both", "wide", "other"]);
        assert_eq!(channel.take_all("with-x").await, ["x"]);
    });
}

#[test]
fn a3_6_the_default_exchange_knows_every_queue() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["a.b", "#"]).await;
        channel.publish("", "a.b", "1").await;
        channel.publish("", "#", "2").await;
        channel.publish("", "absent", "3").await;
        assert_eq!(channel.take_all("a.b").await, ["1"]);
        assert_eq!(channel.take_all("#").await, ["2"]);
    });
}

#[test]
fn a3_12_an_alternate_exchange_gets_what_goes_nowhere() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["a", "rest"]).await;
        channel.exchange("spare", Fanout).await;
        channel.bind("rest", "spare", "").await;
        let options = ExchangeDeclareOptions::default();
        let alternate = [("alternate-exchange", string("spare"))];
        let declared = channel.exchange_with("x", Direct, options, &alternate);
        declared.await.unwrap();
        channel.bind("a", "x", "a").await;
        channel.publish("x", "a", "1").await;
        channel.publish("x", "b", "2").await;
        assert_eq!(channel.take_all("a").await, ["1"]);
        assert_eq!(channel.take_all("rest").await, ["2"]);
    });
}

async fn bind_exchange(channel: &Chan, destination: &str, source: &str, key: &str) {
    let options = ExchangeBindOptions::default();
    let (destination, source, key) = (destination.into(), source.into(), key.into());
    channel
        .exchange_bind(destination, source, key, options, FieldTable::default())
        .await
        .unwrap();
}

#[test]
fn a3_13_exchanges_are_bound_to_exchanges() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["q"]).await;
        channel.exchange("top", Topic).await;
        channel.exchange("left", Fanout).await;
        channel.exchange("right", Direct).await;
        bind_exchange(&channel, "left", "top", "a.#").await;
        bind_exchange(&channel, "right", "top", "#.b").await;
        // A circle must not matter, nor that there are two ways to the queue.
        bind_exchange(&channel, "top", "left", "").await;
        channel.bind("q", "left", "").await;
        channel.bind("q", "right", "a.b").await;
        for key in ["a.b", "a", "b", "c.b"] {
            channel.publish("top", key, key).await;
        }
        assert_eq!(channel.take_all("q").await, ["a.b", "a"]);

        let options = ExchangeUnbindOptions::default();
        let (destination, source, key) = ("left".into(), "top".into(), "a.#".into());
        channel
            .exchange_unbind(destination, source, key, options, FieldTable::default())
            .await
            .unwrap();
        channel.publish("top", "a", "a").await;
        channel.publish("top", "a.b", "a.b").await;
        assert_eq!(channel.take_all("q").await, ["a.b"]);
    });
}

#[test]
fn a3_13_an_internal_exchange_is_reached_through_another_only() {
    run(async {
        let rig = Rig::start().await;
        let channel = with_queues(&rig, &["q"]).await;
        let options = ExchangeDeclareOptions {
            internal: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_with("in", Fanout, options, &[])
            .await
            .unwrap();
        channel.exchange("x", Fanout).await;
        bind_exchange(&channel, "in", "x", "").await;
        channel.bind("q", "in", "").await;
        channel.publish("x", "", "1").await;
        assert_eq!(channel.take_all("q").await, ["1"]);
        let text = "ACCESS_REFUSED - cannot publish to internal exchange 'in' in vhost '/'";
        refused(&rig.connection, 403, text, async |channel| {
            channel.confirm_select(Default::default()).await?;
            channel
                .send("in", "", "2", BasicProperties::default())
                .await
        })
        .await;
    });
}
