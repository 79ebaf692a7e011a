//! Subscribing, getting, settling and requeueing: what changes a queue from a consumer's side.
//!
//! Owns the records that follow from it in the log. Tags and channels are the protocol's.

use super::vhost::{Durably, Vhost};
use crate::base::{AmqpError, LogPos};
use crate::queue::{ConsumerKey, ConsumerSpec, Effects, Got, QueueRef, Slot, SubscribeError};

/// What becomes of unacked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Acked, or rejected for good: gone.
    Done,
    /// Back to the queue (A4.12).
    Requeue,
}

impl Vhost {
    /// basic.consume: adds a consumer. Nothing is delivered before [`Self::resume`] (A6.19).
    pub fn subscribe(
        &self,
        queue: &QueueRef,
        spec: ConsumerSpec,
    ) -> Result<ConsumerKey, AmqpError> {
        queue
            .lock()
            .subscribe(spec)
            .map_err(|refused| match refused {
                SubscribeError::ExclusiveUse => AmqpError::exclusive_use(&queue.name, self.name()),
                SubscribeError::Gone => AmqpError::no_queue(&queue.name, self.name()),
            })
    }

    /// Takes a consumer away; its unacked messages stay out (A6.8). The last one takes an
    /// auto-delete queue with it (A4.4).
    pub fn unsubscribe(
        &self,
        queue: &QueueRef,
        key: ConsumerKey,
    ) -> Result<Durably<usize>, AmqpError> {
        let was_last = queue.lock().unsubscribe(key);
        match was_last && queue.auto_delete {
            true => self.delete_unused(queue),
            false => Ok(self.unchanged(0)),
        }
    }

    /// Delivers what can be to a consumer that is new, or has room again.
    pub fn resume(&self, queue: &QueueRef, key: ConsumerKey) -> Result<(), AmqpError> {
        let mut effects = Effects::default();
        {
            let mut state = queue.lock();
            state.resume(key);
            state.dispatch(&mut effects);
        }
        self.log_consumed(queue, &mut effects).map(drop)
    }

    /// basic.get (A6.9).
    pub fn get(&self, queue: &QueueRef, no_ack: bool) -> Result<Option<Got>, AmqpError> {
        let mut effects = Effects::default();
        let got = queue.lock().get(no_ack, &mut effects);
        self.log_consumed(queue, &mut effects)?;
        Ok(got)
    }

    /// Settles or requeues messages of one queue, and delivers what that makes possible. Where the
    /// record of it ends in the log.
    pub fn settle(
        &self,
        queue: &QueueRef,
        slots: impl IntoIterator<Item = Slot>,
        how: Settle,
        effects: &mut Effects,
    ) -> Result<LogPos, AmqpError> {
        {
            let mut state = queue.lock();
            match how {
                Settle::Done => state.settle(slots, effects),
                Settle::Requeue => state.requeue(slots, effects),
            }
            state.dispatch(effects);
        }
        self.log_consumed(queue, effects)
    }
}
