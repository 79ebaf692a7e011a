//! Data directories as earlier versions left them, killed: they are opened, and brought up to date.

use std::fs;
use std::path::Path;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::support::Broker;

/// What this version writes.
const CURRENT: &str = "warren 2\n";

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// How many messages are ready in the queue that each directory has.
async fn ready(broker: &Broker) -> u32 {
    let uri = broker.uri("");
    let connecting = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connecting.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    let declared = channel.queue_declare("kept".into(), options, FieldTable::default());
    declared.await.unwrap().message_count()
}

#[test]
fn what_an_earlier_version_wrote_is_read_and_brought_up_to_date() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    // 30 messages published, 5 of them acked; then the broker was killed.
    copy(Path::new("tests/data/format-1"), &data);
    for _ in 0..2 {
        let broker = Broker::start(&data);
        assert_eq!(runtime.block_on(ready(&broker)), 25);
        broker.kill();
        assert_eq!(fs::read_to_string(data.join("FORMAT")).unwrap(), CURRENT);
        assert!(data.join("log/checkpoint").exists());
    }
    let broker = Broker::start(&data);
    assert_eq!(runtime.block_on(ready(&broker)), 25);
    broker.stop();
}
