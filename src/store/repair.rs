//! Saving what can be read of a damaged data directory.
//!
//! Owns what a repair does. It reads the catalogue from wherever it can; recovers the log as a start does, but
//! notes damage and goes on behind it; makes broken pages anew from the messages they listed; reads all that the
//! queues hold, and lets go of what cannot be read. Up to here nothing is changed. Then files in which
//! something is damaged are copied to `damaged/`, and a checkpoint is left of the rest, behind which a start
//! goes on. Nothing that holds a message is ever deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::index::IndexEntry;
use crate::base::{LogPos, QueueId};

use super::catalogue::{Change, Row, Table};
use super::damage::{Damage, Strictness};
use super::directory::{FoundFormat, check_format, lock, resume, write_format};
use super::error::{ReadError, StoreError};
use super::format::{BATCH_HEADER_BYTES, Cursor, FILE_HEADER_BYTES, file_name, segment_of};
use super::io::{Io, RealIo, create_directory, sync_parent};
use super::options::Options;
use super::reader::Reader;
use super::record::{self, Record};
use super::recovery::{Found, open, open_headless, scan};
use super::replay::Describe;
use super::rows_file;
use super::scan::records;
use super::sled_rows::{APPLIED_KEY, SledRows};
use super::unranked::{BrokenPage, Item, Unranked};

/// What a queue loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Messages that cannot be read.
    pub lost: u64,
    /// Messages that can.
    pub kept: u64,
}

/// What a repair found, and did if it was to.
#[derive(Debug, Default)]
pub struct Repair {
    /// All damage, in the order in which it was met.
    pub damage: Vec<Damage>,
    /// Every queue that loses messages.
    pub lost: BTreeMap<QueueId, Loss>,
    /// Messages of every queue that can be read.
    pub kept: BTreeMap<QueueId, u64>,
    /// The rows of the catalogue.
    pub rows: BTreeMap<Table, Vec<Row>>,
    /// Copies of the damaged files, as they were.
    pub set_aside: Vec<PathBuf>,
}

