//! The queues of a vhost: by name for routing, and in the order of names for listings.
//!
//! Owns that both hold the same queues. A listing of 100,000 queues begins where its page does, and
//! sorts nothing. Cloned with the topology, at the cost of what differs afterwards.

use std::ops::Deref;

use crate::base::Name;
use crate::queue::QueueRef;

/// See the module. Reads as the map that routing uses.
#[derive(Clone, Default)]
pub struct QueueSet {
    by_name: imbl::HashMap<Name, QueueRef>,
    in_order: imbl::OrdMap<Name, QueueRef>,
}

impl QueueSet {
    /// The queues with their names, in the order of these. A name is at hand without a look at its queue.
    pub fn in_order(&self) -> impl DoubleEndedIterator<Item = (&Name, &QueueRef)> {
        self.in_order.iter()
    }

    pub(super) fn insert(&mut self, queue: QueueRef) {
        self.in_order.insert(queue.name.clone(), queue.clone());
        self.by_name.insert(queue.name.clone(), queue);
    }

    pub(super) fn remove(&mut self, name: &Name) {
        self.in_order.remove(name);
        self.by_name.remove(name);
    }
}

impl Deref for QueueSet {
    type Target = imbl::HashMap<Name, QueueRef>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}
