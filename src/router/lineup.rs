//! Bindings in a line, in an order that is the same after a restart.
//!
//! Owns that order, which exchanges count by when they pick one binding of many. Never picks.

use std::cmp::Ordering;
use std::sync::Arc;

use imbl::Vector;

use super::Target;
use super::binding::{Binding, Destination};
use crate::base::Name;

/// Bindings ordered as RabbitMQ sorts destinations: exchanges before queues, then by name. `T` is what a kind
/// of exchange keeps beside each.
///
/// Clone is O(1); insert, remove and access by number are O(log n).
#[derive(Clone)]
pub(super) struct Lineup<Q, T> {
    places: Vector<Place<Q, T>>,
}

/// A binding in the line.
#[derive(Clone)]
pub(super) struct Place<Q, T> {
    is_queue: bool,
    name: Name,
    pub(super) binding: Arc<Binding<Q>>,
    pub(super) beside: T,
}

impl<Q: Target, T: Clone> Lineup<Q, T> {
    pub(super) fn new() -> Self {
        Lineup {
            places: Vector::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn get(&self, number: usize) -> Option<&Arc<Binding<Q>>> {
        self.places.get(number).map(|place| &place.binding)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place<Q, T>> {
        self.places.iter()
    }

    /// `beside` makes what stands beside it, of whether the destination is a queue, and its name.
    pub(super) fn insert(
        &mut self,
        binding: &Arc<Binding<Q>>,
        beside: impl FnOnce(bool, &Name) -> T,
    ) {
        let (is_queue, name) = rank(&binding.destination);
        let beside = beside(is_queue, &name);
        let place = Place {
            is_queue,
            name,
            binding: Arc::clone(binding),
            beside,
        };
        if let Err(at) = self.find(&place.name, binding) {
            self.places.insert(at, place);
        }
    }

    pub(super) fn remove(&mut self, binding: &Arc<Binding<Q>>) {
        let (_, name) = rank(&binding.destination);
        if let Ok(at) = self.find(&name, binding) {
            self.places.remove(at);
        }
    }

    /// Where a binding is, or else where it belongs.
    fn find(&self, name: &Name, binding: &Arc<Binding<Q>>) -> Result<usize, usize> {
        let is_queue = matches!(binding.destination, Destination::Queue(_));
        self.places.binary_search_by(|place| -> Ordering {
            place
                .is_queue
                .cmp(&is_queue)
                .then_with(|| place.name.cmp(name))
                .then_with(|| place.binding.cmp(binding))
        })
    }
}

fn rank<Q: Target>(destination: &Destination<Q>) -> (bool, Name) {
    match destination {
        Destination::Exchange(name) => (false, name.clone()),
        Destination::Queue(queue) => (true, queue.name()),
    }
}
