//! The queue's state machine: publish, deliver, get, settle, requeue, purge. Consumers that come and
//! go are in `subscription`, time and limits in `upkeep`.
//!
//! Owns which message is where. Never waits, never reads a clock, and never touches anything but
//! itself and its ports: the time comes in, and what must happen elsewhere goes out as [`Effects`].

use slab::Slab;

use super::consumer::{Consumer, ConsumerKey, Full, Slot};
use super::options::{DeathReason, Overflow, QueueKind, QueueOptions};
use super::outcome::{Admission, Effects, Got};
use super::ready::{Entry, KEPT_MAX, NEVER_MS, Ready};
use super::tally::Tally;
use super::turns::Turns;
use crate::base::LogPos;
use crate::base::history::Tier;
use crate::message::Message;

struct Unacked {
    entry: Entry,
    /// Who got it; none for basic.get.
    consumer: Option<ConsumerKey>,
}

/// A queue's messages and consumers.
#[derive(Default)]
pub struct Queue {
    pub(super) options: QueueOptions,
    pub(super) next_seq: u64,
    pub(super) next_generation: u32,
    pub(super) ready: Ready,
    unacked: Slab<Unacked>,
    pub(super) consumers: Slab<Consumer>,
    pub(super) turns: Turns,
    /// With single active consumer: who gets messages.
    pub(super) active: Option<u32>,
    /// Consumers asked in the running dispatch; kept for its allocation.
    pub(super) asked: Vec<u32>,
    /// Last consumer gone, get or declare, in ms since 1970 (A4.10).
    pub(super) used_at_ms: u64,
    /// The earliest wake that was asked for and has not come.
    pub(super) wake_at_ms: Option<u64>,
    /// The first of the messages that have come since the last [`Queue::wake`].
    pub(super) new_from: Option<u64>,
    pub(super) gone: bool,
    pub(super) tally: Tally,
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

    /// What it has done.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes a sample for listings: see [`Tally`]. Whether its history keeps more than one tier.
    pub fn sample(&mut self, now_ms: u64, tiers: &[Tier]) -> bool {
        let (ready, unacked) = (self.ready.len() as u64, self.unacked.len() as u64);
        self.tally.sample(now_ms, ready, unacked, tiers)
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
        self.tally.published();
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
        let own_ttl_ms = match self.options.delays {
            true => message.delay_ms(),
            false => message.ttl_ms(),
        };
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
            stamped_ms: since_ms,
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
                        let (unacked, tally) = (&mut self.unacked, &mut self.tally);
                        deliver(consumer, index, entry, unacked, tally, effects);
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

    /// Takes one message without subscribing.
    pub fn get(&mut self, no_ack: bool, effects: &mut Effects) -> Option<Got> {
        let Some(entry) = self.ready.pop() else {
            self.tally.got_empty();
            return None;
        };
        let (message, redelivered) = (entry.message.clone(), entry.redelivered);
        self.tally.got(no_ack, redelivered, message.body_len());
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
                self.tally.acked();
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

    /// The ready messages of an ordinary queue that nobody consumes from, in order.
    pub fn peek_all(&self) -> Vec<Message> {
        self.ready.in_order().cloned().collect()
    }

    pub(super) fn unacked(&self) -> impl Iterator<Item = &Entry> {
        self.unacked.iter().map(|(_, unacked)| &unacked.entry)
    }

    /// Places for messages, whether any are there or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.ready.capacity() + self.unacked.capacity()
    }

    fn take_unacked(&mut self, slot: Slot) -> Option<Entry> {
        let Unacked { entry, consumer } = self.unacked.try_remove(slot.0 as usize)?;
        self.tally.returned(entry.message.body_len());
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
}

fn deliver(
    consumer: &mut Consumer,
    index: u32,
    entry: Entry,
    unacked: &mut Slab<Unacked>,
    tally: &mut Tally,
    effects: &mut Effects,
) {
    let no_ack = consumer.spec.no_ack;
    tally.delivered(no_ack, entry.redelivered, entry.message.body_len());
    if no_ack {
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
