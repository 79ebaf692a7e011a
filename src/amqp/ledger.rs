//! What a channel has delivered and not yet seen settled.
//!
//! Owns the way from a delivery tag to the queue and slot it stands for. Tags grow by one; most
//! acks are for the oldest, which costs no search.

use std::collections::VecDeque;

use crate::queue::{QueueRef, Slot};

/// One delivery waiting for its ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outstanding {
    pub(super) tag: u64,
    /// Which of the ledger's queues it came from.
    pub(super) source: u32,
    /// Where it stands there; [`Slot::NONE`] once settled out of order.
    pub(super) slot: Slot,
    /// Serial number of the consumer it went to; 0 if it was got, or is its queue's again.
    consumer: u32,
}

impl Outstanding {
    /// Whether it took from the channel's shared credit: consumed, not got.
    pub(super) fn credited(&self) -> bool {
        self.consumer != 0
    }
}

/// So few settled entries are not worth a sweep.
const SWEEP_MIN: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Ledger {
    last_tag: u64,
    outstanding: VecDeque<Outstanding>,
    /// Entries in `outstanding` that are settled already.
    settled: usize,
    /// Queues that deliveries came from, each once; `Outstanding::source` counts in here.
    sources: Vec<QueueRef>,
}

impl Ledger {
    /// The next delivery tag, for a delivery that needs no ack.
    pub(super) fn skip(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// The next delivery tag, for a delivery that waits for its ack. `consumer` is 0 for a message that was
    /// got.
    pub(super) fn push(&mut self, source: u32, slot: Slot, consumer: u32) -> u64 {
        let tag = self.skip();
        self.outstanding.push_back(Outstanding {
            tag,
            source,
            slot,
            consumer,
        });
        tag
    }

    /// The delivery tag given last.
    pub(super) fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// Whether a consumer has yet to settle a delivery with a tag up to `tag`.
    pub(super) fn owes(&self, consumer: u32, tag: u64) -> bool {
        let mut old = self.outstanding.iter().take_while(|o| o.tag <= tag);
        old.any(|o| o.consumer == consumer && o.slot != Slot::NONE)
    }

    /// Takes all that a consumer has not settled, but lets it settle that still, to no effect.
    pub(super) fn take_back(&mut self, consumer: u32, out: &mut Vec<Outstanding>) {
        let owed = |o: &&mut Outstanding| o.consumer == consumer && o.slot != Slot::NONE;
        for outstanding in self.outstanding.iter_mut().filter(owed) {
            out.push(*outstanding);
            outstanding.slot = Slot::GONE;
            outstanding.consumer = 0;
        }
    }

    /// The number under which deliveries from `queue` are entered.
    pub(super) fn source(&mut self, queue: &QueueRef) -> u32 {
        if let Some(at) = self.sources.iter().position(|q| q == queue) {
            return at as u32;
        }
        self.sources.push(queue.clone());
        (self.sources.len() - 1) as u32
    }

    /// The queue that [`Self::source`] numbered so.
    pub(super) fn queue(&self, source: u32) -> Option<&QueueRef> {
        self.sources.get(source as usize)
    }

    /// Deliveries waiting for an ack.
    pub(super) fn len(&self) -> usize {
        self.outstanding.len() - self.settled
    }

    /// Takes what an ack, nack or reject names, in order of delivery. `tag` 0 with `multiple` is
    /// all, also if there is nothing (A6.10). Otherwise the tag itself must be outstanding;
    /// `false`, with nothing taken, if it is not (A2: unknown delivery tag).
    pub(super) fn take(&mut self, tag: u64, multiple: bool, out: &mut Vec<Outstanding>) -> bool {
        if multiple && tag == 0 {
            self.take_front(usize::MAX, out);
            return true;
        }
        let first = self.outstanding.front().map_or(0, |o| o.tag);
        let at = match tag == first {
            true => 0,
            false => self.outstanding.partition_point(|o| o.tag < tag),
        };
        let Some(found) = self.outstanding.get_mut(at) else {
            return false;
        };
        if found.tag != tag || found.slot == Slot::NONE {
            return false;
        }
        if multiple {
            self.take_front(at + 1, out);
        } else if at == 0 {
            self.take_front(1, out);
        } else {
            out.push(*found);
            found.slot = Slot::NONE;
            self.settled += 1;
            self.sweep();
        }
        true
    }

    /// What was taken is outstanding again, in its order.
    pub(super) fn put_back(&mut self, taken: impl Iterator<Item = Outstanding>) {
        self.outstanding.retain(|o| o.slot != Slot::NONE);
        self.settled = 0;
        self.outstanding.extend(taken);
        self.outstanding.make_contiguous().sort_by_key(|o| o.tag);
    }

    /// Forgets the settled ones once they are the most: behind one delivery that is never acked
    /// there may be millions.
    fn sweep(&mut self) {
        if self.settled > SWEEP_MIN && self.settled * 2 > self.outstanding.len() {
            self.outstanding.retain(|o| o.slot != Slot::NONE);
            self.settled = 0;
        }
    }

    /// Forgets queues that nothing outstanding came from, once nothing at all is outstanding and
    /// no consumer relies on its number.
    pub(super) fn forget_sources(&mut self) {
        if self.outstanding.is_empty() {
            self.sources.clear();
        }
    }

    /// Takes the first `count`, and the settled ones that then stand in front.
    fn take_front(&mut self, count: usize, out: &mut Vec<Outstanding>) {
        let mut taken = 0;
        while let Some(front) = self.outstanding.front() {
            if front.slot == Slot::NONE {
                self.settled -= 1;
            } else if taken < count {
                out.push(*front);
            } else {
                break;
            }
            taken += 1;
            self.outstanding.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags(taken: &[Outstanding]) -> Vec<u64> {
        taken.iter().map(|o| o.tag).collect()
    }

    #[test]
    fn memory_follows_what_is_outstanding() {
        let mut ledger = Ledger::default();
        let mut out = Vec::new();
        let stuck = ledger.push(0, Slot::SOME, 1);
        for _ in 0..10_000 {
            let tag = ledger.push(0, Slot::SOME, 1);
            assert!(ledger.take(tag, false, &mut out));
            assert!(!ledger.take(tag, false, &mut out), "acked twice");
        }
        assert!(
            ledger.outstanding.len() < 100,
            "one old delivery keeps all later ones"
        );
        assert_eq!(ledger.len(), 1);
        assert!(ledger.take(stuck, false, &mut out));
        assert!(ledger.outstanding.is_empty());
        assert_eq!(out.len(), 10_001);
    }

    #[test]
    fn a6_13_what_is_taken_back_can_still_be_acked() {
        let mut ledger = Ledger::default();
        let tags: Vec<u64> = [1, 2, 1]
            .map(|consumer| ledger.push(0, Slot::SOME, consumer))
            .into();
        assert!(ledger.owes(1, 1) && ledger.owes(2, 2) && !ledger.owes(2, 1));
        let mut out = Vec::new();
        ledger.take_back(1, &mut out);
        assert_eq!(out.iter().map(|o| o.tag).collect::<Vec<_>>(), [1, 3]);
        assert!(out.iter().all(|o| o.slot == Slot::SOME && o.credited()));
        assert!(!ledger.owes(1, 3) && ledger.owes(2, 3));
        out.clear();
        for tag in tags {
            assert!(ledger.take(tag, false, &mut out), "{tag}");
        }
        let slots: Vec<_> = out.iter().map(|o| (o.slot, o.credited())).collect();
        let gone = (Slot::GONE, false);
        assert_eq!(slots, [gone, (Slot::SOME, true), gone]);
    }

    proptest! {
        /// Against the plainest model: a sorted list of tags.
        #[test]
        fn takes_what_a_list_of_tags_would(
            steps in proptest::collection::vec((0..4u8, 0..40u64, any::<bool>()), 1..120)
        ) {
            let mut ledger = Ledger::default();
            let mut model: Vec<u64> = Vec::new();
            let mut last = 0;
            for (step, tag, multiple) in steps {
                if step < 2 {
                    last += 1;
                    if step == 0 {
                        prop_assert_eq!(ledger.skip(), last);
                    } else {
                        prop_assert_eq!(ledger.push(0, Slot::SOME, 1), last);
                        model.push(last);
                    }
                    continue;
                }
                let mut out = Vec::new();
                let known = ledger.take(tag, multiple, &mut out);
                let expected: Vec<u64> = match (tag, multiple) {
                    (0, true) => std::mem::take(&mut model),
                    _ if !model.contains(&tag) => vec![],
                    (_, true) => {
                        let (taken, rest) = model.iter().partition(|&&t| t <= tag);
                        model = rest;
                        taken
                    }
                    (_, false) => {
                        model.retain(|&t| t != tag);
                        vec![tag]
                    }
                };
                prop_assert_eq!(known, (tag == 0 && multiple) || !expected.is_empty());
                prop_assert_eq!(tags(&out), expected);
                prop_assert_eq!(ledger.len(), model.len());
            }
        }
    }
}
