//! The records: what a batch in the log is made of.
//!
//! Owns the payload layouts; never touches a file and knows no AMQP: a message is opaque octets.
//!
//! | type | record | payload |
//! |---|---|---|
//! | 1 | Publish | flags u8 (0), stamped ms u64, number of queues varint, queue ids as deltas, message |
//! | 2 | Ack | queue id varint, positions as deltas, to the end |
//! | 3 | Move | queue id varint, position u64 (both consumed), then all of a Publish |
//! | 4 | Catalogue | op u8 (0 delete, 1 put), table u8, key length varint, key, value |
//! | 5 | Redelivered | as Ack |
//! | 6 | Clean shutdown | nothing |
//! | 7 | reserved | Relocate: for compaction, position u64 a message had first, then all of a Publish |
//!
//! A *delta* is the distance from the number before it (the first: from 0), zigzag-folded, as a
//! varint: at most 10 octets, one or two for neighbours. The *position* of a Publish or Move record
//! is the identity of its message in every queue named there.
//!
//! Rules of replay: a Publish puts its message into each queue once; an Ack takes away what is
//! there and passes over what is not (its publish may have been in a deleted segment); a Move is an
//! Ack and a Publish that happen both or not at all; Catalogue changes apply in order;
//! Redelivered says that a message has been delivered before, and this is true forever. Replaying
//! a stretch twice changes nothing.
//!
//! A type this broker does not know is refused, not skipped: it may well take messages away.

use crate::base::{LogPos, QueueId};

use super::format::{Cursor, put_delta, put_varint, take_delta};

pub(crate) const PUBLISH: u8 = 1;
pub(crate) const ACK: u8 = 2;
pub(crate) const MOVE: u8 = 3;
pub(crate) const CATALOGUE: u8 = 4;
pub(crate) const REDELIVERED: u8 = 5;
pub(crate) const CLEAN_SHUTDOWN: u8 = 6;

const CATALOGUE_DELETE: u8 = 0;
const CATALOGUE_PUT: u8 = 1;

/// A record as it lies in a buffer.
#[derive(Debug, Clone)]
pub(crate) enum Record<'a> {
    Publish(Publish<'a>),
    Ack {
        queue: QueueId,
        positions: Deltas<'a>,
    },
    Move {
        queue: QueueId,
        position: LogPos,
        publish: Publish<'a>,
    },
    Catalogue {
        table: u8,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    },
    Redelivered {
        queue: QueueId,
        positions: Deltas<'a>,
    },
    CleanShutdown,
}

/// A message and the queues it went to.
#[derive(Debug, Clone)]
pub(crate) struct Publish<'a> {
    pub(crate) stamped_ms: u64,
    pub(crate) queues: Deltas<'a>,
    pub(crate) message: &'a [u8],
}

impl Publish<'_> {
    pub(crate) fn queue_ids(&self) -> impl Iterator<Item = QueueId> {
        self.queues.iter().map(QueueId)
    }
}

/// A list of numbers that was found whole when it was decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deltas<'a>(&'a [u8]);

impl<'a> Deltas<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        let mut cursor = Cursor(self.0);
        let mut previous = 0;
        std::iter::from_fn(move || {
            previous = take_delta(&mut cursor, previous)?;
            Some(previous)
        })
    }

    pub(crate) fn positions(&self) -> impl Iterator<Item = LogPos> + use<'a> {
        self.iter().map(LogPos)
    }

    /// The next `count` numbers.
    fn take(cursor: &mut Cursor<'a>, count: u64) -> Option<Deltas<'a>> {
        let start = cursor.0;
        for _ in 0..count {
            cursor.varint()?;
        }
        start.get(..start.len() - cursor.0.len()).map(Deltas)
    }

    /// All numbers to the end.
    fn rest(cursor: &mut Cursor<'a>) -> Option<Deltas<'a>> {
        let start = cursor.0;
        while !cursor.0.is_empty() {
            cursor.varint()?;
        }
        Some(Deltas(start))
    }
}

/// Why a record whose checksum is right cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RecordFlaw {
    #[error("the record is of type {0}, which this version does not know")]
    UnknownType(u8),
    #[error("the record of type {0} is malformed")]
    Malformed(u8),
}

