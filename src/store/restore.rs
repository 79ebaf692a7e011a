//! The second pass over the log: the messages themselves, for the queues that exist.
//!
//! Owns what recovery found until the broker has taken it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{LogPos, QueueId};

use super::catalogue::{Row, Table};
use super::error::StoreError;
use super::format::{BATCH_HEADER_BYTES, FILE_HEADER_BYTES};
use super::io::Io;
use super::live::LiveSet;
use super::log::Log;
use super::record::{self, Publish, Record};
use super::recovery::{Found, Progress, open};
use super::scan::records;

/// What the data directory held. Look at the catalogue first, then take the messages with
/// [`Recovered::restore`]. Until then no segment of before is deleted.
pub struct Recovered {
    /// The catalogue's rows, ordered by key.
    pub rows: BTreeMap<Table, Vec<Row>>,
    /// The broker was shut down in order. Otherwise every message may have been delivered before.
    pub clean: bool,
    /// The highest queue id in any record that is left: new ids must be higher than this and than
    /// those in the catalogue.
    pub highest_queue_id: QueueId,
    pub(crate) queues: HashMap<QueueId, LiveSet>,
    pub(crate) segments: Vec<Found>,
    pub(crate) io: Arc<dyn Io>,
    pub(crate) log: Log,
}

/// A message in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The queue that holds it.
    pub queue: QueueId,
    /// Its identity.
    pub pos: LogPos,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// When it was published, as stamped by the publisher's broker; ms since the epoch.
    pub stamped_ms: u64,
    /// The message as given to [`Batch::publish`](super::Batch::publish). The messages of one
    /// publish to many queues share it.
    pub payload: Bytes,
}

/// What [`Recovered::restore`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// Messages handed over, counted once a queue.
    pub messages: u64,
    /// Messages dropped because their queue does not exist.
    pub dropped: u64,
}

impl Recovered {
    /// Whether any queue, known or not, holds a message.
    pub fn holds_messages(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Hands every message of the existing queues to `visit`, in the order of the log and so, for
    /// each queue, in its order. Reads the log once, front to back. Messages of other queues are
    /// released.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`], [`StoreError::Corrupt`] if a file changed since it was verified.
    pub fn restore(
        self,
        mut queue_exists: impl FnMut(QueueId) -> bool,
        mut visit: impl FnMut(Live),
    ) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        let mut queues = self.queues;
        queues.retain(|queue, live| {
            let keep = queue_exists(*queue);
            if !keep {
                restored.dropped += live.len() as u64;
                self.log
                    .release_all(live.iter().map(|(position, _)| position));
            }
            live.rewind();
            keep
        });
        let mut wanted: HashMap<u32, u64> = count(&queues);
        let mut progress = Progress::new("reading messages", self.segments.len());
        for (done, found) in self.segments.iter().enumerate() {
            // Counts down to stop early: the rest of the segment has been consumed.
            let mut left = wanted.remove(&found.segment).unwrap_or(0);
            let mut reader = if left > 0 {
                Some(open(&*self.io, found.segment)?.0)
            } else {
                None
            };
            let mut offset = FILE_HEADER_BYTES;
            while let Some(reader) = reader.as_mut().filter(|_| left > 0 && offset < found.end) {
                let position = LogPos::new(found.segment, offset);
                let batch = reader
                    .batch(offset)
                    .map_err(|error| StoreError::io("read", position.to_string(), error))?;
                let payload = batch.map_err(|flaw| {
                    StoreError::corrupt(position, format!("it was sound a moment ago: {flaw:?}"))
                })?;
                for (position, kind, body) in records(position, payload) {
                    let (Ok(Record::Publish(publish)) | Ok(Record::Move { publish, .. })) =
                        record::decode(kind, body)
                    else {
                        continue;
                    };
                    let clean = self.clean;
                    let handed = hand_over(&mut queues, position, &publish, clean, &mut visit);
                    left = left.saturating_sub(handed);
                    restored.messages += handed;
                }
                offset = offset.saturating_add(BATCH_HEADER_BYTES + payload.len() as u32);
            }
            progress.step(done + 1);
        }
        Ok(restored)
    }
}

/// Hands the message to each queue that holds it still; returns how many do.
fn hand_over(
    queues: &mut HashMap<QueueId, LiveSet>,
    pos: LogPos,
    publish: &Publish<'_>,
    clean: bool,
    visit: &mut impl FnMut(Live),
) -> u64 {
    let mut shared: Option<Bytes> = None;
    let mut handed = 0;
    for queue in publish.queue_ids() {
        let Some(seen) = queues.get_mut(&queue).and_then(|live| live.next_is(pos)) else {
            continue;
        };
        let payload = shared
            .get_or_insert_with(|| Bytes::copy_from_slice(publish.message))
            .clone();
        let redelivered = seen || !clean;
        visit(Live {
            queue,
            pos,
            redelivered,
            stamped_ms: publish.stamped_ms,
            payload,
        });
        handed += 1;
    }
    handed
}

/// Messages in each segment, counted once a queue.
pub(crate) fn count(queues: &HashMap<QueueId, LiveSet>) -> HashMap<u32, u64> {
    let mut counts = HashMap::new();
    for (position, _) in queues.values().flat_map(LiveSet::iter) {
        *counts.entry(position.segment()).or_default() += 1;
    }
    counts
}
