//! Consumers of one queue: what they may take now and what is staged for them.
//!
//! Owns prefetch per consumer (A6.1). Limits that span a channel or a connection are asked of the
//! [`ConsumerPort`].

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ConnectionId, Name};
use crate::message::Message;

/// Where an unacked message stands in its queue. Valid until it is settled or requeued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// What a delivery without acks carries.
    pub const NONE: Slot = Slot(u32::MAX);

    /// Of a message that is its queue's again: settling it does nothing.
    pub const GONE: Slot = Slot(u32::MAX - 1);

    /// Any slot that is not [`Self::NONE`].
    #[cfg(test)]
    pub(crate) const SOME: Slot = Slot(0);
}

/// Names a consumer to its own connection: the queue only passes it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerToken {
    /// Channel number.
    pub channel: u16,
    /// Number of the consumer within its channel.
    pub number: u32,
}

/// A message handed to a consumer.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Whom it is for.
    pub token: ConsumerToken,
    /// What to settle it by; [`Slot::NONE`] if it needs no ack.
    pub slot: Slot,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

impl Delivery {
    /// Octets it counts for on its way to the socket.
    pub fn cost(&self) -> usize {
        cost(&self.message)
    }
}

/// Never nothing, so that empty messages are bounded too.
fn cost(message: &Message) -> usize {
    message.size() + std::mem::size_of::<Delivery>()
}

/// The way from a queue to a consumer's connection. Called with the queue's lock held, so an
/// implementation may lock only what is below a queue, and must not block.
pub trait ConsumerPort: Send + Sync {
    /// Octets the connection can take now before it must be waited for.
    fn room_bytes(&self) -> usize;

    /// Takes one from the limit that the whole channel shares (global qos, A6.2). Only asked for
    /// consumers with acks. `false`: none left; the port calls the queue back when there is.
    fn take_credit(&self) -> bool;

    /// Gives messages over, in order; `batch` is left empty.
    fn hand_over(&self, batch: &mut Vec<Delivery>, bytes: usize);

    /// The consumer was passed over for want of room: the port must have the queue resumed
    /// ([`super::Queue::resume`]) once there is, also if there is already.
    fn starved(&self);

    /// The queue is gone and so is the consumer (A6.7).
    fn cancelled(&self);
}

/// What a consumer asks for when it subscribes.
#[derive(Clone)]
pub struct ConsumerSpec {
    /// Consumer tag, for listings.
    pub tag: Name,
    /// The connection it came by, for listings.
    pub connection: ConnectionId,
    /// The arguments table as the client sent it, for listings.
    pub arguments: Bytes,
    /// Whom deliveries are for.
    pub token: ConsumerToken,
    /// Acked as they are sent (A6.3).
    pub no_ack: bool,
    /// The only one allowed.
    pub exclusive: bool,
    /// Most unacked messages at a time; 0 is no limit.
    pub prefetch: u32,
    /// Served before those of lower priority while it can take messages (A6.4).
    pub priority: i64,
    /// The way to it.
    pub port: Arc<dyn ConsumerPort>,
}

/// A consumer within its queue. Not reused for another consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A consumer as listings show it.
#[derive(Debug, Clone)]
pub struct ConsumerInfo {
    /// Its tag.
    pub tag: Name,
    /// The connection it came by.
    pub connection: ConnectionId,
    /// Its channel there.
    pub channel: u16,
    /// Acked as they are sent.
    pub no_ack: bool,
    /// The only one allowed.
    pub exclusive: bool,
    /// Most unacked messages at a time; 0 is no limit.
    pub prefetch: u32,
    /// Its `x-priority`.
    pub priority: i64,
    /// The arguments table as the client sent it.
    pub arguments: Bytes,
    /// It gets messages: not of a single-active queue whose turn is another's (A6.5).
    pub active: bool,
    /// Messages it has and has not settled.
    pub unacked: u32,
}

pub(super) struct Consumer {
    pub(super) spec: ConsumerSpec,
    pub(super) generation: u32,
    in_flight: u32,
    /// Not in the ring: it could take nothing when last asked.
    pub(super) parked: bool,
    staged: Vec<Delivery>,
    staged_bytes: usize,
    room_bytes: usize,
    /// Asked for room in this dispatch.
    pub(super) asked: bool,
}

/// What is handed over before the end of a dispatch, so that consumers of one connection see what
/// the others took of its room.
const HAND_OVER_BYTES: usize = 64 * 1024;

/// Why a consumer can take no more now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Its own prefetch, or the channel's credit: an ack frees it.
    Prefetch,
    /// Its connection has too much to write.
    Room,
}

impl Consumer {
    pub(super) fn new(spec: ConsumerSpec, generation: u32) -> Self {
        Consumer {
            spec,
            generation,
            in_flight: 0,
            parked: false,
            staged: Vec::new(),
            staged_bytes: 0,
            room_bytes: 0,
            asked: false,
        }
    }

    pub(super) fn info(&self, active: bool) -> ConsumerInfo {
        let spec = &self.spec;
        ConsumerInfo {
            tag: spec.tag.clone(),
            connection: spec.connection,
            channel: spec.token.channel,
            no_ack: spec.no_ack,
            exclusive: spec.exclusive,
            prefetch: spec.prefetch,
            priority: spec.priority,
            arguments: spec.arguments.clone(),
            active,
            unacked: self.in_flight,
        }
    }

    /// Whether it can take one message now. Takes channel credit if so.
    pub(super) fn admit(&mut self) -> Result<(), Full> {
        if !self.spec.no_ack && self.spec.prefetch != 0 && self.in_flight >= self.spec.prefetch {
            return Err(Full::Prefetch);
        }
        if self.staged_bytes >= HAND_OVER_BYTES {
            self.hand_over();
        }
        if !self.asked {
            self.asked = true;
            self.room_bytes = self.spec.port.room_bytes();
        }
        if self.staged_bytes >= self.room_bytes {
            return Err(Full::Room);
        }
        if !self.spec.no_ack && !self.spec.port.take_credit() {
            return Err(Full::Prefetch);
        }
        Ok(())
    }

    /// Stages a message it was admitted for.
    pub(super) fn stage(&mut self, message: Message, redelivered: bool, slot: Slot) {
        if !self.spec.no_ack {
            self.in_flight += 1;
        }
        self.staged_bytes += cost(&message);
        self.staged.push(Delivery {
            message,
            token: self.spec.token,
            slot,
            redelivered,
        });
    }

    /// Hands over what was staged and is ready for the next dispatch.
    pub(super) fn hand_over(&mut self) {
        self.asked = false;
        if !self.staged.is_empty() {
            self.spec
                .port
                .hand_over(&mut self.staged, self.staged_bytes);
            self.staged_bytes = 0;
        }
    }

    /// One of its messages was settled or came back.
    pub(super) fn settled(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}
