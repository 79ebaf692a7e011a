//! The headers exchange: a binding matches by the message's headers, not by its key (A3.5).
//!
//! Owns the index from header to bindings. Never looks at keys; what satisfies one binding is `arguments.rs`'s
//! to say.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use imbl::HashMap;

use super::Target;
use super::arguments::Comparable;
use super::binding::{Binding, BindingSet};
use super::message::{Asked, MessageView};
use super::routes::Routes;

/// Bindings by what a message must carry for them to match at all, so that a message is held only against
/// bindings that one of its headers speaks for.
#[derive(Clone)]
pub(super) struct HeadersTable<Q> {
    /// `all` without a pair: matches every message.
    always: BindingSet<Q>,
    /// By the keyed hash of a pair's name and value (`Void` for mere presence). An `any` binding is under each
    /// of its pairs, an `all` binding under the one that had the fewest bindings when it came. Two pairs of
    /// one hash share an entry, which costs time but nothing else: what is found is matched in full.
    by_pair: HashMap<u64, BindingSet<Q>>,
    hasher: RandomState,
}

impl<Q: Target> HeadersTable<Q> {
    pub(super) fn new() -> Self {
        HeadersTable {
            always: BindingSet::default(),
            by_pair: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    fn slot(&self, name: &[u8], value: Comparable<&[u8]>) -> u64 {
        self.hasher.hash_one((name, value))
    }

    /// Where a binding can be filed.
    fn slots(&self, binding: &Binding<Q>) -> Vec<u64> {
        let pairs = binding
            .arguments
            .matcher()
            .map_or(&[][..], |matcher| matcher.pairs());
        pairs
            .iter()
            .map(|pair| self.slot(&pair.name, pair.value.borrowed()))
            .collect()
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        let slots = self.slots(binding);
        if binding
            .arguments
            .matcher()
            .is_some_and(|matcher| matcher.any())
        {
            for slot in slots {
                self.by_pair
                    .entry(slot)
                    .or_default()
                    .insert(Arc::clone(binding));
            }
            return;
        }
        let filed = |slot: &u64| self.by_pair.get(slot).map_or(0, BindingSet::len);
        match slots.into_iter().min_by_key(filed) {
            Some(slot) => self
                .by_pair
                .entry(slot)
                .or_default()
                .insert(Arc::clone(binding)),
            None => self.always.insert(Arc::clone(binding)),
        };
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        self.always.remove(binding);
        for slot in self.slots(binding) {
            let Some(set) = self.by_pair.get_mut(&slot) else {
                continue;
            };
            set.remove(binding);
            if set.is_empty() {
                self.by_pair.remove(&slot);
            }
        }
    }

    pub(super) fn route<M: MessageView>(&self, message: &mut Asked<'_, M>, out: &mut Routes<Q>) {
        out.take_set(&self.always);
        if self.by_pair.is_empty() {
            return;
        }
        out.note_uncacheable();
        let headers = message.headers();
        for (name, value) in headers {
            self.try_slot(self.slot(name, Comparable::Void), headers, out);
            if *value != Comparable::Void {
                self.try_slot(self.slot(name, value.clone()), headers, out);
            }
        }
    }

    fn try_slot(&self, slot: u64, headers: &[(&[u8], Comparable<&[u8]>)], out: &mut Routes<Q>) {
        let Some(set) = self.by_pair.get(&slot) else {
            return;
        };
        for binding in set.iter() {
            if binding
                .arguments
                .matcher()
                .is_some_and(|matcher| matcher.matches(headers))
            {
                out.take(binding);
            }
        }
    }

    /// Whether nothing is left in the table.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.always.is_empty() && self.by_pair.is_empty()
    }
}
