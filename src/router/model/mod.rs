//! The graph against a model that keeps a plain list of bindings and tries every one of them.
//!
//! Owns random histories of declare, bind, unbind and remove, and the comparison after every step.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::base::Name;

mod histories;
mod picks;

use histories::{key, message, op};
use picks::{pattern_matches, words};

type Field = (&'static str, HeaderValue<'static>);

const NAMES: [&str; 5] = ["e0", "e1", "e2", "e3", "e4"];
const QUEUES: u32 = 5;
const FIELDS: [Field; 9] = [
    ("x-match", HeaderValue::LongString(b"any")),
    ("x-match", HeaderValue::LongString(b"any-with-x")),
    ("x-match", HeaderValue::LongString(b"all-with-x")),
    ("x-match", HeaderValue::LongString(b"some")),
    ("a", HeaderValue::Int(1)),
    ("a", HeaderValue::Int(2)),
    ("b", HeaderValue::LongString(b"v")),
    ("b", HeaderValue::Void),
    ("x-c", HeaderValue::Bool(true)),
];

#[derive(Clone, Debug)]
enum Op {
    Declare {
        name: &'static str,
        kind: ExchangeKind,
        alternate: Option<&'static str>,
    },
    Alternate {
        name: &'static str,
        alternate: Option<&'static str>,
    },
    Bind(Arrow),
    /// One that exists, if there is any, chosen by the number.
    Unbind(Arrow, Option<usize>),
    RemoveExchange(&'static str),
    RemoveQueue(u32),
    /// Remember the graph as it is, to see later whether it stayed so.
    Keep,
}

#[derive(Clone, Debug, PartialEq)]
struct Arrow {
    source: &'static str,
    destination: Destination<u32>,
    key: String,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, Default)]
struct Message {
    exchange: &'static str,
    keys: Vec<String>,
    headers: Vec<Field>,
    random: u64,
}

impl MessageView for Message {
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)> {
        raw(&self.headers)
    }

    fn property(&self, _: HashProperty) -> Option<HeaderValue<'_>> {
        None
    }

    fn random(&self) -> u64 {
        self.random
    }
}

#[derive(Clone, Debug)]
struct Declared {
    name: &'static str,
    kind: ExchangeKind,
    alternate: Option<&'static str>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    exchanges: Vec<Declared>,
    arrows: Vec<Arrow>,
}

impl Model {
    fn kind(&self, name: &str) -> Option<ExchangeKind> {
        self.exchanges
            .iter()
            .find(|known| known.name == name)
            .map(|known| known.kind)
    }

    fn unused(&self, name: &str) -> bool {
        self.kind(name).is_some() && self.arrows.iter().all(|arrow| arrow.source != name)
    }

    /// Takes out what `gone` says, and returns how many went and which sources that left unused.
    fn take_out(&mut self, gone: impl Fn(&Arrow) -> bool) -> (usize, BTreeSet<&'static str>) {
        let (out, kept): (Vec<_>, Vec<_>) = self.arrows.drain(..).partition(gone);
        self.arrows = kept;
        let sources = out.iter().map(|arrow| arrow.source);
        let unused = sources.filter(|source| self.unused(source)).collect();
        (out.len(), unused)
    }

    fn route(&self, message: &Message) -> Vec<u32> {
        let mut queues = BTreeSet::new();
        let mut seen = vec![message.exchange];
        let mut next = 0;
        while let Some(name) = seen.get(next).copied() {
            next += 1;
            let Some(exchange) = self.exchanges.iter().find(|known| known.name == name) else {
                continue;
            };
            let bound: Vec<_> = self.arrows.iter().filter(|a| a.source == name).collect();
            let found = picks::found(exchange.kind, bound, message);
            let mut reached: Vec<String> = Vec::new();
            if found.is_empty() {
                reached.extend(exchange.alternate.map(String::from));
            }
            for arrow in found {
                match &arrow.destination {
                    Destination::Queue(queue) => {
                        queues.insert(*queue);
                    }
                    Destination::Exchange(name) => reached.push(name.to_string()),
                }
            }
            for name in NAMES
                .into_iter()
                .filter(|name| reached.iter().any(|other| other == name))
            {
                if !seen.contains(&name) {
                    seen.push(name);
                }
            }
        }
        queues.into_iter().collect()
    }
}

