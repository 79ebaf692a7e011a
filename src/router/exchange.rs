//! One exchange: what it was declared as, its bindings, and the table its kind routes by.
//!
//! Owns the choice of table by kind. Never follows a binding to another exchange; `graph.rs` does.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::Target;
use super::arguments::BindingArguments;
use super::binding::{Binding, BindingSet, Bindings, Destination};
use super::consistent::{ConsistentTable, HashOn, weight};
use super::direct::DirectTable;
use super::graph::BindError;
use super::headers::HeadersTable;
use super::message::{Asked, MessageView};
use super::modulus::ModulusTable;
use super::random::{RandomTable, check_local};
use super::routes::Routes;
use super::topic::TopicTable;
use crate::base::Name;
use crate::message::Dedup;

/// How an exchange picks among its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// The binding's key equals the message's (A3.2).
    Direct,
    /// Every binding (A3.3).
    Fanout,
    /// The binding's key is a pattern of words (A3.4).
    Topic,
    /// The binding's arguments are held against the message's headers (A3.5).
    Headers,
    /// One destination in proportion to the weights, always the same for equal hashes (A3.7).
    ConsistentHash,
    /// Any one queue of this node (A3.8).
    LocalRandom,
    /// One binding by the hash of the key (A3.9).
    ModulusHash,
    /// Any one binding (A3.10).
    Random,
    /// Every binding; what was seen already is dropped before (A3.21).
    Deduplication,
    /// Every binding; the last messages are kept for those still to come (A3.10).
    RecentHistory,
}

impl ExchangeKind {
    /// Every kind.
    pub const ALL: [ExchangeKind; 10] = [
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
        ExchangeKind::ConsistentHash,
        ExchangeKind::LocalRandom,
        ExchangeKind::ModulusHash,
        ExchangeKind::Random,
        ExchangeKind::RecentHistory,
        ExchangeKind::Deduplication,
    ];

    /// The kind's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "x-consistent-hash",
            ExchangeKind::LocalRandom => "x-local-random",
            ExchangeKind::ModulusHash => "x-modulus-hash",
            ExchangeKind::Random => "x-random",
            ExchangeKind::RecentHistory => "x-recent-history",
            ExchangeKind::Deduplication => "x-message-deduplication",
        }
    }

    /// The kind of a name on the wire; names are case-sensitive. Without one: 406 `unknown exchange type` (A2).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }
}

/// What an exchange was declared as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// Its name; never empty, the default exchange is not in a graph.
    pub name: Name,
    /// How it picks among its bindings.
    pub kind: ExchangeKind,
    /// Whether it outlives the broker's process.
    pub durable: bool,
    /// Whether it goes with its last binding as source (A3.14); the broker sees to it.
    pub auto_delete: bool,
    /// Whether only other exchanges may publish to it; the broker sees to it.
    pub internal: bool,
    /// Its arguments as an encoded table, kept for whoever lists or compares them.
    pub arguments: Bytes,
    /// Where a message goes that matches no binding (A3.12): the argument `alternate-exchange`, or without it
    /// the policy's.
    pub alternate: Option<Name>,
    /// What an `x-consistent-hash` exchange hashes; of no meaning to the other kinds.
    pub hash_on: HashOn,
    /// How it drops what was published to it already (A3.21); the broker sees to it.
    pub dedup: Option<Dedup>,
    /// How many messages an `x-recent-history` exchange remembers; 0 for the other kinds.
    pub history_len: u64,
    /// Whether it holds messages back that ask for a delay, and then routes them by its kind (A3.11).
    pub delayed: bool,
}

/// The type of an exchange that delays by another kind's rules.
const DELAYED_TYPE: &str = "x-delayed-message";

impl ExchangeSpec {
    /// A transient exchange without any options.
    pub fn plain(name: Name, kind: ExchangeKind) -> Self {
        ExchangeSpec {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Bytes::new(),
            alternate: None,
            hash_on: HashOn::default(),
            dedup: None,
            history_len: 0,
            delayed: false,
        }
    }

    /// Its type on the wire.
    pub fn type_name(&self) -> &'static str {
        match self.delayed {
            true => DELAYED_TYPE,
            false => self.kind.name(),
        }
    }

    /// Whether a type on the wire is the one that delays; its kind is another argument's to say.
    pub fn is_delayed_type(name: &str) -> bool {
        name == DELAYED_TYPE
    }
}

/// An exchange and its bindings. Clone is O(1).
#[derive(Clone)]
pub struct Exchange<Q> {
    spec: Arc<ExchangeSpec>,
    bindings: BindingSet<Q>,
    table: Table<Q>,
    /// Where messages are kept that it delays or remembers.
    store: Option<Q>,
}

impl<Q> fmt::Debug for Exchange<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// The bindings once more, arranged for finding those that match.
#[derive(Clone)]
enum Table<Q> {
    Direct(DirectTable<Q>),
    /// Takes the bindings as they are.
    Fanout,
    Topic(TopicTable<Q>),
    Headers(HeadersTable<Q>),
    Consistent(ConsistentTable<Q>),
    Modulus(ModulusTable<Q>),
    Random(RandomTable<Q>),
}

