//! What calls on a queue lead to.
//!
//! Owns the results, and the list of what is left to be done outside the queue.

use super::consumer::Slot;
use super::options::DeathReason;
use crate::base::LogPos;
use crate::message::Message;

/// A message that left its queue to be dead-lettered.
#[derive(Debug)]
pub struct Dead {
    /// Its record, or [`LogPos::NONE`].
    pub pos: LogPos,
    /// The message.
    pub message: Message,
    /// Why.
    pub reason: DeathReason,
}

/// What a call on a queue leaves to be done outside.
#[derive(Debug, Default)]
pub struct Effects {
    /// Records of messages that left the queue for good: to be released, and those in the log to be logged as
    /// consumed.
    pub consumed: Vec<LogPos>,
    /// Pages all of whose messages left the queue for good; the same of them.
    pub pages: Vec<LogPos>,
    /// Segments, and how many of those messages are in each.
    pub released: Vec<(u32, u32)>,
    /// Pages that are none any more, since each of their messages is gone or an entry again.
    pub opened: Vec<LogPos>,
    /// Messages to be dead-lettered, in order. Only from a queue with a dead-letter exchange. The queue
    /// remembers them until it is told that they are in the log: [`super::Queue::buried`].
    pub dead: Vec<Dead>,
    /// Something is to be read: [`super::Queue::next_load`]. Said once until that is done.
    pub load: bool,
    /// When the queue wants [`super::Queue::wake`], in ms since 1970, if sooner than it said before.
    pub wake_at_ms: Option<u64>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.consumed.is_empty()
            && self.dead.is_empty()
            && self.wake_at_ms.is_none()
            && !self.load
            && self.pages.is_empty()
            && self.opened.is_empty()
    }

    pub(super) fn gone(&mut self, pos: LogPos) {
        if pos.is_some() {
            self.consumed.push(pos);
        }
    }
}

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is in the queue, or was consumed at once.
    Taken,
    /// The queue is full and refuses (A7.10): the publisher is told so.
    Refused,
}

/// A message got by basic.get (A6.9).
#[derive(Debug)]
pub struct Got {
    /// The message.
    pub message: Message,
    /// What to settle it by; [`Slot::NONE`] if it needs no ack.
    pub slot: Slot,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Ready messages left behind it.
    pub ready_left: usize,
}

/// Why a consumer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeError {
    /// An exclusive consumer is there, or one was asked for beside others (A6.6).
    ExclusiveUse,
    /// The queue was deleted meanwhile.
    Gone,
}
