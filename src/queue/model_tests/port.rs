//! A channel on a connection whose room and credit a test sets at will.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::queue::{ConsumerPort, ConsumerToken, Delivery};

/// What the consumers of one channel share.
pub(super) struct Line {
    /// Octets from which on there is no room.
    pub(super) high: AtomicUsize,
    /// Octets handed over and not yet "written".
    pub(super) pending: AtomicUsize,
    pub(super) starved: AtomicBool,
    /// Limit of the shared credit; 0 is none.
    pub(super) limit: AtomicU32,
    pub(super) used: AtomicU32,
    pub(super) waited_for: AtomicBool,
}

impl Line {
    pub(super) fn new(high: usize, limit: u32) -> Arc<Self> {
        Arc::new(Line {
            high: high.into(),
            pending: 0.into(),
            starved: false.into(),
            limit: limit.into(),
            used: 0.into(),
            waited_for: false.into(),
        })
    }

    /// A channel that takes everything.
    pub(super) fn wide() -> Arc<Self> {
        Line::new(usize::MAX, 0)
    }

    pub(super) fn room(&self) -> usize {
        let pending = self.pending.load(SeqCst);
        self.high.load(SeqCst).saturating_sub(pending)
    }

    pub(super) fn has_credit(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        limit == 0 || self.used.load(SeqCst) < limit
    }
}

/// One consumer's way in.
pub(super) struct Port {
    pub(super) line: Arc<Line>,
    pub(super) token: ConsumerToken,
    inbox: Mutex<Vec<Delivery>>,
    pub(super) cancelled: AtomicBool,
    /// The room it was told of last.
    told: AtomicUsize,
}

impl Port {
    pub(super) fn new(line: &Arc<Line>, number: u32) -> Arc<Self> {
        Arc::new(Port {
            line: line.clone(),
            token: ConsumerToken { channel: 1, number },
            inbox: Mutex::default(),
            cancelled: false.into(),
            told: 0.into(),
        })
    }

    /// What came since the last call.
    pub(super) fn received(&self) -> Vec<Delivery> {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// The numbers of the messages that came since the last call.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let received = self.received();
        received.iter().map(|d| super::number(&d.message)).collect()
    }
}

impl ConsumerPort for Port {
    fn room_bytes(&self) -> usize {
        let room = self.line.room();
        self.told.store(room, SeqCst);
        room
    }

    fn take_credit(&self) -> bool {
        let taken = self.line.has_credit();
        match taken {
            true => self.line.used.fetch_add(1, SeqCst),
            false => u32::from(self.line.waited_for.swap(true, SeqCst)),
        };
        taken
    }

    fn hand_over(&self, batch: &mut Vec<Delivery>, bytes: usize) {
        let costs: Vec<usize> = batch.iter().map(Delivery::cost).collect();
        assert_eq!(bytes, costs.iter().sum::<usize>(), "bytes handed over");
        let last = costs.last().expect("nothing was handed over");
        let told = self.told.load(SeqCst);
        assert!(bytes - last < told, "{bytes} octets for a room of {told}");
        self.line.pending.fetch_add(bytes, SeqCst);
        self.inbox.lock().append(batch);
    }

    fn starved(&self) {
        self.line.starved.store(true, SeqCst);
    }

    fn cancelled(&self) {
        let before = self.cancelled.swap(true, SeqCst);
        assert!(!before, "cancelled twice");
    }
}
