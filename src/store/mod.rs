//! The store: the commit log, which is the truth, and the catalogue, which is a checkpoint of it.
//!
//! Owns the data directory: its lock, its format, its bytes and positions. Knows no AMQP: messages
//! and rows are opaque. Imports `base` only.
//!
//! ```text
//! data/warren.lock     held (flock) while a broker runs
//! data/FORMAT          the version of everything below
//! data/log/*.wal       segments: format.rs has the octets, record.rs the records
//! data/log/checkpoint  the queues' state: checkpoint_file.rs
//! data/catalogue/      sled: sled_rows.rs
//! data/transient/      what long queues hold of transient messages: spill.rs
//! ```
//!
//! The way of a record: a producer fills a [`Batch`] without a lock; [`Log::append`] gives it its
//! position and queues it; the writer thread writes and syncs everything that is queued with one
//! call each, moves [`Log::durable`], wakes who waits, and passes catalogue changes on to the
//! catalogue's thread, which applies and flushes them behind. [`Log::release`] counts messages out; a
//! [`Checkpoint`] says what the queues hold, and deletes the segments that nobody needs.
//! [`Log::reader`] gets messages and pages back.
//!
//! Transient messages have no record in the log. Those that a long queue does not keep in memory go to
//! [`Log::spill`], which is written behind and never read by a start.

mod applied;
mod batch;
mod catalogue;
mod checkpoint;
mod checkpoint_file;
mod compaction;
mod damage;
mod directory;
mod due;
mod error;
mod format;
mod health;
mod io;
mod log;
mod options;
mod reader;
mod record;
mod recovery;
mod repair;
mod replay;
mod restore;
mod rows_file;
mod scan;
mod segments;
mod shared;
mod sled_rows;
mod space;
mod spares;
mod spill;
mod unranked;
mod waiters;
mod writer;

#[cfg(test)]
mod tests;

pub use crate::base::Durability;
pub use batch::{Batch, RecordOffset};
pub use catalogue::{Change, Row, Rows, Table};
pub use checkpoint::Checkpoint;
pub use compaction::{Copies, Sparse};
pub use damage::Damage;
pub use directory::Store;
pub use error::{LogError, LogFailure, ReadError, StoreError};
pub use health::{LogFigures, SYNC_BOUNDS_US, SYNC_CLASSES};
pub use io::{Io, IoFile, RealIo};
pub use log::{Appended, Log};
pub use options::Options;
pub use reader::Reader;
pub use repair::{Loss, Repair, repair};
pub use replay::Describe;
pub use restore::{Recovered, Restored};
pub use sled_rows::SledRows;
pub use spill::Spilled;
pub use waiters::Durable;
