//! Arguments and headers as JSON: what the API adds to the codec's mapping.

use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::base::reply::ApiError;
use crate::codec::RawTable;
use crate::codec::table::JsonError;

/// Stored arguments as JSON. They were checked when they came in; what can no longer be read is
/// shown as empty.
pub(super) fn stored_to_json(octets: &Bytes) -> Json {
    let table = RawTable::new(octets.clone());
    table.map_or_else(|_| json!({}), |table| table.view().to_json().into())
}

/// A name or key, which need not be UTF-8.
pub(super) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

impl From<JsonError> for ApiError {
    fn from(fault: JsonError) -> Self {
        ApiError::bad_request(fault.to_string())
    }
}
