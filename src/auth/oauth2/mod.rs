//! OAuth 2: access tokens (JWT) in the place of passwords.
//!
//! Owns the check of a token, and what it grants until it expires. A token is looked at once, at
//! login or when it is replaced; what it says is never asked anywhere else. Nothing of it is logged.

mod keys;
mod scopes;
#[cfg(test)]
mod tests;
mod wildcard;

use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tracing::warn;

use crate::base::limits::{TOKEN_LEEWAY_S, TOKEN_MAX_BYTES};
use crate::base::reply::Access;
use crate::base::{Name, clock};
use keys::Keys;
pub use keys::{KeySource, KeysError};
use scopes::Scopes;

/// Signatures that are accepted. None with a shared secret, and not `none`.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// What tokens are held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// Must be among a token's audiences.
    pub resource_server_id: String,
    /// What scopes of ours begin with.
    pub scope_prefix: String,
    /// Claims that name the user, the first that is there wins; then `sub` and `client_id`.
    pub username_claims: Vec<String>,
    /// A claim with scopes besides `scope`; empty for none.
    pub additional_scopes_key: String,
}

/// Why a token is refused: for the broker's log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// No token at all, or one whose signature is wrong.
    #[error("not a token, or not signed by a known key")]
    Invalid,
    /// Signed by a key that the set does not have.
    #[error("the token's key is not in the key set")]
    UnknownKey,
    /// For somebody else.
    #[error("the token is not for this resource server")]
    Audience,
    /// Its time is over, has not come, or is not said.
    #[error("the token has expired, is not valid yet, or does not say when it expires")]
    Time,
    /// More scopes than anybody needs.
    #[error("the token has too many scopes")]
    Scopes,
}

/// A token that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    user: Name,
    scopes: Scopes,
    expires_at_s: u64,
}

/// See the module.
pub struct OAuth2 {
    rules: TokenRules,
    keys: Keys,
    refresh_every: Duration,
}

impl Token {
    /// What the operator of this machine is let in with: it grants everything, and does not end.
    pub fn of_operator(user: Name) -> Self {
        Token {
            user,
            scopes: Scopes::everything(),
            expires_at_s: u64::MAX,
        }
    }

    /// Who bears it.
    pub fn user(&self) -> &Name {
        &self.user
    }

    /// The bearer's tags.
    pub fn tags(&self) -> &[Name] {
        &self.scopes.tags
    }

    /// Seconds since 1970 when it ends.
    pub fn expires_at_s(&self) -> u64 {
        self.expires_at_s
    }

    /// Whether its bearer has any business in the vhost.
    pub fn may_enter(&self, vhost: &Name) -> bool {
        self.scopes.enter(vhost)
    }

    /// Whether its bearer may use a queue or exchange.
    pub fn may(&self, access: Access, vhost: &Name, name: &str) -> bool {
        self.scopes.allow(access, vhost, name)
    }

    /// Whether its bearer may use a routing key of a topic exchange.
    pub fn may_topic(&self, access: Access, vhost: &Name, exchange: &str, key: &[u8]) -> bool {
        self.scopes.allow_key(access, vhost, exchange, key)
    }
}

impl OAuth2 {
    /// Without keys until [`OAuth2::refresh`].
    pub fn new(rules: TokenRules, source: KeySource, refresh_every: Duration) -> Self {
        OAuth2 {
            rules,
            keys: Keys::new(source),
            refresh_every,
        }
    }

    /// Checks a token. A key set that lacks its key is asked for again first.
    ///
    /// # Errors
    /// It is refused.
    pub async fn check(&self, token: &[u8]) -> Result<Token, TokenRefused> {
        let now_s = clock::now_ms() / 1000;
        match self.check_at(token, now_s) {
            Err(TokenRefused::UnknownKey) if self.keys.refresh_for_missing().await => {
                self.check_at(token, now_s)
            }
            checked => checked,
        }
    }

    /// Reads the key set.
    ///
    /// # Errors
    /// It can't be had; the one in use stays.
    pub async fn refresh(&self) -> Result<(), KeysError> {
        self.keys.refresh().await
    }

    /// Reads the key set again and again, for ever. One task runs it.
    pub async fn keep_fresh(&self) {
        loop {
            if let Err(fault) = self.refresh().await {
                match self.keys.is_empty() {
                    true => warn!(%fault, "no keys yet: every token is refused"),
                    false => warn!(%fault, "the keys read before stay in use"),
                }
            }
            tokio::time::sleep(self.refresh_every).await;
        }
    }

    fn check_at(&self, token: &[u8], now_s: u64) -> Result<Token, TokenRefused> {
        let claims = self.verified(token)?;
        self.check_audience(&claims)?;
        let expires_at_s = expiry(&claims, now_s)?;
        let scopes = self.scopes(&claims).ok_or(TokenRefused::Scopes)?;
        Ok(Token {
            user: self.user(&claims),
            scopes,
            expires_at_s,
        })
    }

    fn verified(&self, token: &[u8]) -> Result<Map<String, Value>, TokenRefused> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(TokenRefused::Invalid);
        }
        let header = decode_header(token).map_err(|_| TokenRefused::Invalid)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenRefused::Invalid);
        }
        let key = self
            .keys
            .find(header.kid.as_deref(), header.alg.family())
            .ok_or(TokenRefused::UnknownKey)?;
        // Only the signature is its business: claims are ours, by our clock.
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        match decode::<Map<String, Value>>(token, &key, &validation) {
            Ok(decoded) => Ok(decoded.claims),
            Err(_) => Err(TokenRefused::Invalid),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenRefused> {
        let ours = &self.rules.resource_server_id;
        let is_ours = match claims.get("aud") {
            Some(Value::String(one)) => one.split(' ').any(|one| one == ours),
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(ours)),
            _ => false,
        };
        match is_ours {
            true => Ok(()),
            false => Err(TokenRefused::Audience),
        }
    }

    fn user(&self, claims: &Map<String, Value>) -> Name {
        let wanted = self.rules.username_claims.iter().map(String::as_str);
        let found = wanted
            .chain(["sub", "client_id"])
            .filter_map(|claim| claims.get(claim)?.as_str())
            .find(|name| !name.is_empty());
        Name::from(found.unwrap_or("unknown"))
    }

    fn scopes(&self, claims: &Map<String, Value>) -> Option<Scopes> {
        let keys = ["scope", self.rules.additional_scopes_key.as_str()];
        let mut found = Vec::new();
        for value in keys.iter().filter_map(|&key| claims.get(key)) {
            match value {
                Value::String(text) => found.extend(text.split(' ')),
                Value::Array(list) => found.extend(list.iter().filter_map(Value::as_str)),
                _ => {}
            }
        }
        Scopes::parse(found.into_iter(), &self.rules.scope_prefix)
    }
}

fn expiry(claims: &Map<String, Value>, now_s: u64) -> Result<u64, TokenRefused> {
    let seconds = |claim| claims.get(claim).and_then(Value::as_f64);
    let expires_at_s = seconds("exp").ok_or(TokenRefused::Time)? as u64;
    let begins_at_s = seconds("nbf").map_or(0, |nbf| nbf as u64);
    match expires_at_s > now_s && begins_at_s <= now_s + TOKEN_LEEWAY_S {
        true => Ok(expires_at_s),
        false => Err(TokenRefused::Time),
    }
}
