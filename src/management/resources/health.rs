//! Health checks: 200 if all is well, 503 with what is not.

mod certificates;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Management};
use super::nodes::this_node;
use crate::base::reply::ApiError;
pub(in super::super) use certificates::certificate_expiration;

/// A check's answer; `more` are its own fields.
fn answer(failed: Option<&str>, mut more: Value) -> Response {
    let Some(fields) = more.as_object_mut() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (status, word) = match failed {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
    };
    fields.insert("status".to_owned(), word.into());
    if let Some(reason) = failed {
        fields.insert("reason".to_owned(), reason.into());
    }
    (status, Json(more)).into_response()
}

/// GET /health/checks/port-listener/:port
pub(in super::super) async fn port_listener(
    State(context): State<Context>,
    _: Access<Management>,
    Path(port): Path<String>,
) -> Result<Response, ApiError> {
    let port: u16 = port
        .parse()
        .map_err(|_| ApiError::wrong_type("port", "int"))?;
    let listening = context.node.listening.iter();
    let ports: Vec<u16> = listening.map(|at| at.address.port()).collect();
    Ok(match ports.contains(&port) {
        true => answer(None, json!({ "port": port })),
        false => answer(
            Some("No active listener"),
            json!({ "missing": port, "ports": ports }),
        ),
    })
}

/// GET /health/checks/protocol-listener/:protocols
pub(in super::super) async fn protocol_listener(
    State(context): State<Context>,
    _: Access<Management>,
    Path(protocol): Path<String>,
) -> Response {
    let listening = context.node.listening.iter();
    let protocols: Vec<&str> = listening.map(|at| at.protocol).collect();
    // One of several, with commas between them, will do.
    let mut asked = protocol.split(',').map(canonical);
    match asked.any(|one| protocols.contains(&one)) {
        true => answer(None, json!({ "protocol": protocol })),
        false => answer(
            Some("No active listener"),
            json!({ "missing": protocol, "protocols": protocols }),
        ),
    }
}

/// RabbitMQ's name of a protocol that goes by several.
fn canonical(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp" => "amqp",
        "amqp091s" | "amqps" | "amqp/ssl" | "tls" => "amqp/ssl",
        "http" | "https" => name,
        "prometheus" => "http/prometheus",
        other => other,
    }
}

/// GET /health/checks/alarms and /local-alarms, which are the same on one node.
pub(in super::super) async fn alarms(
    State(context): State<Context>,
    _: Access<Management>,
) -> Response {
    let view = context.broker.alarms().view();
    let raised = [("memory", view.memory_alarm), ("disk", view.disk_alarm)];
    let raised = raised.into_iter().filter(|(_, is)| *is);
    let alarms: Vec<Value> = raised
        .map(|(resource, _)| json!({ "node": context.node.name(), "resource": resource }))
        .collect();
    match alarms.is_empty() {
        true => answer(None, json!({})),
        false => answer(
            Some("There are alarms in effect in the cluster"),
            json!({ "alarms": alarms }),
        ),
    }
}

/// GET /health/checks/virtual-hosts: a vhost that is there serves.
pub(in super::super) async fn virtual_hosts(_: Access<Management>) -> Response {
    answer(None, json!({}))
}

/// GET /health/checks/node-is-quorum-critical, and the like that only a cluster can fail.
pub(in super::super) async fn single_node(_: Access<Management>) -> Response {
    answer(None, json!({ "reason": "single node cluster" }))
}

/// GET /health/checks/is-in-service, /ready-to-serve-clients and the like: fails once the log has.
pub(in super::super) async fn in_service(
    State(context): State<Context>,
    _: Access<Management>,
) -> Response {
    match context.broker.log().failure() {
        None => answer(None, json!({})),
        Some(fault) => answer(Some(&format!("the log has failed: {fault}")), json!({})),
    }
}

/// GET /healthchecks/node/:node, the deprecated check of all at once.
pub(in super::super) async fn node(
    State(context): State<Context>,
    access: Access<Management>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    this_node(&context, &name)?;
    Ok(in_service(State(context), access).await)
}
