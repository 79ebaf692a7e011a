//! What requests do.

use futures_lite::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use reqwest::Method;
use serde_json::{Value, json};

use super::server::Server;

#[tokio::test]
async fn a12_a_message_goes_in_and_comes_out() {
    let server = Server::start();
    let queue = json!({ "durable": true, "arguments": { "x-max-length": 5 } });
    assert_eq!(
        server.put("/api/queues/%2F/a%2Fb", queue.clone()).await,
        201
    );
    assert_eq!(server.put("/api/queues/%2F/a%2Fb", queue).await, 204);
    assert_eq!(
        server
            .put("/api/exchanges/%2F/x", json!({ "type": "topic" }))
            .await,
        201
    );
    let binding = json!({ "routing_key": "k.#", "arguments": { "n": 1 } });
    let (bound, _) = server.post("/api/bindings/%2F/e/x/q/a%2Fb", binding).await;
    assert_eq!(bound, 201);
    let message = json!({
        "properties": { "delivery_mode": 2, "headers": { "h": 1 } },
        "routing_key": "k.1", "payload": "aGk=", "payload_encoding": "base64",
    });
    let publish = "/api/exchanges/%2F/x/publish";
    assert_eq!(
        server.post(publish, message.clone()).await.1,
        json!({ "routed": true })
    );
    let mut elsewhere = message;
    elsewhere["routing_key"] = json!("none");
    assert_eq!(
        server.post(publish, elsewhere).await.1,
        json!({ "routed": false })
    );

    let get = "/api/queues/%2F/a%2Fb/get";
    let look = json!({ "count": 5, "ackmode": "ack_requeue_true", "encoding": "auto" });
    let (_, found) = server.post(get, look.clone()).await;
    assert_eq!(found[0]["payload"], "hi");
    assert_eq!(found[0]["properties"]["headers"], json!({ "h": 1 }));
    assert_eq!(found[0]["redelivered"], false);
    let (_, again) = server.post(get, look).await;
    assert_eq!(again[0]["redelivered"], true, "it went back");
    let shown = server.get("/api/queues/%2F/a%2Fb").await;
    assert_eq!(shown["messages_ready"], 1);
    assert_eq!(shown["message_bytes"], 2);
    assert_eq!(shown["message_stats"]["publish"], 1);
    assert_eq!(shown["arguments"], json!({ "x-max-length": 5 }));

    let bindings = server.get("/api/bindings/%2F/e/x/q/a%2Fb").await;
    let key = bindings[0]["properties_key"].as_str().unwrap();
    let key = key.replace('%', "%25");
    let binding = format!("/api/bindings/%2F/e/x/q/a%2Fb/{key}");
    assert_eq!(server.get(&binding).await["routing_key"], "k.#");
    assert_eq!(server.delete(&binding).await, 204);
    assert_eq!(server.delete(&binding).await, 404);
    assert_eq!(
        server.delete("/api/queues/%2F/a%2Fb?if-empty=true").await,
        400
    );
    assert_eq!(server.delete("/api/queues/%2F/a%2Fb/contents").await, 204);
    assert_eq!(
        server.delete("/api/queues/%2F/a%2Fb?if-empty=true").await,
        204
    );
    assert_eq!(server.delete("/api/queues/%2F/a%2Fb").await, 404);
    server.broker.stop();
}

#[tokio::test]
async fn a10_a_change_needs_the_permission_that_amqp_asks_for() {
    let server = Server::start();
    server.user("reader", "management").await;
    let rights = json!({ "configure": "^mine", "write": "^mine", "read": ".*" });
    assert_eq!(server.put("/api/permissions/%2F/reader", rights).await, 204);
    assert_eq!(server.put("/api/queues/%2F/theirs", json!({})).await, 201);
    let publish = json!({
        "properties": {}, "routing_key": "theirs", "payload": "", "payload_encoding": "string",
    });
    let by_reader = [
        (Method::PUT, "/api/queues/%2F/mine", json!({}), 201),
        (Method::PUT, "/api/queues/%2F/other", json!({}), 401),
        (Method::DELETE, "/api/queues/%2F/theirs", json!({}), 401),
        (Method::PUT, "/api/exchanges/%2F/other", json!({}), 401),
        (
            Method::POST,
            "/api/exchanges/%2F/amq.default/publish",
            publish,
            401,
        ),
        (
            Method::POST,
            "/api/bindings/%2F/e/amq.topic/q/theirs",
            json!({}),
            401,
        ),
        (
            Method::POST,
            "/api/bindings/%2F/e/amq.topic/q/mine",
            json!({}),
            201,
        ),
        (
            Method::DELETE,
            "/api/queues/%2F/theirs/contents",
            json!({}),
            204,
        ),
        (Method::PUT, "/api/users/other", json!({}), 401),
    ];
    for (method, path, body, expected) in by_reader {
        let (status, found) = server.ask("reader", method.clone(), path, Some(body)).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {found}");
    }
    assert_eq!(server.delete("/api/permissions/%2F/reader").await, 204);
    let (status, found) = server
        .ask("reader", Method::GET, "/api/queues/%2F", None)
        .await;
    assert_eq!(
        (status.as_u16(), &found["error"]),
        (401, &json!("not_authorised"))
    );
    let (_, found) = server.ask("reader", Method::GET, "/api/queues", None).await;
    assert_eq!(found, json!([]));
    server.broker.stop();
}

