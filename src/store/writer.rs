//! The one thread that writes the log: group commit.
//!
//! Owns the active segment's file. A turn takes everything pending, writes it with one call, syncs
//! once, and tells who waits; what arrives meanwhile is the next turn's group, so the group grows
//! with the load and an idle log waits for nothing. A full disk makes it wait and write the same octets to the same place again, until there is space.
//! After any other error it does nothing any more: a page the kernel could not write may be lost though
//! a second sync would succeed.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use crate::base::{Durability, LogPos};

use super::catalogue::{Change, Table};
use super::error::LogError;
use super::format::{FILE_HEADER_BYTES, file_name};
use super::io::{Io, IoFile};
use super::log::Log;
use super::options::{SAY_FULL_EVERY, ZEROS_AHEAD_BYTES, ZEROS_GROUP_BYTES};
use super::record::{self, Record};
use super::scan::records;
use super::shared::{Group, PendingBatch, Shared};
use super::space::is_full;
use super::spares::NewSegment;

/// The writer's state; `run` is its thread, tests call `turn` themselves.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    io: Arc<dyn Io>,
    file: Arc<dyn IoFile>,
    /// The active segment's.
    nonce: u32,
    /// End of what is written; its segment is the one `file` is.
    end: LogPos,
    /// How far the active segment's file is written, with zeros or by an earlier life.
    written_bytes: u64,
    /// End of what is known to be on disk.
    synced: LogPos,
    last_sync: Instant,
    /// Something is written that is to be synced at the interval.
    interval_waits: bool,
    /// Where catalogue changes go once they are on disk. `None` when nobody takes them any more.
    catalogue: Option<SyncSender<Vec<Change>>>,
}

impl Writer {
    /// Begins `segment`, durably: from now on the log is not cleanly shut down.
    pub(crate) fn begin(
        log: &Log,
        io: Arc<dyn Io>,
        segment: u32,
        previous_end: u32,
        catalogue: SyncSender<Vec<Change>>,
    ) -> Result<Writer, LogError> {
        let NewSegment {
            file,
            nonce,
            written_bytes,
            ..
        } = log
            .shared
            .spares
            .create(&*io, segment, previous_end)
            .map_err(|reason| LogError::failed("create", file_name(segment), 0, reason))?;
        let end = LogPos::new(segment, FILE_HEADER_BYTES);
        Ok(Writer {
            shared: log.shared.clone(),
            io,
            file,
            nonce,
            end,
            written_bytes,
            synced: end,
            last_sync: Instant::now(),
            interval_waits: false,
            catalogue: Some(catalogue),
        })
    }

    /// Works until the log is closed or fails.
    pub(crate) fn run(mut self) {
        let _guard = PanicGuard(self.shared.clone());
        let mut group = Group::default();
        loop {
            self.shared.take(&mut group, self.deadline());
            if let Err(failure) = self.turn(&mut group) {
                tracing::error!(%failure, "the commit log stops");
                self.shared.stop(failure);
                return;
            }
            if group.closed {
                self.shared.wake_all();
                return;
            }
        }
    }

    /// One group commit.
    pub(crate) fn turn(&mut self, group: &mut Group) -> Result<(), LogError> {
        let (mut bytes, mut records) = (0, 0);
        for PendingBatch { batch, .. } in &group.batches {
            bytes += batch.len();
            records += u64::from(batch.records());
        }
        let group_bytes = bytes;
        self.write(&mut group.batches)?;
        if group.closed {
            self.cut_zeros()?;
        }
        if self.must_sync(group) {
            let (early, early_bytes) = self.written_is_enough(&group.batches);
            if early_bytes > 0 {
                self.shared.advance(early, early_bytes);
                bytes -= early_bytes;
            }
            self.sync()?;
        }
        if !group.batches.is_empty() {
            self.shared.advance(self.end, bytes);
            self.shared
                .health
                .group(group.batches.len(), records, group_bytes);
            self.hand_over_catalogue(&group.batches)?;
            self.shared.recycle(&mut group.batches);
        }
        group.syncs.clear();
        Ok(())
    }

    /// When to come back though nothing was appended.
    fn deadline(&self) -> Option<Instant> {
        let waits = self.interval_waits && self.synced < self.end;
        waits.then(|| self.last_sync + self.shared.options.sync_interval)
    }

