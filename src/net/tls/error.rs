//! Why certificates can't be used; one line each, for the operator.

use std::path::PathBuf;

use tokio_rustls::rustls;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is no PEM.
    #[error("cannot read {what} {}: {reason}", path.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has nothing of what it should hold.
    #[error("there is no {what} in {}", path.display())]
    Empty {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A certificate whose time is over, or has not come.
    #[error("the certificate in {} is valid from {from} to {until} only", path.display())]
    OutOfDate {
        /// The file.
        path: PathBuf,
        /// The first moment it is valid.
        from: String,
        /// The last one.
        until: String,
    },
    /// A key that is another certificate's.
    #[error("the key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// What the TLS library refuses.
    #[error("cannot use {}: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The library's reason.
        reason: String,
    },
    /// The protocol's settings don't fit.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}
