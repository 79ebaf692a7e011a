//! Definitions at start and over HTTP.

use std::fs;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::complaint_of;
use crate::support::{Broker, warren};

const RABBITMQ: &str = include_str!("../data/rabbitmq-3.10.8-definitions.json");

#[test]
fn a11_a_broker_does_not_start_with_definitions_that_have_a_fault() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("definitions.json");
    fs::write(&file, r#"{"queues": [{"name": "q", "vhost": "nope"}]}"#).unwrap();
    let data = dir.path().join("data");
    let load = ["--load-definitions", file.to_str().unwrap()];
    let line = complaint_of(&data, &load);
    assert!(
        line.ends_with("queues[0] 'q': virtual host 'nope' does not exist"),
        "{line}"
    );
}

struct Api {
    client: Client,
    at: String,
}

impl Api {
    async fn ask(&self, method: Method, path: &str, body: Option<&str>) -> (StatusCode, Value) {
        let url = format!("{}/api/{path}", self.at);
        let request = self.client.request(method, url);
        let request = request.basic_auth("guest", Some("guest"));
        let request = request.body(body.unwrap_or_default().to_owned());
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    async fn status(&self, method: Method, path: &str, body: &str) -> u16 {
        self.ask(method, path, Some(body)).await.0.as_u16()
    }
}

#[tokio::test]
async fn a12_definitions_and_parameters_over_http() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("definitions.json");
    fs::write(&file, RABBITMQ).unwrap();
    let mut command = warren();
    command.args(["--listen", "127.0.0.1:0", "--management", "127.0.0.1:0"]);
    command.args(["--metrics", "off", "--load-definitions"]);
    command.arg(&file);
    command.arg("--data-dir").arg(dir.path().join("data"));
    let broker = Broker::run(command);
    let line = broker.wait_for("listening for HTTP");
    let address = line.rsplit('=').next().unwrap().trim();
    let api = Api {
        client: Client::new(),
        at: format!("http://{address}"),
    };
    let all = api.get("definitions").await;
    assert_eq!(all["queues"].as_array().unwrap().len(), 4);
    assert_eq!(all["users"].as_array().unwrap().len(), 4);
    let (status, _) = api
        .ask(Method::POST, "definitions", Some(&all.to_string()))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let orders = api.get("definitions/orders").await;
    assert_eq!(orders["queues"].as_array().unwrap().len(), 2);
    let into = api
        .status(Method::POST, "definitions/%2F", &orders.to_string())
        .await;
    assert_eq!(into, 204);
    let queue = api.get("queues/%2F/app.jobs").await;
    assert_eq!(queue["policy"], "ttl");
    let bad = r#"{"queues": [{"name": "new", "vhost": "/"}, {"vhost": "/"}]}"#;
    let (status, fault) = api.ask(Method::POST, "definitions", Some(bad)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(fault["reason"], "queues[1]: missing field `name`");
    let (status, _) = api.ask(Method::GET, "queues/%2F/new", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "nothing was changed");

    let value = r#"{"value": {"a": 1}}"#;
    let shovel = "parameters/shovel/%2F/s";
    assert_eq!(api.status(Method::PUT, shovel, value).await, 201);
    assert_eq!(api.status(Method::PUT, shovel, value).await, 204);
    assert_eq!(api.get(shovel).await["value"], json!({"a": 1}));
    assert_eq!(api.get("parameters/shovel/orders").await, json!([]));
    assert_eq!(api.status(Method::DELETE, shovel, "").await, 204);
    assert_eq!(api.status(Method::DELETE, shovel, "").await, 404);
    assert_eq!(
        api.status(Method::PUT, "parameters/foo/%2F/s", value).await,
        400
    );
    assert_eq!(
        api.status(Method::PUT, "global-parameters/g", value).await,
        201
    );
    assert_eq!(
        api.get("global-parameters/g").await["value"],
        json!({"a": 1})
    );
    assert_eq!(
        api.status(Method::DELETE, "global-parameters/g", "").await,
        204
    );
}
