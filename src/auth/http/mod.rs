//! Users of an HTTP server, asked as RabbitMQ's plugin `rabbitmq_auth_backend_http` asks it (A10).
//!
//! Owns the questions, the requests and what is remembered of the answers. Both answers are remembered
//! for the same time, a fault never: then the next to ask asks again. No request is made while a check
//! runs, which only notes its question: who may wait has it answered, and checks again.
//! No password is logged.

#[cfg(test)]
mod tests;
mod user;

use std::fmt::Display;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, StatusCode, redirect};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use super::answers::Answers;
use super::{Authority, Login, LoginRefused};
use crate::base::Name;
use crate::base::limits::{HTTP_AUTH_ANSWER_MAX_BYTES, HTTP_AUTH_WAITING_MAX, NAME_MAX_BYTES};
use crate::base::reply::Access;
pub use user::HttpUser;

/// How requests carry their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpMethod {
    /// Behind the path: a server's log may then show passwords.
    Get,
    /// As a form.
    Post,
}

/// Where the server is, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRules {
    /// Where logins are checked.
    pub user_path: String,
    /// Where it is asked who may enter a vhost.
    pub vhost_path: String,
    /// Where it is asked who may use a queue or an exchange.
    pub resource_path: String,
    /// Where it is asked who may use a routing key of a topic exchange.
    pub topic_path: String,
    /// How.
    pub method: HttpMethod,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for an answer, all in all.
    pub request_timeout: Duration,
    /// Authorities that the server's certificate is held against; empty for those of the system.
    pub ca_file: PathBuf,
    /// How long an answer is remembered.
    pub remembered: Duration,
    /// Answers remembered at a time, of logins, and as many of what users may do.
    pub remembered_max: usize,
    /// Logins asked about at a time, and as many questions what users may do.
    pub requests_max: usize,
}

/// Why the server cannot be asked at all; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum HttpAuthError {
    /// The authorities can't be used.
    #[error("cannot use the authorities in {path}: {reason}")]
    Authorities {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// There is no HTTP client.
    #[error("cannot ask an HTTP server about users: {0}")]
    Client(String),
}

/// Something that a user wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Deed {
    /// Enter a vhost, from an address.
    Enter { vhost: Name, peer: IpAddr },
    /// Use a queue or an exchange.
    Use {
        vhost: Name,
        kind: &'static str,
        name: Name,
        access: Access,
    },
    /// Use a routing key of a topic exchange.
    Route {
        vhost: Name,
        exchange: Name,
        key: Vec<u8>,
        access: Access,
    },
}

/// Whether a user, who has these tags, may do something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    user: Name,
    tags: Name,
    deed: Deed,
}

/// See the module.
pub struct HttpAuth {
    rules: HttpRules,
    client: Client,
    /// By a digest that only this process can make: the tags, or that the login was refused.
    logins: Answers<[u8; 32], Option<Vec<Name>>>,
    checks: Answers<Question, bool>,
    key: [u8; 32],
    /// Requests that may run at a time. Strangers must not keep out who has logged in.
    login_slots: Semaphore,
    check_slots: Semaphore,
    /// Threads that may stand still for an answer at a time.
    waiting: Semaphore,
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allow { tags: Vec<Name> },
    Deny { reason: String },
}

impl HttpAuth {
    /// Reads the authorities.
    ///
    /// # Errors
    /// They can't be used.
    pub fn new(rules: HttpRules) -> Result<Self, HttpAuthError> {
        Ok(HttpAuth {
            client: client(&rules)?,
            logins: Answers::new(rules.remembered, rules.remembered_max),
            checks: Answers::new(rules.remembered, rules.remembered_max),
            key: rand::random(),
            login_slots: Semaphore::new(rules.requests_max),
            check_slots: Semaphore::new(rules.requests_max),
            waiting: Semaphore::new(HTTP_AUTH_WAITING_MAX),
            rules,
        })
    }

