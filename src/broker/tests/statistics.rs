//! What listings and charts show.

use super::*;
use crate::base::history::per_second;
use crate::broker::stats::{ConnectionDetails, QueueView};
use crate::queue::{QueueCounts, QueueKind};

fn details(user: &str) -> ConnectionDetails {
    ConnectionDetails {
        user: user.into(),
        vhost: DEFAULT_VHOST.into(),
        mechanism: "PLAIN".into(),
        client_properties: RawTable::default(),
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat_s: 60,
        connected_at_ms: 1,
    }
}

#[test]
fn a_queue_shows_what_became_of_its_messages() {
    let bench = Bench::new();
    let dead = bench.declare("dead", |_| ());
    let queue = bench.declare("q", |q| {
        let mut table = TableBuilder::new();
        table.insert("x-max-length", Value::I32(4));
        table.insert("x-dead-letter-exchange", Value::LongStr(b""));
        table.insert("x-dead-letter-routing-key", Value::LongStr(b"dead"));
        q.arguments = table.finish();
    });
    for body in ["one", "two", "3", "4", "5"] {
        bench.publish("", "q", body.as_bytes(), false);
    }
    // "one" made room. Of the others two are out, and then: one acked, one rejected.
    let slots: Vec<Slot> = (0..2)
        .map(|_| bench.vhost.get(&queue, false).unwrap().unwrap().slot)
        .collect();
    let view = QueueView::of(&queue);
    assert_eq!((view.ready, view.ready_bytes), (2, 2));
    assert_eq!((view.unacked, view.unacked_bytes), (2, 4));
    let levels = |queue: &QueueRef| {
        let levels = queue.levels();
        (levels.ready(), levels.unacked(), levels.consumers())
    };
    assert_eq!(levels(&queue), (2, 2, 0), "without its lock");
    let settle = |slot: Slot, how| {
        let settled = bench
            .vhost
            .settle(&queue, [slot], how, &mut Default::default());
        settled.unwrap();
    };
    settle(slots[0], Settle::Acked);
    settle(slots[1], Settle::Rejected);
    assert!(bench.vhost.get(&dead, true).unwrap().is_some());
    let (_, sink) = bench.consume(&queue, true);
    assert_eq!(sink.received.lock().len(), 2);
    assert!(bench.vhost.get(&queue, true).unwrap().is_none());
    let view = QueueView::of(&queue);
    assert_eq!((view.ready, view.unacked, view.unacked_bytes), (0, 0, 0));
    assert_eq!(view.consumers, 1);
    assert_eq!(levels(&queue), (0, 0, 1));
    assert!(queue.levels().is_used());
    assert!(!bench.declare("unused", |_| ()).levels().is_used());
    let expected = QueueCounts {
        published: 5,
        got: 2,
        got_empty: 1,
        acked: 1,
        lettered_maxlen: 1,
        lettered_rejected: 1,
        delivered_no_ack: 2,
        ..QueueCounts::default()
    };
    assert_eq!(view.counts, expected);
}

#[test]
fn an_exchange_counts_what_goes_in_and_comes_out() {
    let bench = Bench::new();
    bench.declare_exchange("x", |_| ());
    for name in ["a", "b"] {
        bench.bind("x", &bench.declare(name, |_| ()));
    }
    bench.declare_exchange("nowhere", |_| ());
    let mut publisher = Publisher::new(bench.vhost.clone());
    for exchange in ["x", "nowhere", "x", "", "x"] {
        publisher.check_exchange(exchange.as_bytes()).unwrap();
        publisher.publish(message(exchange, "a", b"1", false), &[]);
    }
    publisher.flush().unwrap();
    let counts = |name: &str| {
        let counts = bench.vhost.exchange_stats(&name.into()).counts();
        (counts.published_in, counts.published_out)
    };
    assert_eq!(counts("x"), (3, 6));
    assert_eq!(counts("nowhere"), (1, 0));
    assert_eq!(counts(""), (1, 1));
    let deleted = bench.vhost.delete_exchange(&"x".into(), false, BY);
    assert!(deleted.is_ok());
    bench.declare_exchange("x", |_| ());
    assert_eq!(counts("x"), (0, 0), "another exchange of the name");
}

