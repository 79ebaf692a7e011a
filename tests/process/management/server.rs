//! A broker with its HTTP servers, and requests to them.

use std::path::Path;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Broker, warren};

pub(crate) struct Server {
    pub(crate) broker: Broker,
    client: Client,
    http: String,
    metrics: String,
    _dir: TempDir,
}

/// The address in a line of the log that ends with it.
fn address(broker: &Broker, line: &str) -> String {
    let line = broker.wait_for(line);
    let at = line.rsplit('=').next().unwrap();
    format!("http://{}", at.trim())
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// `flags` are made for the directory that the broker works in.
    pub(crate) fn start_with(flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = warren();
        command.args(["--listen", "127.0.0.1:0", "--management", "127.0.0.1:0"]);
        command.args(["--metrics", "127.0.0.1:0", "--data-dir"]);
        command.arg(dir.path().join("data")).args(flags(dir.path()));
        let broker = Broker::run(command);
        Server {
            http: address(&broker, "listening for HTTP"),
            metrics: address(&broker, "listening for Prometheus"),
            broker,
            client: Client::new(),
            _dir: dir,
        }
    }

    pub(crate) async fn ask(
        &self,
        user: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.http);
        let mut request = self
            .client
            .request(method, url)
            .basic_auth(user, Some(user));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(json!(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, found) = self.ask("guest", Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {found}");
        found
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> StatusCode {
        self.ask("guest", Method::PUT, path, Some(body)).await.0
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask("guest", Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> StatusCode {
        self.ask("guest", Method::DELETE, path, None).await.0
    }

    /// A request without credentials; the answer with its headers.
    pub(crate) async fn plain(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.http);
        self.client.get(url).send().await.unwrap()
    }

    /// A request of guest's that takes gzip: the headers and the octets of the answer.
    pub(crate) async fn zipped(&self, path: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
        let url = format!("{}{path}", self.http);
        let request = self.client.get(url).basic_auth("guest", Some("guest"));
        let request = request.header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        (headers, response.bytes().await.unwrap().to_vec())
    }

    pub(crate) async fn scrape(&self, path: &str) -> String {
        let url = format!("{}{path}", self.metrics);
        let response = self.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    }

    /// A user whose password is its name, with full permissions in the vhost `/`.
    pub(crate) async fn user(&self, name: &str, tags: &str) {
        let user = json!({ "password": name, "tags": tags });
        assert_eq!(self.put(&format!("/api/users/{name}"), user).await, 201);
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        let path = format!("/api/permissions/%2F/{name}");
        assert_eq!(self.put(&path, all).await, 201);
    }
}
