//! Verifies what arrives: nothing lost, nothing twice, and each publisher's messages in order.

use crate::delivery::Delivery;
use crate::stamp::Stamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Which numbers of one publisher have arrived in one queue.
#[derive(Debug, Default)]
pub(crate) struct SeqSet {
    /// Above every number that has arrived.
    next: u64,
    /// Below `next` and not arrived: begin of each gap to its end.
    gaps: BTreeMap<u64, u64>,
}

impl SeqSet {
    /// Adds a number; false if it was there.
    pub(crate) fn add(&mut self, seq: u64) -> bool {
        if seq >= self.next {
            if seq > self.next {
                self.gaps.insert(self.next, seq);
            }
            self.next = seq + 1;
            return true;
        }
        let Some((&begin, &end)) = self.gaps.range(..=seq).next_back() else {
            return false;
        };
        if seq >= end {
            return false;
        }
        self.gaps.remove(&begin);
        if begin < seq {
            self.gaps.insert(begin, seq);
        }
        if seq + 1 < end {
            self.gaps.insert(seq + 1, end);
        }
        true
    }

    /// How many of the numbers below `sent` have not arrived.
    pub(crate) fn missing(&self, sent: u64) -> u64 {
        let gaps: u64 = self.gaps.iter().map(|(begin, end)| end - begin).sum();
        gaps + sent.saturating_sub(self.next)
    }
}

/// What was found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Sent and never delivered.
    pub(crate) lost: u64,
    /// Delivered more than once without the redelivered flag.
    pub(crate) duplicates: u64,
    /// Delivered to a consumer after a later one of the same publisher.
    pub(crate) disordered: u64,
    /// Delivered with the redelivered flag.
    pub(crate) redelivered: u64,
    /// Carried no stamp of this run's publishers.
    pub(crate) foreign: u64,
}

impl Findings {
    /// Whether all is as it should be. A redelivery alone is no fault.
    pub(crate) fn clean(&self) -> bool {
        self.lost + self.duplicates + self.disordered + self.foreign == 0
    }

    /// Adds up.
    pub(crate) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.disordered += other.disordered;
        self.redelivered += other.redelivered;
        self.foreign += other.foreign;
    }
}

/// What all consumers of one queue have seen together.
#[derive(Debug, Default)]
pub(crate) struct QueueCheck {
    seen: Mutex<HashMap<u16, SeqSet>>,
}

impl QueueCheck {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u16, SeqSet>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are missing of what `sent` says each publisher put into this queue.
    pub(crate) fn lost(&self, sent: &[(u16, u64)]) -> u64 {
        let seen = self.lock();
        sent.iter()
            .map(|(publisher, sent)| match seen.get(publisher) {
                Some(set) => set.missing(*sent),
                None => *sent,
            })
            .sum()
    }
}

/// One consumer's part of the check; looks at a read's deliveries together.
#[derive(Debug)]
pub(crate) struct ConsumerCheck<'a> {
    queue: &'a QueueCheck,
    /// Publishers of this run; any id is welcome when it has none.
    publishers: u16,
    last: HashMap<u16, u64>,
    batch: Vec<(Stamp, bool)>,
    findings: Findings,
}

impl<'a> ConsumerCheck<'a> {
    /// A check of one consumer of `queue`.
    pub(crate) fn new(queue: &'a QueueCheck, publishers: u16) -> Self {
        Self {
            queue,
            publishers,
            last: HashMap::new(),
            batch: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Takes note of a delivery.
    pub(crate) fn note(&mut self, delivery: &Delivery) {
        self.findings.redelivered += u64::from(delivery.redelivered);
        match delivery.stamp {
            Some(stamp) if self.publishers == 0 || stamp.publisher < self.publishers => {
                self.batch.push((stamp, delivery.redelivered));
            }
            _ => self.findings.foreign += 1,
        }
    }

    /// Judges what was noted since the last time.
    pub(crate) fn judge(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut seen = self.queue.lock();
        for (stamp, redelivered) in self.batch.drain(..) {
            let set = seen.entry(stamp.publisher).or_insert_with(|| SeqSet {
                // Without publishers of our own, the first one seen begins the count.
                next: if self.publishers == 0 { stamp.seq } else { 0 },
                gaps: BTreeMap::new(),
            });
            let new = set.add(stamp.seq);
            if redelivered {
                continue;
            }
            self.findings.duplicates += u64::from(!new);
            if let Some(last) = self.last.insert(stamp.publisher, stamp.seq) {
                self.findings.disordered += u64::from(new && stamp.seq < last);
            }
        }
    }

    /// What this consumer found so far, loss aside.
    pub(crate) fn findings(&self) -> Findings {
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(publisher: u16, seq: u64, redelivered: bool) -> Delivery {
        Delivery {
            tag: 0,
            redelivered,
            stamp: Some(Stamp {
                publisher,
                seq,
                time: 0,
            }),
        }
    }

    fn check(consumer: &mut ConsumerCheck<'_>, seqs: &[u64]) {
        for seq in seqs {
            consumer.note(&message(0, *seq, false));
        }
        consumer.judge();
    }

    #[test]
    fn gaps_close_from_any_side() {
        let mut set = SeqSet::default();
        assert!(set.add(0));
        assert!(set.add(5));
        assert_eq!(set.missing(6), 4);
        for seq in [3, 1, 4, 2] {
            assert!(set.add(seq), "{seq}");
            assert!(!set.add(seq), "{seq}");
        }
        assert_eq!(set.missing(6), 0);
        assert_eq!(set.missing(8), 2);
        assert!(set.gaps.is_empty());
    }

    #[test]
    fn a_clean_stream_is_clean() {
        let queue = QueueCheck::default();
        let mut consumer = ConsumerCheck::new(&queue, 1);
        check(&mut consumer, &[0, 1, 2]);
        check(&mut consumer, &[3]);
        assert!(consumer.findings().clean());
        assert_eq!(queue.lost(&[(0, 4)]), 0);
        assert_eq!(queue.lost(&[(0, 6), (1, 2)]), 4);
    }

    #[test]
    fn finds_disorder_duplicates_and_strangers() {
        let queue = QueueCheck::default();
        let mut consumer = ConsumerCheck::new(&queue, 1);
        check(&mut consumer, &[0, 2, 1, 1]);
        consumer.note(&message(7, 0, false));
        consumer.note(&message(0, 2, true));
        consumer.judge();
        let want = Findings {
            lost: 0,
            duplicates: 1,
            disordered: 1,
            redelivered: 1,
            foreign: 1,
        };
        assert_eq!(consumer.findings(), want);
        assert!(!want.clean());
    }

    #[test]
    fn consumers_of_a_queue_share_it() {
        let queue = QueueCheck::default();
        let mut one = ConsumerCheck::new(&queue, 1);
        let mut two = ConsumerCheck::new(&queue, 1);
        check(&mut one, &[1, 3, 5]);
        check(&mut two, &[0, 2, 4]);
        assert!(one.findings().clean() && two.findings().clean());
        assert_eq!(queue.lost(&[(0, 6)]), 0);
        check(&mut two, &[5]);
        assert_eq!(two.findings().duplicates, 1);
    }

    #[test]
    fn a_drain_counts_from_the_first_it_sees() {
        let queue = QueueCheck::default();
        let mut consumer = ConsumerCheck::new(&queue, 0);
        check(&mut consumer, &[100, 101, 103]);
        assert!(consumer.findings().clean());
        assert_eq!(queue.lost(&[(0, 0)]), 1);
    }
}
