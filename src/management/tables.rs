//! Field tables ↔ JSON, as RabbitMQ's API shows arguments and headers.
//!
//! Owns the mapping. JSON has fewer types: an integer comes in as a signed 64-bit one, and what is
//! no UTF-8 goes out with its faults replaced.

use bytes::Bytes;
use serde_json::{Map, Number, Value as Json, json};

use crate::base::limits::{SHORTSTR_MAX, TABLE_DEPTH_MAX};
use crate::base::reply::ApiError;
use crate::codec::{ArrayBuilder, RawTable, TableBuilder, TableRef, Value};

/// A table as JSON. Of equal keys the last counts.
pub(super) fn to_json(table: TableRef<'_>) -> Json {
    let fields = table.iter();
    Json::Object(
        fields
            .map(|(key, value)| (text(key), value_to_json(value)))
            .collect(),
    )
}

/// Stored arguments as JSON. They were checked when they came in; what can no longer be read is
/// shown as empty.
pub(super) fn stored_to_json(octets: &Bytes) -> Json {
    RawTable::new(octets.clone()).map_or_else(|_| json!({}), |table| to_json(table.view()))
}

fn value_to_json(value: Value<'_>) -> Json {
    let float = |n: f64| Number::from_f64(n).map_or(Json::Null, Json::Number);
    match value {
        Value::Bool(b) => b.into(),
        Value::F32(n) => float(n.into()),
        Value::F64(n) => float(n),
        Value::Decimal(scale, digits) => float(f64::from(digits) / 10f64.powi(scale.into())),
        Value::LongStr(s) | Value::Binary(s) => text(s).into(),
        Value::Array(array) => array.iter().map(value_to_json).collect(),
        Value::Table(table) => to_json(table),
        Value::Timestamp(seconds) => seconds.into(),
        Value::Void => Json::Null,
        integer => integer.as_int().into(),
    }
}

pub(super) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Whether JSON's null may stand in a table: AMQP has it, but RabbitMQ refuses it in arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Null {
    Refused,
    Void,
}

/// A table from JSON.
///
/// # Errors
/// 400 for a null that is refused, a key that is too long, a number that AMQP cannot carry, and
/// what is nested too deep.
pub(super) fn from_json(fields: &Map<String, Json>, null: Null) -> Result<RawTable, ApiError> {
    table(fields, null, TABLE_DEPTH_MAX)
}

fn table(fields: &Map<String, Json>, null: Null, depth: usize) -> Result<RawTable, ApiError> {
    let mut out = TableBuilder::new();
    for (key, value) in fields {
        if key.len() > SHORTSTR_MAX {
            return Err(ApiError::argument(
                key,
                "the name is longer than 255 octets",
            ));
        }
        with_value(key, value, null, depth, &mut |value| {
            out.insert(key, value);
        })?;
    }
    Ok(out.finish())
}

/// Gives `put` the value; what it borrows is gone after.
fn with_value(
    key: &str,
    value: &Json,
    null: Null,
    depth: usize,
    put: &mut dyn FnMut(Value<'_>),
) -> Result<(), ApiError> {
    let deeper = || match depth.checked_sub(1) {
        Some(depth) if depth > 0 => Ok(depth),
        _ => Err(ApiError::argument(key, "nested too deep")),
    };
    match value {
        Json::Null if null == Null::Refused => return Err(ApiError::null_argument(key)),
        Json::Null => put(Value::Void),
        Json::Bool(b) => put(Value::Bool(*b)),
        Json::String(text) => put(Value::LongStr(text.as_bytes())),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(integer), _) => put(Value::I64(integer)),
            (None, Some(float)) if n.is_f64() => put(Value::F64(float)),
            _ => return Err(ApiError::argument(key, "the number is too large")),
        },
        Json::Object(fields) => {
            put(Value::Table(table(fields, null, deeper()?)?.view()));
        }
        Json::Array(items) => {
            let depth = deeper()?;
            let mut out = ArrayBuilder::new();
            for item in items {
                with_value(key, item, null, depth, &mut |value| {
                    out.push(value);
                })?;
            }
            put(Value::Array(out.view()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &Json, null: Null) -> Result<RawTable, ApiError> {
        from_json(json.as_object().unwrap(), null)
    }

    #[test]
    fn a12_arguments_go_there_and_back() {
        let json = json!({
            "x-max-length": 5, "ratio": 1.5, "on": true, "text": "ü",
            "list": [1, "a", {"deep": [true]}], "big": 5_000_000_000_i64,
        });
        let table = read(&json, Null::Refused).unwrap();
        assert_eq!(to_json(table.view()), json);
        assert_eq!(table.get("x-max-length"), Some(Value::I64(5)));
    }

    #[test]
    fn a12_what_amqp_cannot_carry_is_refused() {
        let null = json!({ "a": null });
        assert!(read(&null, Null::Refused).is_err());
        assert_eq!(to_json(read(&null, Null::Void).unwrap().view()), null);
        assert!(read(&json!({ "a": u64::MAX }), Null::Refused).is_err());
        assert!(read(&json!({ "k".repeat(256): 1 }), Null::Refused).is_err());
        let deep = (0..TABLE_DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
        let fault = read(&json!({ "a": deep }), Null::Refused).unwrap_err();
        assert_eq!(fault.reason, "argument a: nested too deep");
    }
}
