//! Reading the log at the start: what stands, what was torn, what is damaged.
//!
//! Owns the one pass over the log, from the checkpoint on. What it says of queues goes to `replay.rs`;
//! no message is kept. Nothing is changed on disk here: when all of this stretch has been found sound, a
//! torn tail of the last segment is cut, and that is all.
//!
//! Below the checkpoint, segments are only looked at for catalogue records that sled does not have
//! yet. Damage there is found by whoever reads a message.
//!
//! A repair passes over what a start refuses, notes it, and takes what it can of a damaged batch.
//!
//! The log is then continued in a new segment. The tail of the old one is never written again, so a
//! position that was handed out before a crash is never given to another record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::{LogPos, QueueId};

use super::catalogue::{Change, Table};
use super::checkpoint_file::{self, Checkpoint, SegmentRow};
use super::damage::{Damage, Notes, Strictness};
use super::error::StoreError;
use super::format::{
    BATCH_HEADER_BYTES, FILE_HEADER_BYTES, FileHeader, HeaderFlaw, file_name, segment_of,
};
use super::io::Io;
use super::reader::Reader;
use super::record::{self, Publish, Record};
use super::replay::{Describe, Replay};
use super::scan::{Piece, SegmentReader, records};
use super::unranked::Unranked;

/// What was found.
pub(crate) struct Found {
    pub(crate) queues: Vec<Unranked>,
    /// All segments that stay, in order.
    pub(crate) segments: Vec<SegmentRow>,
    /// Segments that the checkpoint had no use for, left over by a crash.
    pub(crate) leftover: Vec<u32>,
    /// Catalogue records behind the applied position.
    pub(crate) changes: Vec<Change>,
    /// The broker was stopped in order.
    pub(crate) clean: bool,
    pub(crate) highest_queue_id: QueueId,
    /// What was passed over.
    pub(crate) damage: Vec<Damage>,
    /// No position up to the end of this segment may be given again.
    pub(crate) last_segment: u32,
}

/// Reads the checkpoint and the log behind it. `applied` is the last catalogue record that need not be
/// replayed. `older`: the directory may be of the time before checkpoints, when the oldest segments
/// were deleted without one.
pub(crate) fn scan(
    io: &Arc<dyn Io>,
    applied: LogPos,
    describe: Describe,
    older: bool,
    strictness: Strictness,
) -> Result<Found, StoreError> {
    let mut notes = Notes::new(strictness);
    let mut checkpoint = None;
    match read_checkpoint(&**io) {
        Ok(found) => checkpoint = found,
        Err(error) => notes.meet(error)?,
    }
    let ids = segment_ids(&**io)?;
    let first = check_ids(&ids, checkpoint.as_ref(), applied, older, &mut notes)?;
    let is_there = |segment: u32| ids.binary_search(&segment).is_ok();
    let Checkpoint {
        below,
        clean,
        segments: mut rows,
        queues,
    } = checkpoint.unwrap_or_default();
    // All are, unless damage is passed over.
    rows.retain(|row| is_there(row.segment));
    let highest = queues.iter().map(|row| row.state.queue).max();
    let mut replay = Replay::new(queues, Reader::new(io.clone(), Arc::default()));
    if notes.pass_over() {
        replay.over_gaps(describe);
    }
    let mut scan = Scan {
        replay,
        describe,
        below,
        applied,
        changes: Vec::new(),
        clean: clean || ids.is_empty(),
        highest_queue_id: highest.unwrap_or_default(),
        row: SegmentRow::default(),
        notes,
    };
    for row in rows
        .iter()
        .filter(|row| row.segment < first && row.last_catalogue > applied)
    {
        scan.segment(&**io, row.segment, FILE_HEADER_BYTES, Some(row.end))?;
    }
    let mut segments: Vec<_> = rows
        .iter()
        .filter(|row| row.segment < first)
        .copied()
        .collect();
    let leftover = |id: &&u32| **id < first && rows.iter().all(|row| row.segment != **id);
    let leftover = ids.iter().filter(leftover).copied().collect();
    let to_read: Vec<u32> = ids.iter().copied().filter(|id| *id >= first).collect();
    let mut progress = Progress::new("reading the log", to_read.len());
    for (done, segment) in to_read.iter().enumerate() {
        let known = rows.iter().find(|row| row.segment == *segment);
        let start = match known {
            Some(row) if below.segment() == *segment && row.last_catalogue <= applied => {
                below.offset()
            }
            _ => FILE_HEADER_BYTES,
        };
        // Where a segment has to end, the next one says. The last one's tail may be torn.
        let end = match to_read.get(done + 1) {
            Some(next) => scan.end_before(&**io, *segment, *next)?,
            None => None,
        };
        let mut row = scan.segment(&**io, *segment, start, end)?;
        if let Some(known) = known {
            row.total = row.total.max(known.total);
            row.last_catalogue = row.last_catalogue.max(known.last_catalogue);
        }
        segments.push(row);
        progress.step(done + 1);
    }
    let last = [below.segment(), applied.segment()];
    Ok(Found {
        queues: scan.replay.finish(scan.clean),
        segments,
        leftover,
        changes: scan.changes,
        clean: scan.clean,
        highest_queue_id: scan.highest_queue_id,
        damage: scan.notes.damage,
        last_segment: last
            .into_iter()
            .chain(ids.last().copied())
            .max()
            .unwrap_or(0),
    })
}

