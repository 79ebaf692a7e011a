//! A row of places, in order, some of them empty.
//!
//! Owns a stretch of a lane that is in memory entry by entry. Never decides what is in memory whole.

use std::collections::VecDeque;

use super::entry::Entry;

/// Most places that an empty row keeps for messages to come. A backlog's memory is given back when
/// it is gone.
pub(super) const KEPT_MAX: usize = 1024;

/// A message, or the number of one that expired out of turn.
#[derive(Debug)]
enum Place {
    Held(Entry),
    Gone(u64),
}

impl Place {
    fn seq(&self) -> u64 {
        match self {
            Place::Held(entry) => entry.spot.seq(),
            Place::Gone(seq) => *seq,
        }
    }

    fn held(&self) -> Option<&Entry> {
        match self {
            Place::Held(entry) => Some(entry),
            Place::Gone(_) => None,
        }
    }
}

/// Places in the order of their numbers. The first one is never empty.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: VecDeque<Place>,
    gone: usize,
    octets: usize,
    on_disk: usize,
}

impl Places {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Messages.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.gone
    }

    /// Octets of those that are in memory whole.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// How many are on disk only.
    pub(super) fn on_disk(&self) -> usize {
        self.on_disk
    }

    /// Places for messages, whether any are there or not.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.places.front().and_then(Place::held)
    }

    /// The message at a place counted from the front, if one is there.
    pub(super) fn at(&self, place: usize) -> Option<&Entry> {
        self.places.get(place).and_then(Place::held)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().filter_map(Place::held)
    }

    /// Those from number `first` on.
    pub(super) fn since(&self, first: u64) -> impl Iterator<Item = &Entry> {
        let at = self.places.partition_point(|place| place.seq() < first);
        self.places.range(at..).filter_map(Place::held)
    }

    /// The one of a number.
    pub(super) fn get(&self, seq: u64) -> Option<&Entry> {
        self.places.get(self.find(seq)?).and_then(Place::held)
    }

    /// Those from number `first` on, the last one first. What is changed must not change what they
    /// count for.
    pub(super) fn since_mut(&mut self, first: u64) -> impl Iterator<Item = &mut Entry> {
        let new = self.places.iter_mut().rev();
        let new = new.take_while(move |place| place.seq() >= first);
        new.filter_map(|place| match place {
            Place::Held(entry) => Some(entry),
            Place::Gone(_) => None,
        })
    }

    /// All of them, in order. What is changed must not change what they count for.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.places.iter_mut().filter_map(|place| match place {
            Place::Held(entry) => Some(entry),
            Place::Gone(_) => None,
        })
    }

    /// Puts one behind the last.
    pub(super) fn push(&mut self, entry: Entry) {
        self.octets += entry.octets();
        self.on_disk += usize::from(entry.message.is_none());
        self.places.push_back(Place::Held(entry));
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let Some(Place::Held(entry)) = self.places.pop_front() else {
            return None;
        };
        self.uncount(&entry);
        self.trim();
        if self.places.is_empty() && self.places.capacity() > KEPT_MAX {
            self.places = VecDeque::new();
        }
        Some(entry)
    }

    /// Takes one out of the middle. Its place stays until as many are empty as are not, so that
    /// taking many out costs no more than walking over them.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let at = self.find(seq)?;
        let place = self.places.get_mut(at)?;
        if matches!(place, Place::Gone(_)) {
            return None;
        }
        let Place::Held(entry) = std::mem::replace(place, Place::Gone(seq)) else {
            return None;
        };
        self.gone += 1;
        self.uncount(&entry);
        self.trim();
        if self.gone * 2 > self.places.len() {
            self.places.retain(|place| place.held().is_some());
            self.places.shrink_to(self.places.len() * 2);
            self.gone = 0;
        }
        Some(entry)
    }

    /// Changes one that is on disk only, such as by putting its message back.
    pub(super) fn change(&mut self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let Some(at) = self.find(seq) else { return };
        if let Some(Place::Held(entry)) = self.places.get_mut(at) {
            self.octets -= entry.octets();
            self.on_disk -= usize::from(entry.message.is_none());
            change(entry);
            self.octets += entry.octets();
            self.on_disk += usize::from(entry.message.is_none());
        }
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.places.into_iter().filter_map(|place| match place {
            Place::Held(entry) => Some(entry),
            Place::Gone(_) => None,
        })
    }

    /// Puts all of `more` behind the last.
    pub(super) fn append(&mut self, more: &mut Places) {
        if self.places.is_empty() {
            std::mem::swap(self, more);
            return;
        }
        self.places.append(&mut more.places);
        self.gone += std::mem::take(&mut more.gone);
        self.octets += std::mem::take(&mut more.octets);
        self.on_disk += std::mem::take(&mut more.on_disk);
    }

    fn find(&self, seq: u64) -> Option<usize> {
        let at = self.places.partition_point(|place| place.seq() < seq);
        (self.places.get(at)?.seq() == seq).then_some(at)
    }

    fn uncount(&mut self, entry: &Entry) {
        self.octets -= entry.octets();
        self.on_disk -= usize::from(entry.message.is_none());
    }

    fn trim(&mut self) {
        while matches!(self.places.front(), Some(Place::Gone(_))) {
            self.places.pop_front();
            self.gone -= 1;
        }
    }
}
