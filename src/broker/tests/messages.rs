//! Publishing, restarts, and queues that go meanwhile.

use super::*;
use crate::queue::Requeue;

/// What is published while a queue is being deleted is either seen by the condition or finds the
/// queue gone; it never goes with a queue that was deleted for being empty.
#[test]
fn a_queue_deleted_if_empty_takes_no_message_with_it() {
    let bench = Bench::new();
    let empty = DeleteIf {
        empty: true,
        ..Default::default()
    };
    for round in 0..3_000 {
        bench.declare("q", |_| ());
        let mut publisher = Publisher::new(bench.vhost.clone());
        publisher.publish(message("", "q", b"1", false), &[]);
        let deleted = std::thread::scope(|scope| {
            let publishing = scope.spawn(move || publisher.flush().is_ok());
            let deleted = bench.vhost.delete_queue(&"q".into(), empty, HERE, BY);
            assert!(publishing.join().unwrap());
            deleted
        });
        match deleted {
            Ok(deleted) => assert_eq!(deleted.value, 0, "in round {round}"),
            Err(_) => {
                let all = DeleteIf::default();
                let rest = bench.vhost.delete_queue(&"q".into(), all, HERE, BY);
                assert_eq!(rest.unwrap().value, 1);
            }
        }
    }
}

#[test]
fn a_restart_restores_topology_and_messages() {
    let bench = Bench::new();
    let durable = |q: &mut QueueDeclaration| {
        q.durable = true;
        q.arguments = argument("x-max-priority", Value::I32(3));
    };
    let queue = bench.declare("q", durable);
    bench.declare("passing", |_| ());
    bench.declare("mine", |q| (q.durable, q.exclusive) = (true, true));
    bench.declare_exchange("x", |x| x.durable = true);
    bench.declare_exchange("gone", |_| ());
    bench.bind("x", &queue);
    bench.bind_exchange("x", "x");
    for (body, persistent) in [
        ("1", true),
        ("2", false),
        ("3", true),
        ("4", true),
        ("5", true),
    ] {
        bench.publish("x", "", body.as_bytes(), persistent);
    }
    // 1 is acked; 3 was got and comes back; 4 stays as it is; 5 is out when the broker stops.
    let mut slots = Vec::new();
    for _ in 0..3 {
        slots.push(bench.vhost.get(&queue, false).unwrap().unwrap().slot);
    }
    let settle = |slot: Slot, how| {
        let done = bench
            .vhost
            .settle(&queue, [slot], how, &mut Default::default());
        assert!(done.is_ok());
    };
    settle(slots[0], Settle::Acked);
    settle(slots[1], Settle::Acked);
    settle(slots[2], Settle::Requeued(Requeue::Failed));
    let id = queue.id;
    drop(queue);

    let bench = bench.restart();
    assert!(!bench.has_queue("passing") && !bench.has_queue("mine"));
    assert!(bench.has_exchange("x") && !bench.has_exchange("gone"));
    let queue = bench.declare("q", durable);
    assert_eq!((queue.id, queue.settings().options.max_priority), (id, 3));
    assert!(
        bench.declare("later", |_| ()).id > id,
        "an id is used twice"
    );
    let graph = &bench.vhost.topology().graph;
    assert_eq!(graph.bindings_of_source(b"x").count(), 2);
    let bodies = bench.bodies("q");
    let expected = [("3", true), ("4", false), ("5", false)];
    assert_eq!(
        bodies,
        expected.map(|(body, again)| (body.to_owned(), again))
    );
    assert_eq!(bench.publish("x", "", b"6", true), Routed::ToQueues);
    // What was consumed does not come back, and after a crash all may have been delivered.
    let bench = bench.crash();
    assert_eq!(bench.bodies("q"), [("6".to_owned(), true)]);
}

#[test]
fn a_restart_forgets_what_was_deleted() {
    let bench = Bench::new();
    let queue = bench.declare("q", |q| q.durable = true);
    bench.declare_exchange("x", |x| x.durable = true);
    bench.bind("x", &queue);
    bench.publish("x", "", b"1", true);
    let _ = bench
        .vhost
        .delete_queue(&"q".into(), DeleteIf::default(), HERE, BY)
        .unwrap()
        .value;
    let old = queue.id;
    let queue = bench.declare("q", |q| q.durable = true);
    assert_ne!(queue.id, old);
    let bench = bench.restart();
    assert!(bench.has_queue("q") && bench.has_exchange("x"));
    assert_eq!(bench.vhost.topology().graph.binding_count(), 0);
    assert_eq!(bench.bodies("q"), []);
}

