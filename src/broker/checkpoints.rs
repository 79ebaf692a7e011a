//! Takes checkpoints of the queues when the log says that one is due.
//!
//! Owns the thread that does it, `warren-checkpoint`, from the broker's start to its stop. What a
//! checkpoint is and when one is due is the store's; what is in a queue, the queue's.

use std::thread::JoinHandle;

use parking_lot::Mutex;
use tracing::error;

use super::compaction::Compactor;
use super::pager::Vhosts;
use crate::base::index::QueueState;
use crate::queue::QueueRef;
use crate::store::Log;

/// The running thread.
pub(super) struct Checkpoints {
    log: Log,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Checkpoints {
    pub(super) fn start(log: Log, vhosts: Vhosts) -> std::io::Result<Checkpoints> {
        let thread = std::thread::Builder::new()
            .name("warren-checkpoint".into())
            .spawn({
                let log = log.clone();
                move || run(&log, &vhosts)
            })?;
        Ok(Checkpoints {
            log,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Ends the thread; the one checkpoint it may be taking comes to its end.
    pub(super) fn stop(&self) {
        self.log.end_checkpoints();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in it has been printed, and costs a longer replay at most.
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(log: &Log, vhosts: &Vhosts) {
    let mut compactor = Compactor::new(log.clone());
    while log.wait_for_checkpoint() {
        // It says itself why it fails, as all of the log does.
        let more = compactor.round(vhosts).unwrap_or(false);
        let mut checkpoint = log.begin_checkpoint();
        each_durable(vhosts, |queue| {
            let state = queue.lock();
            checkpoint.add(state.snapshot(queue.id));
        });
        if more {
            log.want_checkpoint();
        }
        if let Err(fault) = checkpoint.finish() {
            error!(%fault, "no checkpoint could be written; the log keeps what it has");
        }
    }
}

/// What the durable queues hold when nothing changes any more.
pub(super) fn states(vhosts: &Vhosts) -> Vec<QueueState> {
    let mut states = Vec::new();
    each_durable(vhosts, |queue| states.push(queue.lock().snapshot(queue.id)));
    states
}

pub(super) fn each_queue(vhosts: &Vhosts, mut visit: impl FnMut(&QueueRef)) {
    for vhost in vhosts.load().values() {
        let topology = vhost.topology();
        topology.every_queue().for_each(&mut visit);
    }
}

pub(super) fn each_durable(vhosts: &Vhosts, mut visit: impl FnMut(&QueueRef)) {
    each_queue(vhosts, |queue| {
        if queue.durable {
            visit(queue);
        }
    });
}
