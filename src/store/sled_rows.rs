//! The catalogue's rows in sled.
//!
//! Owns the settings that make sled safe here, and why:
//!
//! * one tree; a row's key is the table's number and the row's key. Table 0 is ours: it holds the
//!   applied position, so that it is in the same flush as the rows.
//! * leaf fanout 64: a flush rewrites every touched leaf whole. It cannot be changed later.
//! * no flusher thread: flushes are ours, so that an error reaches us and is the last.
//! * after a stop that was not in order it is not opened again but built anew from [`rows_file`]: of
//!   about 75 kills, many of them in the middle of opening, one left a database that would not open.
//! * a settings file of length 0 is deleted before opening, which writes it again: it is what a
//!   power cut can leave behind.
//!
//! After an error sled is neither flushed nor dropped: dropping flushes, and a flush after a failed
//! one hangs for ever.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::LogPos;

use super::catalogue::{Change, Row, Rows, Table};
use super::error::StoreError;
use super::format::Cursor;
use super::io::{RealIo, create_directory, create_file, sync_parent};
use super::rows_file::{self, RowsFile};

const LEAF_FANOUT: usize = 64;
pub(super) const APPLIED_KEY: &[u8] = b"\0applied";

/// A catalogue in sled.
pub struct SledRows {
    /// Until it is closed.
    db: Option<sled::Db<LEAF_FANOUT>>,
    file: RowsFile,
    path: PathBuf,
    applied: LogPos,
}

impl SledRows {
    /// Opens or creates the database in `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Catalogue`] when it cannot be read, [`StoreError::Io`].
    pub fn open(path: &Path, cache_bytes: usize) -> Result<SledRows, StoreError> {
        let mark = mark(path);
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let io = RealIo::open(parent).map_err(|error| StoreError::io("open", parent, error))?;
        let found = match mark.exists() {
            true => None,
            false => rows_file::read(&io)?,
        };
        if found.is_some() {
            std::fs::remove_dir_all(path).map_err(|error| StoreError::io("delete", path, error))?;
            create_directory(path).map_err(|error| StoreError::io("create", path, error))?;
        }
        if mark.exists() {
            // From here on it is open, and so not closed in order until it says so again.
            std::fs::remove_file(&mark).map_err(|error| StoreError::io("delete", &mark, error))?;
            sync_parent(path).map_err(|error| StoreError::io("sync beside", path, error))?;
        }
        let db = Self::open_sled(path, cache_bytes)?;
        for (key, value) in found.unwrap_or_default() {
            db.insert(key, value)
                .map_err(|error| StoreError::catalogue("write", error))?;
        }
        let stored = db
            .get(APPLIED_KEY)
            .map_err(|error| StoreError::catalogue("read", error))?;
        let applied = stored
            .and_then(|bytes| Cursor(&bytes).u64())
            .map_or(LogPos::NONE, LogPos);
        let path = path.to_owned();
        Ok(SledRows {
            db: Some(db),
            file: RowsFile::new(Arc::new(io)),
            path,
            applied,
        })
    }

