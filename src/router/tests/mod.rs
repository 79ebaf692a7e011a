//! What each row of the reference asks of routing, tests named after their rows.
//!
//! Owns the small graphs and short forms that the tests share.

use bytes::Bytes;

use super::*;
use crate::base::Name;

mod graph;
mod hashing;
mod kinds;

type Fields<'a> = &'a [(&'a [u8], HeaderValue<'a>)];

/// A message, and the chance it comes with.
#[derive(Clone, Copy)]
struct Message<'a> {
    headers: Fields<'a>,
    property: Option<(HashProperty, HeaderValue<'a>)>,
    random: u64,
}

const NONE: Message<'_> = Message {
    headers: &[],
    property: None,
    random: 0,
};

impl MessageView for Message<'_> {
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)> {
        self.headers.iter().copied()
    }

    fn property(&self, property: HashProperty) -> Option<HeaderValue<'_>> {
        self.property
            .filter(|(known, _)| *known == property)
            .map(|(_, value)| value)
    }

    fn random(&self) -> u64 {
        self.random
    }
}

impl Target for u32 {
    fn name(&self) -> Name {
        format!("q{self}").into()
    }
}

fn spec(name: &str, kind: ExchangeKind) -> ExchangeSpec {
    ExchangeSpec {
        name: Name::from(name),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Bytes::new(),
        alternate: None,
        hash_on: HashOn::default(),
        dedup: None,
        history_len: 0,
        delayed: false,
    }
}

/// A graph with one exchange of each kind, named after it.
fn graph() -> Graph<u32> {
    let mut graph = Graph::new();
    for kind in ExchangeKind::ALL {
        assert!(graph.insert(spec(kind.name(), kind)));
    }
    graph
}

/// Arguments whose "encoding" is good enough to tell tables apart.
fn arguments(fields: Fields<'_>) -> BindingArguments {
    let encoded = if fields.is_empty() {
        String::new()
    } else {
        format!("{fields:?}")
    };
    BindingArguments::new(encoded.as_bytes(), fields.iter().copied())
}

fn bind(graph: &mut Graph<u32>, source: &str, queue: u32, key: &str) -> Bound {
    bind_with(graph, source, queue, key, &[]).unwrap()
}

fn bind_with(
    graph: &mut Graph<u32>,
    source: &str,
    queue: u32,
    key: &str,
    fields: Fields<'_>,
) -> Result<Bound, BindError> {
    let destination = Destination::Queue(queue);
    graph.bind(
        source.as_bytes(),
        destination,
        key.as_bytes(),
        arguments(fields),
    )
}

fn bind_exchange(graph: &mut Graph<u32>, source: &str, destination: &str, key: &str) {
    let destination = Destination::Exchange(Name::from(destination));
    let none = BindingArguments::default();
    graph
        .bind(source.as_bytes(), destination, key.as_bytes(), none)
        .unwrap();
}

fn unbind(graph: &mut Graph<u32>, source: &str, queue: u32, key: &str) -> Unbound {
    let none = BindingArguments::default();
    graph.unbind(
        source.as_bytes(),
        Destination::Queue(queue),
        key.as_bytes(),
        none,
    )
}

fn routes(graph: &Graph<u32>, exchange: &str, key: &str, headers: Fields<'_>) -> Routes<u32> {
    routes_of(graph, exchange, key, &Message { headers, ..NONE })
}

fn routes_of(
    graph: &Graph<u32>,
    exchange: &str,
    key: &str,
    message: &impl MessageView,
) -> Routes<u32> {
    let mut out = Routes::new();
    let exchange = graph.get(exchange.as_bytes()).unwrap();
    graph.route(exchange, key.as_bytes(), message, &mut out);
    out
}

fn route(graph: &Graph<u32>, exchange: &str, key: &str) -> Vec<u32> {
    routes(graph, exchange, key, &[]).queues().to_vec()
}

fn matches(binding: Fields<'_>, headers: Fields<'_>) -> bool {
    let mut graph = graph();
    bind_with(&mut graph, "headers", 1, "", binding).unwrap();
    !routes(&graph, "headers", "", headers).queues().is_empty()
}

fn topic_matches(pattern: &str, key: &str) -> bool {
    let mut graph = graph();
    bind(&mut graph, "topic", 1, pattern);
    !route(&graph, "topic", key).is_empty()
}
