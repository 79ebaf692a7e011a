//! Subscribing, getting, settling and requeueing: what changes a queue from a consumer's side.
//!
//! Owns the calls; what follows from them is the aftermath's. Tags and channels are the protocol's.

use super::arguments;
use super::vhost::{Durably, Vhost};
use crate::base::{AmqpError, LogPos, clock};
use crate::queue::{
    ConsumerKey, ConsumerSpec, Effects, Got, QueueRef, Requeue, Slot, SubscribeError,
};

/// Most octets of messages that one basic.get reads itself; the pager reads on.
const GET_READ_BYTES: usize = 64 * 1024;

/// What becomes of unacked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Acked: gone.
    Acked,
    /// Rejected without requeue: dead (A6.15).
    Rejected,
    /// Back to the queue (A4.12).
    Requeued(Requeue),
}

impl Vhost {
    /// basic.consume: adds a consumer. Nothing is delivered before [`Self::resume`] (A6.19).
    pub fn subscribe(
        &self,
        queue: &QueueRef,
        spec: ConsumerSpec,
        by: &str,
    ) -> Result<ConsumerKey, AmqpError> {
        let told = self.ended.events.are_wanted().then(|| spec.clone());
        let subscribed = queue
            .lock()
            .subscribe(spec)
            .map_err(|refused| match refused {
                SubscribeError::ExclusiveUse => AmqpError::exclusive_use(&queue.name, self.name()),
                SubscribeError::Gone => AmqpError::no_queue(&queue.name, self.name()),
            });
        if let (Some(spec), Ok(_)) = (told, &subscribed) {
            self.ended.events.tell("consumer.created", |headers| {
                headers
                    .consumer(queue, &spec.tag)
                    .number("channel", spec.token.channel)
                    .flag("ack_required", !spec.no_ack)
                    .flag("exclusive", spec.exclusive)
                    .number("prefetch_count", spec.prefetch)
                    .table("arguments", &arguments::stored(&spec.arguments))
                    .by(by);
            });
        }
        subscribed
    }

    /// Takes a consumer away; its unacked messages stay out (A6.8). The last one takes an
    /// auto-delete queue with it (A4.4).
    pub fn unsubscribe(
        &self,
        queue: &QueueRef,
        key: ConsumerKey,
        by: &str,
    ) -> Result<Durably<usize>, AmqpError> {
        if self.ended.events.are_wanted()
            && let Some(tag) = queue.lock().consumer_tag(key)
        {
            self.ended.events.tell("consumer.deleted", |headers| {
                headers.consumer(queue, &tag).by(by);
            });
        }
        let leave = |state: &mut crate::queue::Queue, now_ms, _: &mut Effects| {
            state.unsubscribe(key, now_ms)
        };
        let (was_last, _) = self.change_queue(queue, &mut Effects::default(), leave)?;
        match was_last && queue.auto_delete {
            true => self.delete_unused(queue),
            false => Ok(self.unchanged(0)),
        }
    }

    /// Delivers what can be to a consumer that is new, or has room again.
    pub fn resume(&self, queue: &QueueRef, key: ConsumerKey) -> Result<(), AmqpError> {
        let mut effects = Effects::default();
        self.change_queue(queue, &mut effects, |state, _, _| state.resume(key))
            .map(drop)
    }

    /// basic.get (A6.9).
    pub fn get(&self, queue: &QueueRef, no_ack: bool) -> Result<Option<Got>, AmqpError> {
        let (mut effects, mut tries) = (Effects::default(), 0);
        let got = loop {
            let now_ms = clock::now_ms();
            let mut state = queue.lock();
            state.touch(now_ms);
            state.wake(now_ms, &mut effects);
            let got = state.get(no_ack, &mut effects);
            if got.is_some() || state.ready_len() == 0 {
                // Reading on while the client is busy with this one.
                state.wake(now_ms, &mut effects);
                break got;
            }
            let load = state.next_needed(self.log.durable(), GET_READ_BYTES);
            drop(state);
            tokio::task::block_in_place(|| {
                self.read_first(queue, load, GET_READ_BYTES, &mut tries, &mut effects)
            })?;
        };
        self.follow_up(queue, &mut effects)?;
        Ok(got)
    }

    /// Settles messages of one queue, and delivers what that makes possible. Where the record of it
    /// ends in the log.
    pub fn settle(
        &self,
        queue: &QueueRef,
        slots: impl IntoIterator<Item = Slot>,
        how: Settle,
        effects: &mut Effects,
    ) -> Result<LogPos, AmqpError> {
        let changed = self.change_queue(queue, effects, |state, now_ms, effects| match how {
            Settle::Acked => state.settle(slots, effects),
            Settle::Rejected => state.reject(slots, effects),
            Settle::Requeued(how) => state.requeue(slots, how, now_ms, effects),
        });
        changed.map(|((), end)| end)
    }
}
