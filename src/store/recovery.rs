//! Reading the log at the start: what stands, what was torn, what is damaged.
//!
//! Owns the first pass over the segments, which keeps positions only; `restore.rs` makes the second
//! one, for the messages. Nothing is changed on disk before the whole log has been found sound:
//! then a torn tail of the last segment is cut, and that is all.
//!
//! The log is then continued in a new segment. The tail of the old one is never written again, so a
//! position that was handed out before a crash is never given to another record.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::base::{LogPos, QueueId};

use super::catalogue::{Change, Table};
use super::error::StoreError;
use super::format::{
    BATCH_HEADER_BYTES, FILE_HEADER_BYTES, FileHeader, HeaderFlaw, file_name, segment_of,
};
use super::io::Io;
use super::live::LiveSet;
use super::record::{self, Publish, Record};
use super::scan::{SegmentReader, records};

/// What the first pass found.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) queues: HashMap<QueueId, LiveSet>,
    pub(crate) segments: Vec<Found>,
    /// Catalogue records behind the applied position.
    pub(crate) changes: Vec<Change>,
    /// The log's last record is the clean shutdown's.
    pub(crate) clean: bool,
    pub(crate) highest_queue_id: QueueId,
}

/// A segment file.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) segment: u32,
    /// End of its last whole batch.
    pub(crate) end: u32,
    pub(crate) last_catalogue: LogPos,
}

/// Reads all segments. `applied` is the last catalogue record that need not be replayed.
pub(crate) fn scan(io: &dyn Io, applied: LogPos) -> Result<Scan, StoreError> {
    let ids = segment_ids(io, applied)?;
    let mut scan = Scan {
        clean: ids.is_empty(),
        ..Scan::default()
    };
    let mut progress = Progress::new("reading the log", ids.len());
    let mut segments = ids.iter().copied().peekable();
    while let Some(segment) = segments.next() {
        let (mut reader, _) = open(io, segment)?;
        // Where a segment has to end, the next one says. The last one's tail may be torn.
        let end = match segments.peek() {
            Some(next) => Some(open(io, *next)?.1.previous_end),
            None => None,
        };
        let found = scan.segment(&mut reader, segment, end, applied)?;
        scan.segments.push(found);
        progress.step(scan.segments.len());
    }
    if let Some(last) = scan.segments.last() {
        settle_tail(io, last)?;
    }
    for live in scan.queues.values_mut() {
        live.sweep();
    }
    scan.queues.retain(|_, live| live.len() > 0);
    Ok(scan)
}

/// The segments in order; they must follow each other without a gap, since only the oldest is ever
/// deleted.
fn segment_ids(io: &dyn Io, applied: LogPos) -> Result<Vec<u32>, StoreError> {
    let names = io
        .list()
        .map_err(|error| StoreError::io("list", "log", error))?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| segment_of(name)).collect();
    ids.sort_unstable();
    for pair in ids.windows(2) {
        if let [a, b] = pair
            && a + 1 != *b
        {
            let reason = format!("it lies between {} and {}", file_name(*a), file_name(*b));
            return Err(StoreError::Missing {
                file: file_name(a + 1),
                reason,
            });
        }
    }
    let last = ids.last().copied().unwrap_or(0);
    if last < applied.segment() {
        let reason = format!("the catalogue was written up to position {applied} of the log");
        return Err(StoreError::Missing {
            file: file_name(last + 1),
            reason,
        });
    }
    Ok(ids)
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
fn settle_tail(io: &dyn Io, last: &Found) -> Result<(), StoreError> {
    let name = file_name(last.segment);
    let failed = |operation| {
        let name = name.clone();
        move |error| StoreError::io(operation, name, error)
    };
    let file = io.open(&name).map_err(failed("open"))?;
    let file_bytes = file.len_bytes().map_err(failed("read"))?;
    let keep = u64::from(last.end);
    if file_bytes > keep {
        tracing::warn!(
            file = name,
            from = keep,
            to = file_bytes,
            "cutting the log's torn tail"
        );
        file.truncate(keep).map_err(failed("truncate"))?;
    }
    file.sync_data().map_err(failed("sync"))
}

