//! Calls of the broker's HTTP API.
//!
//! Owns how the broker is found and how one proves to be allowed: by the address and user given, or by
//! the access file that a running broker keeps in its data directory, which only the user that runs
//! the broker can read.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::args::Access;
use crate::fault::Fault;

/// The file in the data directory that says how to reach the broker that runs there.
const ACCESS_FILE: &str = "warrenctl.access";

#[derive(Deserialize)]
struct AccessFile {
    url: String,
    token: String,
}

enum Proof {
    Token(String),
    Password { user: String, password: String },
}

/// The way to one broker.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    proof: Proof,
}

impl Client {
    /// Finds the broker; does not call it yet.
    pub(crate) fn new(access: &Access) -> Result<Self, Fault> {
        let found = access_file(&access.data_dir);
        let told = || {
            access
                .url
                .clone()
                .or(found.as_ref().ok().map(|f| f.url.clone()))
        };
        let url = told().unwrap_or_else(|| DEFAULT_URL.to_owned());
        check_url(&url)?;
        let proof = match &access.user {
            Some(user) => Proof::Password {
                user: user.clone(),
                password: access.password.clone().unwrap_or_default(),
            },
            None => Proof::Token(found?.token),
        };
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(access.timeout_s))
            .no_proxy()
            .build()
            .map_err(|e| Fault::Unavailable(e.to_string()))?;
        Ok(Client {
            http,
            url: url.trim_end_matches('/').to_owned(),
            proof,
        })
    }

    /// GET of `/api/{path}`.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.call(Method::GET, path, None).await
    }

    /// GET of a list that may be empty or may not exist at all.
    pub(crate) async fn list(&self, path: &str) -> Result<Vec<Value>, Fault> {
        match self.get(path).await? {
            Value::Array(items) => Ok(items),
            other => Ok(vec![other]),
        }
    }

    /// PUT.
    pub(crate) async fn put(&self, path: &str, body: Value) -> Result<Value, Fault> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// POST.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, Fault> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Fault> {
        self.call(Method::DELETE, path, None).await
    }

    /// DELETE, with a reason for whom it concerns.
    pub(crate) async fn delete_because(&self, path: &str, reason: &str) -> Result<Value, Fault> {
        let request = self.request(Method::DELETE, path);
        let request = request.header("X-Reason", reason);
        self.send_to(path, request).await
    }

    /// Whether a user and password are right. What the user may do is another question.
    pub(crate) async fn authenticates(&self, user: &str, password: &str) -> Result<bool, Fault> {
        let request = self.http.get(format!("{}/api/whoami", self.url));
        let request = request.basic_auth(user, Some(password));
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.unreachable(&e))?;
        let value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let said = value.get("reason").and_then(Value::as_str);
        match (status, said) {
            (StatusCode::UNAUTHORIZED, Some(LOGIN_FAILED)) => Ok(false),
            // Who lacks the tags for management is known all the same.
            (StatusCode::UNAUTHORIZED, Some(_)) => Ok(true),
            (status, _) if status.is_success() => Ok(true),
            (status, _) => Err(refused(status, &value)),
        }
    }

    /// As [`Client::send`], with the name of what is not there.
    async fn send_to(&self, path: &str, request: RequestBuilder) -> Result<Value, Fault> {
        self.send(request).await.map_err(|fault| match fault {
            Fault::Refused { status, reason } => Fault::Refused {
                status,
                reason: match reason.as_str() {
                    MISSING => missing(path).unwrap_or(reason),
                    NO_VHOST_OR_USER => no_vhost_or_user(path),
                    _ => reason,
                },
            },
            other => other,
        })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Fault> {
        let mut request = self.request(method, path);
        if let Some(body) = &body {
            request = request.json(body);
        }
        self.send_to(path, request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/{path}", self.url));
        match &self.proof {
            Proof::Token(token) => request.bearer_auth(token),
            Proof::Password { user, password } => request.basic_auth(user, Some(password)),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, Fault> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.unreachable(&e))?;
        let value = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        };
        match status.is_success() {
            true => Ok(value),
            false => Err(refused(status, &value)),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let why = match (error.is_timeout(), error.is_connect()) {
            (true, _) => "it does not answer in time (--timeout)".to_owned(),
            (_, true) if is_refused(error) => {
                "nothing listens there: is the broker running?".to_owned()
            }
            _ => {
                let told = causes(error);
                let kind = match (told.contains("dns error"), self.url.starts_with("https:")) {
                    (true, _) => "the host is unknown: ",
                    (false, true) if error.is_connect() => "no TLS connection, is it http? ",
                    _ => "",
                };
                format!("{kind}{told}")
            }
        };
        Fault::Unavailable(format!("cannot reach the broker at {}: {why}", self.url))
    }
}

/// What the API says of a user or password that is wrong.
const LOGIN_FAILED: &str = "Login failed";

const DEFAULT_URL: &str = "http://127.0.0.1:15672";

fn access_file(data_dir: &Path) -> Result<AccessFile, Fault> {
    let path = data_dir.join(ACCESS_FILE);
    let text = std::fs::read(&path).map_err(|e| {
        Fault::Unavailable(format!(
            "cannot read {}: {e}; name the data directory of a running broker with --data-dir, \
             or log in with --url, --user and --password",
            path.display()
        ))
    })?;
    serde_json::from_slice(&text)
        .map_err(|e| Fault::Data(format!("{} is damaged: {e}", path.display())))
}

fn refused(status: StatusCode, value: &Value) -> Fault {
    let said = ["reason", "error"]
        .into_iter()
        .find_map(|field| value.get(field).and_then(Value::as_str));
    let reason = match (status, said) {
        (StatusCode::UNAUTHORIZED, _) => {
            "unknown user, wrong password, or no tag that lets this user manage the broker"
                .to_owned()
        }
        (StatusCode::NOT_FOUND, None | Some("Not Found" | "Object Not Found")) => {
            MISSING.to_owned()
        }
        (_, Some(reason)) => reason.to_owned(),
        (_, None) => status.to_string(),
    };
    Fault::Refused {
        status: status.as_u16(),
        reason,
    }
}

const MISSING: &str = "it does not exist";

/// What the API says of permissions for nobody, or in no vhost.
const NO_VHOST_OR_USER: &str = "vhost_or_user_not_found";

fn check_url(url: &str) -> Result<(), Fault> {
    let is_right = reqwest::Url::parse(url)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match is_right {
        true => Ok(()),
        false => Err(Fault::Usage(format!(
            "{url} is no address of the HTTP API: --url is http://HOST:PORT or https://HOST:PORT"
        ))),
    }
}

fn sources(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&fault| fault.source())
}

