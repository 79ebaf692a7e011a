//! Warren's own: what is in force in a queue or an exchange and why, and where a message would go.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tracing::info;

use super::super::Context;
use super::super::access::{Access, Management};
use super::super::body::Fields;
use super::super::tables;
use super::exchanges::name_of;
use super::messages::properties;
use super::queues;
use crate::amqp;
use crate::base::reply::ApiError;
use crate::base::{Access as Right, AmqpError, ConnectionId, Resource};
use crate::broker::policies::Explanation;
use crate::codec::RawTable;
use crate::codec::table::Null;
use crate::queue::QueueRef;
use crate::router::{Alternate, CameBy, Destination, ExchangeKind, Passed, Step};

/// GET /warren/queues/:vhost/:name/explain: which settings are in force, and who gives them
pub(in super::super) async fn queue(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let found = vhost.explain_queue(&queues::find(&vhost, &name)?);
    Ok(explanation(found))
}

/// GET /warren/exchanges/:vhost/:name/explain
pub(in super::super) async fn exchange(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let found = vhost.explain_exchange(name.as_bytes());
    found.map(explanation).ok_or_else(ApiError::not_found)
}

fn explanation(found: Explanation) -> Response {
    let settings = found.settings.into_iter().map(|setting| {
        let others = setting.others.into_iter();
        let others = others.map(|(source, value)| json!({ "source": source, "value": value }));
        json!({
            "key": setting.key,
            "value": setting.value,
            "source": setting.source,
            "others": others.collect::<Vec<Value>>(),
            "rule": setting.rule,
        })
    });
    Json(json!({
        "policies": found.policies,
        "operator_policies": found.operator_policies,
        "effective_policy_definition": found.effective_definition,
        "settings": settings.collect::<Vec<Value>>(),
    }))
    .into_response()
}

/// POST /warren/exchanges/:vhost/:name/route: where a message would go, which is not sent
pub(in super::super) async fn route(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let exchange = name_of(&name);
    let key = body.needed_text("routing_key")?.as_bytes();
    let properties = properties::from_json(&body.object("properties")?)?;
    let actor = context.broker.actor(access.login.clone(), vhost.name());
    let mut extra_keys = Vec::new();
    let message = amqp::compose(
        exchange.as_bytes(),
        key,
        properties,
        Bytes::new(),
        &actor,
        &mut extra_keys,
    )?;
    let found = vhost.explain_route(&message, &extra_keys);
    let found = found.ok_or_else(|| AmqpError::no_exchange(&exchange, vhost.name()))?;
    let keys: Vec<String> = std::iter::once(key)
        .chain(extra_keys.iter().map(Bytes::as_ref))
        .map(tables::text)
        .collect();
    let steps = found.steps.iter();
    let steps: Vec<Value> = steps.map(|(kind, one)| step(*kind, one, &keys)).collect();
    let queues: Vec<&str> = found.queues.iter().map(|name| name.as_str()).collect();
    Ok(Json(json!({ "queues": queues, "keys": keys, "steps": steps })).into_response())
}

fn step(kind: ExchangeKind, step: &Step<QueueRef>, keys: &[String]) -> Value {
    let passed = step.passed.iter();
    json!({
        "exchange": step.exchange.as_str(),
        "type": kind.name(),
        "came_by": match step.came_by {
            CameBy::Publish => "publish",
            CameBy::Binding => "binding",
            CameBy::Alternate => "alternate exchange",
        },
        "bindings": step.bindings,
        "passed": passed.map(|passed| binding(passed, keys)).collect::<Vec<Value>>(),
        "held_back": step.held_back,
        "by_chance": step.by_chance,
        "alternate_exchange": step.alternate.as_ref().map(|(name, becomes)| json!({
            "name": name.as_str(),
            "is": match becomes {
                Alternate::NotNeeded => "not needed",
                Alternate::Taken => "taken",
                Alternate::Missing => "missing",
            },
        })),
    })
}

fn binding(passed: &Passed<QueueRef>, keys: &[String]) -> Value {
    let binding = &passed.binding;
    let (kind, name) = match &binding.destination {
        Destination::Queue(queue) => ("queue", queue.name.as_str()),
        Destination::Exchange(name) => ("exchange", name.as_str()),
    };
    let matched = passed.keys.iter().filter_map(|&number| keys.get(number));
    json!({
        "destination": name,
        "destination_type": kind,
        "routing_key": tables::text(&binding.key),
        "arguments": tables::stored_to_json(binding.arguments.encoded()),
        "keys": matched.collect::<Vec<_>>(),
    })
}

/// PUT /warren/queues/:vhost/:name/arguments/:argument: changes one without declaring the queue again
pub(in super::super) async fn set_argument(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name, argument)): Path<(String, String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    body.require(&["value"])?;
    let value = body.get("value").cloned().unwrap_or_default();
    let fields = Map::from_iter([(argument.clone(), value)]);
    let table = RawTable::from_json(&fields, Null::Refused)?;
    change(&context, &access, (&vhost, &name, &argument), &table).await
}

/// DELETE /warren/queues/:vhost/:name/arguments/:argument
pub(in super::super) async fn clear_argument(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name, argument)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let nothing = RawTable::default();
    change(&context, &access, (&vhost, &name, &argument), &nothing).await
}

/// Sets an argument to what `table` holds of it, or takes it away.
async fn change(
    context: &Context,
    access: &Access<Management>,
    (vhost, name, argument): (&str, &str, &str),
    table: &RawTable,
) -> Result<StatusCode, ApiError> {
    let (vhost, actor) = access.enter(context, vhost)?;
    let queue = queues::find(&vhost, name)?;
    actor.may(Right::Configure, Resource::queue(&queue.name, vhost.name()))?;
    vhost.not_locked(&queue, ConnectionId::NONE)?;
    info!(
        target: "audit", by = %access.user(), vhost = %vhost.name(), queue = name, argument,
        "argument of a queue changed"
    );
    let set = vhost.set_queue_argument(&queue, argument, table.get(argument));
    context.durably(set).await?;
    Ok(StatusCode::NO_CONTENT)
}
