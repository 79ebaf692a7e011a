//! Which ids are in a queue that takes none of them twice (A3.21).
//!
//! Owns the ids of the messages that are there, ready or out; one is free again when its message has left.
//! What an id is, the message knows.

use std::collections::{HashMap, HashSet};

use super::entry::Spot;
use super::options::QueueOptions;
use crate::message::{DedupId, Message};

/// The ids, and whose they are.
pub(super) struct Present {
    header: String,
    ids: HashSet<DedupId>,
    by_spot: HashMap<Spot, DedupId>,
}

impl Present {
    /// None for a queue that takes whatever comes, or that goes by a window.
    pub(super) fn new(options: &QueueOptions) -> Option<Box<Self>> {
        let rule = options.dedup.as_ref().filter(|rule| rule.while_there)?;
        Some(Box::new(Present {
            header: rule.header.clone(),
            ids: HashSet::new(),
            by_spot: HashMap::new(),
        }))
    }

    pub(super) fn id_of(&self, message: &Message) -> Option<DedupId> {
        message.dedup_id(&self.header)
    }

    pub(super) fn has(&self, id: DedupId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn enter(&mut self, spot: Spot, id: DedupId) {
        self.ids.insert(id);
        self.by_spot.insert(spot, id);
    }

    pub(super) fn leave(&mut self, spot: Spot) {
        if let Some(id) = self.by_spot.remove(&spot) {
            self.ids.remove(&id);
        }
        // A backlog's memory is given back when it is gone.
        if self.by_spot.is_empty() && self.by_spot.capacity() > KEPT_MAX {
            (self.ids, self.by_spot) = (HashSet::new(), HashMap::new());
        }
    }

    /// A page gave a message another number.
    pub(super) fn renumber(&mut self, from: Spot, to: Spot) {
        if from != to
            && let Some(id) = self.by_spot.remove(&from)
        {
            self.by_spot.insert(to, id);
        }
    }

    /// All leave but those at `stay`.
    pub(super) fn leave_all_but(&mut self, stay: impl Iterator<Item = Spot>) {
        let left: Vec<(Spot, DedupId)> = stay
            .filter_map(|spot| Some((spot, *self.by_spot.get(&spot)?)))
            .collect();
        self.ids = left.iter().map(|(_, id)| *id).collect();
        self.by_spot = left.into_iter().collect();
    }
}

/// Most places that are kept for ids to come.
const KEPT_MAX: usize = super::places::KEPT_MAX;
