//! What arguments and policies make of a queue.
//!
//! Owns the meaning of the settings; reading them from tables is the broker's.

use bytes::Bytes;

use super::retry::DelayedRetry;
use crate::base::{Durability, Name};
use crate::message::Dedup;

/// The types of queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum QueueKind {
    /// The ordinary one.
    #[default]
    Classic,
    /// As on a RabbitMQ of one node: durable, every message on disk, failed deliveries counted.
    Quorum,
}

impl QueueKind {
    /// By its name in `x-queue-type`.
    pub fn from_name(name: &str) -> Option<Self> {
        [QueueKind::Classic, QueueKind::Quorum]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// Its name in `x-queue-type`.
    pub const fn name(self) -> &'static str {
        match self {
            QueueKind::Classic => "classic",
            QueueKind::Quorum => "quorum",
        }
    }

    /// RabbitMQ's name of its module, which some texts show.
    pub const fn module(self) -> &'static str {
        match self {
            QueueKind::Classic => "rabbit_classic_queue",
            QueueKind::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// What happens when a queue with a limit is full (A4, `x-overflow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The oldest ready messages make room.
    #[default]
    DropHead,
    /// New messages are refused, and their publishers told so.
    RejectPublish,
    /// As `RejectPublish`, and the refused messages are dead-lettered.
    RejectPublishDlx,
}

/// Where dead messages go (A7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The exchange.
    pub exchange: Name,
    /// The key to publish with; the message's own if absent.
    pub routing_key: Option<Bytes>,
}

/// A queue's settings. Absent means without limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueOptions {
    /// Its type.
    pub kind: QueueKind,
    /// Levels of priority above 0; 0 is an ordinary queue.
    pub max_priority: u8,
    /// Longest time a message may be ready, in milliseconds (A7.9).
    pub message_ttl_ms: Option<u64>,
    /// Time without use after which the queue is deleted, in milliseconds (A4.10).
    pub expires_ms: Option<u64>,
    /// Most ready messages (A7.10).
    pub max_len: Option<u64>,
    /// Most octets of ready bodies.
    pub max_len_bytes: Option<u64>,
    /// Most messages in a second, to which publishers are held.
    pub messages_per_s: Option<u64>,
    /// Most octets of bodies in a second.
    pub bytes_per_s: Option<u64>,
    /// What happens at the limit of messages or of octets.
    pub overflow: Overflow,
    /// Where dead messages go; dropped if absent.
    pub dead_letter: Option<DeadLetter>,
    /// Failed deliveries after which a message is dead (A6.14).
    pub delivery_limit: Option<u32>,
    /// Which of those that come back wait, and how long (A6.16).
    pub delayed_retry: Option<DelayedRetry>,
    /// One consumer at a time gets messages (A6.5).
    pub single_active: bool,
    /// In which a consumer must settle a delivery, in milliseconds; 0 is for ever (A6.13).
    pub consumer_timeout_ms: Option<u64>,
    /// When a message is safe enough to be confirmed; the broker's setting counts if absent.
    pub durability: Option<Durability>,
    /// How what was seen already is dropped (A3.21); the broker sees to it.
    pub dedup: Option<Dedup>,
    /// Messages expire when their delay is over (A3.11), and not by their own expiration.
    pub delays: bool,
}

/// Why a message left its queue other than by an ack (A7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// Rejected without requeue.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLen,
    /// Delivered too often.
    DeliveryLimit,
}

impl DeathReason {
    /// The word in x-death.
    pub const fn name(self) -> &'static str {
        match self {
            DeathReason::Rejected => "rejected",
            DeathReason::Expired => "expired",
            DeathReason::MaxLen => "maxlen",
            DeathReason::DeliveryLimit => "delivery_limit",
        }
    }
}
