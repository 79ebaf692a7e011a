//! What requests do.

use std::io::{Read, Write};

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
    let (status, fault) = server
        .ask("guest", Method::PATCH, "/warren/api/overview", None)
        .await;
    assert_eq!(status, 405);
    assert_eq!(fault["error"], "method_not_allowed");
    let (status, fault) = server
        .ask("guest", Method::GET, "/warren/api/queues/%ff/x", None)
        .await;
    assert_eq!(status, 400);
    assert!(
        fault["reason"].as_str().unwrap().contains("UTF-8"),
        "{fault}"
    );
    server.broker.stop();
}

#[tokio::test]
async fn a12_the_broker_has_a_name_and_keeps_it() {
    let server = Server::start();
    assert_eq!(server.get("/api/cluster-name").await["name"], "warren");
    let name = json!({ "name": "hutch" });
    assert_eq!(server.put("/api/cluster-name", name).await, 204);
    assert_eq!(server.get("/api/cluster-name").await["name"], "hutch");
    assert_eq!(server.get("/api/overview").await["cluster_name"], "hutch");
    assert_eq!(
        server.get("/api/global-parameters/cluster_name").await["value"],
        "hutch"
    );
    assert!(
        server
            .scrape("/metrics")
            .await
            .contains("rabbitmq_cluster=\"hutch\"")
    );
    let mut client = std::net::TcpStream::connect(server.broker.address()).unwrap();
    client.write_all(b"AMQP\0\0\x09\x01").unwrap();
    let mut start = vec![0; 512];
    let len = client.read(&mut start).unwrap();
    let told = String::from_utf8_lossy(&start[..len]);
    assert!(told.contains("hutch"), "connection.start: {told}");
    let bad = json!({ "name": 5 });
    assert_eq!(server.put("/api/cluster-name", bad).await, 400);
    server.broker.stop();
}

#[tokio::test]
async fn a12_settings_are_shown_without_the_password() {
    let server = Server::start();
    let settings = server.get("/api/config/effective").await;
    assert_eq!(settings["amqp"]["channel_max"], 2047);
    assert_eq!(settings["auth"]["default_user"], "guest");
    assert_eq!(settings["auth"]["default_password"], "***");
    assert_eq!(server.delete("/api/reset").await, 204);
    assert_eq!(server.delete("/api/reset/elsewhere").await, 404);
    let soon = "/api/health/checks/certificate-expiration/1/weeks";
    assert_eq!(server.get(soon).await["status"], "ok");
    server.user("half", "monitoring").await;
    for (method, path) in [
        (Method::DELETE, "/api/reset"),
        (Method::GET, "/api/config/effective"),
        (Method::PUT, "/api/cluster-name"),
    ] {
        let (status, _) = server.ask("half", method, path, None).await;
        assert_eq!(status, 401, "{path}");
    }
    server.broker.stop();
}

async fn fill(server: &Server, queue: &str, len: usize) {
    let path = format!("/api/queues/%2F/{queue}");
    assert_eq!(server.put(&path, json!({})).await, 201);
    for number in 0..len {
        let message = json!({
            "properties": { "delivery_mode": 2, "headers": { "n": number } },
            "routing_key": queue, "payload": format!("order {number}"), "payload_encoding": "string",
        });
        let publish = "/api/exchanges/%2F/amq.default/publish";
        assert_eq!(server.post(publish, message).await.0, 200);
    }
}

