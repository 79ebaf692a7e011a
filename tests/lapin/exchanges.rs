//! Declaring, deleting and binding exchanges (A3.1, A3.14 to A3.20, and their faults of A2).

use lapin::ExchangeKind::{self, Custom, Direct, Fanout, Headers, Topic};
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::client::{Chan, Rig, refused, run, string};

const NO_X: &str = "NOT_FOUND - no exchange 'x' in vhost '/'";

fn durable() -> ExchangeDeclareOptions {
    ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    }
}

async fn find(channel: &Chan, name: &str) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    channel.exchange_with(name, Direct, options, &[]).await
}

async fn delete(channel: &Chan, name: &str, if_unused: bool) -> lapin::Result<()> {
    let options = ExchangeDeleteOptions {
        if_unused,
        ..ExchangeDeleteOptions::default()
    };
    channel.exchange_delete(name.into(), options).await
}

#[test]
fn a3_1_the_standard_exchanges_are_there_and_durable() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        for (name, kind) in [
            ("amq.direct", Direct),
            ("amq.fanout", Fanout),
            ("amq.topic", Topic),
            ("amq.headers", Headers),
            ("amq.match", Headers),
        ] {
            channel
                .exchange_with(name, kind, durable(), &[])
                .await
                .unwrap();
            find(&channel, name).await.unwrap();
        }
    });
}

#[test]
fn a3_14_an_auto_delete_exchange_goes_with_its_last_binding() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        let options = ExchangeDeclareOptions {
            auto_delete: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_with("x", Direct, options, &[])
            .await
            .unwrap();
        channel.queue("a").await;
        channel.queue("b").await;
        // Never bound, never gone.
        find(&channel, "x").await.unwrap();
        channel.bind("a", "x", "1").await;
        channel.bind("b", "x", "2").await;
        let none = FieldTable::default();
        let (queue, exchange, key) = ("a".into(), "x".into(), "1".into());
        channel
            .queue_unbind(queue, exchange, key, none)
            .await
            .unwrap();
        find(&channel, "x").await.unwrap();
        let options = QueueDeleteOptions::default();
        channel.queue_delete("b".into(), options).await.unwrap();
        refused(&rig.connection, 404, NO_X, async |channel| {
            find(channel, "x").await
        })
        .await;
    });
}

#[test]
fn a3_15_a_binding_is_its_key_and_its_arguments() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        channel.exchange("x", Direct).await;
        let arguments = [("n", AMQPValue::LongInt(1))];
        channel.bind("q", "x", "k").await;
        channel.bind("q", "x", "k").await;
        channel.bind_with("q", "x", "k", &arguments).await.unwrap();
        let unbind = async || {
            let (queue, exchange, key) = ("q".into(), "x".into(), "k".into());
            channel
                .queue_unbind(queue, exchange, key, FieldTable::default())
                .await
        };
        // Once for two equal ones; a second time is no error.
        unbind().await.unwrap();
        unbind().await.unwrap();
        channel.publish("x", "k", "1").await;
        assert_eq!(channel.take_all("q").await, ["1"]);
        let (queue, exchange, key) = ("q".into(), "x".into(), "k".into());
        let arguments = crate::client::table(&arguments);
        channel
            .queue_unbind(queue, exchange, key, arguments)
            .await
            .unwrap();
        channel.publish("x", "k", "2").await;
        assert!(channel.take_all("q").await.is_empty());
    });
}

#[test]
fn a3_16_an_empty_queue_name_and_key_mean_the_last_queue() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        let queue = channel.queue("").await;
        channel.exchange("x", Direct).await;
        channel.bind("", "x", "").await;
        channel.publish("x", queue.name().as_str(), "1").await;
        channel.publish("x", "", "2").await;
        assert_eq!(channel.take_all("").await, ["1"]);
        let text = "NOT_FOUND - no previously declared queue";
        refused(&rig.connection, 404, text, async |channel| {
            channel.bind_with("", "x", "", &[]).await
        })
        .await;
    });
}

