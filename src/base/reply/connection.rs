//! Faults of a connection: login, tuning, vhost, channels out of order, forced closes.
//!
//! Owns the texts. All close the connection.

use std::fmt;

use super::{AmqpError, ReplyCode};
use crate::base::quota::{Excess, Unit};

fn not_allowed(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::NotAllowed, text)
}

fn channel_error(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::ChannelError, text)
}

/// Logging in and opening.
impl AmqpError {
    /// 403: wrong credentials. Sent only to clients with `authentication_failure_close` (A1.14).
    pub fn login_refused(mechanism: &str) -> Self {
        AmqpError::new(
            ReplyCode::AccessRefused,
            format_args!(
                "Login was refused using authentication mechanism {mechanism}. For details see \
                 the broker logfile."
            ),
        )
    }

    /// 503: a mechanism that was not offered. For the log: the socket closes silently.
    pub fn unknown_mechanism(mechanism: &str) -> Self {
        let text = format_args!("unknown authentication mechanism '{mechanism}'");
        AmqpError::new(ReplyCode::CommandInvalid, text)
    }

    /// 502: a malformed answer to a mechanism. For the log: the socket closes silently.
    pub fn malformed_sasl(mechanism: &str) -> Self {
        let text = format_args!("response does not fit authentication mechanism {mechanism}");
        AmqpError::new(ReplyCode::SyntaxError, text)
    }

    /// 530: a tune-ok above the server's value. For the log: the socket closes silently. `field` is
    /// `frame_max` or `channel_max`; 0 asks for no limit.
    pub fn tune_too_high(field: &str, value: u32, max: u32) -> Self {
        let detail = if value == 0 && field == "channel_max" {
            " (no limit)"
        } else {
            ""
        };
        not_allowed(format_args!(
            "negotiated {field} = {value}{detail} is higher than the maximum allowed value ({max})"
        ))
    }

    /// 530: a tune-ok below the smallest value. For the log: the socket closes silently.
    pub fn tune_too_low(field: &str, value: u32, min: u32) -> Self {
        not_allowed(format_args!(
            "negotiated {field} = {value} is lower than the minimum allowed value ({min})"
        ))
    }

    /// 530: connection.open of a vhost that does not exist.
    pub fn vhost_not_found(vhost: &str) -> Self {
        not_allowed(format_args!("vhost {vhost} not found"))
    }

    /// 530: connection.open of a vhost the user has no permissions in.
    pub fn vhost_access_refused(vhost: &str, user: &str) -> Self {
        not_allowed(format_args!(
            "access to vhost '{vhost}' refused for user '{user}'"
        ))
    }

    /// 541: connection.open of a vhost that could not be started.
    pub fn vhost_down(vhost: &str, user: &str) -> Self {
        AmqpError::new(
            ReplyCode::InternalError,
            format_args!(
                "access to vhost '{vhost}' refused for user '{user}': vhost '{vhost}' is down"
            ),
        )
    }

    /// 530: as many connections as the node may have.
    pub fn node_connection_limit(limit: u64) -> Self {
        not_allowed(format_args!(
            "connection refused: node connection limit ({limit}) is reached"
        ))
    }

    /// 530: as many connections as the vhost may have.
    pub fn vhost_connection_limit(vhost: &str, user: &str, limit: u64) -> Self {
        not_allowed(format_args!(
            "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is \
             reached"
        ))
    }

    /// 530: as many connections as the user may have.
    pub fn user_connection_limit(user: &str, limit: u64) -> Self {
        not_allowed(format_args!(
            "connection refused for user '{user}': user connection limit ({limit}) is reached"
        ))
    }

    /// 530: connection.update-secret refused.
    pub fn secret_refused() -> Self {
        not_allowed(format_args!(
            "New secret was refused by one of the backends"
        ))
    }

    /// 530: connection.update-secret could not be done.
    pub fn secret_failed() -> Self {
        not_allowed(format_args!("Secret update failed"))
    }
}

