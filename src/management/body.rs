//! The JSON object a request carries, and its fields.
//!
//! Owns reading them: RabbitMQ takes a body that is not there for an empty object, and some flags as
//! texts.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use crate::base::limits::HTTP_BODY_MAX_BYTES;
use crate::base::reply::ApiError;
use crate::codec::RawTable;
use crate::codec::table::Null;

/// The fields of a request's body.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Fails with all that are missing.
    pub(super) fn require(&self, names: &[&str]) -> Result<(), ApiError> {
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|&name| self.get(name).is_none())
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(ApiError::keys_missing(&missing)),
        }
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::wrong_type(name, "string")),
        }
    }

    /// A text that must be there.
    pub(super) fn needed_text(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?
            .ok_or_else(|| ApiError::keys_missing(&[name]))
    }

    /// A boolean, or its word; `default` if absent.
    pub(super) fn boolean(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(Value::String(word)) if word == "true" => Ok(true),
            Some(Value::String(word)) if word == "false" => Ok(false),
            Some(_) => Err(ApiError::wrong_type(name, "boolean")),
        }
    }

    /// An integer, or its digits: forms send texts.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let wrong = || ApiError::wrong_type(name, "int");
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(n)) => n.as_i64().map(Some).ok_or_else(wrong),
            Some(Value::String(digits)) => digits.parse().map(Some).map_err(|_| wrong()),
            Some(_) => Err(wrong()),
        }
    }

    /// An object, empty if absent. An empty list is one, too: PHP writes empty objects so.
    pub(super) fn object(&self, name: &str) -> Result<Map<String, Value>, ApiError> {
        match self.get(name) {
            None => Ok(Map::new()),
            Some(Value::Object(fields)) => Ok(fields.clone()),
            Some(Value::Array(items)) if items.is_empty() => Ok(Map::new()),
            Some(_) => Err(ApiError::wrong_type(name, "object")),
        }
    }

    /// The field `arguments` as a table.
    pub(super) fn arguments(&self) -> Result<RawTable, ApiError> {
        Ok(RawTable::from_json(
            &self.object("arguments")?,
            Null::Refused,
        )?)
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(fields: Map<String, Value>) -> Self {
        Fields(fields)
    }
}

/// All octets of a body, up to the limit.
pub(super) async fn octets(body: Body) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, HTTP_BODY_MAX_BYTES)
        .await
        .map_err(|_| ApiError::body_too_large(HTTP_BODY_MAX_BYTES))
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let octets = octets(request.into_body()).await?;
        if octets.is_empty() {
            return Ok(Fields::default());
        }
        match serde_json::from_slice(&octets) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            _ => Err(ApiError::not_json()),
        }
    }
}
