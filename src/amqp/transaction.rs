//! tx.select, commit and rollback (A5.5).
//!
//! Owns what a channel keeps until its commit. Publishes and acks of a commit are one batch of the
//! log: after a crash all of it has happened, or nothing, across all queues.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::channel::Channel;
use super::ledger::Outstanding;
use super::link::Link;
use super::replies;
use crate::base::AmqpError;
use crate::broker::Settle;
use crate::message::Message;

/// What a channel in tx mode keeps.
#[derive(Default)]
pub(super) struct Transaction {
    publishes: Vec<Publish>,
    settled: Vec<(Settle, Vec<Outstanding>)>,
}

struct Publish {
    message: Message,
    extra_keys: Vec<Bytes>,
    mandatory: bool,
}

impl Transaction {
    pub(super) fn publish(&mut self, message: Message, extra_keys: Vec<Bytes>, mandatory: bool) {
        self.publishes.push(Publish {
            message,
            extra_keys,
            mandatory,
        });
    }

    pub(super) fn settle(&mut self, how: Settle, taken: Vec<Outstanding>) {
        self.settled.push((how, taken));
    }

    /// The deliveries that it would have settled.
    pub(super) fn into_taken(self) -> impl Iterator<Item = Outstanding> {
        self.settled.into_iter().flat_map(|(_, taken)| taken)
    }
}

impl Channel {
    pub(super) fn select(&mut self, link: &mut Link) -> Result<(), AmqpError> {
        if self.confirms.is_some() {
            return Err(AmqpError::confirm_to_tx());
        }
        self.transaction.get_or_insert_default();
        self.stats.transactional.store(true, Relaxed);
        link.send(self.number, &replies::tx_select_ok());
        Ok(())
    }

    /// Does all that was kept. Requeued messages are not in the log, so they come last.
    pub(super) fn commit(&mut self, link: &mut Link) -> Result<(), AmqpError> {
        let Some(transaction) = &mut self.transaction else {
            return Err(AmqpError::not_transactional());
        };
        let Transaction { publishes, settled } = std::mem::take(&mut **transaction);
        self.stats.uncommitted.set(0);
        self.stats.acks_uncommitted.set(0);
        for publish in publishes {
            self.route(
                publish.message,
                &publish.extra_keys,
                publish.mandatory,
                link,
            );
        }
        let mut later = Vec::new();
        let mut waiting = false;
        for (how, taken) in settled {
            match how {
                Settle::Acked => waiting |= self.ack_with_publishes(&taken, link),
                _ => later.push((how, taken)),
            }
        }
        let (end, refused) = self.flush_transaction(link)?;
        for (how, mut taken) in later {
            self.settle(&mut taken, how, link)?;
        }
        if waiting {
            self.resume_all(link)?;
        }
        if self.consumers.is_empty() {
            self.ledger.forget_sources();
        }
        if refused {
            return Err(AmqpError::partial_tx());
        }
        link.gate(end);
        link.send(self.number, &replies::tx_commit_ok());
        Ok(())
    }

    /// Forgets the publishes; what was acked is unacked again.
    pub(super) fn rollback(&mut self, link: &mut Link) -> Result<(), AmqpError> {
        let Some(transaction) = &mut self.transaction else {
            return Err(AmqpError::not_transactional());
        };
        let forgotten = std::mem::take(&mut **transaction);
        self.ledger.put_back(forgotten.into_taken());
        self.stats.uncommitted.set(0);
        self.stats.acks_uncommitted.set(0);
        link.send(self.number, &replies::tx_rollback_ok());
        Ok(())
    }
}
