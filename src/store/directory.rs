//! The data directory as a whole: opening, checking, closing.
//!
//! Owns the lock, the `FORMAT` file, and the order in which the parts start and stop.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use crate::base::index::QueueState;

use super::catalogue::{CatalogueThread, Change, Keeper, Row, Rows, Table};
use super::damage::Strictness;
use super::error::StoreError;
use super::format::file_name;
use super::io::{Io, RealIo, create_directories, create_directory, create_file};
use super::log::Log;
use super::options::{CATALOGUE_CHANNEL_BATCHES, Options};
use super::recovery::{Found, scan, settle_tail};
use super::replay::Describe;
use super::restore::Recovered;
use super::sled_rows::SledRows;
use super::spill;
use super::writer::Writer;

/// The contents of `FORMAT`, but for the line's end.
const FORMAT: &str = "warren 2";

/// The format before there were checkpoints, which is read and brought up to date.
const FORMAT_OLDER: &str = "warren 1";

/// An open data directory. Dropping it without [`Store::close`] writes everything out, but the
/// next start takes it for a crash.
pub struct Store {
    log: Log,
    catalogue: Mutex<CatalogueThread>,
    /// Released last, when nothing writes any more.
    _lock: Option<File>,
}

impl Store {
    /// Opens the data directory, creating it and what is missing above it if there is none, and reads
    /// what it holds. `describe` tells what is to be known of a message. Blocks for as long as the log
    /// behind the last checkpoint takes to read.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; what is found damaged is left as it is.
    pub fn open(
        directory: &Path,
        options: Options,
        describe: Describe,
    ) -> Result<(Store, Recovered), StoreError> {
        let failed = |error| StoreError::io("create", directory, error);
        create_directories(directory).map_err(failed)?;
        let lock = lock(directory)?;
        let catalogue_path = directory.join("catalogue");
        let log_path = directory.join("log");
        let found = check_format(directory)?;
        if found == FoundFormat::None && catalogue_path.exists() {
            // Left by a first start that did not come as far as to write FORMAT.
            std::fs::remove_dir_all(&catalogue_path)
                .map_err(|error| StoreError::io("delete", &catalogue_path, error))?;
        }
        create_directory(&catalogue_path).map_err(failed)?;
        let rows = SledRows::open(&catalogue_path, options.catalogue_cache_bytes)?;
        let io =
            RealIo::open(&log_path).map_err(|error| StoreError::io("open", &log_path, error))?;
        if found == FoundFormat::None {
            write_format(directory)?;
        }
        let older = found == FoundFormat::Older;
        let parts = recover(Arc::new(io), Box::new(rows), options, describe, older)?;
        if older {
            // The checkpoint that makes it so is on disk.
            write_format(directory)?;
        }
        let spill_path = directory.join("transient");
        let spill_io =
            empty_spill(&spill_path).map_err(|error| StoreError::io("open", &spill_path, error))?;
        let (mut store, recovered) = Store::start(parts)?;
        store._lock = Some(lock);
        store.start_spill(Arc::new(spill_io))?;
        Ok((store, recovered))
    }

    /// Opens a log in `io` with a catalogue in `rows`, without a lock or a format check.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_with(
        io: Arc<dyn Io>,
        rows: Box<dyn Rows>,
        options: Options,
        describe: Describe,
    ) -> Result<(Store, Recovered), StoreError> {
        Store::start(recover(io, rows, options, describe, false)?)
    }

    fn start(parts: Parts) -> Result<(Store, Recovered), StoreError> {
        let Parts {
            log,
            writer,
            keeper,
            changes,
            recovered,
        } = parts;
        let every = log.shared.options.catalogue_flush_every;
        let catalogue = CatalogueThread::start(keeper, changes, every)
            .map_err(|error| StoreError::io("start a thread for", "catalogue", error))?;
        let catalogue = Mutex::new(catalogue);
        // From here on an error ends the catalogue's thread, by dropping the store.
        let store = Store {
            log,
            catalogue,
            _lock: None,
        };
        let thread = std::thread::Builder::new()
            .name("warren-log".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::io("start a thread for", "log", error))?;
        store.log.own_writer(thread);
        Ok((store, recovered))
    }

    /// From now on transient messages can be written, into files of `io`, of which nobody else is a user.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]: no thread can be started.
    pub fn start_spill(&self, io: Arc<dyn Io>) -> Result<(), StoreError> {
        let started = self.log.start_spill(io);
        started.map_err(|error| StoreError::io("start a thread for", "transient", error))
    }

    /// The commit log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What has failed, if anything: the log, or the catalogue behind it. After a failure of the
    /// log nothing is durable any more. After one of the catalogue the log still is the truth, but
    /// grows until a restart.
    pub fn failure(&self) -> Option<StoreError> {
        let log = self.log.failure().map(StoreError::Log);
        log.or_else(|| self.catalogue.lock().failure())
    }

    /// Octets free on the log's file system.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        self.log.shared.io.free_bytes()
    }

    /// Writes everything, ends both threads, and leaves a checkpoint that says that all was in order:
    /// the next start has nothing to replay. All producers must be done. `queues` are the states of
    /// all durable queues. The second call does nothing.
    ///
    /// # Errors
    ///
    /// What failed, now or before.
    pub fn close(&self, queues: Vec<QueueState>) -> Result<(), StoreError> {
        self.log.end_checkpoints();
        if self.log.is_closed() {
            return self.end();
        }
        self.end()?;
        let mut last = self.log.begin_checkpoint();
        queues.into_iter().for_each(|state| last.add(state));
        last.write(true)
    }

    fn end(&self) -> Result<(), StoreError> {
        let log = self.log.close();
        // The log's writer held the other end of the catalogue's channel.
        let catalogue = self.catalogue.lock().join();
        log?;
        catalogue
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the store did not close in order");
        }
    }
}

