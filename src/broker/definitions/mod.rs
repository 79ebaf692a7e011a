//! Definitions: all that is declared, as RabbitMQ's JSON (A11).
//!
//! Owns export and import, of the whole broker or of one vhost. An import is checked as a whole
//! first: a file with a fault changes nothing, and the first fault is named.

mod document;
mod export;
mod import;
mod plan;

pub use import::{ImportError, Imported, Progress};

use crate::base::Name;

/// What is exported or imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Broker,
    /// What is in one vhost: exchanges, queues, bindings, policies, parameters.
    Vhost(Name),
}
