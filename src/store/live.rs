//! Which messages a queue holds, while recovery replays the log: eight octets a message.
//!
//! Owns the set; never the messages.

use crate::base::LogPos;

/// Taken away again; swept out later.
const DEAD: u64 = 1 << 63;
/// Delivered before.
const REDELIVERED: u64 = 1 << 62;
const POSITION: u64 = REDELIVERED - 1;
/// Sweeping smaller sets is not worth it.
const SWEEP_MIN: usize = 1024;

/// The positions a queue holds, ascending, since a log is replayed in order.
#[derive(Debug, Default)]
pub(crate) struct LiveSet {
    entries: Vec<u64>,
    dead: usize,
    /// Where the next ack probably is: consumers mostly ack in order.
    hint: usize,
}

impl LiveSet {
    /// Adds a message; does nothing when it was added before.
    pub(crate) fn publish(&mut self, position: LogPos) {
        let last = self.entries.last().map_or(0, |entry| entry & POSITION);
        if position.0 > last {
            self.entries.push(position.0);
        }
    }

    /// Takes a message away; does nothing when it is not there.
    pub(crate) fn ack(&mut self, position: LogPos) {
        if let Some(index) = self.find(position)
            && let Some(entry) = self.entries.get_mut(index)
            && *entry & DEAD == 0
        {
            *entry |= DEAD;
            self.dead += 1;
            self.hint = index + 1;
            // A queue through which millions went must not cost memory for them.
            if self.dead > SWEEP_MIN && self.dead * 2 > self.entries.len() {
                self.sweep();
            }
        }
    }

    pub(crate) fn mark_redelivered(&mut self, position: LogPos) {
        if let Some(entry) = self
            .find(position)
            .and_then(|index| self.entries.get_mut(index))
        {
            *entry |= REDELIVERED;
        }
    }

    /// Forgets the dead ones for good. The last entry may go with them: positions only grow.
    pub(crate) fn sweep(&mut self) {
        self.entries.retain(|entry| entry & DEAD == 0);
        self.dead = 0;
        self.hint = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.dead
    }

    /// Positions and whether each was delivered before. Only after [`LiveSet::sweep`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LogPos, bool)> {
        self.entries
            .iter()
            .map(|entry| (LogPos(entry & POSITION), entry & REDELIVERED != 0))
    }

    /// Whether the message at `position` is held and, if so, was delivered before. To be asked with
    /// ascending positions after [`LiveSet::sweep`] and [`LiveSet::rewind`].
    pub(crate) fn next_is(&mut self, position: LogPos) -> Option<bool> {
        let entry = *self.entries.get(self.hint)?;
        if entry & POSITION != position.0 {
            return None;
        }
        self.hint += 1;
        Some(entry & REDELIVERED != 0)
    }

    /// Makes [`LiveSet::next_is`] start over.
    pub(crate) fn rewind(&mut self) {
        self.hint = 0;
    }

    fn find(&self, position: LogPos) -> Option<usize> {
        if self
            .entries
            .get(self.hint)
            .is_some_and(|entry| entry & POSITION == position.0)
        {
            return Some(self.hint);
        }
        self.entries
            .binary_search_by_key(&position.0, |entry| entry & POSITION)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaying_twice_changes_nothing_and_unknown_acks_are_passed_over() {
        let mut live = LiveSet::default();
        for _ in 0..2 {
            for n in [5, 7, 9] {
                live.publish(LogPos(n));
            }
            live.ack(LogPos(7));
            live.ack(LogPos(8));
            live.mark_redelivered(LogPos(9));
        }
        assert_eq!(live.len(), 2);
        live.sweep();
        let held: Vec<_> = live.iter().collect();
        assert_eq!(held, [(LogPos(5), false), (LogPos(9), true)]);
        assert_eq!(live.next_is(LogPos(5)), Some(false));
        assert_eq!(live.next_is(LogPos(7)), None);
        assert_eq!(live.next_is(LogPos(9)), Some(true));
        assert_eq!(live.next_is(LogPos(11)), None);
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut live = LiveSet::default();
        for n in 1..=100_000 {
            live.publish(LogPos(n));
            live.ack(LogPos(n));
        }
        assert_eq!(live.len(), 0);
        assert!(live.entries.len() <= 2 * SWEEP_MIN + 2);
    }
}
