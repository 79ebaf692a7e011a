//! `[oauth2]`: access tokens in the place of passwords.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ConfigError, auth_http};
use crate::auth::{KeySource, OAuth2, TokenRules};

/// See the module. Used if `auth.backends` names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OAuth2Settings {
    /// Must be among a token's audiences.
    pub resource_server_id: String,
    /// What scopes of ours begin with; empty stands for `resource_server_id` and a dot.
    pub scope_prefix: String,
    /// A JWK set with the keys that tokens are signed with.
    pub jwks_file: PathBuf,
    /// The same from an address; one of both is needed.
    pub jwks_url: String,
    /// Seconds until the set is read again.
    pub jwks_refresh_s: u64,
    /// Claims that name the user; then `sub` and `client_id`.
    pub preferred_username_claims: Vec<String>,
    /// A claim with scopes besides `scope`.
    pub additional_scopes_key: String,
}

impl Default for OAuth2Settings {
    fn default() -> Self {
        OAuth2Settings {
            resource_server_id: String::new(),
            scope_prefix: String::new(),
            jwks_file: PathBuf::new(),
            jwks_url: String::new(),
            jwks_refresh_s: 300,
            preferred_username_claims: Vec::new(),
            additional_scopes_key: String::new(),
        }
    }
}

impl OAuth2Settings {
    /// What checks tokens by these settings.
    pub fn build(&self) -> OAuth2 {
        let rules = TokenRules {
            resource_server_id: self.resource_server_id.clone(),
            scope_prefix: match self.scope_prefix.as_str() {
                "" => format!("{}.", self.resource_server_id),
                prefix => prefix.to_owned(),
            },
            username_claims: self.preferred_username_claims.clone(),
            additional_scopes_key: self.additional_scopes_key.clone(),
        };
        let source = match self.jwks_url.as_str() {
            "" => KeySource::File(self.jwks_file.clone()),
            url => KeySource::Url(url.to_owned()),
        };
        OAuth2::new(rules, source, Duration::from_secs(self.jwks_refresh_s))
    }

    /// Holds the settings against each other; they are in use.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fault = |key, reason: &str| {
            Err(ConfigError::OutOfRange {
                key,
                value: "\"\"".to_owned(),
                reason: reason.to_owned(),
            })
        };
        if self.resource_server_id.is_empty() {
            return fault(
                "oauth2.resource_server_id",
                "tokens must be for someone: the backend oauth2 needs it",
            );
        }
        let has_file = !self.jwks_file.as_os_str().is_empty();
        if has_file != self.jwks_url.is_empty() {
            return fault(
                "oauth2.jwks_file",
                "the backend oauth2 needs either it or jwks_url",
            );
        }
        if !has_file && let Err(reason) = auth_http::check_address(&self.jwks_url) {
            return Err(ConfigError::OutOfRange {
                key: "oauth2.jwks_url",
                value: auth_http::hidden(&self.jwks_url),
                reason: reason.to_owned(),
            });
        }
        Ok(())
    }
}