impl<Q: Target> Table<Q> {
    fn of(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Table::Direct(DirectTable::new()),
            ExchangeKind::Fanout | ExchangeKind::RecentHistory | ExchangeKind::Deduplication => {
                Table::Fanout
            }
            ExchangeKind::Topic => Table::Topic(TopicTable::new()),
            ExchangeKind::Headers => Table::Headers(HeadersTable::new()),
            ExchangeKind::ConsistentHash => Table::Consistent(ConsistentTable::new()),
            ExchangeKind::ModulusHash => Table::Modulus(ModulusTable::new()),
            ExchangeKind::LocalRandom | ExchangeKind::Random => Table::Random(RandomTable::new()),
        }
    }
}

impl<Q: Target> Exchange<Q> {
    pub(super) fn new(spec: ExchangeSpec) -> Self {
        let table = Table::of(spec.kind);
        Exchange {
            spec: Arc::new(spec),
            bindings: BindingSet::default(),
            table,
            store: None,
        }
    }

    /// What it was declared as.
    pub fn spec(&self) -> &ExchangeSpec {
        &self.spec
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.spec.name
    }

    /// The queue in which it keeps messages that it delays or remembers.
    pub fn store(&self) -> Option<&Q> {
        self.store.as_ref()
    }

    pub(super) fn set_store(&mut self, store: Q) {
        self.store = Some(store);
    }

    /// Its bindings as source, in the order destination, key, arguments.
    pub fn bindings(&self) -> Bindings<'_, Q> {
        self.bindings.iter()
    }

    /// How many bindings it has as source.
    pub fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// Whether no binding has it as source: what `if-unused` (A2) and auto-delete (A3.14) ask.
    pub fn is_unused(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Whether its kind takes such a binding.
    ///
    /// # Errors
    /// 406: a headers exchange refuses an `x-match` that is no mode (A2), an `x-consistent-hash` exchange a key
    /// that is no weight (A3.7), and an `x-local-random` exchange a key, and what is no queue (A3.8).
    pub fn check_binding(
        &self,
        destination: &Destination<Q>,
        key: &[u8],
        arguments: &BindingArguments,
    ) -> Result<(), BindError> {
        match self.spec.kind {
            ExchangeKind::Headers => arguments.match_mode().map(drop).map_err(BindError::from),
            ExchangeKind::ConsistentHash => weight(key).map(drop).map_err(BindError::from),
            ExchangeKind::LocalRandom => check_local(destination, key),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random
            | ExchangeKind::RecentHistory
            | ExchangeKind::Deduplication => Ok(()),
        }
    }

    pub(super) fn set_alternate(&mut self, alternate: Option<Name>) {
        Arc::make_mut(&mut self.spec).alternate = alternate;
    }

    pub(super) fn contains(&self, binding: &Arc<Binding<Q>>) -> bool {
        self.bindings.contains(binding)
    }

    /// Adds a binding that is not there yet.
    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        self.bindings.insert(Arc::clone(binding));
        match &mut self.table {
            Table::Direct(table) => table.insert(binding),
            Table::Fanout => {}
            Table::Topic(table) => table.insert(binding),
            Table::Headers(table) => table.insert(binding),
            Table::Consistent(table) => table.insert(binding),
            Table::Modulus(table) => table.insert(binding),
            Table::Random(table) => table.insert(binding),
        }
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) -> Option<Arc<Binding<Q>>> {
        // The one that was held, because its arguments were parsed when it was made.
        let held = self.bindings.remove(binding)?;
        match &mut self.table {
            Table::Direct(table) => table.remove(&held),
            Table::Fanout => {}
            Table::Topic(table) => table.remove(&held),
            Table::Headers(table) => table.remove(&held),
            Table::Consistent(table) => table.remove(&held),
            Table::Modulus(table) => table.remove(&held),
            Table::Random(table) => table.remove(&held),
        }
        Some(held)
    }

    /// Takes the bindings that match any of the keys, or the headers. A message that is held back takes
    /// none of them now.
    pub(super) fn route<M: MessageView>(
        &self,
        keys: &[&[u8]],
        message: &mut Asked<'_, M>,
        out: &mut Routes<Q>,
    ) {
        if let Some(store) = &self.store {
            out.note_uncacheable();
            if self.spec.delayed && message.is_delayed() {
                return out.hold(store);
            }
            if self.spec.kind == ExchangeKind::RecentHistory && message.is_remembered() {
                out.keep(store);
            }
        }
        match &self.table {
            Table::Direct(table) => keys.iter().for_each(|key| table.route(key, out)),
            Table::Fanout => out.take_set(&self.bindings),
            Table::Topic(table) => keys.iter().for_each(|key| table.route(key, out)),
            Table::Headers(table) => table.route(message, out),
            Table::Consistent(table) => table.route(&self.spec.hash_on, keys, message, out),
            Table::Modulus(table) => table.route(keys, out),
            Table::Random(table) => table.route(message, out),
        }
    }

    /// Whether nothing is left in the table: what it must be without bindings.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.bindings.is_empty()
            && match &self.table {
                Table::Direct(table) => table.is_bare(),
                Table::Fanout => true,
                Table::Topic(table) => table.is_bare(),
                Table::Headers(table) => table.is_bare(),
                Table::Consistent(table) => table.is_bare(),
                Table::Modulus(table) => table.is_bare(),
                Table::Random(table) => table.is_bare(),
            }
    }
}
