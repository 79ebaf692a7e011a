//! The store: the commit log, which is the truth, and the catalogue, which is a checkpoint of it.
//!
//! Owns the data directory: its lock, its format, its bytes and positions. Knows no AMQP: messages
//! and rows are opaque. Imports `base` only.
//!
//! ```text
//! data/warren.lock     held (flock) while a broker runs
//! data/FORMAT          the version of everything below
//! data/log/*.wal       segments: format.rs has the octets, record.rs the records
//! data/catalogue/      sled: sled_rows.rs
//! ```
//!
//! The way of a record: a producer fills a [`Batch`] without a lock; [`Log::append`] gives it its
//! position and queues it; the writer thread writes and syncs everything that is queued with one
//! call each, moves [`Log::durable`], wakes who waits, and passes catalogue changes on to the
//! catalogue's thread, which applies and flushes them behind. [`Log::release`] counts messages out,
//! and the writer deletes segments from the front.
//!
//! What can be added without a change of format:
//!
//! * *Recycled files, zeros ahead.* Every batch names its own position and the next segment names
//!   where this one ended, so nothing depends on a file's length. `writer.rs` would rename or
//!   pre-write a file, and `settle_tail` would overwrite instead of truncate.
//! * *Queue index pages and a checkpoint of queue state*, written below [`Log::applied_below`] into
//!   sled with their own position, as the catalogue's is. Recovery then replays publishes and acks
//!   from there on only. Segments stay while a page refers to them.
//! * *Reading one message back*: a record carries its own length and checksum.
//! * *Compaction*: record type 7 is reserved for a message copied forward, which keeps the
//!   position it had first as its identity and its place in the order.

mod applied;
mod batch;
mod catalogue;
mod checkpoint;
mod directory;
mod error;
mod format;
mod io;
mod live;
mod log;
mod options;
mod record;
mod recovery;
mod restore;
mod scan;
mod segments;
mod shared;
mod sled_rows;
mod waiters;
mod writer;

#[cfg(test)]
mod tests;

pub use batch::{Batch, RecordOffset};
pub use catalogue::{Change, Row, Rows, Table};
pub use directory::Store;
pub use error::{LogError, LogFailure, StoreError};
pub use io::{Io, IoFile, RealIo};
pub use log::{Appended, Log};
pub use options::{Durability, Options};
pub use restore::{Live, Recovered, Restored};
pub use sled_rows::SledRows;
pub use waiters::Durable;
