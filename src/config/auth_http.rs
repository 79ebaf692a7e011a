//! `[auth.http]`: an HTTP server that knows users, as RabbitMQ's plugin `rabbitmq_auth_backend_http` asks one.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{ConfigError, range};
use crate::auth::{HttpMethod, HttpRules};

/// See the module. Used if `auth.backends` names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpAuthSettings {
    /// The address that checks logins.
    pub user_path: String,
    /// The address that says who may enter a vhost.
    pub vhost_path: String,
    /// The address that says who may use a queue or an exchange.
    pub resource_path: String,
    /// The address that says who may use a routing key of a topic exchange.
    pub topic_path: String,
    /// How it is asked.
    pub method: HttpMethod,
    /// Milliseconds until there is a connection, at most.
    pub connect_timeout_ms: u64,
    /// Milliseconds until there is an answer, at most.
    pub request_timeout_ms: u64,
    /// Authorities that the server's certificate is held against, PEM; empty for those of the system.
    pub ca_file: PathBuf,
    /// Milliseconds for which an answer is remembered; 0 for not at all.
    pub cache_ttl_ms: u64,
    /// Answers remembered at a time, of logins, and as many others.
    pub cache_entries: usize,
    /// Logins asked about at a time, and as many other questions.
    pub requests_max: usize,
}

impl Default for HttpAuthSettings {
    fn default() -> Self {
        HttpAuthSettings {
            user_path: String::new(),
            vhost_path: String::new(),
            resource_path: String::new(),
            topic_path: String::new(),
            method: HttpMethod::Post,
            connect_timeout_ms: 2000,
            request_timeout_ms: 5000,
            ca_file: PathBuf::new(),
            cache_ttl_ms: 15_000,
            cache_entries: 16_384,
            requests_max: 32,
        }
    }
}

impl HttpAuthSettings {
    /// What the server is asked by.
    pub fn rules(&self) -> HttpRules {
        HttpRules {
            user_path: self.user_path.clone(),
            vhost_path: self.vhost_path.clone(),
            resource_path: self.resource_path.clone(),
            topic_path: self.topic_path.clone(),
            method: self.method,
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            ca_file: self.ca_file.clone(),
            remembered: Duration::from_millis(self.cache_ttl_ms),
            remembered_max: self.cache_entries,
            requests_max: self.requests_max,
        }
    }

    /// Holds the settings against each other; they are in use, for logins only unless also for `permissions`.
    pub(super) fn check(&self, permissions: bool) -> Result<(), ConfigError> {
        let paths = [
            ("auth.http.user_path", &self.user_path),
            ("auth.http.vhost_path", &self.vhost_path),
            ("auth.http.resource_path", &self.resource_path),
            ("auth.http.topic_path", &self.topic_path),
        ];
        let needed = if permissions { paths.len() } else { 1 };
        for (key, path) in paths.into_iter().take(needed) {
            check_address(path).map_err(|reason| ConfigError::OutOfRange {
                key,
                value: hidden(path),
                reason: reason.to_owned(),
            })?;
        }
        let ms = |key, value| range(key, value, 1, 60_000);
        ms("auth.http.connect_timeout_ms", self.connect_timeout_ms)?;
        ms("auth.http.request_timeout_ms", self.request_timeout_ms)?;
        range(
            "auth.http.cache_ttl_ms",
            self.cache_ttl_ms,
            0,
            24 * 3600 * 1000,
        )?;
        let (entries, requests) = (self.cache_entries as u64, self.requests_max as u64);
        range("auth.http.cache_entries", entries, 0, 10_000_000)?;
        range("auth.http.requests_max", requests, 1, 10_000)
    }
}

/// An address as it is told in a fault: it may hold what should not have been written there.
pub(super) fn hidden(address: &str) -> String {
    match address {
        "" => "\"\"".to_owned(),
        _ => "\"***\"".to_owned(),
    }
}

/// The value is not told, see [`hidden`].
pub(super) fn check_address(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the backend http needs it");
    }
    let url = Url::parse(path).map_err(|_| "must be an address, as http://HOST/PATH")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https:// and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password");
    }
    match url.fragment() {
        None => Ok(()),
        Some(_) => Err("must not have a fragment"),
    }
}
