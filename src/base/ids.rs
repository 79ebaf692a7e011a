//! Newtypes for the numbers that could be mixed up. All are 64-bit unless the protocol says
//! otherwise, and none is ever used again for another thing.

use serde::{Deserialize, Serialize};

/// A queue for as long as it exists. A queue deleted and declared again has another id.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct QueueId(pub u64);

/// A client connection since the broker started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// No connection: who declares or deletes is the HTTP API or the broker itself. The first
    /// connection is 1.
    pub const NONE: ConnectionId = ConnectionId(0);
}

/// A channel number within its connection, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u16);

/// A delivery tag within its channel, as on the wire; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryTag(pub u64);

/// Where a record starts in the commit log: segment number in the high 32 bits, octet offset in
/// the low 32. Positions grow in the order of writing, so comparing two says which came first, and
/// the position of a publish record is the durable identity of its message.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogPos(pub u64);

/// What tells a position in the spill, which holds transient messages, from one in the log: no segment of
/// the log has so high a number.
const SPILLED: u64 = 1 << 63;

impl LogPos {
    /// No record: what a message that is only in memory carries.
    pub const NONE: LogPos = LogPos(0);

    /// The position `offset` octets into segment `segment`.
    pub const fn new(segment: u32, offset: u32) -> Self {
        LogPos((segment as u64) << 32 | offset as u64)
    }

    /// The segment the record is in. The first segment is 1, so that no record is [`LogPos::NONE`].
    pub const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The octet offset of the record within its segment.
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }

    /// The position `offset` octets into a segment of the spill. Its [`Self::segment`] is another than that
    /// of any position in the log.
    pub const fn spilled(segment: u32, offset: u32) -> Self {
        LogPos(SPILLED | LogPos::new(segment, offset).0)
    }

    /// Whether there is a record at all.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }

    /// Whether the record is in the log, and there after a restart.
    pub const fn is_kept(self) -> bool {
        self.0 != 0 && self.0 & SPILLED == 0
    }

    /// Whether the record is in the spill, and gone with the broker.
    pub const fn is_spilled(self) -> bool {
        self.0 & SPILLED != 0
    }

    /// Whether a reader finds the record when the log is durable up to `durable`. The spill's can be read
    /// from the first moment on.
    pub const fn is_readable(self, durable: LogPos) -> bool {
        self.is_spilled() || self.0 < durable.0
    }
}

impl std::fmt::Display for LogPos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
