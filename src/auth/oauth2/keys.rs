//! The keys that tokens are signed with: a JWK set, from a file or an address.
//!
//! Owns the set in use. It is replaced whole, and only by one that was read without a fault.

use std::path::PathBuf;

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use tokio::time::Instant;

use crate::base::limits::{JWKS_MAX_BYTES, JWKS_RETRY, JWKS_TIMEOUT};

/// Where the set comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// `https://…` or `http://…`.
    Url(String),
}

/// Why a set can't be used; for the operator.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the token keys in {place}: {reason}")]
pub struct KeysError {
    place: String,
    reason: String,
}

/// See the module.
pub(super) struct Keys {
    source: KeySource,
    current: ArcSwap<Vec<Key>>,
    /// When the set may be asked for again because of a key it does not have.
    next_try: tokio::sync::Mutex<Instant>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
}

impl Keys {
    /// None yet: call [`Keys::refresh`].
    pub(super) fn new(source: KeySource) -> Self {
        Keys {
            source,
            current: ArcSwap::default(),
            next_try: tokio::sync::Mutex::new(Instant::now()),
        }
    }

    /// Whether no set was ever read.
    pub(super) fn is_empty(&self) -> bool {
        self.current.load().is_empty()
    }

    /// The key with this id; without an id the only one there is of its family.
    pub(super) fn find(&self, id: Option<&str>, family: AlgorithmFamily) -> Option<DecodingKey> {
        let keys = self.current.load();
        let mut fitting = keys.iter().filter(|key| {
            key.key.family() == family && id.is_none_or(|id| key.id.as_deref() == Some(id))
        });
        let found = fitting.next()?;
        match (id, fitting.next()) {
            (None, Some(_)) => None,
            _ => Some(found.key.clone()),
        }
    }

    /// Reads the set again.
    ///
    /// # Errors
    /// It can't be had, or has no key; the one in use stays.
    pub(super) async fn refresh(&self) -> Result<(), KeysError> {
        let (place, text) = match &self.source {
            KeySource::File(path) => (path.display().to_string(), read(path.clone()).await),
            KeySource::Url(url) => (url.clone(), fetch(url).await),
        };
        match text.and_then(|text| parse(&text)) {
            Ok(keys) => {
                self.current.store(keys.into());
                Ok(())
            }
            Err(reason) => Err(KeysError { place, reason }),
        }
    }

    /// Reads the set again because a key was missing; not more often than every [`JWKS_RETRY`],
    /// however many tokens are made up. Whether it was read.
    pub(super) async fn refresh_for_missing(&self) -> bool {
        let mut next_try = self.next_try.lock().await;
        if Instant::now() < *next_try {
            return false;
        }
        *next_try = Instant::now() + JWKS_RETRY;
        self.refresh().await.is_ok()
    }
}

/// Builds its client each time: that is seldom, and may fail where a machine has no certificates.
async fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let fetching = async {
        let client = reqwest::Client::builder().timeout(JWKS_TIMEOUT).build()?;
        let response = client.get(url).send().await?;
        let mut response = response.error_for_status()?;
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await? {
            text.extend_from_slice(&piece);
            if text.len() > JWKS_MAX_BYTES {
                break;
            }
        }
        Ok::<_, reqwest::Error>(text)
    };
    fetching.await.map_err(|e| e.to_string())
}

async fn read(path: PathBuf) -> Result<Vec<u8>, String> {
    let reading = tokio::task::spawn_blocking(move || std::fs::read(path));
    match reading.await {
        Ok(read) => read.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}

fn parse(text: &[u8]) -> Result<Vec<Key>, String> {
    if text.len() > JWKS_MAX_BYTES {
        return Err(format!("more than {JWKS_MAX_BYTES} octets"));
    }
    let set: JwkSet = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let keys = set.keys.iter().filter_map(|jwk| {
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let id = jwk.common.key_id.clone();
        // A shared secret in a public set is nobody's signature.
        (key.family() != AlgorithmFamily::Hmac).then_some(Key { id, key })
    });
    let keys: Vec<_> = keys.collect();
    match keys.is_empty() {
        true => Err("no key for RS256, ES256 or the like".to_owned()),
        false => Ok(keys),
    }
}
