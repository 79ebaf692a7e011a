//! Queues.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::Context;
use super::super::access::{Access, Management};
use super::super::body::Fields;
use super::super::list::{Item, list};
use super::super::node::Node;
use super::super::object::Object;
use super::super::query::{self, ListQuery, Params};
use super::super::tables;
use super::put;
use crate::base::reply::ApiError;
use crate::base::{ConnectionId, Name};
use crate::broker::{DeleteIf, QueueDeclaration, Vhost};
use crate::queue::QueueRef;

struct QueueItem {
    queue: QueueRef,
    node: Arc<Node>,
}

impl Item for QueueItem {
    fn name(&self) -> &str {
        &self.queue.name
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_vhost = self.queue.vhost.cmp(&other.queue.vhost);
        by_vhost.then_with(|| self.name().cmp(other.name()))
    }

    fn fill(&self, object: &mut Object<'_>) {
        let queue = &self.queue;
        object
            .put("name", self.name())
            .put("vhost", queue.vhost.as_str())
            .put("type", queue.kind.name())
            .put("durable", queue.durable)
            .put("auto_delete", queue.auto_delete)
            .put("exclusive", queue.exclusive_to.is_some())
            .put_with("arguments", || {
                tables::stored_to_json(&queue.settings().arguments)
            })
            .put("node", self.node.name())
            .put("state", "running");
        const COUNTED: [&str; 5] = [
            "messages",
            "messages_ready",
            "messages_unacknowledged",
            "message_bytes_ready",
            "consumers",
        ];
        if object.wants_any(&COUNTED) {
            let (ready, unacked, bytes, consumers) = {
                let state = queue.lock();
                let ready = (state.ready_len(), state.ready_bytes());
                (ready.0, state.unacked_len(), ready.1, state.consumers_len())
            };
            object
                .put("messages", ready + unacked)
                .put("messages_ready", ready)
                .put("messages_unacknowledged", unacked)
                .put("message_bytes_ready", bytes)
                .put("consumers", consumers);
        }
    }
}

fn items(context: &Context, vhosts: Vec<Arc<Vhost>>) -> Vec<QueueItem> {
    let mut items = Vec::new();
    for vhost in vhosts {
        let topology = vhost.topology();
        items.extend(topology.queues.values().map(|queue| QueueItem {
            queue: queue.clone(),
            node: Arc::clone(&context.node),
        }));
    }
    items
}

/// A queue of a vhost.
pub(super) fn find(vhost: &Vhost, name: &str) -> Result<QueueRef, ApiError> {
    let topology = vhost.topology();
    let found = topology.queues.get(name.as_bytes());
    found.cloned().ok_or_else(ApiError::not_found)
}

/// GET /queues
pub(in super::super) async fn all(
    State(context): State<Context>,
    access: Access<Management>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    list(items(&context, access.visible(&context)), query)
}

/// GET /queues/:vhost
pub(in super::super) async fn of_vhost(
    State(context): State<Context>,
    access: Access<Management>,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    list(items(&context, vec![access.look(&context, &vhost)?]), query)
}

/// GET /queues/:vhost/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    params: Params,
) -> Result<Response, ApiError> {
    let queue = find(&*access.look(&context, &vhost)?, &name)?;
    let item = QueueItem {
        queue,
        node: Arc::clone(&context.node),
    };
    Ok(Json(item.json(&query::columns(&params))).into_response())
}

/// PUT /queues/:vhost/:name
pub(in super::super) async fn declare(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let vhost = access.enter(&context, &vhost)?;
    let wanted = QueueDeclaration {
        name: Name::from(name),
        durable: body.boolean("durable", true)?,
        exclusive: body.boolean("exclusive", false)?,
        auto_delete: body.boolean("auto_delete", false)?,
        arguments: body.arguments()?,
    };
    let is_new = find(&vhost, &wanted.name).is_err();
    let declared = vhost.declare_queue(&wanted, ConnectionId::NONE);
    context.durably(declared).await?;
    Ok(put(is_new))
}

/// DELETE /queues/:vhost/:name
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let vhost = access.enter(&context, &vhost)?;
    let queue = find(&vhost, &name)?;
    let conditions = DeleteIf {
        unused: params.flag("if-unused"),
        empty: params.flag("if-empty"),
    };
    let deleted = vhost.delete_queue(&queue.name, conditions, ConnectionId::NONE);
    context.durably(deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// DELETE /queues/:vhost/:name/contents
pub(in super::super) async fn purge(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let vhost = access.enter(&context, &vhost)?;
    let queue = find(&vhost, &name)?;
    context.durably(vhost.purge_queue(&queue)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// POST /queues/:vhost/:name/actions: those of mirrored queues, which do nothing on one node.
pub(in super::super) async fn act(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    find(&*access.enter(&context, &vhost)?, &name)?;
    match body.needed_text("action")? {
        "sync" | "cancel_sync" => Ok(StatusCode::NO_CONTENT),
        other => Err(ApiError::unknown_value("action", other)),
    }
}
