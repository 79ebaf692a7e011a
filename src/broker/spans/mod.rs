//! OpenTelemetry spans of sampled messages: one where such a message is routed, one for each delivery and one for what
//! became of that.
//!
//! Owns what a span tells, in the words of OpenTelemetry's conventions for messaging, and the line in which spans wait
//! to be exported. A message is sampled if its header `traceparent` says so; all others are looked at no further. Nobody
//! is held up: what does not fit the line is lost, and counted. Without an address to export to none of this is there.

mod export;
mod traceparent;

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Broker;
use super::stats::ConnectionStats;
use crate::base::counter::SharedCounter;
use crate::base::limits::{SPAN_QUEUES_MAX, SPANS_WAITING_MAX};
use crate::base::{Name, clock};
use crate::codec::{Properties, Property};
use crate::message::Message;

pub use traceparent::Parent;

/// What conventions have stand for the exchange without a name.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// How a span stands to the others of its trace, in OTLP's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It answers what a client asks for.
    Server = 2,
    /// It begins what somebody else goes on with.
    Producer = 4,
}

#[derive(Debug, Clone, PartialEq)]
enum Attribute {
    Text(String),
    Texts(Vec<String>),
    Number(i64),
    Flag(bool),
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    parent: Parent,
    id: [u8; 8],
    name: String,
    kind: Kind,
    /// Nanoseconds since 1970.
    began_ns: u64,
    ended_ns: u64,
    attributes: Vec<(&'static str, Attribute)>,
}

impl Span {
    fn begin(parent: Parent, kind: Kind, began_ns: u64) -> Self {
        Span {
            parent,
            id: rand::random(),
            name: String::new(),
            kind,
            began_ns,
            ended_ns: began_ns,
            attributes: vec![("messaging.system", Attribute::Text("rabbitmq".to_owned()))],
        }
    }

    fn with(mut self, key: &'static str, value: Attribute) -> Self {
        self.attributes.push((key, value));
        self
    }

    fn text(self, key: &'static str, text: impl Into<String>) -> Self {
        self.with(key, Attribute::Text(text.into()))
    }

    fn number(self, key: &'static str, number: impl TryInto<i64>) -> Self {
        self.with(
            key,
            Attribute::Number(number.try_into().unwrap_or(i64::MAX)),
        )
    }

    /// What is done to what: that is its name.
    fn of(mut self, destination: &str, operation: &str, kind_of_operation: &'static str) -> Self {
        self.name = format!("{destination} {operation}");
        self.text("messaging.destination.name", destination)
            .text("messaging.operation.name", operation)
            .text("messaging.operation.type", kind_of_operation)
    }

    fn message(self, vhost: &str, message: &Message) -> Self {
        let properties = Properties::trusted(message.properties_bytes());
        let key = String::from_utf8_lossy(message.routing_key());
        let mut span = self
            .text("messaging.rabbitmq.destination.routing_key", key)
            .number("messaging.message.body.size", message.body_len())
            .text("warren.vhost", vhost);
        for (key, property) in [
            ("messaging.message.id", Property::MessageId),
            ("messaging.message.conversation_id", Property::CorrelationId),
        ] {
            if let Some(text) = properties.text(property) {
                span = span.text(key, String::from_utf8_lossy(text));
            }
        }
        span
    }

    fn peer(self, peer: Option<SocketAddr>) -> Self {
        match peer {
            Some(peer) => self
                .text("network.peer.address", peer.ip().to_string())
                .number("network.peer.port", peer.port()),
            None => self,
        }
    }
}

/// A sampled message that was delivered and is not settled yet.
#[derive(Debug)]
pub struct Delivered {
    /// The span of its delivery.
    parent: Parent,
    queue: Name,
    tag: u64,
    at_ns: u64,
}

/// What one delivery is.
pub struct Delivery<'a> {
    /// What is delivered.
    pub message: &'a Message,
    /// Out of which queue, or to which name for replies.
    pub queue: &'a Name,
    /// Its delivery tag.
    pub tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// Who gets it.
    pub to: &'a ConnectionStats,
}

/// Where a message went.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    count: usize,
    /// The first of them.
    queues: Vec<String>,
}

