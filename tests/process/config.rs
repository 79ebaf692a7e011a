//! The configuration file: what is wrong in it, and what wins over it.

use std::fs;

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::complaint;
use crate::support::{AMQP_ONLY, Broker, warren};

/// What the broker says about a file, with the file's directory cut off.
fn fault(text: &str) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("w.toml");
    fs::write(&path, text).unwrap();
    let line = complaint(&["--config", path.to_str().unwrap()], 2);
    let there = format!("{}/", dir.path().display());
    assert!(line.contains(&there), "the file is not named: {line}");
    line.replace(&there, "")
}

#[test]
fn an_unknown_key_is_named_with_file_and_line() {
    let line = fault("# Warren\n[amqp]\nframe_max = 4096\n");
    assert!(line.starts_with("warren: w.toml:3: "), "{line}");
    assert!(line.contains("unknown field `frame_max`"), "{line}");
    let line = fault("log = \"info\"\n\n[clustering]\n");
    assert!(line.starts_with("warren: w.toml:3: "), "{line}");
}

#[test]
fn a_bad_value_is_named_with_file_and_line() {
    for (text, at) in [
        ("log = \"info\"\nlisten = [\"nowhere\"]\n", "w.toml:2: "),
        ("[storage]\ndurability = \"maybe\"\n", "w.toml:2: "),
        ("[amqp]\n\nheartbeat_s = -1\n", "w.toml:3: "),
        ("data_dir = 5\n", "w.toml:1: "),
        ("this is no TOML\n", "w.toml:1: "),
    ] {
        let line = fault(text);
        assert!(line.starts_with(&format!("warren: {at}")), "{line}");
    }
}

#[test]
fn a_value_out_of_range_is_named_with_file_and_line() {
    let line = fault("[amqp]\nchannel_max = 8\nframe_max_bytes = 100\n");
    let expected = "warren: w.toml:3: amqp.frame_max_bytes = 100: must be from 8192 to 16777216";
    assert_eq!(line, expected);
    let line = fault("# segment_bytes is small\n\nstorage.segment_bytes = 1\n");
    assert!(
        line.starts_with("warren: w.toml:3: storage.segment_bytes = 1: "),
        "{line}"
    );
    let line = fault("listen = []\n");
    assert!(
        line.starts_with("warren: w.toml:1: listen = []: "),
        "{line}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("absent.toml");
    let line = complaint(&["--config", path.to_str().unwrap()], 2);
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    assert!(line.contains("No such file"), "{line}");
}

#[test]
fn flags_win_over_the_file() {
    let dir = TempDir::new().unwrap();
    let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
    let path = dir.path().join("w.toml");
    // 203.0.113.0/24 is for documentation: nobody can listen there.
    let text = format!(
        "data_dir = {theirs:?}\nlisten = [\"203.0.113.1:5672\"]\nlog = \"off\"\n\
         [auth]\ndefault_password = \"other\"\n"
    );
    fs::write(&path, text).unwrap();
    let flags = ["--log", "info", "--config", path.to_str().unwrap()];
    let broker = Broker::start_with(&ours, &flags);
    assert!(ours.join("FORMAT").exists());
    assert!(!theirs.exists());
    broker.stop();
}

#[test]
fn the_documented_file_works_as_it_is() {
    let dir = TempDir::new().unwrap();
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/config/warren.toml");
    Broker::start_with(dir.path(), &["--config", documented]).stop();
}

#[test]
fn the_data_directory_is_warren_data_where_it_was_started() {
    let dir = TempDir::new().unwrap();
    let mut command = warren();
    command.args(AMQP_ONLY).current_dir(dir.path());
    Broker::run(command).stop();
    assert!(dir.path().join("warren-data/FORMAT").exists());
}

/// A5.9, from the file to what a consumer sees.
#[tokio::test]
async fn a5_9_what_is_to_be_noted_is_in_the_message() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("w.toml");
    fs::write(
        &path,
        "[interceptors]\ntimestamp = \"keep\"\nrouting_node = \"overwrite\"\n",
    )
    .unwrap();
    let mut command = warren();
    command.args(["--listen", "127.0.0.1:0", "--management", "off"]);
    command.args(["--metrics", "off", "--config"]).arg(&path);
    command.arg("--data-dir").arg(dir.path().join("data"));
    let broker = Broker::run(command);
    let uri = broker.uri("");
    let connecting = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connecting.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (declared, table) = (QueueDeclareOptions::default(), FieldTable::default());
    channel
        .queue_declare("q".into(), declared, table)
        .await
        .unwrap();
    let properties = BasicProperties::default().with_timestamp(7);
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish("".into(), "q".into(), options, b"m", properties);
    published.await.unwrap();
    let get = channel.basic_get("q".into(), BasicGetOptions { no_ack: true });
    let message = get.await.unwrap().unwrap();
    assert_eq!(message.delivery.data, b"m");
    assert_eq!(*message.properties.timestamp(), Some(7));
    let headers = message.properties.headers().as_ref().unwrap().inner();
    assert!(headers.contains_key("timestamp_in_ms"), "{headers:?}");
    assert!(headers.contains_key("x-routed-by"), "{headers:?}");
    broker.stop();
}
