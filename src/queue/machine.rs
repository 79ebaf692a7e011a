//! The queue's state machine: publish, deliver, get, settle, requeue, purge, subscribe.
//!
//! Owns which message is where. Never waits and never touches anything but itself and its ports.

use std::collections::VecDeque;

use slab::Slab;

use super::consumer::{Consumer, ConsumerKey, ConsumerSpec, Full, Slot};
use super::ready::{Entry, KEPT_MAX, Ready};
use crate::base::LogPos;
use crate::message::Message;

/// What a call on a queue leaves to be done outside.
#[derive(Debug, Default)]
pub struct Effects {
    /// Records of messages that left the queue for good, to be logged as consumed.
    pub consumed: Vec<LogPos>,
}

impl Effects {
    fn gone(&mut self, pos: LogPos) {
        if pos.is_some() {
            self.consumed.push(pos);
        }
    }
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
    next_seq: u64,
    next_generation: u32,
    ready: Ready,
    unacked: Slab<Unacked>,
    consumers: Slab<Consumer>,
    /// Consumers that may take a message, the next first. Equal turns for all (A6.4).
    ring: VecDeque<u32>,
    /// Consumers asked in the running dispatch; kept for its allocation.
    asked: Vec<u32>,
    gone: bool,
}

impl Queue {
    /// An empty queue. `max_priority` 0: priorities are ignored.
    pub fn new(max_priority: u8) -> Self {
        Queue {
            ready: Ready::new(max_priority),
            ..Queue::default()
        }
    }

    /// Messages waiting for a consumer.
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Octets of the messages waiting for a consumer.
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

    /// Takes a message at the tail. Deliver it with [`Self::dispatch`], once for a batch.
    /// A queue that is gone drops it, and says so in `effects` as if it had been consumed.
    pub fn publish(&mut self, pos: LogPos, message: Message, effects: &mut Effects) {
        self.admit(pos, message, false, effects);
    }

    /// Takes a message that recovery found. `redelivered`: it may have been delivered before.
    pub fn restore(&mut self, pos: LogPos, message: Message, redelivered: bool) {
        self.admit(pos, message, redelivered, &mut Effects::default());
    }

    fn admit(&mut self, pos: LogPos, message: Message, redelivered: bool, effects: &mut Effects) {
        if self.gone {
            return effects.gone(pos);
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.ready.push(Entry {
            seq,
            pos,
            message,
            redelivered,
        });
    }

    /// Hands ready messages to consumers, in turn, until either runs out.
    pub fn dispatch(&mut self, effects: &mut Effects) {
        while !self.ready.is_empty() {
            let Some(&index) = self.ring.front() else {
                break;
            };
            let Some(consumer) = self.consumers.get_mut(index as usize) else {
                self.ring.pop_front();
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
                    if self.ring.len() > 1 {
                        self.ring.rotate_left(1);
                    }
                }
                Err(full) => {
                    self.ring.pop_front();
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

    /// Acked, or rejected without requeue: the messages are gone.
    pub fn settle(&mut self, slots: impl IntoIterator<Item = Slot>, effects: &mut Effects) {
        for slot in slots {
            if let Some(entry) = self.take_unacked(slot) {
                effects.gone(entry.pos);
            }
        }
    }

    /// The messages go back to where they were, marked as redelivered.
    pub fn requeue(&mut self, slots: impl IntoIterator<Item = Slot>, effects: &mut Effects) {
        for slot in slots {
            let Some(mut entry) = self.take_unacked(slot) else {
                continue;
            };
            if self.gone {
                effects.gone(entry.pos);
            } else {
                entry.redelivered = true;
                self.ready.put_back(entry);
            }
        }
    }

    /// Adds a consumer. Nothing is delivered before the next [`Self::dispatch`] (A6.19).
    pub fn subscribe(&mut self, spec: ConsumerSpec) -> Result<ConsumerKey, SubscribeError> {
        if self.gone {
            return Err(SubscribeError::Gone);
        }
        let taken = self.consumers.iter().any(|(_, c)| c.spec.exclusive);
        if taken || (spec.exclusive && !self.consumers.is_empty()) {
            return Err(SubscribeError::ExclusiveUse);
        }
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let index = self.consumers.insert(Consumer::new(spec, generation)) as u32;
        self.ring.push_back(index);
        Ok(ConsumerKey { index, generation })
    }

    /// Removes a consumer; its unacked messages stay out (A6.8). Whether it was the last one,
    /// which ends an auto-delete queue (A4.4).
    pub fn unsubscribe(&mut self, key: ConsumerKey) -> bool {
        if self.consumer(key).is_none() {
            return false;
        }
        self.consumers.remove(key.index as usize);
        self.ring.retain(|&index| index != key.index);
        self.consumers.is_empty()
    }

    /// A consumer that was passed over may be able to take messages again.
    pub fn resume(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.consumer(key)
            && consumer.parked
        {
            consumer.parked = false;
            self.ring.push_back(key.index);
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
        self.ring.clear();
        for consumer in self.consumers.drain() {
            consumer.spec.port.cancelled();
        }
        count
    }

    /// Records of the messages in it that were delivered before, for the log of a clean stop.
    pub fn redelivered_records(&self) -> Vec<LogPos> {
        let ready = self.ready.iter().filter(|e| e.redelivered).map(|e| e.pos);
        let unacked = self.unacked.iter().map(|(_, u)| u.entry.pos);
        ready.chain(unacked).filter(|pos| pos.is_some()).collect()
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
        consumer.stage(&entry, Slot::NONE);
        effects.gone(entry.pos);
    } else {
        let slot = unacked.vacant_entry();
        consumer.stage(&entry, Slot(slot.key() as u32));
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
