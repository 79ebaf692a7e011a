//! What a queue has done: counts, and their course over time.
//!
//! Owns the numbers that listings show beside the length. Behind the queue's lock, as plain fields.
//! A queue that nobody has used yet has none.

use super::options::DeathReason;
use crate::base::history::{History, Tier};
use crate::counts;

counts! {
    /// Messages by what became of them, since the broker started.
    pub struct QueueCounts {
        /// Published into the queue.
        published,
        /// Delivered to consumers that ack.
        delivered,
        /// Delivered to consumers that do not.
        delivered_no_ack,
        /// Got, to be acked.
        got,
        /// Got without ack.
        got_no_ack,
        /// Gets that found no message.
        got_empty,
        /// Delivered or got not for the first time.
        redelivered,
        /// Acked.
        acked,
        /// Dropped, as the queue has no dead-letter exchange: rejected.
        dropped_rejected,
        /// Dropped: expired.
        dropped_expired,
        /// Dropped: the queue was full.
        dropped_maxlen,
        /// Dropped: delivered too often.
        dropped_delivery_limit,
        /// Dead-lettered: rejected.
        lettered_rejected,
        /// Dead-lettered: expired.
        lettered_expired,
        /// Dead-lettered: the queue was full.
        lettered_maxlen,
        /// Dead-lettered: delivered too often.
        lettered_delivery_limit,
    }
}

/// One look at a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueSample {
    /// Messages that wait.
    pub ready: u64,
    /// Messages that are out.
    pub unacked: u64,
    /// What has been counted.
    pub counts: QueueCounts,
}

/// The counts and the history of a queue.
#[derive(Debug, Default)]
pub struct Tally(Option<Box<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    counts: QueueCounts,
    unacked_bytes: u64,
    /// What the last sample showed, and since when.
    seen: QueueSample,
    changed_at_ms: u64,
    history: Option<History<QueueSample>>,
}

/// Without a change for so long the history is given back.
const HISTORY_IDLE_MS: u64 = 3_600_000;

impl Tally {
    fn inner(&mut self) -> &mut Inner {
        self.0.get_or_insert_default()
    }

    /// Whether anything has been counted.
    pub fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// What has been counted.
    pub fn counts(&self) -> QueueCounts {
        self.0
            .as_ref()
            .map(|inner| inner.counts)
            .unwrap_or_default()
    }

    /// Octets of the bodies that are out.
    pub fn unacked_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.unacked_bytes)
    }

    /// The course of the counts; none of a queue that nothing has happened to yet.
    pub fn history(&self) -> Option<&History<QueueSample>> {
        self.0.as_ref()?.history.as_ref()
    }

    pub(super) fn forget_history(&mut self) {
        if let Some(inner) = &mut self.0 {
            inner.history = None;
        }
    }

    /// What the last sample showed, and when one first did, in ms since 1970; 0 if none was taken.
    pub fn seen(&self) -> (u64, QueueSample) {
        let inner = self.0.as_ref();
        inner.map_or_else(Default::default, |inner| (inner.changed_at_ms, inner.seen))
    }

    /// Takes a sample into a history of `tiers`, or of more if it keeps more already. Whether it keeps
    /// more than one.
    pub(super) fn sample(&mut self, now_ms: u64, ready: u64, unacked: u64, tiers: &[Tier]) -> bool {
        if self.0.is_none() && ready == 0 && unacked == 0 {
            return false;
        }
        let inner = self.inner();
        let value = QueueSample {
            ready,
            unacked,
            counts: inner.counts,
        };
        if inner.seen != value || inner.changed_at_ms == 0 {
            inner.seen = value;
            inner.changed_at_ms = now_ms;
        }
        if now_ms.saturating_sub(inner.changed_at_ms) > HISTORY_IDLE_MS {
            inner.history = None;
            return false;
        }
        if inner
            .history
            .as_ref()
            .is_none_or(|h| h.tiers() < tiers.len())
        {
            inner.history = Some(History::new(tiers));
        }
        let Some(history) = &mut inner.history else {
            return false;
        };
        history.push(now_ms, value);
        history.tiers() > 1
    }

    pub(super) fn published(&mut self) {
        self.inner().counts.published += 1;
    }

    /// A message went to a consumer.
    pub(super) fn delivered(&mut self, no_ack: bool, redelivered: bool, body_bytes: usize) {
        let inner = self.inner();
        inner.counts.redelivered += u64::from(redelivered);
        match no_ack {
            true => inner.counts.delivered_no_ack += 1,
            false => {
                inner.counts.delivered += 1;
                inner.unacked_bytes += body_bytes as u64;
            }
        }
    }

    /// A message was got.
    pub(super) fn got(&mut self, no_ack: bool, redelivered: bool, body_bytes: usize) {
        let inner = self.inner();
        inner.counts.redelivered += u64::from(redelivered);
        match no_ack {
            true => inner.counts.got_no_ack += 1,
            false => {
                inner.counts.got += 1;
                inner.unacked_bytes += body_bytes as u64;
            }
        }
    }

    pub(super) fn got_empty(&mut self) {
        self.inner().counts.got_empty += 1;
    }

    pub(super) fn acked(&mut self) {
        self.inner().counts.acked += 1;
    }

    /// A message came back and waits: it is not ready, and nobody has it.
    pub(super) fn waits(&mut self, body_bytes: usize) {
        self.inner().unacked_bytes += body_bytes as u64;
    }

    /// A message is no longer out, for whatever reason.
    pub(super) fn returned(&mut self, body_bytes: usize) {
        let inner = self.inner();
        inner.unacked_bytes = inner.unacked_bytes.saturating_sub(body_bytes as u64);
    }

    /// A message died.
    pub(super) fn died(&mut self, reason: DeathReason, lettered: bool) {
        let counts = &mut self.inner().counts;
        let count = match (reason, lettered) {
            (DeathReason::Rejected, false) => &mut counts.dropped_rejected,
            (DeathReason::Expired, false) => &mut counts.dropped_expired,
            (DeathReason::MaxLen, false) => &mut counts.dropped_maxlen,
            (DeathReason::DeliveryLimit, false) => &mut counts.dropped_delivery_limit,
            (DeathReason::Rejected, true) => &mut counts.lettered_rejected,
            (DeathReason::Expired, true) => &mut counts.lettered_expired,
            (DeathReason::MaxLen, true) => &mut counts.lettered_maxlen,
            (DeathReason::DeliveryLimit, true) => &mut counts.lettered_delivery_limit,
        };
        *count += 1;
    }
}
