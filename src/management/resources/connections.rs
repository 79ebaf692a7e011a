//! Connections: who sees only its own is not told of others.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Administrator, Level, Management, Monitor, Within};
use super::super::list::{Item, list, one};
use super::super::node::Node;
use super::super::object::Object;
use super::super::query::{ListQuery, Params};
use super::super::rates::{Course, Of, Windows};
use super::figures::TRAFFIC;
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::stats::{ConnectionDetails, ConnectionStats};

/// The reason of a close that gives none.
const CLOSED: &str = "Closed via management API";

struct ConnectionItem {
    name: String,
    stats: Arc<ConnectionStats>,
    node: Arc<Node>,
    windows: Windows,
    /// An alarm holds publishers back.
    alarm: bool,
}

impl ConnectionItem {
    fn new(context: &Context, stats: Arc<ConnectionStats>, windows: Windows) -> Self {
        ConnectionItem {
            name: stats.name(),
            stats,
            node: Arc::clone(&context.node),
            windows,
            alarm: context.broker.alarms().reason().is_some(),
        }
    }
}

impl Item for ConnectionItem {
    fn name(&self) -> &str {
        &self.name
    }

    fn order(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }

    fn fill(&self, object: &mut Object<'_>) {
        let stats = &self.stats;
        let traffic = stats.traffic();
        object
            .put("name", self.name())
            .put("node", self.node.name())
            .put("type", "network")
            .put("protocol", "AMQP 0-9-1")
            .put("state", stats.state(self.alarm))
            .put("host", stats.local().ip().to_string())
            .put("port", stats.local().port())
            .put("peer_host", stats.peer().ip().to_string())
            .put("peer_port", stats.peer().port())
            .put("channels", stats.channels_len())
            .put("recv_cnt", traffic.reads)
            .put("send_cnt", traffic.writes)
            .put("send_pend", stats.send_pending_bytes.get());
        Course::of(stats.history(), self.windows).put_into(object, TRAFFIC, &traffic, Of::Data);
        if let Some(details) = stats.details() {
            fill_details(object, details);
        }
    }
}

/// What the client negotiated.
fn fill_details(object: &mut Object<'_>, details: &ConnectionDetails) {
    object
        .put("user", details.user.as_str())
        .put("user_who_performed_action", details.user.as_str())
        .put("vhost", details.vhost.as_str())
        .put("auth_mechanism", details.mechanism.as_str())
        .put("channel_max", details.channel_max)
        .put("frame_max", details.frame_max)
        .put("timeout", details.heartbeat_s)
        .put("connected_at", details.connected_at_ms);
    let properties = &details.client_properties;
    object.put_with("client_properties", || properties.view().to_json().into());
    if let Some(name) = properties.get("connection_name").and_then(|v| v.as_str()) {
        object.put("user_provided_name", name);
    }
}

/// The connection as the things on it show it.
pub(super) fn brief(stats: &ConnectionStats) -> Value {
    json!({
        "name": stats.name(),
        "peer_host": stats.peer().ip().to_string(),
        "peer_port": stats.peer().port(),
    })
}

/// Whether a user sees a connection: its own, or as a monitor any.
pub(super) fn sees<L: Level>(access: &Access<L>, stats: &ConnectionStats) -> bool {
    let is_own = |details: &ConnectionDetails| details.user == *access.user();
    access.is::<Monitor>() || stats.details().is_some_and(is_own)
}

/// Whether a list within a vhost has a connection, and what is on it.
pub(super) fn is_listed(within: &Within, stats: &ConnectionStats) -> bool {
    let is_there = |details: &ConnectionDetails| within.is_asked_for(&details.vhost);
    sees(&within.access, stats) && stats.details().is_some_and(is_there)
}

/// GET /connections, /vhosts/:vhost/connections
pub(in super::super) async fn all(
    State(context): State<Context>,
    within: Within,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let windows = query.windows;
    let all = context.broker.connections().into_iter();
    let seen = all.filter(|stats| is_listed(&within, stats));
    let items = seen.map(|stats| ConnectionItem::new(&context, stats, windows));
    list(items.collect(), query)
}

/// The connection a path names, if the user may see it.
pub(super) fn find<L: Level>(
    context: &Context,
    access: &Access<L>,
    name: &str,
) -> Result<Arc<ConnectionStats>, ApiError> {
    let found = context.broker.connection_named(name);
    let found = found.ok_or_else(ApiError::not_found)?;
    match sees(access, &found) {
        true => Ok(found),
        false => Err(ApiError::not_object_user()),
    }
}

/// GET /connections/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let found = find(&context, &access, &name)?;
    let item = ConnectionItem::new(&context, found, Windows::read(&params));
    Ok(one(&item, &params))
}

/// What the header says, or a default.
fn reason(headers: &HeaderMap) -> &str {
    let given = headers.get("x-reason").and_then(|v| v.to_str().ok());
    given.filter(|reason| !reason.is_empty()).unwrap_or(CLOSED)
}

/// DELETE /connections/:name
pub(in super::super) async fn close(
    State(context): State<Context>,
    access: Access<Management>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let found = find(&context, &access, &name)?;
    context
        .broker
        .close_connection(found.id(), reason(&headers));
    Ok(StatusCode::NO_CONTENT)
}

/// GET /connections/username/:user
pub(in super::super) async fn of_user(
    State(context): State<Context>,
    access: Access<Management>,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    own_or_all(&access, &user)?;
    let all = context.broker.connections().into_iter();
    let found: Vec<Value> = all
        .filter_map(|stats| {
            let details = stats.details().filter(|d| d.user.as_str() == user)?;
            Some(json!({
                "name": stats.name(),
                "vhost": details.vhost.as_str(),
                "user": details.user.as_str(),
                "node": context.node.name(),
            }))
        })
        .collect();
    Ok(Json(found).into_response())
}

fn own_or_all<L: Level>(access: &Access<L>, user: &str) -> Result<(), ApiError> {
    match access.is::<Monitor>() || access.user().as_str() == user {
        true => Ok(()),
        false => Err(ApiError::not_object_user()),
    }
}

/// DELETE /connections/username/:user
pub(in super::super) async fn close_of_user(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> StatusCode {
    let user = Name::from(user);
    let is_of_user =
        |stats: &ConnectionStats| stats.details().is_some_and(|details| details.user == user);
    context
        .broker
        .close_connections_where(is_of_user, reason(&headers));
    StatusCode::NO_CONTENT
}
