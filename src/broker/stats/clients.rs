//! Connections and channels as listings show them.
//!
//! Owns their descriptions and counts. Each has one writer, the connection's task; closed channels
//! leave their counts to the vhost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::Ended;
use crate::base::counter::Counter;
use crate::base::history::{History, Tier};
use crate::base::{ConnectionId, Name, clock};
use crate::codec::RawTable;
use crate::counts;

/// What is known of a connection once it is open.
#[derive(Debug, Clone)]
pub struct ConnectionDetails {
    /// Who logged in.
    pub user: Name,
    /// Where to.
    pub vhost: Name,
    /// The SASL mechanism.
    pub mechanism: String,
    /// What the client says of itself.
    pub client_properties: RawTable,
    /// Most channels open at a time.
    pub channel_max: u16,
    /// Largest frame, in octets.
    pub frame_max: u32,
    /// Heartbeat, in seconds; 0 is none.
    pub heartbeat_s: u16,
    /// When it was opened, in ms since 1970.
    pub connected_at_ms: u64,
}

counts! {
    /// Octets and system calls of a connection.
    pub struct Traffic {
        /// Octets read.
        received_bytes,
        /// Reads that brought something.
        reads,
        /// Octets written.
        sent_bytes,
        /// Writes.
        writes,
    }
}

counts! {
    /// Messages by what a channel did with them.
    pub struct ChannelCounts {
        /// Published.
        published,
        /// Of these: with confirms on.
        published_confirm,
        /// Confirmed.
        confirmed,
        /// Returned as they reached no queue.
        returned,
        /// Dropped as they reached no queue.
        dropped,
        /// Delivered to consumers that ack.
        delivered,
        /// Delivered to consumers that do not.
        delivered_no_ack,
        /// Got, to be acked.
        got,
        /// Got without ack.
        got_no_ack,
        /// Gets that found no message.
        got_empty,
        /// Acked.
        acked,
        /// Delivered or got not for the first time.
        redelivered,
    }
}

/// How long it shows that a connection was held back, in ms: it comes and goes within less.
const FLOW_SHOWN_MS: u64 = 5000;

/// One connection.
pub struct ConnectionStats {
    id: ConnectionId,
    peer: SocketAddr,
    local: SocketAddr,
    details: OnceLock<ConnectionDetails>,
    ended: OnceLock<Arc<Ended>>,
    received_bytes: Counter,
    reads: Counter,
    sent_bytes: Counter,
    writes: Counter,
    /// Octets that wait to be written.
    pub send_pending_bytes: Counter,
    /// It has published under an alarm or beyond a quota, and is not read until that is over (A1.15).
    pub blocked: AtomicBool,
    /// When it was last held back for want of room in the log, in ms since 1970.
    held_at_ms: AtomicU64,
    channels: Mutex<BTreeMap<u16, Arc<ChannelStats>>>,
    history: Mutex<Option<History<Traffic>>>,
}

impl ConnectionStats {
    pub(in crate::broker) fn new(id: ConnectionId, peer: SocketAddr, local: SocketAddr) -> Self {
        ConnectionStats {
            id,
            peer,
            local,
            details: OnceLock::new(),
            ended: OnceLock::new(),
            received_bytes: Counter::default(),
            reads: Counter::default(),
            sent_bytes: Counter::default(),
            writes: Counter::default(),
            send_pending_bytes: Counter::default(),
            blocked: AtomicBool::new(false),
            held_at_ms: AtomicU64::new(0),
            channels: Mutex::default(),
            history: Mutex::default(),
        }
    }

    pub(in crate::broker) fn open(&self, details: ConnectionDetails, ended: Arc<Ended>) {
        // A connection opens once.
        let _ = self.details.set(details);
        let _ = self.ended.set(ended);
    }

