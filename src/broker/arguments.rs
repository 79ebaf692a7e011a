//! Arguments of exchanges, queues and bindings: which are known, what they may be, and when two
//! declarations agree.
//!
//! Owns the table of known queue arguments. Texts are built in `base`.

use bytes::Bytes;

use crate::base::limits::{EXPIRY_MAX_MS, PRIORITY_MAX};
use crate::base::{AmqpError, ArgFault, ArgValue, Name, Resource};
use crate::codec::{Properties, RawTable, Value};
use crate::queue::{DeadLetter, Overflow, QueueOptions, QueueRef};
use crate::router::{BindingArguments, HashOn, HashProperty, HeaderValue, MessageView, Target};

/// Arguments on both sides of a redeclaration.
pub(super) struct Compared<'a> {
    pub(super) wanted: &'a RawTable,
    pub(super) current: &'a RawTable,
}

/// Queue arguments held against each other at a redeclaration (A2): all that Warren knows.
pub(super) const QUEUE_COMPARED: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-queue-version",
];

/// Arguments that other queue types know, and a classic queue refuses.
const OF_OTHER_TYPES: &[&str] = &[
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-quorum-initial-group-size",
    "x-initial-cluster-size",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-queue-leader-locator",
];

/// Arguments that change what becomes of messages, and that Warren does not honour: refused, since
/// to take them and do nothing would lose or keep messages against the client's will.
const REFUSED: &[&str] = &["x-message-deduplication"];

/// Arguments from the catalogue or from an exchange's spec: validated when they came in.
pub(super) fn stored(octets: &Bytes) -> RawTable {
    RawTable::new(octets.clone()).unwrap_or_default()
}

/// Reads a queue's arguments, or says which one is wrong and why (A2, 406).
pub(super) fn of_queue(table: &RawTable, at: Resource<'_>) -> Result<QueueOptions, AmqpError> {
    let read = Reader { table, at };
    for name in REFUSED {
        if table.get(name).is_some() {
            return Err(AmqpError::unsupported_arg(name, at));
        }
    }
    for name in OF_OTHER_TYPES {
        if table.get(name).is_some() {
            return Err(AmqpError::invalid_arg_of_type(
                name,
                at,
                "rabbit_classic_queue",
            ));
        }
    }
    let exchange = read.string("x-dead-letter-exchange")?;
    let routing_key = read.string("x-dead-letter-routing-key")?;
    if exchange.is_none() && routing_key.is_some() {
        return read.fault("x-dead-letter-routing-key", ArgFault::RoutingKeyButNoDlx);
    }
    read.one_of("x-queue-type", &["classic"], ArgFault::UnsupportedQueueType)?;
    read.one_of(
        "x-queue-mode",
        &["default", "lazy"],
        ArgFault::UnsupportedQueueMode,
    )?;
    if let Some(version) = read.integer("x-queue-version")?
        && !(1..=2).contains(&version)
    {
        return read.fault(
            "x-queue-version",
            ArgFault::UnsupportedQueueVersion(version),
        );
    }
    let limit = read.count("x-delivery-limit")?;
    Ok(QueueOptions {
        max_priority: read.max_priority()?,
        message_ttl_ms: read.duration_ms("x-message-ttl")?,
        expires_ms: match read.duration_ms("x-expires")? {
            Some(0) => return read.fault("x-expires", ArgFault::ValueZero),
            expires_ms => expires_ms,
        },
        max_len: read.count("x-max-length")?,
        max_len_bytes: read.count("x-max-length-bytes")?,
        overflow: match read.string("x-overflow")? {
            None | Some("drop-head") => Overflow::DropHead,
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
            Some(_) => return read.fault("x-overflow", ArgFault::InvalidOverflow),
        },
        dead_letter: exchange.map(|exchange| DeadLetter {
            exchange: exchange.into(),
            routing_key: routing_key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        }),
        delivery_limit: limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        single_active: read.flag("x-single-active-consumer")?,
    })
}

/// A consumer's `x-priority` (A6.4); 0 if absent. The other consumer arguments are only checked.
pub fn consumer_priority(table: &RawTable, at: Resource<'_>) -> Result<i64, AmqpError> {
    let read = Reader { table, at };
    read.flag("x-cancel-on-ha-failover")?;
    if table.get("x-stream-offset").is_some() {
        let queue_type = "rabbit_classic_queue";
        return Err(AmqpError::invalid_arg_of_type(
            "x-stream-offset",
            at,
            queue_type,
        ));
    }
    read.integer("x-priority").map(Option::unwrap_or_default)
}

/// Arguments with the words for what is wrong with them.
struct Reader<'a> {
    table: &'a RawTable,
    at: Resource<'a>,
}

impl<'a> Reader<'a> {
    fn fault<T>(&self, name: &str, fault: ArgFault<'_>) -> Result<T, AmqpError> {
        Err(AmqpError::invalid_arg(name, self.at, fault))
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, AmqpError> {
        let Some(value) = self.table.get(name) else {
            return Ok(None);
        };
        match value.as_int() {
            None => self.fault(name, ArgFault::ExpectedInteger(value.type_name())),
            number => Ok(number),
        }
    }

    /// An integer of 0 and up.
    fn count(&self, name: &str) -> Result<Option<u64>, AmqpError> {
        match self.integer(name)? {
            Some(n) if n < 0 => self.fault(name, ArgFault::ValueNegative(n)),
            number => Ok(number.map(i64::cast_unsigned)),
        }
    }

    /// A count of milliseconds, of ten years at most.
    fn duration_ms(&self, name: &str) -> Result<Option<u64>, AmqpError> {
        match self.integer(name)? {
            Some(n) if n > EXPIRY_MAX_MS => self.fault(name, ArgFault::ValueTooLarge(n)),
            _ => self.count(name),
        }
    }

    fn max_priority(&self) -> Result<u8, AmqpError> {
        let name = "x-max-priority";
        match self.integer(name)? {
            Some(n) if n > i64::from(PRIORITY_MAX) => {
                self.fault(name, ArgFault::MaxValueExceeded(n))
            }
            _ => Ok(self.count(name)?.unwrap_or_default() as u8),
        }
    }

    fn string(&self, name: &str) -> Result<Option<&'a str>, AmqpError> {
        let Some(value) = self.table.get(name) else {
            return Ok(None);
        };
        match value.as_str() {
            None => self.fault(name, ArgFault::UnacceptableType(value.type_name())),
            text => Ok(text),
        }
    }

    fn one_of(
        &self,
        name: &str,
        words: &[&str],
        fault: impl FnOnce(&'a str) -> ArgFault<'a>,
    ) -> Result<(), AmqpError> {
        match self.string(name)? {
            Some(word) if !words.contains(&word) => self.fault(name, fault(word)),
            _ => Ok(()),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, AmqpError> {
        match self.table.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(value) => self.fault(name, ArgFault::UnacceptableType(value.type_name())),
        }
    }
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

/// Whether the arguments in `names` agree; what is not named there is not looked at (A2).
pub(super) fn equivalent(
    both: Compared<'_>,
    names: &[&str],
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

    fn random(&self) -> u64 {
        rand::random()
    }
}

impl Target for QueueRef {
    fn name(&self) -> Name {
        self.name.clone()
    }
}
