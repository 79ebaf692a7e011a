//! From a delivery to frames.
//!
//! Owns the encoding of deliver, get-ok and return with their content, straight into the
//! connection's output.

use super::channel::{Channel, State};
use super::checks::without_bcc;
use super::ledger::Outstanding;
use super::link::Link;
use super::reply_to::REPLY_NUMBER;
use crate::base::Name;
use crate::base::limits::BODY_BY_REFERENCE_BYTES;
use crate::broker::{Settle, spans};
use crate::codec::FrameKind;
use crate::codec::encode::{self, DeliverHead, GetOkHead};
use crate::message::Message;
use crate::queue::{Delivery, Got, QueueRef, Slot};

impl Channel {
    /// Sends what a queue handed over. On a channel that is closing the delivery is only entered, so
    /// that it goes back with all the others.
    pub(super) fn deliver(&mut self, delivery: &Delivery, link: &mut Link) {
        let (tag, delivery_tag) = if delivery.token.number == REPLY_NUMBER {
            let Some(consumer) = &self.reply_consumer else {
                return;
            };
            self.stats.delivered_no_ack.add(1);
            (&consumer.tag, self.ledger.skip())
        } else {
            // A consumer stays here until what was handed over to it has been taken.
            let Some(consumer) = self.consumers.get(delivery.token.number as usize) else {
                return;
            };
            let delivery_tag = match delivery.slot {
                Slot::NONE => {
                    self.stats.delivered_no_ack.add(1);
                    self.ledger.skip()
                }
                slot => {
                    self.stats.delivered.add(1);
                    let tag = self.ledger.push(consumer.source, slot, consumer.serial);
                    self.stats.unacked.set(self.ledger.len() as u64);
                    tag
                }
            };
            (&consumer.tag, delivery_tag)
        };
        if self.state == State::Closing {
            return;
        }
        self.stats.redelivered.add(delivery.redelivered.into());
        let message = &delivery.message;
        let head = DeliverHead {
            consumer_tag: tag.as_bytes(),
            delivery_tag,
            redelivered: delivery.redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        };
        encode::deliver(link.tail(), self.number, &head);
        self.content(message, link);
    }

    /// The copy of a delivery for the firehose. A direct reply is out of no queue: what it was sent
    /// to stands for one.
    pub(super) fn trace(&self, delivery: &Delivery, link: &Link) -> Option<Message> {
        if self.state == State::Closing {
            return None;
        }
        let (to, queue) = (link.party(self.number), self.from(delivery)?);
        let Delivery {
            message,
            redelivered,
            ..
        } = delivery;
        link.vhost.trace_out(&to, queue, message, *redelivered)
    }

    /// The queue that a delivery comes from, or the name that a direct reply was sent to.
    fn from(&self, delivery: &Delivery) -> Option<&Name> {
        match delivery.token.number {
            REPLY_NUMBER => self.reply_consumer.as_ref().map(|consumer| &consumer.name),
            number => {
                let consumer = self.consumers.get(number as usize);
                consumer.map(|consumer| &consumer.queue.name)
            }
        }
    }

    /// Tells the span of a delivery that has just been sent, if its message is sampled.
    pub(super) fn tell_delivered(&mut self, delivery: &Delivery, link: &Link) {
        if self.state == State::Closing {
            return;
        }
        let Some(queue) = self.from(delivery).cloned() else {
            return;
        };
        let Delivery {
            message,
            slot,
            redelivered,
            ..
        } = delivery;
        self.tell_sent(message, &queue, *slot, *redelivered, link);
    }

    /// The same of any message that has just got its delivery tag. What becomes of it is told later,
    /// if it needs an ack.
    fn tell_sent(
        &mut self,
        message: &Message,
        queue: &Name,
        slot: Slot,
        redelivered: bool,
        link: &Link,
    ) {
        let Some(spans) = link.vhost.spans() else {
            return;
        };
        let delivery = spans::Delivery {
            message,
            queue,
            tag: self.ledger.last_tag(),
            redelivered,
            to: &link.stats,
        };
        if let Some(delivered) = spans.delivered(link.vhost.name(), &delivery)
            && slot != Slot::NONE
        {
            self.sampled.insert(delivery.tag, delivered);
        }
    }

    /// Tells what has become of deliveries of sampled messages.
    #[cold]
    pub(super) fn tell_settled(&mut self, settled: &[Outstanding], how: Settle, link: &Link) {
        let how = match how {
            Settle::Acked => "ack",
            Settle::Rejected => "reject",
            Settle::Requeued(_) => "requeue",
        };
        let Some(spans) = link.vhost.spans() else {
            return;
        };
        for outstanding in settled {
            if let Some(delivered) = self.sampled.remove(&outstanding.tag) {
                spans.settled(&delivered, how);
            }
        }
    }

    /// Answers basic.get.
    pub(super) fn got(&mut self, queue: &QueueRef, got: &Got, link: &mut Link) {
        match got.slot {
            Slot::NONE => self.stats.got_no_ack.add(1),
            _ => self.stats.got.add(1),
        }
        self.stats.redelivered.add(got.redelivered.into());
        let message = &got.message;
        if link.vhost.is_tracing() {
            let to = link.party(self.number);
            let copy = link
                .vhost
                .trace_out(&to, &queue.name, message, got.redelivered);
            link.post_copies(copy.into_iter().collect());
        }
        let head = GetOkHead {
            delivery_tag: self.enter(queue, got.slot),
            redelivered: got.redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            message_count: u32::try_from(got.ready_left).unwrap_or(u32::MAX),
        };
        encode::get_ok(link.tail(), self.number, &head);
        self.content(message, link);
        self.tell_sent(message, &queue.name, got.slot, got.redelivered, link);
    }

    /// Header and body of a message. The header goes whole also where it is larger than the frames that the
    /// client wants, as RabbitMQ sends it: most clients take it, and a message that was kept back would be out of
    /// reach for all of them.
    pub(super) fn content(&self, message: &Message, link: &mut Link) {
        let body_len = message.body_len();
        let (number, size) = (self.number, body_len as u64);
        let header_len = if message.hides_bcc() {
            let shown = without_bcc(message);
            encode::content_header(link.tail(), number, size, shown.raw())
        } else {
            encode::content_header(link.tail(), number, size, message.properties())
        };
        if header_len > link.frame_max as usize {
            link.tell_of_header(number, message, header_len);
        }
        if body_len < BODY_BY_REFERENCE_BYTES {
            // Below the smallest frame_max, so always one frame.
            if body_len > 0 {
                let out = link.tail();
                encode::frame_header(out, FrameKind::Body, self.number, body_len);
                message
                    .body_parts()
                    .for_each(|part| out.extend_from_slice(part));
                encode::frame_end(out);
            }
            return;
        }
        self.large_body(message, link);
    }

    /// The body in frames of the negotiated size, its pieces by reference.
    fn large_body(&self, message: &Message, link: &mut Link) {
        let mut pieces = message.body_bytes();
        let mut piece = pieces.next().unwrap_or_default();
        for part in encode::body_frames(message.body_len(), link.frame_max) {
            let mut due = part.len();
            encode::frame_header(link.tail(), FrameKind::Body, self.number, due);
            while due > 0 {
                if piece.is_empty() {
                    match pieces.next() {
                        Some(next) => piece = next,
                        None => break,
                    }
                }
                let step = due.min(piece.len());
                link.out.put_body(piece.split_to(step));
                due -= step;
            }
            encode::frame_end(link.tail());
        }
    }
}
