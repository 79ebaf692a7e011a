//! The naive model of a queue: a sorted list of ready messages and a map of unacked ones.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::disk::Disk;
use super::message;
use super::port::Port;
use crate::base::{LogPos, QueueId};
use crate::queue::{ConsumerKey, Cursor, Effects, Queue, QueueOptions, Requeue, Seen, Slot};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) priority: u8,
    pub(super) seq: u64,
    pub(super) pos: LogPos,
    pub(super) redelivered: bool,
    pub(super) size: usize,
}

pub(super) struct Taker {
    pub(super) key: ConsumerKey,
    pub(super) port: Arc<Port>,
    pub(super) line: usize,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) prefetch: u32,
    pub(super) in_flight: u32,
}

impl Taker {
    /// Whether it could take a message now.
    pub(super) fn is_able(&self) -> bool {
        let line = &self.port.line;
        let below_prefetch = self.prefetch == 0 || self.in_flight < self.prefetch;
        line.room() > 0 && (self.no_ack || (below_prefetch && line.has_credit()))
    }
}

pub(super) struct Unacked {
    pub(super) sent: Sent,
    /// Number of the consumer, and its channel, whose credit it holds.
    pub(super) consumer: Option<(u32, usize)>,
}

pub(super) struct Side {
    pub(super) queue: Queue,
    pub(super) disk: Disk,
    /// Octets of its window.
    pub(super) window: usize,
    pub(super) max_priority: u8,
    pub(super) next_seq: u64,
    pub(super) ready: Vec<Sent>,
    pub(super) unacked: BTreeMap<Slot, Unacked>,
    pub(super) takers: Vec<Taker>,
    /// Records of those that were taken out from anywhere.
    pub(super) picked: HashSet<LogPos>,
    /// One that was looked at earlier.
    pub(super) stale: Option<Seen>,
    /// Nothing was put in, or made possible, since the last dispatch.
    pub(super) dispatched: bool,
}

impl Side {
    pub(super) fn new(max_priority: u8, window: usize, seed: u64) -> Self {
        Side {
            queue: new_queue(max_priority, window),
            disk: Disk::new(seed),
            window,
            max_priority,
            next_seq: 0,
            ready: Vec::new(),
            unacked: BTreeMap::new(),
            takers: Vec::new(),
            picked: HashSet::new(),
            stale: None,
            dispatched: true,
        }
    }

    /// What can still be asked of a queue that was closed. `late` is the position of a message that
    /// comes after its end.
    pub(super) fn check_gone(&mut self, late: LogPos) {
        let mut effects = Effects::default();
        let slots: Vec<Slot> = self.unacked.keys().copied().collect();
        self.queue.settle(slots.iter().copied(), &mut effects);
        self.queue.requeue(slots, Requeue::Failed, 0, &mut effects);
        self.queue.dispatch(&mut effects);
        assert!(self.queue.get(true, &mut effects).is_none());
        check("a queue that is gone", effects, vec![]);
        let mut effects = Effects::default();
        self.queue.publish(late, message(0, 0, 0), 0, &mut effects);
        check("a publish that came too late", effects, vec![late]);
        assert!(self.queue.is_gone());
        assert_eq!(self.queue.consumers_len(), 0);
        for taker in &self.takers {
            assert!(taker.port.cancelled.load(SeqCst), "not told of the end");
            assert!(taker.port.received().is_empty());
            assert!(!self.queue.unsubscribe(taker.key, 0));
        }
    }

    /// What a checkpoint would hold is what is there, in order.
    pub(super) fn check_snapshot(&self) {
        let mut found = Vec::new();
        for lane in self.queue.snapshot(QueueId(7)).lanes {
            let mut all = Vec::new();
            for page in &lane.pages {
                assert!(page.pos.is_kept());
                for (place, entry) in self.disk.pages[&page.pos].iter().enumerate() {
                    let redelivered = entry.redelivered || page.redelivered;
                    if page.removed.contains(place) {
                        continue;
                    }
                    all.push((page.first_seq + place as u64, entry.pos, redelivered));
                }
            }
            let loose = lane.loose.iter();
            all.extend(loose.map(|(seq, entry)| (*seq, entry.pos, entry.redelivered)));
            all.sort();
            found.extend(
                all.iter()
                    .map(|(_, pos, again)| (u8::MAX - lane.priority, *pos, *again)),
            );
        }
        found.sort_by_key(|(priority, ..)| *priority);
        let unacked = self.unacked.values().map(|unacked| Sent {
            redelivered: true,
            ..unacked.sent.clone()
        });
        let mut expected: Vec<Sent> = self.ready.iter().cloned().chain(unacked).collect();
        expected.retain(|sent| sent.pos.is_kept());
        expected.sort_by_key(|sent| (u8::MAX - sent.priority, sent.seq));
        let expected = expected.iter();
        let expected = expected.map(|sent| (u8::MAX - sent.priority, sent.pos, sent.redelivered));
        assert_eq!(found, expected.collect::<Vec<_>>(), "snapshot");
    }

    /// One of the ready ones is taken out.
    pub(super) fn took_out(&mut self, place: usize) {
        self.picked.insert(self.ready.remove(place).pos);
    }

    /// Everything that is ready, `most` at a time.
    pub(super) fn look_at_all(&self, most: usize) -> Vec<Seen> {
        let (mut seen, mut at) = (Vec::new(), Some(Cursor::default()));
        while let Some(from) = at {
            let view = self.queue.look(from, most);
            if let Some(page) = view.page {
                let found = page.seen(&self.disk.pages[&page.pos()]);
                assert!(!page.is_whole() || found.len() == page.live());
                seen.extend(found);
            }
            assert!(view.seen.len() <= most);
            seen.extend(view.seen);
            at = view.next;
        }
        seen
    }

    pub(super) fn put(&mut self, sent: Sent) {
        self.ready.push(sent);
        self.ready
            .sort_by_key(|sent| (u8::MAX - sent.priority, sent.seq));
    }

    pub(super) fn taker(&mut self, number: u32) -> Option<&mut Taker> {
        self.takers
            .iter_mut()
            .find(|taker| taker.port.token.number == number)
    }
}

pub(super) fn new_queue(max_priority: u8, window: usize) -> Queue {
    let options = QueueOptions {
        max_priority,
        ..QueueOptions::default()
    };
    Queue::with_window(options, window, 4)
}

pub(super) fn sorted(mut positions: Vec<LogPos>) -> Vec<LogPos> {
    positions.retain(|pos| pos.is_some());
    positions.sort();
    positions
}

pub(super) fn check(what: &str, effects: Effects, expected: Vec<LogPos>) {
    assert_eq!(sorted(effects.consumed), sorted(expected), "{what}");
}

/// As [`check`], when whole pages may be among what is gone.
pub(super) fn check_all(side: &Side, what: &str, effects: Effects, expected: Vec<LogPos>) {
    let pages = effects.pages.iter().map(|pos| &side.disk.pages[pos]);
    let paged = pages.flatten().map(|entry| entry.pos);
    let paged: Vec<LogPos> = paged.filter(|pos| !side.picked.contains(pos)).collect();
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for pos in &paged {
        *counts.entry(pos.segment()).or_default() += 1;
    }
    let mut released: BTreeMap<u32, u32> = BTreeMap::new();
    for (segment, count) in &effects.released {
        *released.entry(*segment).or_default() += count;
    }
    assert_eq!(released, counts, "{what}: counts by segment");
    let gone = [effects.consumed, paged].concat();
    assert_eq!(sorted(gone), sorted(expected), "{what}");
}
