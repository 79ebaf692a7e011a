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
//! one hangs for ever. What is in [`rows_file`] then goes on without it, and the next start builds it anew.

use std::fs::File;
use std::io;
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
    /// Until it has failed, or is closed.
    db: Option<sled::Db<LEAF_FANOUT>>,
    /// All rows, once sled has failed.
    without: Option<rows_file::Rows>,
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
            without: None,
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

    /// Goes on without sled, which has failed, with what the file has.
    fn leave_sled(&mut self, operation: &'static str, error: &io::Error) -> Result<(), StoreError> {
        // On purpose: its destructor would flush.
        std::mem::forget(self.db.take());
        let reason = words(error);
        let Some(rows) = self.file.rows()? else {
            return Err(StoreError::catalogue(operation, reason));
        };
        tracing::error!(
            operation,
            reason,
            "sled is given up; the catalogue goes on in catalogue.rows, from which the next start builds sled anew"
        );
        self.without = Some(rows);
        Ok(())
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
        if self.without.is_some() {
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

/// What became of it; where in sled's source that was found is of no use to anybody here.
fn words(error: &io::Error) -> String {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        kind @ (StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied) => {
            kind.to_string()
        }
        _ => error.to_string(),
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
        if let Some(rows) = &mut self.without {
            match &change.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
            return Ok(());
        }
        let done = match &change.value {
            Some(value) => self.db()?.insert(key, value.as_slice()),
            None => self.db()?.remove(key),
        };
        match done {
            Ok(_) => Ok(()),
            Err(error) => self.leave_sled("write", &error),
        }
    }

    fn flush(&mut self, applied: LogPos) -> Result<(), StoreError> {
        let position = applied.0.to_le_bytes();
        self.file.change(APPLIED_KEY, Some(&position));
        if self.without.is_none()
            && let Err(error) = self.db()?.insert(APPLIED_KEY, &position[..])
        {
            self.leave_sled("write", &error)?;
        }
        if let Some(rows) = &mut self.without {
            rows.insert(APPLIED_KEY.to_vec(), position.to_vec());
            self.file.flush(|| rows.iter().map(Ok))?;
        } else {
            let db = self.db.as_ref();
            let db = db.ok_or_else(|| StoreError::catalogue("use", "it is closed"))?;
            self.file.flush(|| db.iter())?;
            if let Err(error) = db.flush() {
                self.leave_sled("flush", &error)?;
            }
        }
        self.applied = applied;
        Ok(())
    }

    fn abandon(self: Box<Self>) {
        // On purpose: its destructor would flush.
        std::mem::forget(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(position: u64, value: Option<&[u8]>) -> Change {
        Change {
            position: LogPos(position),
            table: Table::Queues,
            key: vec![position as u8 % 4],
            value: value.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn the_rows_go_on_without_a_sled_that_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalogue");
        create_directory(&path).unwrap();
        let mut rows = SledRows::open(&path, 1 << 20).unwrap();
        rows.apply(&change(1, Some(b"flushed"))).unwrap();
        rows.flush(LogPos(1)).unwrap();
        rows.apply(&change(2, Some(b"not flushed"))).unwrap();
        let full = io::Error::new(io::ErrorKind::StorageFull, "heap.rs:186 No space left");
        rows.leave_sled("flush", &full).unwrap();
        rows.apply(&change(3, Some(b"after it"))).unwrap();
        rows.flush(LogPos(3)).unwrap();
        rows.apply(&change(5, None)).unwrap();
        rows.flush(LogPos(5)).unwrap();
        drop(rows);
        assert!(!SledRows::is_marked(&path), "sled is not trusted");

        let rows = SledRows::open(&path, 1 << 20).unwrap();
        assert_eq!(rows.applied(), LogPos(5));
        let values: Vec<Vec<u8>> = rows
            .load()
            .unwrap()
            .into_iter()
            .map(|row| row.1.value)
            .collect();
        assert_eq!(values, [&b"not flushed"[..], b"after it"]);
        assert_eq!(words(&full), "no storage space");
    }
}