fn read_checkpoint(io: &dyn Io) -> Result<Option<Checkpoint>, StoreError> {
    let octets = match io.read(checkpoint_file::FILE) {
        Ok(octets) => octets,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", checkpoint_file::FILE, error)),
    };
    let found = checkpoint_file::decode(&octets);
    found.map(Some).map_err(|reason| StoreError::Corrupt {
        file: String::from(checkpoint_file::FILE),
        offset: 0,
        reason: reason.into(),
    })
}

fn segment_ids(io: &dyn Io) -> Result<Vec<u32>, StoreError> {
    let names = io
        .list()
        .map_err(|error| StoreError::io("list", "log", error))?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| segment_of(name)).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Whether all segments are there that must be: those the checkpoint names, and from its position on
/// each one. The first that is replayed.
fn check_ids(
    ids: &[u32],
    checkpoint: Option<&Checkpoint>,
    applied: LogPos,
    older: bool,
    notes: &mut Notes,
) -> Result<u32, StoreError> {
    // Without its checkpoint nobody knows which segments there should be.
    let unknown = checkpoint.is_none() && !notes.damage.is_empty();
    let mut missing = |file, reason| match unknown {
        true => Ok(()),
        false => notes.meet(StoreError::Missing { file, reason }),
    };
    let first = match checkpoint {
        Some(checkpoint) => {
            let named = checkpoint.segments.iter().map(|row| row.segment);
            for lost in named.filter(|id| ids.binary_search(id).is_err()) {
                missing(file_name(lost), String::from("the checkpoint needs it"))?;
            }
            checkpoint.below.segment()
        }
        None => {
            let first = ids.first().copied().unwrap_or(1);
            if first > 1 && !older {
                let reason = format!("the log begins with {}", file_name(first));
                missing(String::from(checkpoint_file::FILE), reason)?;
            }
            first
        }
    };
    let mut expected = first;
    for id in ids.iter().copied().filter(|id| *id >= first) {
        if id != expected {
            let reason = format!("it lies before {}", file_name(id));
            missing(file_name(expected), reason)?;
        }
        expected = id.saturating_add(1);
    }
    // One that was never there is no loss.
    let needed = applied.segment().max(checkpoint.map_or(0, |_| first));
    if expected <= needed {
        let reason = match checkpoint {
            Some(checkpoint) if checkpoint.below.segment() >= expected => {
                String::from("the checkpoint needs it")
            }
            _ => format!("the catalogue was written up to position {applied} of the log"),
        };
        missing(file_name(expected), reason)?;
    }
    Ok(first)
}

