//! The firehose: copies of what goes in and out of a vhost.

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};

use super::server::Server;

const VHOST: &str = "/api/vhosts/%2F";

async fn copies(server: &Server) -> Vec<Value> {
    let take = json!({ "count": 100, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let (_, found) = server.post("/api/queues/%2F/copies/get", take).await;
    found.as_array().unwrap().clone()
}

#[tokio::test]
async fn a3_1_copies_of_what_goes_in_and_out() {
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
    let keys: Vec<&str> = found
        .iter()
        .map(|c| c["routing_key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["publish.", "publish.", "publish.", "deliver.q"]);
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