/// Examines the data directory; with `apply`, makes one of it that a broker opens. `accepts` says whether a
/// row of the catalogue can be understood; `progress` is told how many messages were read, now and then.
///
/// # Errors
///
/// [`StoreError::InUse`] while a broker runs on it; what no repair helps against: another version's data,
/// a disk that fails.
pub fn repair(
    directory: &Path,
    apply: bool,
    describe: Describe,
    accepts: &dyn Fn(Table, &[u8]) -> bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Repair, StoreError> {
    let log_path = directory.join("log");
    if !log_path.is_dir() {
        let reason = io::ErrorKind::NotFound.into();
        return Err(StoreError::io("open", log_path, reason));
    }
    let _lock = lock(directory)?;
    let older = check_format(directory)? == FoundFormat::Older;
    let log = RealIo::open(&log_path);
    let log: Arc<dyn Io> = Arc::new(log.map_err(|error| StoreError::io("open", &log_path, error))?);
    let catalogue = Catalogue::read(directory, accepts)?;
    let examined = examine(&log, catalogue.applied(), describe, older, progress)?;
    let Examined {
        found,
        mut damage,
        lost,
    } = examined;
    damage.splice(0..0, catalogue.damage.iter().cloned());
    let mut done = Repair {
        damage,
        lost,
        kept: found
            .queues
            .iter()
            .map(|queue| (queue.queue, queue.len()))
            .collect(),
        rows: catalogue.rows_after(&found.changes),
        set_aside: Vec::new(),
    };
    if !apply || done.damage.is_empty() {
        return Ok(done);
    }
    done.set_aside = set_aside(directory, &done.damage)?;
    let options = Options::default();
    let database = directory.join("catalogue");
    if !catalogue.damage.is_empty() {
        catalogue.write(directory)?;
        create_directory(&database).map_err(|error| StoreError::io("create", &database, error))?;
        SledRows::distrust(&database)?;
    }
    let rows = Box::new(SledRows::open(&database, options.catalogue_cache_bytes)?);
    // When it returns the checkpoint is on disk; no thread was started.
    drop(resume(log, rows, options, found, true)?);
    if older {
        write_format(directory)?;
    }
    Ok(done)
}

/// What a log holds that can be read.
pub(crate) struct Examined {
    pub(crate) found: Found,
    pub(crate) damage: Vec<Damage>,
    pub(crate) lost: BTreeMap<QueueId, Loss>,
}

/// Recovers over damage, and reads all that is held. Changes nothing.
pub(crate) fn examine(
    io: &Arc<dyn Io>,
    applied: LogPos,
    describe: Describe,
    older: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Examined, StoreError> {
    let mut found = scan(io, applied, describe, older, Strictness::PassOver)?;
    let mut damage = std::mem::take(&mut found.damage);
    let mut reader = Reader::new(io.clone(), Arc::default());
    let before: Vec<u64> = found.queues.iter().map(Unranked::len).collect();
    let mut broken: HashMap<QueueId, Vec<BrokenPage>> = HashMap::new();
    for queue in &mut found.queues {
        let pages = queue.take_broken_pages(&mut reader, |error| note(&mut damage, error))?;
        if !pages.is_empty() {
            broken.insert(queue.queue, pages);
        }
    }
    if !broken.is_empty() {
        restore_pages(io, broken, &mut found.queues, &mut reader, describe)?;
    }
    let mut lost = BTreeMap::new();
    let (mut read, mut told) = (0, 0);
    for (queue, before) in found.queues.iter_mut().zip(before) {
        queue.drop_unreadable(&mut reader, |count, error| {
            read += count;
            if read >= told + PROGRESS_EVERY {
                told = read;
                progress(read);
            }
            error.map_or(Ok(()), |error| note(&mut damage, error))
        })?;
        let kept = queue.len();
        if kept < before {
            let lost_here = before - kept;
            lost.insert(
                queue.queue,
                Loss {
                    lost: lost_here,
                    kept,
                },
            );
        }
    }
    found.queues.retain(|queue| queue.len() > 0);
    Ok(Examined {
        found,
        damage,
        lost,
    })
}

/// Messages read between two words of progress.
const PROGRESS_EVERY: u64 = 1_000_000;

/// Notes what cannot be read. Anything but damage is an error: a disk that fails now may not tomorrow, and
/// its messages are not to be given up.
fn note(damage: &mut Vec<Damage>, error: ReadError) -> Result<(), StoreError> {
    match error.reason.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => {}
        _ => return Err(StoreError::io("read", error.file, error.reason)),
    }
    let missing = error.reason.kind() == io::ErrorKind::NotFound;
    let is_known = |known: &Damage| {
        let behind = known.end.map_or(missing, |end| end > error.offset);
        known.file == error.file && known.offset <= error.offset && behind
    };
    if !damage.iter().any(is_known) {
        damage.push(Damage {
            offset: if missing { 0 } else { error.offset },
            reason: match missing {
                true => String::from("it is missing, and messages were in it"),
                false => error.reason.to_string(),
            },
            end: None,
            file: error.file,
        });
    }
    Ok(())
}

/// Makes broken pages anew, as messages in no page: those in their span that went to the queue, and of which
/// no other place and no ack is known.
fn restore_pages(
    io: &Arc<dyn Io>,
    broken: HashMap<QueueId, Vec<BrokenPage>>,
    queues: &mut [Unranked],
    reader: &mut Reader,
    describe: Describe,
) -> Result<(), StoreError> {
    let mut places: HashMap<QueueId, Places> = HashMap::new();
    for queue in queues.iter().filter(|q| broken.contains_key(&q.queue)) {
        places.insert(queue.queue, Places::of(queue, reader));
    }
    let segments: BTreeSet<u32> = broken
        .values()
        .flatten()
        .flat_map(|found| found.page.segments.iter().map(|(segment, _)| *segment))
        .collect();
    // Acks come behind.
    let names = io
        .list()
        .map_err(|error| StoreError::io("list", "log", error))?;
    let first = segments.first().copied().unwrap_or(0);
    let mut ids: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_of(name))
        .filter(|id| *id >= first)
        .collect();
    ids.sort_unstable();
    for segment in ids {
        walk(&**io, segment, &mut |pos, record| {
            let publish = match record {
                Record::Ack { queue, positions } => {
                    if let Some(places) = places.get_mut(&queue) {
                        places.ack(positions.positions());
                    }
                    return;
                }
                Record::Move {
                    queue,
                    position,
                    publish,
                } => {
                    if let Some(places) = places.get_mut(&queue) {
                        places.ack([position].into_iter());
                    }
                    publish
                }
                Record::Rename { queue, positions } => {
                    // It is at the second position of each pair.
                    if let Some(places) = places.get_mut(&queue) {
                        places.ack(positions.positions().step_by(2));
                    }
                    return;
                }
                Record::Publish(publish) => publish,
                _ => return,
            };
            for queue in publish.queue_ids() {
                let (Some(places), Some(pages)) = (places.get_mut(&queue), broken.get(&queue))
                else {
                    continue;
                };
                if let Some(described) = describe(publish.message) {
                    let entry = IndexEntry {
                        redelivered: true,
                        ..described.entry(pos, publish.stamped_ms)
                    };
                    places.publish(entry, pages);
                }
            }
        })?;
    }
    for queue in queues {
        let found = places.remove(&queue.queue);
        if let (Some(found), Some(pages)) = (found, broken.get(&queue.queue)) {
            found.enter(pages, queue);
        }
    }
    Ok(())
}

