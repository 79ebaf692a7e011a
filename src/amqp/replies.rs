//! The methods the broker sends, but for those of every message.
//!
//! Owns their building from our types.

use amq_protocol::protocol::{
    AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx,
};

use crate::base::Name;
use crate::codec::encode::short_string as short;

pub(super) fn connection_close_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
}

pub(super) fn connection_open_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}))
}

pub(super) fn connection_blocked(reason: &str) -> AMQPClass {
    let reason = short(reason);
    AMQPClass::Connection(connection::AMQPMethod::Blocked(connection::Blocked {
        reason,
    }))
}

pub(super) fn connection_unblocked() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}))
}

pub(super) fn update_secret_ok() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(
        connection::UpdateSecretOk {},
    ))
}

pub(super) fn channel_open_ok() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))
}

pub(super) fn channel_close_ok() -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
}

pub(super) fn flow_ok(active: bool) -> AMQPClass {
    AMQPClass::Channel(channel::AMQPMethod::FlowOk(channel::FlowOk { active }))
}

pub(super) fn exchange_declare_ok() -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
}

pub(super) fn exchange_delete_ok() -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}))
}

pub(super) fn exchange_bind_ok() -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::BindOk(exchange::BindOk {}))
}

pub(super) fn exchange_unbind_ok() -> AMQPClass {
    AMQPClass::Exchange(exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}))
}

pub(super) fn queue_declare_ok(name: &Name, ready: usize, consumers: usize) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
        queue: short(name),
        message_count: count(ready),
        consumer_count: count(consumers),
    }))
}

pub(super) fn queue_bind_ok() -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::BindOk(queue::BindOk {}))
}

pub(super) fn queue_unbind_ok() -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::UnbindOk(queue::UnbindOk {}))
}

pub(super) fn queue_purge_ok(messages: usize) -> AMQPClass {
    let message_count = count(messages);
    AMQPClass::Queue(queue::AMQPMethod::PurgeOk(queue::PurgeOk { message_count }))
}

pub(super) fn queue_delete_ok(messages: usize) -> AMQPClass {
    let message_count = count(messages);
    AMQPClass::Queue(queue::AMQPMethod::DeleteOk(queue::DeleteOk {
        message_count,
    }))
}

pub(super) fn qos_ok() -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::QosOk(basic::QosOk {}))
}

pub(super) fn consume_ok(tag: &Name) -> AMQPClass {
    let consumer_tag = short(tag);
    AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk {
        consumer_tag,
    }))
}

/// The server's own cancel, of a consumer whose queue is gone (A6.7).
pub(super) fn cancel(tag: &Name) -> AMQPClass {
    let consumer_tag = short(tag);
    AMQPClass::Basic(basic::AMQPMethod::Cancel(basic::Cancel {
        consumer_tag,
        nowait: true,
    }))
}

pub(super) fn cancel_ok(tag: &Name) -> AMQPClass {
    let consumer_tag = short(tag);
    AMQPClass::Basic(basic::AMQPMethod::CancelOk(basic::CancelOk {
        consumer_tag,
    }))
}

pub(super) fn get_empty() -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::GetEmpty(basic::GetEmpty {}))
}

pub(super) fn recover_ok() -> AMQPClass {
    AMQPClass::Basic(basic::AMQPMethod::RecoverOk(basic::RecoverOk {}))
}

pub(super) fn confirm_select_ok() -> AMQPClass {
    AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))
}

pub(super) fn tx_select_ok() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::SelectOk(tx::SelectOk {}))
}

pub(super) fn tx_commit_ok() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::CommitOk(tx::CommitOk {}))
}

pub(super) fn tx_rollback_ok() -> AMQPClass {
    AMQPClass::Tx(tx::AMQPMethod::RollbackOk(tx::RollbackOk {}))
}

pub(super) fn access_request_ok() -> AMQPClass {
    AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {}))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