    /// What a batch waits for.
    fn wanted(&self, pending: &PendingBatch) -> Durability {
        match pending.batch.last_catalogue() {
            // sled must never be ahead of the log, or a queue could exist whose declaration does not.
            Some(_) => Durability::Fsync,
            None => {
                let setting = self.shared.options.durability;
                pending.batch.wanted().unwrap_or(setting)
            }
        }
    }

    fn must_sync(&mut self, group: &Group) -> bool {
        if self.synced >= self.end {
            return false;
        }
        let mut at_once = group.closed || !group.syncs.is_empty();
        for pending in &group.batches {
            match self.wanted(pending) {
                Durability::Fsync => at_once = true,
                Durability::Interval => self.interval_waits = true,
                Durability::Os => {}
            }
        }
        let interval = self.shared.options.sync_interval;
        at_once || (self.interval_waits && self.last_sync.elapsed() >= interval)
    }

    /// The end of the first batches of a group that is to be synced, which need not wait for that; and
    /// their octets.
    fn written_is_enough(&self, batches: &[PendingBatch]) -> (LogPos, usize) {
        let early = batches
            .iter()
            .take_while(|pending| self.wanted(pending) < Durability::Fsync);
        let (mut end, mut bytes) = (LogPos::NONE, 0);
        for PendingBatch { position, batch } in early {
            end = LogPos(position.0 + batch.len() as u64);
            bytes += batch.len();
        }
        (end, bytes)
    }

    fn write(&mut self, batches: &mut [PendingBatch]) -> Result<(), LogError> {
        let same_segment =
            |a: &PendingBatch, b: &PendingBatch| a.position.segment() == b.position.segment();
        for run in batches.chunk_by_mut(same_segment) {
            let Some(start) = run.first().map(|first| first.position) else {
                continue;
            };
            if start.segment() != self.end.segment() {
                self.next_segment(start.segment())?;
            }
            debug_assert_eq!(start, self.end, "batches have no gaps between them");
            for pending in run.iter_mut() {
                pending
                    .batch
                    .seal(pending.position, self.synced, self.nonce);
            }
            let mut slices: Vec<_> = run
                .iter()
                .map(|pending| IoSlice::new(pending.batch.bytes()))
                .collect();
            let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
            let (offset, batches) = (u64::from(start.offset()), slices.len());
            let end = offset + bytes as u64;
            let zeros = self.zeros_behind(end, bytes);
            zeros_into(&mut slices, zeros);
            let write = || match self.file.write_all_at(&slices, offset) {
                Err(error) if zeros > 0 && is_full(&error) => {
                    // What must be written may fit where the zeros did not.
                    let without = slices.get(..batches).unwrap_or_default();
                    self.file.write_all_at(without, offset).map(|()| end)
                }
                done => done.map(|()| end + zeros),
            };
            let written = self
                .while_full(write)
                .map_err(|reason| self.failed("write", reason))?;
            self.shared
                .space
                .grown(written.saturating_sub(self.written_bytes));
            self.written_bytes = self.written_bytes.max(written);
            self.end = LogPos(start.0 + bytes as u64);
        }
        Ok(())
    }

    /// How many zeros to write behind `end`, to which a write of `bytes` octets goes.
    fn zeros_behind(&self, end: u64, bytes: usize) -> u64 {
        if end <= self.written_bytes || bytes >= ZEROS_GROUP_BYTES || self.shared.space.is_scarce()
        {
            return 0;
        }
        let most = u64::from(self.shared.options.segment_bytes);
        most.saturating_sub(end).min(ZEROS_AHEAD_BYTES)
    }

    /// Nothing follows: the file ends where the log ends.
    fn cut_zeros(&mut self) -> Result<(), LogError> {
        let end = u64::from(self.end.offset());
        if self.written_bytes > end {
            let cut = self.file.truncate(end).and_then(|()| self.file.sync_data());
            cut.map_err(|reason| self.failed("truncate", reason))?;
            self.written_bytes = end;
            self.synced = self.end;
        }
        Ok(())
    }

