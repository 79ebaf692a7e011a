//! Faults of the operations on a channel: topology, publishing, consuming, settling.
//!
//! Owns the texts. Most close the channel only; those that close the connection say so.

use std::fmt;

use super::erlang::BinaryTerm;
use super::{Access, AmqpError, ReplyCode, Resource};
use crate::base::limits::MAX_MESSAGE_BYTES_HARD;

fn not_found(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::NotFound, text)
}

fn refused(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::AccessRefused, text)
}

fn precondition(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::PreconditionFailed, text)
}

fn not_implemented(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::NotImplemented, text)
}

/// What is missing (404), refused (403) or locked (405).
impl AmqpError {
    /// 404: no such queue.
    pub fn no_queue(name: &str, vhost: &str) -> Self {
        not_found(format_args!("no {}", Resource::queue(name, vhost)))
    }

    /// 404: no such exchange.
    pub fn no_exchange(name: &str, vhost: &str) -> Self {
        not_found(format_args!("no {}", Resource::exchange(name, vhost)))
    }

    /// 404: an empty queue name, and none declared on this channel.
    pub fn no_previously_declared_queue() -> Self {
        not_found(format_args!("no previously declared queue"))
    }

    /// 404: the queue exists but could not be recovered.
    pub fn queue_crashed(name: &str, vhost: &str) -> Self {
        let queue = Resource::queue(name, vhost);
        not_found(format_args!("{queue} has crashed and failed to restart"))
    }

    /// 403: the user lacks a permission. The default exchange is shown as `amq.default`.
    pub fn access_refused(access: Access, mut to: Resource<'_>, user: &str) -> Self {
        to.name = to.shown_name();
        refused(format_args!(
            "{access} access to {to} refused for user '{user}'"
        ))
    }

    /// 403: the user lacks a permission on a routing key of a topic exchange.
    pub fn topic_access_refused(
        access: Access,
        key: &str,
        exchange: &str,
        vhost: &str,
        user: &str,
    ) -> Self {
        let exchange = Resource::exchange(exchange, vhost);
        refused(format_args!(
            "{access} access to topic '{key}' in {exchange} refused for user '{user}'"
        ))
    }

    /// 403: publish to an internal exchange.
    pub fn internal_exchange(name: &str, vhost: &str) -> Self {
        let exchange = Resource::exchange(name, vhost);
        refused(format_args!("cannot publish to internal {exchange}"))
    }

    /// 403: declare, delete, bind or unbind of the exchange without a name.
    pub fn default_exchange() -> Self {
        refused(format_args!(
            "operation not permitted on the default exchange"
        ))
    }

    /// 403: delete of an `amq.` exchange.
    pub fn delete_system_exchange(name: &str, vhost: &str) -> Self {
        let exchange = Resource::exchange(name, vhost);
        refused(format_args!("deletion of system {exchange} not allowed"))
    }

    /// 403: a new queue whose name starts with `amq.`.
    pub fn reserved_queue_prefix(name: &str) -> Self {
        refused(format_args!(
            "queue name '{name}' contains reserved prefix 'amq.*'"
        ))
    }

    /// 403: a new exchange whose name starts with `amq.`.
    pub fn reserved_exchange_prefix(name: &str) -> Self {
        refused(format_args!(
            "exchange name '{name}' contains reserved prefix 'amq.*'"
        ))
    }

    /// 403: an exclusive consumer is there, or wants to be where others are.
    pub fn exclusive_use(name: &str, vhost: &str) -> Self {
        refused(format_args!(
            "{} in exclusive use",
            Resource::queue(name, vhost)
        ))
    }

    /// 403: bind or unbind of a direct reply-to name.
    pub fn bind_reply_queue() -> Self {
        refused(format_args!(
            "cannot bind or unbind to a volatile (direct reply-to) queue"
        ))
    }

