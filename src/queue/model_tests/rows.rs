//! Rows of the reference, one by one.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;

use super::port::{Line, Port};
use super::{message, number};
use crate::base::{ConnectionId, LogPos};
use crate::codec::{PropertyPatch, TableBuilder, Value};
use crate::message::{Dedup, Facts, Message};
use crate::queue::options::Overflow;
use crate::queue::{
    Admission, ConsumerKey, ConsumerSpec, Cursor, DelayedRetry, Effects, Queue, QueueOptions,
    Requeue, Slot, SubscribeError,
};

/// A queue, and the trouble of calling it taken off.
struct Bench {
    queue: Queue,
    next_consumer: u32,
}

impl Bench {
    fn new(max_priority: u8) -> Self {
        Bench {
            queue: Queue::with_window(
                QueueOptions {
                    max_priority,
                    ..QueueOptions::default()
                },
                usize::MAX,
                1024,
            ),
            next_consumer: 0,
        }
    }

    fn put(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let mut effects = Effects::default();
            let pos = LogPos(1000 + number);
            self.queue
                .publish(pos, message(number, 0, 0), 0, &mut effects);
        }
    }

    fn put_with_priority(&mut self, number: u64, priority: u8) {
        let message = message(number, priority, 0);
        self.queue
            .publish(LogPos::NONE, message, 0, &mut Effects::default());
    }

    fn consume(&mut self, line: &Arc<Line>, prefetch: u32) -> (ConsumerKey, Arc<Port>) {
        self.subscribe(line, prefetch, false, false).unwrap()
    }

    fn subscribe(
        &mut self,
        line: &Arc<Line>,
        prefetch: u32,
        no_ack: bool,
        exclusive: bool,
    ) -> Result<(ConsumerKey, Arc<Port>), SubscribeError> {
        let port = Port::new(line, self.next_consumer);
        self.next_consumer += 1;
        let key = self.queue.subscribe(ConsumerSpec {
            no_ack,
            exclusive,
            prefetch,
            ..self.spec(&port, 0)
        })?;
        Ok((key, port))
    }

    fn spec(&self, port: &Arc<Port>, priority: i64) -> ConsumerSpec {
        ConsumerSpec {
            tag: "tag".into(),
            connection: ConnectionId(1),
            arguments: Bytes::new(),
            token: port.token,
            no_ack: false,
            exclusive: false,
            prefetch: 0,
            priority,
            port: port.clone(),
        }
    }

    fn dispatch(&mut self) -> Effects {
        let mut effects = Effects::default();
        self.queue.dispatch(&mut effects);
        effects
    }

    fn get(&mut self) -> Option<(u64, Slot, bool)> {
        let got = self.queue.get(false, &mut Effects::default())?;
        Some((number(&got.message), got.slot, got.redelivered))
    }

    fn drain(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.get().map(|(number, ..)| number)).collect()
    }
}

#[test]
fn a4_8_purge_takes_the_ready_messages_only() {
    let mut bench = Bench::new(0);
    bench.put(1..=3);
    let (_, slot, _) = bench.get().unwrap();
    let mut effects = Effects::default();
    assert_eq!(bench.queue.purge(&mut effects), 2);
    assert_eq!(effects.consumed, [LogPos(1002), LogPos(1003)]);
    bench
        .queue
        .requeue([slot], Requeue::Failed, 0, &mut effects);
    assert_eq!(bench.drain(), [1]);
}

#[test]
fn a4_9_delete_counts_the_ready_messages_and_tells_the_consumers() {
    let mut bench = Bench::new(0);
    let (_, port) = bench.consume(&Line::wide(), 1);
    bench.put(1..=3);
    bench.dispatch();
    let mut effects = Effects::default();
    assert_eq!(bench.queue.close(&mut effects), 2);
    assert!(port.cancelled.load(SeqCst));
    effects.consumed.sort();
    let all = [LogPos(1001), LogPos(1002), LogPos(1003)];
    assert_eq!(effects.consumed, all);
}

