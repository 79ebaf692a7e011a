//! Virtual hosts.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tracing::info;

use super::super::Context;
use super::super::access::{Access, Administrator, Management};
use super::super::body::Fields;
use super::super::list::{Item, list, one};
use super::super::node::Node;
use super::super::object::Object;
use super::super::query::{ListQuery, Params};
use super::super::rates::{Course, Of, Windows};
use super::figures::{ALL_TRAFFIC, LENGTHS, STATS};
use super::nodes::this_node;
use super::{gone, put, users};
use crate::auth::{Pattern, Permission};
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::{Broker, Vhost, VhostSettings};
use crate::queue::QueueKind;

struct VhostItem {
    vhost: Arc<Vhost>,
    broker: Arc<Broker>,
    windows: Windows,
    node: Arc<Node>,
}

impl Item for VhostItem {
    fn name(&self) -> &str {
        self.vhost.name()
    }

    fn order(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }

    fn fill(&self, object: &mut Object<'_>) {
        let settings = self.vhost.settings();
        let tags: Vec<&str> = settings.tags.iter().map(|tag| tag.as_str()).collect();
        let queue_type = settings
            .default_queue_type
            .map_or("undefined", |k| k.name());
        object
            .put("name", self.name())
            .put("description", settings.description.as_str())
            .put("tags", tags.clone())
            .put("default_queue_type", queue_type)
            .put("protected_from_deletion", settings.protected)
            .put("tracing", self.vhost.is_tracing())
            .put_with("metadata", || {
                let mut metadata = json!({ "description": settings.description, "tags": tags });
                if let (Some(kind), Some(fields)) =
                    (settings.default_queue_type, metadata.as_object_mut())
                {
                    fields.insert("default_queue_type".to_owned(), kind.name().into());
                }
                metadata
            })
            .put("cluster_state", json!({ (self.node.name()): "running" }));
        if object.wants_any(&SUMMED) {
            let sum = self.broker.vhost_overview(&self.vhost);
            let course = Course::of(Some(sum.history), self.windows);
            course.put_into(object, LENGTHS, &sum.now, Of::Lengths);
            course.put_into(object, ALL_TRAFFIC, &sum.now, Of::Data);
            course.put_stats(object, STATS, &sum.now);
        }
    }
}

/// The fields that take a look at every queue.
const SUMMED: [&str; 11] = [
    "messages",
    "messages_details",
    "messages_ready",
    "messages_ready_details",
    "messages_unacknowledged",
    "messages_unacknowledged_details",
    "recv_oct",
    "recv_oct_details",
    "send_oct",
    "send_oct_details",
    "message_stats",
];

fn item(context: &Context, vhost: Arc<Vhost>, windows: Windows) -> VhostItem {
    VhostItem {
        vhost,
        broker: Arc::clone(&context.broker),
        node: Arc::clone(&context.node),
        windows,
    }
}

/// GET /vhosts
pub(in super::super) async fn all(
    State(context): State<Context>,
    access: Access<Management>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = access.visible(&context).into_iter();
    let items = vhosts.map(|vhost| item(&context, vhost, query.windows));
    list(items.collect(), query)
}

fn find(context: &Context, name: &str) -> Result<Arc<Vhost>, ApiError> {
    context.broker.vhost(name).ok_or_else(ApiError::not_found)
}

/// GET /vhosts/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let item = item(&context, find(&context, &name)?, Windows::read(&params));
    Ok(one(&item, &params))
}

/// PUT /vhosts/:name. Who creates a vhost may do all in it.
pub(in super::super) async fn set(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let name = Name::from(name);
    let tracing = match body.get("tracing") {
        None => None,
        Some(_) => Some(body.boolean("tracing", false)?),
    };
    let others = [
        "description",
        "tags",
        "default_queue_type",
        "protected_from_deletion",
    ];
    if let (Some(on), Some(vhost)) = (tracing, context.broker.vhost(&name))
        && others.iter().all(|field| body.get(field).is_none())
    {
        trace(&vhost, on, access.user());
        return Ok(StatusCode::NO_CONTENT);
    }
    let settings = settings(&body)?;
    let done = context.broker.put_vhost(&name, settings, access.user());
    let is_new = context.durably(done).await?;
    // The bearer of a token has no account here: the token says what it may.
    if is_new && context.broker.directory().account(access.user()).is_some() {
        let all = || Pattern::new(".*").unwrap_or_else(|_| Pattern::nothing());
        let permission = Permission {
            user: access.user().clone(),
            vhost: name.clone(),
            configure: all(),
            write: all(),
            read: all(),
        };
        let done = context.broker.put_permission(permission, access.user());
        context.durably(done).await?;
    }
    if let (Some(on), Some(vhost)) = (tracing, context.broker.vhost(&name)) {
        trace(&vhost, on, access.user());
    }
    Ok(put(is_new))
}

/// Turns the firehose on or off.
fn trace(vhost: &Vhost, on: bool, by: &Name) {
    info!(target: "audit", %by, vhost = %vhost.name(), on, "firehose");
    vhost.set_tracing(on);
}

fn settings(body: &Fields) -> Result<VhostSettings, ApiError> {
    let queue_type = match body.text("default_queue_type")? {
        None | Some("" | "undefined") => None,
        Some(name) => {
            let known = [QueueKind::Classic, QueueKind::Quorum];
            let found = known.into_iter().find(|kind| kind.name() == name);
            Some(found.ok_or_else(|| ApiError::unknown_value("default_queue_type", name))?)
        }
    };
    Ok(VhostSettings {
        description: body.text("description")?.unwrap_or_default().to_owned(),
        tags: match body.get("tags") {
            None => Vec::new(),
            Some(_) => users::tags(body)?,
        },
        default_queue_type: queue_type,
        protected: body.boolean("protected_from_deletion", false)?,
    })
}

/// DELETE /vhosts/:name
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let done = context
        .broker
        .delete_vhost(&Name::from(name), access.user());
    gone(context.durably(done).await?)
}

async fn protect(
    context: Context,
    access: Access<Administrator>,
    name: &str,
    protected: bool,
) -> Result<StatusCode, ApiError> {
    let vhost = find(&context, name)?;
    let settings = VhostSettings {
        protected,
        ..VhostSettings::clone(&vhost.settings())
    };
    let done = context
        .broker
        .put_vhost(vhost.name(), settings, access.user());
    context.durably(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// POST /vhosts/:name/deletion/protection
pub(in super::super) async fn protect_from_deletion(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    protect(context, access, &name, true).await
}

/// DELETE /vhosts/:name/deletion/protection
pub(in super::super) async fn allow_deletion(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    protect(context, access, &name, false).await
}

/// POST /vhosts/:name/start/:node: a vhost that is there runs.
pub(in super::super) async fn start(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path((name, node)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    find(&context, &name)?;
    this_node(&context, &node)?;
    Ok(StatusCode::NO_CONTENT)
}
