//! One channel: publishing, acking, and what it holds.
//!
//! Owns the content in the making, the ledger of unacked deliveries, the consumers, confirms, and
//! the batch of publishes and acks that the current read brought. The seldom methods are in
//! `commands`, deliveries in `delivery`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use slab::Slab;

use super::assembly::{self, Assembled, Assembly};
use super::checks;
use super::confirms::Confirms;
use super::ledger::{Ledger, Outstanding};
use super::link::Link;
use super::outbox::ChannelCredit;
use super::patience::Patience;
use super::reply_to::ReplyConsumer;
use super::transaction::Transaction;
use crate::base::{AmqpError, LogPos, Name};
use crate::broker::replies::is_reply_key;
use crate::broker::spans::Delivered;
use crate::broker::stats::OpenChannel;
use crate::broker::{INTERNAL_USER, Publisher, Routed, Settle};
use crate::codec::encode::{self, ReturnHead};
use crate::codec::properties::PropertyScan;
use crate::codec::{Frame, FrameCursor, FrameKind, Method, Property, Publish, parse_method};
use crate::message::Message;
use crate::queue::{ConsumerKey, Effects, QueueRef, Requeue, Slot};

/// A consumer of this channel.
pub(super) struct Consumer {
    pub(super) tag: Name,
    pub(super) queue: QueueRef,
    pub(super) key: ConsumerKey,
    /// The queue's number in the ledger.
    pub(super) source: u32,
    /// Its own number there; no other consumer of the channel ever has it.
    pub(super) serial: u32,
    /// How long it may take to settle a delivery, if that is limited (A6.13).
    pub(super) patience: Option<Patience>,
}

/// What a channel error leaves behind until the client has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// channel.close was sent: everything but the answer is ignored (A2).
    Closing,
}

/// What is left for the connection to do after a method.
#[must_use]
pub(super) enum After {
    Nothing,
    /// A consumer was taken off its queue: send what was handed over before, then answer with
    /// [`Channel::finish_cancel`].
    Cancel {
        number: usize,
        tag: Name,
        nowait: bool,
    },
    /// The client closes the channel.
    Close,
}

/// What is kept of a method until it is known whether the user may do it; then it is done again.
pub(super) enum Held {
    /// A message that is complete.
    Publish(Assembled),
    /// The name chosen for a queue that is declared without one.
    QueueName(Name),
}

/// See the module.
pub(super) struct Channel {
    pub(super) number: u16,
    pub(super) stats: OpenChannel,
    pub(super) state: State,
    assembly: Option<Box<Assembly>>,
    pub(super) held: Option<Box<Held>>,
    publisher: Publisher,
    pub(super) confirms: Option<Confirms>,
    pub(super) transaction: Option<Box<Transaction>>,
    pub(super) ledger: Ledger,
    /// By the number in a delivery's token.
    pub(super) consumers: Slab<Consumer>,
    pub(super) last_serial: u32,
    /// For consumers that come (A6.1).
    pub(super) prefetch: u32,
    pub(super) credit: Arc<ChannelCredit>,
    /// Moves the turn among consumers that wait for credit.
    turn: usize,
    pub(super) reply_consumer: Option<ReplyConsumer>,
    /// Stands for an empty queue name.
    pub(super) last_queue: Option<Name>,
    /// CC and BCC of the message at hand; kept for its allocation.
    extra_keys: Vec<Bytes>,
    /// Acked in this batch.
    acked: Vec<Outstanding>,
    effects: Effects,
    /// Deliveries of sampled messages that are not settled, by their tags.
    pub(super) sampled: BTreeMap<u64, Delivered>,
    /// Has something for [`Self::flush`].
    dirty: bool,
    /// The session has noted that it is dirty.
    pub(super) marked: bool,
}

impl Channel {
    pub(super) fn new(number: u16, link: &Link) -> Self {
        Channel {
            number,
            stats: link.stats.open_channel(number),
            state: State::Open,
            assembly: None,
            held: None,
            publisher: Publisher::new(Arc::clone(&link.vhost))
                .held_to(link.actor.clone())
                .metered(Arc::clone(&link.quota))
                .of_channel(Arc::clone(&link.stats), number),
            confirms: None,
            transaction: None,
            ledger: Ledger::default(),
            consumers: Slab::new(),
            last_serial: 0,
            prefetch: 0,
            credit: Arc::new(ChannelCredit::default()),
            turn: 0,
            reply_consumer: None,
            last_queue: None,
            extra_keys: Vec::new(),
            acked: Vec::new(),
            effects: Effects::default(),
            sampled: BTreeMap::new(),
            dirty: false,
            marked: false,
        }
    }