impl Destinations {
    /// One more queue.
    pub(super) fn add(&mut self, queue: &str) {
        self.count += 1;
        if self.queues.len() < SPAN_QUEUES_MAX {
            self.queues.push(queue.to_owned());
        }
    }
}

/// How spans fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanCounts {
    /// Taken by the collector.
    pub exported: u64,
    /// Lost: more came than could be exported, or the collector did not take them.
    pub dropped: u64,
}

/// Where spans are told.
pub struct Spans {
    endpoint: String,
    line: Sender<Span>,
    waiting: Mutex<Option<Receiver<Span>>>,
    exported: SharedCounter,
    dropped: SharedCounter,
}

impl Spans {
    /// Spans that are to be exported to this address; none if it is empty.
    pub(super) fn to(endpoint: &str) -> Option<Self> {
        if endpoint.is_empty() {
            return None;
        }
        let (line, waiting) = channel(SPANS_WAITING_MAX);
        Some(Spans {
            endpoint: endpoint.to_owned(),
            line,
            waiting: Mutex::new(Some(waiting)),
            exported: SharedCounter::default(),
            dropped: SharedCounter::default(),
        })
    }

    fn tell(&self, mut span: Span) {
        span.ended_ns = clock::now_ns();
        if self.line.try_send(span).is_err() {
            self.dropped.add(1);
        }
    }

    /// A sampled message has been routed.
    pub(super) fn published(
        &self,
        parent: Parent,
        began_ns: u64,
        vhost: &Name,
        message: &Message,
        routed: Destinations,
        by: Option<&ConnectionStats>,
    ) {
        let exchange = String::from_utf8_lossy(message.exchange());
        let exchange = if exchange.is_empty() {
            DEFAULT_EXCHANGE.into()
        } else {
            exchange
        };
        let span = Span::begin(parent, Kind::Server, began_ns)
            .of(&exchange, "publish", "send")
            .message(vhost, message)
            .number("warren.routed_queues.count", routed.count)
            .with("warren.routed_queues", Attribute::Texts(routed.queues))
            .peer(by.map(ConnectionStats::peer));
        self.tell(span);
    }

    /// A message is being sent to a client: if it is sampled, what its ack will belong to.
    pub fn delivered(&self, vhost: &Name, delivery: &Delivery<'_>) -> Option<Delivered> {
        let parent = Parent::of(delivery.message)?;
        let at_ns = clock::now_ns();
        let span = Span::begin(parent, Kind::Producer, at_ns)
            .of(delivery.queue, "deliver", "receive")
            .message(vhost, delivery.message)
            .number("messaging.rabbitmq.message.delivery_tag", delivery.tag)
            .with("warren.redelivered", Attribute::Flag(delivery.redelivered))
            .peer(Some(delivery.to.peer()));
        let delivered = Delivered {
            parent: parent.child(span.id),
            queue: delivery.queue.clone(),
            tag: delivery.tag,
            at_ns,
        };
        self.tell(span);
        Some(delivered)
    }

    /// A client has settled what it was sent, or its channel is gone: `how` says it in a word.
    pub fn settled(&self, delivered: &Delivered, how: &str) {
        let Delivered {
            parent,
            queue,
            tag,
            at_ns,
        } = delivered;
        let span = Span::begin(*parent, Kind::Server, *at_ns)
            .of(queue, how, "settle")
            .number("messaging.rabbitmq.message.delivery_tag", *tag);
        self.tell(span);
    }
}

impl Broker {
    /// How spans fare, if any are told.
    pub fn span_counts(&self) -> Option<SpanCounts> {
        let spans = self.spans.as_ref()?;
        Some(SpanCounts {
            exported: spans.exported.get(),
            dropped: spans.dropped.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_names_the_first_queues_and_counts_all() {
        let mut routed = Destinations::default();
        for number in 0..1000 {
            routed.add(&number.to_string());
        }
        assert_eq!(routed.count, 1000);
        assert_eq!(routed.queues.len(), SPAN_QUEUES_MAX);
        assert_eq!(routed.queues.last().unwrap(), "15");
    }
}
