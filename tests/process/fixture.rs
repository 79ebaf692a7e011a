//! A data directory with a bit of everything in it: made once for each format, opened by every later version.
//!
//! Its definitions are in `tests/data/format-2.json`, and the messages are those of [`fill`]. To make it anew, when the
//! format has changed (to the next number), or to make one of another format:
//!
//! ```text
//! cargo test --test process make_the_fixture -- --ignored
//! ```

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::formats::copy;
use crate::support::{Broker, LIMIT, warren};

const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/format-2.json");
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/format-2");

/// How long delays and times to live are: over when the fixture is opened by anybody else.
const SOON_MS: i32 = 20_000;

fn start(data: &Path, flags: &[&str]) -> Broker {
    let mut command = warren();
    command.args(["--listen", "127.0.0.1:0", "--management", "127.0.0.1:0"]);
    command.args(["--metrics", "off", "--data-dir"]);
    command.arg(data).args(flags);
    Broker::run(command)
}

async fn channel(broker: &Broker) -> (Connection, Channel) {
    let uri = broker.uri("");
    let connecting = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connecting.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let confirm = ConfirmSelectOptions::default();
    channel.confirm_select(confirm).await.unwrap();
    (connection, channel)
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

fn with_header(name: &str, value: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(ShortString::from(name), value);
    persistent().with_headers(headers)
}

async fn publish(channel: &Channel, to: (&str, &str), body: &str, properties: BasicProperties) {
    let confirm = channel.basic_publish(
        to.0.into(),
        to.1.into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties,
    );
    confirm.await.unwrap().await.unwrap();
}

/// All that a queue has now: body, and whether it is marked as delivered before.
async fn drain(channel: &Channel, queue: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    loop {
        let get = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        let Some(message) = get.await.unwrap() else {
            return found;
        };
        let body = String::from_utf8(message.delivery.data.clone()).unwrap();
        found.push((body, message.delivery.redelivered));
    }
}

fn bodies(found: Vec<(String, bool)>) -> Vec<String> {
    found.into_iter().map(|(body, _)| body).collect()
}

/// As [`drain`], once it has something.
async fn come(channel: &Channel, queue: &str) -> Vec<String> {
    let until = Instant::now() + LIMIT;
    loop {
        let found = drain(channel, queue).await;
        if !found.is_empty() {
            return bodies(found);
        }
        assert!(Instant::now() < until, "nothing comes to {queue}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const COPIED: usize = 200;
const COPIED_LEFT: usize = 80;

/// So many that they make pages, and how many are left: in pages, and copied, so that the file is small.
const PAGED: usize = 25_000;
const PAGED_LEFT: usize = 3000;

async fn fill_page(channel: &Channel) {
    let mut confirm = None;
    for number in 0..PAGED {
        let body = if number + 1 == PAGED { "last" } else { "" };
        let publish = channel.basic_publish(
            "".into(),
            "p".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            persistent(),
        );
        confirm = Some(publish.await.unwrap());
    }
    confirm.unwrap().await.unwrap();
    channel.wait_for_confirms().await.unwrap();
}

/// Drops the head of a queue whose middle is in pages, which stay.
async fn shorten(broker: &Broker) {
    let path = format!("http://{}/api/policies/%2F/short", http(broker));
    let policy = json!({
        "pattern": "^p$", "apply-to": "queues", "definition": { "max-length": PAGED_LEFT }
    });
    let request = Client::new().put(path).basic_auth("guest", Some("guest"));
    let status = request.json(&policy).send().await.unwrap().status();
    assert_eq!(status, StatusCode::CREATED);
}

fn http(broker: &Broker) -> String {
    let line = broker.wait_for("listening for HTTP");
    line.rsplit('=').next().unwrap().trim().to_owned()
}

/// What is left of a segment is copied.
fn wait_until_gone(segment: &Path) {
    let until = Instant::now() + LIMIT;
    while segment.exists() {
        assert!(Instant::now() < until, "{} stays", segment.display());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The messages, but for those of the first life.
async fn fill(channel: &Channel) {
    let plain = with_header("n", AMQPValue::LongLongInt(-7))
        .with_content_type("text/plain".into())
        .with_message_id("m-1".into())
        .with_timestamp(1_700_000_000);
    publish(channel, ("events", "order.new"), "first", plain).await;
    let large = "x".repeat(5000);
    publish(channel, ("", "plain"), &large, persistent()).await;
    let transient = BasicProperties::default();
    publish(channel, ("", "plain"), "transient", transient).await;
    for (body, priority) in [("low", 1), ("high", 5), ("middle", 3)] {
        let properties = persistent().with_priority(priority);
        publish(channel, ("", "priorities"), body, properties).await;
    }
    for body in ["q1", "q2", "q3"] {
        publish(channel, ("", "quorum"), body, persistent()).await;
    }
    let soon = persistent().with_expiration(SOON_MS.to_string().into());
    publish(channel, ("", "brief"), "expired", soon).await;
    publish(channel, ("", "brief"), "stays", persistent()).await;
    let delay = with_header("x-delay", AMQPValue::LongInt(SOON_MS));
    publish(channel, ("later", "k"), "delayed", delay).await;
    for id in ["a", "a", "b"] {
        let value = AMQPValue::LongString(id.into());
        let properties = with_header("x-deduplication-header", value);
        publish(channel, ("", "once"), id, properties).await;
    }
    for body in ["r1", "r2", "r3"] {
        publish(channel, ("events", "recent"), body, persistent()).await;
    }
    for body in ["u1", "u2", "u3"] {
        publish(channel, ("", "unacked"), body, persistent()).await;
    }
}

/// A life of its own.
fn publish_one(runtime: &Runtime, data: &Path) {
    let broker = start(data, &[]);
    runtime.block_on(async {
        let (_connection, channel) = channel(&broker).await;
        publish(&channel, ("", "plain"), "one", persistent()).await;
    });
    broker.stop();
}

#[test]
#[ignore = "writes to tests/data: for a new format only"]
fn make_the_fixture() {
    let runtime = Runtime::new().unwrap();
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let broker = start(&data, &["--load-definitions", DEFINITIONS]);
    runtime.block_on(async {
        let (_connection, channel) = channel(&broker).await;
        for number in 0..COPIED {
            let body = format!("copied {number:03}");
            publish(&channel, ("", "copied"), &body, persistent()).await;
        }
        for _ in 0..COPIED - COPIED_LEFT {
            let get = channel.basic_get("copied".into(), BasicGetOptions { no_ack: true });
            get.await.unwrap().unwrap();
        }
    });
    broker.stop();
    // A segment that is emptied has the sparse ones looked at.
    publish_one(&runtime, &data);
    let broker = start(&data, &[]);
    runtime.block_on(async {
        let (_connection, channel) = channel(&broker).await;
        drain(&channel, "plain").await;
        wait_until_gone(&data.join("log/00000001.wal"));
        fill_page(&channel).await;
        shorten(&broker).await;
    });
    broker.stop();
    publish_one(&runtime, &data);
    let broker = start(&data, &[]);
    runtime.block_on(async {
        let (_connection, channel) = channel(&broker).await;
        drain(&channel, "plain").await;
        wait_until_gone(&data.join("log/00000003.wal"));
        fill(&channel).await;
        for _ in 0..2 {
            let get = channel.basic_get("unacked".into(), BasicGetOptions { no_ack: false });
            get.await.unwrap().unwrap();
        }
        let get = channel.basic_get("plain".into(), BasicGetOptions { no_ack: false });
        drop(get.await.unwrap().unwrap());
        let get = channel.basic_get("quorum".into(), BasicGetOptions { no_ack: false });
        let acker = get.await.unwrap().unwrap().delivery.acker;
        acker.ack(BasicAckOptions::default()).await.unwrap();
        // Behind the ack, which has no answer: the log has it when this is confirmed.
        publish(&channel, ("", "quorum"), "q4", persistent()).await;
        broker.kill();
    });
    let kept = dir.path().join("kept");
    fs::create_dir_all(kept.join("log")).unwrap();
    for name in ["FORMAT", "catalogue.rows", "log/checkpoint"] {
        fs::copy(data.join(name), kept.join(name)).unwrap();
    }
    for entry in fs::read_dir(data.join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            // What was written ahead is nothing.
            let mut octets = fs::read(&path).unwrap();
            let end = octets.iter().rposition(|octet| *octet != 0).unwrap() + 1;
            octets.truncate(end + 64);
            fs::write(kept.join("log").join(path.file_name().unwrap()), octets).unwrap();
        }
    }
    let _ = fs::remove_dir_all(FIXTURE);
    copy(&kept, Path::new(FIXTURE));
}

/// Every object of the definitions is among those of the broker, with all that is said of it.
async fn check_definitions(address: &str) {
    let text = fs::read_to_string(DEFINITIONS).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let client = Client::new();
    let get = async |path: &str, user: &str, password: &str| {
        let request = client.get(format!("http://{address}/api/{path}"));
        let answer = request
            .basic_auth(user, Some(password))
            .send()
            .await
            .unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (status, text) = get("definitions", "guest", "guest").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let found: Value = serde_json::from_str(&text).unwrap();
    for (section, objects) in expected.as_object().unwrap() {
        for object in objects.as_array().unwrap() {
            let object = object.as_object().unwrap();
            let is_there = found[section].as_array().unwrap().iter().any(|found| {
                object.iter().all(|(key, value)| {
                    // RabbitMQ's place of a vhost's metadata.
                    found[key] == *value || found["metadata"][key] == *value
                })
            });
            assert!(
                is_there,
                "{section}: {object:?} is not in {}",
                found[section]
            );
        }
    }
    let (status, text) = get("overview", "app", "wrong").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{text}");
}

async fn check_messages(channel: &Channel) {
    let get = channel.basic_get("plain".into(), BasicGetOptions { no_ack: true });
    let first = get.await.unwrap().unwrap().delivery;
    assert_eq!((&first.data[..], first.redelivered), (&b"first"[..], true));
    assert_eq!(first.exchange.as_str(), "events");
    assert_eq!(first.routing_key.as_str(), "order.new");
    let properties = &first.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m-1");
    assert_eq!(*properties.timestamp(), Some(1_700_000_000));
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers.get("n"), Some(&AMQPValue::LongLongInt(-7)));
    let rest = bodies(drain(channel, "plain").await);
    assert_eq!(rest, ["x".repeat(5000)], "the transient one is gone");
    let copied: Vec<String> = (COPIED - COPIED_LEFT..COPIED)
        .map(|number| format!("copied {number:03}"))
        .collect();
    assert_eq!(bodies(drain(channel, "copied").await), copied);
    let paged = bodies(drain(channel, "p").await);
    assert_eq!(paged.len(), PAGED_LEFT);
    assert_eq!(paged[PAGED_LEFT - 1], "last");
    let found = bodies(drain(channel, "priorities").await);
    assert_eq!(found, ["high", "middle", "low"]);
    let found = bodies(drain(channel, "quorum").await);
    assert_eq!(found, ["q2", "q3", "q4"]);
    let unacked = drain(channel, "unacked").await;
    let expected = ["u1", "u2", "u3"].map(|body| (body.to_owned(), true));
    assert_eq!(unacked, expected);
    assert_eq!(come(channel, "dead").await, ["expired"]);
    assert_eq!(bodies(drain(channel, "brief").await), ["stays"]);
    assert_eq!(come(channel, "arrived").await, ["delayed"]);
    // What was seen before is known still.
    for id in ["b", "c"] {
        let value = AMQPValue::LongString(id.into());
        let properties = with_header("x-deduplication-header", value);
        publish(channel, ("", "once"), id, properties).await;
    }
    assert_eq!(bodies(drain(channel, "once").await), ["a", "b", "c"]);
    let durable = QueueDeclareOptions::durable();
    let declared = channel.queue_declare("new".into(), durable, FieldTable::default());
    declared.await.unwrap();
    let bound = channel.queue_bind(
        "new".into(),
        "recent".into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    assert_eq!(bodies(drain(channel, "new").await), ["r2", "r3"]);
}

#[test]
fn everything_of_format_2_is_read() {
    let runtime = Runtime::new().unwrap();
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    copy(Path::new(FIXTURE), &data);
    // The second time by the checkpoint of the first stop.
    start(&data, &[]).stop();
    let broker = start(&data, &[]);
    let address = http(&broker);
    runtime.block_on(async {
        check_definitions(&address).await;
        let (_connection, channel) = channel(&broker).await;
        check_messages(&channel).await;
    });
    broker.stop();
}
