//! How long consumers may take to settle what they were delivered (A6.13).
//!
//! Owns the marks by which the age of a delivery is told. A delivery carries no time: a consumer with a limit
//! notes the last delivery tag now and then, and whatever it owes from before an old enough mark is late. That
//! costs nothing for a message, and a limit is met to an eighth of itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::channel::Channel;
use super::link::Link;
use super::replies;
use crate::base::AmqpError;
use crate::broker::INTERNAL_USER;

/// Marks within a consumer's limit.
const MARKS: u32 = 8;

/// No consumer is looked at more often.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// The limit of one consumer, and its marks.
pub(super) struct Patience {
    limit: Duration,
    /// When, and the last delivery tag then; oldest first.
    marks: VecDeque<(Instant, u64)>,
}

impl Patience {
    pub(super) fn new(limit_ms: u64) -> Self {
        Patience {
            limit: Duration::from_millis(limit_ms),
            marks: VecDeque::new(),
        }
    }

    pub(super) fn limit_ms(&self) -> u64 {
        self.limit.as_millis() as u64
    }

    /// How often it wants to be looked at.
    pub(super) fn look_every(&self) -> Duration {
        (self.limit / MARKS).max(LOOK_MIN)
    }

    /// Makes a mark, and says up to which delivery tag everything is late: 0 if nothing is.
    fn mark(&mut self, now: Instant, last_tag: u64) -> u64 {
        let due = self.marks.back().is_none_or(|&(at, tag)| {
            tag != last_tag && now.saturating_duration_since(at) >= self.look_every()
        });
        if due {
            self.marks.push_back((now, last_tag));
        }
        let is_old = |&(at, _): &(Instant, u64)| now.saturating_duration_since(at) >= self.limit;
        let old = self.marks.iter().take_while(|mark| is_old(mark)).count();
        // The youngest of the old ones says all that the others do.
        self.marks.drain(..old.saturating_sub(1));
        match old {
            0 => 0,
            _ => self.marks.front().map_or(0, |&(_, tag)| tag),
        }
    }
}

impl Channel {
    /// How often the consumer that is looked at most often is.
    pub(super) fn look_every(&self) -> Option<Duration> {
        let limited = self
            .consumers
            .iter()
            .filter_map(|(_, c)| c.patience.as_ref());
        limited.map(Patience::look_every).min()
    }

    /// A consumer that has not settled a delivery in its time, by its number.
    pub(super) fn late_consumer(&mut self, now: Instant) -> Option<usize> {
        let (ledger, last_tag) = (&self.ledger, self.ledger.last_tag());
        let mut limited = self.consumers.iter_mut().filter_map(|(number, consumer)| {
            let patience = consumer.patience.as_mut()?;
            Some((number, consumer.serial, patience))
        });
        limited.find_map(|(number, serial, patience)| {
            let late_tag = patience.mark(now, last_tag);
            ledger.owes(serial, late_tag).then_some(number)
        })
    }

    /// The fault that closes the channel for a late consumer, where it is not cancelled.
    pub(super) fn late_fault(&self, number: usize) -> AmqpError {
        let patience = self.consumers.get(number).and_then(|c| c.patience.as_ref());
        AmqpError::consumer_timeout(self.number, patience.map_or(0, Patience::limit_ms))
    }

    /// Takes a consumer off its queue. What was handed over before must then be taken, and after that
    /// [`Self::cancel_late`] called.
    pub(super) fn stop_late(&self, number: usize, link: &Link) -> Result<(), AmqpError> {
        let Some(consumer) = self.consumers.get(number) else {
            return Ok(());
        };
        let gone = link
            .vhost
            .unsubscribe(&consumer.queue, consumer.key, INTERNAL_USER);
        gone.map(|_| ())
    }

    /// Cancels a consumer that was taken off its queue for being late, and gives back all it has not settled.
    pub(super) fn cancel_late(&mut self, number: usize, link: &mut Link) -> Result<(), AmqpError> {
        let Some(consumer) = self.consumers.try_remove(number) else {
            return Ok(());
        };
        self.stats.consumers.set(self.consumers.len() as u64);
        let mut back = Vec::new();
        self.ledger.take_back(consumer.serial, &mut back);
        link.send(self.number, &replies::cancel(&consumer.tag));
        self.requeue(back, link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a6_13_a_delivery_is_late_after_the_limit_and_at_most_an_eighth() {
        let began = Instant::now();
        for delivered_ms in 0..100 {
            let mut patience = Patience::new(800);
            // A tag a millisecond, from 1, and all but the one at hand are settled at once.
            let mut late_tag = |ms: u32| patience.mark(began + ms * MS, u64::from(ms) + 1);
            let late_ms = (0..2000).find(|&ms| late_tag(ms) > delivered_ms);
            let after_ms = u64::from(late_ms.unwrap()) - delivered_ms;
            assert!((800..=901).contains(&after_ms), "{after_ms}");
            assert!(patience.marks.len() <= MARKS as usize + 2);
        }
    }

    #[test]
    fn a6_13_a_quiet_channel_needs_no_marks() {
        let began = Instant::now();
        let mut patience = Patience::new(80);
        for ms in 0..10_000 {
            patience.mark(began + ms * MS, 5);
        }
        assert_eq!(patience.marks.len(), 1);
    }
}
