//! What the rest of the broker may put before a connection's task: deliveries, cancelled
//! consumers, an order to close, and the news that the log reached the disk.
//!
//! Owns the hand-over between tasks and its bound in octets. One wake serves all that came since
//! the last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::base::AmqpError;
use crate::base::limits::OUTBOUND_HIGH_BYTES;
use crate::broker::ConnectionHandle;
use crate::queue::{ConsumerPort, ConsumerToken, Delivery};
use crate::store::Durable;

/// A connection's mailbox.
#[derive(Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    wake: Notify,
    /// Octets handed over or encoded and not yet taken by the socket.
    pending_bytes: AtomicUsize,
    /// Whether there is anything in `Inner::starved`.
    starved: AtomicBool,
}

#[derive(Default)]
struct Inner {
    deliveries: Vec<Delivery>,
    cancelled: Vec<ConsumerToken>,
    close: Option<AmqpError>,
    /// Consumers that were passed over for want of room, each once, in turn.
    starved: VecDeque<Arc<Seat>>,
}

/// What [`Outbox::take`] found besides deliveries.
#[derive(Default)]
pub(super) struct News {
    /// Consumers whose queue is gone.
    pub(super) cancelled: Vec<ConsumerToken>,
    /// The connection is to end with this.
    pub(super) close: Option<AmqpError>,
}

impl Outbox {
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes everything; `deliveries` must be empty and lends its allocation.
    pub(super) fn take(&self, deliveries: &mut Vec<Delivery>) -> News {
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.deliveries, deliveries);
        News {
            cancelled: std::mem::take(&mut inner.cancelled),
            close: inner.close.take(),
        }
    }

    /// `bytes` of what was handed over went to the socket, or will never go.
    pub(super) fn written(&self, bytes: usize) {
        self.pending_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.wake_for_starved();
    }

    /// Whether consumers were passed over and now there is room for them.
    pub(super) fn has_starved(&self) -> bool {
        self.starved.load(Ordering::SeqCst) && self.room_bytes() > 0
    }

    /// The next consumer that was passed over, if there is room for it now. To be asked again until
    /// there is none: each may use all the room, and then waits behind the others.
    pub(super) fn next_starved(&self) -> Option<ConsumerToken> {
        if !self.has_starved() {
            return None;
        }
        let mut inner = self.inner.lock();
        let seat = inner.starved.pop_front();
        self.starved
            .store(!inner.starved.is_empty(), Ordering::SeqCst);
        let seat = seat?;
        seat.starved.store(false, Ordering::SeqCst);
        Some(seat.token)
    }

    fn room_bytes(&self) -> usize {
        OUTBOUND_HIGH_BYTES.saturating_sub(self.pending_bytes.load(Ordering::SeqCst))
    }

    fn mark_starved(&self, seat: &Arc<Seat>) {
        if !seat.starved.swap(true, Ordering::SeqCst) {
            let mut inner = self.inner.lock();
            inner.starved.push_back(Arc::clone(seat));
            self.starved.store(true, Ordering::SeqCst);
        }
        // The task may have made room between the look and the mark, and not look again by itself.
        self.wake_for_starved();
    }

    /// After a mark as after room was made: whichever comes second sees the other.
    fn wake_for_starved(&self) {
        if self.has_starved() {
            self.wake.notify_one();
        }
    }
}

impl ConnectionHandle for Outbox {
    fn close(&self, reason: AmqpError) {
        self.inner.lock().close.get_or_insert(reason);
        self.wake.notify_one();
    }

    fn alarms_over(&self) {
        self.wake.notify_one();
    }
}

/// What the connection waits for in the log has come, or never will.
impl Durable for Outbox {
    fn durable(&self) {
        self.wake.notify_one();
    }
}

/// The limit that all consumers of a channel share: qos with global=true (A6.2).
#[derive(Default)]
pub(super) struct ChannelCredit {
    /// 0 is no limit.
    limit: AtomicU32,
    used: AtomicU32,
    /// A consumer was passed over for want of credit.
    waited_for: AtomicBool,
}

impl ChannelCredit {
    /// Whether consumers wait that should be resumed now.
    pub(super) fn set_limit(&self, limit: u32) -> bool {
        self.limit.store(limit, Ordering::SeqCst);
        self.waited_for.swap(false, Ordering::SeqCst)
    }

    /// `count` messages with acks were settled. Whether consumers wait that should be resumed now.
    pub(super) fn give_back(&self, count: u32) -> bool {
        let less = |used: u32| Some(used.saturating_sub(count));
        let _ = self
            .used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        self.waited_for.load(Ordering::SeqCst) && self.waited_for.swap(false, Ordering::SeqCst)
    }

    fn take(&self) -> bool {
        let limit = self.limit.load(Ordering::SeqCst);
        let more = |used| (limit == 0 || used < limit).then_some(used + 1);
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }

    fn take_or_wait(&self) -> bool {
        if self.take() {
            return true;
        }
        self.waited_for.store(true, Ordering::SeqCst);
        // What was given back between the look and the mark would resume nobody.
        self.take()
    }
}

/// One consumer's way from its queue to its connection.
pub(super) struct Port {
    outbox: Arc<Outbox>,
    credit: Arc<ChannelCredit>,
    seat: Arc<Seat>,
}

/// A consumer's place among those that wait for room.
struct Seat {
    token: ConsumerToken,
    /// It is in the list.
    starved: AtomicBool,
}

impl Port {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        credit: Arc<ChannelCredit>,
        token: ConsumerToken,
    ) -> Self {
        let starved = AtomicBool::new(false);
        Port {
            outbox,
            credit,
            seat: Arc::new(Seat { token, starved }),
        }
    }
}

impl ConsumerPort for Port {
    fn room_bytes(&self) -> usize {
        self.outbox.room_bytes()
    }

    fn take_credit(&self) -> bool {
        self.credit.take_or_wait()
    }

    fn hand_over(&self, batch: &mut Vec<Delivery>, bytes: usize) {
        self.outbox.pending_bytes.fetch_add(bytes, Ordering::SeqCst);
        let first = {
            let mut inner = self.outbox.inner.lock();
            let first = inner.deliveries.is_empty();
            if first && inner.deliveries.capacity() < batch.capacity() {
                std::mem::swap(&mut inner.deliveries, batch);
            } else {
                inner.deliveries.append(batch);
            }
            first
        };
        if first {
            self.outbox.wake.notify_one();
        }
    }

    fn starved(&self) {
        self.outbox.mark_starved(&self.seat);
    }

    fn cancelled(&self) {
        let token = self.seat.token;
        self.outbox.inner.lock().cancelled.push(token);
        self.outbox.wake.notify_one();
    }
}
