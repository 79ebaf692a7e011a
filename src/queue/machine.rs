//! The queue's state machine: publish, deliver, get, settle, requeue, purge. Consumers that come and
//! go are in `subscription`, time and limits in `upkeep`.
//!
//! Owns which message is where. Never waits, never reads a clock, and never touches anything but
//! itself and its ports: the time comes in, and what must happen elsewhere goes out as [`Effects`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::consumer::{Consumer, ConsumerKey, Full, Slot};
use super::entry::{Entry, Spot};
use super::options::{DeathReason, Overflow, QueueKind, QueueOptions};
use super::outcome::{Admission, Effects, Got};
use super::places::KEPT_MAX;
use super::present::Present;
use super::ready::Ready;
use super::retry::{Requeue, Waits};
use super::tally::Tally;
use super::turns::Turns;
use crate::base::LogPos;
use crate::base::history::Tier;
use crate::base::index::IndexEntry;
use crate::message::{DedupId, Message};

pub(super) struct Unacked {
    pub(super) entry: Entry,
    /// Who got it; none for basic.get.
    consumer: Option<ConsumerKey>,
    /// Its record is named by what is on its way to the log.
    pub(super) pinned: bool,
}

/// A dead message on its way out.
pub(super) struct Late {
    pub(super) entry: Entry,
    pub(super) reason: DeathReason,
}

/// A queue's messages and consumers.
#[derive(Default)]
pub struct Queue {
    /// Shared with the queues that have the same.
    pub(super) options: Arc<QueueOptions>,
    pub(super) next_seq: u64,
    pub(super) next_generation: u32,
    pub(super) ready: Ready,
    pub(super) unacked: Slab<Unacked>,
    /// Octets of those unacked that are in memory whole.
    pub(super) unacked_octets: usize,
    /// The dead that cannot go yet: the first one's message must be read.
    pub(super) late: VecDeque<Late>,
    /// The dead, and where they stood, until the log says so.
    pub(super) dying: BTreeMap<LogPos, (Spot, IndexEntry)>,
    pub(super) consumers: Slab<Consumer>,
    pub(super) turns: Turns,
    /// The ids that are there, of a queue that takes none twice.
    pub(super) present: Option<Box<Present>>,
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
    /// It has asked for a load that is not done.
    pub(super) load_asked: bool,
    /// Somebody takes messages by basic.get.
    pub(super) got: bool,
    pub(super) gone: bool,
    /// When those that came back and wait are ready again; most queues have none.
    pub(super) waits: Option<Box<Waits>>,
    pub(super) tally: Tally,
}

impl Queue {
    /// An empty queue.
    pub fn new(options: impl Into<Arc<QueueOptions>>) -> Self {
        let options = options.into();
        Queue {
            ready: Ready::new(options.max_priority, options.message_ttl_ms),
            present: Present::new(&options),
            options,
            ..Queue::default()
        }
    }

    /// Has it keep all messages in memory.
    pub(super) fn keep_whole(&mut self) {
        self.ready.window.octets = usize::MAX;
    }

    /// Whether it keeps all messages in memory.
    pub fn keeps_whole(&self) -> bool {
        self.ready.window.octets == usize::MAX
    }