#[test]
fn a3_20_a_redeclaration_must_be_the_same() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        let spare = [("alternate-exchange", string("spare"))];
        channel
            .exchange_with("x", Topic, durable(), &spare)
            .await
            .unwrap();
        channel
            .exchange_with("x", Topic, durable(), &spare)
            .await
            .unwrap();

        let differs = async |what: &str, kind: ExchangeKind, options, arguments: &[_]| {
            let text = format!("PRECONDITION_FAILED - inequivalent arg {what}");
            refused(&rig.connection, 406, &text, async |channel| {
                channel.exchange_with("x", kind, options, arguments).await
            })
            .await;
        };
        let text = "'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'";
        differs(text, Fanout, durable(), &spare).await;
        let text =
            "'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'";
        differs(text, Topic, ExchangeDeclareOptions::default(), &spare).await;
        let options = ExchangeDeclareOptions {
            auto_delete: true,
            ..durable()
        };
        let text =
            "'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'";
        differs(text, Topic, options, &spare).await;
        let options = ExchangeDeclareOptions {
            internal: true,
            ..durable()
        };
        let text =
            "'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'";
        differs(text, Topic, options, &spare).await;
        let text = "'alternate-exchange' for exchange 'x' in vhost '/': received none but current \
                    is the value 'spare' of type 'longstr'";
        differs(text, Topic, durable(), &[]).await;
        let text = "'alternate-exchange' for exchange 'x' in vhost '/': received 'y' \
                    but current is 'spare'";
        differs(
            text,
            Topic,
            durable(),
            &[("alternate-exchange", string("y"))],
        )
        .await;
    });
}

#[test]
fn a2_404_an_exchange_that_is_not_there() {
    run(async {
        let rig = Rig::start().await;
        rig.channel().await.queue("q").await;
        let connection = &rig.connection;
        refused(connection, 404, NO_X, async |c| find(c, "x").await).await;
        refused(connection, 404, NO_X, async |c| {
            c.bind_with("q", "x", "", &[]).await
        })
        .await;
        refused(connection, 404, NO_X, async |c| {
            c.confirm_select(Default::default()).await?;
            c.send("x", "k", "1", Default::default()).await
        })
        .await;
        // Deleting what is not there is no error.
        delete(&rig.channel().await, "x", false).await.unwrap();
    });
}

#[test]
fn a2_403_the_brokers_own_exchanges_are_left_alone() {
    run(async {
        let rig = Rig::start().await;
        let connection = &rig.connection;
        rig.channel().await.queue("q").await;
        let text = "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not \
                    allowed";
        refused(connection, 403, text, async |c| {
            delete(c, "amq.direct", false).await
        })
        .await;
        let text = "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'";
        refused(connection, 403, text, async |c| {
            c.exchange_with("amq.mine", Direct, durable(), &[]).await
        })
        .await;
        let text = "ACCESS_REFUSED - operation not permitted on the default exchange";
        refused(connection, 403, text, async |c| delete(c, "", false).await).await;
        refused(connection, 403, text, async |c| {
            c.bind_with("q", "", "k", &[]).await
        })
        .await;
        refused(connection, 403, text, async |c| {
            c.exchange_with("", Direct, durable(), &[]).await
        })
        .await;
    });
}

#[test]
fn a2_406_if_unused_and_unknown_types() {
    run(async {
        let rig = Rig::start().await;
        let channel = rig.channel().await;
        channel.queue("q").await;
        channel.exchange("x", Direct).await;
        channel.bind("q", "x", "k").await;
        let text = "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use";
        refused(&rig.connection, 406, text, async |c| {
            delete(c, "x", true).await
        })
        .await;
        let none = FieldTable::default();
        let (queue, exchange, key) = ("q".into(), "x".into(), "k".into());
        channel
            .queue_unbind(queue, exchange, key, none)
            .await
            .unwrap();
        delete(&channel, "x", true).await.unwrap();
        refused(&rig.connection, 404, NO_X, async |c| find(c, "x").await).await;
        let text = "PRECONDITION_FAILED - unknown exchange type 'x-nonsense'";
        refused(&rig.connection, 406, text, async |c| {
            c.exchange_with("y", Custom("x-nonsense".into()), durable(), &[])
                .await
        })
        .await;
    });
}