    /// 405: another connection's exclusive queue, or redeclared with the other exclusive flag.
    pub fn locked_queue(name: &str, vhost: &str) -> Self {
        let queue = Resource::queue(name, vhost);
        AmqpError::new(
            ReplyCode::ResourceLocked,
            format_args!(
                "cannot obtain exclusive access to locked {queue}. It could be originally \
                 declared on another connection or the exclusive property value does not match \
                 that of the original declaration."
            ),
        )
    }
}

/// What does not fit (406).
impl AmqpError {
    /// 406: exchange.declare of a type nobody knows.
    pub fn unknown_exchange_type(name: &str) -> Self {
        precondition(format_args!("unknown exchange type '{name}'"))
    }

    /// 406: an `x-recent-history` exchange that is to remember another number than 1 and up.
    pub fn history_length(value: impl fmt::Display) -> Self {
        precondition(format_args!(
            "Invalid argument {value}, 'x-recent-history-length' must be a positive integer"
        ))
    }

    /// 406: an `x-delayed-message` exchange without the type that it routes by. (RabbitMQ's plugin has this
    /// with two words run together and one misspelt.)
    pub fn delayed_type() -> Self {
        precondition(format_args!(
            "Invalid argument, 'x-delayed-type' must be an existing exchange type"
        ))
    }

    /// 406: queue.delete if-unused of a queue with consumers.
    pub fn queue_in_use(name: &str, vhost: &str) -> Self {
        precondition(format_args!("{} in use", Resource::queue(name, vhost)))
    }

    /// 406: queue.delete if-empty of a queue with ready messages.
    pub fn queue_not_empty(name: &str, vhost: &str) -> Self {
        precondition(format_args!("{} not empty", Resource::queue(name, vhost)))
    }

    /// 406: exchange.delete if-unused of an exchange with bindings.
    pub fn exchange_in_use(name: &str, vhost: &str) -> Self {
        precondition(format_args!("{} in use", Resource::exchange(name, vhost)))
    }

    /// 406: ack, nack or reject of a tag that is not outstanding.
    pub fn unknown_delivery_tag(tag: u64) -> Self {
        precondition(format_args!("unknown delivery tag {tag}"))
    }

    /// 406: a body larger than `max_message_size`. At the hard limit the text differs.
    pub fn message_too_large(size: u64, max: u64) -> Self {
        let limit = if max == MAX_MESSAGE_BYTES_HARD {
            "max size"
        } else {
            "configured max size"
        };
        precondition(format_args!(
            "message size {size} is larger than {limit} {max}"
        ))
    }

    /// 406: the expiration property does not start with an integer.
    pub fn expiration_not_integer(value: &str) -> Self {
        precondition(format_args!("invalid expiration '{value}': no_integer"))
    }

    /// 406: the expiration property goes on after its integer; `rest` is what follows.
    pub fn expiration_leftover(value: &str, rest: &str) -> Self {
        precondition(format_args!(
            "invalid expiration '{value}': {{leftover_string,\"{rest}\"}}"
        ))
    }

    /// 406: the expiration property is below zero; `number` is its integer as it is written.
    pub fn expiration_negative(value: &str, number: &str) -> Self {
        precondition(format_args!(
            "invalid expiration '{value}': {{value_negative,{number}}}"
        ))
    }

    /// 406: the expiration property is over ten years; `number` is its integer as it is written.
    pub fn expiration_too_large(value: &str, number: &str) -> Self {
        precondition(format_args!(
            "invalid expiration '{value}': {{value_too_large,{number}}}"
        ))
    }

    /// 406: the user-id property names another user.
    pub fn user_id_mismatch(claimed: &str, actual: &str) -> Self {
        precondition(format_args!(
            "user_id property set to '{claimed}' but authenticated user was '{actual}'"
        ))
    }

    /// 406: the header `CC` or `BCC` is not an array; `kind` is the name of the type it has.
    pub fn unacceptable_header(header: &str, kind: &str) -> Self {
        precondition(format_args!(
            "invalid message: {{unacceptable_type_in_header,\"{header}\",{kind}}}"
        ))
    }

