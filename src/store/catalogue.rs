//! The catalogue: rows of named things (vhosts, queues, bindings, …), kept in a database behind the
//! log.
//!
//! Owns the thread that applies changes to the database and flushes it. A change is a record of the
//! log first and durable with it; the database is a checkpoint of those records up to a position
//! stored in the same flush. So nobody ever waits for the database, and after a crash the log
//! behind that position is replayed. Never reads the log itself.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::LogPos;

use super::error::StoreError;
use super::log::Log;
use super::options::SAY_FULL_EVERY;

/// The kinds of rows. The numbers are on disk: they are never changed nor used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Table {
    Meta = 1,
    Vhosts = 2,
    Users = 3,
    Permissions = 4,
    TopicPermissions = 5,
    Exchanges = 6,
    Queues = 7,
    Bindings = 8,
    Policies = 9,
    OperatorPolicies = 10,
    Parameters = 11,
    GlobalParameters = 12,
    VhostLimits = 13,
    UserLimits = 14,
}

impl Table {
    /// All tables, by number.
    pub const ALL: [Table; 14] = [
        Table::Meta,
        Table::Vhosts,
        Table::Users,
        Table::Permissions,
        Table::TopicPermissions,
        Table::Exchanges,
        Table::Queues,
        Table::Bindings,
        Table::Policies,
        Table::OperatorPolicies,
        Table::Parameters,
        Table::GlobalParameters,
        Table::VhostLimits,
        Table::UserLimits,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|table| *table as u8 == number)
    }
}

/// One row of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Unique within its table.
    pub key: Vec<u8>,
    /// Opaque here.
    pub value: Vec<u8>,
}

/// A catalogue record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where the record is.
    pub position: LogPos,
    /// The row's table.
    pub table: Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// Its new value; `None` deletes it.
    pub value: Option<Vec<u8>>,
}

/// A database that holds the rows. Only one thread at a time uses it.
pub trait Rows: Send {
    /// The last change that was applied when the last flush before the start was made.
    fn applied(&self) -> LogPos;
    /// All rows, ordered by table and key.
    fn load(&self) -> Result<Vec<(Table, Row)>, StoreError>;
    /// Applies a change, perhaps only in memory.
    fn apply(&mut self, change: &Change) -> Result<(), StoreError>;
    /// Makes all changes durable, together with the position of the last of them: after a crash
    /// either both are there or neither. Never called again after an error, unless the disk was full.
    fn flush(&mut self, applied: LogPos) -> Result<(), StoreError>;
    /// After an error: gives the database up without another write.
    fn abandon(self: Box<Self>);
}

/// What the catalogue's thread does, without the thread.
pub(crate) struct Keeper {
    rows: Box<dyn Rows>,
    log: Log,
    applied: LogPos,
    dirty: bool,
}

impl Keeper {
    /// `rows` holds everything up to `applied`, flushed.
    pub(crate) fn new(rows: Box<dyn Rows>, log: Log, applied: LogPos) -> Keeper {
        Keeper {
            rows,
            log,
            applied,
            dirty: false,
        }
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            self.rows.apply(change)?;
            self.applied = change.position;
            self.dirty = true;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.dirty {
            loop {
                match self.rows.flush(self.applied) {
                    Err(error) if error.is_full() && self.log.shared.make_room() => {}
                    done => break done?,
                }
            }
            self.dirty = false;
            let shared = &self.log.shared;
            shared.segments.flushed(self.applied);
            if shared.segments.any_empty() {
                shared.due.soon();
            }
        }
        Ok(())
    }

    /// Flushes, unless the disk is full: then it says so, and when to try again.
    fn flush_or_wait(&mut self, said: &mut Option<Instant>) -> Result<Instant, StoreError> {
        let done = self.flush();
        let now = Instant::now();
        match done {
            Err(error) if error.is_full() => {
                if said.is_none_or(|said| now - said >= SAY_FULL_EVERY) {
                    *said = Some(now);
                    tracing::error!(%error, "the disk is full: the log keeps what changes in the catalogue");
                }
                Ok(now + self.log.shared.options.full_retry_every)
            }
            done => {
                *said = None;
                done.map(|()| now)
            }
        }
    }

    /// Applies what comes, and flushes it at most `every` later, until the sender is gone.
    fn run(&mut self, changes: &Receiver<Vec<Change>>, every: Duration) -> Result<(), StoreError> {
        let (mut flush_at, mut said) = (Instant::now(), None);
        loop {
            let received = if self.dirty {
                changes.recv_timeout(flush_at.saturating_duration_since(Instant::now()))
            } else {
                changes.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match received {
                Ok(changes) => {
                    if !self.dirty {
                        flush_at = Instant::now() + every;
                    }
                    self.apply(&changes)?;
                    // A steady stream of changes never times out.
                    if Instant::now() >= flush_at {
                        flush_at = self.flush_or_wait(&mut said)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => flush_at = self.flush_or_wait(&mut said)?,
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
        }
    }
}

/// The running thread.
pub(crate) struct CatalogueThread {
    thread: Option<JoinHandle<()>>,
    failure: Failure,
}

/// What was tried, and why it failed.
type Failure = Arc<OnceLock<(&'static str, String)>>;

impl CatalogueThread {
    pub(crate) fn start(
        mut keeper: Keeper,
        changes: Receiver<Vec<Change>>,
        every: Duration,
    ) -> std::io::Result<CatalogueThread> {
        let failure = Arc::new(OnceLock::new());
        let report = failure.clone();
        let work = move || {
            let _guard = PanicGuard(report.clone());
            if let Err(error) = keeper.run(&changes, every) {
                tracing::error!(%error, "the catalogue stops; the log still holds every change");
                let _ = report.set(match error {
                    StoreError::Catalogue { operation, reason } => (operation, reason),
                    error => ("write", error.to_string()),
                });
                keeper.rows.abandon();
            }
        };
        let thread = std::thread::Builder::new()
            .name("warren-catalogue".into())
            .spawn(work)?;
        Ok(CatalogueThread {
            thread: Some(thread),
            failure,
        })
    }

    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.failure
            .get()
            .map(|(operation, reason)| StoreError::catalogue(operation, reason))
    }

    /// Waits for the last flush; the log must be closed.
    pub(crate) fn join(&mut self) -> Result<(), StoreError> {
        if let Some(thread) = self.thread.take() {
            // A panic is in `failure`.
            let _ = thread.join();
        }
        self.failure().map_or(Ok(()), Err)
    }
}

struct PanicGuard(Failure);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.set(("write", String::from("its thread panicked")));
        }
    }
}
