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
//! | 5 | Redelivered | as Ack; no longer written, as a checkpoint says it |
//! | 6 | Clean shutdown | nothing; no longer written, as a checkpoint says it |
//! | 7 | Rename | queue id varint, old and new position in turn, as deltas, to the end |
//! | 8 | Page | queue id varint, lane u8, position u64 of the page it replaces or 0, number of entries varint, columns u8, columns |
//! | 9 | AckPages | queue id varint, positions of Page records as deltas, to the end |
//!
//! The columns of a page, one after the other, each with a number for every entry: position, stamped
//! ms and octets of the body as deltas; if there is any (bit 0 of `columns`), time to live + 1 or 0 as
//! varints; if there are any (bit 1), failed deliveries times two, plus 1 if redelivered, as varints.
//!
//! A *delta* is the distance from the number before it (the first: from 0), zigzag-folded, as a
//! varint: at most 10 octets, one or two for neighbours. The *position* of a Publish or Move record
//! is the identity of its message in every queue named there. A Publish that names no queue is a copy
//! made by compaction: nobody holds it until a Rename or a Page says so.
//!
//! Rules of replay: a Publish puts its message into each queue once; an Ack takes away what is
//! there and passes over what is not (its publish may have been in a deleted segment); a Move is an
//! Ack and a Publish that happen both or not at all; Catalogue changes apply in order;
//! Redelivered says that a message has been delivered before, and this is true forever. A Page turns
//! the messages it lists, as far as they are in the queue and in no page, into a page that stands
//! where the last of them stood; with `replaces`, it takes the place of that page, whose gone places
//! stay gone. AckPages takes away all that is left in these pages. A Rename says where the octets of
//! a message are now. Replaying a stretch twice changes nothing.
//!
//! A type this broker does not know is refused, not skipped: it may well take messages away.

use crate::base::index::{IndexEntry, PAGE_LEN};
use crate::base::{LogPos, QueueId};

use super::format::{Cursor, put_delta, put_varint, take_delta};

pub(crate) const PUBLISH: u8 = 1;
pub(crate) const ACK: u8 = 2;
pub(crate) const MOVE: u8 = 3;
pub(crate) const CATALOGUE: u8 = 4;
const REDELIVERED: u8 = 5;
const CLEAN_SHUTDOWN: u8 = 6;
pub(crate) const RENAME: u8 = 7;
pub(crate) const PAGE: u8 = 8;
pub(crate) const ACK_PAGES: u8 = 9;

/// The page has times to live.
const COLUMN_TTL: u8 = 1;
/// The page has entries that were delivered before.
const COLUMN_DELIVERIES: u8 = 2;

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
    Rename {
        queue: QueueId,
        positions: Deltas<'a>,
    },
    Page(Page),
    AckPages {
        queue: QueueId,
        pages: Deltas<'a>,
    },
}

/// A page of a queue's lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) queue: QueueId,
    pub(crate) lane: u8,
    /// The page it takes the place of, or [`LogPos::NONE`].
    pub(crate) replaces: LogPos,
    pub(crate) entries: Vec<IndexEntry>,
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
        RENAME => listed(&mut cursor).and_then(renamed),
        PAGE => page(&mut cursor).map(Record::Page),
        ACK_PAGES => listed(&mut cursor).map(|(queue, pages)| Record::AckPages { queue, pages }),
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

fn renamed<'a>((queue, positions): (QueueId, Deltas<'a>)) -> Option<Record<'a>> {
    let in_pairs = positions.iter().count() % 2 == 0;
    in_pairs.then_some(Record::Rename { queue, positions })
}

fn page(cursor: &mut Cursor<'_>) -> Option<Page> {
    let queue = QueueId(cursor.varint()?);
    let lane = cursor.u8()?;
    let replaces = LogPos(cursor.u64()?);
    let len = usize::try_from(cursor.varint()?).ok()?;
    let columns = cursor.u8()?;
    if !(1..=PAGE_LEN).contains(&len) || columns & !(COLUMN_TTL | COLUMN_DELIVERIES) != 0 {
        return None;
    }
    let mut entries = Vec::with_capacity(len);
    let mut pos = 0;
    for _ in 0..len {
        pos = take_delta(cursor, pos)?;
        entries.push(IndexEntry {
            pos: LogPos(pos),
            stamped_ms: 0,
            ttl_ms: None,
            body_bytes: 0,
            failed_deliveries: 0,
            priority: lane,
            redelivered: false,
        });
    }
    let mut stamped_ms = 0;
    for entry in &mut entries {
        stamped_ms = take_delta(cursor, stamped_ms)?;
        entry.stamped_ms = stamped_ms;
    }
    let mut body_bytes = 0;
    for entry in &mut entries {
        body_bytes = take_delta(cursor, body_bytes)?;
        entry.body_bytes = body_bytes.try_into().ok()?;
    }
    if columns & COLUMN_TTL != 0 {
        for entry in &mut entries {
            entry.ttl_ms = cursor.varint()?.checked_sub(1);
        }
    }
    if columns & COLUMN_DELIVERIES != 0 {
        for entry in &mut entries {
            let deliveries = cursor.varint()?;
            entry.redelivered = deliveries & 1 != 0;
            entry.failed_deliveries = (deliveries >> 1).try_into().ok()?;
        }
    }
    cursor.0.is_empty().then_some(Page {
        queue,
        lane,
        replaces,
        entries,
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

/// A time to live of `u64::MAX` ms, which nobody lives to see, is written as one ms less.
pub(crate) fn put_page(
    out: &mut Vec<u8>,
    queue: QueueId,
    lane: u8,
    replaces: LogPos,
    entries: &[IndexEntry],
) {
    put_varint(out, queue.0);
    out.push(lane);
    out.extend_from_slice(&replaces.0.to_le_bytes());
    put_varint(out, entries.len() as u64);
    let deliveries =
        |entry: &IndexEntry| u64::from(entry.failed_deliveries) << 1 | u64::from(entry.redelivered);
    let any_ttl = entries.iter().any(|entry| entry.ttl_ms.is_some());
    let any_deliveries = entries.iter().any(|entry| deliveries(entry) > 0);
    let column = |there: bool, bit: u8| if there { bit } else { 0 };
    out.push(column(any_ttl, COLUMN_TTL) | column(any_deliveries, COLUMN_DELIVERIES));
    put_deltas(out, entries.iter().map(|entry| entry.pos.0));
    put_deltas(out, entries.iter().map(|entry| entry.stamped_ms));
    put_deltas(out, entries.iter().map(|entry| u64::from(entry.body_bytes)));
    if any_ttl {
        for entry in entries {
            put_varint(
                out,
                entry.ttl_ms.map_or(0, |ttl_ms| ttl_ms.saturating_add(1)),
            );
        }
    }
    if any_deliveries {
        for entry in entries {
            put_varint(out, deliveries(entry));
        }
    }
}

fn put_deltas(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    let mut previous = 0;
    for number in numbers {
        put_delta(out, previous, number);
        previous = number;
    }
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