#[test]
fn a4_12_a_requeued_message_returns_to_its_place_and_says_so() {
    let mut bench = Bench::new(0);
    bench.put(1..=6);
    let slots: Vec<Slot> = (0..5).map(|_| bench.get().unwrap().1).collect();
    let mut effects = Effects::default();
    // In no order: 5, then 2, then 4. Message 6 was never out.
    for at in [4, 1, 3] {
        bench
            .queue
            .requeue([slots[at]], Requeue::Failed, 0, &mut effects);
    }
    assert!(effects.consumed.is_empty());
    let seen: Vec<(u64, bool)> =
        std::iter::from_fn(|| bench.get().map(|(n, _, again)| (n, again))).collect();
    assert_eq!(seen, [(2, true), (4, true), (5, true), (6, false)]);
}

/// A channel that ends with many unacked messages, before a backlog: none of them may cost a move of
/// all that returned before it. No clock judges: with such moves this would not end within hours.
#[test]
fn a4_12_requeueing_many_before_a_backlog_costs_little() {
    const OUT: usize = 200_000;
    let mut bench = Bench::new(0);
    bench.put(0..3 * OUT as u64);
    let slots: Vec<Slot> = (0..OUT).map(|_| bench.get().unwrap().1).collect();
    let (odd, even): (Vec<Slot>, Vec<Slot>) = slots.iter().partition(|slot| slot.0 % 2 == 1);
    for some in [odd, even] {
        bench
            .queue
            .requeue(some, Requeue::Failed, 0, &mut Effects::default());
    }
    assert!(bench.drain().into_iter().eq(0..3 * OUT as u64));
}

#[test]
fn a5_8_a_priority_above_the_queues_is_taken_for_the_highest() {
    let mut bench = Bench::new(5);
    bench.put_with_priority(1, 5);
    bench.put_with_priority(2, 200);
    bench.put_with_priority(3, 5);
    assert_eq!(bench.drain(), [1, 2, 3]);
}

#[test]
fn a6_1_prefetch_bounds_what_one_consumer_holds() {
    let mut bench = Bench::new(0);
    let (_, port) = bench.consume(&Line::wide(), 2);
    bench.put(1..=5);
    bench.dispatch();
    let first = port.received();
    assert_eq!(first.len(), 2);
    bench.dispatch();
    assert!(port.received().is_empty());
    bench.queue.settle([first[1].slot], &mut Effects::default());
    bench.dispatch();
    assert_eq!(port.numbers(), [3]);
}

#[test]
fn a6_2_consumers_of_two_queues_share_their_channels_credit() {
    let line = Line::new(usize::MAX, 3);
    let (mut one, mut two) = (Bench::new(0), Bench::new(0));
    let (_, first) = one.consume(&line, 0);
    let (key, second) = two.consume(&line, 0);
    one.put(1..=2);
    two.put(1..=5);
    one.dispatch();
    two.dispatch();
    let held = first.received();
    assert_eq!(held.len(), 2);
    assert_eq!(second.numbers(), [1]);
    assert!(line.waited_for.load(SeqCst));
    one.queue.settle([held[0].slot], &mut Effects::default());
    line.used.fetch_sub(1, SeqCst);
    two.queue.resume(key);
    two.dispatch();
    assert_eq!(second.numbers(), [2]);
}

#[test]
fn a6_3_without_acks_a_message_is_gone_when_sent_and_counts_for_no_limit() {
    let mut bench = Bench::new(0);
    let line = Line::new(usize::MAX, 1);
    let (_, port) = bench.subscribe(&line, 1, true, false).unwrap();
    bench.put(1..=3);
    let effects = bench.dispatch();
    assert_eq!(port.numbers(), [1, 2, 3]);
    let all = [LogPos(1001), LogPos(1002), LogPos(1003)];
    assert_eq!(effects.consumed, all);
    assert_eq!(bench.queue.unacked_len(), 0);
    assert_eq!(line.used.load(SeqCst), 0);
}

