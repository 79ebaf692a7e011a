//! `warren repair`: a broker that refuses damaged data, and starts with the rest of it once it is repaired.

use std::fs;
use std::path::Path;
use std::process::Output;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::complaint_of;
use crate::support::{Broker, warren};

async fn channel(broker: &Broker) -> (Connection, Channel) {
    let uri = broker.uri("");
    let connecting = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connecting.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// Each message is confirmed before the next, so that each is in a batch of its own.
async fn publish(broker: &Broker, count: usize) {
    let (_connection, channel) = channel(broker).await;
    let confirm = ConfirmSelectOptions::default();
    channel.confirm_select(confirm).await.unwrap();
    let durable = QueueDeclareOptions::durable();
    let declared = channel.queue_declare("orders".into(), durable, FieldTable::default());
    declared.await.unwrap();
    for number in 0..count {
        let body = format!("order {number:03}");
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirm = channel.basic_publish(
            "".into(),
            "orders".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        confirm.await.unwrap().await.unwrap();
    }
}

async fn drain(broker: &Broker) -> Vec<String> {
    let (_connection, channel) = channel(broker).await;
    let mut found = Vec::new();
    loop {
        let get = channel.basic_get("orders".into(), BasicGetOptions { no_ack: true });
        match get.await.unwrap() {
            Some(message) => {
                found.push(String::from_utf8(message.delivery.data.clone()).unwrap());
            }
            None => return found,
        }
    }
}

fn repair(data: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = warren();
    command
        .arg("repair")
        .arg("--data-dir")
        .arg(data)
        .args(flags);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn damage_is_refused_repaired_and_the_rest_is_there() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let broker = Broker::start(&data);
    runtime.block_on(publish(&broker, 20));
    let (code, said) = repair(&data, &["--apply"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use by another broker"), "{said}");
    broker.kill();

    let log = data.join("log/00000001.wal");
    let mut octets = fs::read(&log).unwrap();
    let body = octets.windows(9).position(|part| part == b"order 007");
    octets[body.unwrap()] ^= 1;
    fs::write(&log, octets).unwrap();
    let line = complaint_of(&data, &[]);
    assert!(
        line.contains("00000001.wal is damaged at offset "),
        "{line}"
    );
    assert!(line.contains("`warren repair`"), "{line}");

    let (code, said) = repair(&data, &[]);
    assert_eq!(code, Some(1), "{said}");
    let lost = r#"queue "orders" in vhost "/": 1 messages lost, 19 kept"#;
    assert!(said.contains(lost), "{said}");
    assert!(said.contains("Nothing was changed"), "{said}");
    assert_eq!(complaint_of(&data, &[]), line);

    let (code, said) = repair(&data, &["--apply"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(lost), "{said}");
    assert!(data.join("damaged/00000001.wal.1").exists(), "{said}");
    let (code, said) = repair(&data, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("no damage: 19 messages can be read"),
        "{said}"
    );

    let broker = Broker::start(&data);
    let found = runtime.block_on(drain(&broker));
    let expected = (0..20).filter(|number| *number != 7);
    let expected: Vec<String> = expected
        .map(|number| format!("order {number:03}"))
        .collect();
    assert_eq!(found, expected);
    broker.stop();
}

#[test]
fn what_is_no_data_directory_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let (code, said) = repair(dir.path(), &["--apply"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot open"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
