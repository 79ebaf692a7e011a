//! Exchanges and bindings: which queues a message goes to.
//!
//! Owns the graph of exchanges and bindings of one virtual host as an immutable value ([`Graph`]), and the
//! rules by which each kind of exchange picks its bindings. Cloning a graph is O(1), and changing a clone
//! copies only the path to what changed, so the broker clones, changes and publishes the new graph while
//! publishes go on reading the old one without a lock.
//!
//! Never locks, does I/O, reads the clock, rolls dice, decodes the wire or knows what a queue is: a queue is a
//! handle that can be compared ([`Target`]), and what a message has comes in by [`MessageView`]. The default exchange is
//! not here either: the broker finds a queue by its name without any binding (A3.6).
//!
//! A kind of exchange is a file with a table of bindings (`insert`, `remove`, `route`) and one arm in each
//! `match` of `exchange.rs`.

mod arguments;
mod binding;
mod consistent;
mod direct;
mod exchange;
mod explain;
mod graph;
mod hash;
mod headers;
mod lineup;
mod message;
#[cfg(test)]
mod model;
mod modulus;
mod random;
mod routes;
#[cfg(test)]
mod tests;
mod topic;

use crate::base::Name;

pub use arguments::{BindingArguments, HeaderValue, MatchMode, XMatchError};
pub use binding::{Binding, Bindings, Destination};
pub use consistent::{HashOn, WeightError};
pub use exchange::{Exchange, ExchangeKind, ExchangeSpec};
pub use explain::{Alternate, CameBy, Passed, Step};
pub use graph::{BindError, Bound, Graph, Removed, RemovedExchange, Unbound};
pub use message::{HashProperty, MessageView};
pub use routes::Routes;

/// What stands for a queue in the graph: a handle that is cheap to clone and compared by identity.
///
/// The order has no meaning of its own; it is the order in which a route lists its queues.
pub trait Target: Clone + Ord + std::hash::Hash {
    /// Its name, which outlasts the process: exchanges that hash choose by it.
    fn name(&self) -> Name;
}
