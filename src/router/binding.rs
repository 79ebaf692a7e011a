//! One binding, its identity, and sets of bindings.
//!
//! Owns the order bindings are kept in. Never decides whether a binding matches a message.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdSet;
use imbl::ordset;

use super::Target;
use super::arguments::BindingArguments;
use crate::base::Name;

/// What a binding ends at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination<Q> {
    /// A queue.
    Queue(Q),
    /// Another exchange (A3.13).
    Exchange(Name),
}

/// An arrow from an exchange to a destination. Its identity is all of its fields (A3.15).
///
/// Bindings are ordered by destination first, so that in any set of them those of one destination are
/// neighbours.
#[derive(Clone, Debug)]
pub struct Binding<Q> {
    /// The name of the exchange it starts from.
    pub source: Name,
    /// What it ends at.
    pub destination: Destination<Q>,
    /// The binding's routing key.
    pub key: Bytes,
    /// The binding's arguments.
    pub arguments: BindingArguments,
}

impl<Q: Ord> Binding<Q> {
    fn order(&self, other: &Self) -> Ordering {
        self.destination
            .cmp(&other.destination)
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| self.arguments.encoded().cmp(other.arguments.encoded()))
            .then_with(|| self.source.cmp(&other.source))
    }
}

impl<Q: Ord> PartialEq for Binding<Q> {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }
}

impl<Q: Ord> Eq for Binding<Q> {}

impl<Q: Ord> PartialOrd for Binding<Q> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Q: Ord> Ord for Binding<Q> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order(other)
    }
}

/// A set of bindings in their order; clone is O(1), insert and remove are O(log n).
///
/// Most sets hold one binding (a queue bound by a key of its own), which costs no allocation.
#[derive(Clone, Default)]
pub(super) enum BindingSet<Q> {
    #[default]
    Empty,
    One(Arc<Binding<Q>>),
    Many(OrdSet<Arc<Binding<Q>>>),
}

impl<Q: Target> BindingSet<Q> {
    pub(super) fn len(&self) -> usize {
        match self {
            BindingSet::Empty => 0,
            BindingSet::One(_) => 1,
            BindingSet::Many(set) => set.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn contains(&self, binding: &Arc<Binding<Q>>) -> bool {
        match self {
            BindingSet::Empty => false,
            BindingSet::One(only) => only == binding,
            BindingSet::Many(set) => set.contains(binding),
        }
    }

    /// Adds a binding; false if it was there.
    pub(super) fn insert(&mut self, binding: Arc<Binding<Q>>) -> bool {
        match self {
            BindingSet::Empty => *self = BindingSet::One(binding),
            BindingSet::One(only) if *only == binding => return false,
            BindingSet::One(only) => {
                let mut set = OrdSet::unit(Arc::clone(only));
                set.insert(binding);
                *self = BindingSet::Many(set);
            }
            BindingSet::Many(set) => {
                if set.contains(&binding) {
                    return false;
                }
                set.insert(binding);
            }
        }
        true
    }

    /// Takes a binding out and returns the one that was held.
    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) -> Option<Arc<Binding<Q>>> {
        match self {
            BindingSet::Empty => None,
            BindingSet::One(only) if only == binding => {
                let held = Arc::clone(only);
                *self = BindingSet::Empty;
                Some(held)
            }
            BindingSet::One(_) => None,
            BindingSet::Many(set) => {
                let held = set.remove(binding)?;
                if set.len() <= 1 {
                    *self = set
                        .get_min()
                        .map_or(BindingSet::Empty, |last| BindingSet::One(Arc::clone(last)));
                }
                Some(held)
            }
        }
    }

    pub(super) fn iter(&self) -> Bindings<'_, Q> {
        Bindings(match self {
            BindingSet::Empty => Inner::One(None),
            BindingSet::One(only) => Inner::One(Some(only)),
            BindingSet::Many(set) => Inner::Many(Box::new(set.iter())),
        })
    }
}

/// An iterator over a set of bindings, in the order destination, key, arguments, source.
pub struct Bindings<'a, Q>(Inner<'a, Q>);

enum Inner<'a, Q> {
    One(Option<&'a Arc<Binding<Q>>>),
    Many(Box<ordset::Iter<'a, Arc<Binding<Q>>, imbl::shared_ptr::DefaultSharedPtr>>),
}

impl<Q> Bindings<'_, Q> {
    pub(super) fn none() -> Self {
        Bindings(Inner::One(None))
    }
}

impl<'a, Q: Ord> Iterator for Bindings<'a, Q> {
    type Item = &'a Arc<Binding<Q>>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Inner::One(only) => only.take(),
            Inner::Many(rest) => rest.next(),
        }
    }
}
