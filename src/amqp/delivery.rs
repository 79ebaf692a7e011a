//! From a delivery to frames.
//!
//! Owns the encoding of deliver, get-ok and return with their content, straight into the
//! connection's output.

use super::channel::Channel;
use super::link::Link;
use crate::base::limits::BODY_BY_REFERENCE_BYTES;
use crate::codec::FrameKind;
use crate::codec::encode::{self, DeliverHead, GetOkHead};
use crate::message::Message;
use crate::queue::{Delivery, Got, QueueRef};

impl Channel {
    /// Sends what a queue handed over. A consumer that is no longer there gets nothing, but the
    /// delivery is entered all the same, so that [`Channel::requeue_all`] finds it.
    pub(super) fn deliver(&mut self, delivery: &Delivery, link: &mut Link) {
        let Some(consumer) = self.consumers.get(&delivery.token.number) else { return };
        let tag = consumer.tag.clone();
        let delivery_tag = match delivery.needs_ack() {
            false => self.ledger.skip(),
            true => {
                let source = consumer.source;
                self.ledger.push(source, delivery.slot, true)
            }
        };
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

    /// Answers basic.get.
    pub(super) fn got(&mut self, queue: &QueueRef, got: &Got, link: &mut Link) {
        let message = &got.message;
        let head = GetOkHead {
            delivery_tag: self.enter(queue, got.slot, false),
            redelivered: got.redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            message_count: u32::try_from(got.ready_left).unwrap_or(u32::MAX),
        };
        encode::get_ok(link.tail(), self.number, &head);
        self.content(message, link);
    }

    /// Header and body of a message.
    pub(super) fn content(&self, message: &Message, link: &mut Link) {
        let body_len = message.body_len();
        encode::content_header(link.tail(), self.number, body_len as u64, message.properties());
        if body_len < BODY_BY_REFERENCE_BYTES {
            // Below the smallest frame_max, so always one frame.
            if body_len > 0 {
                let out = link.tail();
                encode::frame_header(out, FrameKind::Body, self.number, body_len);
                message.body_parts().for_each(|part| out.extend_from_slice(part));
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
