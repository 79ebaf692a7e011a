//! Queues.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Management, Within};
use super::super::body::Fields;
use super::super::list::{Item, Key, Ordered, Source, list_in_order};
use super::super::node::Node;
use super::super::object::{Columns, Object};
use super::super::query::{self, ListQuery, Params};
use super::super::rates::{Course, Of, Windows};
use super::super::tables;
use super::consumers::ConsumerItem;
use super::figures::{QUEUE_LENGTHS, QUEUE_STATS};
use super::{connections, put, timestamp};
use crate::base::history::{History, per_second};
use crate::base::reply::ApiError;
use crate::base::{Access as Right, ConnectionId, Name, Resource};
use crate::broker::stats::QueueView;
use crate::broker::{DeleteIf, QueueDeclaration, Vhost};
use crate::queue::{ConsumerInfo, QueueCounts, QueueKind, QueueRef, QueueSample};

struct QueueItem {
    queue: QueueRef,
    node: Arc<Node>,
    windows: Windows,
}

impl Item for QueueItem {
    fn name(&self) -> &str {
        &self.queue.name
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_vhost = self.queue.vhost.cmp(&other.queue.vhost);
        by_vhost.then_with(|| self.name().cmp(other.name()))
    }

    fn key(&self, path: &str) -> Option<Key> {
        key(&self.queue, path)
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
            .put("node", self.node.name())
            .put("state", "running");
        if object.wants_any(&["arguments", "policy", "operator_policy"]) {
            let settings = queue.settings();
            let name = |policy: &Option<Name>| policy.as_ref().map(|name| name.to_string());
            object
                .put_with("arguments", || tables::stored_to_json(&settings.arguments))
                .put("policy", name(&settings.policy))
                .put("operator_policy", name(&settings.operator_policy));
        }
        if queue.kind == QueueKind::Quorum {
            let this = json!([self.node.name()]);
            object
                .put("leader", self.node.name())
                .put("members", this.clone())
                .put("online", this);
        }
        if object.wants_any(&LOOKED_AT) {
            self.fill_state(object);
        }
    }
}

/// The fields that take a look behind the queue's lock.
const LOOKED_AT: [&str; 14] = [
    "messages",
    "messages_details",
    "messages_ready",
    "messages_ready_details",
    "messages_unacknowledged",
    "messages_unacknowledged_details",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "consumers",
    "message_stats",
    "idle_since",
    "single_active_consumer_tag",
    "exclusive_consumer_tag",
];

/// What a queue is sorted by, most often without its lock.
fn key(queue: &QueueRef, path: &str) -> Option<Key> {
    let number = |n: u64| Some(Key::Number(n as f64));
    let levels = queue.levels();
    match path {
        "vhost" => Some(Key::Other(queue.vhost.to_string())),
        "messages" => number(levels.ready() + levels.unacked()),
        "messages_ready" => number(levels.ready()),
        "messages_unacknowledged" => number(levels.unacked()),
        "message_bytes_ready" if levels.ready() == 0 => number(0),
        "message_bytes_ready" => number(queue.lock().ready_bytes() as u64),
        "consumers" => number(levels.consumers()),
        _ => rate_key(queue, path),
    }
}

/// The key of a rate such as `message_stats.publish_details.rate`.
fn rate_key(queue: &QueueRef, path: &str) -> Option<Key> {
    let stat = path.strip_prefix("message_stats.")?;
    let name = stat.strip_suffix("_details.rate")?;
    let field = QUEUE_STATS.iter().find(|field| field.name == name)?;
    if !queue.levels().is_used() {
        return Some(Key::Absent);
    }
    let state = queue.lock();
    let tally = state.tally();
    // As in JSON: no statistics where nothing has been counted.
    if tally.counts() == QueueCounts::default() {
        return Some(Key::Absent);
    }
    let recent = tally.history().and_then(History::last_two);
    Some(Key::Number(
        recent.map_or(0.0, |two| per_second(&two, field.of)),
    ))
}

