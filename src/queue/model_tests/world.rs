//! Two queues with a disk each, two channels, any number of consumers, and the naive model beside them.
//!
//! Whom a message goes to is not predicted but judged: messages leave in order, turns are equal,
//! limits hold, and nobody who could take a ready message is passed over.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};

use super::model::{Sent, Side, Taker, Unacked, check, check_all, new_queue};
use super::port::{Line, Port};
use super::{message, number};
use crate::base::{ConnectionId, LogPos, QueueId};
use crate::queue::{ConsumerKey, ConsumerSpec, Effects, Requeue, Slot, SubscribeError};

pub(super) struct World {
    rng: StdRng,
    sides: [Side; 2],
    lines: [Arc<Line>; 2],
    next_number: u64,
    next_consumer: u32,
    pub(super) delivered: usize,
    pub(super) restarts: usize,
    pub(super) picked: usize,
    pub(super) picked_from_pages: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let levels = [0, 5, 255];
        let mut side = || {
            let window = match rng.random_range(0..4) {
                0 => usize::MAX,
                _ => rng.random_range(0..2000),
            };
            Side::new(*levels.choose(&mut rng).unwrap(), window, rng.random())
        };
        let sides = [side(), side()];
        let lines = [
            Line::new(rng.random_range(1..2000), rng.random_range(0..6)),
            Line::new(rng.random_range(1..2000), 0),
        ];
        World {
            rng,
            sides,
            lines,
            next_number: 0,
            next_consumer: 0,
            delivered: 0,
            restarts: 0,
            picked: 0,
            picked_from_pages: 0,
        }
    }

    pub(super) fn pages_read(&self) -> usize {
        self.sides.iter().map(|side| side.disk.pages_read).sum()
    }

    pub(super) fn spilled_pages(&self) -> usize {
        let sides = self.sides.iter();
        sides.map(|side| side.disk.spilled_pages).sum()
    }

    /// One random operation, then every check.
    pub(super) fn step(&mut self) {
        let at = self.rng.random_range(0..2);
        match self.rng.random_range(0..136) {
            130..136 => self.pick(at),
            100..117 | 120..130 => self.load(at),
            117 if self.rng.random_range(0..6) == 0 => self.restart(at),
            117..120 => self.read_all(at),
            0..30 => self.publish(at),
            30..40 => self.get(at),
            40..58 => self.settle(at, false),
            58..68 => self.settle(at, true),
            68..73 => self.subscribe(at),
            73..76 => self.unsubscribe(at),
            76..90 => self.write(at),
            90..93 => self.limit(at),
            93..97 => self.dispatch(at),
            97 => self.purge(at),
            98 => self.needless_resume(at),
            _ => self.close(at),
        }
        self.check();
    }

    fn publish(&mut self, at: usize) {
        let most = [5, 5, 5, 60].choose(&mut self.rng).copied().unwrap_or(5);
        for _ in 0..self.rng.random_range(1..most) {
            let number = self.next_number;
            self.next_number += 1;
            let priority = self.rng.random_range(0..13);
            let message = message(number, priority, self.rng.random_range(0..200));
            let side = &mut self.sides[at];
            let pos = side.disk.write_or_spill(&message);
            let sent = Sent {
                number,
                priority: priority.min(side.max_priority),
                seq: side.next_seq,
                pos,
                redelivered: false,
                size: message.body_len(),
            };
            side.next_seq += 1;
            let mut effects = Effects::default();
            side.queue.publish(pos, message, 0, &mut effects);
            check("publish", effects, vec![]);
            side.put(sent);
            side.dispatched = false;
        }
        self.perhaps_dispatch(at);
        let side = &mut self.sides[at];
        side.disk.perhaps_page_out(&mut side.queue);
    }

    /// Something is read, perhaps too late.
    fn load(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        side.disk.step(&mut side.queue, 0, &mut effects);
        check("load", effects, vec![]);
        self.dispatch_unjudged(at);
    }

    fn read_all(&mut self, at: usize) {
        loop {
            let side = &mut self.sides[at];
            let mut effects = Effects::default();
            let read = side.disk.read_all(&mut side.queue, 0, &mut effects);
            check("load", effects, vec![]);
            self.dispatch_unjudged(at);
            if !read {
                break;
            }
        }
    }

    /// The broker is killed and begins again from a checkpoint.
    fn restart(&mut self, at: usize) {
        self.restarts += 1;
        let side = &mut self.sides[at];
        let state = side.queue.snapshot(QueueId(7));
        let mut queue = new_queue(side.max_priority, side.window);
        queue.restore(state);
        side.disk.restarted(&mut queue);
        side.queue = queue;
        side.stale = None;
        side.takers.clear();
        let mut given_back = [0; 2];
        for (_, Unacked { mut sent, consumer }) in std::mem::take(&mut side.unacked) {
            if let Some((_, line)) = consumer {
                given_back[line] += 1;
            }
            sent.redelivered = true;
            side.put(sent);
        }
        side.ready.retain(|sent| sent.pos.is_kept());
        self.give_back(given_back);
        for line in 0..2 {
            if self.lines[line].waited_for.swap(false, SeqCst) {
                self.resume_all(line);
            }
        }
    }

    fn perhaps_dispatch(&mut self, at: usize) {
        if self.rng.random_range(0..4) > 0 {
            self.dispatch(at);
        }
    }

    fn dispatch(&mut self, at: usize) {
        let counts = self.dispatch_unjudged(at);
        // Equal turns: who could go on has no fewer than anyone, but for the turn at hand. Credit may
        // have come back to consumers that their channel has not resumed yet.
        let takers = &self.sides[at].takers;
        let in_turn = |t: &Taker| t.is_able() && !t.port.line.waited_for.load(SeqCst);
        let able = counts.iter().zip(takers).filter(|(_, t)| in_turn(t));
        if let Some(least) = able.map(|(count, _)| *count).min() {
            let most = counts.iter().copied().max().unwrap_or_default();
            assert!(most <= least + 1, "one got {least}, another {most}");
        }
    }

    /// How many messages each consumer got.
    fn dispatch_unjudged(&mut self, at: usize) -> Vec<usize> {
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        side.queue.dispatch(&mut effects);
        side.queue.wake(0, &mut effects);
        side.disk.note(&mut effects);
        side.dispatched = true;
        let mut counts = Vec::new();
        let mut numbers = Vec::new();
        let mut consumed = Vec::new();
        for taker in &mut side.takers {
            let received = taker.port.received();
            let mut last = None;
            for delivery in &received {
                let number = number(&delivery.message);
                let found = side.ready.iter().find(|sent| sent.number == number);
                let sent = found.expect("delivered what was not ready").clone();
                let place = (u8::MAX - sent.priority, sent.seq);
                assert!(last.replace(place) < Some(place), "out of order");
                assert_eq!(delivery.redelivered, sent.redelivered, "redelivered");
                assert_eq!(delivery.token, taker.port.token, "token");
                numbers.push(number);
                if taker.no_ack {
                    assert_eq!(delivery.slot, Slot::NONE);
                    consumed.push(sent.pos);
                    continue;
                }
                taker.in_flight += 1;
                let over = taker.prefetch > 0 && taker.in_flight > taker.prefetch;
                assert!(!over, "prefetch {} passed", taker.prefetch);
                let consumer = Some((taker.port.token.number, taker.line));
                let before = side
                    .unacked
                    .insert(delivery.slot, Unacked { sent, consumer });
                assert!(before.is_none(), "a slot is used twice");
            }
            counts.push(received.len());
        }
        // What went is what stood in front.
        let mut gone: Vec<u64> = side
            .ready
            .drain(..numbers.len())
            .map(|sent| sent.number)
            .collect();
        gone.sort_unstable();
        numbers.sort_unstable();
        assert_eq!(numbers, gone, "not the first ones were delivered");
        self.delivered += numbers.len();
        check("dispatch", effects, consumed);
        counts
    }

    fn get(&mut self, at: usize) {
        let no_ack = self.rng.random();
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        let mut got = side.queue.get(no_ack, &mut effects);
        while got.is_none() && !side.ready.is_empty() {
            side.disk.read_next(&mut side.queue, &mut effects);
            got = side.queue.get(no_ack, &mut effects);
        }
        side.queue.wake(0, &mut effects);
        side.disk.note(&mut effects);
        if side.ready.is_empty() {
            assert!(got.is_none());
            return check("get", effects, vec![]);
        }
        let (got, sent) = (got.expect("there was a message"), side.ready.remove(0));
        assert_eq!(number(&got.message), sent.number, "got out of order");
        assert_eq!(got.redelivered, sent.redelivered);
        assert_eq!(got.ready_left, side.ready.len());
        if no_ack {
            assert_eq!(got.slot, Slot::NONE);
            return check("get", effects, vec![sent.pos]);
        }
        let unacked = Unacked {
            sent,
            consumer: None,
        };
        let before = side.unacked.insert(got.slot, unacked);
        assert!(before.is_none(), "a slot is used twice");
        check("get", effects, vec![]);
    }

    /// Settles or requeues some unacked messages, in any order.
    fn settle(&mut self, at: usize, requeue: bool) {
        let side = &mut self.sides[at];
        let all: Vec<Slot> = side.unacked.keys().copied().collect();
        let most = match self.rng.random_range(0..8) {
            0 => all.len(),
            _ => all.len().min(3),
        };
        let slots: Vec<Slot> = all.choose_multiple(&mut self.rng, most).copied().collect();
        let mut consumed = Vec::new();
        let mut given_back = [0; 2];
        for slot in &slots {
            let Unacked { mut sent, consumer } = side.unacked.remove(slot).unwrap();
            if let Some((number, line)) = consumer {
                given_back[line] += 1;
                if let Some(taker) = side.taker(number) {
                    taker.in_flight -= 1;
                }
            }
            if requeue {
                sent.redelivered = true;
                side.put(sent);
            } else {
                consumed.push(sent.pos);
            }
            side.dispatched = false;
        }
        let before = self.rng.random();
        if before {
            self.give_back(given_back);
        }
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        match requeue {
            true => side.queue.requeue(slots, Requeue::Failed, 0, &mut effects),
            false => side.queue.settle(slots, &mut effects),
        }
        check("settle", effects, consumed);
        self.perhaps_dispatch(at);
        if !before {
            self.give_back(given_back);
        }
        for (line, count) in given_back.into_iter().enumerate() {
            if count > 0 && self.lines[line].waited_for.swap(false, SeqCst) {
                self.resume_all(line);
            }
        }
    }

    fn give_back(&mut self, counts: [u32; 2]) {
        for (line, count) in self.lines.iter().zip(counts) {
            line.used.fetch_sub(count, SeqCst);
        }
    }

    fn subscribe(&mut self, at: usize) {
        let line = self.rng.random_range(0..2);
        let port = Port::new(&self.lines[line], self.next_consumer);
        self.next_consumer += 1;
        let exclusive = self.rng.random_range(0..10) == 0;
        let no_ack = self.rng.random_range(0..3) == 0;
        let prefetch = self.rng.random_range(0..6);
        let side = &mut self.sides[at];
        let result = side.queue.subscribe(ConsumerSpec {
            tag: "tag".into(),
            connection: ConnectionId(1),
            arguments: Bytes::new(),
            token: port.token,
            no_ack,
            exclusive,
            prefetch,
            priority: 0,
            port: port.clone(),
        });
        let taken = side.takers.iter().any(|taker| taker.exclusive);
        if taken || (exclusive && !side.takers.is_empty()) {
            assert_eq!(result.unwrap_err(), SubscribeError::ExclusiveUse);
            return;
        }
        assert!(port.received().is_empty(), "delivered before consume-ok");
        side.takers.push(Taker {
            key: result.unwrap(),
            port,
            line,
            no_ack,
            exclusive,
            prefetch,
            in_flight: 0,
        });
        side.dispatched = false;
        self.perhaps_dispatch(at);
    }

    fn unsubscribe(&mut self, at: usize) {
        let side = &mut self.sides[at];
        if side.takers.is_empty() {
            return;
        }
        let index = self.rng.random_range(0..side.takers.len());
        let gone = side.takers.remove(index);
        let last = side.queue.unsubscribe(gone.key, 0);
        assert_eq!(last, side.takers.is_empty());
        assert!(
            !side.queue.unsubscribe(gone.key, 0),
            "gone, and not the last"
        );
        side.queue.resume(gone.key);
    }

    /// The socket takes some of what is pending.
    fn write(&mut self, at: usize) {
        let line = self.lines[at].clone();
        let pending = line.pending.load(SeqCst);
        let count = match self.rng.random() {
            true => pending,
            false => self.rng.random_range(0..=pending),
        };
        line.pending.store(pending - count, SeqCst);
        if line.room() > 0 && line.starved.swap(false, SeqCst) {
            self.resume_all(at);
        }
    }

    /// qos with global=true.
    fn limit(&mut self, at: usize) {
        let limit = self.rng.random_range(0..6);
        self.lines[at].limit.store(limit, SeqCst);
        if self.lines[at].waited_for.swap(false, SeqCst) {
            self.resume_all(at);
        }
    }

    /// What a channel does when its consumers have waited for room or credit.
    fn resume_all(&mut self, line: usize) {
        for at in 0..2 {
            let of_line = |taker: &&Taker| taker.line == line;
            let takers = self.sides[at].takers.iter().filter(of_line);
            let keys: Vec<ConsumerKey> = takers.map(|taker| taker.key).collect();
            for key in keys {
                self.sides[at].queue.resume(key);
                // Those behind it are still to be resumed, so turns are not equal yet.
                self.dispatch_unjudged(at);
            }
        }
    }

    /// Looks at all of it, and takes one out from anywhere; before that perhaps one that was seen earlier.
    fn pick(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        if let Some(stale) = side.stale.take()
            && side.queue.pick(&stale, &mut effects)
        {
            let place = side.ready.iter().position(|sent| sent.pos == stale.pos());
            side.took_out(place.expect("took one that was not ready"));
        }
        let seen = side.look_at_all(self.rng.random_range(1..40));
        let shown = seen
            .iter()
            .map(|seen| (seen.pos(), seen.redelivered(), seen.body_bytes()));
        let ready = side
            .ready
            .iter()
            .map(|sent| (sent.pos, sent.redelivered, sent.size));
        assert!(
            shown.eq(ready),
            "looked at something else than what is ready"
        );
        if let Some((place, one)) = seen.iter().enumerate().choose(&mut self.rng) {
            assert!(side.queue.pick(one, &mut effects), "it was there");
            assert!(!side.queue.pick(one, &mut effects), "taken twice");
            side.took_out(place);
            self.picked += 1;
            self.picked_from_pages += usize::from(side.disk.is_in_page(one.pos()));
        }
        // Of those without a record nobody could tell which it was.
        let kept = seen.into_iter().filter(|seen| seen.pos().is_some());
        side.stale = kept.choose(&mut self.rng);
        check("pick", effects, vec![]);
        self.dispatch_unjudged(at);
    }

    fn needless_resume(&mut self, at: usize) {
        let side = &mut self.sides[at];
        if let Some(taker) = side.takers.choose(&mut self.rng) {
            side.queue.resume(taker.key);
        }
        self.dispatch(at);
    }

    fn purge(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        assert_eq!(side.queue.purge(&mut effects), side.ready.len());
        let gone = side.ready.drain(..).map(|sent| sent.pos).collect();
        check_all(side, "purge", effects, gone);
    }

    /// The queue's end, what can still be asked of it, and a new one in its place.
    fn close(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let mut effects = Effects::default();
        assert_eq!(side.queue.close(&mut effects), side.ready.len());
        let mut gone: Vec<LogPos> = side.ready.drain(..).map(|sent| sent.pos).collect();
        gone.extend(side.unacked.values().map(|unacked| unacked.sent.pos));
        check_all(side, "close", effects, gone);

        let late = side.disk.position();
        side.check_gone(late);
        // Its channels still count what they hold of it, until it is acked.
        let mut given_back = [0; 2];
        for (_, line) in side.unacked.values().filter_map(|unacked| unacked.consumer) {
            given_back[line] += 1;
        }
        let (read, spilled) = (side.disk.pages_read, side.disk.spilled_pages);
        *side = Side::new(side.max_priority, side.window, self.rng.random());
        (side.disk.pages_read, side.disk.spilled_pages) = (read, spilled);
        self.give_back(given_back);
        for line in 0..2 {
            if self.lines[line].waited_for.swap(false, SeqCst) {
                self.resume_all(line);
            }
        }
    }

    fn check(&mut self) {
        let mut credit = [0; 2];
        for side in &self.sides {
            let queue = &side.queue;
            assert_eq!(queue.ready_len(), side.ready.len(), "ready");
            let bytes: usize = side.ready.iter().map(|sent| sent.size).sum();
            assert_eq!(queue.ready_bytes(), bytes, "octets ready");
            assert_eq!(queue.unacked_len(), side.unacked.len(), "unacked");
            assert_eq!(queue.consumers_len(), side.takers.len(), "consumers");
            for (_, line) in side.unacked.values().filter_map(|unacked| unacked.consumer) {
                credit[line] += 1;
            }
            if side.dispatched && !side.ready.is_empty() && !side.disk.is_asked() {
                let passed_over = side.takers.iter().position(Taker::is_able);
                assert_eq!(passed_over, None, "a consumer starves");
            }
        }
        for (line, used) in self.lines.iter().zip(credit) {
            assert_eq!(line.used.load(SeqCst), used, "credit used");
        }
        let side = &self.sides[self.rng.random_range(0..2)];
        if self.next_number.is_multiple_of(16) {
            side.check_snapshot();
        }
    }
}
