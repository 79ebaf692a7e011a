//! The queue's state machine: publish, deliver, get, settle, requeue, expire, purge, subscribe.
//!
//! Owns which message is where. Never waits, never reads a clock, and never touches anything but
//! itself and its ports: the time comes in, and what must happen elsewhere goes out as [`Effects`].

use std::cmp::Reverse;

use slab::Slab;

use super::consumer::{Consumer, ConsumerKey, ConsumerSpec, Full, Slot};
use super::options::{DeathReason, Overflow, QueueKind, QueueOptions};
use super::ready::{Entry, KEPT_MAX, NEVER_MS, Ready};
use super::turns::Turns;
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
    /// Records of messages that left the queue for good, to be logged as consumed.
    pub consumed: Vec<LogPos>,
    /// Messages to be dead-lettered, in order. Only from a queue with a dead-letter exchange.
    pub dead: Vec<Dead>,
    /// When the queue wants [`Queue::wake`], in ms since 1970, if sooner than it said before.
    pub wake_at_ms: Option<u64>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.consumed.is_empty() && self.dead.is_empty() && self.wake_at_ms.is_none()
    }

    fn gone(&mut self, pos: LogPos) {
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

struct Unacked {
    entry: Entry,
    /// Who got it; none for basic.get.
    consumer: Option<ConsumerKey>,
}

/// A queue's messages and consumers.
#[derive(Default)]
pub struct Queue {
    options: QueueOptions,
    next_seq: u64,
    next_generation: u32,
    ready: Ready,
    unacked: Slab<Unacked>,
    consumers: Slab<Consumer>,
    turns: Turns,
    /// With single active consumer: who gets messages.
    active: Option<u32>,
    /// Consumers asked in the running dispatch; kept for its allocation.
    asked: Vec<u32>,
    /// Last consumer gone, get or declare, in ms since 1970 (A4.10).
    used_at_ms: u64,
    /// The earliest wake that was asked for and has not come.
    wake_at_ms: Option<u64>,
    /// The first of the messages that have come since the last [`Queue::wake`].
    new_from: Option<u64>,
    gone: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(options: QueueOptions) -> Self {
        Queue {
            ready: Ready::new(options.max_priority),
            options,
            ..Queue::default()
        }
    }

    /// Its settings.
    pub fn options(&self) -> &QueueOptions {
        &self.options
    }

    /// Messages waiting for a consumer.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Octets of the bodies waiting for a consumer.
    pub fn ready_bytes(&self) -> usize {
        self.ready.bytes()
    }

    /// Messages delivered and not settled.
    pub fn unacked_len(&self) -> usize {
        self.unacked.len()
    }

    /// Consumers subscribed.
    pub fn consumers_len(&self) -> usize {
        self.consumers.len()
    }

    /// Whether [`Self::close`] was called: nothing may be put in any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes a message at the tail. Deliver it with [`Self::dispatch`], once for a batch, and end
    /// the batch with [`Self::wake`]. A queue that is gone drops it, and says so in `effects` as if
    /// it had been consumed.
    pub fn publish(
        &mut self,
        pos: LogPos,
        message: Message,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Admission {
        if self.gone {
            effects.gone(pos);
            return Admission::Taken;
        }
        if self.options.overflow != Overflow::DropHead && self.would_overflow(&message) {
            // What came before it in the batch may only wait for a consumer that is ready.
            self.dispatch(effects);
        }
        if self.options.overflow != Overflow::DropHead && self.would_overflow(&message) {
            match self.options.overflow {
                Overflow::RejectPublishDlx => {
                    self.bury(pos, message, DeathReason::MaxLen, effects);
                }
                _ => effects.gone(pos),
            }
            return Admission::Refused;
        }
        self.admit(pos, message, now_ms, false);
        Admission::Taken
    }

    /// Takes a message that recovery found. `redelivered`: it may have been delivered before.
    pub fn restore(&mut self, pos: LogPos, message: Message, stamped_ms: u64, redelivered: bool) {
        self.admit(pos, message, stamped_ms, redelivered);
        // It has octets of its own already.
        self.new_from = None;
    }

    fn admit(&mut self, pos: LogPos, message: Message, since_ms: u64, redelivered: bool) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.new_from.get_or_insert(seq);
        let own_ttl_ms = message.ttl_ms();
        let ttl_ms = [own_ttl_ms, self.options.message_ttl_ms]
            .into_iter()
            .flatten()
            .min();
        let early = match (own_ttl_ms, self.options.message_ttl_ms) {
            (Some(own), Some(queue)) => own < queue,
            (own, _) => own.is_some(),
        };
        self.ready.push(Entry {
            seq,
            pos,
            message,
            expires_at_ms: ttl_ms.map_or(NEVER_MS, |ttl_ms| since_ms.saturating_add(ttl_ms)),
            early,
            redelivered,
            failed_deliveries: 0,
        });
    }

    /// Hands ready messages to consumers, in turn, until either runs out.
    pub fn dispatch(&mut self, effects: &mut Effects) {
        while !self.ready.is_empty() {
            let Some(index) = self.turns.next() else {
                break;
            };
            let Some(consumer) = self.consumers.get_mut(index as usize) else {
                self.turns.park();
                continue;
            };
            if !consumer.asked {
                self.asked.push(index);
            }
            match consumer.admit() {
                Ok(()) => {
                    if let Some(entry) = self.ready.pop() {
                        deliver(consumer, index, entry, &mut self.unacked, effects);
                    }
                    self.turns.taken();
                }
                Err(full) => {
                    self.turns.park();
                    consumer.parked = true;
                    if full == Full::Room {
                        // Before starved(): it must find what is staged counted.
                        consumer.hand_over();
                        consumer.asked = true;
                        consumer.spec.port.starved();
                    }
                }
            }
        }
        for index in self.asked.drain(..) {
            if let Some(consumer) = self.consumers.get_mut(index as usize) {
                consumer.hand_over();
            }
        }
    }

    /// What time and limits ask for: takes expired messages out wherever they stand, makes room at
    /// the head of a queue that is too long, and says when it wants to be called again. Ends every
    /// change of a queue, after the dispatch, so that a message with no time to live still reaches a
    /// consumer that is ready (A7.9).
    pub fn wake(&mut self, now_ms: u64, effects: &mut Effects) {
        if self.wake_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.wake_at_ms = None;
        }
        while let Some(entry) = self.ready.pop_expired(now_ms) {
            self.bury(entry.pos, entry.message, DeathReason::Expired, effects);
        }
        while self.is_too_long() {
            let Some(entry) = self.ready.pop() else { break };
            self.bury(entry.pos, entry.message, DeathReason::MaxLen, effects);
        }
        if let Some(first) = self.new_from.take() {
            self.ready.settle_from(first);
        }
        let next_ms = self.ready.next_expiry_ms().min(self.expires_at_ms());
        if next_ms != NEVER_MS && self.wake_at_ms.is_none_or(|at_ms| next_ms < at_ms) {
            self.wake_at_ms = Some(next_ms);
            effects.wake_at_ms = Some(next_ms);
        }
    }

    /// Somebody uses the queue: it does not expire for its whole time again (A4.10).
    pub fn touch(&mut self, now_ms: u64) {
        self.used_at_ms = now_ms;
    }

    /// Whether nobody has used the queue for so long that it is to be deleted (A4.10).
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms() <= now_ms
    }

    /// Takes one message without subscribing.
    pub fn get(&mut self, no_ack: bool, effects: &mut Effects) -> Option<Got> {
        let entry = self.ready.pop()?;
        let (message, redelivered) = (entry.message.clone(), entry.redelivered);
        let slot = if no_ack {
            effects.gone(entry.pos);
            Slot::NONE
        } else {
            Slot(self.unacked.insert(Unacked {
                entry,
                consumer: None,
            }) as u32)
        };
        Some(Got {
            message,
            slot,
            redelivered,
            ready_left: self.ready.len(),
        })
    }

    /// Acked: the messages are gone.
    pub fn settle(&mut self, slots: impl IntoIterator<Item = Slot>, effects: &mut Effects) {
        for slot in slots {
            if let Some(entry) = self.take_unacked(slot) {
                effects.gone(entry.pos);
            }
        }
    }

    /// Rejected for good: the messages are dead (A6.15).
    pub fn reject(&mut self, slots: impl IntoIterator<Item = Slot>, effects: &mut Effects) {
        for slot in slots {
            if let Some(entry) = self.take_unacked(slot) {
                self.bury(entry.pos, entry.message, DeathReason::Rejected, effects);
            }
        }
    }

    /// The messages go back to where they were, marked as redelivered. `failed`: it counts as a
    /// failed delivery (A6.14).
    pub fn requeue(
        &mut self,
        slots: impl IntoIterator<Item = Slot>,
        failed: bool,
        effects: &mut Effects,
    ) {
        for slot in slots {
            let Some(mut entry) = self.take_unacked(slot) else {
                continue;
            };
            if self.gone {
                effects.gone(entry.pos);
                continue;
            }
            entry.redelivered = true;
            entry.failed_deliveries += u32::from(failed);
            if self.options.kind == QueueKind::Quorum && entry.failed_deliveries > 0 {
                entry.message = entry.message.with_delivery_count(entry.failed_deliveries);
            }
            match self.options.delivery_limit {
                Some(limit) if entry.failed_deliveries > limit => {
                    self.bury(
                        entry.pos,
                        entry.message,
                        DeathReason::DeliveryLimit,
                        effects,
                    );
                }
                _ => self.ready.put_back(entry),
            }
        }
    }

    /// Adds a consumer. Nothing is delivered before the next [`Self::dispatch`] (A6.19).
    pub fn subscribe(&mut self, spec: ConsumerSpec) -> Result<ConsumerKey, SubscribeError> {
        if self.gone {
            return Err(SubscribeError::Gone);
        }
        let taken = self.consumers.iter().any(|(_, c)| c.spec.exclusive);
        let alone = self.consumers.is_empty() && !self.options.single_active;
        if taken || (spec.exclusive && !alone) {
            return Err(SubscribeError::ExclusiveUse);
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let priority = spec.priority;
        let index = self.consumers.insert(Consumer::new(spec, generation)) as u32;
        if !self.options.single_active {
            self.turns.join(index, priority);
        } else if self.active.is_none() {
            self.activate(index);
        }
        Ok(ConsumerKey { index, generation })
    }

    /// Removes a consumer; its unacked messages stay out (A6.8). Whether it was the last one,
    /// which ends an auto-delete queue (A4.4).
    pub fn unsubscribe(&mut self, key: ConsumerKey, now_ms: u64) -> bool {
        if self.consumer(key).is_none() {
            return false;
        }
        self.consumers.remove(key.index as usize);
        self.turns.leave(key.index);
        if self.active == Some(key.index) {
            self.active = None;
            // Of the highest priority, the one that has waited longest (A6.5).
            let rank = |c: &Consumer| (Reverse(c.spec.priority), c.generation);
            let next = self.consumers.iter().min_by_key(|(_, c)| rank(c));
            if let Some(index) = next.map(|(index, _)| index as u32) {
                self.activate(index);
            }
        }
        self.touch(now_ms);
        self.consumers.is_empty()
    }

    /// A consumer that was passed over may be able to take messages again.
    pub fn resume(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.consumer(key)
            && consumer.parked
        {
            consumer.parked = false;
            let priority = consumer.spec.priority;
            self.turns.join(key.index, priority);
        }
    }

    /// Drops the ready messages; how many there were (A4.8).
    pub fn purge(&mut self, effects: &mut Effects) -> usize {
        let count = self.ready.len();
        self.ready
            .take_all()
            .for_each(|entry| effects.gone(entry.pos));
        count
    }

    /// The end of the queue: drops everything and tells the consumers. How many messages were
    /// ready (A4.9). What is unacked can still be settled, to no effect.
    pub fn close(&mut self, effects: &mut Effects) -> usize {
        let count = self.purge(effects);
        self.unacked.drain().for_each(|u| effects.gone(u.entry.pos));
        self.gone = true;
        self.turns.clear();
        for consumer in self.consumers.drain() {
            consumer.spec.port.cancelled();
        }
        count
    }

    /// Records of the messages in it that were delivered before, for the log of a clean stop.
    pub fn redelivered_records(&self) -> Vec<LogPos> {
        let unacked = self.unacked.iter().map(|(_, u)| u.entry.pos);
        self.ready
            .redelivered()
            .chain(unacked)
            .filter(|pos| pos.is_some())
            .collect()
    }

    /// A message is dead: dead-lettered if the queue says where to, else gone.
    fn bury(&self, pos: LogPos, message: Message, reason: DeathReason, effects: &mut Effects) {
        match self.options.dead_letter {
            Some(_) if !self.gone => effects.dead.push(Dead {
                pos,
                message,
                reason,
            }),
            _ => effects.gone(pos),
        }
    }

    fn would_overflow(&self, message: &Message) -> bool {
        let QueueOptions {
            max_len,
            max_len_bytes,
            ..
        } = self.options;
        max_len.is_some_and(|most| self.ready.len() as u64 + 1 > most)
            || max_len_bytes
                .is_some_and(|most| (self.ready.bytes() + message.body_len()) as u64 > most)
    }

    fn is_too_long(&self) -> bool {
        let QueueOptions {
            max_len,
            max_len_bytes,
            overflow,
            ..
        } = self.options;
        overflow == Overflow::DropHead
            && (max_len.is_some_and(|most| self.ready.len() as u64 > most)
                || max_len_bytes.is_some_and(|most| self.ready.bytes() as u64 > most))
    }

    fn expires_at_ms(&self) -> u64 {
        match self.options.expires_ms {
            Some(after_ms) if self.consumers.is_empty() && !self.gone => {
                self.used_at_ms.saturating_add(after_ms)
            }
            _ => NEVER_MS,
        }
    }

    fn activate(&mut self, index: u32) {
        if let Some(consumer) = self.consumers.get_mut(index as usize) {
            consumer.parked = false;
            self.active = Some(index);
            self.turns.join(index, consumer.spec.priority);
        }
    }

    /// Places for messages, whether any are there or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.ready.capacity() + self.unacked.capacity()
    }

    fn take_unacked(&mut self, slot: Slot) -> Option<Entry> {
        let Unacked { entry, consumer } = self.unacked.try_remove(slot.0 as usize)?;
        if self.unacked.is_empty() && self.unacked.capacity() > KEPT_MAX {
            self.unacked = Slab::new();
        }
        if let Some(key) = consumer
            && let Some(consumer) = self.consumer(key)
        {
            consumer.settled();
            self.resume(key);
        }
        Some(entry)
    }

    fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        let consumer = self.consumers.get_mut(key.index as usize)?;
        (consumer.generation == key.generation).then_some(consumer)
    }
}

fn deliver(
    consumer: &mut Consumer,
    index: u32,
    entry: Entry,
    unacked: &mut Slab<Unacked>,
    effects: &mut Effects,
) {
    if consumer.spec.no_ack {
        effects.gone(entry.pos);
        consumer.stage(entry.message, entry.redelivered, Slot::NONE);
    } else {
        let slot = unacked.vacant_entry();
        consumer.stage(
            entry.message.clone(),
            entry.redelivered,
            Slot(slot.key() as u32),
        );
        let key = ConsumerKey {
            index,
            generation: consumer.generation,
        };
        slot.insert(Unacked {
            entry,
            consumer: Some(key),
        });
    }
}
