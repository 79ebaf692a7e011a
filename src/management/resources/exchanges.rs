//! Exchanges.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::super::Context;
use super::super::access::{Access, Management, Within};
use super::super::body::Fields;
use super::super::list::{Item, list, one};
use super::super::object::Object;
use super::super::query::{ListQuery, Params};
use super::super::rates::{Course, Windows};
use super::super::tables;
use super::figures::EXCHANGE_STATS;
use super::put;
use crate::base::reply::ApiError;
use crate::base::{Access as Right, Name, Resource};
use crate::broker::{ExchangeDeclaration, Vhost};
use crate::queue::QueueRef;
use crate::router::{Exchange, ExchangeKind};

/// What paths call the exchange without a name.
const DEFAULT: &str = "amq.default";

/// The exchange that a part of a path names.
pub(super) fn name_of(part: &str) -> Name {
    match part {
        DEFAULT => Name::default(),
        name => Name::from(name),
    }
}

/// An exchange of a vhost; without one it is the default exchange.
struct ExchangeItem {
    vhost: Arc<Vhost>,
    exchange: Option<Arc<Exchange<QueueRef>>>,
    windows: Windows,
}

impl Item for ExchangeItem {
    fn name(&self) -> &str {
        self.exchange.as_ref().map_or("", |e| &e.spec().name)
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_vhost = self.vhost.name().cmp(other.vhost.name());
        by_vhost.then_with(|| self.name().cmp(other.name()))
    }

    fn fill(&self, object: &mut Object<'_>) {
        let spec = self.exchange.as_ref().map(|exchange| exchange.spec());
        object
            .put("name", self.name())
            .put("vhost", self.vhost.name().as_str())
            .put("type", spec.map_or(ExchangeKind::Direct, |s| s.kind).name())
            .put("durable", spec.is_none_or(|s| s.durable))
            .put("auto_delete", spec.is_some_and(|s| s.auto_delete))
            .put("internal", spec.is_some_and(|s| s.internal))
            .put_with("arguments", || {
                spec.map_or(json!({}), |s| tables::stored_to_json(&s.arguments))
            });
        if object.wants_any(&["message_stats"]) {
            let stats = self.vhost.exchange_stats(&Name::from(self.name()));
            let course = Course::of(stats.history(), self.windows);
            course.put_stats(object, EXCHANGE_STATS, &stats.counts());
        }
    }
}

fn items(vhosts: Vec<Arc<Vhost>>, windows: Windows) -> Vec<ExchangeItem> {
    let mut items = Vec::new();
    for vhost in vhosts {
        let topology = vhost.topology();
        let named = topology.graph.exchanges().cloned().map(Some);
        items.extend(
            std::iter::once(None)
                .chain(named)
                .map(|exchange| ExchangeItem {
                    vhost: Arc::clone(&vhost),
                    exchange,
                    windows,
                }),
        );
    }
    items
}

/// GET /exchanges, /exchanges/:vhost
pub(in super::super) async fn all(within: Within, query: ListQuery) -> Result<Response, ApiError> {
    let windows = query.windows;
    list(items(within.vhosts, windows), query)
}

/// GET /exchanges/:vhost/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    params: Params,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let name = name_of(&name);
    let exchange = match name.is_empty() {
        true => None,
        false => Some(find(&vhost, &name)?),
    };
    let windows = Windows::read(&params);
    let item = ExchangeItem {
        vhost,
        exchange,
        windows,
    };
    Ok(one(&item, &params))
}

fn find(vhost: &Vhost, name: &Name) -> Result<Arc<Exchange<QueueRef>>, ApiError> {
    let topology = vhost.topology();
    let found = topology.graph.get(name.as_bytes());
    found.cloned().ok_or_else(ApiError::not_found)
}

/// PUT /exchanges/:vhost/:name
pub(in super::super) async fn declare(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let name = name_of(&name);
    let wanted = ExchangeDeclaration {
        kind: body.text("type")?.unwrap_or("direct").to_owned(),
        durable: body.boolean("durable", true)?,
        auto_delete: body.boolean("auto_delete", false)?,
        internal: body.boolean("internal", false)?,
        arguments: body.arguments()?,
        name,
    };
    let is_new = find(&vhost, &wanted.name).is_err();
    context
        .durably(vhost.declare_exchange_as(&actor, &wanted))
        .await?;
    Ok(put(is_new))
}

/// DELETE /exchanges/:vhost/:name
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let name = name_of(&name);
    if !name.is_empty() {
        find(&vhost, &name)?;
    }
    actor.may(Right::Configure, Resource::exchange(&name, vhost.name()))?;
    let deleted = vhost.delete_exchange(&name, params.flag("if-unused"), access.user());
    context.durably(deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}
