//! The checkpoint: the state of every queue in one small file, replaced at once.
//!
//! Owns the file's octets. `checkpoint.rs` takes and finishes one; `recovery.rs` starts from it.
//!
//! `log/checkpoint`: magic `WCKP`, version 2, flags, then numbers as varints and deltas (`format.rs`)
//! in the order in which [`encode`] writes them, then the crc32c of all octets before. It holds
//!
//! * `below`: every record before this position is in the states, and replay begins here;
//! * the segments that exist once it is durable, and how far each has catalogue records;
//! * for each queue that holds something its lanes: pages, and messages in no page.

use crate::base::index::{IndexEntry, LaneState, PAGE_LEN, PageState, QueueState, Removed};
use crate::base::{LogPos, QueueId};

use super::format::{Cursor, put_delta, put_varint, take_delta};

/// The file's name in the log's directory.
pub(crate) const FILE: &str = "checkpoint";

const MAGIC: &[u8; 4] = b"WCKP";
const VERSION: u8 = 2;
/// The broker was stopped in order, and this was the last thing it wrote.
const CLEAN: u8 = 1;

/// A page whose messages have times to live of their own.
const PAGE_TTL: u8 = 1;
/// A page all of which may have been delivered before.
const PAGE_REDELIVERED: u8 = 2;
/// A page with places that are gone.
const PAGE_REMOVED: u8 = 4;

/// A message with a time to live of its own.
const ENTRY_TTL: u8 = 1;
const ENTRY_REDELIVERED: u8 = 2;
const ENTRY_FAILED: u8 = 4;

/// What is known of a segment without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub(crate) segment: u32,
    /// Messages, counted once a queue, and pages that it ever held.
    pub(crate) total: u64,
    /// Its last catalogue record, or [`LogPos::NONE`].
    pub(crate) last_catalogue: LogPos,
    /// Where its last batch ends; 0 if it is still written.
    pub(crate) end: u32,
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) below: LogPos,
    pub(crate) clean: bool,
    pub(crate) segments: Vec<SegmentRow>,
    pub(crate) queues: Vec<QueueRow>,
}

/// A queue's state, and how far the log was when it was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct QueueRow {
    pub(crate) state: QueueState,
    /// All records before this one are in the state.
    pub(crate) from: LogPos,
    /// All records before this one that are appended while the queue is locked are in the state, and
    /// none behind it: pages and what is done to them.
    pub(crate) end: LogPos,
}

/// The octets of the file. Queues that hold nothing are left out.
pub(crate) fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.push(if checkpoint.clean { CLEAN } else { 0 });
    out.extend_from_slice(&checkpoint.below.0.to_le_bytes());
    put_varint(&mut out, checkpoint.segments.len() as u64);
    for row in &checkpoint.segments {
        put_varint(&mut out, row.segment.into());
        put_varint(&mut out, row.total);
        put_varint(&mut out, row.last_catalogue.0);
        put_varint(&mut out, row.end.into());
    }
    let queues = || checkpoint.queues.iter().filter(|row| !row.state.is_empty());
    put_varint(&mut out, queues().count() as u64);
    for QueueRow { state, from, end } in queues() {
        put_varint(&mut out, state.queue.0);
        put_delta(&mut out, checkpoint.below.0, from.0);
        put_delta(&mut out, from.0, end.0);
        put_varint(&mut out, state.lanes.len() as u64);
        state.lanes.iter().for_each(|lane| put_lane(&mut out, lane));
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads what [`encode`] wrote; what is wrong with it otherwise.
pub(crate) fn decode(octets: &[u8]) -> Result<Checkpoint, &'static str> {
    let (body, crc) = octets.split_last_chunk::<4>().ok_or("it is too short")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err("its checksum is wrong");
    }
    let mut cursor = Cursor(body);
    if cursor.take(MAGIC.len()) != Some(MAGIC) {
        return Err("it is not a checkpoint");
    }
    if cursor.u8() != Some(VERSION) {
        return Err("it is of a version unknown here");
    }
    let checkpoint = take_checkpoint(&mut cursor).filter(|_| cursor.0.is_empty());
    checkpoint.ok_or("it is malformed")
}

fn take_checkpoint(cursor: &mut Cursor<'_>) -> Option<Checkpoint> {
    let clean = cursor.u8()? == CLEAN;
    let below = LogPos(cursor.u64()?);
    let mut segments = Vec::new();
    for _ in 0..cursor.varint()? {
        segments.push(SegmentRow {
            segment: u32::try_from(cursor.varint()?).ok()?,
            total: cursor.varint()?,
            last_catalogue: LogPos(cursor.varint()?),
            end: u32::try_from(cursor.varint()?).ok()?,
        });
    }
    let mut queues = Vec::new();
    for _ in 0..cursor.varint()? {
        let queue = QueueId(cursor.varint()?);
        let from = LogPos(take_delta(cursor, below.0)?);
        let end = LogPos(take_delta(cursor, from.0)?);
        let mut lanes = Vec::new();
        for _ in 0..cursor.varint()? {
            lanes.push(take_lane(cursor)?);
        }
        let state = QueueState { queue, lanes };
        queues.push(QueueRow { state, from, end });
    }
    Some(Checkpoint {
        below,
        clean,
        segments,
        queues,
    })
}

