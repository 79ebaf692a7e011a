//! What a publisher has sent and the broker has not yet confirmed.

use std::collections::VecDeque;

/// The unconfirmed messages of one channel, oldest first.
#[derive(Debug)]
pub(crate) struct ConfirmWindow {
    limit: usize,
    /// The delivery tag of the first entry; tags begin at 1.
    lowest: u64,
    /// When each was sent; None once it is confirmed out of turn.
    sent: VecDeque<Option<u64>>,
    unconfirmed: usize,
}

impl ConfirmWindow {
    /// Allows `limit` messages to be unconfirmed at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            lowest: 1,
            sent: VecDeque::with_capacity(limit),
            unconfirmed: 0,
        }
    }

    /// How many more may be sent now.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.unconfirmed)
    }

    /// How much room is worth a write: an eighth, so that confirms that come one by one do not
    /// make for writes of one message.
    pub(crate) fn worthwhile(&self) -> usize {
        (self.limit / 8).max(1)
    }

    /// How many are not confirmed.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// One more was sent.
    pub(crate) fn sent(&mut self, time: u64) {
        self.sent.push_back(Some(time));
        self.unconfirmed += 1;
    }

    /// The broker answered for `tag`, or for all up to it; tells when each of them was sent.
    pub(crate) fn settle(&mut self, tag: u64, multiple: bool, mut each: impl FnMut(u64)) {
        if multiple {
            while self.lowest <= tag || (tag == 0 && !self.sent.is_empty()) {
                let Some(time) = self.sent.pop_front() else {
                    break;
                };
                self.lowest += 1;
                if let Some(time) = time {
                    self.unconfirmed -= 1;
                    each(time);
                }
            }
            return;
        }
        let Some(at) = tag.checked_sub(self.lowest) else {
            return;
        };
        let slot = usize::try_from(at)
            .ok()
            .and_then(|at| self.sent.get_mut(at));
        if let Some(time) = slot.and_then(Option::take) {
            self.unconfirmed -= 1;
            each(time);
        }
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.lowest += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u64; 0] = [];

    fn settle(window: &mut ConfirmWindow, tag: u64, multiple: bool) -> Vec<u64> {
        let mut times = Vec::new();
        window.settle(tag, multiple, |time| times.push(time));
        times
    }

    #[test]
    fn counts_singles_out_of_order_and_multiples_once() {
        let mut window = ConfirmWindow::new(4);
        (1..=4).for_each(|time| window.sent(time * 10));
        assert_eq!(window.room(), 0);
        assert_eq!(settle(&mut window, 3, false), [30]);
        assert_eq!(window.room(), 1);
        assert_eq!(settle(&mut window, 3, false), NONE);
        assert_eq!(settle(&mut window, 3, true), [10, 20]);
        window.sent(50);
        assert_eq!(window.unconfirmed(), 2);
        assert_eq!(settle(&mut window, 4, false), [40]);
        assert_eq!(settle(&mut window, 5, false), [50]);
        assert_eq!(window.room(), 4);
    }

    #[test]
    fn ignores_tags_it_does_not_know() {
        let mut window = ConfirmWindow::new(2);
        assert_eq!(settle(&mut window, 9, false), NONE);
        assert_eq!(settle(&mut window, 9, true), NONE);
        window.sent(1);
        assert_eq!(settle(&mut window, 7, false), NONE);
        assert_eq!(settle(&mut window, 0, true), [1]);
        assert_eq!(window.unconfirmed(), 0);
    }
}