impl Scan {
    fn segment(
        &mut self,
        reader: &mut SegmentReader,
        segment: u32,
        end: Option<u32>,
        applied: LogPos,
    ) -> Result<Found, StoreError> {
        let mut offset = FILE_HEADER_BYTES;
        let mut last_catalogue = LogPos::NONE;
        self.clean = false;
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
                    last_catalogue = self.batch(position, payload, applied)?.max(last_catalogue);
                    // Cannot pass 32 bits: a batch that would is refused by `append`.
                    offset = offset.saturating_add(BATCH_HEADER_BYTES + payload.len() as u32);
                    continue;
                }
                Err(flaw) => flaw,
            };
            match (flaw, end) {
                (HeaderFlaw::Version(version), _) => {
                    let reason = format!("the batch is of version {version}, unknown here");
                    return Err(StoreError::corrupt(position, reason));
                }
                (HeaderFlaw::Invalid(reason), None) => {
                    refuse_damage(reader, position, reason)?;
                    self.clean = false;
                    break;
                }
                (HeaderFlaw::Invalid(reason), _) => {
                    return Err(StoreError::corrupt(position, reason));
                }
            }
        }
        if let Some(end) = end
            && offset != end
        {
            let reason = format!("its last batch ends here, the next segment says at {end}");
            return Err(StoreError::corrupt(LogPos::new(segment, offset), reason));
        }
        Ok(Found {
            segment,
            end: offset,
            last_catalogue,
        })
    }

    /// Replays a batch; returns the position of its last catalogue record.
    fn batch(
        &mut self,
        position: LogPos,
        payload: &[u8],
        applied: LogPos,
    ) -> Result<LogPos, StoreError> {
        let mut last_catalogue = LogPos::NONE;
        for (position, kind, body) in records(position, payload) {
            let record = record::decode(kind, body)
                .map_err(|flaw| StoreError::corrupt(position, flaw.to_string()))?;
            if matches!(record, Record::Catalogue { .. }) {
                last_catalogue = position;
            }
            self.replay(position, record, applied)?;
        }
        Ok(last_catalogue)
    }

    fn replay(
        &mut self,
        position: LogPos,
        record: Record<'_>,
        applied: LogPos,
    ) -> Result<(), StoreError> {
        self.clean = false;
        match record {
            Record::Publish(publish) => self.publish(position, &publish),
            Record::Ack { queue, positions } => {
                if let Some(live) = self.seen(queue) {
                    positions.positions().for_each(|acked| live.ack(acked));
                }
            }
            Record::Move {
                queue,
                position: from,
                publish,
            } => {
                if let Some(live) = self.seen(queue) {
                    live.ack(from);
                }
                self.publish(position, &publish);
            }
            Record::Catalogue { table, key, value } => {
                let table = Table::from_number(table).ok_or_else(|| {
                    StoreError::corrupt(position, format!("table {table} is unknown here"))
                })?;
                if position > applied {
                    let (key, value) = (key.to_vec(), value.map(<[u8]>::to_vec));
                    self.changes.push(Change {
                        position,
                        table,
                        key,
                        value,
                    });
                }
            }
            Record::Redelivered { queue, positions } => {
                if let Some(live) = self.seen(queue) {
                    positions
                        .positions()
                        .for_each(|seen| live.mark_redelivered(seen));
                }
            }
            Record::CleanShutdown => self.clean = true,
        }
        Ok(())
    }

    fn publish(&mut self, position: LogPos, publish: &Publish<'_>) {
        for queue in publish.queue_ids() {
            self.highest_queue_id = self.highest_queue_id.max(queue);
            self.queues.entry(queue).or_default().publish(position);
        }
    }

    /// The queue's set, if it ever had a message in what is left of the log.
    fn seen(&mut self, queue: QueueId) -> Option<&mut LiveSet> {
        self.highest_queue_id = self.highest_queue_id.max(queue);
        self.queues.get_mut(&queue)
    }
}

/// Says every few seconds how far a long start has come.
pub(crate) struct Progress {
    what: &'static str,
    total: usize,
    started: Instant,
    said: Instant,
}

const PROGRESS_EVERY: Duration = Duration::from_secs(3);

impl Progress {
    pub(crate) fn new(what: &'static str, total: usize) -> Progress {
        Progress {
            what,
            total,
            started: Instant::now(),
            said: Instant::now(),
        }
    }

    pub(crate) fn step(&mut self, done: usize) {
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            let (total, seconds) = (self.total, self.started.elapsed().as_secs());
            tracing::info!(segments = done, of = total, seconds, "{}", self.what);
        }
    }
}