impl QueueItem {
    fn fill_state(&self, object: &mut Object<'_>) {
        let view = QueueView::of(&self.queue);
        let now = QueueSample {
            ready: view.ready,
            unacked: view.unacked,
            counts: view.counts,
        };
        let course = match self.windows.any() {
            true => Course::of(self.queue.lock().tally().history().cloned(), self.windows),
            false => Course::recent(view.recent),
        };
        course.put_into(object, QUEUE_LENGTHS, &now, Of::Lengths);
        course.put_stats(object, QUEUE_STATS, &now);
        let tag = |consumer: &Option<ConsumerInfo>| match consumer {
            None => Value::Null,
            Some(consumer) => consumer.tag.as_str().into(),
        };
        object
            .put("message_bytes", view.ready_bytes + view.unacked_bytes)
            .put("message_bytes_ready", view.ready_bytes)
            .put("message_bytes_unacknowledged", view.unacked_bytes)
            .put("consumers", view.consumers)
            .put_with("single_active_consumer_tag", || tag(&view.single_active))
            .put_with("exclusive_consumer_tag", || tag(&view.exclusive));
        if let Some(since_ms) = view.idle_since_ms {
            object.put_with("idle_since", || timestamp(since_ms).into());
        }
    }
}

/// A queue of a listing.
#[derive(Clone, Copy)]
struct Listed<'t> {
    name: &'t Name,
    queue: &'t QueueRef,
    node: &'t Arc<Node>,
    windows: Windows,
}

impl Source for Listed<'_> {
    type Item = QueueItem;

    fn name(&self) -> &str {
        self.name
    }

    fn key(&self, path: &str) -> Option<Key> {
        key(self.queue, path)
    }

    fn item(self) -> QueueItem {
        QueueItem {
            queue: self.queue.clone(),
            node: Arc::clone(self.node),
            windows: self.windows,
        }
    }
}

/// GET /queues, /queues/:vhost. Vhosts come in the order of their names.
pub(in super::super) async fn all(
    State(context): State<Context>,
    Within { vhosts, .. }: Within,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let topologies: Vec<_> = vhosts.iter().map(|vhost| vhost.topology()).collect();
    let (node, windows) = (&context.node, query.windows);
    let queues = topologies.iter().flat_map(|t| t.queues.in_order());
    let ordered = Ordered {
        total: topologies.iter().map(|t| t.queues.len()).sum(),
        by_name: vhosts.len() == 1,
        sources: queues.map(|(name, queue)| Listed {
            name,
            queue,
            node,
            windows,
        }),
    };
    list_in_order(ordered, query)
}

/// A queue of a vhost.
pub(super) fn find(vhost: &Vhost, name: &str) -> Result<QueueRef, ApiError> {
    let topology = vhost.topology();
    let found = topology.queues.get(name.as_bytes());
    found.cloned().ok_or_else(ApiError::not_found)
}

/// GET /queues/:vhost/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    params: Params,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let item = QueueItem {
        queue: find(&vhost, &name)?,
        node: Arc::clone(&context.node),
        windows: Windows::read(&params),
    };
    let columns = query::columns(&params);
    let mut object = Object::new(&columns);
    item.fill(&mut object);
    object.put_with("consumer_details", || {
        let consumers = ConsumerItem::of_queue(&context, &vhost, &item.queue).into_iter();
        consumers
            .map(|consumer| consumer.json(&Columns::ALL))
            .collect()
    });
    if let Some(owner) = item
        .queue
        .exclusive_to
        .and_then(|id| context.broker.connection(id))
    {
        object.put_with("owner_pid_details", || connections::brief(&owner));
    }
    Ok(Json(object.finish()).into_response())
}

/// PUT /queues/:vhost/:name
pub(in super::super) async fn declare(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let wanted = QueueDeclaration {
        name: Name::from(name),
        durable: body.boolean("durable", true)?,
        exclusive: body.boolean("exclusive", false)?,
        auto_delete: body.boolean("auto_delete", false)?,
        arguments: body.arguments()?,
    };
    let is_new = find(&vhost, &wanted.name).is_err();
    let declared = vhost.declare_queue_as(&actor, &wanted, None, ConnectionId::NONE);
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
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let queue = find(&vhost, &name)?;
    actor.may(Right::Configure, Resource::queue(&queue.name, vhost.name()))?;
    let conditions = DeleteIf {
        unused: params.flag("if-unused"),
        empty: params.flag("if-empty"),
    };
    let by = access.user();
    let deleted = vhost.delete_queue(&queue.name, conditions, ConnectionId::NONE, by);
    context.durably(deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// DELETE /queues/:vhost/:name/contents
pub(in super::super) async fn purge(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let queue = find(&vhost, &name)?;
    actor.may(Right::Read, Resource::queue(&queue.name, vhost.name()))?;
    vhost.not_locked(&queue, ConnectionId::NONE)?;
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
    let (vhost, _) = access.enter(&context, &vhost)?;
    find(&vhost, &name)?;
    match body.needed_text("action")? {
        "sync" | "cancel_sync" => Ok(StatusCode::NO_CONTENT),
        other => Err(ApiError::unknown_value("action", other)),
    }
}