fn payloads(found: &Value) -> Vec<&str> {
    let messages = found["messages"].as_array().unwrap().iter();
    messages.map(|m| m["payload"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn messages_are_looked_at_found_deleted_and_moved() {
    let server = Server::start();
    fill(&server, "q", 5).await;
    fill(&server, "other", 0).await;
    let messages = "/api/warren/queues/%2F/q/messages";
    let found = server.get(&format!("{messages}?count=2")).await;
    assert_eq!(payloads(&found), ["order 0", "order 1"]);
    assert_eq!(
        found["messages"][0]["properties"]["headers"],
        json!({ "n": 0 })
    );
    let next = found["next"].as_str().unwrap();
    let rest = server.get(&format!("{messages}?from={next}")).await;
    assert_eq!(payloads(&rest), ["order 2", "order 3", "order 4"]);
    assert_eq!(rest["next"], Value::Null);
    let cut = server.get(&format!("{messages}?skip=4&truncate=3")).await;
    assert_eq!(payloads(&cut), ["ord"]);
    assert_eq!(cut["messages"][0]["payload_bytes"], 7);
    for (search, expected) in [
        ("search=ORDER%203", vec!["order 3"]),
        ("search=%22n%22:2", vec!["order 2"]),
        (
            "search=order%20[14]&use_regex=true",
            vec!["order 1", "order 4"],
        ),
        ("search=nothing", vec![]),
    ] {
        let found = server.get(&format!("{messages}?{search}")).await;
        assert_eq!(payloads(&found), expected, "{search}");
        assert_eq!(found["examined"], 5);
    }
    let id = rest["messages"][0]["id"].as_str().unwrap();
    assert_eq!(server.delete(&format!("{messages}/{id}")).await, 204);
    assert_eq!(server.delete(&format!("{messages}/{id}")).await, 404);
    assert_eq!(server.delete(&format!("{messages}/nonsense")).await, 400);
    let relocate = "/api/warren/queues/%2F/q/move";
    let some = json!({ "to_queue": "other", "search": "order [01]", "use_regex": true });
    let (_, moved) = server.post(relocate, some).await;
    assert_eq!((&moved["moved"], &moved["next"]), (&json!(2), &Value::Null));
    let id = rest["messages"][2]["id"].as_str().unwrap();
    let one =
        json!({ "to_exchange": "amq.default", "routing_key": "other", "id": id, "copy": true });
    assert_eq!(server.post(relocate, one).await.1["moved"], 1);
    assert_eq!(
        payloads(&server.get(messages).await),
        ["order 3", "order 4"]
    );
    let there = server.get("/api/warren/queues/%2F/other/messages").await;
    assert_eq!(payloads(&there), ["order 0", "order 1", "order 4"]);
    for bad in [json!({}), json!({ "to_queue": "a", "to_exchange": "b" })] {
        assert_eq!(server.post(relocate, bad).await.0, 400);
    }
    let nowhere = json!({ "to_queue": "nowhere" });
    assert_eq!(server.post(relocate, nowhere).await.0, 404);
    // Whoever may only write may neither look nor move.
    server.user("writer", "management").await;
    let write = json!({ "configure": "", "write": ".*", "read": "" });
    assert_eq!(server.put("/api/permissions/%2F/writer", write).await, 204);
    let (status, _) = server.ask("writer", Method::GET, messages, None).await;
    assert_eq!(status, 401);
    let read = json!({ "configure": "", "write": "", "read": ".*" });
    assert_eq!(server.put("/api/permissions/%2F/writer", read).await, 204);
    assert_eq!(
        server.ask("writer", Method::GET, messages, None).await.0,
        200
    );
    let body = Some(json!({ "to_queue": "other" }));
    let (status, _) = server.ask("writer", Method::POST, relocate, body).await;
    assert_eq!(status, 401);
    server.broker.stop();
}

#[tokio::test]
async fn a_route_is_explained_without_a_message() {
    let server = Server::start();
    for queue in ["all", "eu", "late"] {
        fill(&server, queue, 0).await;
    }
    let topic = json!({ "type": "topic", "arguments": { "alternate-exchange": "rest" } });
    assert_eq!(server.put("/api/exchanges/%2F/orders", topic).await, 201);
    let fanout = json!({ "type": "fanout" });
    for name in ["everyone", "rest"] {
        let path = format!("/api/exchanges/%2F/{name}");
        assert_eq!(server.put(&path, fanout.clone()).await, 201);
    }
    for (from, to, key) in [
        ("orders", "q/eu", "order.eu.*"),
        ("orders", "e/everyone", "order.#"),
        ("everyone", "q/all", ""),
        ("rest", "q/late", ""),
    ] {
        let path = format!("/api/bindings/%2F/e/{from}/{to}");
        let (status, _) = server.post(&path, json!({ "routing_key": key })).await;
        assert_eq!(status, 201);
    }
    let ask = "/api/warren/exchanges/%2F/orders/route";
    let (_, found) = server
        .post(ask, json!({ "routing_key": "order.eu.1" }))
        .await;
    assert_eq!(found["queues"], json!(["all", "eu"]));
    let first = &found["steps"][0];
    assert_eq!(
        (&first["exchange"], &first["type"]),
        (&json!("orders"), &json!("topic"))
    );
    assert_eq!(first["passed"].as_array().unwrap().len(), 2);
    assert_eq!(
        first["alternate_exchange"],
        json!({ "name": "rest", "is": "not needed" })
    );
    assert_eq!(found["steps"][1]["came_by"], "binding");
    let by_cc =
        json!({ "routing_key": "none", "properties": { "headers": { "CC": ["order.eu.2"] } } });
    let (_, found) = server.post(ask, by_cc).await;
    assert_eq!(found["queues"], json!(["all", "eu"]));
    assert_eq!(
        found["steps"][0]["passed"][0]["keys"],
        json!(["order.eu.2"])
    );
    let (_, found) = server.post(ask, json!({ "routing_key": "none" })).await;
    assert_eq!(found["queues"], json!(["late"]));
    assert_eq!(found["steps"][1]["came_by"], "alternate exchange");
    let direct = "/api/warren/exchanges/%2F/amq.default/route";
    let (_, found) = server.post(direct, json!({ "routing_key": "all" })).await;
    assert_eq!(found["queues"], json!(["all"]));
    let missing = "/api/warren/exchanges/%2F/missing/route";
    assert_eq!(
        server.post(missing, json!({ "routing_key": "" })).await.0,
        404
    );
    let why = server.get("/api/warren/exchanges/%2F/orders/explain").await;
    assert_eq!(why["settings"][0]["value"], "rest");
    server.broker.stop();
}

#[tokio::test]
async fn an_argument_is_changed_without_declaring_again() {
    let server = Server::start();
    fill(&server, "q", 3).await;
    let argument = "/api/warren/queues/%2F/q/arguments/x-max-length";
    assert_eq!(server.put(argument, json!({ "value": 2 })).await, 204);
    let shown = server.get("/api/queues/%2F/q").await;
    assert_eq!(shown["arguments"], json!({ "x-max-length": 2 }));
    assert_eq!(shown["messages_ready"], 2, "the limit holds at once");
    assert_eq!(server.put(argument, json!({ "value": "x" })).await, 400);
    let fixed = "/api/warren/queues/%2F/q/arguments/x-max-priority";
    assert_eq!(server.put(fixed, json!({ "value": 2 })).await, 400);
    assert_eq!(server.delete(argument).await, 204);
    let shown = server.get("/api/queues/%2F/q").await;
    assert_eq!(shown["arguments"], json!({}));
    server.broker.stop();
}

#[tokio::test]
async fn a12_long_answers_are_compressed_for_who_accepts_it() {
    let server = Server::start();
    for number in 0..300 {
        let path = format!("/api/queues/%2F/a-queue-of-many-{number:03}");
        assert_eq!(server.put(&path, json!({})).await, 201);
    }
    let columns = "columns=name,durable,arguments";
    // A page, and a list that is sent in pieces.
    for path in ["/api/queues?page=1&page_size=200&", "/api/queues?"] {
        let path = format!("{path}{columns}");
        let plain = server.get(&path).await;
        let (headers, octets) = server.zipped(&path).await;
        assert_eq!(headers["content-encoding"], "gzip", "{path}");
        assert_eq!(headers["vary"], "accept, accept-encoding, origin");
        assert!(!headers.contains_key("content-length"), "{path}");
        let mut text = String::new();
        let unzipped = flate2::read::GzDecoder::new(&octets[..]).read_to_string(&mut text);
        unzipped.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), plain);
        assert!(octets.len() * 5 < text.len(), "{} octets", octets.len());
    }
    let (headers, octets) = server.zipped("/api/whoami").await;
    assert!(!headers.contains_key("content-encoding"), "too short");
    assert!(octets.starts_with(b"{"));
    server.broker.stop();
}

#[tokio::test]
async fn a12_a_list_of_a_vhost_has_what_is_in_it_and_the_list_of_all_has_the_rest() {
    let server = Server::start();
    assert_eq!(server.put("/api/vhosts/v", json!({})).await, 201);
    assert_eq!(server.put("/api/queues/v/q", json!({})).await, 201);
    let policy = json!({ "pattern": "^none$", "definition": { "max-length": 1 } });
    assert_eq!(server.put("/api/policies/v/p", policy).await, 201);
    // It is a user of the vhost / only.
    server.user("other", "management").await;
    let uri = server.broker.uri("").replace("%2f", "v");
    let connection = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let consumer = channel.basic_consume(
        "q".into(),
        "tag".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let _consumer = consumer.await.unwrap();
    for (all, of, there, here) in [
        ("exchanges", "exchanges", 7, 7),
        ("queues", "queues", 1, 0),
        ("bindings", "bindings", 1, 0),
        ("consumers", "consumers", 1, 0),
        ("policies", "policies", 1, 0),
        ("connections", "vhosts/{vhost}/connections", 1, 0),
        ("channels", "vhosts/{vhost}/channels", 1, 0),
    ] {
        let of = match of.contains("{vhost}") {
            true => of.to_owned(),
            false => format!("{of}/{{vhost}}"),
        };
        let at = |vhost: &str| format!("/api/{}", of.replace("{vhost}", vhost));
        let count = |found: &Value| found.as_array().unwrap().len();
        assert_eq!(count(&server.get(&at("v")).await), there, "{of}");
        assert_eq!(count(&server.get(&at("%2F")).await), here, "{of}");
        let everything = server.get(&format!("/api/{all}")).await;
        assert_eq!(count(&everything), there + here, "{all}");
        let path = format!("/api/{all}");
        let (_, seen) = server.ask("other", Method::GET, &path, None).await;
        assert_eq!(count(&seen), here, "{all}");
        let (status, _) = server.ask("other", Method::GET, &at("v"), None).await;
        assert_eq!(status, 401, "{of}");
        let (status, _) = server.ask("guest", Method::GET, &at("none"), None).await;
        assert_eq!(status, 404, "{of}");
    }
    server.broker.stop();
}