/// Channels and methods out of order.
impl AmqpError {
    /// 530: as many channels open as were negotiated (A1.18).
    pub fn channel_limit(open: usize, channel_max: u16) -> Self {
        not_allowed(format_args!(
            "number of channels opened ({open}) has reached the negotiated channel_max \
             ({channel_max})"
        ))
    }

    /// 530: as many channels as the node may have.
    pub fn node_channel_limit(node: &str, limit: u64) -> Self {
        not_allowed(format_args!(
            "number of channels opened on node '{node}' has reached the maximum allowed limit of \
             {limit}"
        ))
    }

    /// 530: as many channels as the user may have.
    pub fn user_channel_limit(user: &str, limit: u64) -> Self {
        not_allowed(format_args!(
            "number of channels opened for user '{user}' has reached the maximum allowed user \
             limit of {limit}"
        ))
    }

    /// 504: channel.open of an open channel.
    pub fn second_channel_open() -> Self {
        channel_error(format_args!("second 'channel.open' seen"))
    }

    /// 504: another method on a channel that is not open.
    pub fn expected_channel_open() -> Self {
        channel_error(format_args!("expected 'channel.open'"))
    }

    /// 504: a method while tx.commit runs.
    pub fn committing() -> Self {
        channel_error(format_args!(
            "unexpected command while processing 'tx.commit'"
        ))
    }

    /// 504: a method of class connection that does not fit; `state` is one of RabbitMQ's words
    /// (`starting`, `securing`, `tuning`, `opening`, `running`, `blocked`).
    pub fn unexpected_method(state: &str) -> Self {
        channel_error(format_args!(
            "unexpected method in connection state {state}"
        ))
    }

    /// 503: a method that exists but that clients do not send.
    pub fn unimplemented_method() -> Self {
        AmqpError::new(
            ReplyCode::CommandInvalid,
            format_args!("unimplemented method"),
        )
    }
}

/// The reason in connection.blocked (A1.15), if there is one.
pub const fn blocked_reason(memory: bool, disk: bool) -> Option<&'static str> {
    match (memory, disk) {
        (true, true) => Some("low on memory & disk"),
        (true, false) => Some("low on memory"),
        (false, true) => Some("low on disk"),
        (false, false) => None,
    }
}

/// The reason in connection.blocked when a quota is passed; `whose` it is, as `user 'u'`.
pub fn quota_reason(whose: std::fmt::Arguments<'_>, excess: &Excess) -> String {
    let per_s = excess.per_s;
    let unit = match excess.unit {
        Unit::Messages => "messages",
        Unit::Octets => "octets",
    };
    format!("{whose} exceeds its quota of {per_s} {unit} per second")
}

/// Closes the broker decides on.
impl AmqpError {
    /// 320: the broker stops.
    pub fn shutdown() -> Self {
        AmqpError::forced("broker forced connection closure with reason 'shutdown'")
    }

    /// 320: the credentials ran out.
    pub fn credential_expired() -> Self {
        AmqpError::forced("credential expired")
    }

    /// 320: an operator closed the connection, with a reason of their own.
    pub fn forced(reason: &str) -> Self {
        AmqpError::new(ReplyCode::ConnectionForced, format_args!("{reason}"))
    }

    /// 320: the user was deleted while it was connected.
    pub fn user_deleted(user: &str) -> Self {
        AmqpError::new(
            ReplyCode::ConnectionForced,
            format_args!("user '{user}' is deleted"),
        )
    }

    /// 320: the vhost was deleted while the client was in it.
    pub fn vhost_deleted(vhost: &str) -> Self {
        AmqpError::new(
            ReplyCode::ConnectionForced,
            format_args!("vhost '{vhost}' is deleted"),
        )
    }

    /// 541: the broker's own fault. What it was goes to the log, not to the client.
    pub fn internal() -> Self {
        AmqpError {
            code: ReplyCode::InternalError,
            text: ReplyCode::InternalError.name().to_owned(),
            class_id: 0,
            method_id: 0,
        }
    }
}
