//! The topic exchange: patterns of words, `*` for one word and `#` for any number of them (A3.4).
//!
//! Owns where a pattern is kept: by its shape, or in the trie if there are too many shapes. Never looks at
//! arguments or headers.
//!
//! Words are parted by dots. The empty key has no words, so `#` matches it and `*` does not; `.` has two
//! empty words. `*` and `#` are special only as whole words of a binding's key.

mod shapes;
mod trie;

use std::sync::Arc;

use super::Target;
use super::binding::Binding;
use super::routes::Routes;
use shapes::Shapes;
use trie::Trie;

#[derive(Clone)]
pub(super) struct TopicTable<Q> {
    /// Nearly all patterns of nearly all exchanges.
    shapes: Shapes<Q>,
    /// The patterns that shapes could not take when they were bound.
    rest: Trie<Q>,
}

impl<Q: Target> TopicTable<Q> {
    pub(super) fn new() -> Self {
        TopicTable {
            shapes: Shapes::new(),
            rest: Trie::new(),
        }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding<Q>>) {
        if !self.shapes.insert(binding) {
            self.rest.insert(binding);
        }
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        if !self.shapes.remove(binding) {
            self.rest.remove(binding);
        }
    }

    pub(super) fn route(&self, key: &[u8], out: &mut Routes<Q>) {
        self.shapes.route(key, out);
        self.rest.route(key, out);
    }

    /// Whether nothing is left but what a new table has.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.shapes.is_bare() && self.rest.is_bare()
    }
}

/// The words of a key or pattern, in order.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    // The empty key has no words; without this it would have one, which is empty.
    let dots = if key.is_empty() { 0 } else { usize::MAX };
    key.split(|octet| *octet == b'.').take(dots)
}
