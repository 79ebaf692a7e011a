//! Whose turn it is: the consumers that may be able to take a message.
//!
//! Owns equal turns among consumers of equal priority (A6.4), precedence of higher ones, and the one
//! active consumer of a single-active queue (A6.5).

use std::collections::VecDeque;

/// Consumers by index. One that could take nothing when asked is parked: not in here until it may
/// again.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By priority, the highest first. Nearly always there is one.
    rings: Vec<(i64, VecDeque<u32>)>,
}

impl Turns {
    /// A consumer may take messages, after all others of its priority.
    pub(super) fn join(&mut self, index: u32, priority: i64) {
        let at = self.rings.partition_point(|(other, _)| *other > priority);
        match self.rings.get_mut(at) {
            Some((other, ring)) if *other == priority => ring.push_back(index),
            _ => self.rings.insert(at, (priority, VecDeque::from([index]))),
        }
    }

    /// Who is next.
    pub(super) fn next(&self) -> Option<u32> {
        self.rings
            .iter()
            .find_map(|(_, ring)| ring.front().copied())
    }

    /// The one whose turn it was has taken a message: the next of its priority follows.
    pub(super) fn taken(&mut self) {
        if let Some(ring) = self.first_ring()
            && ring.len() > 1
        {
            ring.rotate_left(1);
        }
    }

    /// The one whose turn it was can take nothing now.
    pub(super) fn park(&mut self) {
        if let Some(ring) = self.first_ring() {
            ring.pop_front();
        }
    }

    /// A consumer is gone.
    pub(super) fn leave(&mut self, index: u32) {
        self.rings
            .iter_mut()
            .for_each(|(_, ring)| ring.retain(|&other| other != index));
        self.rings.retain(|(_, ring)| !ring.is_empty());
    }

    pub(super) fn clear(&mut self) {
        self.rings.clear();
    }

    fn first_ring(&mut self) -> Option<&mut VecDeque<u32>> {
        self.rings
            .iter_mut()
            .map(|(_, ring)| ring)
            .find(|ring| !ring.is_empty())
    }
}
