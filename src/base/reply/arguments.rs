//! Faults in the arguments of declare and consume, and in redeclaring with other ones.
//!
//! Owns the texts; which arguments are checked, and how, is the broker's.

use std::fmt;

use super::erlang::Atom;
use super::{AmqpError, ReplyCode, Resource};

/// One side of a comparison of arguments. `kind` is RabbitMQ's name of the field type (`longstr`,
/// `signedint`, ...), `value` as it prints it.
#[derive(Debug, Clone, Copy)]
pub struct ArgValue<'a> {
    /// Name of the field type.
    pub kind: &'a str,
    /// The value as text.
    pub value: &'a str,
}

/// What is wrong with the value of an argument (`rabbit_amqqueue`, its checks by argument).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgFault<'a> {
    /// Below zero.
    ValueNegative(i64),
    /// Zero where only more will do.
    ValueZero,
    /// A time longer than ten years.
    ValueTooLarge(i64),
    /// A priority above 255.
    MaxValueExceeded(i64),
    /// Not an integer; holds the name of the type it has.
    ExpectedInteger(&'a str),
    /// Another type than this argument takes; holds the name of the type it has.
    UnacceptableType(&'a str),
    /// `x-dead-letter-routing-key` without `x-dead-letter-exchange`.
    RoutingKeyButNoDlx,
    /// Unknown `x-overflow`.
    InvalidOverflow,
    /// Unknown `x-durability`; Warren's own.
    InvalidDurability,
    /// Unknown `x-dead-letter-strategy`.
    InvalidDlxStrategy,
    /// `x-delayed-retry-type` names no kind of return (A6.16).
    InvalidRetryType,
    /// Unknown `x-queue-leader-locator`.
    InvalidQueueLocator,
    /// Malformed `x-max-age`.
    InvalidMaxAge,
    /// Unknown `x-queue-mode`.
    UnsupportedQueueMode(&'a str),
    /// Unknown `x-queue-version`.
    UnsupportedQueueVersion(i64),
    /// Unknown `x-queue-type`.
    UnsupportedQueueType(&'a str),
}

impl fmt::Display for ArgFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgFault::ValueNegative(n) => write!(f, "{{value_negative,{n}}}"),
            ArgFault::ValueZero => f.write_str("{value_zero,0}"),
            ArgFault::ValueTooLarge(n) => write!(f, "{{value_too_large,{n}}}"),
            ArgFault::MaxValueExceeded(n) => write!(f, "{{max_value_exceeded,{n}}}"),
            ArgFault::ExpectedInteger(kind) => write!(f, "\"expected integer, got {kind}\""),
            ArgFault::UnacceptableType(kind) => write!(f, "{{unacceptable_type,{kind}}}"),
            ArgFault::RoutingKeyButNoDlx => f.write_str("routing_key_but_no_dlx_defined"),
            ArgFault::InvalidOverflow => f.write_str("invalid_overflow"),
            ArgFault::InvalidDurability => f.write_str("invalid_durability"),
            ArgFault::InvalidDlxStrategy => f.write_str("invalid_dlx_strategy"),
            ArgFault::InvalidRetryType => f.write_str("invalid_delayed_retry_type"),
            ArgFault::InvalidQueueLocator => f.write_str("invalid_queue_locator_arg"),
            ArgFault::InvalidMaxAge => f.write_str("invalid_max_age"),
            ArgFault::UnsupportedQueueMode(mode) => {
                write!(f, "\"unsupported queue mode '{mode}'\"")
            }
            ArgFault::UnsupportedQueueVersion(n) => {
                write!(f, "\"unsupported queue version '{n}'\"")
            }
            ArgFault::UnsupportedQueueType(t) => write!(f, "\"unsupported queue type '{t}'\""),
        }
    }
}

impl AmqpError {
    /// 406: redeclared with another flag (`durable`, `auto_delete`, `internal`).
    pub fn inequivalent_flag(name: &str, at: Resource<'_>, received: bool, current: bool) -> Self {
        AmqpError::inequivalent(
            name,
            at,
            &format_args!("'{received}'"),
            &format_args!("'{current}'"),
        )
    }

    /// 406: an exchange redeclared with another type.
    pub fn inequivalent_type(at: Resource<'_>, received: &str, current: &str) -> Self {
        AmqpError::inequivalent(
            "type",
            at,
            &format_args!("'{}'", Atom(received)),
            &format_args!("'{}'", Atom(current)),
        )
    }

    /// 406: redeclared with another argument. Where both have a value only the values are shown,
    /// else the type too.
    pub fn inequivalent_arg(
        name: &str,
        at: Resource<'_>,
        received: Option<ArgValue<'_>>,
        current: Option<ArgValue<'_>>,
    ) -> Self {
        let bare = received.is_some() && current.is_some();
        let show = |side: Option<ArgValue<'_>>| match side {
            None => "none".to_owned(),
            Some(arg) if bare => format!("'{}'", arg.value),
            Some(arg) => format!("the value '{}' of type '{}'", arg.value, arg.kind),
        };
        AmqpError::inequivalent(name, at, &show(received), &show(current))
    }

    fn inequivalent(
        name: &str,
        at: Resource<'_>,
        received: &dyn fmt::Display,
        current: &dyn fmt::Display,
    ) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!(
                "inequivalent arg '{name}' for {at}: received {received} but current is {current}"
            ),
        )
    }

    /// 406: the value of an argument does not do.
    pub fn invalid_arg(name: &str, at: Resource<'_>, fault: ArgFault<'_>) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid arg '{name}' for {at}: {fault}"),
        )
    }

    /// 406: a quorum queue that is to be what it cannot.
    pub fn invalid_property(property: &str, at: Resource<'_>) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid property '{property}' for {at}"),
        )
    }

    /// 406: a queue without a name, of a type that needs one. `queue_type` is RabbitMQ's module name.
    pub fn server_named_of_type(queue_type: &str) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!("Cannot declare a server-named queue for type {queue_type}"),
        )
    }

    /// 406: an argument that cannot be changed while the queue exists. An operator sees it.
    pub fn fixed_arg(name: &str, at: Resource<'_>) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!(
                "arg '{name}' for {at} cannot be changed: delete the queue and declare it anew"
            ),
        )
    }

    /// 406: an argument that no queue knows is to be changed. An operator sees it.
    pub fn unknown_arg(name: &str, at: Resource<'_>) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!("arg '{name}' for {at} cannot be set: queues have no such argument"),
        )
    }

    /// 406: an argument that only other queue types know. `queue_type` is RabbitMQ's module name,
    /// `rabbit_classic_queue`.
    pub fn invalid_arg_of_type(name: &str, at: Resource<'_>, queue_type: &str) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid arg '{name}' for {at} of queue type {queue_type}"),
        )
    }

    /// 406: `x-dead-letter-exchange` or `alternate-exchange` is not a string; `kind` is the name of
    /// the type it has.
    pub fn invalid_arg_type(kind: &str, name: &str, at: Resource<'_>) -> Self {
        AmqpError::new(
            ReplyCode::PreconditionFailed,
            format_args!("invalid type '{kind}' for arg '{name}' in {at}"),
        )
    }
}