fn is_refused(error: &reqwest::Error) -> bool {
    sources(error)
        .filter_map(|fault| fault.downcast_ref::<std::io::Error>())
        .any(|fault| fault.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// What is behind an error, without what it says of the address.
fn causes(error: &reqwest::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in sources(error).map(ToString::to_string) {
        // Some tell their own cause, too.
        if !told.iter().any(|before| before.contains(&cause)) {
            told.push(cause);
        }
    }
    match told.is_empty() {
        true => error.to_string(),
        false => told.join(": "),
    }
}

/// The parts of a path, as names.
fn names(path: &str) -> Vec<String> {
    let path = path.split('?').next().unwrap_or(path);
    let path = path.strip_prefix("warren/").unwrap_or(path);
    let name = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    path.split('/').map(name).collect()
}

/// What is not there, if the path says which thing it is of.
fn missing(path: &str) -> Option<String> {
    let names = names(path);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let what = match names.as_slice() {
        ["connections", "username", user, ..] | ["users" | "user-limits", user, ..] => {
            format!("user \"{user}\"")
        }
        ["connections", name, ..] => format!("connection \"{name}\""),
        [
            "queues" | "exchanges" | "bindings" | "policies" | "operator-policies",
            vhost,
        ]
        | ["vhosts" | "vhost-limits", vhost, ..]
        | ["parameters", _, vhost] => format!("vhost \"{vhost}\""),
        ["queues", vhost, _, "messages", id] => {
            format!("message {id}, or its queue, in vhost \"{vhost}\"")
        }
        ["queues", vhost, name, ..] => format!("queue \"{name}\" in vhost \"{vhost}\""),
        ["exchanges", vhost, name, ..] => format!("exchange \"{name}\" in vhost \"{vhost}\""),
        ["policies", vhost, name, ..] => format!("policy \"{name}\" in vhost \"{vhost}\""),
        ["operator-policies", vhost, name, ..] => {
            format!("operator policy \"{name}\" in vhost \"{vhost}\"")
        }
        ["permissions" | "topic-permissions", vhost, user, ..] => {
            format!("user \"{user}\", vhost \"{vhost}\", or a permission of the one in the other")
        }
        ["parameters", component, vhost, name] => {
            format!("parameter \"{name}\" of \"{component}\" in vhost \"{vhost}\"")
        }
        ["global-parameters", name] => format!("parameter \"{name}\""),
        _ => return None,
    };
    Some(format!("{what} does not exist"))
}

fn no_vhost_or_user(path: &str) -> String {
    match names(path).as_slice() {
        [_, vhost, user, ..] => format!("there is no user \"{user}\", or no vhost \"{vhost}\""),
        _ => "there is no such user, or no such vhost".to_owned(),
    }
}

/// What may stand in a part of a path as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A name as one part of a path.
pub(crate) fn part(name: &str) -> String {
    utf8_percent_encode(name, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_part_of_a_path() {
        assert_eq!(part("/"), "%2F");
        assert_eq!(part("a b/ü?"), "a%20b%2F%C3%BC%3F");
        assert_eq!(part("amq.topic"), "amq.topic");
    }

    #[test]
    fn a_refusal_is_told_in_the_brokers_words() {
        let value = serde_json::json!({"error": "bad_request", "reason": "invalid regex"});
        assert_eq!(
            refused(StatusCode::BAD_REQUEST, &value).to_string(),
            "invalid regex"
        );
        assert_eq!(
            refused(StatusCode::NOT_FOUND, &Value::Null).to_string(),
            "it does not exist"
        );
    }
}
