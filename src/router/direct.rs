//! The direct exchange: a binding matches when its key equals the message's (A3.2).
//!
//! Owns the table from key to bindings. Never looks at arguments or headers.

use std::sync::Arc;

use bytes::Bytes;
use imbl::HashMap;

use super::Target;
use super::binding::{Binding, BindingSet};
use super::routes::Routes;

#[derive(Clone)]
pub(super) struct DirectTable<Q> {
    // The default hasher is keyed at random: clients choose the keys.
    by_key: HashMap<Bytes, BindingSet<Q>>,
}

impl<Q: Target> DirectTable<Q> {
    pub(super) fn new() -> Self {
        DirectTable {
            by_key: HashMap::new(),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        self.by_key
            .entry(binding.key.clone())
            .or_default()
            .insert(Arc::clone(binding));
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        let Some(set) = self.by_key.get_mut(&binding.key) else {
            return;
        };
        set.remove(binding);
        if set.is_empty() {
            self.by_key.remove(&binding.key);
        }
    }

    pub(super) fn route(&self, key: &[u8], out: &mut Routes<Q>) {
        if let Some(set) = self.by_key.get(key) {
            out.take_set(set);
        }
    }

    /// Whether nothing is left in the table.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.by_key.is_empty()
    }
}
