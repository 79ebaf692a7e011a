//! Looking at messages, deleting one, and moving them, also from disk.

use std::ops::ControlFlow;

use super::*;
use crate::auth::{Actor, Authority, Login};
use crate::broker::browse::{Bounds, Browsed};
use crate::broker::moving::{Move, MoveTo, Moved};
use crate::queue::{Cursor, MessageId, Requeue};

const ALL: Bounds = Bounds {
    messages: usize::MAX,
    bytes: usize::MAX,
};

impl Bench {
    fn look(
        &self,
        queue: &QueueRef,
        from: Cursor,
        bounds: Bounds,
    ) -> (Vec<(MessageId, String)>, Browsed) {
        let mut found = Vec::new();
        let browsed = self
            .vhost
            .browse(queue, from, bounds, &mut |seen, message| {
                found.push((seen.id, text(message)));
                ControlFlow::Continue(())
            });
        (found, browsed.unwrap())
    }

    fn shown(&self, queue: &QueueRef) -> Vec<String> {
        let (found, browsed) = self.look(queue, Cursor::default(), ALL);
        assert_eq!(browsed.next, None);
        found.into_iter().map(|(_, text)| text).collect()
    }

    fn guest(&self) -> Actor {
        let login = Login {
            user: "guest".into(),
            tags: Vec::new(),
            authority: Authority::Directory,
        };
        self.broker.actor(Arc::new(login), self.vhost.name())
    }

    fn relocate(&self, what: &Move, wanted: impl Fn(&str) -> bool) -> Moved {
        let mut wanted = |_: &crate::queue::Seen, message: &Message| wanted(&text(message));
        let moved = self
            .vhost
            .move_messages(&self.guest(), what, ALL, &mut wanted);
        moved.unwrap()
    }
}

fn everything(from: &QueueRef, to: MoveTo) -> Move {
    Move {
        from: from.clone(),
        start: Cursor::default(),
        to,
        most: usize::MAX,
        copy: false,
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| format!("{n:06}")).collect()
}

/// A durable queue far beyond its window: most of it is pages.
fn long(bench: &Bench, len: usize) -> QueueRef {
    let queue = bench.declare("long", |wanted| wanted.durable = true);
    let mut publisher = Publisher::new(bench.vhost.clone());
    publisher.check_exchange(b"").unwrap();
    for number in 0..len {
        let mut body = format!("{number:06}").into_bytes();
        body.resize(6, b'.');
        // Something that fills the window.
        let properties = [
            b"\x20\x00".as_slice(),
            &[0, 0, 7, 200],
            b"\x01xS",
            &[0, 0, 7, 193],
            &[b'.'; 1985],
        ]
        .concat();
        let facts = Facts::new(true, 0, false);
        let message = Message::from_parts(b"", b"long", &properties, vec![body.into()], facts);
        publisher.publish(message, &[]);
        if number % 100 == 99 {
            publisher.flush().unwrap();
            bench.broker.log().sync().unwrap();
        }
    }
    publisher.flush().unwrap();
    bench.broker.log().sync().unwrap();
    queue
}

#[test]
fn what_is_looked_at_stays_as_it_is() {
    let bench = Bench::new();
    let queue = bench.declare("q", |wanted| wanted.durable = true);
    for (number, persistent) in [(0, true), (1, false), (2, true), (3, false)] {
        bench.publish("", "q", format!("{number:06}").as_bytes(), persistent);
    }
    assert_eq!(bench.shown(&queue), numbered(0..4));
    assert_eq!(bench.shown(&queue), numbered(0..4));
    let two = Bounds { messages: 2, ..ALL };
    let (found, browsed) = bench.look(&queue, Cursor::default(), two);
    assert_eq!((found.len(), browsed.examined), (2, 2));
    let (rest, browsed) = bench.look(&queue, browsed.next.unwrap(), two);
    assert_eq!(
        rest.iter().map(|(_, t)| t.clone()).collect::<Vec<_>>(),
        numbered(2..4)
    );
    assert_eq!(browsed.next, None);
    assert_eq!(
        bench.vhost.skip(&queue, 3).unwrap(),
        Some(rest[1].0.cursor())
    );
    assert_eq!(bench.vhost.skip(&queue, 9).unwrap(), None);
    // One is out: it is not ready, and stands in its place again when it comes back.
    let got = bench.vhost.get(&queue, false).unwrap().unwrap();
    assert_eq!(bench.shown(&queue), numbered(1..4));
    let back = Settle::Requeued(Requeue::Seen);
    bench
        .vhost
        .settle(
            &queue,
            [got.slot],
            back,
            &mut crate::queue::Effects::default(),
        )
        .unwrap();
    assert_eq!(bench.shown(&queue), numbered(0..4));
    let bodies = bench.bodies("q");
    let redelivered: Vec<bool> = bodies.iter().map(|(_, again)| *again).collect();
    assert_eq!(redelivered, [true, false, false, false]);
}

#[test]
fn a_message_is_deleted_wherever_it_stands() {
    let bench = Bench::new();
    let queue = bench.declare("q", |wanted| wanted.durable = true);
    for number in 0..5 {
        bench.publish("", "q", format!("{number:06}").as_bytes(), number % 2 == 0);
    }
    let (found, _) = bench.look(&queue, Cursor::default(), ALL);
    for at in [2, 1, 4] {
        assert!(
            bench
                .vhost
                .delete_message(&queue, found[at].0)
                .unwrap()
                .value
        );
        assert!(
            !bench
                .vhost
                .delete_message(&queue, found[at].0)
                .unwrap()
                .value
        );
    }
    assert_eq!(bench.shown(&queue), ["000000", "000003"]);
    assert_eq!(queue.lock().ready_len(), 2);
    assert_eq!(queue.lock().ready_bytes(), 12);
    let bench = bench.restart();
    assert_eq!(
        bench.shown(&bench.queue("q")),
        ["000000"],
        "3 was in memory only"
    );
    assert_eq!(bench.live_messages(), 1);
}

