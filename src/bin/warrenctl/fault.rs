//! What can go wrong, and the exit code it ends with: those of sysexits.h, as rabbitmqctl uses them.

use std::io;

/// A wrong command line.
pub(crate) const USAGE: u8 = 64;
const DATA: u8 = 65;
const UNAVAILABLE: u8 = 69;
const SOFTWARE: u8 = 70;
const IO: u8 = 74;
const NO_PERMISSION: u8 = 77;

/// Why a command failed; one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// An argument that the command line's grammar lets pass, but that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The broker can't be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The broker says no.
    #[error("{reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// In the broker's words.
        reason: String,
    },
    /// A health check failed.
    #[error("{0}")]
    Unhealthy(String),
    /// A file given by the user is not what it should be.
    #[error("{0}")]
    Data(String),
    /// A file or the terminal.
    #[error("{0}")]
    Local(#[from] io::Error),
}

impl Fault {
    /// Nobody reads the output any more.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Fault::Local(fault) if fault.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Fault::Usage(_) => USAGE,
            Fault::Unavailable(_) | Fault::Unhealthy(_) => UNAVAILABLE,
            Fault::Refused {
                status: 401 | 403, ..
            } => NO_PERMISSION,
            Fault::Refused { status: 400, .. } | Fault::Data(_) => DATA,
            Fault::Refused { .. } => SOFTWARE,
            Fault::Local(_) => IO,
        }
    }
}
