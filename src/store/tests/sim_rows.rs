//! A catalogue in memory that loses what was not flushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::LogPos;
use crate::store::catalogue::{Change, Row, Rows, Table};
use crate::store::error::StoreError;

type RowMap = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A catalogue in memory whose unflushed changes are lost at a restart. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct SimRows(Arc<Mutex<RowState>>);

#[derive(Debug, Clone, Default)]
struct RowState {
    current: RowMap,
    flushed: RowMap,
    applied: LogPos,
    fail_flush: bool,
    /// So many flushes find the disk full.
    full: u32,
    failed: bool,
}

impl SimRows {
    pub(super) fn restart(&self) {
        let mut state = self.0.lock();
        state.current = state.flushed.clone();
        state.failed = false;
        state.fail_flush = false;
    }

    /// Another one with the same rows.
    pub(super) fn copy(&self) -> SimRows {
        SimRows(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// So many flushes find the disk full.
    pub(super) fn fill(&self, flushes: u32) {
        self.0.lock().full = flushes;
    }

    /// Whether flushes still find it full.
    pub(super) fn is_full(&self) -> bool {
        self.0.lock().full > 0
    }

    pub(super) fn fail_flush(&self) {
        self.0.lock().fail_flush = true;
    }
}

impl Rows for SimRows {
    fn applied(&self) -> LogPos {
        self.0.lock().applied
    }

    fn load(&self) -> Result<Vec<(Table, Row)>, StoreError> {
        let state = self.0.lock();
        let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| {
            (
                *table,
                Row {
                    key: key.clone(),
                    value: value.clone(),
                },
            )
        };
        Ok(state.current.iter().map(row).collect())
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        let key = (change.table, change.key.clone());
        match &change.value {
            Some(value) => state.current.insert(key, value.clone()),
            None => state.current.remove(&key),
        };
        Ok(())
    }

    fn flush(&mut self, applied: LogPos) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        assert!(!state.failed, "flushed after an error");
        if let Some(left) = state.full.checked_sub(1) {
            state.full = left;
            let full = std::io::ErrorKind::StorageFull.into();
            return Err(StoreError::io("write", "catalogue.rows", full));
        }
        if state.fail_flush {
            state.failed = true;
            return Err(StoreError::catalogue("flush", "simulated"));
        }
        state.flushed = state.current.clone();
        state.applied = applied;
        Ok(())
    }

    fn abandon(self: Box<Self>) {}
}