/// Opens a segment and reads its header, which was on disk before the file had its name.
pub(crate) fn open(io: &dyn Io, segment: u32) -> Result<(SegmentReader, FileHeader), StoreError> {
    let mut reader = io
        .open(&file_name(segment))
        .and_then(|file| SegmentReader::new(file, segment))
        .map_err(|error| StoreError::io("open", file_name(segment), error))?;
    let header = reader
        .file_header()
        .map_err(|error| read_failed(segment, error))?;
    match header {
        Ok(header) => Ok((reader, header)),
        Err(HeaderFlaw::Version(version)) => Err(StoreError::Format {
            path: file_name(segment).into(),
            found: version.to_string(),
            expected: "1",
        }),
        Err(HeaderFlaw::Invalid(reason)) => {
            Err(StoreError::corrupt(LogPos::new(segment, 0), reason))
        }
    }
}

/// Opens a segment whose header is damaged, if its first batch tells what is to be known of it.
pub(crate) fn open_headless(
    io: &dyn Io,
    segment: u32,
) -> Result<Option<SegmentReader>, StoreError> {
    let reader = io
        .open(&file_name(segment))
        .and_then(|file| SegmentReader::new(file, segment))
        .and_then(|mut reader| Ok(reader.guess_nonce()?.then_some(reader)));
    reader.map_err(|error| read_failed(segment, error))
}

/// An error if what is wrong at `flawed` was on disk before something later was written.
fn refuse_damage(
    reader: &mut SegmentReader,
    flawed: LogPos,
    reason: &str,
) -> Result<(), StoreError> {
    let proof = reader
        .proof_of_damage(flawed.offset())
        .map_err(|error| read_failed(flawed.segment(), error))?;
    match proof {
        Some(offset) => Err(StoreError::corrupt(
            flawed,
            format!("{reason}, and the batch at {offset} was written after this had been synced"),
        )),
        None => Ok(()),
    }
}

fn read_failed(segment: u32, error: std::io::Error) -> StoreError {
    StoreError::io("read", file_name(segment), error)
}

/// Cuts what follows the last whole batch, and syncs. The sync is needed even if nothing was torn:
/// after a mere kill, what has been read may be in the page cache only, and from here on it counts
/// as durable.
pub(crate) fn settle_tail(io: &dyn Io, last: &SegmentRow) -> Result<(), StoreError> {
    let name = file_name(last.segment);
    let failed = |operation| {
        let name = name.clone();
        move |error| StoreError::io(operation, name, error)
    };
    let file = io.open(&name).map_err(failed("open"))?;
    let file_bytes = file.len_bytes().map_err(failed("read"))?;
    let keep = u64::from(last.end);
    if file_bytes > keep {
        // Whether a group was being written is not always to be told from what was written ahead.
        tracing::info!(
            file = name,
            from = keep,
            to = file_bytes,
            "cutting what follows the log's last whole batch"
        );
        file.truncate(keep).map_err(failed("truncate"))?;
    }
    file.sync_data().map_err(failed("sync"))
}

/// The pass while it goes on.
struct Scan {
    replay: Replay,
    describe: Describe,
    /// Before this position only the catalogue's records count.
    below: LogPos,
    applied: LogPos,
    changes: Vec<Change>,
    clean: bool,
    highest_queue_id: QueueId,
    /// Of the segment at hand.
    row: SegmentRow,
    notes: Notes,
}

