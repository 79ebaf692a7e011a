//! What the channels of a connection share: its output, its vhost and what was negotiated.
//!
//! Owns how a reply is written and when it must wait for the disk.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::AMQPClass;
use bytes::BytesMut;
use tracing::{debug, warn};

use super::outbox::Outbox;
use super::patience::Patience;
use super::{OutBuffer, Settings};
use crate::auth::Actor;
use crate::base::{AmqpError, ConnectionId, LogPos, Name, Quota};
use crate::broker::stats::ConnectionStats;
use crate::broker::{Broker, Durably, Party, Pause, Seat, Vhost};
use crate::codec::encode;
use crate::message::Message;
use crate::queue::{QueueKind, QueueRef};

/// What a client says it can do (A1.4).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Capabilities {
    /// It wants basic.cancel when its queue goes (A6.7).
    pub(super) consumer_cancel_notify: bool,
    /// It wants connection.blocked when it is not read for an alarm (A1.15).
    pub(super) connection_blocked: bool,
    /// It wants connection.close when its login is refused (A1.14).
    pub(super) authentication_failure_close: bool,
}

/// See the module.
pub(super) struct Link {
    pub(super) stats: Arc<ConnectionStats>,
    pub(super) broker: Arc<Broker>,
    pub(super) settings: Arc<Settings>,
    pub(super) vhost: Arc<Vhost>,
    pub(super) actor: Actor,
    /// Kept for as long as the connection is open.
    pub(super) seat: Seat,
    /// The rates that the user is held to.
    pub(super) quota: Arc<Quota>,
    /// The quota that what was published is furthest ahead of.
    pub(super) pause: Option<Pause>,
    pub(super) capabilities: Capabilities,
    pub(super) frame_max: u32,
    pub(super) outbox: Arc<Outbox>,
    pub(super) out: OutBuffer,
    /// Exclusive queues declared here; they go with the connection (A4.3).
    pub(super) exclusive: Vec<QueueRef>,
    /// The log has a word of a content header that is larger than the client's frames.
    pub(super) told_of_header: bool,
    /// Something was published since it was last asked whether there is an alarm.
    pub(super) published: bool,
    /// How often consumers must be looked at for being late; not at all if none has a limit.
    pub(super) look_every: Option<Duration>,
}

impl Link {
    /// The connection's number.
    pub(super) fn id(&self) -> ConnectionId {
        self.stats.id()
    }

    /// Who has logged in.
    pub(super) fn user(&self) -> &Name {
        self.actor.user()
    }

    /// Who receives on a channel, for the firehose.
    pub(super) fn party(&self, channel: u16) -> Party {
        Party {
            connection: Some(Arc::clone(&self.stats)),
            channel,
            user: self.actor.user().clone(),
        }
    }

    /// Gives copies to the firehose. If the log has failed the connection hears of it anyway.
    pub(super) fn post_copies(&self, copies: Vec<Message>) {
        if let Err(fault) = self.vhost.post_copies(copies) {
            debug!(%fault, "firehose");
        }
    }

    /// Where frames are encoded.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        self.out.tail()
    }

    /// A content header was larger than the frames that the client wants. Those clients that do not take it end the
    /// connection and get it again, so the operator is told, once for each connection.
    #[cold]
    pub(super) fn tell_of_header(&mut self, channel: u16, message: &Message, octets: usize) {
        if std::mem::replace(&mut self.told_of_header, true) {
            return;
        }
        let (exchange, key) = (message.exchange(), message.routing_key());
        warn!(
            connection = %self.id(), channel, octets, frame_max = self.frame_max,
            exchange = %String::from_utf8_lossy(exchange), routing_key = %String::from_utf8_lossy(key),
            "a message's header is larger than the client's frames"
        );
    }

    /// Something was published that has passed a quota.
    pub(super) fn hold(&mut self, pause: Option<Pause>) {
        if pause.is_some() {
            self.pause = Pause::longer(self.pause.take(), pause);
        }
    }

    /// How long the quota still holds the connection up.
    pub(super) fn left(&self, pause: &Pause) -> Duration {
        pause.left(self.vhost.quota(), &self.quota)
    }

    /// Writes a method.
    pub(super) fn send(&mut self, channel: u16, method: &AMQPClass) {
        encode::write_method(self.out.tail(), channel, method);
    }

    /// Writes the answer to a method, unless it asked for none.
    pub(super) fn reply(&mut self, channel: u16, nowait: bool, method: &AMQPClass) {
        if !nowait {
            self.send(channel, method);
        }
    }

    /// The value of a result that rests on records in the log. What is written from now on stays
    /// back until they are on disk.
    pub(super) fn once_durable<T>(
        &mut self,
        result: Result<Durably<T>, AmqpError>,
    ) -> Result<T, AmqpError> {
        let Durably { value, end } = result?;
        self.gate(end);
        Ok(value)
    }

    /// What is written from now on stays back until `end` is on disk.
    pub(super) fn gate(&mut self, end: LogPos) {
        if end > self.broker.log().durable() {
            self.out.gate(end);
        }
    }

    /// What holds for a consumer that settles: its own limit, its queue's, or the broker's, in this order
    /// (A6.13).
    pub(super) fn patience(&mut self, queue: &QueueRef, own_ms: Option<u64>) -> Option<Patience> {
        let settings = &self.settings;
        let everywhere = settings.consumer_timeout_closes_channel;
        let of_queue_ms = queue.lock().options().consumer_timeout_ms;
        let general_ms =
            (everywhere || queue.kind == QueueKind::Quorum).then_some(settings.consumer_timeout_ms);
        let limit_ms = own_ms.or(of_queue_ms).or(general_ms);
        let patience = Patience::new(limit_ms.filter(|&ms| ms > 0)?);
        let every = patience.look_every();
        self.look_every = Some(self.look_every.map_or(every, |other| other.min(every)));
        Some(patience)
    }

    /// Whether a consumer that is late closes its channel.
    pub(super) fn closes_for_late(&self) -> bool {
        self.settings.consumer_timeout_closes_channel || !self.capabilities.consumer_cancel_notify
    }

    /// Deletes the exclusive queues.
    pub(super) fn delete_exclusive(&mut self) {
        for queue in std::mem::take(&mut self.exclusive) {
            let deleted = self.vhost.delete_exclusive(&queue);
            // Nothing of an exclusive queue is on disk, so nothing needs to be waited for; and if the
            // log has failed, the whole broker is stopping.
            let _ = deleted.map(|done| done.value);
        }
    }
}