/// The directory of the spill, without what an earlier broker has left in it.
fn empty_spill(path: &Path) -> std::io::Result<RealIo> {
    let io = RealIo::open(path)?;
    for name in io.list()? {
        if name.ends_with(spill::SUFFIX) {
            // That they are gone need not last: the next start looks again.
            std::fs::remove_file(path.join(name))?;
        }
    }
    Ok(io)
}

/// Everything a store runs on, before its threads are started.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) writer: Writer,
    pub(crate) keeper: Keeper,
    pub(crate) changes: Receiver<Vec<Change>>,
    pub(crate) recovered: Recovered,
}

/// Reads the log, brings the catalogue up to its end, and begins a new segment.
pub(crate) fn recover(
    io: Arc<dyn Io>,
    rows: Box<dyn Rows>,
    options: Options,
    describe: Describe,
    older: bool,
) -> Result<Parts, StoreError> {
    let found = scan(&io, rows.applied(), describe, older, Strictness::Refuse)?;
    resume(io, rows, options, found, older)
}

/// Goes on behind what was found. `settle`: the states found become a checkpoint at once.
pub(crate) fn resume(
    io: Arc<dyn Io>,
    mut rows: Box<dyn Rows>,
    options: Options,
    found: Found,
    settle: bool,
) -> Result<Parts, StoreError> {
    if let Some(last) = found.segments.last() {
        settle_tail(&*io, last)?;
    }
    let mut applied = rows.applied();
    if let Some(last) = found.changes.last() {
        applied = last.position;
        let done = found
            .changes
            .iter()
            .try_for_each(|change| rows.apply(change));
        if let Err(error) = done.and_then(|()| rows.flush(applied)) {
            rows.abandon();
            return Err(error);
        }
    }
    let mut tables: BTreeMap<Table, Vec<Row>> = BTreeMap::new();
    for (table, row) in rows.load()? {
        tables.entry(table).or_default().push(row);
    }

    let last = found.last_segment;
    let previous_end = found.segments.last().map_or(0, |row| row.end);
    let log = Log::new(options, io.clone(), last + 1);
    let mut held: HashMap<u32, u64> = HashMap::new();
    for queue in &found.queues {
        queue.held(|segment, count| *held.entry(segment).or_default() += count);
    }
    let segments = &log.shared.segments;
    for row in &found.segments {
        segments.found(*row, held.remove(&row.segment).unwrap_or(0));
    }
    if let Some(segment) = held.keys().min() {
        let file = file_name(*segment);
        let reason = String::from("messages of the checkpoint are in it");
        return Err(StoreError::Missing { file, reason });
    }
    segments.activate(last + 1);
    segments.flushed(applied);

    let spares = log.shared.spares.adopt(&*io);
    spares.map_err(|error| StoreError::io("delete", "log/*.spare", error))?;
    let (sender, changes) = sync_channel(CATALOGUE_CHANNEL_BATCHES);
    let writer = Writer::begin(&log, io.clone(), last + 1, previous_end, sender)?;
    for segment in found.leftover {
        let name = file_name(segment);
        io.delete(&name)
            .map_err(|error| StoreError::io("delete", name, error))?;
    }
    if settle {
        let mut checkpoint = log.begin_checkpoint();
        for queue in &found.queues {
            checkpoint.add(queue.clone().state(u8::MAX));
        }
        checkpoint.write(false)?;
    }
    if segments.any_empty() {
        log.shared.due.soon();
    }
    let keeper = Keeper::new(rows, log.clone(), applied);
    let recovered = Recovered {
        rows: tables,
        clean: found.clean,
        highest_queue_id: found.highest_queue_id,
        queues: found.queues,
        log: log.clone(),
    };
    Ok(Parts {
        log,
        writer,
        keeper,
        changes,
        recovered,
    })
}

/// How long a lock may be held by who is about to let go: a broker that is just ending, or a child
/// between its fork and its exec, which has all open files for a moment. sled runs the command
/// `sync` when it opens.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// Takes the directory for this process, until the file is closed.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("warren.lock");
    let file = create_file(&path).map_err(|error| StoreError::io("create", &path, error))?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse { path }),
            Err(error) => return Err(StoreError::io("lock", path, error.into())),
        }
    }
}

/// What `FORMAT` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundFormat {
    /// The directory is new.
    None,
    Current,
    Older,
}

/// An error if the directory is of another version.
pub(super) fn check_format(directory: &Path) -> Result<FoundFormat, StoreError> {
    let path = directory.join("FORMAT");
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim_end() == FORMAT => Ok(FoundFormat::Current),
        Ok(text) if text.trim_end() == FORMAT_OLDER => Ok(FoundFormat::Older),
        Ok(text) => {
            let found = text.trim_end().chars().take(40).collect();
            Err(StoreError::Format {
                path,
                found,
                expected: FORMAT,
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let log_path = directory.join("log");
            let has_log =
                std::fs::read_dir(&log_path).is_ok_and(|mut files| files.next().is_some());
            if has_log {
                let found = String::from("(no such file, but there is a log)");
                return Err(StoreError::Format {
                    path,
                    found,
                    expected: FORMAT,
                });
            }
            Ok(FoundFormat::None)
        }
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}

/// Writes `FORMAT` such that it is there as a whole or not at all.
pub(super) fn write_format(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("FORMAT");
    let temporary = directory.join("FORMAT.new");
    let written = (|| {
        let mut file = create_file(&temporary)?;
        writeln!(file, "{FORMAT}")?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        File::open(directory)?.sync_all()
    })();
    written.map_err(|error| StoreError::io("write", path, error))
}
