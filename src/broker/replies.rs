//! Direct reply-to (A7.12): replies that go straight from one connection to another.
//!
//! Owns the names that requesters are known by. A reply is at most once and never on disk: one whose
//! requester is gone, or has too much to read, is dropped.

use std::sync::Arc;

use super::queues::server_name;
use super::vhost::Vhost;
use crate::base::Name;
use crate::message::Message;
use crate::queue::{ConsumerPort, ConsumerToken, Delivery, Slot};

/// What a requester consumes from, and puts into reply-to.
pub const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// In front of the random characters that name one channel.
const OWN_PREFIX: &str = "amq.rabbitmq.reply-to.g";

/// Where the replies to one channel go.
#[derive(Clone)]
pub struct ReplyPort {
    /// The way to its connection.
    pub port: Arc<dyn ConsumerPort>,
    /// Names it there.
    pub token: ConsumerToken,
}

/// Whether a message to the default exchange with this key is a reply.
pub fn is_reply_key(key: &[u8]) -> bool {
    key.starts_with(OWN_PREFIX.as_bytes())
}

impl Vhost {
    /// Gives a channel a name of its own for replies.
    pub fn add_replies(&self, port: ReplyPort) -> Name {
        let name = server_name(OWN_PREFIX);
        self.replies.insert(name.clone(), port);
        name
    }

    /// The channel consumes no replies any more.
    pub fn remove_replies(&self, name: &Name) {
        self.replies.remove(name);
    }

    /// Whether a channel consumes the replies to `name`.
    pub fn has_replies(&self, name: &Name) -> bool {
        self.replies.contains_key(name)
    }

    /// Delivers a message whose key is a name for replies. Whether there is who takes it.
    pub(super) fn reply(&self, message: &Message) -> bool {
        let Some(to) = self.replies.get(message.routing_key()).map(|to| to.clone()) else {
            return false;
        };
        if to.port.room_bytes() == 0 {
            return false;
        }
        let delivery = Delivery {
            message: message.clone(),
            token: to.token,
            slot: Slot::NONE,
            redelivered: false,
        };
        let cost = delivery.cost();
        to.port.hand_over(&mut vec![delivery], cost);
        true
    }
}