    /// 406: a headers binding whose `x-match` is none of the four words.
    pub fn x_match_value(value: &[u8]) -> Self {
        precondition(format_args!(
            "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
            BinaryTerm(value)
        ))
    }

    /// 406: a headers binding whose `x-match` is not a string.
    pub fn x_match_type(kind: &str, value: &str) -> Self {
        precondition(format_args!(
            "Invalid x-match field type {kind} (value {value}); expected longstr"
        ))
    }

    /// 406: direct reply-to consumed without no-ack.
    pub fn reply_consumer_acks() -> Self {
        precondition(format_args!("reply consumer cannot acknowledge"))
    }

    /// 406: direct reply-to consumed twice on a channel.
    pub fn reply_consumer_set() -> Self {
        precondition(format_args!("reply consumer already set"))
    }

    /// 406: published with direct reply-to, but nobody consumes from it on this channel.
    pub fn no_reply_consumer() -> Self {
        precondition(format_args!("fast reply consumer does not exist"))
    }

    /// 406: tx.select on a channel in confirm mode.
    pub fn confirm_to_tx() -> Self {
        precondition(format_args!("cannot switch from confirm to tx mode"))
    }

    /// 406: confirm.select on a channel in tx mode.
    pub fn tx_to_confirm() -> Self {
        precondition(format_args!("cannot switch from tx to confirm mode"))
    }

    /// 406: tx.commit or tx.rollback without tx.select.
    pub fn not_transactional() -> Self {
        precondition(format_args!("channel is not transactional"))
    }

    /// 406: a queue rejected a message of a tx.commit.
    pub fn partial_tx() -> Self {
        precondition(format_args!("partial tx completion"))
    }

    /// 406: the vhost holds as many queues as it may.
    pub fn queue_limit(name: &str, vhost: &str, limit: u64) -> Self {
        precondition(format_args!(
            "cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached"
        ))
    }

    /// 406: the broker holds as many queues as it may.
    pub fn cluster_queue_limit(name: &str, limit: u64) -> Self {
        precondition(format_args!(
            "cannot declare queue '{name}': queue limit in cluster ({limit}) is reached"
        ))
    }

    /// 406: the broker holds as many exchanges as it may.
    pub fn exchange_limit(name: &str, vhost: &str, limit: u64) -> Self {
        let exchange = Resource::exchange(name, vhost);
        precondition(format_args!(
            "cannot declare {exchange}: exchange limit of {limit} is reached"
        ))
    }

    /// 406: a delivery stayed unacknowledged too long (3.13 to 4.2).
    pub fn consumer_timeout(channel: u16, timeout_ms: u64) -> Self {
        precondition(format_args!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: \
             {timeout_ms} ms. This timeout value can be configured, see consumers doc guide to \
             learn more"
        ))
    }
}

/// What is not done at all (540) or not allowed (530). All of these close the connection.
impl AmqpError {
    /// 540: basic.publish with `immediate`.
    pub fn immediate_unsupported() -> Self {
        not_implemented(format_args!("immediate=true"))
    }

    /// 540: basic.qos with a prefetch size.
    pub fn prefetch_size(size: u32) -> Self {
        not_implemented(format_args!("prefetch_size!=0 ({size})"))
    }

    /// 540: basic.recover without requeue.
    pub fn requeue_false() -> Self {
        not_implemented(format_args!("requeue=false"))
    }

    /// 540: channel.flow that stops the server.
    pub fn flow_inactive() -> Self {
        not_implemented(format_args!("active=false"))
    }

    /// 530: basic.consume with a tag already in use on the channel.
    pub fn consumer_tag_reuse(tag: &str) -> Self {
        let text = format_args!("attempt to reuse consumer tag '{tag}'");
        AmqpError::new(ReplyCode::NotAllowed, text)
    }

    /// 530: as many consumers on the channel as there may be.
    pub fn consumer_limit(max: u64) -> Self {
        let text = format_args!("reached maximum ({max}) of consumers per channel");
        AmqpError::new(ReplyCode::NotAllowed, text)
    }
}
