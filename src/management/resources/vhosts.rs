//! Virtual hosts.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::Context;
use super::super::access::{Access, Management};
use super::super::list::{Item, list};
use super::super::node::Node;
use super::super::object::Object;
use super::super::query::{self, ListQuery, Params};
use crate::base::reply::ApiError;
use crate::broker::Vhost;

struct VhostItem {
    vhost: Arc<Vhost>,
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
        object
            .put("name", self.name())
            .put("cluster_state", json!({ (self.node.name()): "running" }));
        const COUNTED: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];
        if object.wants_any(&COUNTED) {
            let depth = Depth::of(&self.vhost);
            object
                .put("messages", depth.ready + depth.unacked)
                .put("messages_ready", depth.ready)
                .put("messages_unacknowledged", depth.unacked);
        }
    }
}

/// The messages of a vhost's queues.
#[derive(Default)]
pub(super) struct Depth {
    pub(super) ready: usize,
    pub(super) unacked: usize,
    pub(super) consumers: usize,
}

impl Depth {
    pub(super) fn of(vhost: &Vhost) -> Self {
        let mut sum = Depth::default();
        for queue in vhost.topology().queues.values() {
            let state = queue.lock();
            sum.ready += state.ready_len();
            sum.unacked += state.unacked_len();
            sum.consumers += state.consumers_len();
        }
        sum
    }
}

/// GET /vhosts
pub(in super::super) async fn all(
    State(context): State<Context>,
    access: Access<Management>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = access.visible(&context).into_iter();
    let node = &context.node;
    let items = vhosts.map(|vhost| VhostItem {
        vhost,
        node: Arc::clone(node),
    });
    list(items.collect(), query)
}

/// GET /vhosts/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let item = VhostItem {
        vhost: access.look(&context, &name)?,
        node: Arc::clone(&context.node),
    };
    Ok(Json(item.json(&query::columns(&params))).into_response())
}