fn raw<'a>(fields: &'a [Field]) -> impl Iterator<Item = (&'a [u8], HeaderValue<'a>)> {
    fields.iter().map(|(name, value)| (name.as_bytes(), *value))
}

fn arguments(fields: &[Field]) -> BindingArguments {
    let encoded = if fields.is_empty() {
        String::new()
    } else {
        format!("{fields:?}")
    };
    BindingArguments::new(encoded.as_bytes(), raw(fields))
}

/// One step on both, with the same answer from both.
fn apply(op: &Op, graph: &mut Graph<u32>, model: &mut Model) {
    match op {
        Op::Declare {
            name,
            kind,
            alternate,
        } => {
            let declared = graph.insert(ExchangeSpec {
                name: Name::from(*name),
                kind: *kind,
                durable: false,
                auto_delete: false,
                internal: false,
                arguments: Bytes::new(),
                alternate: alternate.map(Name::from),
                hash_on: HashOn::default(),
                dedup: None,
                history_len: 0,
                delayed: false,
            });
            assert_eq!(declared, model.kind(name).is_none());
            if declared {
                model.exchanges.push(Declared {
                    name,
                    kind: *kind,
                    alternate: *alternate,
                });
            }
        }
        Op::Alternate { name, alternate } => {
            let changed = graph.set_alternate(name.as_bytes(), alternate.map(Name::from));
            assert_eq!(changed, model.kind(name).is_some());
            model
                .exchanges
                .iter_mut()
                .filter(|known| known.name == *name)
                .for_each(|known| known.alternate = *alternate);
        }
        Op::Bind(arrow) => bind(arrow, graph, model),
        Op::Unbind(arrow, choice) => unbind(arrow, *choice, graph, model),
        Op::RemoveQueue(queue) => {
            let destination = Destination::Queue(*queue);
            check_removed(
                &graph.remove_destination(&destination),
                model.take_out(|arrow| arrow.destination == destination),
            );
        }
        Op::RemoveExchange(name) => {
            let removed = graph.remove(name.as_bytes());
            assert_eq!(removed.is_some(), model.kind(name).is_some());
            model.exchanges.retain(|known| known.name != *name);
            let itself = Destination::Exchange(Name::from(*name));
            let gone = model.take_out(|arrow| arrow.source == *name || arrow.destination == itself);
            if let Some(removed) = removed {
                check_removed(&removed.removed, gone);
            }
        }
        Op::Keep => {}
    }
}

fn check_removed(removed: &Removed<u32>, (gone, unused): (usize, BTreeSet<&str>)) {
    assert_eq!(removed.bindings.len(), gone);
    assert_eq!(removed.unused_sources.len(), unused.len());
    assert!(
        removed
            .unused_sources
            .iter()
            .all(|source| unused.contains(source.as_str()))
    );
}

fn bind(arrow: &Arrow, graph: &mut Graph<u32>, model: &mut Model) {
    let bound = graph.bind(
        arrow.source.as_bytes(),
        arrow.destination.clone(),
        arrow.key.as_bytes(),
        arguments(&arrow.fields),
    );
    let destination_exists = match &arrow.destination {
        Destination::Queue(_) => true,
        Destination::Exchange(name) => model.kind(name).is_some(),
    };
    let expected = match model.kind(arrow.source) {
        None => Err(BindError::NoSource),
        Some(_) if !destination_exists => Err(BindError::NoDestination),
        Some(kind) if picks::refused(kind, arrow).is_some() => {
            Err(picks::refused(kind, arrow).unwrap())
        }
        Some(_) if model.arrows.contains(arrow) => Ok(Bound::Existed),
        Some(_) => {
            model.arrows.push(arrow.clone());
            Ok(Bound::New)
        }
    };
    assert_eq!(bound, expected);
}

fn unbind(arrow: &Arrow, choice: Option<usize>, graph: &mut Graph<u32>, model: &mut Model) {
    let arrow = match choice {
        Some(choice) if !model.arrows.is_empty() => {
            model.arrows[choice % model.arrows.len()].clone()
        }
        _ => arrow.clone(),
    };
    let unbound = graph.unbind(
        arrow.source.as_bytes(),
        arrow.destination.clone(),
        arrow.key.as_bytes(),
        arguments(&arrow.fields),
    );
    let (gone, unused) = model.take_out(|known| *known == arrow);
    assert_eq!(
        unbound,
        Unbound {
            existed: gone == 1,
            source_now_unused: !unused.is_empty()
        }
    );
}