    /// All that a database holds, as it stands in [`rows_file`]. Opening it writes to it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Catalogue`] when it cannot be read.
    pub(super) fn read(path: &Path, cache_bytes: usize) -> Result<rows_file::Rows, StoreError> {
        let db = Self::open_sled(path, cache_bytes)?;
        let read = || -> std::io::Result<rows_file::Rows> {
            let rows = db
                .iter()
                .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())));
            rows.collect()
        };
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)) {
            Ok(rows) => rows.map_err(|error| StoreError::catalogue("read", error)),
            Err(_) => Err(StoreError::catalogue(
                "read",
                "sled panicked: it is damaged",
            )),
        }
    }

    /// Whether the next start opens the database in `path`, and does not build it anew.
    pub(super) fn is_marked(path: &Path) -> bool {
        mark(path).exists()
    }

    /// Has the next start build the database in `path` anew, from `catalogue.rows`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub(super) fn distrust(path: &Path) -> Result<(), StoreError> {
        let mark = mark(path);
        match std::fs::remove_file(&mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("delete", &mark, error))
            }
            _ => Ok(()),
        }
    }

    fn open_sled(path: &Path, cache_bytes: usize) -> Result<sled::Db<LEAF_FANOUT>, StoreError> {
        let cookie = path.join("durability_cookie");
        if std::fs::metadata(&cookie).is_ok_and(|metadata| metadata.len() == 0) {
            std::fs::remove_file(&cookie)
                .map_err(|error| StoreError::io("delete", &cookie, error))?;
        }
        let config = sled::Config::new()
            .path(path)
            .cache_capacity_bytes(cache_bytes)
            .flush_every_ms(None);
        // sled panics on some kinds of damage.
        let opened = std::panic::catch_unwind(|| config.open::<LEAF_FANOUT>());
        match opened {
            Ok(opened) => opened.map_err(|error| StoreError::catalogue("open", error)),
            Err(_) => Err(StoreError::catalogue(
                "open",
                "sled panicked: it is damaged",
            )),
        }
    }

    fn db(&self) -> Result<&sled::Db<LEAF_FANOUT>, StoreError> {
        self.db
            .as_ref()
            .ok_or_else(|| StoreError::catalogue("use", "it is closed"))
    }
}

/// Closes sled in order, and says so. Not after a panic: what it holds then is anybody's guess.
impl Drop for SledRows {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.db.take());
            return;
        }
        drop(self.db.take());
        // Without the mark the next start builds it anew, which is slower and as good.
        let marked = sync_files(&self.path).and_then(|()| create_file(&mark(&self.path)));
        let synced = marked.and_then(|mark| mark.sync_all());
        if let Err(error) = synced.and_then(|()| sync_parent(&self.path)) {
            tracing::warn!(%error, "the catalogue is closed, but cannot be marked so");
        }
    }
}

/// What says that sled in `path` was closed in order.
fn mark(path: &Path) -> PathBuf {
    path.with_extension("clean")
}

/// Syncs every file below a directory: sled writes one of its files without.
fn sync_files(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}

impl Rows for SledRows {
    fn applied(&self) -> LogPos {
        self.applied
    }

    fn load(&self) -> Result<Vec<(Table, Row)>, StoreError> {
        let mut rows = Vec::new();
        for entry in self.db()?.iter() {
            let (key, value) = entry.map_err(|error| StoreError::catalogue("read", error))?;
            let Some((number, key)) = key.split_first() else {
                continue;
            };
            if *number == 0 {
                continue;
            }
            let table = Table::from_number(*number).ok_or_else(|| {
                StoreError::catalogue("read", format!("table {number} is of a newer version"))
            })?;
            rows.push((
                table,
                Row {
                    key: key.to_vec(),
                    value: value.to_vec(),
                },
            ));
        }
        Ok(rows)
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        let mut key = Vec::with_capacity(1 + change.key.len());
        key.push(change.table as u8);
        key.extend_from_slice(&change.key);
        self.file.change(&key, change.value.as_deref());
        let done = match &change.value {
            Some(value) => self.db()?.insert(key, value.as_slice()),
            None => self.db()?.remove(key),
        };
        done.map(drop)
            .map_err(|error| StoreError::catalogue("write", error))
    }

    fn flush(&mut self, applied: LogPos) -> Result<(), StoreError> {
        let db = self.db.as_ref();
        let db = db.ok_or_else(|| StoreError::catalogue("use", "it is closed"))?;
        let position = applied.0.to_le_bytes();
        db.insert(APPLIED_KEY, &position[..])
            .map_err(|error| StoreError::catalogue("write", error))?;
        self.file.change(APPLIED_KEY, Some(&position));
        self.file.flush(|| db.iter())?;
        db.flush()
            .map_err(|error| StoreError::catalogue("flush", error))?;
        self.applied = applied;
        Ok(())
    }

    fn abandon(self: Box<Self>) {
        // On purpose: its destructor would flush.
        std::mem::forget(self);
    }
}