#[test]
fn a4_11_a_message_for_many_queues_is_logged_once() {
    const COUNT: usize = 20;
    const BODY: usize = 50_000;
    let bench = Bench::new();
    for n in 0..COUNT {
        let queue = bench.declare(&format!("q{n}"), |q| q.durable = n > 0);
        bench.bind("amq.fanout", &queue);
    }
    let before = bench.log_bytes();
    bench.publish("amq.fanout", "", &[b'.'; BODY], true);
    let grown = bench.log_bytes() - before;
    assert!(
        (BODY as u64..BODY as u64 + 1000).contains(&grown),
        "{grown}"
    );
    assert_eq!(bench.live_messages(), COUNT as u64 - 1);
    for n in 1..COUNT {
        let purged = bench.vhost.purge_queue(&bench.queue(&format!("q{n}")));
        assert_eq!(purged.unwrap().value, 1);
    }
    assert_eq!(bench.live_messages(), 0);
    assert_eq!(bench.bodies("q0").len(), 1);
}

#[test]
fn nothing_is_logged_for_what_would_not_survive() {
    let bench = Bench::new();
    bench.declare("passing", |_| ());
    bench.declare("lasting", |q| q.durable = true);
    let before = bench.log_bytes();
    bench.publish("", "passing", b"1", true);
    bench.publish("", "lasting", b"2", false);
    assert_eq!(bench.log_bytes(), before);
}

#[test]
fn a_message_routed_to_a_queue_that_is_deleted_before_the_flush_is_released() {
    let bench = Bench::new();
    bench.declare("q", |q| q.durable = true);
    let other = bench.declare("other", |q| q.durable = true);
    let mut publisher = Publisher::new(bench.vhost.clone());
    for key in ["q", "other", "q"] {
        publisher.check_exchange(b"").unwrap();
        let routed = publisher.publish(message("", key, b"1", true), &[]);
        assert_eq!(routed, Routed::ToQueues);
    }
    let deleted = bench
        .vhost
        .delete_queue(&"q".into(), DeleteIf::default(), HERE, BY);
    assert_eq!(deleted.unwrap().value, 0);
    assert!(publisher.flush().unwrap().is_some());
    assert_eq!(other.lock().ready_len(), 1);
    assert_eq!(bench.live_messages(), 1);
    // The next message sees the topology as it is now.
    publisher.check_exchange(b"").unwrap();
    assert_eq!(
        publisher.publish(message("", "q", b"2", true), &[]),
        Routed::Nowhere
    );
    let new = bench.declare("q", |q| q.durable = true);
    publisher.check_exchange(b"").unwrap();
    publisher.publish(message("", "q", b"3", true), &[]);
    publisher.flush().unwrap();
    assert_eq!(new.lock().ready_len(), 1);
    drop((new, other, publisher));
    let bench = bench.restart();
    assert_eq!(bench.bodies("q"), [("3".to_owned(), false)]);
    assert_eq!(bench.bodies("other"), [("1".to_owned(), false)]);
}

#[test]
fn a5_1_exchanges_are_checked_before_the_content() {
    let bench = Bench::new();
    bench.declare_exchange("inner", |x| x.internal = true);
    let mut publisher = Publisher::new(bench.vhost.clone());
    assert_eq!(code(publisher.check_exchange(b"none")), ReplyCode::NotFound);
    let refused = code(publisher.check_exchange(b"inner"));
    assert_eq!(refused, ReplyCode::AccessRefused);
    // Also when the last route went there.
    bench.declare_exchange("x", |_| ());
    publisher.check_exchange(b"x").unwrap();
    publisher.publish(message("x", "", b"1", false), &[]);
    publisher.check_exchange(b"x").unwrap();
    assert!(bench.vhost.delete_exchange(&"x".into(), false, BY).is_ok());
    assert_eq!(code(publisher.check_exchange(b"x")), ReplyCode::NotFound);
}

#[test]
fn what_is_delivered_without_acks_is_released_and_does_not_come_back() {
    let bench = Bench::new();
    let queue = bench.declare("q", |q| q.durable = true);
    let (_, port) = bench.consume(&queue, true);
    bench.publish("", "q", b"1", true);
    assert_eq!(port.received.lock().len(), 1);
    assert_eq!(bench.live_messages(), 0);
    drop((queue, port));
    let bench = bench.crash();
    assert_eq!(bench.bodies("q"), []);
}
