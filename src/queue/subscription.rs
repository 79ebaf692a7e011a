//! Consumers that come and go.
//!
//! Owns who may consume beside whom (A6.6), and who is the active one of a single-active queue
//! (A6.5).

use std::cmp::Reverse;

use super::consumer::{Consumer, ConsumerInfo, ConsumerKey, ConsumerSpec};
use super::machine::Queue;
use super::outcome::SubscribeError;
use crate::base::Name;

impl Queue {
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

    /// The tag of a consumer that is there.
    pub fn consumer_tag(&mut self, key: ConsumerKey) -> Option<Name> {
        self.consumer(key).map(|consumer| consumer.spec.tag.clone())
    }

    /// Its consumers, for listings.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerInfo> {
        self.consumers.iter().map(|(index, consumer)| {
            consumer.info(self.active.is_none_or(|active| active as usize == index))
        })
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

    pub(super) fn activate(&mut self, index: u32) {
        if let Some(consumer) = self.consumers.get_mut(index as usize) {
            consumer.parked = false;
            self.active = Some(index);
            self.turns.join(index, consumer.spec.priority);
        }
    }

    pub(super) fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        let consumer = self.consumers.get_mut(key.index as usize)?;
        (consumer.generation == key.generation).then_some(consumer)
    }
}
