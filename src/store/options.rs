//! The store's settings and limits, by name.

use std::time::Duration;

use crate::base::Durability;

/// Settings of a [`Store`](super::Store).
#[derive(Debug, Clone)]
pub struct Options {
    /// Size at which a new segment file is begun. A batch that is larger gets a segment of its own.
    pub segment_bytes: u32,
    /// Appended and not yet durable octets from which on [`Log::has_room`](super::Log::has_room)
    /// says no. More gains nothing: 8 MiB a sync already hides the sync's cost.
    pub pending_limit_bytes: usize,
    /// Room on the disk that is kept to be given up when there is no other. What may be pending must fit, and
    /// what a purge and a checkpoint write behind that.
    pub reserve_bytes: u64,
    /// How often a write is tried again that found the disk full.
    pub full_retry_every: Duration,
    /// What "durable" means, unless a batch [says otherwise](super::Batch::wants).
    pub durability: Durability,
    /// How often what is to be synced at an interval is.
    pub sync_interval: Duration,
    /// How long catalogue changes may wait until they are flushed into sled.
    pub catalogue_flush_every: Duration,
    /// sled's cache. It does not bound what was written since the start, so rows must stay few.
    pub catalogue_cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
            pending_limit_bytes: 8 << 20,
            reserve_bytes: 12 << 20,
            full_retry_every: Duration::from_secs(1),
            durability: Durability::Fsync,
            sync_interval: Duration::from_millis(100),
            catalogue_flush_every: Duration::from_millis(500),
            catalogue_cache_bytes: 64 << 20,
        }
    }
}

/// The log's end may not pass this segment: recovery keeps two flags in the bits above.
pub(crate) const SEGMENT_MAX: u32 = (1 << 30) - 1;

/// So many segments of the spill may be idle in sum before the sparse ones among them are copied.
pub(crate) const SPARSE_SPILL_SEGMENTS: u64 = 4;

/// How often it is said that the disk takes no more.
pub(crate) const SAY_FULL_EVERY: Duration = Duration::from_secs(10);

/// Files of segments that are gone, kept to be written again.
pub(crate) const SPARES_MAX: usize = 2;

/// While there is a disk alarm, a segment as long as this is left once at most half of it is held.
pub(crate) const LEFT_FROM_BYTES: u32 = 1 << 20;

/// So many zeros are written behind the log's end at once, where the file ends, and only when less than
/// the second number of octets is to be written: larger groups pay for the file's growth more
/// easily than for writing twice.
pub(crate) const ZEROS_AHEAD_BYTES: u64 = 1 << 20;
pub(crate) const ZEROS_GROUP_BYTES: usize = 64 << 10;

/// Buffers kept for producers, and the largest worth keeping: 4 MiB together at most, so that a
/// burst does not stay in memory.
pub(crate) const POOL_BUFFERS_MAX: usize = 16;
pub(crate) const POOL_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Batches of catalogue changes on their way from the log to sled. A full channel stops the log's
/// writer, which stops the producers.
pub(crate) const CATALOGUE_CHANNEL_BATCHES: usize = 256;

/// Segment files are read through a window of this size, at start and by a
/// [`Reader`](super::Reader).
pub(crate) const READ_WINDOW_BYTES: usize = 256 << 10;

/// What a [`Reader`](super::Reader) reads behind the start of the last record it wants, whose length it
/// does not know. Longer records take another read.
pub(crate) const READ_SLACK_BYTES: usize = 4 << 10;

/// Files a [`Reader`](super::Reader) keeps open.
pub(crate) const READER_FILES_MAX: usize = 4;