    /// As [`Self::new`], with another window in memory and pages of another length.
    #[cfg(test)]
    pub(super) fn with_window(options: QueueOptions, octets: usize, page_len: usize) -> Self {
        let mut queue = Queue::new(options);
        queue.ready.window = super::lane::Window { octets, page_len };
        queue
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

    /// Forgets the course of its counts.
    pub fn forget_history(&mut self) {
        self.tally.forget_history();
    }

    /// Whether [`Self::close`] was called: nothing may be put in any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes a message at the tail. Deliver it with [`Self::dispatch`], once for a batch, and end
    /// the batch with [`Self::wake`]. A queue that is gone drops it, and so does one that takes no id
    /// twice if it is there (A3.21); that it is dropped is said in `effects`, as if it had been consumed.
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
        let id = self.id_of(&message);
        if self.has_id(id) {
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
                    let entry = self.entry(pos, message, now_ms);
                    self.bury(entry, DeathReason::MaxLen, effects);
                }
                _ => effects.gone(pos),
            }
            return Admission::Refused;
        }
        self.take_in(pos, message, id, now_ms);
        Admission::Taken
    }

    /// As [`Self::publish`], of a message that the log says is here: no limit refuses it.
    pub fn put_in(&mut self, pos: LogPos, message: Message, now_ms: u64, effects: &mut Effects) {
        let id = self.id_of(&message);
        match self.gone || self.has_id(id) {
            true => effects.gone(pos),
            false => self.take_in(pos, message, id, now_ms),
        }
    }

    /// The id by which a queue that takes none twice knows a message.
    fn id_of(&self, message: &Message) -> Option<DedupId> {
        self.present.as_ref()?.id_of(message)
    }

    fn has_id(&self, id: Option<DedupId>) -> bool {
        let present = self.present.as_ref();
        id.is_some_and(|id| present.is_some_and(|present| present.has(id)))
    }

    fn take_in(&mut self, pos: LogPos, message: Message, id: Option<DedupId>, now_ms: u64) {
        self.tally.published();
        let entry = self.entry(pos, message, now_ms);
        self.new_from.get_or_insert(entry.spot.seq());
        if let (Some(present), Some(id)) = (&mut self.present, id) {
            present.enter(entry.spot, id);
        }
        self.ready.push(entry);
    }

    /// Notes, at start, that the message in lane `level` with number `seq` has an id (A3.21).
    pub fn note_present(&mut self, level: u8, seq: u64, id: DedupId) {
        if let Some(present) = &mut self.present {
            present.enter(Spot::new(level, seq), id);
        }
    }

    /// A message has left for good: its id may come again.
    pub(super) fn left(&mut self, spot: Spot) {
        if let Some(present) = &mut self.present {
            present.leave(spot);
        }
    }

    fn entry(&mut self, pos: LogPos, message: Message, stamped_ms: u64) -> Entry {
        let level = message.priority().min(self.options.max_priority);
        let spot = Spot::new(level, self.next_seq);
        self.next_seq += 1;
        let own_ttl_ms = match self.options.delays {
            true => message.delay_ms(),
            false => message.ttl_ms(),
        };
        Entry::new(spot, pos, message, stamped_ms, own_ttl_ms)
    }

    /// Hands ready messages to consumers, in turn, until either runs out.
    pub fn dispatch(&mut self, effects: &mut Effects) {
        while self.ready.has_next() {
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
                        self.deliver(index, entry, effects);
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

    /// Hands a message to the consumer at `index`, who was admitted for it.
    fn deliver(&mut self, index: u32, mut entry: Entry, effects: &mut Effects) {
        let Some(consumer) = self.consumers.get_mut(index as usize) else {
            return;
        };
        let Some(message) = entry.message.take() else {
            return;
        };
        let redelivered = entry.redelivered;
        let no_ack = consumer.spec.no_ack;
        self.tally
            .delivered(no_ack, redelivered, message.body_len());
        if no_ack {
            effects.gone(entry.pos);
            consumer.stage(message, redelivered, Slot::NONE);
            self.left(entry.spot);
            return;
        }
        let key = ConsumerKey {
            index,
            generation: consumer.generation,
        };
        let slot = hold(
            &mut self.unacked,
            &mut self.unacked_octets,
            self.ready.window.octets,
            entry,
            Some(&message),
            Some(key),
        );
        consumer.stage(message, redelivered, slot);
    }

    /// Takes one message without subscribing. `None` also if the next one must be read first:
    /// [`Self::ready_len`] tells, and [`Self::next_needed`] what to read.
    pub fn get(&mut self, no_ack: bool, effects: &mut Effects) -> Option<Got> {
        self.got = true;
        let Some(mut entry) = self.ready.pop() else {
            if self.ready.len() == 0 {
                self.tally.got_empty();
            }
            return None;
        };
        let message = entry.message.take()?;
        let redelivered = entry.redelivered;
        self.tally.got(no_ack, redelivered, message.body_len());
        let slot = if no_ack {
            effects.gone(entry.pos);
            self.left(entry.spot);
            Slot::NONE
        } else {
            hold(
                &mut self.unacked,
                &mut self.unacked_octets,
                self.ready.window.octets,
                entry,
                Some(&message),
                None,
            )
        };
        Some(Got {
            message,
            slot,
            redelivered,
            ready_left: self.ready.len(),
        })
    }

    /// The record of an unacked message in the log, if it has one. It stays where it is from now on.
    pub fn record(&mut self, slot: Slot) -> Option<LogPos> {
        let unacked = self.unacked.get_mut(slot.0 as usize)?;
        unacked.pinned = true;
        Some(unacked.entry.pos).filter(|pos| pos.is_kept())
    }

    /// Acked: the messages are gone.
    pub fn settle(&mut self, slots: impl IntoIterator<Item = Slot>, effects: &mut Effects) {
        for slot in slots {
            if let Some(entry) = self.take_unacked(slot) {
                self.tally.acked();
                self.left(entry.spot);
                effects.gone(entry.pos);
            }
        }
    }

    /// Rejected for good: the messages are dead (A6.15).
    pub fn reject(&mut self, slots: impl IntoIterator<Item = Slot>, effects: &mut Effects) {
        for slot in slots {
            if let Some(entry) = self.take_unacked(slot) {
                self.bury(entry, DeathReason::Rejected, effects);
            }
        }
    }

    /// The messages go back to where they were, marked as redelivered; at once, or after a wait (A6.16).
    pub fn requeue(
        &mut self,
        slots: impl IntoIterator<Item = Slot>,
        how: Requeue,
        now_ms: u64,
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
            entry.failed_deliveries += u32::from(how != Requeue::Seen);
            if self.options.kind == QueueKind::Quorum && entry.failed_deliveries > 0 {
                let count = entry.failed_deliveries;
                entry.message = entry.message.map(|m| m.with_delivery_count(count));
            }
            match self.options.delivery_limit {
                Some(limit) if entry.failed_deliveries > limit => {
                    self.bury(entry, DeathReason::DeliveryLimit, effects);
                }
                _ => self.come_back(entry, how, now_ms),
            }
        }
    }

    /// Drops the ready messages; how many there were (A4.8).
    pub fn purge(&mut self, effects: &mut Effects) -> usize {
        let count = self.ready.len();
        self.ready.take_all().drop_into(effects);
        if let Some(present) = &mut self.present {
            present.leave_all_but(self.unacked.iter().map(|(_, out)| out.entry.spot));
        }
        count
    }

    /// The end of the queue: drops everything and tells the consumers. How many messages were
    /// ready (A4.9). What is unacked can still be settled, to no effect.
    pub fn close(&mut self, effects: &mut Effects) -> usize {
        let count = self.purge(effects);
        self.unacked.drain().for_each(|u| effects.gone(u.entry.pos));
        self.unacked_octets = 0;
        self.waits = None;
        self.late.drain(..).for_each(|l| effects.gone(l.entry.pos));
        self.dying.clear();
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

    /// Places for messages, whether any are there or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.ready.capacity() + self.unacked.capacity()
    }

    pub(super) fn take_unacked(&mut self, slot: Slot) -> Option<Entry> {
        let Unacked {
            entry, consumer, ..
        } = self.unacked.try_remove(slot.0 as usize)?;
        self.tally.returned(entry.body_bytes as usize);
        self.unacked_octets -= entry.octets();
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

/// Keeps `entry` until it is settled. Beyond the window its octets, which are `message`, are let go: it
/// is read again should it come back.
pub(super) fn hold(
    unacked: &mut Slab<Unacked>,
    held_octets: &mut usize,
    window_octets: usize,
    mut entry: Entry,
    message: Option<&Message>,
    consumer: Option<ConsumerKey>,
) -> Slot {
    if entry.pos == LogPos::NONE || *held_octets < window_octets {
        entry.message = message.cloned();
        *held_octets += entry.octets();
    }
    Slot(unacked.insert(Unacked {
        entry,
        consumer,
        pinned: false,
    }) as u32)
}