#[tokio::test]
async fn a12_connections_are_seen_by_their_users_and_closed_by_name() {
    let server = Server::start();
    server.user("other", "management").await;
    let properties = ConnectionProperties::default().with_connection_name("here".into());
    let uri = server.broker.uri("");
    let client = Connection::connect(&uri, properties).await.unwrap();
    let channel = client.create_channel().await.unwrap();
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("own".into(), options, FieldTable::default());
    declared.await.unwrap();
    let mut consumer = channel
        .basic_consume(
            "own".into(),
            "tag".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();

    let connections = server.get("/api/connections").await;
    assert_eq!(connections.as_array().map(Vec::len), Some(1));
    assert_eq!(connections[0]["user_provided_name"], "here");
    let name = connections[0]["name"].as_str().unwrap();
    let path = format!(
        "/api/connections/{}",
        name.replace(' ', "%20").replace('>', "%3E")
    );
    assert_eq!(server.get(&path).await["channels"], 1);
    let channels = server.get("/api/channels").await;
    assert_eq!(channels[0]["consumer_count"], 1);
    assert_eq!(channels[0]["connection_details"]["name"], name);
    let consumers = server.get("/api/consumers").await;
    assert_eq!(consumers[0]["consumer_tag"], "tag");
    let queue = server.get("/api/queues/%2F/own").await;
    assert_eq!(queue["owner_pid_details"]["name"], name);
    assert_eq!(
        queue["consumer_details"][0]["channel_details"]["connection_name"],
        name
    );

    let (_, seen) = server
        .ask("other", Method::GET, "/api/connections", None)
        .await;
    assert_eq!(seen, json!([]));
    let (status, _) = server.ask("other", Method::DELETE, &path, None).await;
    assert_eq!(status, 401);
    assert_eq!(
        server.delete("/api/queues/%2F/own").await,
        400,
        "it is another's alone"
    );
    assert_eq!(server.delete(&path).await, 204);
    // Its connection is gone once nothing comes any more, or a fault does.
    while let Some(Ok(_)) = consumer.next().await {}
    server.broker.stop();
}

#[tokio::test]
async fn a9_a_policy_applies_at_once_and_is_explained() {
    let server = Server::start();
    assert_eq!(server.put("/api/queues/%2F/q1", json!({})).await, 201);
    let policy = json!({ "pattern": "^q", "definition": { "max-length": 3 }, "priority": 2 });
    assert_eq!(server.put("/api/policies/%2F/short", policy).await, 201);
    assert_eq!(server.get("/api/queues/%2F/q1").await["policy"], "short");
    let why = server.get("/api/warren/queues/%2F/q1/explain").await;
    assert_eq!(why["settings"][0]["key"], "max-length");
    assert_eq!(why["settings"][0]["value"], 3);
    let wrong = json!({ "pattern": "^q", "definition": { "max-length": "x" } });
    let (status, fault) = server
        .ask("guest", Method::PUT, "/api/policies/%2F/wrong", Some(wrong))
        .await;
    assert_eq!(status, 400);
    let reason = fault["reason"].as_str().unwrap();
    assert!(reason.contains("Validation failed"), "{reason}");
    assert_eq!(server.delete("/api/policies/%2F/short").await, 204);
    assert_eq!(
        server.get("/api/queues/%2F/q1").await["policy"],
        Value::Null
    );
    server.broker.stop();
}

#[tokio::test]
async fn pages_stand_behind_a_prefix() {
    let server = Server::start_with(|dir| {
        let config = dir.join("warren.toml");
        std::fs::write(&config, "[management]\npath_prefix = \"/warren\"\n").unwrap();
        vec!["--config".to_owned(), config.to_str().unwrap().to_owned()]
    });
    let page = server.plain("/warren").await;
    assert!(page.url().path().ends_with("/warren/"), "{}", page.url());
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.headers().contains_key("content-security-policy"));
    assert_eq!(server.plain("/warren/app.js").await.status(), 200);
    assert_eq!(server.plain("/app.js").await.status(), 404);
    assert_eq!(server.plain("/warren/api/overview").await.status(), 401);
    let (status, _) = server
        .ask("guest", Method::GET, "/warren/api/overview/", None)
        .await;
    assert_eq!(status, 200);
    let (status, _) = server
        .ask("guest", Method::PATCH, "/warren/api/overview", None)
        .await;
    assert_eq!(status, 405);
    server.broker.stop();
}
