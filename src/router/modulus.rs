//! `x-modulus-hash`: one of the bindings, by the hash of the keys (A3.9).
//!
//! Owns which one. Never looks at a binding's key, at arguments or at headers. A destination that is bound twice
//! gets twice as much, and any change of the bindings may send every key elsewhere.

use std::sync::Arc;

use super::Target;
use super::binding::Binding;
use super::hash;
use super::lineup::Lineup;
use super::routes::Routes;

#[derive(Clone)]
pub(super) struct ModulusTable<Q> {
    line: Lineup<Q, ()>,
}

impl<Q: Target> ModulusTable<Q> {
    pub(super) fn new() -> Self {
        ModulusTable {
            line: Lineup::new(),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        self.line.insert(binding, |_, _| ());
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        self.line.remove(binding);
    }

    /// By all keys together, as RabbitMQ does it.
    pub(super) fn route(&self, keys: &[&[u8]], out: &mut Routes<Q>) {
        let number = (hash::phash2(keys) as usize).checked_rem(self.line.len());
        if let Some(binding) = number.and_then(|number| self.line.get(number)) {
            out.take(binding);
        }
    }

    /// Whether nothing is left in the table.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.line.len() == 0
    }
}
