//! Arguments of queues and consumers: which are known, for which type of queue, and what they may be.
//!
//! Owns the table of known arguments. Texts are built in `base`.

use bytes::Bytes;

use crate::base::limits::{DEDUP_SIZE_MAX, EXPIRY_MAX_MS, PRIORITY_MAX};
use crate::base::{AmqpError, ArgFault, Durability, Resource};
use crate::codec::{RawTable, Value};
use crate::message::Dedup;
use crate::queue::{DeadLetter, DelayedRetry, Overflow, QueueKind, QueueOptions};

/// An argument, which types of queue take it, and what policies may make of it (A9).
struct Known {
    name: &'static str,
    classic: bool,
    quorum: bool,
    policy: Option<PolicyKey>,
}

/// How the policy key of an argument, which is its name without `x-`, is checked and merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct PolicyKey {
    check: Check,
    /// RabbitMQ's words for what it is.
    what: &'static str,
    merge: Merge,
    /// Whether an operator policy may have it.
    operator: bool,
}

#[derive(Debug, Clone, Copy)]
enum Check {
    /// An integer from one to another.
    Integer(i64, i64),
    Text,
    OneOf(&'static [&'static str]),
}

/// Which of an argument and a policy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merge {
    /// The smaller one.
    Min,
    /// The argument.
    Argument,
    /// The argument; in a quorum queue the policy. Of two policies the operator's.
    PolicyInQuorum,
}

impl Known {
    /// A number that policies can only make smaller.
    const fn limit(self, least: i64, most: i64, what: &'static str) -> Self {
        self.with(Check::Integer(least, most), what, Merge::Min, true)
    }

    /// Policies may have it; the argument counts first.
    const fn default(self, check: Check, what: &'static str) -> Self {
        self.with(check, what, Merge::Argument, false)
    }

    const fn with(
        mut self,
        check: Check,
        what: &'static str,
        merge: Merge,
        operator: bool,
    ) -> Self {
        self.policy = Some(PolicyKey {
            check,
            what,
            merge,
            operator,
        });
        self
    }

    const fn takes(&self, kind: QueueKind) -> bool {
        match kind {
            QueueKind::Classic => self.classic,
            QueueKind::Quorum => self.quorum,
        }
    }

    fn policy_name(&self) -> &'static str {
        self.name.strip_prefix("x-").unwrap_or(self.name)
    }
}

const fn of(name: &'static str, classic: bool, quorum: bool) -> Known {
    Known {
        name,
        classic,
        quorum,
        policy: None,
    }
}

const fn both(name: &'static str) -> Known {
    of(name, true, true)
}

const fn classic(name: &'static str) -> Known {
    of(name, true, false)
}

const fn quorum(name: &'static str) -> Known {
    of(name, false, true)
}

const fn stream(name: &'static str) -> Known {
    of(name, false, false)
}

const OVERFLOWS: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];
const STRATEGIES: &[&str] = &["at-most-once", "at-least-once"];
const RETRIES: &[&str] = &["disabled", "all", "failed", "returned"];
const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
const DURABILITIES: &[&str] = &["fsync", "interval", "os"];
const MODES: &[&str] = &["default", "lazy"];

