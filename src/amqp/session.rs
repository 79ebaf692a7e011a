//! A connection between connection.open and its end: channels, batches, deliveries.
//!
//! Owns the channels and the order of work: frames in the order they came, then one flush of every
//! channel that has something, then what other tasks left in the outbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::warn;

use amq_protocol::protocol::{AMQPClass, channel, connection};

use super::assembly::offset_in;
use super::channel::{After, Channel, State};
use super::channels::Channels;
use super::link::Link;
use super::replies;
use crate::auth::{Authority, HttpUser, Login, LoginRefused, Proof};
use crate::base::limits::FRAME_HEADER;
use crate::base::{AmqpError, LogPos};
use crate::broker::Pause;
use crate::codec::{Frame, FrameCursor, FrameKind, Method, encode, parse_method};
use crate::queue::Delivery;

/// Whether the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    On,
    /// The client closed it; close-ok is written.
    Closed,
    /// It is to be asked what the user may do before anything else is done.
    Waits,
}

/// What is left undone until it is known what the user may do.
struct Waiting {
    /// Who is to be asked about, until that has begun.
    user: Option<Arc<HttpUser>>,
    /// Whose method it was.
    channel: u16,
    /// What follows; the method itself first, unless the channel has kept it.
    rest: Bytes,
}

/// What texts call this node.
const NODE_NAME: &str = "warren";

/// See the module.
pub(super) struct Session {
    pub(super) link: Link,
    channels: Channels,
    channel_max: u16,
    /// Channels with something to flush.
    dirty: Vec<u16>,
    /// Channels that wait for the log before they confirm.
    confirming: Vec<u16>,
    /// Kept for its allocation.
    deliveries: Vec<Delivery>,
    /// Octets of deliveries that are encoded, and count in the outbox until they are written.
    encoded_bytes: usize,
    /// The connection was told to end with this.
    close: Option<AmqpError>,
    /// It has published while there was an alarm, and is not read until there is none (A1.15).
    blocked: bool,
    /// It has passed a quota, and is not read for a while.
    pause: Option<Pause>,
    /// The client knows that it is not read.
    told_blocked: bool,
    /// A token that is to take the place of the one there is.
    renewal: Option<Proof>,
    /// connection.update-secret still to be answered.
    renewals_unanswered: u32,
    waiting: Option<Box<Waiting>>,
}

impl Session {
    pub(super) fn new(link: Link, channel_max: u16) -> Self {
        Session {
            link,
            channels: Channels::default(),
            channel_max,
            dirty: Vec::new(),
            confirming: Vec::new(),
            deliveries: Vec::new(),
            encoded_bytes: 0,
            close: None,
            blocked: false,
            pause: None,
            told_blocked: false,
            renewal: None,
            renewals_unanswered: 0,
            waiting: None,
        }
    }

    /// Takes whole frames, as one batch.
    ///
    /// # Errors
    /// A fault that closes the connection. What came before it has been done.
    pub(super) fn frames(&mut self, frames: &Bytes) -> Result<Go, AmqpError> {
        let done = self.each_frame(frames);
        self.end_batch(done)
    }

    /// Goes on where [`Go::Waits`] was said: it is known now what the user may do.
    ///
    /// # Errors
    /// As [`Self::frames`].
    pub(super) fn resume(&mut self) -> Result<Go, AmqpError> {
        let Some(waiting) = self.waiting.take() else {
            return Ok(Go::On);
        };
        let done = self.again(waiting.channel, &waiting.rest);
        self.end_batch(done)
    }

    /// Whom to ask about; then call [`Self::resume`].
    pub(super) fn take_question(&mut self) -> Option<Arc<HttpUser>> {
        self.waiting.as_mut()?.user.take()
    }

