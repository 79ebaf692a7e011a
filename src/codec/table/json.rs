//! Field tables ↔ JSON, as definitions and the management API show arguments and headers.
//!
//! Owns the mapping. JSON has fewer types: an integer comes in as a signed 64-bit one, and what is
//! no UTF-8 goes out with its faults replaced.

use serde_json::{Map, Number, Value as Json};

use super::{ArrayBuilder, RawTable, TableBuilder, TableRef, Value};
use crate::base::limits::{SHORTSTR_MAX, TABLE_DEPTH_MAX};

/// Why JSON cannot be a table: the key it is at, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("argument {key}: {reason}")]
pub struct JsonError {
    /// The key of the innermost table.
    pub key: String,
    /// What is wrong with its value.
    pub reason: &'static str,
}

/// Whether JSON's null may stand in a table: AMQP has it, but RabbitMQ refuses it in arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    /// A null is a fault.
    Refused,
    /// A null is AMQP's void.
    Void,
}

impl TableRef<'_> {
    /// The table as a JSON object. Of equal keys the last counts.
    pub fn to_json(self) -> Map<String, Json> {
        let text = |octets| String::from_utf8_lossy(octets).into_owned();
        self.iter()
            .map(|(key, value)| (text(key), value.to_json()))
            .collect()
    }
}

impl Value<'_> {
    /// The value in JSON. A number that JSON cannot carry is null.
    pub fn to_json(self) -> Json {
        let float = |n: f64| Number::from_f64(n).map_or(Json::Null, Json::Number);
        match self {
            Value::Bool(b) => b.into(),
            Value::F32(n) => float(n.into()),
            Value::F64(n) => float(n),
            Value::Decimal(scale, digits) => float(f64::from(digits) / 10f64.powi(scale.into())),
            Value::LongStr(s) | Value::Binary(s) => String::from_utf8_lossy(s).into(),
            Value::Array(array) => array.iter().map(Value::to_json).collect(),
            Value::Table(table) => table.to_json().into(),
            Value::Timestamp(seconds) => seconds.into(),
            Value::Void => Json::Null,
            integer => integer.as_int().into(),
        }
    }
}

impl RawTable {
    /// A table from a JSON object.
    ///
    /// # Errors
    /// A null that is refused, a key that is too long, a number that AMQP cannot carry, and what is
    /// nested too deep.
    pub fn from_json(fields: &Map<String, Json>, null: Null) -> Result<RawTable, JsonError> {
        read(fields, null, TABLE_DEPTH_MAX)
    }
}

impl TableBuilder {
    /// Adds a field with a value from JSON.
    ///
    /// # Errors
    /// As [`RawTable::from_json`]: nothing is added.
    pub fn insert_json(&mut self, key: &str, value: &Json, null: Null) -> Result<(), JsonError> {
        with_value(key, value, null, TABLE_DEPTH_MAX, &mut |value| {
            self.insert(key, value);
        })
    }
}

fn read(fields: &Map<String, Json>, null: Null, depth: usize) -> Result<RawTable, JsonError> {
    let mut out = TableBuilder::new();
    for (key, value) in fields {
        if key.len() > SHORTSTR_MAX {
            return Err(fault(key, "the name is longer than 255 octets"));
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
) -> Result<(), JsonError> {
    let deeper = || match depth.checked_sub(1) {
        Some(depth) if depth > 0 => Ok(depth),
        _ => Err(fault(key, "nested too deep")),
    };
    match value {
        Json::Null if null == Null::Refused => return Err(fault(key, "null is not allowed")),
        Json::Null => put(Value::Void),
        Json::Bool(b) => put(Value::Bool(*b)),
        Json::String(text) => put(Value::LongStr(text.as_bytes())),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(integer), _) => put(Value::I64(integer)),
            (None, Some(float)) if n.is_f64() => put(Value::F64(float)),
            _ => return Err(fault(key, "the number is too large")),
        },
        Json::Object(fields) => put(Value::Table(read(fields, null, deeper()?)?.view())),
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

fn fault(key: &str, reason: &'static str) -> JsonError {
    JsonError {
        key: key.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(json: &Json, null: Null) -> Result<RawTable, JsonError> {
        RawTable::from_json(json.as_object().unwrap(), null)
    }

    #[test]
    fn a11_arguments_go_there_and_back() {
        let json = json!({
            "x-max-length": 5, "ratio": 1.5, "on": true, "text": "ü",
            "list": [1, "a", {"deep": [true]}], "big": 5_000_000_000_i64,
        });
        let table = table(&json, Null::Refused).unwrap();
        assert_eq!(Json::from(table.view().to_json()), json);
        assert_eq!(table.get("x-max-length"), Some(Value::I64(5)));
    }

    #[test]
    fn a11_what_amqp_cannot_carry_is_refused() {
        let null = json!({ "a": null });
        assert!(table(&null, Null::Refused).is_err());
        let void = table(&null, Null::Void).unwrap();
        assert_eq!(Json::from(void.view().to_json()), null);
        assert!(table(&json!({ "a": u64::MAX }), Null::Refused).is_err());
        assert!(table(&json!({ "k".repeat(256): 1 }), Null::Refused).is_err());
        let deep = (0..TABLE_DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
        let fault = table(&json!({ "a": deep }), Null::Refused).unwrap_err();
        assert_eq!(fault.to_string(), "argument a: nested too deep");
    }
}