/// All arguments that some type of queue knows (A4), and the policy keys that stand for them (A9).
/// Other arguments are kept and ignored.
const KNOWN: &[Known] = &[
    both("x-expires").limit(1, EXPIRY_MAX_MS, "queue expiry"),
    both("x-message-ttl").limit(0, EXPIRY_MAX_MS, "message TTL"),
    both("x-dead-letter-exchange").default(Check::Text, "dead letter exchange name"),
    both("x-dead-letter-routing-key").default(Check::Text, "dead letter routing key"),
    quorum("x-dead-letter-strategy").default(Check::OneOf(STRATEGIES), "dead letter strategy"),
    both("x-max-length").limit(0, i64::MAX, "maximum length"),
    both("x-max-length-bytes").limit(0, i64::MAX, "maximum length in bytes"),
    both("x-max-messages-per-second").limit(1, i64::MAX, "rate of messages"),
    both("x-max-bytes-per-second").limit(1, i64::MAX, "rate of bytes"),
    classic("x-max-priority"),
    both("x-overflow").with(
        Check::OneOf(OVERFLOWS),
        "overflow value",
        Merge::PolicyInQuorum,
        true,
    ),
    classic("x-queue-mode").default(Check::OneOf(MODES), "queue-mode value"),
    classic("x-queue-version").with(Check::Integer(1, 2), "queue version", Merge::Argument, true),
    both("x-single-active-consumer"),
    // RabbitMQ: quorum queues only (A6.14). Below 0 is no limit.
    both("x-delivery-limit").limit(i64::MIN, i64::MAX, "delivery limit"),
    // 4.3: quorum queues only (A6.16).
    both("x-delayed-retry-type").with(
        Check::OneOf(RETRIES),
        "delayed retry type",
        Merge::Argument,
        true,
    ),
    both("x-delayed-retry-min").limit(0, EXPIRY_MAX_MS, "shortest delay of a retry"),
    both("x-delayed-retry-max").limit(0, EXPIRY_MAX_MS, "longest delay of a retry"),
    // 4.3: quorum queues only (A6.13).
    both("x-consumer-timeout").limit(0, EXPIRY_MAX_MS, "consumer timeout"),
    // Warren's own.
    both("x-durability").default(Check::OneOf(DURABILITIES), "durability"),
    // Of plugins, for RabbitMQ (A3.21).
    both("x-message-deduplication"),
    both("x-cache-size"),
    both("x-cache-ttl"),
    both("x-deduplication-header"),
    quorum("x-quorum-initial-group-size"),
    quorum("x-max-in-memory-length").limit(0, i64::MAX, "maximum memory in bytes"),
    quorum("x-max-in-memory-bytes").limit(0, i64::MAX, "maximum memory in bytes"),
    // 3.10: quorum queues only.
    both("x-queue-leader-locator").default(Check::OneOf(LOCATORS), "queue leader locator value"),
    stream("x-max-age"),
    stream("x-stream-max-segment-size-bytes"),
    stream("x-stream-filter-size-bytes"),
    stream("x-initial-cluster-size"),
];

/// Failed deliveries after which a quorum queue gives a message up, unless told otherwise (A6.14).
const QUORUM_DELIVERY_LIMIT: u32 = 20;

/// What a queue is from its start, and cannot be made later.
const STRUCTURAL: &[&str] = &["x-max-priority", "x-queue-type", "x-single-active-consumer"];

/// Whether an argument cannot be changed while its queue exists.
pub(super) fn is_structural(name: &str) -> bool {
    STRUCTURAL.contains(&name)
}

/// The arguments held against each other at a redeclaration (A2): all that are known.
pub(super) fn compared() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// The type of queue that arguments ask for.
pub(super) fn kind(table: &RawTable, at: Resource<'_>) -> Result<QueueKind, AmqpError> {
    let read = Reader { table, at };
    match read.string("x-queue-type")? {
        None | Some("classic") => Ok(QueueKind::Classic),
        Some("quorum") => Ok(QueueKind::Quorum),
        Some(other) => read.fault("x-queue-type", ArgFault::UnsupportedQueueType(other)),
    }
}

