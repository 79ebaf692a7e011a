//! Faults of exchanges of the kinds that hash or draw (rows A3.7 and A3.8).
//!
//! Owns the texts, those of RabbitMQ's `rabbit_exchange_type_*` modules.

use std::fmt;

use super::erlang::BinaryTerm;
use super::{AmqpError, ReplyCode};

impl AmqpError {
    /// 406: `x-consistent-hash` declared with `hash-property` of none of the three.
    pub fn hash_property_unsupported(name: &str) -> Self {
        precondition(format_args!("Unsupported property: {name}"))
    }

    /// 406: `x-consistent-hash` declared to hash on a header and a property.
    pub fn hash_arguments_exclusive() -> Self {
        precondition(format_args!(
            "hash-header and hash-property are mutually exclusive"
        ))
    }

    /// 406: a binding of `x-consistent-hash` whose key is no integer.
    pub fn weight_not_integer(key: &[u8]) -> Self {
        precondition(format_args!(
            "The binding key must be an integer: {}",
            BinaryTerm(key)
        ))
    }

    /// 406: a binding of `x-consistent-hash` whose key is below 1.
    pub fn weight_not_positive() -> Self {
        precondition(format_args!("The binding key must be greater than 0"))
    }

    /// 406: a binding of `x-consistent-hash` whose key is too large. RabbitMQ has a limit too since 4.3.0; the
    /// text is Warren's own.
    pub fn weight_too_large(max: u32) -> Self {
        precondition(format_args!(
            "The binding key must not be greater than {max}"
        ))
    }

    /// 406: a binding of `x-local-random` with a key.
    pub fn local_random_key(key: &str) -> Self {
        precondition(format_args!("Non empty binding '{key}' key not permitted"))
    }

    /// 406: a binding of `x-local-random` to what is no queue.
    pub fn local_random_destination() -> Self {
        precondition(format_args!("Destination not found"))
    }
}

fn precondition(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::PreconditionFailed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_7_consistent_hash() {
        for (fault, text) in [
            (
                AmqpError::hash_property_unsupported("app_id"),
                "Unsupported property: app_id",
            ),
            (
                AmqpError::hash_arguments_exclusive(),
                "hash-header and hash-property are mutually exclusive",
            ),
            (
                AmqpError::weight_not_integer(b""),
                "The binding key must be an integer: <<>>",
            ),
            (
                AmqpError::weight_not_integer(b"1.5"),
                "The binding key must be an integer: <<\"1.5\">>",
            ),
            (
                AmqpError::weight_not_positive(),
                "The binding key must be greater than 0",
            ),
            (
                AmqpError::weight_too_large(10_000),
                "The binding key must not be greater than 10000",
            ),
        ] {
            assert_eq!(fault.text, format!("PRECONDITION_FAILED - {text}"));
        }
    }

    #[test]
    fn a3_8_local_random() {
        assert_eq!(
            AmqpError::local_random_key("k").text,
            "PRECONDITION_FAILED - Non empty binding 'k' key not permitted"
        );
        assert_eq!(
            AmqpError::local_random_destination().text,
            "PRECONDITION_FAILED - Destination not found"
        );
    }
}