#[tokio::test]
async fn rates_come_from_samples_and_sums_outlive_what_they_are_of() {
    let bench = Bench::new();
    let queue = bench.declare("q", |_| ());
    bench.broker.sample(1_000).await;
    for _ in 0..50 {
        bench.publish("", "q", b"1", false);
    }
    bench.broker.sample(6_000).await;
    bench.broker.sample(11_000).await;
    assert!(QueueView::of(&queue).idle_since_ms == Some(6_000));
    bench.publish("", "q", b"1", false);
    let view = QueueView::of(&queue);
    assert_eq!(view.idle_since_ms, None);
    let recent = view.recent.unwrap();
    assert_eq!(per_second(&recent, |s| s.counts.published), 0.0);
    let window = bench
        .broker
        .overview()
        .history
        .window(11_000, 60_000, 5_000);
    assert_eq!(window.len(), 3);
    let grown = per_second(&[window[0], window[1]], |s| s.ready);
    assert_eq!(grown, 10.0);
    let deleted = bench
        .vhost
        .delete_queue(&"q".into(), DeleteIf::default(), HERE, BY);
    assert_eq!(deleted.unwrap().value, 51);
    let overview = bench.broker.overview();
    let counts = bench.broker.queue_counts(QueueKind::Classic);
    assert_eq!((overview.now.ready, counts.published), (0, 51));
    assert_eq!(overview.objects.queues, 0);
    let counters = bench.broker.counters();
    assert_eq!(counters.queues_created.get(), 1);
    assert_eq!(counters.queues_deleted.get(), 1);
}

#[test]
fn a_connection_is_listed_from_open_to_its_end_and_an_operator_can_close_it() {
    let bench = Bench::new();
    let (peer, local) = addresses();
    let handles: Vec<_> = ["app", "other"]
        .iter()
        .map(|user| {
            let handle = Arc::new(Handle::default());
            let stats = bench.broker.connect(handle.clone(), peer, local);
            assert!(bench.broker.connection(stats.id()).is_none());
            bench.broker.opened(&stats, &bench.vhost, details(user));
            (handle, stats)
        })
        .collect();
    let name = "127.0.0.1:40000 -> 127.0.0.1:5672";
    let found = bench.broker.connection_named(name).unwrap();
    assert_eq!(found.name(), name);
    let stats = &handles[0].1;
    stats.received(100);
    {
        let channel = stats.open_channel(7);
        channel.published.add(3);
        assert_eq!(bench.broker.channels().len(), 1);
        assert_eq!(bench.broker.overview().now.channels.published, 3);
    }
    assert_eq!(bench.broker.channels().len(), 0);
    let of_app = |user: &str| user == "app";
    let closed = bench.broker.close_connections_where(
        |connection| connection.details().is_some_and(|d| of_app(&d.user)),
        "enough",
    );
    assert_eq!(closed, 1);
    let told = handles[0].0.0.lock().clone().unwrap();
    assert_eq!(told.text, "CONNECTION_FORCED - enough");
    assert_eq!(*handles[1].0.0.lock(), None);
    bench.broker.disconnect(stats.id());
    assert_eq!(bench.broker.connections().len(), 1);
    let overview = bench.broker.overview();
    assert_eq!(overview.now.channels.published, 3, "counts stay");
    assert_eq!(overview.now.traffic.received_bytes, 100);
    let counters = bench.broker.counters();
    assert_eq!(counters.connections_opened.get(), 2);
    assert_eq!(counters.connections_closed.get(), 1);
    assert_eq!(counters.channels_closed.get(), 1);
}