    /// Whether this password is remembered to be right.
    pub(super) fn was_right(&self, user: &str, password: &[u8]) -> bool {
        let login = self.logins.get(&self.digest(user, Some(password)));
        login.is_some_and(|tags| tags.is_some())
    }

    /// Checks a login from `peer`; without a password if it was not by one.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn log_in(
        self: &Arc<Self>,
        user: &str,
        password: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        if !(1..=NAME_MAX_BYTES).contains(&user.len()) {
            return Err(LoginRefused::Credentials);
        }
        let digest = self.digest(user, password);
        let known = || self.logins.get(&digest);
        let asking = async {
            let mut form = Form::default().field("username", user);
            if let Some(password) = password {
                form = form.field("password", password);
            }
            let verdict = self.ask(&self.rules.user_path, form).await?;
            let tags = match verdict {
                Verdict::Allow { tags } => Some(tags),
                Verdict::Deny { reason } => {
                    info!(user, ?reason, "the HTTP server refuses a login");
                    None
                }
            };
            self.logins.put(digest, tags.clone());
            Ok(tags)
        };
        match self.asked(&self.login_slots, known, asking).await {
            Ok(Some(tags)) => {
                let name = Name::from(user);
                let bearer = HttpUser::new(Arc::clone(self), name.clone(), &tags, peer);
                Ok(Login {
                    user: name,
                    tags,
                    authority: Authority::Http(Arc::new(bearer)),
                })
            }
            Ok(None) => Err(LoginRefused::Denied),
            Err(reason) => {
                warn!(user, reason, "the HTTP server says nothing about a login");
                Err(LoginRefused::Unanswered)
            }
        }
    }

    /// Has a question answered. A fault is a refusal.
    async fn check(&self, question: &Question) -> bool {
        let known = || self.checks.get(question);
        let asking = async {
            let (path, form) = self.request(question);
            let may = match self.ask(path, form).await? {
                Verdict::Allow { tags } if tags.is_empty() => true,
                Verdict::Allow { .. } => return Err("more than allow".to_owned()),
                Verdict::Deny { reason } => {
                    let Question { user, deed, .. } = question;
                    info!(%user, ?deed, ?reason, "the HTTP server refuses");
                    false
                }
            };
            self.checks.put(question.clone(), may);
            Ok(may)
        };
        match self.asked(&self.check_slots, known, asking).await {
            Ok(may) => may,
            Err(reason) => {
                let Question { user, deed, .. } = question;
                warn!(%user, ?deed, reason, "the HTTP server gives no answer, which refuses");
                false
            }
        }
    }

    /// What is `known`, or comes of `asking` in time, with one of the `slots`.
    async fn asked<T>(
        &self,
        slots: &Semaphore,
        known: impl Fn() -> Option<T>,
        asking: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        if let Some(known) = known() {
            return Ok(known);
        }
        let asking = async {
            // Fails only when closed, which nobody does.
            let _slot = slots.acquire().await.map_err(|e| e.to_string())?;
            // Another may have asked the same.
            match known() {
                Some(known) => Ok(known),
                None => asking.await,
            }
        };
        match timeout(self.rules.request_timeout, asking).await {
            Ok(asked) => asked,
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    fn request(&self, question: &Question) -> (&str, Form) {
        let Question { user, tags, deed } = question;
        let form = Form::default().field("username", user.as_str());
        match deed {
            Deed::Enter { vhost, peer } => {
                let form = form.field("vhost", vhost.as_str());
                let form = form
                    .field("ip", peer.to_string())
                    .field("tags", tags.as_str());
                (&self.rules.vhost_path, form)
            }
            Deed::Use {
                vhost,
                kind,
                name,
                access,
            } => {
                let form = form.field("vhost", vhost.as_str()).field("resource", kind);
                let form = form.field("name", name.as_str());
                let form = form.field("permission", access.to_string());
                (&self.rules.resource_path, form.field("tags", tags.as_str()))
            }
            Deed::Route {
                vhost,
                exchange,
                key,
                access,
            } => {
                let form = form.field("vhost", vhost.as_str());
                let form = form.field("resource", "topic");
                let form = form.field("name", exchange.as_str());
                let form = form.field("permission", access.to_string());
                let form = form.field("tags", tags.as_str()).field("routing_key", key);
                let form = form.field("variable_map.username", user.as_str());
                let form = form.field("variable_map.vhost", vhost.as_str());
                (&self.rules.topic_path, form)
            }
        }
    }

    async fn ask(&self, path: &str, form: Form) -> Result<Verdict, String> {
        let Form(fields) = form;
        let request = match self.rules.method {
            HttpMethod::Get => {
                let before = if path.contains('?') { '&' } else { '?' };
                self.client.get(format!("{path}{before}{fields}"))
            }
            HttpMethod::Post => {
                let form = "application/x-www-form-urlencoded";
                let request = self.client.post(path).header(CONTENT_TYPE, form);
                request.body(fields)
            }
        };
        let mut response = request.send().await.map_err(told)?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {}
            other => return Err(format!("status {}", other.as_u16())),
        }
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(told)? {
            answer.extend_from_slice(&piece);
            if answer.len() > HTTP_AUTH_ANSWER_MAX_BYTES {
                return Err("an answer that is too long".to_owned());
            }
        }
        verdict(&answer).ok_or_else(|| "neither allow nor deny".to_owned())
    }

    fn digest(&self, user: &str, password: Option<&[u8]>) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.key)
            .chain_update([u8::from(password.is_some())])
            .chain_update(user.len().to_be_bytes())
            .chain_update(user)
            .chain_update(password.unwrap_or_default())
            .finalize()
            .into()
    }
}

