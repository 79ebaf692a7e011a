//! Connections: several at once, channels that fail alone, heartbeats, and the broker's stop (A1).

use futures_lite::StreamExt;
use lapin::options::{BasicPublishOptions, ChannelFlowOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties, Event};

use crate::client::{Chan, Rig, connect, fault, ok, refused, run};
use crate::support::raw::RawClient;

#[test]
fn a1_7_and_14_who_may_open_what() {
    run(async {
        let rig = Rig::start().await;
        let open = async |user: &str, vhost: &str| {
            let uri = format!("amqp://{user}@{}/{vhost}", rig.broker.address());
            let opened = Connection::connect(&uri, ConnectionProperties::default()).await;
            fault(&opened.expect_err("refused"))
        };
        let refusal = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                       For details see the broker logfile.";
        assert_eq!(open("guest:wrong", "%2f").await, (403, refusal.to_owned()));
        assert_eq!(open("nobody:guest", "%2f").await, (403, refusal.to_owned()));
        let refusal = "NOT_ALLOWED - vhost absent not found";
        assert_eq!(
            open("guest:guest", "absent").await,
            (530, refusal.to_owned())
        );
    });
}

#[test]
fn a1_18_many_channels_and_one_that_fails() {
    run(async {
        let rig = Rig::start().await;
        let mut channels = Vec::new();
        for number in 0..200 {
            let channel = Chan::confirming(&rig.connection).await;
            channel.queue(&format!("q{number}")).await;
            channels.push(channel);
        }
        let text = "NOT_FOUND - no queue 'absent' in vhost '/'";
        refused(&rig.connection, 404, text, async |c| c.find("absent").await).await;
        for (number, channel) in channels.iter().enumerate() {
            channel.publish("", &format!("q{number}"), "1").await;
        }
        for (number, channel) in channels.iter().enumerate().rev() {
            assert_eq!(channel.take_all(&format!("q{number}")).await, ["1"]);
            channel.close(200, ok()).await.unwrap();
        }
        // Their numbers are free again.
        rig.channel().await.queue("q").await;
    });
}

#[test]
fn a1_18_channel_max_holds() {
    run(async {
        let rig = Rig::start().await;
        let connection = connect(&rig.broker, "?channel_max=3").await;
        let mut channels = Vec::new();
        for _ in 0..3 {
            channels.push(Chan::open(&connection).await);
        }
        channels[0].queue("q").await;
        assert!(connection.create_channel().await.is_err());
        assert_eq!(channels[2].counts("q").await, (0, 0));
    });
}

#[test]
fn a1_12_heartbeats_keep_an_idle_connection() {
    run(async {
        let rig = Rig::start().await;
        let connection = connect(&rig.broker, "?heartbeat=2").await;
        let channel = Chan::open(&connection).await;
        channel.queue("q").await;
        // Either side gives up after two to three intervals without an octet from the other.
        tokio::time::sleep(std::time::Duration::from_secs(8)).await;
        assert!(connection.status().connected());
        assert_eq!(channel.counts("q").await, (0, 0));
    });
}

#[test]
fn a1_12_who_sends_no_heartbeats_is_dropped_and_what_it_held_comes_back() {
    run(async {
        let rig = Rig::start().await;
        let channel = Chan::confirming(&rig.connection).await;
        channel.queue("q").await;
        channel.publish("", "q", "1").await;
        let mut silent = RawClient::open_with(rig.broker.address(), 1);
        silent.take_from("q", 1);
        let mut consumer = channel.consume("q").await;
        // It listens, but says nothing.
        tokio::task::block_in_place(|| silent.gone());
        let delivery = consumer.next().await.unwrap().unwrap();
        assert!(delivery.redelivered);
    });
}

#[test]
fn a_stopping_broker_tells_its_clients_320() {
    run(async {
        let rig = Rig::start().await;
        let connections = [rig.connect().await, rig.connect().await];
        let mut ends = Vec::new();
        for connection in &connections {
            let channel = Chan::open(connection).await;
            channel.queue("q").await;
            let consumer = channel.consume("q").await;
            ends.push((connection.events_listener(), consumer, channel));
        }
        tokio::task::block_in_place(|| rig.broker.stop());
        let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
        for (mut events, mut consumer, _channel) in ends {
            let error = loop {
                if let Event::Error(error) = events.next().await.unwrap() {
                    break error;
                }
            };
            assert_eq!(fault(&error), (320, text.to_owned()));
            let error = consumer.next().await.unwrap().unwrap_err();
            assert_eq!(fault(&error), (320, text.to_owned()));
        }
    });
}

#[test]
fn a2_540_what_is_not_implemented_closes_the_connection() {
    run(async {
        let rig = Rig::start().await;
        let text = "NOT_IMPLEMENTED - immediate=true";
        refused(&rig.connect().await, 540, text, async |c| {
            c.confirm_select(Default::default()).await?;
            let options = BasicPublishOptions {
                mandatory: false,
                immediate: true,
            };
            let none = BasicProperties::default();
            c.basic_publish("".into(), "q".into(), options, b"1", none)
                .await?
                .await
        })
        .await;
        let flow = async |channel: &Chan, active| {
            channel.channel_flow(ChannelFlowOptions { active }).await
        };
        assert!(flow(&rig.channel().await, true).await.unwrap());
        let text = "NOT_IMPLEMENTED - active=false";
        refused(&rig.connect().await, 540, text, async |c| {
            flow(c, false).await
        })
        .await;
    });
}
