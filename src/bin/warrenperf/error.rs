//! What can go wrong in a run, worded for the person who started it.

use std::io;

/// Why a run could not start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The options do not fit together.
    #[error("{0}")]
    Usage(String),
    /// No connection to the broker.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// host:port as given in the URI.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The broker refused the credentials, or closed before saying why.
    #[error("the broker refused user '{user}': {reason}")]
    Auth {
        /// Who tried to log in.
        user: String,
        /// The broker's words.
        reason: String,
    },
    /// The broker closed the channel or the connection.
    #[error("the broker closed the {scope}: {code} {text}")]
    Closed {
        /// "channel" or "connection".
        scope: &'static str,
        /// The AMQP reply code.
        code: u16,
        /// The AMQP reply text.
        text: String,
    },
    /// The peer hung up without a close frame.
    #[error("the broker hung up")]
    HungUp,
    /// The peer sent something that is not the AMQP 0-9-1 we expect here.
    #[error("unexpected bytes from the broker: {0}")]
    Protocol(String),
    /// A wait went on for too long.
    #[error("no answer from the broker to {0} in time")]
    Timeout(&'static str),
    /// The broker's process cannot be observed.
    #[error("cannot read process {pid}: {reason}")]
    Process {
        /// The process id given.
        pid: u32,
        /// What was wrong.
        reason: String,
    },
    /// A worker thread stopped in an unforeseen way.
    #[error("a worker thread died")]
    Worker,
    /// Any other failed system call.
    #[error("i/o: {0}")]
    Io(#[from] io::Error),
}

/// The result of everything here.
pub(crate) type Result<T> = std::result::Result<T, Error>;
