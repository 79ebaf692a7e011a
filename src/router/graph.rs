//! All exchanges of a virtual host and the bindings between them and its queues.
//!
//! Owns the exchanges by name, the index from destination back to bindings, and the walk from exchange to
//! exchange. Never deletes an exchange by itself: it says which ones became unused, and the broker decides.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use imbl::HashMap;

use super::Target;
use super::arguments::{BindingArguments, XMatchError};
use super::binding::{Binding, BindingSet, Bindings, Destination};
use super::consistent::WeightError;
use super::exchange::{Exchange, ExchangeSpec};
use super::message::{Asked, MessageView};
use super::routes::Routes;
use crate::base::Name;

/// The longest key a binding can have: that of a short string. It bounds how deep a topic trie gets.
const MAX_KEY: usize = 255;

/// A snapshot of exchanges and bindings; `Q` is the broker's handle of a queue.
///
/// Clone is O(1). A change costs O(log n) whatever the graph's size, and leaves clones as they were.
#[derive(Clone)]
pub struct Graph<Q> {
    exchanges: HashMap<Name, Arc<Exchange<Q>>>,
    /// The bindings that end at a destination; no entry is empty.
    incoming: HashMap<Destination<Q>, BindingSet<Q>>,
    binding_count: usize,
}

impl<Q> fmt::Debug for Graph<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("exchanges", &self.exchanges.len())
            .field("bindings", &self.binding_count)
            .finish_non_exhaustive()
    }
}

/// What [`Graph::bind`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The binding is new.
    New,
    /// The same binding was there (A3.15): nothing changed.
    Existed,
}

/// Why [`Graph::bind`] did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// There is no exchange of the source's name: 404.
    #[error("no source exchange")]
    NoSource,
    /// There is no exchange of the destination's name: 404. Queues are not checked.
    #[error("no destination exchange")]
    NoDestination,
    /// A key of more than 255 octets, which AMQP 0-9-1 cannot carry.
    #[error("binding key of {0} octets")]
    KeyTooLong(usize),
    /// The source is a headers exchange and cannot match by these arguments: 406.
    #[error(transparent)]
    XMatch(#[from] XMatchError),
    /// The source is an `x-consistent-hash` exchange and the key is no weight: 406.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// The source is an `x-local-random` exchange and the key is not empty: 406.
    #[error("binding key of an x-local-random exchange")]
    KeyNotEmpty,
    /// The source is an `x-local-random` exchange and the destination no queue: 406.
    #[error("an x-local-random exchange bound to an exchange")]
    NotAQueue,
}

/// What [`Graph::unbind`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unbound {
    /// The binding was there.
    pub existed: bool,
    /// It was the source's last: if auto-delete, the source is to go (A3.14).
    pub source_now_unused: bool,
}

/// What went when a destination did.
#[derive(Clone, Debug)]
pub struct Removed<Q> {
    /// The bindings that went.
    pub bindings: Vec<Arc<Binding<Q>>>,
    /// Exchanges that are still there and have lost their last binding as source: if auto-delete, they are
    /// to go (A3.14), with [`Graph::remove`], which may name further ones.
    pub unused_sources: Vec<Name>,
}

/// What went when an exchange did.
#[derive(Clone, Debug)]
pub struct RemovedExchange<Q> {
    /// The exchange as it was, with its bindings as source.
    pub exchange: Arc<Exchange<Q>>,
    /// All bindings that went, those from the exchange and those to it, each once, and what that left unused.
    pub removed: Removed<Q>,
}

impl<Q: Target> Default for Graph<Q> {
    fn default() -> Self {
        Graph::new()
    }
}

impl<Q: Target> Graph<Q> {
    /// A graph without exchanges.
    pub fn new() -> Self {
        Graph {
            exchanges: HashMap::new(),
            incoming: HashMap::new(),
            binding_count: 0,
        }
    }

