//! What a route found, in a buffer that is used again for the next message.
//!
//! Owns that a queue is listed once and an exchange walked once. Never decides what matches.

use std::collections::HashSet;
use std::sync::Arc;

use super::Target;
use super::binding::{Binding, BindingSet, Destination};
use crate::base::Name;

/// The queues a message goes to. Keep one per channel: routing into it again allocates nothing once it has
/// grown.
#[derive(Debug)]
pub struct Routes<Q> {
    queues: Vec<Q>,
    cacheable: bool,
    alternate_used: bool,
    /// Whether the exchange being walked had a matching binding.
    matched: bool,
    /// Whether `queues` is still strictly ascending, and so without duplicates.
    ascending: bool,
    /// Exchanges that were reached and are to be walked.
    pending: Vec<Name>,
    /// Exchanges that were reached, but for the one the message was published to.
    reached: HashSet<Name>,
    /// Places of a topic trie that one walk must not enter twice.
    entered: HashSet<usize>,
}

impl<Q> Default for Routes<Q> {
    fn default() -> Self {
        Routes {
            queues: Vec::new(),
            cacheable: true,
            alternate_used: false,
            matched: false,
            ascending: true,
            pending: Vec::new(),
            reached: HashSet::new(),
            entered: HashSet::new(),
        }
    }
}

impl<Q> Routes<Q> {
    /// An empty buffer.
    pub fn new() -> Self {
        Routes::default()
    }

    /// The queues, each once, in ascending order; among them the stores of exchanges that keep the message.
    pub fn queues(&self) -> &[Q] {
        &self.queues
    }

    /// Moves the queues out and keeps the buffer.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Q> {
        self.queues.drain(..)
    }

    /// Whether every message with the same exchange and keys goes to the same queues, for as long as the graph
    /// is the same: nothing else of the message was looked at, and no chance was involved.
    pub fn cacheable(&self) -> bool {
        self.cacheable
    }

    /// Whether an alternate exchange was walked because nothing matched (A3.12).
    pub fn alternate_used(&self) -> bool {
        self.alternate_used
    }
}

impl<Q: Target> Routes<Q> {
    /// Forgets the last route.
    pub fn clear(&mut self) {
        self.queues.clear();
        self.cacheable = true;
        self.alternate_used = false;
        self.ascending = true;
        self.pending.clear();
        self.reached.clear();
    }

    pub(super) fn finish(&mut self) {
        if !self.ascending {
            self.queues.sort_unstable();
            self.queues.dedup();
        }
    }

    pub(super) fn start_exchange(&mut self) {
        self.matched = false;
    }

    pub(super) fn matched(&self) -> bool {
        self.matched
    }

    pub(super) fn note_uncacheable(&mut self) {
        self.cacheable = false;
    }

    pub(super) fn note_alternate_used(&mut self) {
        self.alternate_used = true;
    }

    /// Takes a binding that matched.
    pub(super) fn take(&mut self, binding: &Binding<Q>) {
        self.matched = true;
        match &binding.destination {
            Destination::Exchange(name) => self.reach(name),
            Destination::Queue(queue) => self.push(queue),
        }
    }

    /// Keeps the message in an exchange's store, beside where it goes.
    pub(super) fn keep(&mut self, store: &Q) {
        self.push(store);
    }

    /// Holds the message back in an exchange's store. It counts as matched: whether a binding or an alternate
    /// exchange takes it is seen when it is due.
    pub(super) fn hold(&mut self, store: &Q) {
        self.matched = true;
        self.push(store);
    }

    fn push(&mut self, queue: &Q) {
        match self.queues.last() {
            Some(last) if last == queue => return,
            Some(last) if last > queue => self.ascending = false,
            _ => {}
        }
        self.queues.push(queue.clone());
    }

    /// Takes a set of bindings all of which matched.
    pub(super) fn take_set(&mut self, set: &BindingSet<Q>) {
        match set {
            BindingSet::Empty => {}
            BindingSet::One(only) => self.take(only),
            BindingSet::Many(many) => many
                .iter()
                .for_each(|binding: &Arc<Binding<Q>>| self.take(binding)),
        }
    }

    /// An exchange is to be walked, unless it was reached before.
    pub(super) fn reach(&mut self, name: &Name) {
        if !self.reached.contains(name) {
            self.reached.insert(name.clone());
            self.pending.push(name.clone());
        }
    }

    pub(super) fn next_exchange(&mut self) -> Option<Name> {
        self.pending.pop()
    }

    pub(super) fn start_walk(&mut self) {
        self.entered.clear();
    }

    /// Whether the walk has not been at this place of the trie before.
    pub(super) fn first_time(&mut self, place: usize) -> bool {
        self.entered.insert(place)
    }
}
