//! Warren's own: looking at the messages of a queue, dropping one, and moving some elsewhere, without
//! consuming any.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Value, json};
use tracing::info;

use super::super::Context;
use super::super::access::{Access, Management};
use super::super::body::Fields;
use super::super::query::{Params, no_regex};
use super::exchanges::name_of;
use super::messages::{Shown, properties};
use super::{queues, timestamp};
use crate::amqp;
use crate::auth::Actor;
use crate::base::limits::{
    HTTP_BROWSE_MAX, HTTP_BROWSE_MAX_BYTES, HTTP_MESSAGES_MAX, PATTERN_COMPILED_MAX_BYTES,
};
use crate::base::reply::ApiError;
use crate::base::{Access as Right, ConnectionId, Resource};
use crate::broker::{Bounds, Move, MoveTo, Vhost};
use crate::message::Message;
use crate::queue::{Cursor, MessageId, NotAnId, QueueRef, Seen};

/// What one request may cost; what it leaves, the next one looks at.
const BOUNDS: Bounds = Bounds {
    messages: HTTP_BROWSE_MAX,
    bytes: HTTP_BROWSE_MAX_BYTES,
};

/// Messages shown if the request does not say.
const COUNT: usize = 20;

/// Octets shown of each body if the request does not say.
const TRUNCATE_BYTES: usize = 50_000;

impl From<NotAnId> for ApiError {
    fn from(fault: NotAnId) -> Self {
        ApiError::bad_request(fault.to_string())
    }
}

/// A text that a message has somewhere: in its body, its properties, its routing key or the name of
/// the exchange it was published to.
struct Search(Option<Regex>);

impl Search {
    /// `text` as it stands, or as a regular expression; either without regard to case.
    fn new(text: Option<&str>, use_regex: bool) -> Result<Self, ApiError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Search(None));
        };
        let pattern = match use_regex {
            true => text.to_owned(),
            false => regex::escape(text),
        };
        let built = RegexBuilder::new(&pattern)
            .case_insensitive(true)
            .size_limit(PATTERN_COMPILED_MAX_BYTES)
            .build();
        let regex = built.map_err(|fault| no_regex("search", &fault))?;
        Ok(Search(Some(regex)))
    }

    fn finds(&self, message: &Message) -> bool {
        let Some(regex) = &self.0 else {
            return true;
        };
        let in_names = || [message.routing_key(), message.exchange()];
        let in_body = || {
            let mut parts = message.body_parts();
            match (parts.next(), parts.next()) {
                (None, _) => false,
                (Some(only), None) => regex.is_match(only),
                (Some(first), Some(second)) => {
                    let mut body = [first, second].concat();
                    parts.for_each(|part| body.extend_from_slice(part));
                    regex.is_match(&body)
                }
            }
        };
        let in_properties = || {
            let shown = properties::to_json(&amqp::visible_properties(message));
            regex.is_match(shown.to_string().as_bytes())
        };
        in_names().iter().any(|name| regex.is_match(name)) || in_body() || in_properties()
    }
}

/// A queue that the user may take messages from.
fn readable(
    context: &Context,
    access: &Access<Management>,
    (vhost, name): (&str, &str),
) -> Result<(Arc<Vhost>, Actor, QueueRef), ApiError> {
    let (vhost, actor) = access.enter(context, vhost)?;
    let queue = queues::find(&vhost, name)?;
    actor.may(Right::Read, Resource::queue(&queue.name, vhost.name()))?;
    vhost.not_locked(&queue, ConnectionId::NONE)?;
    Ok((vhost, actor, queue))
}

/// Has `work` done where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| ApiError::bad_request(e.to_string()))?
}

fn cursor(text: Option<&str>) -> Result<Cursor, ApiError> {
    match text {
        None | Some("") => Ok(Cursor::default()),
        Some(text) => Ok(text.parse::<Cursor>()?),
    }
}

