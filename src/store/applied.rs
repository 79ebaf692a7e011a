//! Which appended batches are not yet applied to the queues in memory.
//!
//! Owns the list of open registrations. A checkpoint of queue state taken from memory speaks for
//! the log only below the first batch that is appended but not applied: that position is
//! [`Applied::below`].

use std::collections::VecDeque;

use crate::base::LogPos;

/// Registrations in the order of the log.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Number of the registration at the front of `open`.
    first: u64,
    open: VecDeque<Slot>,
    /// The end of the last registered batch.
    end: LogPos,
}

#[derive(Debug)]
struct Slot {
    base: LogPos,
    applied: bool,
}

impl Applied {
    pub(crate) fn new(end: LogPos) -> Applied {
        Applied {
            first: 0,
            open: VecDeque::new(),
            end,
        }
    }

    /// Registers a batch; the number is for [`Applied::apply`].
    pub(crate) fn register(&mut self, base: LogPos, end: LogPos) -> u64 {
        self.open.push_back(Slot {
            base,
            applied: false,
        });
        self.end = end;
        self.first + self.open.len() as u64 - 1
    }

    pub(crate) fn apply(&mut self, number: u64) {
        let index = number.wrapping_sub(self.first) as usize;
        if let Some(slot) = self.open.get_mut(index) {
            slot.applied = true;
        }
        while self.open.front().is_some_and(|slot| slot.applied) {
            self.open.pop_front();
            self.first += 1;
        }
    }

    pub(crate) fn below(&self) -> LogPos {
        self.open.front().map_or(self.end, |slot| slot.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_open_batch_holds_the_position_back() {
        let mut applied = Applied::new(LogPos(10));
        assert_eq!(applied.below(), LogPos(10));
        let a = applied.register(LogPos(10), LogPos(20));
        let b = applied.register(LogPos(20), LogPos(30));
        let c = applied.register(LogPos(30), LogPos(40));
        applied.apply(b);
        assert_eq!(applied.below(), LogPos(10));
        applied.apply(a);
        assert_eq!(applied.below(), LogPos(30));
        applied.apply(a);
        applied.apply(c);
        assert_eq!(applied.below(), LogPos(40));
    }
}
