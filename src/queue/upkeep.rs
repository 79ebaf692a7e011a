//! What time and limits make of a queue: expiry, length, its own end, and the death of messages.
//!
//! Owns when a message is dead. What becomes of it then is the broker's.

use std::sync::Arc;

use super::entry::{Entry, NEVER_MS};
use super::machine::{Late, Queue};
use super::options::{DeathReason, Overflow, QueueOptions};
use super::outcome::{Dead, Effects};
use crate::base::LogPos;
use crate::message::Message;

impl Queue {
    /// What time and limits ask for: takes expired messages out wherever they stand, makes room at
    /// the head of a queue that is too long, and says when it wants to be called again. Ends every
    /// change of a queue, after the dispatch, so that a message with no time to live still reaches a
    /// consumer that is ready (A7.9).
    pub fn wake(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.wake_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.wake_at_ms = None;
        }
        self.bury_late(effects);
        self.end_waits(now_ms, effects);
        while let Some(entry) = self.ready.pop_expired(now_ms, &mut effects.opened) {
            self.bury(entry, DeathReason::Expired, effects);
        }
        // Those whose time may be over go first; what is in a page goes when that is read.
        let waits = self.ready.due_page(now_ms).is_some();
        while !waits && self.is_too_long() {
            let Some(entry) = self.ready.pop_any() else {
                break;
            };
            self.bury(entry, DeathReason::MaxLen, effects);
        }
        if let Some(first) = self.new_from.take() {
            self.ready.settle_from(first);
        }
        self.ask_for_load(now_ms, effects);
        let ready_ms = self.ready.next_expiry_ms(now_ms);
        let next_ms = ready_ms.min(self.expires_at_ms()).min(self.next_wait_ms());
        if next_ms != NEVER_MS && self.wake_at_ms.is_none_or(|at_ms| next_ms < at_ms) {
            self.wake_at_ms = Some(next_ms);
            effects.wake_at_ms = Some(next_ms);
        }
    }

    /// Changes what can be changed while the queue exists: its type, its priorities and whether one
    /// consumer is active stay. Limits hold for the messages that are there at the next
    /// [`Self::wake`], which must follow. Another time to expire counts from `now_ms` (A4.10).
    pub fn set_options(&mut self, options: QueueOptions, now_ms: u64) {
        if options.expires_ms != self.options.expires_ms {
            self.touch(now_ms);
        }
        self.ready.set_ttl(options.message_ttl_ms);
        self.options = Arc::new(QueueOptions {
            kind: self.options.kind,
            max_priority: self.options.max_priority,
            single_active: self.options.single_active,
            ..options
        });
    }

    /// Somebody uses the queue: it does not expire for its whole time again (A4.10).
    pub fn touch(&mut self, now_ms: u64) {
        self.used_at_ms = now_ms;
    }

    /// Whether nobody has used the queue for so long that it is to be deleted (A4.10).
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms() <= now_ms
    }

    /// A message is dead: dead-lettered if the queue says where to, else gone. One whose octets are on
    /// disk only waits for them, and all that die after it wait for it.
    pub(super) fn bury(&mut self, entry: Entry, reason: DeathReason, effects: &mut Effects) {
        let lettered = self.options.dead_letter.is_some() && !self.gone;
        self.tally.died(reason, lettered);
        self.left(entry.spot);
        if !lettered {
            return effects.gone(entry.pos);
        }
        if entry.pos.is_kept() {
            self.dying.insert(entry.pos, (entry.spot, entry.index()));
        }
        self.late.push_back(Late { entry, reason });
        self.bury_late(effects);
    }

    fn bury_late(&mut self, effects: &mut Effects) {
        while let Some(late) = self.late.pop_front() {
            let Late { entry, reason } = late;
            let Some(message) = entry.message else {
                self.late.push_front(Late { entry, reason });
                break;
            };
            effects.dead.push(Dead {
                pos: entry.pos,
                message,
                reason,
            });
        }
    }

    /// That these are dead is in the log now.
    pub fn buried(&mut self, positions: &[LogPos]) {
        for pos in positions {
            self.dying.remove(pos);
        }
    }

    pub(super) fn would_overflow(&self, message: &Message) -> bool {
        let QueueOptions {
            max_len,
            max_len_bytes,
            ..
        } = *self.options;
        max_len.is_some_and(|most| self.ready.len() as u64 + 1 > most)
            || max_len_bytes
                .is_some_and(|most| (self.ready.bytes() + message.body_len()) as u64 > most)
    }

    pub(super) fn is_too_long(&self) -> bool {
        let QueueOptions {
            max_len,
            max_len_bytes,
            overflow,
            ..
        } = *self.options;
        overflow == Overflow::DropHead
            && (max_len.is_some_and(|most| self.ready.len() as u64 > most)
                || max_len_bytes.is_some_and(|most| self.ready.bytes() as u64 > most))
    }

    pub(super) fn expires_at_ms(&self) -> u64 {
        match self.options.expires_ms {
            Some(after_ms) if self.consumers.is_empty() && !self.gone => {
                self.used_at_ms.saturating_add(after_ms)
            }
            _ => NEVER_MS,
        }
    }
}