/// A queue whose broken pages are made anew.
struct Places {
    /// What stands somewhere else.
    known: HashSet<LogPos>,
    highest_lane: u8,
    /// By the broken page's index: what may have been in it, and whether it was acked.
    found: HashMap<usize, BTreeMap<LogPos, (IndexEntry, bool)>>,
}

impl Places {
    fn of(queue: &Unranked, reader: &mut Reader) -> Places {
        let mut places = Places {
            known: HashSet::new(),
            highest_lane: 0,
            found: HashMap::new(),
        };
        for (_, item) in &queue.items {
            match item {
                Item::Loose(entry) => {
                    places.known.insert(entry.pos);
                    places.highest_lane = places.highest_lane.max(entry.priority);
                }
                Item::Page(lane, page) => {
                    places.highest_lane = places.highest_lane.max(*lane);
                    let entries = reader.page(page.pos).unwrap_or_default();
                    places.known.extend(entries.iter().map(|entry| entry.pos));
                }
            }
        }
        places
    }

    fn publish(&mut self, entry: IndexEntry, pages: &[BrokenPage]) {
        if self.known.contains(&entry.pos) {
            return;
        }
        let highest = pages.iter().map(|broken| broken.lane).max().unwrap_or(0);
        let highest = highest.max(self.highest_lane);
        let lane = entry.priority.min(highest);
        let holds = |broken: &BrokenPage| {
            let (smallest, largest) = broken.page.span;
            broken.lane == lane && (smallest..=largest).contains(&entry.pos)
        };
        if let Some(at) = pages.iter().position(holds) {
            let found = self.found.entry(at).or_default();
            found.insert(entry.pos, (entry, false));
        }
    }

    fn ack(&mut self, positions: impl Iterator<Item = LogPos>) {
        for pos in positions {
            for found in self.found.values_mut() {
                if let Some((_, acked)) = found.get_mut(&pos) {
                    *acked = true;
                }
            }
        }
    }