#[test]
fn pages_on_disk_are_looked_at_and_picked_from() {
    const LEN: usize = 6_000;
    let bench = Bench::new();
    let queue = long(&bench, LEN);
    assert!(
        !queue.lock().snapshot(queue.id).lanes[0].pages.is_empty(),
        "no page was made"
    );
    assert_eq!(bench.shown(&queue), numbered(0..LEN));
    let at = bench.vhost.skip(&queue, 4_321).unwrap().unwrap();
    let (found, _) = bench.look(&queue, at, Bounds { messages: 3, ..ALL });
    assert_eq!(
        found.iter().map(|(_, t)| t.clone()).collect::<Vec<_>>(),
        numbered(4_321..4_324)
    );
    let few = Bounds {
        bytes: 100_000,
        ..ALL
    };
    let (some, browsed) = bench.look(&queue, Cursor::default(), few);
    assert!(
        some.len() < LEN && browsed.next.is_some(),
        "bounded by octets"
    );
    assert!(
        bench
            .vhost
            .delete_message(&queue, found[1].0)
            .unwrap()
            .value
    );
    assert!(
        !bench
            .vhost
            .delete_message(&queue, found[1].0)
            .unwrap()
            .value
    );
    assert_eq!(queue.lock().ready_len(), LEN - 1);
    // Some out of the middle, by what they hold, to another queue.
    let other = bench.declare("other", |wanted| wanted.durable = true);
    let to = MoveTo::Queue(other.clone());
    let moved = bench.relocate(&everything(&queue, to), |text| text.ends_with("77"));
    assert_eq!(
        (moved.moved, moved.examined, moved.next),
        (LEN / 100, LEN - 1, None)
    );
    let expected: Vec<String> = numbered(0..LEN)
        .into_iter()
        .filter(|t| t.ends_with("77"))
        .collect();
    assert_eq!(bench.shown(&other), expected);
    let left = |t: &String| !t.ends_with("77") && *t != format!("{:06}", 4_322);
    let rest: Vec<String> = numbered(0..LEN).into_iter().filter(left).collect();
    assert_eq!(bench.shown(&queue), rest);
    let bench = bench.crash();
    let queue = bench.queue("long");
    assert_eq!(bench.shown(&bench.queue("other")), expected);
    assert_eq!(bench.shown(&queue), rest);
    let pages = queue.lock().snapshot(queue.id).lanes[0].pages.len();
    let live = expected.len() + rest.len() + pages;
    assert_eq!(bench.live_messages() as usize, live);
}

#[test]
fn messages_move_through_an_exchange_or_stay() {
    let bench = Bench::new();
    let from = bench.declare("from", |wanted| wanted.durable = true);
    let (a, b) = (
        bench.declare("a", |w| w.durable = true),
        bench.declare("b", |_| ()),
    );
    bench.declare_exchange("x", |wanted| wanted.kind = "direct".into());
    bench.bind("x", &a);
    bench.bind("x", &b);
    for number in 0..3 {
        bench.publish("", "from", format!("{number:06}").as_bytes(), true);
    }
    let to = |routing_key: Option<&'static str>| MoveTo::Exchange {
        exchange: "x".into(),
        routing_key: routing_key.map(|key| Bytes::from_static(key.as_bytes())),
    };
    // By their own key they would reach nothing.
    let moved = bench.relocate(&everything(&from, to(None)), |_| true);
    assert_eq!((moved.moved, moved.unroutable, moved.next), (0, 3, None));
    assert_eq!(from.lock().ready_len(), 3);
    let one = Move {
        most: 1,
        ..everything(&from, to(Some("key")))
    };
    let moved = bench.relocate(&one, |_| true);
    assert_eq!((moved.moved, moved.next.is_some()), (1, true));
    let got = bench.vhost.get(&a, true).unwrap().unwrap();
    assert_eq!(
        (got.message.exchange(), got.message.routing_key()),
        (&b"x"[..], &b"key"[..])
    );
    let copy = Move {
        copy: true,
        ..everything(&from, to(Some("key")))
    };
    assert_eq!(bench.relocate(&copy, |_| true).moved, 2);
    assert_eq!(bench.shown(&from), numbered(1..3));
    assert_eq!(bench.shown(&a), numbered(1..3));
    assert_eq!(bench.shown(&b), numbered(0..3));
    // To the end of its own queue, once each.
    let moved = bench.relocate(&everything(&from, MoveTo::Queue(from.clone())), |_| true);
    assert_eq!(moved.moved, 2);
    assert_eq!(bench.shown(&from), numbered(1..3));
    assert_eq!(bench.live_messages(), 4);
}

#[test]
fn a_full_queue_ends_a_move_and_nothing_is_lost() {
    let bench = Bench::new();
    let from = bench.declare("from", |wanted| wanted.durable = true);
    for number in 0..5 {
        bench.publish("", "from", format!("{number:06}").as_bytes(), true);
    }
    let narrow = bench.declare("narrow", |wanted| {
        let mut table = TableBuilder::new();
        table.insert("x-max-length", Value::I32(2));
        table.insert("x-overflow", Value::LongStr(b"reject-publish"));
        wanted.arguments = table.finish();
    });
    let moved = bench.relocate(&everything(&from, MoveTo::Queue(narrow.clone())), |_| true);
    assert_eq!((moved.moved, moved.full), (2, Some("narrow".into())));
    assert_eq!(bench.shown(&narrow), numbered(0..2));
    assert_eq!(bench.shown(&from), numbered(2..5));
}