#[test]
fn a6_4_equal_consumers_take_turns() {
    let mut bench = Bench::new(0);
    let line = Line::wide();
    let ports: Vec<_> = (0..3).map(|_| bench.consume(&line, 0).1).collect();
    bench.put(0..7);
    bench.dispatch();
    // The turn goes on with the next batch.
    bench.put(7..9);
    bench.dispatch();
    let got: Vec<_> = ports.iter().map(|port| port.numbers()).collect();
    assert_eq!(got, [[0, 3, 6], [1, 4, 7], [2, 5, 8]]);
}

#[test]
fn a6_4_who_can_take_no_more_holds_nobody_up() {
    let mut bench = Bench::new(0);
    let line = Line::wide();
    let (_, small) = bench.consume(&line, 1);
    let (_, full) = bench.consume(&Line::new(0, 0), 0);
    let (_, large) = bench.consume(&line, 0);
    bench.put(0..5);
    bench.dispatch();
    assert_eq!(small.numbers(), [0]);
    assert_eq!(full.numbers(), Vec::<u64>::new());
    assert!(full.line.starved.load(SeqCst));
    assert_eq!(large.numbers(), [1, 2, 3, 4]);
}

#[test]
fn a6_6_an_exclusive_consumer_is_alone() {
    let mut bench = Bench::new(0);
    let line = Line::wide();
    let refused = Some(SubscribeError::ExclusiveUse);
    let (key, _) = bench.consume(&line, 0);
    assert_eq!(bench.subscribe(&line, 0, false, true).err(), refused);
    assert!(bench.queue.unsubscribe(key, 0));
    let (key, _) = bench.subscribe(&line, 0, false, true).unwrap();
    assert_eq!(bench.subscribe(&line, 0, false, false).err(), refused);
    assert!(bench.queue.unsubscribe(key, 0));
    assert!(bench.subscribe(&line, 0, false, false).is_ok());
}

#[test]
fn a6_8_cancel_leaves_unacked_messages_out() {
    let mut bench = Bench::new(0);
    let (key, port) = bench.consume(&Line::wide(), 0);
    bench.put(1..=2);
    bench.dispatch();
    let held = port.received();
    assert!(bench.queue.unsubscribe(key, 0));
    assert_eq!((bench.queue.ready_len(), bench.queue.unacked_len()), (0, 2));
    // Another takes the same place in the queue's table; the acks are not counted for it.
    let (_, other) = bench.consume(&Line::wide(), 1);
    bench.put(3..=5);
    bench.dispatch();
    assert_eq!(other.numbers(), [3]);
    let mut effects = Effects::default();
    bench
        .queue
        .settle(held.iter().map(|d| d.slot), &mut effects);
    bench.dispatch();
    assert_eq!(effects.consumed, [LogPos(1001), LogPos(1002)]);
    assert!(other.received().is_empty());
}

#[test]
fn a6_9_get_says_how_many_are_left() {
    let mut bench = Bench::new(0);
    bench.put(1..=3);
    let mut effects = Effects::default();
    let got = bench.queue.get(true, &mut effects).unwrap();
    assert_eq!((number(&got.message), got.ready_left), (1, 2));
    assert_eq!(effects.consumed, [LogPos(1001)]);
}

#[test]
fn a6_19_a_new_consumer_gets_nothing_before_the_next_dispatch() {
    let mut bench = Bench::new(0);
    bench.put(1..=2);
    let (_, port) = bench.consume(&Line::wide(), 0);
    assert!(port.received().is_empty());
    bench.dispatch();
    assert_eq!(port.numbers(), [1, 2]);
}

#[test]
fn a7_11_higher_priorities_go_first_whatever_waits() {
    let mut bench = Bench::new(9);
    for (number, priority) in [(1, 0), (2, 9), (3, 4), (4, 9), (5, 0), (6, 4)] {
        bench.put_with_priority(number, priority);
    }
    let (_, slot, _) = bench.get().unwrap();
    bench.put_with_priority(7, 9);
    bench
        .queue
        .requeue([slot], Requeue::Failed, 0, &mut Effects::default());
    assert_eq!(bench.drain(), [2, 4, 7, 3, 6, 1, 5]);
}

#[test]
fn a7_11_an_ordinary_queue_knows_no_priorities() {
    let mut bench = Bench::new(0);
    bench.put_with_priority(1, 0);
    bench.put_with_priority(2, 9);
    assert_eq!(bench.drain(), [1, 2]);
}