fn put_lane(out: &mut Vec<u8>, lane: &LaneState) {
    out.push(lane.priority);
    put_varint(out, lane.next_seq);
    put_varint(out, lane.pages.len() as u64);
    let (mut pos, mut seq, mut stamped_ms) = (0, 0, 0);
    for page in &lane.pages {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(
            flag(page.has_ttl, PAGE_TTL)
                | flag(page.redelivered, PAGE_REDELIVERED)
                | flag(!page.removed.is_empty(), PAGE_REMOVED),
        );
        put_delta(out, pos, page.pos.0);
        put_delta(out, seq, page.first_seq);
        put_varint(out, page.len.into());
        if !page.removed.is_empty() {
            let words = page.removed.words().iter();
            words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        }
        put_varint(out, page.body_bytes);
        put_delta(out, stamped_ms, page.first_stamped_ms);
        put_delta(out, page.pos.0, page.span.0.0);
        put_delta(out, page.span.0.0, page.span.1.0);
        put_varint(out, page.segments.len() as u64);
        for (segment, live) in &page.segments {
            put_delta(out, page.pos.segment().into(), (*segment).into());
            put_varint(out, (*live).into());
        }
        (pos, seq, stamped_ms) = (page.pos.0, page.first_seq, page.first_stamped_ms);
    }
    put_varint(out, lane.loose.len() as u64);
    let (mut pos, mut seq, mut stamped_ms) = (0, 0, 0);
    for (number, entry) in &lane.loose {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(
            flag(entry.ttl_ms.is_some(), ENTRY_TTL)
                | flag(entry.redelivered, ENTRY_REDELIVERED)
                | flag(entry.failed_deliveries > 0, ENTRY_FAILED),
        );
        put_delta(out, seq, *number);
        put_delta(out, pos, entry.pos.0);
        put_delta(out, stamped_ms, entry.stamped_ms);
        put_varint(out, entry.body_bytes.into());
        if let Some(ttl_ms) = entry.ttl_ms {
            put_varint(out, ttl_ms);
        }
        if entry.failed_deliveries > 0 {
            put_varint(out, entry.failed_deliveries.into());
        }
        (pos, seq, stamped_ms) = (entry.pos.0, *number, entry.stamped_ms);
    }
}

fn take_lane(cursor: &mut Cursor<'_>) -> Option<LaneState> {
    let priority = cursor.u8()?;
    let next_seq = cursor.varint()?;
    let mut lane = LaneState {
        priority,
        next_seq,
        ..LaneState::default()
    };
    let (mut pos, mut seq, mut stamped_ms) = (0, 0, 0);
    for _ in 0..cursor.varint()? {
        let page = take_page(cursor, (pos, seq, stamped_ms))?;
        (pos, seq, stamped_ms) = (page.pos.0, page.first_seq, page.first_stamped_ms);
        lane.pages.push(page);
    }
    let (mut pos, mut seq, mut stamped_ms) = (0, 0, 0);
    for _ in 0..cursor.varint()? {
        let flags = cursor.u8()?;
        seq = take_delta(cursor, seq)?;
        pos = take_delta(cursor, pos)?;
        stamped_ms = take_delta(cursor, stamped_ms)?;
        let entry = IndexEntry {
            pos: LogPos(pos),
            stamped_ms,
            body_bytes: cursor.varint()?.try_into().ok()?,
            ttl_ms: match flags & ENTRY_TTL != 0 {
                true => Some(cursor.varint()?),
                false => None,
            },
            failed_deliveries: match flags & ENTRY_FAILED != 0 {
                true => cursor.varint()?.try_into().ok()?,
                false => 0,
            },
            priority,
            redelivered: flags & ENTRY_REDELIVERED != 0,
        };
        lane.loose.push((seq, entry));
    }
    Some(lane)
}

fn take_page(
    cursor: &mut Cursor<'_>,
    (pos, seq, stamped_ms): (u64, u64, u64),
) -> Option<PageState> {
    let flags = cursor.u8()?;
    let pos = take_delta(cursor, pos)?;
    let first_seq = take_delta(cursor, seq)?;
    let len = u32::try_from(cursor.varint()?).ok()?;
    if len as usize > PAGE_LEN {
        return None;
    }
    let mut removed = Removed::default();
    if flags & PAGE_REMOVED != 0 {
        let mut words = [0; PAGE_LEN / 64];
        for word in &mut words {
            *word = cursor.u64()?;
        }
        removed = Removed::from_words(words);
    }
    let body_bytes = cursor.varint()?;
    let first_stamped_ms = take_delta(cursor, stamped_ms)?;
    let smallest = take_delta(cursor, pos)?;
    let largest = take_delta(cursor, smallest)?;
    let mut page = PageState {
        pos: LogPos(pos),
        first_seq,
        len,
        removed,
        body_bytes,
        first_stamped_ms,
        has_ttl: flags & PAGE_TTL != 0,
        redelivered: flags & PAGE_REDELIVERED != 0,
        span: (LogPos(smallest), LogPos(largest)),
        segments: Default::default(),
    };
    for _ in 0..cursor.varint()? {
        let segment = take_delta(cursor, page.pos.segment().into())?;
        let live = cursor.varint()?;
        page.segments
            .push((segment.try_into().ok()?, live.try_into().ok()?));
    }
    Some(page)
}
