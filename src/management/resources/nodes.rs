//! The node. Figures that only Erlang has are absent.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::access::{Access, Monitor};
use super::super::node::Process;
use super::super::object::{Columns, Object};
use super::super::query::{self, Params};
use super::overview::exchange_types;
use crate::base::reply::ApiError;

/// The node's object. `system`: figures that take reading `/proc`.
fn node(context: &Context, columns: &Columns) -> Map<String, Value> {
    let node = &context.node;
    let process = Process::now();
    let mut object = Object::new(columns);
    object
        .put("name", node.name())
        .put("type", "disc")
        .put("running", true)
        .put("being_drained", false)
        .put("os_pid", std::process::id().to_string())
        .put("uptime", node.uptime_ms())
        .put(
            "processors",
            std::thread::available_parallelism().map_or(1, usize::from),
        )
        .put("rates_mode", "basic")
        .put("partitions", json!([]))
        .put("cluster_links", json!([]))
        .put_with("exchange_types", exchange_types)
        .put(
            "auth_mechanisms",
            json!([
                { "name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true },
                { "name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true },
            ]),
        )
        .put("db_dir", node.data_dir.display().to_string())
        .put("log_files", json!(["<stderr>"]))
        .put("applications", json!([{
            "name": "warren", "description": "Warren", "version": super::super::version::WARREN,
        }]))
        .put("enabled_plugins", json!([]));
    let mut put_known = |field, figure: Option<u64>| {
        if let Some(figure) = figure {
            object.put(field, figure);
        }
    };
    put_known("fd_used", process.open_files);
    put_known("fd_total", process.files_max);
    put_known("sockets_used", process.open_sockets);
    let alarms = context.broker.alarms().view();
    object
        .put("mem_used", alarms.memory_used_bytes)
        .put("mem_limit", alarms.memory_limit_bytes)
        .put("mem_alarm", alarms.memory_alarm)
        .put("mem_calculation_strategy", "rss")
        .put("disk_free", alarms.disk_free_bytes)
        .put("disk_free_limit", alarms.disk_limit_bytes)
        .put("disk_free_alarm", alarms.disk_alarm);
    object.finish()
}

/// GET /nodes
pub(in super::super) async fn all(
    State(context): State<Context>,
    _: Access<Monitor>,
    params: Params,
) -> Response {
    Json(json!([node(&context, &query::columns(&params))])).into_response()
}

/// Fails unless a path names this node.
pub(super) fn this_node(context: &Context, name: &str) -> Result<(), ApiError> {
    match name == context.node.name() {
        true => Ok(()),
        false => Err(ApiError::not_found()),
    }
}

/// GET /nodes/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    _: Access<Monitor>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    this_node(&context, &name)?;
    Ok(Json(node(&context, &query::columns(&params))).into_response())
}