    /// Whether [`Self::flush`] has something to do.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Takes a frame, and those after it that complete its message.
    pub(super) fn frame<'b>(
        &mut self,
        frame: &Frame<'b>,
        frames: &Bytes,
        cursor: &mut FrameCursor<'b>,
        link: &mut Link,
    ) -> Result<After, AmqpError> {
        if let Some(assembly) = &mut self.assembly {
            let complete = assembly
                .take(frame, link.settings.max_message_bytes)
                .map_err(|fault| fault.at(60, 40))?;
            if complete && let Some(assembly) = self.assembly.take() {
                self.publish(assembly.finish(), link)?;
            }
            return Ok(After::Nothing);
        }
        if frame.kind != FrameKind::Method {
            return Err(AmqpError::expected_method_frame());
        }
        let method = parse_method(frame.payload)?;
        let done = match method {
            Method::Publish(publish) => self.begin_publish(&publish, frames, cursor, link),
            Method::Ack { tag, multiple } => {
                self.ack(tag, multiple).map_err(|fault| fault.at(60, 80))
            }
            Method::Nack {
                tag,
                multiple,
                requeue,
            } => self
                .reject(tag, multiple, requeue.then_some(Requeue::Nacked), link)
                .map_err(|fault| fault.at(60, 120)),
            Method::Reject { tag, requeue } => self
                .reject(tag, false, requeue.then_some(Requeue::Failed), link)
                .map_err(|fault| fault.at(60, 90)),
            Method::Qos { .. } | Method::Other(_) => {
                let (class_id, method_id) = method.id();
                self.flush(link)?;
                let done = self.command(&method, link);
                return done.map_err(|fault| fault.at(class_id, method_id));
            }
        };
        done.map(|()| After::Nothing)
    }

    fn begin_publish<'b>(
        &mut self,
        publish: &Publish<'b>,
        frames: &Bytes,
        cursor: &mut FrameCursor<'b>,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        if publish.immediate {
            return Err(AmqpError::immediate_unsupported().at(60, 40));
        }
        link.published = true;
        let max = link.settings.max_message_bytes;
        match assembly::whole(frames, publish, self.number, max, cursor) {
            Some(assembled) => self.publish(assembled, link),
            None => {
                self.assembly = Some(Box::new(Assembly::new(publish)));
                Ok(())
            }
        }
    }

    fn publish(&mut self, assembled: Assembled, link: &mut Link) -> Result<(), AmqpError> {
        let Assembled {
            message,
            scan,
            mandatory,
        } = assembled;
        if let Err(fault) = self.publisher.check_exchange(message.exchange()) {
            self.hold(message, scan, mandatory, link);
            return Err(fault.at(60, 40));
        }
        let message = match scan.has(Property::ReplyTo) {
            true => self
                .with_reply_name(message)
                .map_err(|fault| fault.at(60, 40))?,
            false => message,
        };
        self.extra_keys.clear();
        let message = checks::check(message, &scan, &mut self.extra_keys)
            .map_err(|fault| fault.at(60, 40))?;
        if let Err(fault) = self.publisher.check_keys(&message, &self.extra_keys) {
            self.hold(message, scan, mandatory, link);
            return Err(fault.at(60, 40));
        }
        checks::check_user_id(&message, &scan, &link.actor).map_err(|fault| fault.at(60, 40))?;
        let message = match &link.settings.stamps {
            Some(stamps) => stamps.on(&message),
            None => message,
        };
        if let Some(transaction) = &mut self.transaction {
            transaction.publish(message, std::mem::take(&mut self.extra_keys), mandatory);
            self.stats.uncommitted.add(1);
            return Ok(());
        }
        self.dirty = true;
        if let Some(confirms) = &mut self.confirms {
            confirms.count();
            self.stats.published_confirm.add(1);
        }
        let keys = std::mem::take(&mut self.extra_keys);
        self.route(message, &keys, mandatory, link);
        self.extra_keys = keys;
        Ok(())
    }

    /// Keeps a message that was refused only because it is not known yet whether it may be published.
    #[cold]
    fn hold(&mut self, message: Message, scan: PropertyScan, mandatory: bool, link: &Link) {
        if link.actor.login().undecided().is_some() {
            self.held = Some(Box::new(Held::Publish(Assembled {
                message,
                scan,
                mandatory,
            })));
        }
    }

    /// Whether it is a message that is kept.
    pub(super) fn held_publish(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::Publish(_)))
    }

    /// Publishes what was kept, if it is a message.
    pub(super) fn publish_held(&mut self, link: &mut Link) -> Option<Result<(), AmqpError>> {
        match self.held.take().map(|held| *held) {
            Some(Held::Publish(assembled)) => Some(self.publish(assembled, link)),
            other => {
                self.held = other.map(Box::new);
                None
            }
        }
    }

    /// Routes a message, and sends it back if it is mandatory and reaches no queue.
    pub(super) fn route(
        &mut self,
        message: Message,
        extra_keys: &[Bytes],
        mandatory: bool,
        link: &mut Link,
    ) {
        self.stats.published.add(1);
        if message.exchange().is_empty() && is_reply_key(message.routing_key()) {
            // One that nobody takes is dropped, mandatory or not (A7.12).
            self.publisher.reply(&message);
        } else if !mandatory {
            if self.publisher.publish(message, extra_keys) == Routed::Nowhere {
                self.stats.dropped.add(1);
            }
        } else if self.publisher.publish(message.clone(), extra_keys) == Routed::Nowhere {
            self.stats.returned.add(1);
            self.send_back(&message, link);
        }
    }

    /// Acks as a part of the publisher's next batch in the log. Whether consumers wait for the credit
    /// that it gives back: resume them once that batch is flushed.
    pub(super) fn ack_with_publishes(&mut self, taken: &[Outstanding], link: &Link) -> bool {
        if !self.sampled.is_empty() {
            self.tell_settled(taken, Settle::Acked, link);
        }
        let credited = taken.iter().filter(|o| o.credited()).count() as u32;
        self.stats.acked.add(taken.len() as u64);
        for acked in taken {
            if let Some(queue) = self.ledger.queue(acked.source) {
                self.publisher.ack(queue, acked.slot);
            }
        }
        self.credit.give_back(credited)
    }

    /// Flushes the publisher. Where its batch ends, and whether a queue refused any of it.
    pub(super) fn flush_transaction(
        &mut self,
        link: &mut Link,
    ) -> Result<(LogPos, bool), AmqpError> {
        let end = self.publisher.flush()?;
        link.hold(self.publisher.take_pause());
        Ok((end, !self.publisher.take_refused().is_empty()))
    }

    /// basic.return of a mandatory message that reached no queue. Its ack comes with the batch's,
    /// and so behind it (A5.2).
    fn send_back(&mut self, message: &Message, link: &mut Link) {
        let head = ReturnHead {
            reply_code: 312,
            reply_text: b"NO_ROUTE",
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        };
        encode::basic_return(link.tail(), self.number, &head);
        self.content(message, link);
    }

    fn ack(&mut self, tag: u64, multiple: bool) -> Result<(), AmqpError> {
        if self.transaction.is_some() {
            return self.settle_later(tag, multiple, Settle::Acked);
        }
        self.dirty = true;
        match self.ledger.take(tag, multiple, &mut self.acked) {
            true => Ok(()),
            false => Err(AmqpError::unknown_delivery_tag(tag)),
        }
    }

    fn reject(
        &mut self,
        tag: u64,
        multiple: bool,
        requeue: Option<Requeue>,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        let how = requeue.map_or(Settle::Rejected, Settle::Requeued);
        if self.transaction.is_some() {
            return self.settle_later(tag, multiple, how);
        }
        self.flush(link)?;
        let mut taken = Vec::new();
        if !self.ledger.take(tag, multiple, &mut taken) {
            return Err(AmqpError::unknown_delivery_tag(tag));
        }
        self.settle(&mut taken, how, link)
    }

    /// In tx mode: at the commit.
    fn settle_later(&mut self, tag: u64, multiple: bool, how: Settle) -> Result<(), AmqpError> {
        let mut taken = Vec::new();
        if !self.ledger.take(tag, multiple, &mut taken) {
            return Err(AmqpError::unknown_delivery_tag(tag));
        }
        if let Some(transaction) = &mut self.transaction {
            self.stats.acks_uncommitted.add(taken.len() as u64);
            transaction.settle(how, taken);
        }
        Ok(())
    }

    /// Puts unacked messages back and delivers what that makes possible.
    pub(super) fn requeue(
        &mut self,
        mut back: Vec<Outstanding>,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        self.settle(&mut back, Settle::Requeued(Requeue::Failed), link)
    }

    /// Gives the batch's publishes and acks to the broker, and sends the confirms that are due.
    pub(super) fn flush(&mut self, link: &mut Link) -> Result<(), AmqpError> {
        if !self.dirty {
            return Ok(());
        }
        self.dirty = false;
        let published = self.publisher.flush();
        link.hold(self.publisher.take_pause());
        if let Some(confirms) = &mut self.confirms
            && let Ok(end) = published
        {
            for tag in confirms.batch(end, &self.publisher.take_refused()) {
                encode::nack(link.tail(), self.number, tag, false);
            }
        }
        self.send_confirms(link);
        self.stats.acked.add(self.acked.len() as u64);
        let mut acked = std::mem::take(&mut self.acked);
        let settled = self.settle(&mut acked, Settle::Acked, link);
        self.acked = acked;
        published.and(settled)
    }

    /// Sends the confirms that are due.
    pub(super) fn send_confirms(&mut self, link: &mut Link) {
        let Some(confirms) = &mut self.confirms else {
            return;
        };
        let confirmed = confirms.take(link.broker.log().durable());
        self.stats.unconfirmed.set(confirms.unconfirmed());
        self.stats.confirmed.set(confirms.acked());
        if let Some(ack) = confirmed {
            encode::ack(link.tail(), self.number, ack.tag, ack.multiple);
        }
    }

    /// The log position that a confirm waits for.
    pub(super) fn waits_for(&self) -> Option<LogPos> {
        self.confirms.as_ref().and_then(Confirms::waits_for)
    }

    pub(super) fn settle(
        &mut self,
        settled: &mut Vec<Outstanding>,
        how: Settle,
        link: &Link,
    ) -> Result<(), AmqpError> {
        if settled.is_empty() {
            return Ok(());
        }
        if !self.sampled.is_empty() {
            self.tell_settled(settled, how, link);
        }
        let credited = settled.iter().filter(|o| o.credited()).count() as u32;
        // Stable: within a queue the order of delivery stays.
        settled.sort_by_key(|o| o.source);
        let mut result = Ok(());
        for of_one in settled.chunk_by(|a, b| a.source == b.source) {
            let Some(queue) = of_one.first().and_then(|o| self.ledger.queue(o.source)) else {
                continue;
            };
            let slots = of_one.iter().map(|o| o.slot);
            let done = link.vhost.settle(queue, slots, how, &mut self.effects);
            result = result.and(done.map(drop));
        }
        settled.clear();
        self.stats.unacked.set(self.ledger.len() as u64);
        // A transaction may hold what came from them, outside the ledger, until its end.
        if self.consumers.is_empty() && self.transaction.is_none() {
            self.ledger.forget_sources();
        }
        // After the queues have looked, or these would have it again before all that wait.
        if self.credit.give_back(credited) {
            result = result.and(self.resume_all(link));
        }
        result
    }

    /// Has a consumer's queue look again: there is room.
    pub(super) fn resume(&self, number: u32, link: &Link) -> Result<(), AmqpError> {
        match self.consumers.get(number as usize) {
            Some(consumer) => link.vhost.resume(&consumer.queue, consumer.key),
            None => Ok(()),
        }
    }

    /// Has all consumers' queues look again: there is credit. Each time another is the first.
    pub(super) fn resume_all(&mut self, link: &Link) -> Result<(), AmqpError> {
        let count = self.consumers.len();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn.checked_rem(count).unwrap_or_default();
        let mut in_turn = self.consumers.iter().cycle().skip(first).take(count);
        in_turn.try_for_each(|(_, c)| link.vhost.resume(&c.queue, c.key))
    }

    /// The channel ends, by whatever cause: its consumers go. The caller has flushed it, then takes
    /// what was handed over before, then calls [`Self::requeue_all`]. Confirms still to come will not:
    /// nothing may follow channel.close.
    pub(super) fn stop_consumers(&mut self, link: &Link) {
        self.state = State::Closing;
        self.assembly = None;
        self.held = None;
        // Nothing is said on it any more, confirms neither.
        self.confirms = None;
        self.stats.unconfirmed.set(0);
        self.stop_replies(link);
        for (_, consumer) in &self.consumers {
            // A failed log ends the whole broker; there is nobody else to tell here.
            let gone = link
                .vhost
                .unsubscribe(&consumer.queue, consumer.key, INTERNAL_USER);
            let _ = gone.map(|done| done.value);
        }
    }

    /// The unacked messages go back to where they were (A6.8, A4.12).
    pub(super) fn requeue_all(&mut self, link: &mut Link) {
        self.consumers.clear();
        self.stats.consumers.set(0);
        if let Some(transaction) = self.transaction.take() {
            self.ledger.put_back(transaction.into_taken());
        }
        let mut back = Vec::new();
        self.ledger.take(0, true, &mut back);
        let _ = self.requeue(back, link);
    }

    /// The next delivery tag, for a message that was got.
    pub(super) fn enter(&mut self, queue: &QueueRef, slot: Slot) -> u64 {
        if slot == Slot::NONE {
            return self.ledger.skip();
        }
        let source = self.ledger.source(queue);
        let tag = self.ledger.push(source, slot, 0);
        self.stats.unacked.set(self.ledger.len() as u64);
        tag
    }
}