/// Fields of a request, encoded.
#[derive(Default)]
struct Form(String);

impl Form {
    fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0
            .extend(percent_encode(value.as_ref(), NON_ALPHANUMERIC));
        self
    }
}

/// `allow`, `allow TAG TAG`, `deny` or `deny REASON`, in any case.
fn verdict(answer: &[u8]) -> Option<Verdict> {
    let text = std::str::from_utf8(answer).ok()?.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if word.eq_ignore_ascii_case("deny") {
        let reason = rest.trim().to_owned();
        return Some(Verdict::Deny { reason });
    }
    // RabbitMQ has no capital letters in tags that come this way.
    let tags = rest.split_whitespace();
    let tags = tags.map(|tag| Name::from(tag.to_lowercase())).collect();
    word.eq_ignore_ascii_case("allow")
        .then_some(Verdict::Allow { tags })
}

fn client(rules: &HttpRules) -> Result<Client, HttpAuthError> {
    let paths = [
        &rules.user_path,
        &rules.vhost_path,
        &rules.resource_path,
        &rules.topic_path,
    ];
    let is_plain = |path: &&String| path.to_ascii_lowercase().starts_with("http://");
    let mut client = Client::builder()
        // Whoever answers is who was asked, and it alone sees passwords.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(rules.connect_timeout);
    if !rules.ca_file.as_os_str().is_empty() {
        client = client.tls_certs_only(authorities(&rules.ca_file)?);
    } else if paths.iter().all(is_plain) {
        // Not those of the system, which a machine may lack.
        client = client.tls_certs_only([]);
    }
    client.build().map_err(|e| HttpAuthError::Client(told(e)))
}

fn authorities(path: &std::path::Path) -> Result<Vec<Certificate>, HttpAuthError> {
    let fault = |reason: &dyn Display| HttpAuthError::Authorities {
        path: path.display().to_string(),
        reason: reason.to_string(),
    };
    let pem = std::fs::read(path).map_err(|e| fault(&e))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|e| fault(&e))?;
    match found.is_empty() {
        true => Err(fault(&"there is no certificate in it")),
        false => Ok(found),
    }
}

/// With its causes, and without the address, which may hold a password.
fn told(fault: reqwest::Error) -> String {
    let fault = fault.without_url();
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(&fault);
    while let Some(fault) = cause {
        text = format!("{text}: {fault}");
        cause = fault.source();
    }
    text
}
