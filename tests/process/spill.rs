//! Transient messages that do not fit in memory: they go with the broker, and a disk that takes none of them costs
//! none.

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tempfile::TempDir;

use crate::disk::{open, start_limited};
use crate::support::Broker;

const BODY_BYTES: usize = 2000;

/// 12 MB: three times what a queue keeps in memory.
const MESSAGES: usize = 6000;

/// Publishes and waits until all are confirmed. `modes` in turn are their delivery modes.
async fn fill(channel: &Channel, modes: &[u8]) {
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    let mut confirms = Vec::new();
    for number in 0..MESSAGES {
        let body = format!("{number:0BODY_BYTES$}");
        let (exchange, key) = ("".into(), "q".into());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let mode = modes[number / 1000 % modes.len()];
        let properties = properties.with_delivery_mode(mode);
        let sent = channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        confirms.push(sent.await.unwrap());
    }
    for confirm in confirms {
        assert!(confirm.await.unwrap().is_ack());
    }
}

/// Takes messages with these numbers, one after the other.
async fn take(channel: &Channel, numbers: impl Iterator<Item = usize>) {
    let qos = channel.basic_qos(100, BasicQosOptions::default());
    qos.await.unwrap();
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consuming = channel.basic_consume("q".into(), "".into(), options, none);
    let mut consumer = consuming.await.unwrap();
    for number in numbers {
        let delivery = consumer.next().await.unwrap().unwrap();
        let wanted = format!("{number:0BODY_BYTES$}");
        assert!(delivery.data == wanted.as_bytes(), "not {number}");
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
}

fn spilled_bytes(dir: &TempDir) -> u64 {
    let files = std::fs::read_dir(dir.path().join("transient")).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn transient_messages_end_with_the_broker_wherever_they_are() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for killed in [false, true] {
        let dir = TempDir::new().unwrap();
        let broker = Broker::start(dir.path());
        let connection = runtime.block_on(async {
            let (connection, channel) = open(&broker).await;
            fill(&channel, &[1, 2, 1]).await;
            connection
        });
        assert!(spilled_bytes(&dir) > 2 << 20, "{}", spilled_bytes(&dir));
        match killed {
            true => broker.kill(),
            false => {
                broker.stop();
                assert_eq!(spilled_bytes(&dir), 0, "nothing is left");
            }
        }
        drop(connection);
        let broker = Broker::start(dir.path());
        assert_eq!(spilled_bytes(&dir), 0, "nothing is left");
        runtime.block_on(async {
            let (_connection, channel) = open(&broker).await;
            let persistent = (0..MESSAGES).filter(|number| number / 1000 % 3 == 1);
            take(&channel, persistent).await;
            let (options, none) = (QueueDeclareOptions::durable(), FieldTable::default());
            let left = channel.queue_declare("q".into(), options, none).await;
            assert_eq!(left.unwrap().message_count(), 0, "nothing else");
        });
    }
}

#[test]
fn a_disk_that_takes_no_transient_messages_costs_none() {
    let dir = TempDir::new().unwrap();
    let broker = start_limited(dir.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_connection, channel) = open(&broker).await;
        fill(&channel, &[1]).await;
        broker.wait_for("cannot write transient messages to the disk");
        take(&channel, 0..MESSAGES).await;
    });
    assert!(spilled_bytes(&dir) <= 2 << 20);
    broker.stop();
}
