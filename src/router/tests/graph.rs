//! Alternate exchanges, bindings between exchanges, identity, removal.

use super::*;

#[test]
fn a3_12_alternate_exchange_takes_what_matched_nothing() {
    let mut graph = graph();
    assert!(graph.set_alternate(b"direct", Some(Name::from("topic"))));
    assert!(graph.set_alternate(b"topic", Some(Name::from("fanout"))));
    assert!(
        graph.set_alternate(b"fanout", Some(Name::from("direct"))),
        "cycles are cut"
    );
    assert!(!graph.set_alternate(b"none", None));
    assert_eq!(route(&graph, "direct", "k"), Vec::<u32>::new());
    bind(&mut graph, "direct", 1, "k");
    bind(&mut graph, "topic", 2, "#.other");
    bind(&mut graph, "fanout", 3, "");
    assert_eq!(route(&graph, "direct", "k"), [1]);
    assert_eq!(route(&graph, "direct", "an.other"), [2]);
    assert_eq!(route(&graph, "direct", "none"), [3]);
    assert!(routes(&graph, "direct", "none", &[]).alternate_used());
    assert!(!routes(&graph, "direct", "k", &[]).alternate_used());
}

#[test]
fn a3_12_a_missing_or_default_alternate_drops() {
    let mut graph = graph();
    for alternate in ["", "gone"] {
        graph.set_alternate(b"direct", Some(Name::from(alternate)));
        let out = routes(&graph, "direct", "k", &[]);
        assert!(out.queues().is_empty() && !out.alternate_used());
    }
}

#[test]
fn a3_12_a_match_that_leads_nowhere_is_still_a_match() {
    let mut graph = graph();
    graph.set_alternate(b"fanout", Some(Name::from("topic")));
    bind(&mut graph, "topic", 1, "#");
    bind_exchange(&mut graph, "fanout", "direct", "");
    assert_eq!(route(&graph, "fanout", "k"), Vec::<u32>::new());
    bind_exchange(&mut graph, "direct", "fanout", "back");
    assert_eq!(
        route(&graph, "direct", "back"),
        Vec::<u32>::new(),
        "the way back is a match too"
    );
}

#[test]
fn a3_12_with_several_keys_one_match_is_enough() {
    let mut graph = graph();
    graph.set_alternate(b"direct", Some(Name::from("fanout")));
    bind(&mut graph, "direct", 1, "k");
    bind(&mut graph, "direct", 1, "l");
    bind(&mut graph, "fanout", 2, "");
    let mut out = Routes::new();
    let direct = graph.get(b"direct").unwrap();
    graph.route_keys(direct, &[b"none", b"l", b"k"], &NONE, &mut out);
    assert_eq!(out.queues(), [1]);
    graph.route_keys(direct, &[b"none", b"nor this"], &NONE, &mut out);
    assert_eq!(out.queues(), [2]);
}

#[test]
fn a3_13_walks_each_exchange_once_and_lists_each_queue_once() {
    let mut graph = graph();
    bind_exchange(&mut graph, "fanout", "direct", "");
    bind_exchange(&mut graph, "fanout", "topic", "");
    bind_exchange(&mut graph, "direct", "topic", "k");
    bind_exchange(&mut graph, "topic", "fanout", "#");
    bind_exchange(&mut graph, "topic", "topic", "#");
    for exchange in ["fanout", "direct", "topic"] {
        bind(&mut graph, exchange, 1, "k");
    }
    bind(&mut graph, "topic", 2, "*");
    for exchange in ["fanout", "direct", "topic"] {
        assert_eq!(route(&graph, exchange, "k"), [1, 2]);
    }
}