#[test]
fn who_was_starved_goes_on_after_resume() {
    let mut bench = Bench::new(0);
    let line = Line::new(1, 0);
    let (key, port) = bench.consume(&line, 0);
    bench.put(1..=3);
    bench.dispatch();
    assert_eq!(port.numbers(), [1]);
    line.pending.store(0, SeqCst);
    bench.dispatch();
    assert!(port.numbers().is_empty(), "not in the ring before resume");
    bench.queue.resume(key);
    bench.dispatch();
    assert_eq!(port.numbers(), [2]);
}

#[test]
fn a_queue_that_was_long_gives_its_memory_back() {
    const COUNT: u64 = 50_000;
    let mut bench = Bench::new(0);
    bench.put(0..COUNT);
    let slots: Vec<Slot> = (0..COUNT).map(|_| bench.get().unwrap().1).collect();
    bench.queue.settle(slots, &mut Effects::default());
    let kept = bench.queue.capacity();
    assert!(
        kept < 5_000,
        "an empty queue has places for {kept} messages"
    );
    bench.put(0..3);
    assert_eq!(bench.drain(), [0, 1, 2]);
}

#[test]
fn a7_10_a_full_queue_refuses_only_what_its_consumers_do_not_take() {
    let mut bench = Bench::new(0);
    bench.queue = Queue::new(QueueOptions {
        max_len: Some(1),
        overflow: Overflow::RejectPublish,
        ..QueueOptions::default()
    });
    let (_, port) = bench.consume(&Line::wide(), 3);
    let mut effects = Effects::default();
    // One batch, with the dispatch at its end.
    let mut publish = |number| {
        let message = message(number, 0, 0);
        bench.queue.publish(LogPos::NONE, message, 0, &mut effects)
    };
    let answers: Vec<Admission> = (1..=6).map(&mut publish).collect();
    let fitting = [Admission::Taken; 4];
    assert_eq!(answers[..4], fitting);
    assert_eq!(answers[4..], [Admission::Refused; 2]);
    bench.dispatch();
    assert_eq!(port.numbers(), [1, 2, 3]);
    assert_eq!(bench.drain(), [4]);
}

#[test]
fn a6_5_the_next_active_consumer_is_the_first_of_the_highest_priority() {
    let mut bench = Bench::new(0);
    bench.queue = Queue::new(QueueOptions {
        single_active: true,
        ..QueueOptions::default()
    });
    let line = Line::wide();
    let mut consumers = Vec::new();
    for priority in [0, 1, 5, 5, 2] {
        let port = Port::new(&line, consumers.len() as u32);
        let spec = bench.spec(&port, priority);
        consumers.push((bench.queue.subscribe(spec).unwrap(), port));
    }
    for (turn, at) in [0, 2, 3, 4, 1].into_iter().enumerate() {
        let number = turn as u64;
        bench.put([number]);
        bench.dispatch();
        assert_eq!(consumers[at].1.numbers(), [number]);
        let last = bench.queue.unsubscribe(consumers[at].0, 0);
        assert_eq!(last, turn == 4);
    }
}

/// However many priorities are in use, the messages in memory are those of about one window.
#[test]
fn priorities_share_one_window() {
    const WINDOW: usize = 1 << 20;
    let options = QueueOptions {
        max_priority: 9,
        ..QueueOptions::default()
    };
    let held = |level: fn(u64) -> u64| {
        let mut queue = Queue::with_window(options.clone(), WINDOW, 1024);
        let mut effects = Effects::default();
        for number in 0..30_000 {
            let message = message(number, level(number) as u8, 1000);
            queue.publish(LogPos(number + 1), message, 0, &mut effects);
        }
        let lanes = queue.ready.lanes();
        let entries = lanes.flat_map(|(_, lane)| lane.entries());
        entries.map(|entry| entry.octets()).sum::<usize>()
    };
    // Half a window more is kept at the tail, for consumers that catch up.
    let in_turn = held(|number| number % 10);
    assert!((WINDOW..2 * WINDOW).contains(&in_turn), "{in_turn}");
    let one_after_the_other = held(|number| number / 3000);
    assert!(one_after_the_other < 5 * WINDOW, "{one_after_the_other}");
}

