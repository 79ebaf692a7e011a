//! Arguments of exchanges and bindings, and when two declarations agree.
//!
//! Owns the reading of tables for the router. A queue's arguments have a file of their own; texts
//! are built in `base`.

use bytes::Bytes;

use crate::base::limits::HISTORY_LEN;
use crate::base::{AmqpError, ArgValue, BinaryTerm, Name, Resource};
use crate::codec::{Properties, RawTable, Value};
use crate::message::delay_ms;
use crate::queue::QueueRef;
use crate::router::{BindingArguments, HashOn, HashProperty, HeaderValue, MessageView, Target};

/// Arguments on both sides of a redeclaration.
pub(super) struct Compared<'a> {
    pub(super) wanted: &'a RawTable,
    pub(super) current: &'a RawTable,
}

/// Arguments from the catalogue or from an exchange's spec: validated when they came in.
pub(super) fn stored(octets: &Bytes) -> RawTable {
    RawTable::new(octets.clone()).unwrap_or_default()
}

/// An exchange's `alternate-exchange` argument (A3.12).
pub(super) fn alternate_exchange(
    table: &RawTable,
    at: Resource<'_>,
) -> Result<Option<Name>, AmqpError> {
    match table.get("alternate-exchange") {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(name) => Ok(Some(name.into())),
            None => Err(AmqpError::invalid_arg_type(
                value.type_name(),
                "alternate-exchange",
                at,
            )),
        },
    }
}

/// What an `x-consistent-hash` exchange hashes (A3.7).
pub(super) fn hash_on(table: &RawTable, at: Resource<'_>) -> Result<HashOn, AmqpError> {
    let text = |name: &'static str| match table.get(name) {
        None => Ok(None),
        Some(Value::LongStr(text)) => Ok(Some(text)),
        Some(value) => Err(AmqpError::invalid_arg_type(value.type_name(), name, at)),
    };
    match (text("hash-header")?, text("hash-property")?) {
        (None, None) => Ok(HashOn::Key),
        (Some(header), None) => Ok(HashOn::Header(Bytes::copy_from_slice(header))),
        (None, Some(name)) => match HashProperty::from_name(name) {
            Some(property) => Ok(HashOn::Property(property)),
            None => Err(AmqpError::hash_property_unsupported(
                &String::from_utf8_lossy(name),
            )),
        },
        (Some(_), Some(_)) => Err(AmqpError::hash_arguments_exclusive()),
    }
}

/// How many messages an `x-recent-history` exchange remembers (A3.10).
pub(super) fn history_len(table: &RawTable) -> Result<u64, AmqpError> {
    let Some(value) = table.get("x-recent-history-length") else {
        return Ok(HISTORY_LEN);
    };
    let len = value.as_int().and_then(|len| u64::try_from(len).ok());
    len.filter(|&len| len > 0).ok_or_else(|| match value {
        Value::LongStr(text) => AmqpError::history_length(BinaryTerm(text)),
        other => AmqpError::history_length(other),
    })
}

/// The type by whose rules an `x-delayed-message` exchange routes (A3.11).
pub(super) fn delayed_type(table: &RawTable) -> Result<&str, AmqpError> {
    let value = table.get("x-delayed-type");
    value
        .and_then(|value| value.as_str())
        .ok_or_else(AmqpError::delayed_type)
}

/// Whether the arguments in `names` agree; what is not named there is not looked at (A2).
pub(super) fn equivalent(
    both: Compared<'_>,
    names: impl IntoIterator<Item = &'static str>,
    at: Resource<'_>,
) -> Result<(), AmqpError> {
    for name in names {
        let (received, current) = (both.wanted.get(name), both.current.get(name));
        let agree = match (&received, &current) {
            (None, None) => true,
            (Some(a), Some(b)) => a.equivalent(b),
            _ => false,
        };
        if !agree {
            let received = received.map(|v| (v.type_name(), v.to_string()));
            let current = current.map(|v| (v.type_name(), v.to_string()));
            return Err(AmqpError::inequivalent_arg(
                name,
                at,
                shown(&received),
                shown(&current),
            ));
        }
    }
    Ok(())
}

fn shown<'a>(side: &'a Option<(&'static str, String)>) -> Option<ArgValue<'a>> {
    side.as_ref().map(|(kind, value)| ArgValue { kind, value })
}

/// A binding's arguments in the order that identifies it (A3.15).
pub(super) fn of_binding(table: &RawTable) -> BindingArguments {
    let sorted = table.sorted();
    let fields = sorted.iter().map(|(key, value)| (key, header_value(value)));
    BindingArguments::new(sorted.octets(), fields)
}

/// 406 for an `x-match` that is not a string.
pub(super) fn x_match_type(table: &RawTable) -> AmqpError {
    let value = table.get("x-match").unwrap_or(Value::Void);
    AmqpError::x_match_type(value.type_name(), &value.to_string())
}

/// A field as the headers exchange compares it.
pub(super) fn header_value(value: Value<'_>) -> HeaderValue<'_> {
    match value {
        Value::Bool(b) => HeaderValue::Bool(b),
        Value::F32(n) => HeaderValue::Float(n.into()),
        Value::F64(n) => HeaderValue::Float(n),
        Value::Decimal(scale, value) => HeaderValue::Decimal { scale, value },
        Value::LongStr(octets) => HeaderValue::LongString(octets),
        Value::Binary(octets) => HeaderValue::ByteArray(octets),
        Value::Array(array) => HeaderValue::Array(array.octets()),
        Value::Table(table) => HeaderValue::Table(table.octets()),
        Value::Timestamp(seconds) => HeaderValue::Timestamp(seconds),
        Value::Void => HeaderValue::Void,
        integer => HeaderValue::Int(integer.as_int().unwrap_or_default()),
    }
}

/// A message's properties as routing sees them.
pub(super) struct PropertiesView(pub(super) Properties);

impl MessageView for PropertiesView {
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)> {
        let table = self.0.headers().unwrap_or_default();
        table
            .iter()
            .map(|(name, value)| (name, header_value(value)))
    }

    fn property(&self, property: HashProperty) -> Option<HeaderValue<'_>> {
        let text = match property {
            HashProperty::CorrelationId => self.0.correlation_id(),
            HashProperty::MessageId => self.0.message_id(),
            HashProperty::Timestamp => {
                return self.0.timestamp().map(HeaderValue::Timestamp);
            }
        };
        text.map(HeaderValue::LongString)
    }

    fn is_delayed(&self) -> bool {
        delay_ms(&self.0).is_some()
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

impl Target for QueueRef {
    fn name(&self) -> Name {
        self.name.clone()
    }
}
