//! Direct reply-to on a channel (A7.12): consuming replies, and asking for them.
//!
//! Owns the channel's one consumer of replies. The names are the broker's.

use std::sync::Arc;

use super::channel::Channel;
use super::link::Link;
use super::outbox::Port;
use super::replies;
use crate::base::{AmqpError, Name};
use crate::broker::replies::{REPLY_TO, ReplyPort};
use crate::codec::{Properties, Property, PropertyPatch};
use crate::message::Message;
use crate::queue::ConsumerToken;

/// Number of the reply consumer in a delivery's token; no other gets so far.
pub(super) const REPLY_NUMBER: u32 = u32::MAX;

/// A channel's consumer of replies.
pub(super) struct ReplyConsumer {
    pub(super) tag: Name,
    /// What requests say to reply to.
    pub(super) name: Name,
}

impl Channel {
    pub(super) fn consume_replies(
        &mut self,
        tag: Name,
        no_ack: bool,
        nowait: bool,
        link: &mut Link,
    ) -> Result<(), AmqpError> {
        if self.reply_consumer.is_some() {
            return Err(AmqpError::reply_consumer_set());
        }
        if !no_ack {
            return Err(AmqpError::reply_consumer_acks());
        }
        let token = ConsumerToken {
            channel: self.number,
            number: REPLY_NUMBER,
        };
        let port = Port::new(Arc::clone(&link.outbox), Arc::clone(&self.credit), token);
        let name = link.vhost.add_replies(ReplyPort {
            port: Arc::new(port),
            token,
        });
        link.reply(self.number, nowait, &replies::consume_ok(&tag));
        self.reply_consumer = Some(ReplyConsumer { tag, name });
        Ok(())
    }

    /// Stops taking replies, if this channel does.
    pub(super) fn stop_replies(&mut self, link: &Link) {
        if let Some(consumer) = self.reply_consumer.take() {
            link.vhost.remove_replies(&consumer.name);
        }
    }

    /// A request with the general name for replies gets this channel's own.
    pub(super) fn with_reply_name(&self, message: Message) -> Result<Message, AmqpError> {
        let properties = Properties::trusted(message.properties_bytes());
        if properties.reply_to() != Some(REPLY_TO.as_bytes()) {
            return Ok(message);
        }
        let Some(consumer) = &self.reply_consumer else {
            return Err(AmqpError::no_reply_consumer());
        };
        let own = PropertyPatch::new().text(Property::ReplyTo, consumer.name.as_bytes());
        Ok(message.with_properties(own.apply(&properties).raw()))
    }
}
