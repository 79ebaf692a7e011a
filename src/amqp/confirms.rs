//! Publisher confirms of one channel (A5.2, A5.3).
//!
//! Owns the way from log positions to acks. What a batch published is one entry, whatever its
//! number of messages, and one `basic.ack` with `multiple` answers it.

use std::collections::{BTreeSet, VecDeque};

use crate::base::LogPos;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// Number of the last message published since confirm.select.
    published: u64,
    /// Number of the last message given to the broker.
    flushed: u64,
    /// Number of the last message confirmed.
    confirmed: u64,
    /// Numbers after it that were nacked.
    nacked: BTreeSet<u64>,
    /// How many were nacked in all.
    nacked_count: u64,
    /// Batches not yet confirmed: number of the last message, and what must be durable. Both grow.
    pending: VecDeque<(u64, LogPos)>,
}

/// An ack to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    pub(super) multiple: bool,
}

impl Confirms {
    /// A message was published.
    pub(super) fn count(&mut self) {
        self.published += 1;
    }

    /// All that was published is safe once `end` is durable, but for those `refused`, by their
    /// numbers within the batch. The tags to nack.
    pub(super) fn batch(&mut self, end: LogPos, refused: &[u32]) -> Vec<u64> {
        let first = self.flushed + 1;
        let nacked: Vec<u64> = refused
            .iter()
            .map(|&number| first + u64::from(number))
            .collect();
        self.nacked.extend(&nacked);
        self.nacked_count += nacked.len() as u64;
        if self.published > self.flushed {
            self.flushed = self.published;
            // A batch before it that is not safe yet makes this one wait too: acks keep the order of
            // publishing.
            let before = self.pending.back().map_or(LogPos::NONE, |&(_, end)| end);
            self.pending.push_back((self.published, end.max(before)));
        }
        nacked
    }

    /// Messages that were published and are neither acked nor nacked.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.published - self.confirmed - self.nacked.len() as u64
    }

    /// Messages that were acked.
    pub(super) fn acked(&self) -> u64 {
        self.confirmed - (self.nacked_count - self.nacked.len() as u64)
    }

    /// The position that the next ack waits for.
    pub(super) fn waits_for(&self) -> Option<LogPos> {
        self.pending.front().map(|&(_, end)| end)
    }

    /// The ack for all that `durable` makes safe.
    pub(super) fn take(&mut self, durable: LogPos) -> Option<Ack> {
        let mut tag = None;
        while let Some(&(last, end)) = self.pending.front()
            && end <= durable
        {
            tag = Some(last);
            self.pending.pop_front();
        }
        let reached = tag?;
        let first = self.confirmed + 1;
        self.confirmed = reached;
        let later = self.nacked.split_off(&(reached + 1));
        let nacked = std::mem::replace(&mut self.nacked, later);
        let mut acked = (first..=reached).rev().filter(|tag| !nacked.contains(tag));
        let tag = acked.next()?;
        Some(Ack {
            tag,
            multiple: acked.next().is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: [LogPos; 3] = [LogPos::new(1, 10), LogPos::new(1, 20), LogPos::new(1, 30)];

    fn publish(confirms: &mut Confirms, count: usize, end: LogPos) {
        (0..count).for_each(|_| confirms.count());
        assert!(confirms.batch(end, &[]).is_empty());
    }

    #[test]
    fn a5_2_one_ack_covers_a_batch() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 1, LogPos::NONE);
        assert_eq!(
            confirms.take(LogPos::NONE),
            Some(Ack {
                tag: 1,
                multiple: false
            })
        );
        publish(&mut confirms, 3, LogPos::NONE);
        assert_eq!(
            confirms.take(LogPos::NONE),
            Some(Ack {
                tag: 4,
                multiple: true
            })
        );
        assert_eq!(confirms.take(LogPos::NONE), None);
    }

    #[test]
    fn a5_3_nothing_is_acked_before_it_is_durable() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 2, END[1]);
        publish(&mut confirms, 1, LogPos::NONE);
        publish(&mut confirms, 1, END[2]);
        assert_eq!(confirms.waits_for(), Some(END[1]));
        assert_eq!(confirms.take(END[0]), None);
        assert_eq!(
            confirms.take(END[1]),
            Some(Ack {
                tag: 3,
                multiple: true
            })
        );
        assert_eq!(confirms.take(END[1]), None);
        assert_eq!(
            confirms.take(END[2]),
            Some(Ack {
                tag: 4,
                multiple: false
            })
        );
        assert_eq!(confirms.waits_for(), None);
    }

    #[test]
    fn an_empty_batch_confirms_nothing() {
        let mut confirms = Confirms::default();
        assert!(confirms.batch(END[0], &[]).is_empty());
        assert_eq!(confirms.take(END[2]), None);
    }

    #[test]
    fn a5_2_what_a_queue_refused_is_nacked_and_not_acked() {
        let mut confirms = Confirms::default();
        publish(&mut confirms, 1, LogPos::NONE);
        (0..4).for_each(|_| confirms.count());
        assert_eq!(confirms.batch(END[0], &[0, 3]), [2, 5]);
        assert_eq!(
            confirms.take(LogPos::NONE),
            Some(Ack {
                tag: 1,
                multiple: false
            })
        );
        assert_eq!(
            confirms.take(END[0]),
            Some(Ack {
                tag: 4,
                multiple: true
            })
        );
        confirms.count();
        assert_eq!(confirms.batch(LogPos::NONE, &[0]), [6]);
        assert_eq!(confirms.take(END[0]), None);
        publish(&mut confirms, 1, LogPos::NONE);
        assert_eq!(
            confirms.take(END[0]),
            Some(Ack {
                tag: 7,
                multiple: false
            })
        );
    }
}
