//! When queues want to be woken: for messages that expire, and for their own end.
//!
//! Owns the agenda of the whole broker: one entry a queue at a time, however many messages it has.
//! What happens then is the queue's to decide.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::base::{QueueId, clock};
use crate::queue::{QueueRef, WeakQueue};

/// Deadlines in ms since 1970. Entries that a queue no longer needs wake it to no effect.
#[derive(Default)]
pub(super) struct Timers {
    agenda: Mutex<BTreeMap<(u64, QueueId), WeakQueue>>,
    sooner: Notify,
}

impl Timers {
    /// Has `queue` woken at `at_ms`.
    pub(super) fn set(&self, queue: &QueueRef, at_ms: u64) {
        let key = (at_ms, queue.id);
        let is_first = {
            let mut agenda = self.agenda.lock();
            agenda.insert(key, queue.downgrade());
            agenda
                .first_key_value()
                .is_some_and(|(first, _)| *first == key)
        };
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// The next queue whose time has come; waits for it.
    pub(super) async fn next(&self) -> QueueRef {
        loop {
            let now_ms = clock::now_ms();
            if let Some(queue) = self.take_due(now_ms) {
                return queue;
            }
            let first_ms = self
                .agenda
                .lock()
                .first_key_value()
                .map(|((at_ms, _), _)| *at_ms);
            let wait = async {
                match first_ms {
                    Some(at_ms) => {
                        tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms)))
                            .await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    fn take_due(&self, now_ms: u64) -> Option<QueueRef> {
        let mut agenda = self.agenda.lock();
        loop {
            let first = agenda.first_entry()?;
            if first.key().0 > now_ms {
                return None;
            }
            if let Some(queue) = first.remove().upgrade() {
                return Some(queue);
            }
        }
    }
}
