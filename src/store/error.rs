//! What can go wrong in the store: each error says which file, where, why and what to do.
//!
//! Owns the error types; never decides what a client is told.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

use crate::base::LogPos;

/// Why the commit log takes no (more) records. Cheap to clone: every producer gets the same one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Writing or syncing failed. Final: what the disk holds past the durable position is unknown,
    /// so nothing later is ever reported durable. Restart the broker; it recovers from the disk.
    #[error("the commit log has stopped: {0}; free space or replace the disk, then restart")]
    Failed(Arc<LogFailure>),
    /// The log was closed, by the broker's shutdown.
    #[error("the commit log is closed")]
    Closed,
    /// A batch larger than a segment can be. Nothing of it was written.
    #[error("a batch of {bytes} octets cannot be logged, at most {limit_bytes} are possible")]
    BatchTooLarge {
        /// Size of the batch.
        bytes: u64,
        /// The largest possible batch.
        limit_bytes: u64,
    },
}

/// The operation that stopped the log.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {file} at offset {offset}: {reason}")]
pub struct LogFailure {
    /// What was tried: "write", "sync", …
    pub operation: &'static str,
    /// The segment file's name.
    pub file: String,
    /// Octet offset in the file.
    pub offset: u64,
    /// The system's reason.
    pub reason: io::Error,
}

impl LogError {
    pub(crate) fn failed(
        operation: &'static str,
        file: String,
        offset: u64,
        reason: io::Error,
    ) -> Self {
        LogError::Failed(Arc::new(LogFailure {
            operation,
            file,
            offset,
            reason,
        }))
    }
}

/// Why a record cannot be read back: damage, or a file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {file} at offset {offset}: {reason}")]
pub struct ReadError {
    /// The segment, as in a position.
    pub segment: u32,
    /// The segment file's name.
    pub file: String,
    /// Octet offset of the record.
    pub offset: u64,
    /// The system's reason, or [`io::ErrorKind::InvalidData`] with what is wrong.
    pub reason: io::Error,
}

impl ReadError {
    pub(crate) fn io(pos: LogPos, reason: io::Error) -> ReadError {
        ReadError {
            segment: pos.segment(),
            file: match pos.is_spilled() {
                true => super::spill::file_name(pos.segment()),
                false => super::format::file_name(pos.segment()),
            },
            offset: u64::from(pos.offset()),
            reason,
        }
    }

    /// It is no damage: what was in the spill has been released, and its file is gone.
    pub fn is_gone(&self) -> bool {
        self.file.ends_with(super::spill::SUFFIX) && self.reason.kind() == io::ErrorKind::NotFound
    }

    /// It is no damage: the system is short of file descriptors or memory. To be read again later.
    pub fn is_passing(&self) -> bool {
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
        let errno = self.reason.raw_os_error();
        self.reason.kind() == io::ErrorKind::Interrupted
            || errno.is_some_and(|errno| short.contains(&errno))
    }

    pub(crate) fn damaged(pos: LogPos, reason: &'static str) -> ReadError {
        ReadError::io(pos, io::Error::new(io::ErrorKind::InvalidData, reason))
    }

    /// The same reason for the record at `pos`.
    pub(crate) fn at(&self, pos: LogPos) -> ReadError {
        let reason = match self.reason.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(self.reason.kind(), self.reason.to_string()),
        };
        ReadError::io(pos, reason)
    }
}

/// Why a data directory cannot be opened, or was not closed in order.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the directory.
    #[error("{path} is in use by another broker; stop that one or set another data directory")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The directory is of another version of the format.
    #[error(
        "{path} holds data of format {found:?}, this broker reads {expected:?}; \
         use the broker version that wrote it, or export and import the definitions"
    )]
    Format {
        /// The `FORMAT` file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this broker writes.
        expected: &'static str,
    },
    /// The log holds something no crash can explain. Nothing was changed on disk.
    #[error(
        "{file} is damaged at offset {offset}: {reason}; restore it from a copy, \
         or see what `warren repair` can save"
    )]
    Corrupt {
        /// The segment file's name.
        file: String,
        /// Octet offset in the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Segment files are missing.
    #[error(
        "{file} is missing from the log: {reason}; restore it from a copy, \
         or see what `warren repair` can save"
    )]
    Missing {
        /// The first file that should be there.
        file: String,
        /// How that is known.
        reason: String,
    },
    /// An operation on a file failed.
    #[error("cannot {operation} {path}: {reason}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// The catalogue's database failed. It is never written again by this process: the log still
    /// holds every change, and a restart replays them.
    #[error("cannot {operation} the catalogue: {reason}; restart the broker")]
    Catalogue {
        /// What was tried.
        operation: &'static str,
        /// The database's reason.
        reason: String,
    },
    /// The log stopped.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, reason: io::Error) -> Self {
        StoreError::Io {
            operation,
            path: path.into(),
            reason,
        }
    }

    /// The disk was full: the same may succeed later.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, StoreError::Io { reason, .. } if super::space::is_full(reason))
    }

    pub(crate) fn corrupt(pos: LogPos, reason: impl Into<String>) -> Self {
        StoreError::Corrupt {
            file: super::format::file_name(pos.segment()),
            offset: u64::from(pos.offset()),
            reason: reason.into(),
        }
    }

    pub(crate) fn catalogue(operation: &'static str, reason: impl ToString) -> Self {
        StoreError::Catalogue {
            operation,
            reason: reason.to_string(),
        }
    }
}