    fn enter(self, pages: &[BrokenPage], queue: &mut Unranked) {
        for (at, found) in self.found {
            let Some(BrokenPage { rank, lane, page }) = pages.get(at) else {
                continue;
            };
            // With as many as there were, the page's own account of what is gone can be gone by.
            let is_whole = found.len() == page.len as usize;
            for (place, (mut entry, acked)) in found.into_values().enumerate() {
                let gone = match is_whole {
                    true => page.removed.contains(place),
                    false => acked,
                };
                if !gone {
                    entry.priority = *lane;
                    let rank = (rank.0, place as u32);
                    queue.items.push((rank, Item::Loose(entry)));
                }
            }
        }
        queue.items.sort_unstable_by_key(|(rank, _)| *rank);
    }
}

/// Calls `visit` for every sound record of a segment, over damage.
fn walk(
    io: &dyn Io,
    segment: u32,
    visit: &mut dyn FnMut(LogPos, Record<'_>),
) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("read", file_name(segment), error);
    let mut reader = match open(io, segment) {
        Ok((reader, _)) => reader,
        Err(StoreError::Corrupt { .. }) => match open_headless(io, segment)? {
            Some(reader) => reader,
            None => return Ok(()),
        },
        Err(error) => return Err(error),
    };
    let mut offset = FILE_HEADER_BYTES;
    loop {
        let position = LogPos::new(segment, offset);
        if let Ok(payload) = reader.batch(offset).map_err(failed)? {
            for (pos, kind, body) in records(position, payload) {
                if let Ok(record) = record::decode(kind, body) {
                    visit(pos, record);
                }
            }
            offset = offset.saturating_add(BATCH_HEADER_BYTES + payload.len() as u32);
            continue;
        }
        let Some(next) = reader.next_batch(offset).map_err(failed)? else {
            return Ok(());
        };
        for piece in reader.pieces(offset, next).map_err(failed)? {
            if let Ok(record) = record::decode(piece.kind, piece.body)
                && piece.sound
            {
                visit(piece.position, record);
            }
        }
        offset = next;
    }
}

/// The catalogue, from wherever it can be read.
struct Catalogue {
    rows: rows_file::Rows,
    damage: Vec<Damage>,
}

impl Catalogue {
    fn read(
        directory: &Path,
        accepts: &dyn Fn(Table, &[u8]) -> bool,
    ) -> Result<Catalogue, StoreError> {
        let io =
            RealIo::open(directory).map_err(|error| StoreError::io("open", directory, error))?;
        let mut damage = Vec::new();
        let mut damaged = |file: &str, (at, end): (usize, usize), reason: String| {
            damage.push(Damage {
                file: file.into(),
                offset: at as u64,
                end: (end > 0).then_some(end as u64),
                reason,
            });
        };
        let file = rows_file::read(&io);
        // The next start opens sled if it was closed in order, and goes by the file otherwise.
        let marked = SledRows::is_marked(&directory.join("catalogue"));
        let in_sled = match marked || !matches!(file, Ok(Some(_))) {
            true => Some(read_sled(directory)?),
            false => None,
        };
        let rows = match (file, in_sled) {
            (Ok(Some(rows)), None | Some(Ok(_))) => rows,
            (Ok(Some(rows)), Some(Err(reason))) => {
                let reason = format!("{reason}; catalogue.rows has the same");
                damaged("catalogue", (0, 0), reason);
                rows
            }
            (Ok(None), Some(Ok(rows))) => rows,
            (Ok(None), Some(Err(reason))) => {
                damaged("catalogue", (0, 0), reason);
                rows_file::Rows::new()
            }
            (Err(reason), Some(Ok(rows))) => {
                let reason = format!("{reason}; the database beside it has the same");
                damaged(rows_file::NAME, (0, 0), reason);
                rows
            }
            (Err(StoreError::Catalogue { .. }), _) => {
                let octets = io.read(rows_file::NAME);
                let octets =
                    octets.map_err(|error| StoreError::io("read", rows_file::NAME, error))?;
                let (mut rows, groups) = rows_file::salvage(&octets);
                for group in groups {
                    let reason =
                        "a group of rows is damaged: those that can be told apart are kept";
                    damaged(rows_file::NAME, group, reason.into());
                }
                rows.retain(|key, value| match split(key) {
                    Some((table, _)) => accepts(table, value),
                    None => key == APPLIED_KEY,
                });
                rows
            }
            (Err(error), _) => return Err(error),
            (Ok(None), None) => rows_file::Rows::new(),
        };
        Ok(Catalogue { rows, damage })
    }

