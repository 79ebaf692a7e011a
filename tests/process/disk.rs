//! A disk that takes no more: a limit on the size of files stands for it. The broker stops
//! confirming, says why, and has all that it confirmed.

use std::path::Path;
use std::process::Command;

use futures_lite::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::support::{AMQP_ONLY, Broker, warren};

/// In blocks of 512 octets, as the shell counts: 2 MiB, less than one segment of the log.
const LIMIT_BLOCKS: &str = "ulimit -f 4096 && exec \"$0\" \"$@\"";
const BODY_BYTES: usize = 10_000;

/// More than the limit has room for.
const MESSAGES: usize = 1_000;

/// A broker that can write no file longer than the limit.
pub(crate) fn start_limited(dir: &Path) -> Broker {
    let mut command = Command::new("sh");
    command
        .args(["-c", LIMIT_BLOCKS])
        .arg(warren().get_program());
    command.args(AMQP_ONLY).arg("--data-dir").arg(dir);
    Broker::run(command)
}

/// A channel, and the durable queue `q`.
pub(crate) async fn open(broker: &Broker) -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&broker.uri(""), properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare("q".into(), options, FieldTable::default());
    declared.await.unwrap();
    (connection, channel)
}

/// Publishes until the broker confirms no more. How many it has confirmed.
async fn publish(channel: &Channel) -> usize {
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    for number in 0..MESSAGES {
        let body = format!("{number:0BODY_BYTES$}");
        let (exchange, key) = ("".into(), "q".into());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let properties = properties.with_delivery_mode(2);
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        let confirmed = match sent.await {
            Ok(confirm) => confirm.await.is_ok_and(|confirm| confirm.is_ack()),
            Err(_) => false,
        };
        if !confirmed {
            return number;
        }
    }
    panic!("the limit does not hold");
}

#[test]
fn a_full_disk_stops_the_broker_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let broker = start_limited(dir.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_connection, channel) = runtime.block_on(open(&broker));
    let confirmed = runtime.block_on(publish(&channel));
    assert!(confirmed > 0);
    let (status, log) = broker.ended();
    assert_eq!(status.code(), Some(1), "{status}: {log:?}");
    let last = log.last().unwrap();
    assert!(last.starts_with("warren: "), "{log:?}");
    assert!(
        last.contains("cannot write") && last.contains("free space"),
        "{last}"
    );

    let broker = Broker::start(dir.path());
    runtime.block_on(async {
        let (_connection, channel) = open(&broker).await;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume("q".into(), "".into(), options, none);
        let mut consumer = consuming.await.unwrap();
        for number in 0..confirmed {
            let delivery = consumer.next().await.unwrap().unwrap();
            assert!(delivery.data == format!("{number:0BODY_BYTES$}").as_bytes());
        }
    });
}