#[test]
fn a6_16_what_came_back_waits_among_the_unacked_until_its_time() {
    let mut bench = Bench::new(0);
    bench.queue.set_options(
        QueueOptions {
            delayed_retry: Some(DelayedRetry {
                failed: true,
                nacked: false,
                min_ms: 10,
                max_ms: 15,
            }),
            ..QueueOptions::default()
        },
        0,
    );
    bench.put(1..=3);
    let (_, rejected, _) = bench.get().unwrap();
    let (_, nacked, _) = bench.get().unwrap();
    let mut effects = Effects::default();
    bench
        .queue
        .requeue([rejected], Requeue::Failed, 100, &mut effects);
    bench
        .queue
        .requeue([nacked], Requeue::Nacked, 100, &mut effects);
    bench.queue.wake(100, &mut effects);
    assert_eq!(effects.wake_at_ms, Some(110));
    assert_eq!((bench.queue.ready_len(), bench.queue.unacked_len()), (2, 1));
    bench.queue.wake(109, &mut effects);
    assert_eq!(bench.queue.ready_len(), 2);
    // It goes back to its place.
    bench.queue.wake(110, &mut effects);
    assert_eq!((bench.queue.ready_len(), bench.queue.unacked_len()), (3, 0));
    let (number, again, redelivered) = bench.get().unwrap();
    assert_eq!((number, redelivered), (1, true));
    bench
        .queue
        .requeue([again], Requeue::Failed, 200, &mut effects);
    bench.queue.wake(214, &mut effects);
    assert_eq!(bench.queue.ready_len(), 2);
    // A consumer gets it when its time has come.
    bench.drain();
    let (_, port) = bench.consume(&Line::wide(), 1);
    bench.queue.wake(215, &mut effects);
    assert_eq!(port.received().len(), 1);
}

/// A page closes the gaps between its messages: their ids are free all the same when they have left.
#[test]
fn a3_21_an_id_is_free_again_when_its_message_has_left_a_page() {
    let options = QueueOptions {
        dedup: Some(Dedup {
            header: "id".into(),
            while_there: true,
            ..Dedup::default()
        }),
        ..QueueOptions::default()
    };
    let with_id = |id: i32| {
        let mut headers = TableBuilder::new();
        headers.insert("id", Value::I32(id));
        let headers = headers.finish();
        let properties = PropertyPatch::new().headers(headers.view()).build();
        let facts = Facts::new(false, 0, false);
        Message::from_parts(b"", b"q", properties.raw(), vec![], facts)
    };
    let mut queue = Queue::with_window(options, 0, 4);
    let mut effects = Effects::default();
    for id in 0..8 {
        let pos = LogPos(1000 + id as u64);
        queue.publish(pos, with_id(id), 0, &mut effects);
    }
    let second_of_tail = queue.look(Cursor::default(), 8).seen.remove(4);
    assert!(queue.pick(&second_of_tail, &mut effects));
    let (mut written, mut at) = (Vec::new(), 5000);
    let paged = queue.page_out(LogPos(4000), true, |_, entries| {
        written = entries.to_vec();
        at += 1;
        Ok::<_, ()>((LogPos(at), ()))
    });
    paged.unwrap();
    let mut cursor = Some(Cursor::default());
    let mut seen = Vec::new();
    while let Some(from) = cursor {
        let view = queue.look(from, 8);
        seen.extend(
            view.page
                .map(|page| page.seen(&written))
                .unwrap_or_default(),
        );
        cursor = view.next;
    }
    let last = seen.last().expect("a page").clone();
    assert!(queue.pick(&last, &mut effects));
    let id = (last.pos().0 - 1000) as i32;
    let before = queue.ready_len();
    queue.publish(LogPos(2000), with_id(0), 0, &mut effects);
    assert_eq!(queue.ready_len(), before, "it is there");
    queue.publish(LogPos(2001), with_id(id), 0, &mut effects);
    assert_eq!(queue.ready_len(), before + 1, "it has left");
}