    /// The exchange of a name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Exchange<Q>>> {
        self.exchanges.get(name)
    }

    /// Every exchange, in no particular order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange<Q>>> {
        self.exchanges.values()
    }

    /// How many exchanges there are.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bindings there are.
    pub fn binding_count(&self) -> usize {
        self.binding_count
    }

    /// Adds an exchange without bindings. False, and nothing changed, if there is one of that name.
    pub fn insert(&mut self, spec: ExchangeSpec) -> bool {
        if self.exchanges.contains_key(&spec.name) {
            return false;
        }
        self.exchanges
            .insert(spec.name.clone(), Arc::new(Exchange::new(spec)));
        true
    }

    /// Takes an exchange out with all bindings from it and to it.
    pub fn remove(&mut self, name: &[u8]) -> Option<RemovedExchange<Q>> {
        let exchange = self.exchanges.remove(name)?;
        for binding in exchange.bindings() {
            self.forget_incoming(binding);
        }
        self.binding_count -= exchange.binding_count();
        let mut removed = self.remove_destination(&Destination::Exchange(exchange.name().clone()));
        removed.bindings.extend(exchange.bindings().cloned());
        Some(RemovedExchange { exchange, removed })
    }

    /// Changes where an exchange's unmatched messages go, as a policy can (A3.12). False if there is no such
    /// exchange.
    pub fn set_alternate(&mut self, name: &[u8], alternate: Option<Name>) -> bool {
        let Some(exchange) = self.exchanges.get_mut(name) else {
            return false;
        };
        Arc::make_mut(exchange).set_alternate(alternate);
        true
    }

    /// Gives an exchange the queue in which it keeps messages. False if there is no such exchange.
    pub fn set_store(&mut self, name: &[u8], store: Q) -> bool {
        let Some(exchange) = self.exchanges.get_mut(name) else {
            return false;
        };
        Arc::make_mut(exchange).set_store(store);
        true
    }

    /// Binds a destination to an exchange. The key is copied, so it may be a part of a larger buffer.
    ///
    /// # Errors
    /// See [`BindError`]; the graph is then as it was. As in RabbitMQ a missing end is reported before bad
    /// arguments.
    pub fn bind(
        &mut self,
        source: &[u8],
        destination: Destination<Q>,
        key: &[u8],
        arguments: BindingArguments,
    ) -> Result<Bound, BindError> {
        let exchange = self.exchanges.get(source).ok_or(BindError::NoSource)?;
        if let Destination::Exchange(name) = &destination
            && !self.exchanges.contains_key(name)
        {
            return Err(BindError::NoDestination);
        }
        if key.len() > MAX_KEY {
            return Err(BindError::KeyTooLong(key.len()));
        }
        exchange.check_binding(&destination, key, &arguments)?;
        let source = exchange.name().clone();
        let key = Bytes::copy_from_slice(key);
        let binding = Arc::new(Binding {
            source,
            destination,
            key,
            arguments,
        });
        if exchange.contains(&binding) {
            return Ok(Bound::Existed);
        }
        if let Some(exchange) = self.exchanges.get_mut(&binding.source) {
            Arc::make_mut(exchange).insert(&binding);
        }
        self.incoming
            .entry(binding.destination.clone())
            .or_default()
            .insert(binding);
        self.binding_count += 1;
        Ok(Bound::New)
    }

    /// Takes a binding out. A binding, source or destination that is not there is no error.
    pub fn unbind(
        &mut self,
        source: &[u8],
        destination: Destination<Q>,
        key: &[u8],
        arguments: BindingArguments,
    ) -> Unbound {
        let Some(exchange) = self.exchanges.get(source) else {
            return Unbound::default();
        };
        let source = exchange.name().clone();
        let key = Bytes::copy_from_slice(key);
        let binding = Arc::new(Binding {
            source,
            destination,
            key,
            arguments,
        });
        if !exchange.contains(&binding) {
            return Unbound::default();
        }
        let source_now_unused = self.forget_outgoing(&binding);
        self.forget_incoming(&binding);
        self.binding_count -= 1;
        Unbound {
            existed: true,
            source_now_unused,
        }
    }

    /// Takes out all bindings to a destination. Costs what those bindings do, not what the graph does.
    pub fn remove_destination(&mut self, destination: &Destination<Q>) -> Removed<Q> {
        let bindings = self.incoming.remove(destination).unwrap_or_default();
        let mut unused_sources = Vec::new();
        for binding in bindings.iter() {
            if self.forget_outgoing(binding) {
                unused_sources.push(binding.source.clone());
            }
        }
        self.binding_count -= bindings.len();
        Removed {
            bindings: bindings.iter().cloned().collect(),
            unused_sources,
        }
    }

    /// The bindings that start at an exchange, in the order destination, key, arguments.
    pub fn bindings_of_source(&self, source: &[u8]) -> Bindings<'_, Q> {
        self.exchanges
            .get(source)
            .map_or_else(Bindings::none, |exchange| exchange.bindings())
    }

    /// The bindings that end at a destination, in the order key, arguments, source.
    pub fn bindings_of_destination(&self, destination: &Destination<Q>) -> Bindings<'_, Q> {
        self.incoming
            .get(destination)
            .map_or_else(Bindings::none, BindingSet::iter)
    }

    /// Finds the queues a message published to an exchange goes to, and leaves them in `out`, which is
    /// emptied first. The message is asked for no more than the exchanges on the way need.
    ///
    /// See [`Graph::route_keys`] for messages with CC or BCC headers.
    pub fn route<M: MessageView>(
        &self,
        exchange: &Exchange<Q>,
        key: &[u8],
        message: &M,
        out: &mut Routes<Q>,
    ) {
        self.route_keys(exchange, &[key], message, out);
    }

    /// As [`Graph::route`], for a message with several keys (A3.18). An exchange takes the bindings that any
    /// of them matches, so an alternate exchange is used only if none of them matched, which routing by
    /// each key in turn would get wrong.
    ///
    /// Every exchange is walked at most once (A3.13), so cycles of bindings or of alternate exchanges end.
    /// An alternate exchange counts as unused if any binding of the exchange matched, even one that leads
    /// nowhere; one that does not exist, and the default exchange, lead nowhere (A3.12).
    pub fn route_keys<M: MessageView>(
        &self,
        exchange: &Exchange<Q>,
        keys: &[&[u8]],
        message: &M,
        out: &mut Routes<Q>,
    ) {
        let mut message = Asked::new(message);
        out.clear();
        self.walk(exchange, keys, &mut message, out);
        while let Some(name) = out.next_exchange() {
            // The walk began there, so it is not among those reached.
            if name == *exchange.name() {
                continue;
            }
            if let Some(next) = self.exchanges.get(&name) {
                self.walk(next, keys, &mut message, out);
            }
        }
        out.finish();
    }

    fn walk<M: MessageView>(
        &self,
        exchange: &Exchange<Q>,
        keys: &[&[u8]],
        message: &mut Asked<'_, M>,
        out: &mut Routes<Q>,
    ) {
        out.start_exchange();
        exchange.route(keys, message, out);
        if !out.matched()
            && let Some(alternate) = &exchange.spec().alternate
            && self.exchanges.contains_key(alternate)
        {
            out.note_alternate_used();
            out.reach(alternate);
        }
    }

    /// Takes a binding out of its source; true if that was the source's last.
    fn forget_outgoing(&mut self, binding: &Arc<Binding<Q>>) -> bool {
        let Some(exchange) = self.exchanges.get_mut(&binding.source) else {
            return false;
        };
        let exchange = Arc::make_mut(exchange);
        exchange.remove(binding).is_some() && exchange.is_unused()
    }

    fn forget_incoming(&mut self, binding: &Arc<Binding<Q>>) {
        let Some(set) = self.incoming.get_mut(&binding.destination) else {
            return;
        };
        set.remove(binding);
        if set.is_empty() {
            self.incoming.remove(&binding.destination);
        }
    }

    /// Whether nothing is left but exchanges with bare tables.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.incoming.is_empty()
            && self.binding_count == 0
            && self.exchanges.values().all(|exchange| exchange.is_bare())
    }
}
