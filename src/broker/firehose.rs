//! The firehose: a copy of each message that comes into a vhost or goes out of it, for somebody who
//! watches `amq.rabbitmq.trace`, while an operator has it on.
//!
//! Owns what a copy tells (RabbitMQ's keys and headers). A copy is a transient message, and there is
//! never one of a copy. Off, it costs one look at a flag a batch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::aftermath::Posted;
use super::stats::ConnectionStats;
use super::vhost::Vhost;
use crate::base::{AmqpError, Name, host};
use crate::codec::{
    ArrayBuilder, Properties, Property, PropertyPatch, RawTable, TableBuilder, Value,
};
use crate::message::{Facts, Message};
use crate::router::Routes;

/// The exchange that copies go to, in every vhost.
pub(super) const EXCHANGE: &str = "amq.rabbitmq.trace";

/// Who publishes or receives.
#[derive(Clone)]
pub struct Party {
    /// The connection; none for the HTTP API.
    pub connection: Option<Arc<ConnectionStats>>,
    /// The channel; 0 if there is none.
    pub channel: u16,
    /// The user.
    pub user: Name,
}

impl Vhost {
    /// Whether copies are made.
    pub fn is_tracing(&self) -> bool {
        self.tracing.load(Ordering::Relaxed)
    }

    /// Turns copies on or off. A restart turns them off.
    pub fn set_tracing(&self, on: bool) {
        self.tracing.store(on, Ordering::Relaxed);
    }

    /// The copy of a message that is published, to these queues; none of a copy.
    pub(super) fn trace_in<'q>(
        &self,
        by: &Party,
        message: &Message,
        extra_keys: &[Bytes],
        queues: impl Iterator<Item = &'q Name>,
    ) -> Option<Message> {
        let mut routed = ArrayBuilder::new();
        for queue in queues {
            routed.push(Value::LongStr(queue.as_bytes()));
        }
        let mut headers = self.told_of(by, message, extra_keys);
        headers.insert("routed_queues", Value::Array(routed.view()));
        copy("publish", message.exchange(), message, headers.finish())
    }

    /// The copy of a message that is handed to a client out of a queue; none of a copy.
    pub fn trace_out(
        &self,
        to: &Party,
        queue: &Name,
        message: &Message,
        redelivered: bool,
    ) -> Option<Message> {
        let mut headers = self.told_of(to, message, &[]);
        headers.insert("redelivered", Value::I32(redelivered.into()));
        copy("deliver", queue.as_bytes(), message, headers.finish())
    }

    /// Gives copies to whoever watches.
    ///
    /// # Errors
    /// 541 if the log has failed.
    pub fn post_copies(&self, copies: Vec<Message>) -> Result<(), AmqpError> {
        let (topology, mut routes) = (self.topology(), Routes::new());
        let mut batch = self.log.batch();
        let mut posted = Vec::new();
        for message in copies {
            let targets = topology.route(&message, &[], &mut routes);
            let record = self.record(&message, &targets, &mut batch);
            posted.extend(Posted::to_each(targets, &message, record));
        }
        if posted.is_empty() {
            return Ok(());
        }
        self.post_all(batch, posted).map(drop)
    }

    /// The headers of every copy.
    fn told_of(&self, party: &Party, message: &Message, extra_keys: &[Bytes]) -> TableBuilder {
        let mut keys = ArrayBuilder::new();
        let own = [message.routing_key()].into_iter();
        for key in own.chain(extra_keys.iter().map(Bytes::as_ref)) {
            keys.push(Value::LongStr(key));
        }
        let properties = properties(&Properties::trusted(message.properties_bytes()));
        let connection = party.connection.as_ref().map(|stats| stats.name());
        let connection = connection.unwrap_or_default();
        let node = host::node_name();
        let mut headers = TableBuilder::new();
        headers
            .insert("exchange_name", Value::LongStr(message.exchange()))
            .insert("routing_keys", Value::Array(keys.view()))
            .insert("properties", Value::Table(properties.view()))
            .insert("node", Value::LongStr(node.as_bytes()))
            .insert("vhost", Value::LongStr(self.name().as_bytes()))
            .insert("connection", Value::LongStr(connection.as_bytes()))
            .insert("channel", Value::I32(party.channel.into()))
            .insert("user", Value::LongStr(party.user.as_bytes()));
        headers
    }
}

fn copy(what: &str, of: &[u8], message: &Message, headers: RawTable) -> Option<Message> {
    if message.exchange() == EXCHANGE.as_bytes() {
        return None;
    }
    let key = [what.as_bytes(), b".", of].concat();
    let properties = PropertyPatch::new().headers(headers.view()).build();
    let facts = Facts::new(false, 0, false);
    let body = message.body_bytes().collect();
    let exchange = EXCHANGE.as_bytes();
    Some(Message::from_parts(
        exchange,
        &key,
        properties.raw(),
        body,
        facts,
    ))
}

/// The properties of a message as a table, those that are there.
fn properties(of: &Properties) -> RawTable {
    const TEXTS: [(&str, Property); 10] = [
        ("content_type", Property::ContentType),
        ("content_encoding", Property::ContentEncoding),
        ("correlation_id", Property::CorrelationId),
        ("reply_to", Property::ReplyTo),
        ("expiration", Property::Expiration),
        ("message_id", Property::MessageId),
        ("type", Property::Type),
        ("user_id", Property::UserId),
        ("app_id", Property::AppId),
        ("cluster_id", Property::ClusterId),
    ];
    let mut table = TableBuilder::new();
    for (name, property) in TEXTS {
        if let Some(text) = of.text(property) {
            table.insert(name, Value::LongStr(text));
        }
    }
    if let Some(headers) = of.headers() {
        table.insert("headers", Value::Table(headers));
    }
    for (name, octet) in [
        ("delivery_mode", of.delivery_mode()),
        ("priority", of.priority()),
    ] {
        if let Some(octet) = octet {
            table.insert(name, Value::I32(octet.into()));
        }
    }
    if let Some(seconds) = of.timestamp().and_then(|s| i64::try_from(s).ok()) {
        table.insert("timestamp", Value::I64(seconds));
    }
    table.finish()
}
