//! A batch: records being gathered by one producer, encoded and checksummed outside every lock.
//!
//! Owns a buffer that begins with room for the batch header; the log's writer fills that in, since
//! only then the position is known. Never knows where it will end up.

use crate::base::index::IndexEntry;
use crate::base::{Durability, LogPos, QueueId};

use super::catalogue::Table;
use super::format::{BATCH_HEADER_BYTES, BatchHeader, RECORD_HEADER_BYTES};
use super::record;

/// Where a record starts, counted from the start of its batch, in octets.
/// [`Appended::position`](super::Appended::position) makes a position of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordOffset(pub(crate) u32);

/// Records that will be written together, and become durable together.
///
/// Get one from [`Log::batch`](super::Log::batch), fill it, give it to
/// [`Log::append`](super::Log::append).
#[derive(Debug, Default)]
pub struct Batch {
    buffer: Vec<u8>,
    records_crc: u32,
    publications: u32,
    records: u32,
    last_catalogue: Option<RecordOffset>,
    wanted: Option<Durability>,
}

impl Batch {
    /// An empty batch with a buffer of its own.
    pub fn new() -> Batch {
        Batch::with_buffer(Vec::new())
    }

    /// An empty batch in a used buffer, whose contents are dropped.
    pub(crate) fn with_buffer(mut buffer: Vec<u8>) -> Batch {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES as usize, 0);
        Batch {
            buffer,
            ..Batch::default()
        }
    }

    /// A message, written once for all of `queues`, which must differ. `stamped_ms` is the time it
    /// was accepted, since the epoch; `message` is gathered from its parts.
    pub fn publish(
        &mut self,
        stamped_ms: u64,
        queues: &[QueueId],
        message: &[&[u8]],
    ) -> RecordOffset {
        self.publications = self.publications.saturating_add(queues.len() as u32);
        let start = self.begin(record::PUBLISH);
        record::put_publish(&mut self.buffer, stamped_ms, queues, message);
        self.finish(start)
    }

    /// A transient message for [`Log::spill`](super::Log::spill), which `queues` queues are going to hold.
    pub fn spill(&mut self, stamped_ms: u64, queues: u32, message: &[&[u8]]) -> RecordOffset {
        let offset = self.publish(stamped_ms, &[], message);
        self.publications = self.publications.saturating_add(queues);
        offset
    }

    /// `queue` no longer holds the messages at `positions`: consumed, purged or dropped.
    pub fn ack(&mut self, queue: QueueId, positions: impl IntoIterator<Item = LogPos>) {
        self.listed(record::ACK, queue, positions);
    }

    /// The message at `position` leaves `queue` and, in the same step, is published as `message` to
    /// `queues`: there is no crash after which it is in both or in neither.
    pub fn move_to(
        &mut self,
        queue: QueueId,
        position: LogPos,
        stamped_ms: u64,
        queues: &[QueueId],
        message: &[&[u8]],
    ) -> RecordOffset {
        self.publications = self.publications.saturating_add(queues.len() as u32);
        let start = self.begin(record::MOVE);
        record::put_moved(&mut self.buffer, queue, position);
        record::put_publish(&mut self.buffer, stamped_ms, queues, message);
        self.finish(start)
    }

    /// The messages `entries`, at most [`PAGE_LEN`](crate::base::index::PAGE_LEN), of a lane of
    /// `queue` are a page from now on, in this order. `replaces` is the page whose place it takes, or
    /// [`LogPos::NONE`]. Whatever stands behind them in the lane, and whatever is appended but not yet in
    /// the queue ([`Log::applied_below`](super::Log::applied_below)), should have a later position than each
    /// of them: recovery knows no other order between a page and what is in none. The record is one more thing to release, once nothing is left of the page.
    pub fn page(
        &mut self,
        queue: QueueId,
        lane: u8,
        replaces: LogPos,
        entries: &[IndexEntry],
    ) -> RecordOffset {
        self.publications = self.publications.saturating_add(1);
        let start = self.begin(record::PAGE);
        record::put_page(&mut self.buffer, queue, lane, replaces, entries);
        self.finish(start)
    }

    /// `queue` no longer holds what was left of its pages at `pages`.
    pub fn ack_pages(&mut self, queue: QueueId, pages: impl IntoIterator<Item = LogPos>) {
        self.listed(record::ACK_PAGES, queue, pages);
    }

    /// A copy of a message, for [`Batch::rename`] and [`Batch::page`] to refer to. It is one thing to
    /// release, by who made it, once they do.
    pub fn copy(&mut self, stamped_ms: u64, message: &[u8]) -> RecordOffset {
        let offset = self.publish(stamped_ms, &[], &[message]);
        self.publications = self.publications.saturating_add(1);
        offset
    }

    /// Of messages of `queue` in no page: those at the first position of each pair are at the second
    /// one now. The new positions are to be [held](super::Log::hold_many), the old ones released.
    pub fn rename(&mut self, queue: QueueId, pairs: &[(LogPos, LogPos)]) {
        let positions = pairs.iter().flat_map(|(old, new)| [*old, *new]);
        self.listed(record::RENAME, queue, positions);
    }

    /// Sets a row of the catalogue.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.catalogue(table, key, Some(value));
    }

    /// Removes a row of the catalogue, if there is one.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.catalogue(table, key, None);
    }

    /// The batch counts as durable when it is as durable as this. Of several calls the strongest counts; the
    /// log's setting does if there is none. A batch that changes the catalogue is synced anyway.
    pub fn wants(&mut self, durability: Durability) {
        self.wanted = self.wanted.max(Some(durability));
    }

    /// What was [wanted](Batch::wants).
    pub(crate) fn wanted(&self) -> Option<Durability> {
        self.wanted
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.buffer.len() <= BATCH_HEADER_BYTES as usize
    }

    /// Size on disk, in octets, header included.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// What has to be released one day: how many queues got a message, over all publishes; pages and
    /// copies.
    pub(crate) fn publications(&self) -> u32 {
        self.publications
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    pub(crate) fn last_catalogue(&self) -> Option<RecordOffset> {
        self.last_catalogue
    }

    /// Writes the header: the batch is going to `position`, and everything up to `synced` is on
    /// disk. `nonce` is the segment's.
    pub(crate) fn seal(&mut self, position: LogPos, synced: LogPos, nonce: u32) {
        let payload_bytes = self
            .buffer
            .len()
            .saturating_sub(BATCH_HEADER_BYTES as usize) as u32;
        let header = BatchHeader {
            payload_bytes,
            position,
            synced,
            records_crc: self.records_crc,
        };
        if let Some(place) = self.buffer.first_chunk_mut() {
            *place = header.encode(nonce);
        }
    }

    /// Header and records as they go to the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The records alone.
    pub(crate) fn payload(&self) -> &[u8] {
        self.buffer
            .get(BATCH_HEADER_BYTES as usize..)
            .unwrap_or_default()
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    fn catalogue(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        let start = self.begin(record::CATALOGUE);
        record::put_catalogue(&mut self.buffer, table as u8, key, value);
        self.last_catalogue = Some(self.finish(start));
    }

    fn listed(&mut self, kind: u8, queue: QueueId, positions: impl IntoIterator<Item = LogPos>) {
        let start = self.begin(kind);
        if record::put_listed(&mut self.buffer, queue, positions) == 0 {
            self.buffer.truncate(start);
        } else {
            self.finish(start);
        }
    }

    fn begin(&mut self, kind: u8) -> usize {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES - 1]);
        self.buffer.push(kind);
        start
    }

    /// Puts length and checksum in front of the record begun at `start`. Should the batch pass what
    /// 32 bits can count, the numbers are nonsense; `append` refuses such a batch by its size.
    fn finish(&mut self, start: usize) -> RecordOffset {
        if let Some((head, body)) = self
            .buffer
            .get_mut(start..)
            .and_then(|record| record.split_first_chunk_mut::<8>())
        {
            let mut fields = [0; 8];
            fields[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
            fields[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
            *head = fields;
            self.records_crc = crc32c::crc32c_append(self.records_crc, &fields);
            self.records = self.records.wrapping_add(1);
        }
        RecordOffset(start as u32)
    }
}