/// GET /warren/queues/:vhost/:name/messages
pub(in super::super) async fn list(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    params: Params,
) -> Result<Response, ApiError> {
    let (vhost, _, queue) = readable(&context, &access, (&vhost, &name))?;
    let from = cursor(params.get("from"))?;
    let number = |name: &str, default: usize| {
        let given = params.number(name).map(usize::try_from);
        given.map_or(default, |given| given.unwrap_or(usize::MAX))
    };
    let count = number("count", COUNT).clamp(1, HTTP_MESSAGES_MAX);
    let skip = number("skip", 0);
    let search = Search::new(params.get("search"), params.flag("use_regex"))?;
    let shown = Shown {
        as_base64: match params.get("encoding") {
            None | Some("auto") => false,
            Some("base64") => true,
            Some(_) => return Err(ApiError::get_encoding()),
        },
        max_bytes: Some(number("truncate", TRUNCATE_BYTES)),
    };
    let found = blocking(move || {
        let from = match skip {
            0 => Some(from),
            skip => vhost.skip(&queue, skip)?,
        };
        let mut messages = Vec::new();
        let Some(from) = from else {
            return Ok(json!({ "messages": messages, "examined": 0, "next": null }));
        };
        let browsed = vhost.browse(&queue, from, BOUNDS, &mut |seen, message| {
            if search.finds(message) {
                messages.push(item(&shown, seen, message));
            }
            match messages.len() < count {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        Ok(json!({
            "messages": messages,
            "examined": browsed.examined,
            "next": browsed.next.map(|next| next.to_string()),
        }))
    });
    Ok(Json(found.await?).into_response())
}

fn item(shown: &Shown, seen: &Seen, message: &Message) -> Value {
    let mut fields = shown.fields(message);
    fields.insert("id".to_owned(), seen.id.to_string().into());
    fields.insert("redelivered".to_owned(), seen.redelivered().into());
    let since = timestamp(seen.stamped_ms());
    fields.insert("in_queue_since".to_owned(), since.into());
    Value::Object(fields)
}

/// DELETE /warren/queues/:vhost/:name/messages/:id
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name, id)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let (vhost, _, queue) = readable(&context, &access, (&vhost, &name))?;
    let id: MessageId = id.parse()?;
    info!(target: "audit", by = %access.user(), vhost = %vhost.name(), queue = name, %id, "message deleted");
    let deleted = blocking(move || Ok(vhost.delete_message(&queue, id)?)).await?;
    context.broker.durable(deleted.end).await?;
    match deleted.value {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found()),
    }
}

/// POST /warren/queues/:vhost/:name/move
pub(in super::super) async fn relocate(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<Response, ApiError> {
    let (vhost, actor, from) = readable(&context, &access, (&vhost, &name))?;
    let to = match (body.text("to_queue")?, body.text("to_exchange")?) {
        (Some(queue), None) => MoveTo::Queue(queues::find(&vhost, queue)?),
        (None, Some(exchange)) => MoveTo::Exchange {
            exchange: name_of(exchange),
            routing_key: body
                .text("routing_key")?
                .map(|key| Bytes::copy_from_slice(key.as_bytes())),
        },
        _ => {
            return Err(ApiError::bad_request(
                "either to_queue or to_exchange is needed",
            ));
        }
    };
    let id = body.text("id")?.map(str::parse::<MessageId>).transpose()?;
    let most = match body.integer("count")? {
        None => usize::MAX,
        Some(count) => usize::try_from(count).map_err(|_| ApiError::wrong_type("count", "int"))?,
    };
    let copy = body.boolean("copy", false)?;
    let what = Move {
        from,
        start: match id {
            Some(id) => id.cursor(),
            None => cursor(body.text("from")?)?,
        },
        to,
        most: if id.is_some() { 1 } else { most },
        copy,
    };
    let bounds = match id {
        Some(_) => Bounds {
            messages: 1,
            ..BOUNDS
        },
        None => BOUNDS,
    };
    let search = Search::new(body.text("search")?, body.boolean("use_regex", false)?)?;
    let moved = blocking(move || {
        let mut wanted = |seen: &Seen, message: &Message| {
            id.is_none_or(|id| id == seen.id) && search.finds(message)
        };
        Ok(vhost.move_messages(&actor, &what, bounds, &mut wanted)?)
    });
    let moved = moved.await?;
    info!(
        target: "audit", by = %access.user(), queue = name, moved = moved.moved, copy,
        "messages moved"
    );
    context.broker.durable(moved.end).await?;
    Ok(Json(json!({
        "moved": moved.moved,
        "examined": moved.examined,
        "unroutable": moved.unroutable,
        "full": moved.full.map(|name| name.to_string()),
        "next": moved.next.map(|next| next.to_string()),
    }))
    .into_response())
}