    /// Whether nothing is to be read until it is known what the user may do.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    fn end_batch(&mut self, done: Result<Go, AmqpError>) -> Result<Go, AmqpError> {
        let flushed = self.flush();
        let go = done?;
        flushed?;
        let published = std::mem::take(&mut self.link.published);
        if go != Go::Closed {
            if published && let Some(reason) = self.link.broker.alarms().reason() {
                self.blocked = true;
                self.tell_blocked(|_| reason.to_owned());
            }
            if let Some(pause) = self.link.pause.take() {
                self.tell_blocked(|link| pause.reason(link.vhost.name(), link.actor.user()));
                self.pause = Some(pause);
            }
        }
        Ok(go)
    }

    fn tell_blocked(&mut self, reason: impl FnOnce(&Link) -> String) {
        if self.told_blocked || !self.link.capabilities.connection_blocked {
            return;
        }
        self.told_blocked = true;
        let reason = reason(&self.link);
        self.link.send(0, &replies::connection_blocked(&reason));
    }

    fn unblock_if_over(&mut self) {
        if self.blocked && self.link.broker.alarms().reason().is_none() {
            self.blocked = false;
        }
        if self.told_blocked && !self.blocked && self.pause.is_none() {
            self.told_blocked = false;
            self.link.send(0, &replies::connection_unblocked());
        }
    }

    /// How long the socket is not to be read for a quota; `None` if it may be.
    pub(super) fn pause_left(&mut self) -> Option<Duration> {
        let left = self.link.left(self.pause.as_ref()?);
        if left.is_zero() {
            self.pause = None;
            return None;
        }
        Some(left)
    }

    /// Whether the socket is not to be read for an alarm.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn each_frame(&mut self, frames: &Bytes) -> Result<Go, AmqpError> {
        let mut cursor = FrameCursor::new(frames);
        while let Some(frame) = cursor.next_frame()? {
            let go = self.one_frame(&frame, frames, &mut cursor)?;
            if go != Go::On {
                return Ok(go);
            }
        }
        Ok(Go::On)
    }

    fn one_frame<'b>(
        &mut self,
        frame: &Frame<'b>,
        frames: &Bytes,
        cursor: &mut FrameCursor<'b>,
    ) -> Result<Go, AmqpError> {
        match frame.channel {
            0 => self.connection_frame(frame),
            _ => self.channel_frame(frame, frames, cursor),
        }
    }

    /// Does what was left undone, then all that follows. Answers hold for that one method.
    fn again(&mut self, number: u16, rest: &Bytes) -> Result<Go, AmqpError> {
        let held = self.channels.get(number);
        let held = held.and_then(|channel| channel.publish_held(&mut self.link));
        let mut cursor = FrameCursor::new(rest);
        let go = match held {
            Some(done) => {
                self.mark(number);
                match done {
                    Ok(()) => Go::On,
                    Err(fault) => self.failed(number, &fault, || rest.clone())?,
                }
            }
            None => match cursor.next_frame()? {
                Some(frame) => self.one_frame(&frame, rest, &mut cursor)?,
                None => Go::On,
            },
        };
        if go != Go::On {
            return Ok(go);
        }
        self.link.actor.login().forget();
        self.each_frame(&cursor.rest())
    }

    /// Notes that a channel has something to flush.
    fn mark(&mut self, number: u16) {
        if let Some(channel) = self.channels.get(number)
            && channel.is_dirty()
            && !channel.marked
        {
            channel.marked = true;
            self.dirty.push(number);
        }
    }

    /// A method on a channel was refused: for good, or until it is known what the user may do. Then
    /// `rest` is done first.
    fn failed(
        &mut self,
        number: u16,
        fault: &AmqpError,
        rest: impl FnOnce() -> Bytes,
    ) -> Result<Go, AmqpError> {
        if let Some(user) = self.link.actor.login().undecided() {
            self.waiting = Some(Box::new(Waiting {
                user: Some(Arc::clone(user)),
                channel: number,
                rest: rest(),
            }));
            return Ok(Go::Waits);
        }
        if fault.is_hard() {
            return Err(fault.clone());
        }
        self.fail_channel(number, fault).map(|()| Go::On)
    }

    fn connection_frame(&mut self, frame: &Frame<'_>) -> Result<Go, AmqpError> {
        match frame.kind {
            FrameKind::Heartbeat => return Ok(Go::On),
            FrameKind::Method => {}
            kind => return Err(AmqpError::unexpected_frame(kind as u8, frame.payload)),
        }
        let method = parse_method(frame.payload)?;
        let (class_id, method_id) = method.id();
        let asked = match &method {
            Method::Other(command) => match &command.method {
                AMQPClass::Connection(asked) => Some(asked),
                _ => None,
            },
            _ => None,
        };
        match asked {
            Some(connection::AMQPMethod::UpdateSecret(m)) => {
                self.update_secret(m.new_secret.as_bytes());
                Ok(Go::On)
            }
            Some(connection::AMQPMethod::Close(_)) => {
                self.flush()?;
                self.end();
                // Who is told that it is closed may connect again at once, whatever the limit.
                self.link.seat.leave();
                self.link.send(0, &replies::connection_close_ok());
                Ok(Go::Closed)
            }
            _ => Err(AmqpError::unexpected_method("running").at(class_id, method_id)),
        }
    }

    /// Only tokens end; there is nothing to refresh for other users (A1.17). What the client sends
    /// meanwhile is judged by the token it had.
    fn update_secret(&mut self, secret: &[u8]) {
        if self.link.actor.token().is_none() {
            self.link.send(0, &replies::update_secret_ok());
            return;
        }
        let user = self.link.actor.user().clone();
        self.renewal = Some(Proof::Renewal(user, secret.to_vec()));
        self.renewals_unanswered += 1;
    }

    /// A new token that the broker is to check; then call [`Self::renewed`].
    pub(super) fn take_renewal(&mut self) -> Option<Proof> {
        self.renewal.take()
    }

    /// The broker has checked a new token.
    ///
    /// # Errors
    /// It is refused: 530.
    pub(super) fn renewed(&mut self, result: Result<Login, LoginRefused>) -> Result<(), AmqpError> {
        let Ok(Login {
            authority: Authority::Token(token),
            ..
        }) = result
        else {
            return Err(AmqpError::secret_refused().at(10, 70));
        };
        self.link.actor.renew(token);
        if self.renewal.is_some() {
            // The newest is still to be checked, and answers for those before it.
            return Ok(());
        }
        for _ in 0..std::mem::take(&mut self.renewals_unanswered) {
            self.link.send(0, &replies::update_secret_ok());
        }
        self.cancel_forbidden()
    }

    /// Cancels consumers of queues that the user may no longer read (A1.17).
    fn cancel_forbidden(&mut self) -> Result<(), AmqpError> {
        let channels = self.channels.iter_mut();
        let numbers: Vec<u16> = channels.map(|channel| channel.number).collect();
        for number in numbers {
            let Some(channel) = self.channels.get(number) else {
                continue;
            };
            let stopped = channel.stop_forbidden(&mut self.link)?;
            self.take_news();
            for consumer in stopped {
                if let Some(channel) = self.channels.get(number) {
                    channel.cancelled(consumer, &mut self.link);
                }
            }
        }
        Ok(())
    }

    /// When the user's credentials end, in seconds since 1970.
    pub(super) fn expires_at_s(&self) -> Option<u64> {
        Some(self.link.actor.token()?.expires_at_s())
    }

    fn channel_frame<'b>(
        &mut self,
        frame: &Frame<'b>,
        frames: &Bytes,
        cursor: &mut FrameCursor<'b>,
    ) -> Result<Go, AmqpError> {
        let number = frame.channel;
        let Some(channel) = self.channels.get(number) else {
            return self.open(frame).map(|()| Go::On);
        };
        if channel.state == State::Closing {
            return self.closing_frame(frame).map(|()| Go::On);
        }
        let done = channel.frame(frame, frames, cursor, &mut self.link);
        if channel.is_dirty() && !channel.marked {
            channel.marked = true;
            self.dirty.push(number);
        }
        match done {
            Ok(After::Nothing) => Ok(Go::On),
            Ok(After::Cancel {
                number: consumer,
                tag,
                nowait,
            }) => {
                self.take_news();
                if let Some(channel) = self.channels.get(number) {
                    channel.finish_cancel(consumer, &tag, nowait, &mut self.link);
                }
                Ok(Go::On)
            }
            Ok(After::Close) => {
                self.end_channel(number);
                self.remove(number);
                self.link.send(number, &replies::channel_close_ok());
                Ok(Go::On)
            }
            Err(fault) => {
                let publishes = channel.held_publish();
                self.failed(number, &fault, || match publishes {
                    true => cursor.rest(),
                    false => from_frame(frame, frames),
                })
            }
        }
    }

    /// A frame on a channel that is not open: only channel.open will do (A1.18). That it is a method
    /// at all comes first (A1.8).
    fn open(&mut self, frame: &Frame<'_>) -> Result<(), AmqpError> {
        if frame.kind != FrameKind::Method {
            return Err(AmqpError::expected_method_frame());
        }
        let method = parse_method(frame.payload)?;
        let (class_id, method_id) = method.id();
        if !matches!(channel_method(&method), Some(channel::AMQPMethod::Open(_))) {
            return Err(AmqpError::expected_channel_open().at(class_id, method_id));
        }
        let open = self.channels.len();
        if open >= usize::from(self.channel_max) {
            return Err(AmqpError::channel_limit(open, self.channel_max));
        }
        let of_user = self.link.broker.limits_of(self.link.actor.user());
        self.link.seat.open_channel(NODE_NAME, &of_user)?;
        self.channels
            .insert(Channel::new(frame.channel, &self.link));
        self.link.send(frame.channel, &replies::channel_open_ok());
        Ok(())
    }

    fn remove(&mut self, number: u16) {
        self.channels.remove(number);
        self.link.seat.close_channels(1);
    }

    /// After a channel error everything is ignored but the end of it (A2).
    fn closing_frame(&mut self, frame: &Frame<'_>) -> Result<(), AmqpError> {
        if frame.kind != FrameKind::Method {
            return Ok(());
        }
        let method = parse_method(frame.payload)?;
        let (class_id, method_id) = method.id();
        match channel_method(&method) {
            Some(channel::AMQPMethod::CloseOk(_)) => self.remove(frame.channel),
            Some(channel::AMQPMethod::Close(_)) => {
                self.link.send(frame.channel, &replies::channel_close_ok());
            }
            Some(channel::AMQPMethod::Open(_)) => {
                return Err(AmqpError::second_channel_open().at(class_id, method_id));
            }
            _ => {}
        }
        Ok(())
    }

    fn fail_channel(&mut self, number: u16, fault: &AmqpError) -> Result<(), AmqpError> {
        warn!(connection = %self.link.id(), channel = number, fault = fault.text, "channel closed");
        if let Some(channel) = self.channels.get(number) {
            channel.flush(&mut self.link)?;
        }
        self.end_channel(number);
        encode::write_close(self.link.tail(), number, fault);
        Ok(())
    }

    /// Takes back all that a channel holds.
    fn end_channel(&mut self, number: u16) {
        let Some(channel) = self.channels.get(number) else {
            return;
        };
        channel.stop_consumers(&self.link);
        self.take_news();
        if let Some(channel) = self.channels.get(number) {
            channel.requeue_all(&mut self.link);
        }
    }

    /// Flushes all channels.
    fn flush(&mut self) -> Result<(), AmqpError> {
        let mut result = Ok(());
        for number in self.dirty.drain(..) {
            let Some(channel) = self.channels.get(number) else {
                continue;
            };
            channel.marked = false;
            result = result.and(channel.flush(&mut self.link));
            if channel.waits_for().is_some() && !self.confirming.contains(&number) {
                self.confirming.push(number);
            }
        }
        result
    }

    /// Does what other tasks have left for the connection. The reason if it is to close.
    pub(super) fn work(&mut self) -> Option<AmqpError> {
        self.unblock_if_over();
        self.take_news();
        self.link.out.open_gates(self.link.broker.log().durable());
        let (channels, link) = (&mut self.channels, &mut self.link);
        self.confirming
            .retain(|&number| match channels.get(number) {
                None => false,
                Some(channel) => {
                    channel.send_confirms(link);
                    channel.waits_for().is_some()
                }
            });
        let mut reason = self.close.take();
        while let Some(token) = self.link.outbox.next_starved() {
            if let Some(channel) = self.channels.get(token.channel)
                && let Err(fault) = channel.resume(token.number, &self.link)
            {
                reason.get_or_insert(fault);
            }
        }
        reason
    }

    /// Looks for consumers that have not settled a delivery in their time (A6.13). They are cancelled, or
    /// their channel is closed if the client does not know such a cancel.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), AmqpError> {
        let numbers: Vec<u16> = self.channels.iter_mut().map(|c| c.number).collect();
        for number in numbers {
            while let Some(channel) = self.channels.get(number)
                && channel.state == State::Open
                && let Some(late) = channel.late_consumer(now)
            {
                if self.link.closes_for_late() {
                    let fault = channel.late_fault(late);
                    self.fail_channel(number, &fault)?;
                    break;
                }
                channel.flush(&mut self.link)?;
                channel.stop_late(late, &self.link)?;
                self.take_news();
                if let Some(channel) = self.channels.get(number) {
                    channel.cancel_late(late, &mut self.link)?;
                }
            }
        }
        let limited = self.channels.iter_mut().filter_map(|c| c.look_every());
        self.link.look_every = limited.min();
        Ok(())
    }

    /// The log position that something here waits for.
    pub(super) fn waits_for(&mut self) -> Option<LogPos> {
        let channels = &mut self.channels;
        let confirms = self.confirming.iter();
        let confirm = confirms.filter_map(|&n| channels.get(n)?.waits_for()).min();
        confirm.into_iter().chain(self.link.out.gated_by()).min()
    }

    /// Sends what queues have handed over, and tells of consumers whose queue is gone. Once a
    /// consumer has been taken off its queue, this finds the last that concerns it, and only then its
    /// number may be given to another.
    fn take_news(&mut self) {
        let news = self.link.outbox.take(&mut self.deliveries);
        if self.link.vhost.is_tracing() && !self.deliveries.is_empty() {
            self.trace_deliveries();
        }
        match self.link.vhost.spans() {
            None => self.send_deliveries(|_, _, _| ()),
            Some(_) => self.send_deliveries(Channel::tell_delivered),
        }
        for token in news.cancelled {
            if let Some(channel) = self.channels.get(token.channel) {
                channel.cancelled(token.number, &mut self.link);
            }
        }
        if self.close.is_none() {
            self.close = news.close;
        }
    }

    /// Sends what was taken; each delivery is `told` of then.
    fn send_deliveries(&mut self, told: impl Fn(&mut Channel, &Delivery, &Link)) {
        for delivery in &self.deliveries {
            self.encoded_bytes += delivery.cost();
            if let Some(channel) = self.channels.get(delivery.token.channel) {
                channel.deliver(delivery, &mut self.link);
                told(channel, delivery, &self.link);
            }
        }
        self.deliveries.clear();
    }

    /// Copies of what is about to be sent, for the firehose.
    fn trace_deliveries(&mut self) {
        let (channels, link) = (&mut self.channels, &self.link);
        let copies = self.deliveries.iter().filter_map(|delivery| {
            let channel = channels.get(delivery.token.channel)?;
            channel.trace(delivery, link)
        });
        link.post_copies(copies.collect());
    }

    /// Octets waiting to be written, less those of deliveries.
    pub(super) fn answers_bytes(&self) -> usize {
        self.link.out.len().saturating_sub(self.encoded_bytes)
    }

    /// The socket took something: makes room for more deliveries.
    pub(super) fn written(&mut self) {
        let keep = self.encoded_bytes.min(self.link.out.len());
        self.link.outbox.written(self.encoded_bytes - keep);
        self.encoded_bytes = keep;
    }

    /// Takes back all that the connection holds: unacked messages to their queues, and the exclusive
    /// queues away (A1.13). Called once, however it ends.
    pub(super) fn end(&mut self) {
        let numbers: Vec<u16> = self
            .channels
            .iter_mut()
            .map(|channel| channel.number)
            .collect();
        for number in numbers {
            self.end_channel(number);
        }
        self.link.seat.close_channels(self.channels.len() as u64);
        self.channels = Channels::default();
        self.confirming.clear();
        self.waiting = None;
        self.link.delete_exclusive();
    }
}

/// A frame and all that follow it.
fn from_frame(frame: &Frame<'_>, frames: &Bytes) -> Bytes {
    let payload = offset_in(frames, frame.payload);
    let start = payload.and_then(|at| at.checked_sub(FRAME_HEADER));
    start.map_or_else(Bytes::new, |start| frames.slice(start..))
}

fn channel_method<'m>(method: &'m Method<'_>) -> Option<&'m channel::AMQPMethod> {
    match method {
        Method::Other(command) => match &command.method {
            AMQPClass::Channel(method) => Some(method),
            _ => None,
        },
        _ => None,
    }
}
