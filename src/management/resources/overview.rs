//! The broker as a whole, and who asks.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Administrator, Management, Monitor};
use super::super::object::Object;
use super::super::query::{self, Params};
use super::super::version::{RABBITMQ, WARREN};
use super::vhosts::Depth;
use crate::base::reply::ApiError;
use crate::router::ExchangeKind;

/// The exchange types, as listings of what the broker can do show them.
pub(super) fn exchange_types() -> Value {
    let kinds = ExchangeKind::ALL.into_iter();
    kinds
        .map(|kind| json!({ "name": kind.name(), "enabled": true }))
        .collect()
}

/// Where the broker listens.
pub(super) fn listeners(context: &Context) -> Value {
    let listening = context.node.listening.iter();
    listening
        .map(|at| {
            json!({
                "node": context.node.name(),
                "protocol": at.protocol,
                "ip_address": at.address.ip().to_string(),
                "port": at.address.port(),
            })
        })
        .collect()
}

/// GET /overview
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    params: Params,
) -> Response {
    let columns = query::columns(&params);
    let mut object = Object::new(&columns);
    let vhosts = access.visible(&context);
    let mut depth = Depth::default();
    let (mut queues, mut exchanges) = (0, 0);
    for vhost in &vhosts {
        let topology = vhost.topology();
        queues += topology.queues.len();
        exchanges += topology.graph.exchange_count() + 1;
        let of_vhost = Depth::of(vhost);
        depth.ready += of_vhost.ready;
        depth.unacked += of_vhost.unacked;
        depth.consumers += of_vhost.consumers;
    }
    object
        .put("management_version", RABBITMQ)
        .put("rabbitmq_version", RABBITMQ)
        .put("product_name", "Warren")
        .put("product_version", WARREN)
        .put("cluster_name", "warren")
        .put_with("exchange_types", exchange_types)
        .put(
            "queue_totals",
            json!({
                "messages": depth.ready + depth.unacked,
                "messages_ready": depth.ready,
                "messages_unacknowledged": depth.unacked,
            }),
        )
        .put(
            "object_totals",
            json!({ "queues": queues, "exchanges": exchanges, "consumers": depth.consumers }),
        );
    if access.is::<Monitor>() {
        object
            .put("node", context.node.name())
            .put_with("listeners", || listeners(&context));
    }
    Json(object.finish()).into_response()
}

/// GET /whoami
pub(in super::super) async fn who_am_i(access: Access<Management>) -> Response {
    let tags: Vec<&str> = access.login.tags.iter().map(|tag| tag.as_str()).collect();
    Json(json!({ "name": access.user().as_str(), "tags": tags })).into_response()
}

/// GET /version
pub(in super::super) async fn version(_: Access<Management>) -> &'static str {
    WARREN
}

/// GET /extensions: pages here have none.
pub(in super::super) async fn extensions(_: Access<Management>) -> Response {
    Json(json!([])).into_response()
}

/// GET /cluster-name
pub(in super::super) async fn cluster_name(_: Access<Management>) -> Result<Response, ApiError> {
    Ok(Json(json!({ "name": "warren" })).into_response())
}

/// POST /rebalance/queues: on one node every queue is where it belongs.
pub(in super::super) async fn rebalance(_: Access<Administrator>) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// RabbitMQ's paths for what Warren does not have.
pub(in super::super) async fn absent(_: Access<Management>, uri: axum::http::Uri) -> ApiError {
    ApiError::absent(uri.path())
}