    /// The last change of the log that is in it.
    fn applied(&self) -> LogPos {
        let octets = self.rows.get(APPLIED_KEY);
        octets
            .and_then(|octets| Cursor(octets).u64())
            .map_or(LogPos::NONE, LogPos)
    }

    fn rows_after(&self, changes: &[Change]) -> BTreeMap<Table, Vec<Row>> {
        let mut all: BTreeMap<(Table, Vec<u8>), Vec<u8>> = BTreeMap::new();
        for (key, value) in &self.rows {
            if let Some((table, key)) = split(key) {
                all.insert((table, key.to_vec()), value.clone());
            }
        }
        for change in changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => all.insert(key, value.clone()),
                None => all.remove(&key),
            };
        }
        let mut tables: BTreeMap<Table, Vec<Row>> = BTreeMap::new();
        for ((table, key), value) in all {
            tables.entry(table).or_default().push(Row { key, value });
        }
        tables
    }

    /// Makes it what the next start reads.
    fn write(&self, directory: &Path) -> Result<(), StoreError> {
        let io =
            RealIo::open(directory).map_err(|error| StoreError::io("open", directory, error))?;
        rows_file::RowsFile::new(Arc::new(io)).flush(|| self.rows.iter().map(Ok))
    }
}

/// Table and key of a row as `catalogue.rows` has it; the position that is among them has none.
fn split(key: &[u8]) -> Option<(Table, &[u8])> {
    let (number, key) = key.split_first()?;
    Some((Table::from_number(*number)?, key))
}

/// What sled holds, read from a copy of its files, since opening them writes. What is wrong with it otherwise.
fn read_sled(directory: &Path) -> Result<Result<rows_file::Rows, String>, StoreError> {
    let database = directory.join("catalogue");
    let copy = directory.join("repair.tmp");
    let failed = |error| StoreError::io("copy to", &copy, error);
    remove(&copy).map_err(failed)?;
    copy_all(&database, &copy).map_err(failed)?;
    let read = SledRows::read(&copy, Options::default().catalogue_cache_bytes);
    remove(&copy).map_err(failed)?;
    Ok(read.map_err(|error| match error {
        StoreError::Catalogue { reason, .. } => reason,
        other => other.to_string(),
    }))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a file, or a directory with all that is in it, durably. One that is missing is as an empty
/// directory.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_file() {
        std::fs::copy(from, to)?;
    } else {
        std::fs::create_dir(to)?;
        let entries = match std::fs::read_dir(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return sync_parent(to),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    std::fs::File::open(to)?.sync_all()?;
    sync_parent(to)
}

/// Copies the damaged files, as they are.
fn set_aside(directory: &Path, damage: &[Damage]) -> Result<Vec<PathBuf>, StoreError> {
    let into = directory.join("damaged");
    create_directory(&into).map_err(|error| StoreError::io("create", &into, error))?;
    let names: BTreeSet<&str> = damage.iter().map(|found| found.file.as_str()).collect();
    let mut copies = Vec::new();
    for name in names {
        let places = [directory.join("log").join(name), directory.join(name)];
        let Some(from) = places.into_iter().find(|path| path.exists()) else {
            continue;
        };
        // What an earlier repair set aside stays.
        let mut free = (1..).map(|number: u32| into.join(format!("{name}.{number}")));
        let Some(to) = free.find(|to| !to.exists()) else {
            continue;
        };
        copy_all(&from, &to).map_err(|error| StoreError::io("copy to damaged/", &from, error))?;
        copies.push(to);
    }
    Ok(copies)
}