    /// It is held back, though neither by an alarm nor by a quota (A1.16).
    pub fn held_back(&self) {
        self.held_at_ms.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// What keeps it from being read, as RabbitMQ words it. `alarm`: one is raised.
    pub fn state(&self, alarm: bool) -> &'static str {
        let held_at_ms = self.held_at_ms.load(Ordering::Relaxed);
        match (self.blocked.load(Ordering::Relaxed), alarm) {
            (true, _) => "blocked",
            // It will be stopped once it publishes.
            (false, true) => "blocking",
            (false, false) if clock::now_ms() < held_at_ms + FLOW_SHOWN_MS => "flow",
            (false, false) => "running",
        }
    }

    /// Its number.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// RabbitMQ's name of it, by which it is closed: `127.0.0.1:1234 -> 127.0.0.1:5672`.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address it was accepted on.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What is known of it; nothing before it is open.
    pub fn details(&self) -> Option<&ConnectionDetails> {
        self.details.get()
    }

    /// A read brought `bytes`.
    pub fn received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
        self.reads.add(1);
    }

    /// A write took `bytes`.
    pub fn sent(&self, bytes: usize) {
        self.sent_bytes.add(bytes as u64);
        self.writes.add(1);
    }

    /// Octets and system calls so far.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received_bytes: self.received_bytes.get(),
            reads: self.reads.get(),
            sent_bytes: self.sent_bytes.get(),
            writes: self.writes.get(),
        }
    }

    /// The course of the traffic, once there is one.
    pub fn history(&self) -> Option<History<Traffic>> {
        self.history.lock().clone()
    }

    /// Enters a channel until the guard is dropped.
    pub fn open_channel(self: &Arc<Self>, number: u16) -> OpenChannel {
        let channel = Arc::new(ChannelStats {
            number,
            ..ChannelStats::default()
        });
        self.channels.lock().insert(number, Arc::clone(&channel));
        if let Some(ended) = self.ended.get() {
            ended.broker.channels_opened.add(1);
            self.tell_channel("channel.created", number, ended);
        }
        OpenChannel {
            channel,
            connection: Arc::downgrade(self),
        }
    }

    /// Its open channels, by number.
    pub fn channels(&self) -> Vec<Arc<ChannelStats>> {
        self.channels.lock().values().cloned().collect()
    }

    /// How many channels are open.
    pub fn channels_len(&self) -> usize {
        self.channels.lock().len()
    }

    pub(super) fn forget_history(&self) {
        *self.history.lock() = None;
        for channel in self.channels() {
            *channel.history.lock() = None;
        }
    }

    pub(super) fn sample(&self, now_ms: u64, tiers: &[Tier]) {
        sample(&self.history, now_ms, self.traffic(), tiers);
        for channel in self.channels() {
            let counts = channel.counts();
            sample(&channel.history, now_ms, counts, tiers);
            let mut seen = channel.seen.lock();
            if seen.0 != counts || seen.1 == 0 {
                *seen = (counts, now_ms);
            }
        }
    }

    fn tell_channel(&self, event: &'static str, number: u16, ended: &Ended) {
        ended.events.tell(event, |headers| {
            let connection = self.name();
            headers
                .text("name", &format!("{connection} ({number})"))
                .text("connection", &connection)
                .number("number", number);
            if let Some(details) = self.details() {
                headers
                    .text("user", &details.user)
                    .text("vhost", &details.vhost)
                    .by(&details.user);
            }
        });
    }

    pub(in crate::broker) fn close(&self) {
        if let Some(ended) = self.ended.get() {
            ended.broker.connections_closed.add(1);
            ended.events.tell("connection.closed", |headers| {
                headers.ends(self);
                if let Some(details) = self.details() {
                    headers
                        .text("user", &details.user)
                        .text("vhost", &details.vhost)
                        .table("client_properties", &details.client_properties);
                }
            });
            ended.counts.lock().traffic += self.traffic();
        }
    }
}

fn sample<T: Copy>(at: &Mutex<Option<History<T>>>, now_ms: u64, value: T, tiers: &[Tier]) {
    at.lock()
        .get_or_insert_with(|| History::new(tiers))
        .push(now_ms, value);
}

