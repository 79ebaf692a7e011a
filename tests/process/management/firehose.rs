//! The firehose: copies of what goes in and out of a vhost.

use futures_lite::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};

use super::server::Server;

const VHOST: &str = "/api/vhosts/%2F";

async fn copies(server: &Server) -> Vec<Value> {
    let take = json!({ "count": 100, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let (_, found) = server.post("/api/queues/%2F/copies/get", take).await;
    found.as_array().unwrap().clone()
}

fn keys(copies: &[Value]) -> Vec<&str> {
    let keys = copies.iter().map(|copy| &copy["routing_key"]);
    keys.map(|key| key.as_str().unwrap()).collect()
}

/// A broker with a queue `q` and one for copies, and a channel with confirms.
async fn start() -> (Server, Connection, Channel) {
    let server = Server::start();
    for queue in ["q", "copies"] {
        let path = format!("/api/queues/%2F/{queue}");
        assert_eq!(server.put(&path, json!({})).await, 201);
    }
    let all = json!({ "routing_key": "#" });
    let path = "/api/bindings/%2F/e/amq.rabbitmq.trace/q/copies";
    assert_eq!(server.post(path, all).await.0, 201);
    let uri = server.broker.uri("");
    let connection = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let confirm = ConfirmSelectOptions::default();
    channel.confirm_select(confirm).await.unwrap();
    (server, connection, channel)
}

#[tokio::test]
async fn a7_12_copies_of_direct_replies() {
    let (server, _connection, channel) = start().await;
    assert_eq!(server.put(VHOST, json!({ "tracing": true })).await, 204);
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let reply_to = "amq.rabbitmq.reply-to";
    let none = FieldTable::default();
    let replies = channel.basic_consume(reply_to.into(), "".into(), no_ack, none);
    let mut replies = replies.await.unwrap();
    let publish = async |key: &str, properties: BasicProperties| {
        let options = BasicPublishOptions::default();
        let confirm = channel.basic_publish("".into(), key.into(), options, b"body", properties);
        confirm.await.unwrap().await.unwrap();
    };
    let asking = BasicProperties::default().with_reply_to(reply_to.into());
    publish("q", asking).await;
    let got = channel.basic_get("q".into(), BasicGetOptions { no_ack: true });
    let request = got.await.unwrap().unwrap();
    let own = request.properties.reply_to().as_ref().unwrap().as_str();
    publish(own, BasicProperties::default()).await;
    replies.next().await.unwrap().unwrap();
    let nobody = format!("{reply_to}.gone");
    publish(&nobody, BasicProperties::default()).await;

    let found = copies(&server).await;
    let delivered = format!("deliver.{own}");
    let expected = ["publish.", "deliver.q", "publish.", &delivered, "publish."];
    assert_eq!(keys(&found), expected);
    let headers = |at: usize| &found[at]["properties"]["headers"];
    assert_eq!(headers(2)["routed_queues"], json!([own]));
    assert_eq!(headers(3)["redelivered"], 0);
    assert_eq!(headers(4)["routed_queues"], json!([]), "nobody takes it");
    server.broker.stop();
}

#[tokio::test]
async fn a3_1_copies_of_what_goes_in_and_out() {
    let (server, _connection, channel) = start().await;
    let publish = async |key: &str| {
        let mut headers = FieldTable::default();
        headers.insert("h".into(), AMQPValue::LongInt(7));
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_priority(3);
        let confirm = channel.basic_publish(
            "".into(),
            key.into(),
            BasicPublishOptions::default(),
            b"body",
            properties,
        );
        confirm.await.unwrap().await.unwrap();
    };
    publish("q").await;
    assert_eq!(server.get(VHOST).await["tracing"], false);
    assert!(copies(&server).await.is_empty(), "it is off");

    let described = json!({ "description": "kept" });
    assert_eq!(server.put(VHOST, described).await, 204);
    assert_eq!(server.put(VHOST, json!({ "tracing": true })).await, 204);
    let shown = server.get(VHOST).await;
    assert_eq!(
        (&shown["tracing"], &shown["description"]),
        (&json!(true), &json!("kept"))
    );
    // Twice the same way: a route that is remembered must not hide the second.
    for key in ["q", "q", "nowhere"] {
        publish(key).await;
    }
    let got = channel.basic_get("q".into(), BasicGetOptions { no_ack: true });
    assert!(got.await.unwrap().is_some());
    let found = copies(&server).await;
    let expected = ["publish.", "publish.", "publish.", "deliver.q"];
    assert_eq!(keys(&found), expected);
    let first = &found[0];
    assert_eq!(
        (&first["exchange"], &first["payload"]),
        (&json!("amq.rabbitmq.trace"), &json!("body"))
    );
    let headers = &first["properties"]["headers"];
    assert_eq!(headers["exchange_name"], "");
    assert_eq!(headers["routing_keys"], json!(["q"]));
    assert_eq!(headers["routed_queues"], json!(["q"]));
    assert_eq!(headers["user"], "guest");
    assert_eq!(
        (&headers["vhost"], &headers["channel"]),
        (&json!("/"), &json!(1))
    );
    assert_eq!(
        headers["properties"],
        json!({ "headers": { "h": 7 }, "priority": 3 })
    );
    assert!(headers["connection"].as_str().unwrap().contains(" -> "));
    assert!(headers["node"].as_str().unwrap().starts_with("warren@"));
    assert_eq!(
        found[2]["properties"]["headers"]["routed_queues"],
        json!([])
    );
    assert_eq!(found[3]["properties"]["headers"]["redelivered"], 0);

    assert_eq!(server.put(VHOST, json!({ "tracing": false })).await, 204);
    publish("q").await;
    assert!(copies(&server).await.is_empty(), "it is off again");
    server.broker.stop();
}
