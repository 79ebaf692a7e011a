//! A message with its place in a queue: whole, or what is kept of it while its octets are on disk only.
//!
//! Owns what is known of one message. Never where it stands: that is the lanes'.

use crate::base::LogPos;
use crate::base::index::IndexEntry;
use crate::message::Message;

/// When a message that does not expire would.
pub(super) const NEVER_MS: u64 = u64::MAX;

/// A place in a queue: lane and number. Spots are ordered as messages leave: the highest priority
/// first, then first come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot(u64);

/// Numbers stay below this: a queue would need a thousand years to reach it.
const SEQ_BITS: u32 = 56;

impl Spot {
    pub(super) fn new(level: u8, seq: u64) -> Self {
        Spot(u64::from(u8::MAX - level) << SEQ_BITS | seq)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Any number is a place.
    pub(super) fn of_bits(bits: u64) -> Self {
        Spot(bits)
    }

    /// The place right behind.
    pub(super) fn next(self) -> Self {
        Spot(self.0.saturating_add(1))
    }

    /// The lane.
    pub(super) fn level(self) -> u8 {
        u8::MAX - (self.0 >> SEQ_BITS) as u8
    }

    /// The number, assigned at publish and kept through requeue (A4.12).
    pub(super) fn seq(self) -> u64 {
        self.0 & ((1 << SEQ_BITS) - 1)
    }
}

/// A message with its place in a queue.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its place.
    pub(super) spot: Spot,
    /// Its record in the log or in the spill, or [`LogPos::NONE`] if it is only in memory.
    pub(super) pos: LogPos,
    /// The message itself; absent while its octets are on disk only.
    pub(super) message: Option<Message>,
    /// When it was accepted, in ms since 1970.
    pub(super) stamped_ms: u64,
    /// When the time to live that its publisher gave it ends, in ms since 1970.
    pub(super) own_expiry_ms: u64,
    /// Octets of its body.
    pub(super) body_bytes: u32,
    /// Deliveries that failed (A6.14).
    pub(super) failed_deliveries: u32,
    /// Whether it was delivered before.
    pub(super) redelivered: bool,
}

impl Entry {
    pub(super) fn new(
        spot: Spot,
        pos: LogPos,
        message: Message,
        stamped_ms: u64,
        own_ttl_ms: Option<u64>,
    ) -> Self {
        let expiry = |ttl_ms| stamped_ms.saturating_add(ttl_ms);
        Entry {
            spot,
            pos,
            own_expiry_ms: own_ttl_ms.map_or(NEVER_MS, expiry),
            // A body's length is a u32 in the log, too.
            body_bytes: message.body_len() as u32,
            message: Some(message),
            stamped_ms,
            failed_deliveries: 0,
            redelivered: false,
        }
    }

    /// What an index entry tells of a message that stands at `seq`.
    pub(super) fn on_disk(seq: u64, index: &IndexEntry) -> Self {
        let expiry = |ttl_ms| index.stamped_ms.saturating_add(ttl_ms);
        Entry {
            spot: Spot::new(index.priority, seq),
            pos: index.pos,
            message: None,
            stamped_ms: index.stamped_ms,
            own_expiry_ms: index.ttl_ms.map_or(NEVER_MS, expiry),
            body_bytes: index.body_bytes,
            failed_deliveries: index.failed_deliveries,
            redelivered: index.redelivered,
        }
    }

    /// A message of which only the end of its time is known: it was in a page that nobody has read.
    pub(super) fn expired_unread(spot: Spot, pos: LogPos, body_bytes: u32, at_ms: u64) -> Self {
        Entry {
            spot,
            pos,
            message: None,
            stamped_ms: at_ms,
            own_expiry_ms: at_ms,
            body_bytes,
            failed_deliveries: 0,
            redelivered: false,
        }
    }

    pub(super) fn index(&self) -> IndexEntry {
        IndexEntry {
            pos: self.pos,
            stamped_ms: self.stamped_ms,
            ttl_ms: match self.own_expiry_ms {
                NEVER_MS => None,
                at_ms => Some(at_ms.saturating_sub(self.stamped_ms)),
            },
            body_bytes: self.body_bytes,
            failed_deliveries: self.failed_deliveries,
            priority: self.spot.level(),
            redelivered: self.redelivered,
        }
    }

    /// When it expires in a queue whose own time to live is `ttl_ms`.
    pub(super) fn expiry_ms(&self, ttl_ms: Option<u64>) -> u64 {
        self.own_expiry_ms.min(self.queue_expiry_ms(ttl_ms))
    }

    /// When the queue's own time to live would have it expire.
    pub(super) fn queue_expiry_ms(&self, ttl_ms: Option<u64>) -> u64 {
        ttl_ms.map_or(NEVER_MS, |ttl_ms| self.stamped_ms.saturating_add(ttl_ms))
    }

    /// Octets it takes in memory beyond its place; nothing while it is on disk only.
    pub(super) fn octets(&self) -> usize {
        self.message.as_ref().map_or(0, octets)
    }
}

/// What a message in memory counts for in a window.
pub(super) fn octets(message: &Message) -> usize {
    message.size() + std::mem::size_of::<Entry>()
}