    /// The old segment is synced before the new one exists: recovery relies on it.
    fn next_segment(&mut self, segment: u32) -> Result<(), LogError> {
        if self.synced < self.end {
            self.sync()?;
        }
        let (closed, end) = (self.end.segment(), self.end.offset());
        let create = || self.shared.spares.create(&*self.io, segment, end);
        let new = self
            .while_full(create)
            .map_err(|reason| LogError::failed("create", file_name(segment), 0, reason))?;
        (self.file, self.nonce) = (new.file, new.nonce);
        self.written_bytes = new.written_bytes;
        if new.reused {
            self.shared.health.reused();
        }
        self.shared.segments.close(closed, end);
        self.end = LogPos::new(segment, FILE_HEADER_BYTES);
        self.synced = self.end;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        self.file
            .sync_data()
            .map_err(|reason| self.failed("sync", reason))?;
        self.synced = self.end;
        self.interval_waits = false;
        self.last_sync = Instant::now();
        self.shared.health.synced(self.last_sync - began);
        Ok(())
    }

    /// Does something that takes space, with what can be given up for it; again and again while there is none,
    /// unless the log is to stop.
    fn while_full<T>(&self, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut said: Option<Instant> = None;
        loop {
            let result = self.shared.with_room(&attempt);
            let stops = || self.shared.stopping.load(Ordering::Acquire) || self.shared.is_closed();
            match result {
                Err(error) if is_full(&error) && !stops() => {
                    if !self.shared.full.swap(true, Ordering::AcqRel) {
                        self.shared.space.ask();
                    }
                    if said.is_none_or(|said| said.elapsed() >= SAY_FULL_EVERY) {
                        said = Some(Instant::now());
                        tracing::error!(%error, "the disk is full: nothing is confirmed until there is space");
                    }
                    std::thread::sleep(self.shared.options.full_retry_every);
                }
                result => {
                    if said.is_some() && result.is_ok() {
                        self.shared.full.store(false, Ordering::Release);
                        tracing::info!("the disk has space again");
                    }
                    return result;
                }
            }
        }
    }

    fn failed(&self, operation: &'static str, reason: io::Error) -> LogError {
        let offset = u64::from(self.end.offset());
        LogError::failed(operation, file_name(self.end.segment()), offset, reason)
    }

    /// Gives the catalogue changes of batches that are on disk to sled's thread. Waits if that
    /// thread is far behind.
    fn hand_over_catalogue(&mut self, batches: &[PendingBatch]) -> Result<(), LogError> {
        let Some(catalogue) = &self.catalogue else {
            return Ok(());
        };
        let mut changes = Vec::new();
        for pending in batches
            .iter()
            .filter(|p| p.batch.last_catalogue().is_some())
        {
            let records = records(pending.position, pending.batch.payload());
            for (position, kind, payload) in
                records.filter(|(_, kind, _)| *kind == record::CATALOGUE)
            {
                let Ok(Record::Catalogue { table, key, value }) = record::decode(kind, payload)
                else {
                    let reason = io::Error::other("a catalogue record cannot be read back");
                    return Err(self.failed("decode", reason));
                };
                if let Some(table) = Table::from_number(table) {
                    let value = value.map(<[u8]>::to_vec);
                    changes.push(Change {
                        position,
                        table,
                        key: key.to_vec(),
                        value,
                    });
                }
            }
        }
        if !changes.is_empty() && catalogue.send(changes).is_err() {
            // Its thread ended with an error it has reported itself. The log goes on: it has every
            // change, keeps the segments they are in, and a restart applies them.
            self.catalogue = None;
        }
        Ok(())
    }
}

/// Adds `bytes` octets of zeros.
fn zeros_into(slices: &mut Vec<IoSlice<'_>>, bytes: u64) {
    let mut left = bytes as usize;
    while left > 0 {
        let piece = ZEROS.get(..left.min(ZEROS.len())).unwrap_or(&ZEROS);
        slices.push(IoSlice::new(piece));
        left -= piece.len();
    }
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Stops the log should the writer panic, so that producers get an error and nobody waits for ever.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = io::Error::other("the writer thread panicked");
            self.0.stop(LogError::failed(
                "write",
                String::from("the log"),
                0,
                reason,
            ));
        }
    }
}