/// Reads a queue's arguments, or says which one is wrong and why (A2, 406).
pub(super) fn read(table: &RawTable, at: Resource<'_>) -> Result<QueueOptions, AmqpError> {
    let kind = kind(table, at)?;
    let read = Reader { table, at };
    read.fit(kind)?;
    let exchange = match table.get("x-dead-letter-exchange") {
        None => None,
        Some(value) => Some(value.as_str().ok_or_else(|| {
            AmqpError::invalid_arg_type(value.type_name(), "x-dead-letter-exchange", at)
        })?),
    };
    let expires_ms = match read.duration_ms("x-expires")? {
        Some(0) => return read.fault("x-expires", ArgFault::ValueZero),
        expires_ms => expires_ms,
    };
    let routing_key = read.string("x-dead-letter-routing-key")?;
    if exchange.is_none() && routing_key.is_some() {
        return read.fault("x-dead-letter-routing-key", ArgFault::RoutingKeyButNoDlx);
    }
    read.one_of("x-dead-letter-strategy", STRATEGIES, |_| {
        ArgFault::InvalidDlxStrategy
    })?;
    if read.count("x-quorum-initial-group-size")? == Some(0) {
        return read.fault("x-quorum-initial-group-size", ArgFault::ValueZero);
    }
    read.one_of("x-queue-leader-locator", LOCATORS, |_| {
        ArgFault::InvalidQueueLocator
    })?;
    read.one_of("x-queue-mode", MODES, ArgFault::UnsupportedQueueMode)?;
    if let Some(version) = read.integer("x-queue-version")?
        && !(1..=2).contains(&version)
    {
        return read.fault(
            "x-queue-version",
            ArgFault::UnsupportedQueueVersion(version),
        );
    }
    Ok(QueueOptions {
        kind,
        max_priority: read.max_priority()?,
        message_ttl_ms: read.duration_ms("x-message-ttl")?,
        expires_ms,
        max_len: read.count("x-max-length")?,
        max_len_bytes: read.count("x-max-length-bytes")?,
        messages_per_s: read.rate("x-max-messages-per-second")?,
        bytes_per_s: read.rate("x-max-bytes-per-second")?,
        overflow: match (read.string("x-overflow")?, kind) {
            (None | Some("drop-head"), _) => Overflow::DropHead,
            (Some("reject-publish"), _) => Overflow::RejectPublish,
            (Some("reject-publish-dlx"), QueueKind::Classic) => Overflow::RejectPublishDlx,
            // Taken without effect, as in RabbitMQ.
            (Some("reject-publish-dlx"), QueueKind::Quorum) => Overflow::DropHead,
            (Some(_), _) => return read.fault("x-overflow", ArgFault::InvalidOverflow),
        },
        dead_letter: exchange.map(|exchange| DeadLetter {
            exchange: exchange.into(),
            routing_key: routing_key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        }),
        delivery_limit: read.delivery_limit(kind)?,
        delayed_retry: read.delayed_retry()?,
        single_active: read.flag("x-single-active-consumer")?,
        consumer_timeout_ms: read.duration_ms("x-consumer-timeout")?,
        durability: match read.string("x-durability")? {
            None => None,
            Some(name) => match Durability::from_name(name) {
                None => return read.fault("x-durability", ArgFault::InvalidDurability),
                known => known,
            },
        },
        dedup: dedup_of_queue(table, at)?,
        delays: false,
    })
}

mod merge;

pub(super) use merge::{By, Given, choose, merged, policy_key, takes_policy_key};

/// How a queue or an exchange is to drop what it has seen already (A3.21).
pub(super) fn dedup(table: &RawTable, at: Resource<'_>) -> Result<Option<Dedup>, AmqpError> {
    let read = Reader { table, at };
    if !read.flag("x-message-deduplication")? {
        return Ok(None);
    }
    read.dedup().map(Some)
}

/// The same of a queue: unless its arguments give its window a size or an age, it goes by what is there.
fn dedup_of_queue(table: &RawTable, at: Resource<'_>) -> Result<Option<Dedup>, AmqpError> {
    let is_window = ["x-cache-size", "x-cache-ttl"]
        .iter()
        .any(|name| table.get(name).is_some());
    let rule = dedup(table, at)?;
    Ok(rule.map(|rule| Dedup {
        while_there: !is_window,
        ..rule
    }))
}

/// The same where the type of an exchange says so, and not an argument.
pub(super) fn dedup_rule(table: &RawTable, at: Resource<'_>) -> Result<Dedup, AmqpError> {
    Reader { table, at }.dedup()
}

/// What the arguments of basic.consume ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerArguments {
    /// `x-priority` (A6.4); 0 if absent.
    pub priority: i64,
    /// `x-consumer-timeout` (A6.13).
    pub timeout_ms: Option<u64>,
}

