//! The open channels of a connection, by number.
//!
//! Owns the look-up: most frames are for the channel of the frame before.

use super::channel::Channel;

/// Kept in the order of their numbers, which may be any up to 65535 (A1.18).
#[derive(Default)]
pub(super) struct Channels {
    #[expect(
        clippy::vec_box,
        reason = "a channel is large, and opening one moves those behind it"
    )]
    sorted: Vec<Box<Channel>>,
    /// Where the last one looked up stands.
    last: usize,
}

impl Channels {
    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn get(&mut self, number: u16) -> Option<&mut Channel> {
        if self
            .sorted
            .get(self.last)
            .is_none_or(|channel| channel.number != number)
        {
            self.last = self
                .sorted
                .binary_search_by_key(&number, |c| c.number)
                .ok()?;
        }
        self.sorted.get_mut(self.last).map(Box::as_mut)
    }

    /// Adds a channel whose number is not there yet.
    pub(super) fn insert(&mut self, channel: Channel) {
        let at = self.sorted.partition_point(|c| c.number < channel.number);
        self.sorted.insert(at, Box::new(channel));
    }

    pub(super) fn remove(&mut self, number: u16) {
        self.sorted.retain(|channel| channel.number != number);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.sorted.iter_mut().map(Box::as_mut)
    }
}
