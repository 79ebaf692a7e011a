//! The broker as a whole, and who asks.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Administrator, Management, Monitor};
use super::super::body::Fields;
use super::super::object::Object;
use super::super::query::{self, Params};
use super::super::rates::{Course, Windows};
use super::super::version::{RABBITMQ, WARREN};
use super::connections::sees;
use super::figures::{LENGTHS, STATS};
use super::nodes::this_node;
use crate::base::history::History;
use crate::base::reply::ApiError;
use crate::broker::stats::{ObjectTotals, Overview, OverviewSample};
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
    let broker = &context.broker;
    let sum = match access.is::<Monitor>() {
        true => broker.overview(),
        false => seen(&context, &access),
    };
    let course = Course::of(Some(sum.history), Windows::read(&params));
    object
        .put("management_version", RABBITMQ)
        .put("rabbitmq_version", RABBITMQ)
        .put("product_name", "Warren")
        .put("product_version", WARREN)
        .put("cluster_name", broker.parameters().cluster_name())
        // Clients want them; there is no Erlang here.
        .put("erlang_version", "none")
        .put("erlang_full_version", "none")
        .put("rates_mode", "basic")
        .put("disable_stats", false)
        .put("enable_queue_totals", false)
        .put("statistics_db_event_queue", 0)
        .put_with("exchange_types", exchange_types)
        .put(
            "message_stats",
            course.stats(STATS, &sum.now).unwrap_or(json!({})),
        )
        .put(
            "queue_totals",
            Value::Object(course.levels(LENGTHS, &sum.now)),
        )
        .put(
            "object_totals",
            json!({
                "connections": sum.objects.connections,
                "channels": sum.objects.channels,
                "exchanges": sum.objects.exchanges,
                "queues": sum.objects.queues,
                "consumers": sum.objects.consumers,
            }),
        );
    let counters = broker.counters();
    object.put(
        "churn_rates",
        json!({
            "connection_created": counters.connections_opened.get(),
            "connection_closed": counters.connections_closed.get(),
            "channel_created": counters.channels_opened.get(),
            "channel_closed": counters.channels_closed.get(),
            "queue_declared": counters.queues_declared.get(),
            "queue_created": counters.queues_created.get(),
            "queue_deleted": counters.queues_deleted.get(),
        }),
    );
    if access.is::<Monitor>() {
        object
            .put("node", context.node.name())
            .put_with("listeners", || listeners(&context));
    }
    Json(object.finish()).into_response()
}

/// The sum over what a user sees: its vhosts' contents, but only its own connections.
fn seen(context: &Context, access: &Access<Management>) -> Overview {
    let broker = &context.broker;
    let mut sum = Overview {
        now: OverviewSample::default(),
        objects: ObjectTotals::default(),
        history: History::new(&[]),
    };
    for vhost in access.visible(context) {
        let one = broker.vhost_overview(&vhost);
        sum.now.ready += one.now.ready;
        sum.now.unacked += one.now.unacked;
        sum.now.channels += one.now.channels;
        sum.objects.exchanges += one.objects.exchanges;
        sum.objects.queues += one.objects.queues;
        sum.objects.consumers += one.objects.consumers;
    }
    for connection in broker.connections() {
        if sees(access, &connection) {
            sum.objects.connections += 1;
            sum.objects.channels += connection.channels_len();
        }
    }
    sum
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
pub(in super::super) async fn cluster_name(
    State(context): State<Context>,
    _: Access<Management>,
) -> Response {
    let parameters = context.broker.parameters();
    Json(json!({ "name": parameters.cluster_name() })).into_response()
}

/// PUT /cluster-name
pub(in super::super) async fn set_cluster_name(
    State(context): State<Context>,
    access: Access<Administrator>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let name = body.needed_text("name")?;
    let set = context.broker.set_cluster_name(name, access.user());
    context.durably(set).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// DELETE /reset: the courses that rates and charts are drawn from begin anew.
pub(in super::super) async fn reset(
    State(context): State<Context>,
    _: Access<Administrator>,
) -> StatusCode {
    context.broker.forget_statistics();
    StatusCode::NO_CONTENT
}

/// DELETE /reset/:node
pub(in super::super) async fn reset_node(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    this_node(&context, &name)?;
    Ok(reset(State(context), access).await)
}

/// GET /config/effective: the settings in force, without those that are secret.
pub(in super::super) async fn effective_config(
    State(context): State<Context>,
    _: Access<Administrator>,
) -> Response {
    Json(context.config.load().shown()).into_response()
}

/// POST /rebalance/queues: on one node every queue is where it belongs.
pub(in super::super) async fn rebalance(_: Access<Administrator>) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// RabbitMQ's paths for what Warren does not have.
pub(in super::super) async fn absent(_: Access<Management>, uri: axum::http::Uri) -> ApiError {
    ApiError::absent(uri.path())
}

/// GET /feature-flags: those of RabbitMQ 3.10 for what Warren can do. None can be off.
pub(in super::super) async fn feature_flags(_: Access<Administrator>) -> Response {
    let flags = FEATURES.into_iter().map(|(name, about)| {
        json!({
            "name": name,
            "desc": about,
            "doc_url": "",
            "state": "enabled",
            "stability": "required",
            "provided_by": "warren",
        })
    });
    Json(flags.collect::<Vec<_>>()).into_response()
}

const FEATURES: [(&str, &str); 5] = [
    (
        "implicit_default_bindings",
        "Bindings of the default exchange exist by rule",
    ),
    ("quorum_queue", "Support queues of type `quorum`"),
    (
        "user_limits",
        "Limits of connections and channels of a user",
    ),
    ("virtual_host_metadata", "Description and tags of vhosts"),
    (
        "direct_exchange_routing_v2",
        "Direct exchanges find bindings by key",
    ),
];

/// PUT /feature-flags/:name/enable
pub(in super::super) async fn enable_feature(
    _: Access<Administrator>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    match FEATURES.iter().any(|(known, _)| *known == name) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::bad_request("unsupported")),
    }
}

/// GET /deprecated-features and /deprecated-features/used: there are none.
pub(in super::super) async fn deprecated_features(_: Access<Administrator>) -> Response {
    Json(json!([])).into_response()
}

/// GET /auth: no identity provider is set.
pub(in super::super) async fn auth(_: Access<Management>) -> Response {
    Json(json!({ "oauth_enabled": false })).into_response()
}

/// GET /auth/attempts/:node
pub(in super::super) async fn auth_attempts(
    State(context): State<Context>,
    _: Access<Monitor>,
    Path(node): Path<String>,
) -> Result<Response, ApiError> {
    this_node(&context, &node)?;
    let counters = context.broker.counters();
    let (succeeded, failed) = (
        counters.logins_succeeded.get(),
        counters.logins_failed.get(),
    );
    let amqp = json!({
        "protocol": "amqp091",
        "auth_attempts": succeeded + failed,
        "auth_attempts_succeeded": succeeded,
        "auth_attempts_failed": failed,
    });
    Ok(Json(json!([amqp])).into_response())
}
