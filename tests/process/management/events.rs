//! Lifecycle events as a client consumes them: what is told of what another connection does.

use std::fs;
use std::time::Instant;

use futures_lite::StreamExt;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::json;
use tokio::time::timeout;

use super::server::Server;
use crate::support::LIMIT;

const INTERNAL: &str = "rmq-internal";

async fn channel(server: &Server, user: &str) -> (Connection, Channel) {
    let uri = server
        .broker
        .uri("")
        .replace("guest:guest", &format!("{user}:{user}"));
    let connection = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// A consumer of the events that these keys name.
async fn listen(channel: &Channel, keys: &[&str]) -> Consumer {
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default;
    let queue = channel.queue_declare("told".into(), exclusive, none());
    queue.await.unwrap();
    for key in keys {
        let options = QueueBindOptions::default();
        let (queue, source) = ("told".into(), "amq.rabbitmq.event".into());
        let bound = channel.queue_bind(queue, source, (*key).into(), options, none());
        bound.await.unwrap();
    }
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = channel.basic_consume("told".into(), "told".into(), no_ack, none());
    consumer.await.unwrap()
}

/// The next events: which, of what, and who did it.
async fn next(events: &mut Consumer, count: usize) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = timeout(LIMIT, events.next()).await;
        let event = event.unwrap().unwrap().unwrap();
        assert!(event.data.is_empty());
        let headers = event.properties.headers().as_ref().unwrap().inner();
        let text = |name: &str| match headers.get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => format!("{other:?}"),
        };
        let of = ["name", "queue", "destination_name"];
        let of = of.into_iter().find(|name| headers.contains_key(*name));
        let key = event.routing_key.to_string();
        // Those of the queue that listens.
        if of.is_some_and(|of| text(of) == "told") {
            continue;
        }
        let by = text("user_who_performed_action");
        found.push((key, of.map(text).unwrap_or_default(), by));
    }
    found
}

#[tokio::test]
async fn a3_1_what_is_imported_at_start_is_the_brokers_own_doing() {
    let queue = |name: &str, vhost: &str| {
        json!({
            "name": name, "vhost": vhost, "durable": true, "auto_delete": false, "arguments": {}
        })
    };
    let binding = json!({
        "source": "amq.rabbitmq.event", "vhost": "/", "destination": "told",
        "destination_type": "queue", "routing_key": "queue.created", "arguments": {}
    });
    let definitions = json!({
        "vhosts": [{ "name": "/" }, { "name": "v" }],
        "queues": [queue("told", "/"), queue("q", "v")],
        "bindings": [binding],
    });
    let server = Server::start_with(|dir| {
        let file = dir.join("definitions.json");
        fs::write(&file, definitions.to_string()).unwrap();
        let text = format!("load_definitions = {file:?}\n[events]\nexchange = true\n");
        let file = dir.join("w.toml");
        fs::write(&file, text).unwrap();
        vec!["--config".to_owned(), file.display().to_string()]
    });
    let take = json!({ "count": 9, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let until = Instant::now() + LIMIT;
    let told = loop {
        let (_, found) = server.post("/api/queues/%2F/told/get", take.clone()).await;
        match found.as_array().unwrap().first() {
            Some(told) => break told.clone(),
            None => assert!(Instant::now() < until, "nothing is told"),
        }
    };
    let headers = &told["properties"]["headers"];
    assert_eq!(headers["name"], "q");
    assert_eq!(headers["user_who_performed_action"], INTERNAL);
    server.broker.stop();
}

#[tokio::test]
async fn a3_1_a_client_is_told_who_did_what() {
    let server = Server::start_with(|dir| {
        let file = dir.join("w.toml");
        fs::write(&file, "[events]\nexchange = true\n").unwrap();
        vec!["--config".to_owned(), file.display().to_string()]
    });
    server.user("app", "").await;
    let (_listening, here) = channel(&server, "guest").await;
    let keys = [
        "queue.*",
        "exchange.*",
        "binding.*",
        "consumer.*",
        "policy.*",
    ];
    let mut events = listen(&here, &keys).await;

    let (connection, there) = channel(&server, "app").await;
    let none = FieldTable::default;
    let brief = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = there.exchange_declare("x".into(), ExchangeKind::Fanout, brief, none());
    declared.await.unwrap();
    for queue in ["q", "cancelled", "closed"] {
        let options = QueueDeclareOptions::default();
        let declared = there.queue_declare(queue.into(), options, none());
        declared.await.unwrap();
    }
    let options = QueueBindOptions::default();
    let bound = there.queue_bind("q".into(), "x".into(), "".into(), options, none());
    bound.await.unwrap();
    // One that is dropped is cancelled.
    let mut consumers = Vec::new();
    for queue in ["q", "cancelled", "closed"] {
        let options = BasicConsumeOptions::default();
        let consuming = there.basic_consume(queue.into(), queue.into(), options, none());
        consumers.push(consuming.await.unwrap());
    }
    let cancel = there.basic_cancel("cancelled".into(), BasicCancelOptions::default());
    cancel.await.unwrap();
    let deleted = there.queue_delete("q".into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    let policy = json!({ "pattern": "^q", "definition": { "max-length": 5 } });
    assert_eq!(server.put("/api/policies/%2F/p", policy).await, 201);
    connection.close(200, "bye".into()).await.unwrap();
    assert_eq!(server.delete("/api/queues/%2F/closed").await, 204);
    let expected = [
        ("exchange.created", "x", "app"),
        ("queue.created", "q", "app"),
        ("queue.created", "cancelled", "app"),
        ("queue.created", "closed", "app"),
        ("binding.created", "q", "app"),
        ("consumer.created", "q", "app"),
        ("consumer.created", "cancelled", "app"),
        ("consumer.created", "closed", "app"),
        ("consumer.deleted", "cancelled", "app"),
        ("consumer.deleted", "q", "app"),
        ("exchange.deleted", "x", INTERNAL),
        ("binding.deleted", "q", INTERNAL),
        ("queue.deleted", "q", "app"),
        ("policy.set", "p", "guest"),
        ("consumer.deleted", "closed", INTERNAL),
        ("queue.deleted", "closed", "guest"),
    ];
    let found = next(&mut events, expected.len()).await;
    let found: Vec<_> = found
        .iter()
        .map(|(event, of, by)| (event.as_str(), of.as_str(), by.as_str()))
        .collect();
    assert_eq!(found, expected);
    server.broker.stop();
}