impl Scan {
    /// Where `segment` ends, by what the header of `next` says; `None` if that cannot be told.
    fn end_before(
        &mut self,
        io: &dyn Io,
        segment: u32,
        next: u32,
    ) -> Result<Option<u32>, StoreError> {
        if next != segment + 1 {
            return Ok(None);
        }
        match open(io, next) {
            Ok((_, header)) => Ok(Some(header.previous_end)),
            // Noted when its turn comes.
            Err(StoreError::Corrupt { .. }) if self.notes.pass_over() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a segment; `None` if none of its batches can be told from other octets.
    fn open(&mut self, io: &dyn Io, segment: u32) -> Result<Option<SegmentReader>, StoreError> {
        match open(io, segment) {
            Ok((reader, _)) => return Ok(Some(reader)),
            Err(error) => self.notes.meet(error)?,
        }
        self.notes.ends_at(FILE_HEADER_BYTES.into());
        self.clean = false;
        open_headless(io, segment)
    }

    /// Replays a segment from `start` on. `end` is where it has to end, if that is known.
    fn segment(
        &mut self,
        io: &dyn Io,
        segment: u32,
        start: u32,
        end: Option<u32>,
    ) -> Result<SegmentRow, StoreError> {
        self.row = SegmentRow {
            segment,
            end: start,
            ..SegmentRow::default()
        };
        let Some(mut reader) = self.open(io, segment)? else {
            return Ok(self.row);
        };
        if segment > self.below.segment() {
            self.clean = false;
        }
        if u64::from(start) > reader.file_bytes() {
            let reason = "it ends before the checkpoint's position";
            let damage = StoreError::corrupt(LogPos::new(segment, start), reason);
            self.notes.meet(damage)?;
            self.clean = false;
            return Ok(self.row);
        }
        let mut offset = start;
        loop {
            let position = LogPos::new(segment, offset);
            let done = match end {
                Some(end) => offset >= end,
                None => u64::from(offset) >= reader.file_bytes(),
            };
            if done {
                break;
            }
            let flaw = match reader
                .batch(offset)
                .map_err(|error| read_failed(segment, error))?
            {
                Ok(payload) => {
                    for (position, kind, body) in records(position, payload) {
                        self.record(position, kind, body)?;
                    }
                    // Cannot pass 32 bits: a batch that would is refused by `append`.
                    offset = offset.saturating_add(BATCH_HEADER_BYTES + payload.len() as u32);
                    continue;
                }
                Err(flaw) => flaw,
            };
            let damage = match (flaw, end) {
                (HeaderFlaw::Version(version), _) => {
                    let reason = format!("the batch is of version {version}, unknown here");
                    return Err(StoreError::corrupt(position, reason));
                }
                (HeaderFlaw::Invalid(reason), None) if position >= self.below => {
                    match refuse_damage(&mut reader, position, reason) {
                        Ok(()) => {
                            // Behind a clean end nothing was written; zeros or an earlier life may follow.
                            self.clean &= position == self.below;
                            break;
                        }
                        Err(damage) => damage,
                    }
                }
                (HeaderFlaw::Invalid(reason), _) => StoreError::corrupt(position, reason),
            };
            self.notes.meet(damage)?;
            offset = self.pass_over(&mut reader, position, end)?;
        }
        if let Some(end) = end
            && offset != end
        {
            let reason = format!("its last batch ends here, not at {end}");
            let damage = StoreError::corrupt(LogPos::new(segment, offset), reason);
            self.notes.meet(damage)?;
        }
        self.row.end = offset;
        Ok(self.row)
    }

    /// Takes what can be read of the damaged batch at `position`. Where the next one begins, or the segment
    /// ends.
    fn pass_over(
        &mut self,
        reader: &mut SegmentReader,
        position: LogPos,
        end: Option<u32>,
    ) -> Result<u32, StoreError> {
        self.clean = false;
        let failed = |error| read_failed(position.segment(), error);
        let file_end = u32::try_from(reader.file_bytes()).unwrap_or(u32::MAX);
        let next = reader.next_batch(position.offset()).map_err(failed)?;
        let next = next.or(end).unwrap_or(file_end);
        self.notes.ends_at(next.into());
        for piece in reader.pieces(position.offset(), next).map_err(failed)? {
            match piece.sound {
                true => self.record(piece.position, piece.kind, piece.body)?,
                false => self.lost(&piece),
            }
        }
        Ok(next)
    }

    /// A damaged record. If it looks like a message, that is put into its queues, to be missed there:
    /// unless it is acked.
    fn lost(&mut self, piece: &Piece<'_>) {
        let publish = match record::decode(piece.kind, piece.body) {
            Ok(Record::Publish(publish) | Record::Move { publish, .. }) => publish,
            _ => return,
        };
        if piece.position >= self.below {
            let described = (self.describe)(publish.message).unwrap_or_default();
            self.replay.publish(piece.position, &publish, described);
        }
    }

    /// Replays a record.
    fn record(&mut self, position: LogPos, kind: u8, body: &[u8]) -> Result<(), StoreError> {
        let counts = position >= self.below;
        let record = record::decode(kind, body)
            .map_err(|flaw| StoreError::corrupt(position, flaw.to_string()))?;
        match record {
            Record::Catalogue { table, key, value } => {
                self.row.last_catalogue = self.row.last_catalogue.max(position);
                self.clean &= !counts;
                self.change(position, table, key, value)
            }
            record if counts => self.replay(position, record),
            _ => Ok(()),
        }
    }

    fn change(
        &mut self,
        position: LogPos,
        table: u8,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let table = Table::from_number(table).ok_or_else(|| {
            StoreError::corrupt(position, format!("table {table} is unknown here"))
        })?;
        if position > self.applied {
            self.changes.push(Change {
                position,
                table,
                key: key.to_vec(),
                value: value.map(<[u8]>::to_vec),
            });
        }
        Ok(())
    }

    fn replay(&mut self, position: LogPos, record: Record<'_>) -> Result<(), StoreError> {
        self.clean = false;
        match record {
            Record::Publish(publish) => self.publish(position, &publish)?,
            Record::Ack { queue, positions } => {
                self.seen(queue);
                self.replay.ack(position, queue, positions.positions());
            }
            Record::Move {
                queue,
                position: from,
                publish,
            } => {
                self.seen(queue);
                self.replay.ack(position, queue, [from].into_iter());
                self.publish(position, &publish)?;
            }
            // In `record`.
            Record::Catalogue { .. } => {}
            Record::Redelivered { queue, positions } => {
                self.seen(queue);
                self.replay.mark_redelivered(queue, positions.positions());
            }
            Record::CleanShutdown => self.clean = true,
            Record::Rename { queue, positions } => {
                self.seen(queue);
                self.replay.rename(position, queue, positions.positions());
            }
            Record::Page(page) => {
                self.seen(page.queue);
                self.row.total += 1;
                self.replay.page(position, page);
            }
            Record::AckPages { queue, pages } => {
                self.seen(queue);
                self.replay.ack_pages(position, queue, pages.positions());
            }
        }
        Ok(())
    }

    fn publish(&mut self, position: LogPos, publish: &Publish<'_>) -> Result<(), StoreError> {
        let described = (self.describe)(publish.message)
            .ok_or_else(|| StoreError::corrupt(position, "the message cannot be understood"))?;
        let before = self.row.total;
        for queue in publish.queue_ids() {
            self.seen(queue);
            self.row.total += 1;
        }
        // A copy counts, too.
        self.row.total = self.row.total.max(before + 1);
        self.replay.publish(position, publish, described);
        Ok(())
    }

    fn seen(&mut self, queue: QueueId) {
        self.highest_queue_id = self.highest_queue_id.max(queue);
    }
}

/// Says every few seconds how far a long start has come.
struct Progress {
    what: &'static str,
    total: usize,
    started: Instant,
    said: Instant,
}

const PROGRESS_EVERY: Duration = Duration::from_secs(3);

impl Progress {
    fn new(what: &'static str, total: usize) -> Progress {
        Progress {
            what,
            total,
            started: Instant::now(),
            said: Instant::now(),
        }
    }

    fn step(&mut self, done: usize) {
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            let (total, seconds) = (self.total, self.started.elapsed().as_secs());
            tracing::info!(segments = done, of = total, seconds, "{}", self.what);
        }
    }
}
