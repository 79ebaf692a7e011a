//! Properties of a message ↔ JSON.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

use super::super::super::body::Fields;
use super::super::super::tables;
use super::object_or_list;
use crate::base::limits::SHORTSTR_MAX;
use crate::base::reply::ApiError;
use crate::codec::table::Null;
use crate::codec::{Properties, Property, RawTable};

/// The names in JSON, in the order of the wire.
const NAMES: [(&str, Property); 14] = [
    ("content_type", Property::ContentType),
    ("content_encoding", Property::ContentEncoding),
    ("headers", Property::Headers),
    ("delivery_mode", Property::DeliveryMode),
    ("priority", Property::Priority),
    ("correlation_id", Property::CorrelationId),
    ("reply_to", Property::ReplyTo),
    ("expiration", Property::Expiration),
    ("message_id", Property::MessageId),
    ("timestamp", Property::Timestamp),
    ("type", Property::Type),
    ("user_id", Property::UserId),
    ("app_id", Property::AppId),
    ("cluster_id", Property::ClusterId),
];

/// Properties as JSON; those that are absent are left out.
pub(in super::super) fn to_json(properties: &Properties) -> Value {
    let mut fields = Map::new();
    for (name, property) in NAMES {
        let value = match property {
            Property::Headers => properties.headers().map(|h| h.to_json().into()),
            Property::DeliveryMode => properties.delivery_mode().map(Value::from),
            Property::Priority => properties.priority().map(Value::from),
            Property::Timestamp => properties.timestamp().map(Value::from),
            text => properties.text(text).map(|t| tables::text(t).into()),
        };
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    object_or_list(fields)
}

/// Flags and values of a content header. What is no property is passed over, as RabbitMQ does.
pub(in super::super) fn from_json(fields: &Map<String, Value>) -> Result<Bytes, ApiError> {
    let fields = Fields::from(fields.clone());
    let mut flags = 0u16;
    let mut values = BytesMut::new();
    for (at, (name, property)) in NAMES.into_iter().enumerate() {
        if fields.get(name).is_none() {
            continue;
        }
        flags |= 0x8000 >> at;
        let out_of_range = || ApiError::wrong_type(name, "int");
        let number = || fields.integer(name)?.ok_or_else(out_of_range);
        match property {
            Property::Headers => {
                let table = RawTable::from_json(&fields.object(name)?, Null::Void)?;
                let length = u32::try_from(table.octets().len()).unwrap_or(u32::MAX);
                values.put_u32(length);
                values.extend_from_slice(table.octets());
            }
            Property::DeliveryMode | Property::Priority => {
                values.put_u8(u8::try_from(number()?).map_err(|_| out_of_range())?);
            }
            Property::Timestamp => {
                values.put_u64(u64::try_from(number()?).map_err(|_| out_of_range())?);
            }
            _ => {
                let text = fields.text(name)?.unwrap_or_default();
                let length = u8::try_from(text.len()).map_err(|_| too_long(name))?;
                values.put_u8(length);
                values.extend_from_slice(text.as_bytes());
            }
        }
    }
    let mut out = BytesMut::with_capacity(2 + values.len());
    out.put_u16(flags);
    out.extend_from_slice(&values);
    Ok(out.freeze())
}

fn too_long(name: &str) -> ApiError {
    ApiError::bad_request(format!("{name} is longer than {SHORTSTR_MAX} octets"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(json: &Value) -> Result<Properties, ApiError> {
        let raw = from_json(json.as_object().unwrap())?;
        Ok(Properties::new(raw).unwrap().0)
    }

    #[test]
    fn a12_every_property_goes_there_and_back() {
        let json = json!({
            "content_type": "text/plain", "content_encoding": "utf-8",
            "headers": {"a": 1, "b": null, "c": ["x"]}, "delivery_mode": 2, "priority": 9,
            "correlation_id": "c", "reply_to": "r", "expiration": "60000", "message_id": "m",
            "timestamp": 1_700_000_000, "type": "t", "user_id": "guest", "app_id": "a",
            "cluster_id": "x",
        });
        assert_eq!(to_json(&raw(&json).unwrap()), json);
        assert_eq!(to_json(&raw(&json!({})).unwrap()), json!([]));
    }

    #[test]
    fn a12_values_of_the_wrong_type_are_refused() {
        for wrong in [
            json!({"delivery_mode": true}),
            json!({"priority": 256}),
            json!({"timestamp": -1}),
            json!({"content_type": 5}),
            json!({"headers": "x"}),
            json!({"app_id": "x".repeat(256)}),
        ] {
            assert_eq!(raw(&wrong).unwrap_err().status, 400, "{wrong}");
        }
        let ignored = json!({"nonsense": 1, "priority": "3"});
        assert_eq!(to_json(&raw(&ignored).unwrap()), json!({"priority": 3}));
    }
}