/// Reads a consumer's arguments. Those without a meaning here are only checked.
pub fn of_consumer(table: &RawTable, at: Resource<'_>) -> Result<ConsumerArguments, AmqpError> {
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
    Ok(ConsumerArguments {
        priority: read.integer("x-priority")?.unwrap_or_default(),
        timeout_ms: read.duration_ms("x-consumer-timeout")?,
    })
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

    /// A count of 1 and up.
    fn rate(&self, name: &str) -> Result<Option<u64>, AmqpError> {
        match self.count(name)? {
            Some(0) => self.fault(name, ArgFault::ValueZero),
            rate => Ok(rate),
        }
    }

    /// A count of milliseconds, of ten years at most.
    fn duration_ms(&self, name: &str) -> Result<Option<u64>, AmqpError> {
        match self.integer(name)? {
            Some(n) if n > EXPIRY_MAX_MS => self.fault(name, ArgFault::ValueTooLarge(n)),
            _ => self.count(name),
        }
    }

    fn dedup(&self) -> Result<Dedup, AmqpError> {
        let default = Dedup::default();
        let size = match self.integer("x-cache-size")? {
            Some(0) => return self.fault("x-cache-size", ArgFault::ValueZero),
            Some(n) if n > DEDUP_SIZE_MAX => {
                return self.fault("x-cache-size", ArgFault::ValueTooLarge(n));
            }
            _ => self.count("x-cache-size")?,
        };
        let ttl_ms = match self.duration_ms("x-cache-ttl")? {
            Some(0) => return self.fault("x-cache-ttl", ArgFault::ValueZero),
            ttl_ms => ttl_ms,
        };
        let header = self.string("x-deduplication-header")?;
        Ok(Dedup {
            size: size.unwrap_or(default.size),
            ttl_ms,
            header: header.map_or(default.header, str::to_owned),
            while_there: false,
        })
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

    /// Whether all arguments are ones that queues of this type take.
    fn fit(&self, kind: QueueKind) -> Result<(), AmqpError> {
        let foreign = KNOWN.iter().filter(|known| !known.takes(kind));
        match foreign
            .map(|known| known.name)
            .find(|name| self.table.get(name).is_some())
        {
            Some(name) => Err(AmqpError::invalid_arg_of_type(name, self.at, kind.module())),
            None => Ok(()),
        }
    }

    /// Without a shortest or a longest delay the other one counts.
    fn delayed_retry(&self) -> Result<Option<DelayedRetry>, AmqpError> {
        let name = "x-delayed-retry-type";
        self.one_of(name, RETRIES, |_| ArgFault::InvalidRetryType)?;
        let min_ms = self.duration_ms("x-delayed-retry-min")?;
        let max_ms = self.duration_ms("x-delayed-retry-max")?;
        let (failed, nacked) = match self.string(name)? {
            Some("all") => (true, true),
            Some("failed") => (true, false),
            Some("returned") => (false, true),
            _ => return Ok(None),
        };
        Ok(min_ms.or(max_ms).map(|min_ms| DelayedRetry {
            failed,
            nacked,
            min_ms,
            max_ms: max_ms.unwrap_or(min_ms),
        }))
    }

    /// -1 means none on a quorum queue, which else has one.
    fn delivery_limit(&self, kind: QueueKind) -> Result<Option<u32>, AmqpError> {
        let name = "x-delivery-limit";
        match (self.integer(name)?, kind) {
            (None, QueueKind::Quorum) => Ok(Some(QUORUM_DELIVERY_LIMIT)),
            (Some(n), QueueKind::Quorum) if n < 0 => Ok(None),
            _ => Ok(self
                .count(name)?
                .map(|n| u32::try_from(n).unwrap_or(u32::MAX))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TableBuilder;

    const AT: Resource<'static> = Resource::queue("q", "/");

    fn table(fields: &[(&str, Value<'_>)]) -> RawTable {
        let mut table = TableBuilder::new();
        for (name, value) in fields {
            table.insert(name, *value);
        }
        table.finish()
    }

    fn fault(fields: &[(&str, Value<'_>)]) -> String {
        let text = read(&table(fields), AT).unwrap_err().text;
        let start = "PRECONDITION_FAILED - invalid arg ";
        text.strip_prefix(start).unwrap_or(&text).to_owned()
    }

    #[test]
    fn a4_every_argument_is_read() {
        let options = read(
            &table(&[
                ("x-message-ttl", Value::I32(60_000)),
                ("x-expires", Value::I64(1)),
                ("x-max-length", Value::U8(5)),
                ("x-max-length-bytes", Value::I16(6)),
                ("x-max-messages-per-second", Value::I32(8)),
                ("x-max-bytes-per-second", Value::I64(9)),
                ("x-max-priority", Value::I8(7)),
                ("x-overflow", Value::LongStr(b"reject-publish-dlx")),
                ("x-dead-letter-exchange", Value::LongStr(b"dlx")),
                ("x-dead-letter-routing-key", Value::LongStr(b"dead")),
                ("x-delivery-limit", Value::I32(3)),
                ("x-delayed-retry-type", Value::LongStr(b"failed")),
                ("x-delayed-retry-min", Value::I32(100)),
                ("x-delayed-retry-max", Value::I32(1000)),
                ("x-single-active-consumer", Value::Bool(true)),
                ("x-consumer-timeout", Value::I32(9)),
                ("x-durability", Value::LongStr(b"interval")),
                ("x-queue-type", Value::LongStr(b"classic")),
                ("x-queue-mode", Value::LongStr(b"lazy")),
                ("x-something-else", Value::Void),
            ]),
            AT,
        );
        let expected = QueueOptions {
            kind: QueueKind::Classic,
            max_priority: 7,
            message_ttl_ms: Some(60_000),
            expires_ms: Some(1),
            max_len: Some(5),
            max_len_bytes: Some(6),
            messages_per_s: Some(8),
            bytes_per_s: Some(9),
            overflow: Overflow::RejectPublishDlx,
            dead_letter: Some(DeadLetter {
                exchange: "dlx".into(),
                routing_key: Some(Bytes::from_static(b"dead")),
            }),
            delivery_limit: Some(3),
            delayed_retry: Some(DelayedRetry {
                failed: true,
                nacked: false,
                min_ms: 100,
                max_ms: 1000,
            }),
            single_active: true,
            consumer_timeout_ms: Some(9),
            durability: Some(Durability::Interval),
            dedup: None,
            delays: false,
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn a2_406_values_that_cannot_be() {
        for (fields, expected) in [
            (("x-expires", Value::I32(0)), "{value_zero,0}"),
            (("x-message-ttl", Value::I32(-1)), "{value_negative,-1}"),
            (
                ("x-max-messages-per-second", Value::I32(0)),
                "{value_zero,0}",
            ),
            (
                ("x-message-ttl", Value::LongStr(b"1")),
                "\"expected integer, got longstr\"",
            ),
            (("x-max-length", Value::I8(-5)), "{value_negative,-5}"),
            (
                ("x-max-priority", Value::I32(256)),
                "{max_value_exceeded,256}",
            ),
            (("x-overflow", Value::LongStr(b"drop")), "invalid_overflow"),
            (
                ("x-durability", Value::LongStr(b"none")),
                "invalid_durability",
            ),
            (
                ("x-delayed-retry-type", Value::LongStr(b"some")),
                "invalid_delayed_retry_type",
            ),
            (
                ("x-single-active-consumer", Value::I8(1)),
                "{unacceptable_type,byte}",
            ),
            (
                ("x-queue-type", Value::LongStr(b"foo")),
                "\"unsupported queue type 'foo'\"",
            ),
            (
                ("x-dead-letter-routing-key", Value::LongStr(b"k")),
                "routing_key_but_no_dlx_defined",
            ),
        ] {
            let name = fields.0;
            assert_eq!(
                fault(&[fields]),
                format!("'{name}' for queue 'q' in vhost '/': {expected}")
            );
        }
    }

    #[test]
    fn a4_a_type_takes_only_its_own_arguments() {
        let quorum = ("x-queue-type", Value::LongStr(b"quorum"));
        let of_quorum = fault(&[quorum, ("x-max-priority", Value::I8(1))]);
        assert!(
            of_quorum.ends_with("of queue type rabbit_quorum_queue"),
            "{of_quorum}"
        );
        let locator = ("x-queue-leader-locator", Value::LongStr(b"balanced"));
        for kind in [b"classic".as_slice(), b"quorum"] {
            let table = table(&[("x-queue-type", Value::LongStr(kind)), locator]);
            assert!(read(&table, AT).is_ok());
        }
        let of_classic = fault(&[("x-max-age", Value::LongStr(b"1D"))]);
        assert!(
            of_classic.ends_with("of queue type rabbit_classic_queue"),
            "{of_classic}"
        );
    }

    #[test]
    fn a6_14_a_quorum_queue_gives_up_after_20_failures_unless_told_otherwise() {
        let limit = |fields: &[(&str, Value<'_>)]| {
            let quorum = ("x-queue-type", Value::LongStr(b"quorum"));
            read(&table(&[&[quorum], fields].concat()), AT)
                .unwrap()
                .delivery_limit
        };
        assert_eq!(limit(&[]), Some(20));
        assert_eq!(limit(&[("x-delivery-limit", Value::I32(3))]), Some(3));
        assert_eq!(limit(&[("x-delivery-limit", Value::I32(-1))]), None);
    }
}