#[test]
fn a3_13_both_ends_must_exist() {
    let mut graph = graph();
    let none = BindingArguments::default;
    let missing = || Destination::Exchange(Name::from("gone"));
    assert_eq!(
        graph.bind(b"gone", missing(), b"", none()),
        Err(BindError::NoSource)
    );
    assert_eq!(
        graph.bind(b"direct", missing(), b"", none()),
        Err(BindError::NoDestination)
    );
    let long = [b'a'; 256];
    let bound = graph.bind(b"direct", Destination::Queue(1), &long, none());
    assert_eq!(bound, Err(BindError::KeyTooLong(256)));
    assert_eq!(
        graph.unbind(b"gone", missing(), b"", none()),
        Unbound::default()
    );
    assert_eq!(
        graph.unbind(b"direct", missing(), b"", none()),
        Unbound::default()
    );
}

#[test]
fn a3_14_the_last_binding_as_source_is_told() {
    let mut graph = graph();
    bind(&mut graph, "direct", 1, "a");
    bind(&mut graph, "direct", 2, "b");
    bind_exchange(&mut graph, "fanout", "direct", "");
    assert_eq!(unbind(&mut graph, "direct", 1, "b"), Unbound::default());
    let unbound = unbind(&mut graph, "direct", 1, "a");
    assert_eq!(
        unbound,
        Unbound {
            existed: true,
            source_now_unused: false
        }
    );
    let removed = graph.remove_destination(&Destination::Queue(2));
    assert_eq!(removed.unused_sources, [Name::from("direct")]);
    assert_eq!(removed.bindings.len(), 1);
    let removed = graph.remove(b"direct").unwrap();
    assert_eq!(removed.exchange.spec().kind, ExchangeKind::Direct);
    assert_eq!(removed.removed.unused_sources, [Name::from("fanout")]);
    assert!(graph.is_bare() && graph.remove(b"direct").is_none());
    assert!(
        graph
            .remove_destination(&Destination::Queue(2))
            .unused_sources
            .is_empty()
    );
}

#[test]
fn a3_14_removal_reports_each_binding_once() {
    let mut graph = graph();
    bind_exchange(&mut graph, "topic", "topic", "#");
    bind_exchange(&mut graph, "topic", "fanout", "#");
    bind_exchange(&mut graph, "fanout", "topic", "");
    bind(&mut graph, "topic", 1, "a");
    let removed = graph.remove(b"topic").unwrap().removed;
    assert_eq!(removed.bindings.len(), 4);
    assert_eq!(removed.unused_sources, [Name::from("fanout")]);
    assert!(graph.is_bare());
}

#[test]
fn a3_15_a_binding_is_its_source_destination_key_and_arguments() {
    let mut graph = graph();
    let fields: Fields<'_> = &[(b"a", HeaderValue::Int(1))];
    for source in ["direct", "fanout", "topic", "headers"] {
        assert_eq!(bind(&mut graph, source, 1, "k"), Bound::New);
        assert_eq!(bind(&mut graph, source, 1, "k"), Bound::Existed);
        assert_eq!(bind(&mut graph, source, 1, "l"), Bound::New);
        assert_eq!(
            bind_with(&mut graph, source, 1, "k", fields),
            Ok(Bound::New)
        );
        assert_eq!(
            bind_with(&mut graph, source, 1, "k", fields),
            Ok(Bound::Existed)
        );
        assert_eq!(graph.bindings_of_source(source.as_bytes()).count(), 3);
    }
    assert_eq!(
        graph
            .bindings_of_destination(&Destination::Queue(1))
            .count(),
        12
    );
    assert_eq!(graph.binding_count(), 12);
    assert!(unbind(&mut graph, "direct", 1, "k").existed);
    assert_eq!(
        route(&graph, "direct", "k"),
        [1],
        "the one with arguments is left"
    );
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut graph = graph();
    bind(&mut graph, "topic", 1, "a.#");
    let before = graph.clone();
    bind(&mut graph, "topic", 2, "a.b");
    graph.remove_destination(&Destination::Queue(1));
    assert_eq!(route(&before, "topic", "a.b"), [1]);
    assert_eq!(route(&graph, "topic", "a.b"), [2]);
    graph.remove(b"topic");
    assert!(before.get(b"topic").is_some() && graph.get(b"topic").is_none());
}