/// One channel. The counts are added to by the connection's task alone.
#[derive(Default)]
pub struct ChannelStats {
    number: u16,
    /// See [`ChannelCounts`].
    pub published: Counter,
    /// See [`ChannelCounts`].
    pub published_confirm: Counter,
    /// See [`ChannelCounts`].
    pub confirmed: Counter,
    /// See [`ChannelCounts`].
    pub returned: Counter,
    /// See [`ChannelCounts`].
    pub dropped: Counter,
    /// See [`ChannelCounts`].
    pub delivered: Counter,
    /// See [`ChannelCounts`].
    pub delivered_no_ack: Counter,
    /// See [`ChannelCounts`].
    pub got: Counter,
    /// See [`ChannelCounts`].
    pub got_no_ack: Counter,
    /// See [`ChannelCounts`].
    pub got_empty: Counter,
    /// See [`ChannelCounts`].
    pub acked: Counter,
    /// See [`ChannelCounts`].
    pub redelivered: Counter,
    /// Deliveries that wait for their ack.
    pub unacked: Counter,
    /// Messages published and not confirmed.
    pub unconfirmed: Counter,
    /// Messages published in a transaction that is open.
    pub uncommitted: Counter,
    /// Acks in a transaction that is open.
    pub acks_uncommitted: Counter,
    /// Consumers.
    pub consumers: Counter,
    /// basic.qos for consumers that come; 0 is no limit.
    pub prefetch: Counter,
    /// basic.qos of the whole channel; 0 is no limit.
    pub prefetch_global: Counter,
    /// confirm.select came.
    pub confirms: AtomicBool,
    /// tx.select came.
    pub transactional: AtomicBool,
    history: Mutex<Option<History<ChannelCounts>>>,
    /// What the last sample showed, and since when.
    seen: Mutex<(ChannelCounts, u64)>,
}

impl ChannelStats {
    /// Its number in its connection.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The counts so far.
    pub fn counts(&self) -> ChannelCounts {
        ChannelCounts {
            published: self.published.get(),
            published_confirm: self.published_confirm.get(),
            confirmed: self.confirmed.get(),
            returned: self.returned.get(),
            dropped: self.dropped.get(),
            delivered: self.delivered.get(),
            delivered_no_ack: self.delivered_no_ack.get(),
            got: self.got.get(),
            got_no_ack: self.got_no_ack.get(),
            got_empty: self.got_empty.get(),
            acked: self.acked.get(),
            redelivered: self.redelivered.get(),
        }
    }

    /// Whether confirm.select came.
    pub fn is_confirming(&self) -> bool {
        self.confirms.load(Ordering::Relaxed)
    }

    /// Whether tx.select came.
    pub fn is_transactional(&self) -> bool {
        self.transactional.load(Ordering::Relaxed)
    }

    /// The course of the counts, once there is one.
    pub fn history(&self) -> Option<History<ChannelCounts>> {
        self.history.lock().clone()
    }

    /// Since when nothing was done on it, in ms since 1970 and as exact as the sampler; now if it is
    /// in use or new.
    pub fn idle_since_ms(&self) -> u64 {
        let (counts, since_ms) = *self.seen.lock();
        match since_ms != 0 && counts == self.counts() {
            true => since_ms,
            false => clock::now_ms(),
        }
    }
}

/// A channel that is open, as long as this is kept.
pub struct OpenChannel {
    channel: Arc<ChannelStats>,
    connection: Weak<ConnectionStats>,
}

impl std::ops::Deref for OpenChannel {
    type Target = ChannelStats;
    fn deref(&self) -> &ChannelStats {
        &self.channel
    }
}

impl Drop for OpenChannel {
    fn drop(&mut self) {
        let Some(connection) = self.connection.upgrade() else {
            return;
        };
        let mut channels = connection.channels.lock();
        // A channel of the same number may be open again before the old one is dropped.
        if channels
            .get(&self.channel.number)
            .is_some_and(|current| Arc::ptr_eq(current, &self.channel))
        {
            channels.remove(&self.channel.number);
        }
        drop(channels);
        if let Some(ended) = connection.ended.get() {
            ended.broker.channels_closed.add(1);
            connection.tell_channel("channel.closed", self.channel.number, ended);
            ended.counts.lock().channels += self.channel.counts();
        }
    }
}