fn check(graph: &Graph<u32>, model: &Model, message: &Message, out: &mut Routes<u32>) {
    assert_eq!(graph.binding_count(), model.arrows.len());
    assert_eq!(graph.exchange_count(), model.exchanges.len());
    for name in NAMES {
        let listed = graph.bindings_of_source(name.as_bytes()).count();
        assert_eq!(
            listed,
            model
                .arrows
                .iter()
                .filter(|arrow| arrow.source == name)
                .count()
        );
    }
    for queue in 0..QUEUES {
        let queue = Destination::Queue(queue);
        let listed = graph.bindings_of_destination(&queue).count();
        assert_eq!(
            listed,
            model
                .arrows
                .iter()
                .filter(|arrow| arrow.destination == queue)
                .count()
        );
    }
    let Some(exchange) = graph.get(message.exchange.as_bytes()) else {
        return;
    };
    let keys: Vec<_> = message.keys.iter().map(|key| key.as_bytes()).collect();
    graph.route_keys(exchange, &keys, message, out);
    assert_eq!(out.queues(), model.route(message), "{message:?}");
    if out.cacheable() {
        let without = Message {
            headers: Vec::new(),
            random: !message.random,
            ..message.clone()
        };
        assert_eq!(
            out.queues(),
            model.route(&without),
            "only exchange and key were said to matter"
        );
    }
}

/// Histories of each test; `WARREN_ROUTER_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var("WARREN_ROUTER_CASES").ok();
    asked.map_or(600, |cases| cases.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_history_routes_as_the_model(
        start in prop::collection::vec(select(&ExchangeKind::ALL[..]), NAMES.len()),
        steps in prop::collection::vec((op(), message(), message()), 1..80),
    ) {
        let (mut graph, mut model) = (Graph::new(), Model::default());
        let mut out = Routes::new();
        let mut kept = Vec::new();
        for (name, kind) in NAMES.into_iter().zip(start) {
            apply(&Op::Declare { name, kind, alternate: None }, &mut graph, &mut model);
        }
        for (op, first, second) in &steps {
            if matches!(op, Op::Keep) {
                kept.push((graph.clone(), model.clone()));
            }
            apply(op, &mut graph, &mut model);
            check(&graph, &model, first, &mut out);
            check(&graph, &model, second, &mut out);
        }
        for (graph, model) in &kept {
            for (_, message, _) in &steps {
                check(graph, model, message, &mut out);
            }
        }
        while let Some(arrow) = model.arrows.first().cloned() {
            unbind(&arrow, None, &mut graph, &mut model);
        }
        prop_assert!(graph.is_bare(), "something was left behind");
    }

    #[test]
    fn every_pattern_matches_as_the_naive_one(
        patterns in prop::collection::vec(key(&["a", "b", "", "*", "#", "#"]), 1..40),
        keys in prop::collection::vec(
            prop::collection::vec(select(&["a", "b", "", "c"][..]), 0..9), 1..20),
    ) {
        let mut graph = Graph::new();
        let mut model = Model::default();
        let topic = Op::Declare { name: "e0", kind: ExchangeKind::Topic, alternate: None };
        apply(&topic, &mut graph, &mut model);
        for (queue, pattern) in patterns.iter().enumerate() {
            let destination = Destination::Queue(queue as u32);
            graph
                .bind(b"e0", destination, pattern.as_bytes(), BindingArguments::default())
                .unwrap();
        }
        let mut out = Routes::new();
        for key in keys.iter().map(|words| words.join(".")) {
            let exchange = graph.get(b"e0").unwrap();
            graph.route(exchange, key.as_bytes(), &Message::default(), &mut out);
            let found: Vec<_> = (0u32..)
                .zip(&patterns)
                .filter(|(_, pattern)| pattern_matches(&words(pattern), &words(&key)))
                .map(|(queue, _)| queue)
                .collect();
            prop_assert_eq!(out.queues(), found);
        }
    }
}
