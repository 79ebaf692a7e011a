//! Publishing, and taking messages out of a queue.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::access::{Access, Management};
use super::super::body::Fields;
use super::super::tables;
use super::exchanges::name_of;
use super::queues;
use crate::amqp;
use crate::base::limits::HTTP_MESSAGES_MAX;
use crate::base::reply::ApiError;
use crate::base::{Access as Right, ConnectionId, Resource};
use crate::broker::{Party, Publisher, QueueDeclaration, Routed, Settle};
use crate::codec::RawTable;
use crate::message::Message;
use crate::queue::{Effects, Got, Requeue};

pub(super) mod properties;

/// POST /exchanges/:vhost/:name/publish
pub(in super::super) async fn publish(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<Response, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let exchange = name_of(&name);
    body.require(&["properties", "routing_key", "payload", "payload_encoding"])?;
    let payload = body.needed_text("payload")?;
    let payload = match body.needed_text("payload_encoding")? {
        "string" => payload.as_bytes().to_vec(),
        "base64" => BASE64_STANDARD
            .decode(payload)
            .map_err(|_| ApiError::not_base64("payload"))?,
        other => return Err(ApiError::unknown_value("payload_encoding", other)),
    };
    let properties = properties::from_json(&body.object("properties")?)?;
    let key = body.needed_text("routing_key")?.as_bytes();
    let fault = |fault| ApiError::publish(&fault);
    let mut extra_keys = Vec::new();
    let mut publisher = Publisher::new(vhost).held_to(actor.clone());
    publisher
        .check_exchange(exchange.as_bytes())
        .map_err(fault)?;
    let message = amqp::compose(
        exchange.as_bytes(),
        key,
        properties,
        payload.into(),
        &actor,
        &mut extra_keys,
    )
    .map_err(fault)?;
    publisher.check_keys(&message, &extra_keys).map_err(fault)?;
    let routed = publisher.publish(message, &extra_keys);
    let end = publisher.flush().map_err(fault)?;
    context.broker.durable(end).await?;
    Ok(Json(json!({ "routed": routed == Routed::ToQueues })).into_response())
}

/// What [`alive`] declares.
const ALIVENESS: &str = "aliveness-test";

/// GET /aliveness-test/:vhost: a message goes through a queue of that name, which stays.
pub(in super::super) async fn alive(
    State(context): State<Context>,
    access: Access<Management>,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let wanted = QueueDeclaration {
        name: ALIVENESS.into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: RawTable::default(),
    };
    let declared = vhost.declare_queue_as(&actor, &wanted, None, ConnectionId::NONE);
    let queue = context.durably(declared).await?;
    let mut publisher = Publisher::new(Arc::clone(&vhost)).held_to(actor.clone());
    publisher.check_exchange(b"")?;
    let message = amqp::compose(
        b"",
        ALIVENESS.as_bytes(),
        Bytes::from_static(&[0, 0]),
        Bytes::from_static(ALIVENESS.as_bytes()),
        &actor,
        &mut Vec::new(),
    )?;
    publisher.publish(message, &[]);
    publisher.flush()?;
    match vhost.get(&queue, true)? {
        Some(_) => Ok(Json(json!({ "status": "ok" })).into_response()),
        None => Err(ApiError::bad_request("the message did not come back")),
    }
}

/// What becomes of the messages got.
fn settle_mode(word: &str) -> Result<Settle, ApiError> {
    match word {
        "ack_requeue_true" | "reject_requeue_true" => Ok(Settle::Requeued(Requeue::Seen)),
        "ack_requeue_false" => Ok(Settle::Acked),
        "reject_requeue_false" => Ok(Settle::Rejected),
        other => Err(ApiError::unknown_value("ackmode", other)),
    }
}

/// POST /queues/:vhost/:name/get
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<Response, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let queue = queues::find(&vhost, &name)?;
    actor.may(Right::Read, Resource::queue(&queue.name, vhost.name()))?;
    body.require(&["count", "ackmode", "encoding"])?;
    let how = settle_mode(body.needed_text("ackmode")?)?;
    let count = body.integer("count")?.unwrap_or(0).max(0);
    let count = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(HTTP_MESSAGES_MAX);
    let truncate = body.integer("truncate")?;
    let shown = Shown {
        as_base64: match body.needed_text("encoding")? {
            "auto" => false,
            "base64" => true,
            _ => return Err(ApiError::get_encoding()),
        },
        max_bytes: truncate.and_then(|n| usize::try_from(n).ok()),
    };
    vhost.not_locked(&queue, ConnectionId::NONE)?;
    let mut slots = Vec::new();
    let mut received = Vec::new();
    while received.len() < count {
        let Some(got) = vhost.get(&queue, false)? else {
            break;
        };
        slots.push(got.slot);
        received.push(got);
    }
    let messages: Vec<Value> = received.iter().map(|got| shown.json(got)).collect();
    if vhost.is_tracing() {
        let to = Party {
            connection: None,
            channel: 0,
            user: access.user().clone(),
        };
        let copies = received
            .iter()
            .filter_map(|got| vhost.trace_out(&to, &queue.name, &got.message, got.redelivered));
        vhost.post_copies(copies.collect())?;
    }
    let end = vhost.settle(&queue, slots, how, &mut Effects::default())?;
    context.broker.durable(end).await?;
    Ok(Json(messages).into_response())
}

/// How bodies are written as JSON.
pub(super) struct Shown {
    pub(super) as_base64: bool,
    pub(super) max_bytes: Option<usize>,
}

impl Shown {
    fn json(&self, got: &Got) -> Value {
        let mut fields = self.fields(&got.message);
        fields.insert("redelivered".to_owned(), got.redelivered.into());
        fields.insert("message_count".to_owned(), got.ready_left.into());
        Value::Object(fields)
    }

    /// What a message itself tells.
    pub(super) fn fields(&self, message: &Message) -> Map<String, Value> {
        let most = self.max_bytes.unwrap_or(usize::MAX);
        let octets = message.body_parts().flatten().take(most);
        let body: Vec<u8> = octets.copied().collect();
        let (payload, encoding) = match std::str::from_utf8(&body) {
            Ok(text) if !self.as_base64 => (text.to_owned(), "string"),
            _ => (BASE64_STANDARD.encode(&body), "base64"),
        };
        let properties = properties::to_json(&amqp::visible_properties(message));
        Map::from_iter([
            ("payload_bytes".to_owned(), message.body_len().into()),
            (
                "exchange".to_owned(),
                tables::text(message.exchange()).into(),
            ),
            (
                "routing_key".to_owned(),
                tables::text(message.routing_key()).into(),
            ),
            ("properties".to_owned(), properties),
            ("payload".to_owned(), payload.into()),
            ("payload_encoding".to_owned(), encoding.into()),
        ])
    }
}

/// An object, or as RabbitMQ writes an empty one, a list.
fn object_or_list(fields: Map<String, Value>) -> Value {
    match fields.is_empty() {
        true => json!([]),
        false => Value::Object(fields),
    }
}
