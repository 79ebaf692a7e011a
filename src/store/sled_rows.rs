//! The catalogue's rows in sled.
//!
//! Owns the settings that make sled safe here, and why:
//!
//! * one tree; a row's key is the table's number and the row's key. Table 0 is ours: it holds the
//!   applied position, so that it is in the same flush as the rows.
//! * leaf fanout 64: a flush rewrites every touched leaf whole. It cannot be changed later.
//! * no flusher thread: flushes are ours, so that an error reaches us and is the last.
//! * the file system is synced after the first creation: sled writes its settings file without.
//! * a settings file of length 0 is deleted before opening, which writes it again: it is what a
//!   power cut in the middle of the first start leaves behind.
//!
//! After an error sled is neither flushed nor dropped: dropping flushes, and a flush after a failed
//! one hangs for ever.

use std::fs::File;
use std::path::Path;

use crate::base::LogPos;

use super::catalogue::{Change, Row, Rows, Table};
use super::error::StoreError;
use super::format::Cursor;

const LEAF_FANOUT: usize = 64;
const APPLIED_KEY: &[u8] = b"\0applied";

/// A catalogue in sled.
pub struct SledRows {
    db: sled::Db<LEAF_FANOUT>,
    applied: LogPos,
}

impl SledRows {
    /// Opens or creates the database in `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Catalogue`] when it cannot be read, [`StoreError::Io`].
    pub fn open(path: &Path, cache_bytes: usize) -> Result<SledRows, StoreError> {
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
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(StoreError::catalogue("open", error)),
            Err(_) => {
                return Err(StoreError::catalogue(
                    "open",
                    "sled panicked: it is damaged",
                ));
            }
        };
        if !db.was_recovered() {
            let directory =
                File::open(path).map_err(|error| StoreError::io("open", path, error))?;
            rustix::fs::syncfs(&directory)
                .map_err(|error| StoreError::io("sync", path, error.into()))?;
        }
        let stored = db
            .get(APPLIED_KEY)
            .map_err(|error| StoreError::catalogue("read", error))?;
        let applied = stored
            .and_then(|bytes| Cursor(&bytes).u64())
            .map_or(LogPos::NONE, LogPos);
        Ok(SledRows { db, applied })
    }
}

impl Rows for SledRows {
    fn applied(&self) -> LogPos {
        self.applied
    }

    fn load(&self) -> Result<Vec<(Table, Row)>, StoreError> {
        let mut rows = Vec::new();
        for entry in self.db.iter() {
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
        let done = match &change.value {
            Some(value) => self.db.insert(key, value.as_slice()),
            None => self.db.remove(key),
        };
        done.map(drop)
            .map_err(|error| StoreError::catalogue("write", error))
    }

    fn flush(&mut self, applied: LogPos) -> Result<(), StoreError> {
        self.db
            .insert(APPLIED_KEY, applied.0.to_le_bytes())
            .and_then(|_| self.db.flush())
            .map_err(|error| StoreError::catalogue("flush", error))?;
        self.applied = applied;
        Ok(())
    }

    fn abandon(self: Box<Self>) {
        // On purpose: its destructor would flush.
        std::mem::forget(self);
    }
}