/// Decodes a record's payload.
pub(crate) fn decode(kind: u8, payload: &[u8]) -> Result<Record<'_>, RecordFlaw> {
    let mut cursor = Cursor(payload);
    let record = match kind {
        PUBLISH => publish(&mut cursor).map(Record::Publish),
        ACK => listed(&mut cursor).map(|(queue, positions)| Record::Ack { queue, positions }),
        MOVE => moved(&mut cursor),
        CATALOGUE => catalogue(&mut cursor),
        REDELIVERED => {
            listed(&mut cursor).map(|(queue, positions)| Record::Redelivered { queue, positions })
        }
        CLEAN_SHUTDOWN => payload.is_empty().then_some(Record::CleanShutdown),
        other => return Err(RecordFlaw::UnknownType(other)),
    };
    record.ok_or(RecordFlaw::Malformed(kind))
}

fn publish<'a>(cursor: &mut Cursor<'a>) -> Option<Publish<'a>> {
    let flags = cursor.u8()?;
    let stamped_ms = cursor.u64()?;
    let count = cursor.varint()?;
    let queues = Deltas::take(cursor, count)?;
    (flags == 0).then_some(Publish {
        stamped_ms,
        queues,
        message: cursor.0,
    })
}

fn listed<'a>(cursor: &mut Cursor<'a>) -> Option<(QueueId, Deltas<'a>)> {
    Some((QueueId(cursor.varint()?), Deltas::rest(cursor)?))
}

fn moved<'a>(cursor: &mut Cursor<'a>) -> Option<Record<'a>> {
    let queue = QueueId(cursor.varint()?);
    let position = LogPos(cursor.u64()?);
    Some(Record::Move {
        queue,
        position,
        publish: publish(cursor)?,
    })
}

fn catalogue<'a>(cursor: &mut Cursor<'a>) -> Option<Record<'a>> {
    let op = cursor.u8()?;
    let table = cursor.u8()?;
    let key_bytes = usize::try_from(cursor.varint()?).ok()?;
    let key = cursor.take(key_bytes)?;
    let value = match op {
        CATALOGUE_PUT => Some(cursor.0),
        CATALOGUE_DELETE if cursor.0.is_empty() => None,
        _ => return None,
    };
    Some(Record::Catalogue { table, key, value })
}

pub(crate) fn put_publish(
    out: &mut Vec<u8>,
    stamped_ms: u64,
    queues: &[QueueId],
    message: &[&[u8]],
) {
    out.push(0);
    out.extend_from_slice(&stamped_ms.to_le_bytes());
    put_varint(out, queues.len() as u64);
    let mut previous = 0;
    for queue in queues {
        put_delta(out, previous, queue.0);
        previous = queue.0;
    }
    for part in message {
        out.extend_from_slice(part);
    }
}

/// Returns how many positions there were.
pub(crate) fn put_listed(
    out: &mut Vec<u8>,
    queue: QueueId,
    positions: impl IntoIterator<Item = LogPos>,
) -> usize {
    put_varint(out, queue.0);
    let (mut previous, mut count) = (0, 0);
    for position in positions {
        put_delta(out, previous, position.0);
        previous = position.0;
        count += 1;
    }
    count
}

pub(crate) fn put_moved(out: &mut Vec<u8>, queue: QueueId, position: LogPos) {
    put_varint(out, queue.0);
    out.extend_from_slice(&position.0.to_le_bytes());
}

pub(crate) fn put_catalogue(out: &mut Vec<u8>, table: u8, key: &[u8], value: Option<&[u8]>) {
    out.push(if value.is_some() {
        CATALOGUE_PUT
    } else {
        CATALOGUE_DELETE
    });
    out.push(table);
    put_varint(out, key.len() as u64);
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
}
