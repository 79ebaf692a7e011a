//! Policies and operator policies.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::Context;
use super::super::access::{Access, Administrator, Level, Management, Policymaker};
use super::super::body::Fields;
use super::super::list::{Item, list};
use super::super::object::{Columns, Object};
use super::super::query::ListQuery;
use super::put;
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::Vhost;
use crate::broker::policies::{Policy, PolicyKind, PolicySpec};

struct PolicyItem {
    vhost: Name,
    policy: Arc<Policy>,
}

impl Item for PolicyItem {
    fn name(&self) -> &str {
        self.policy.name()
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_vhost = self.vhost.cmp(&other.vhost);
        by_vhost.then_with(|| self.policy.name().cmp(other.policy.name()))
    }

    fn fill(&self, object: &mut Object<'_>) {
        let policy = &self.policy;
        object
            .put("vhost", self.vhost.as_str())
            .put("name", policy.name().as_str())
            .put("pattern", policy.pattern())
            .put("apply-to", policy.apply_to().name())
            .put("priority", policy.priority())
            .put_with("definition", || policy.definition().clone().into());
    }
}

fn items(kind: PolicyKind, vhosts: Vec<Arc<Vhost>>) -> Vec<PolicyItem> {
    let of_vhost = |vhost: Arc<Vhost>| {
        let policies = vhost.policies(kind).into_iter();
        policies.map(move |policy| PolicyItem {
            vhost: vhost.name().clone(),
            policy,
        })
    };
    vhosts.into_iter().flat_map(of_vhost).collect()
}

fn one(context: &Context, kind: PolicyKind, vhost: &str, name: &str) -> Result<Response, ApiError> {
    let vhost = context
        .broker
        .vhost(vhost)
        .ok_or_else(ApiError::not_found)?;
    let policy = vhost.policy(kind, name).ok_or_else(ApiError::not_found)?;
    let item = PolicyItem {
        vhost: vhost.name().clone(),
        policy,
    };
    Ok(Json(item.json(&Columns::ALL)).into_response())
}

/// A policy from a request.
fn spec(name: String, body: &Fields) -> Result<PolicySpec, ApiError> {
    body.require(&["pattern", "definition"])?;
    Ok(PolicySpec {
        name: Name::from(name),
        pattern: body.needed_text("pattern")?.to_owned(),
        definition: body.get("definition").cloned().unwrap_or_default(),
        priority: body.integer("priority")?.unwrap_or(0),
        apply_to: body.text("apply-to")?.unwrap_or("all").to_owned(),
    })
}

async fn set_one<L: Level>(
    context: Context,
    access: Access<L>,
    kind: PolicyKind,
    (vhost, name): (String, String),
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, _) = access.enter(&context, &vhost)?;
    let is_new = vhost.policy(kind, &name).is_none();
    let spec = spec(name, &body)?;
    context.durably(vhost.set_policy(kind, &spec)).await?;
    Ok(put(is_new))
}

async fn delete_one<L: Level>(
    context: Context,
    access: Access<L>,
    kind: PolicyKind,
    (vhost, name): (String, String),
) -> Result<StatusCode, ApiError> {
    let (vhost, _) = access.enter(&context, &vhost)?;
    let deleted = vhost.delete_policy(kind, &Name::from(name));
    match context.durably(deleted).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::not_found()),
    }
}

/// GET /policies
pub(in super::super) async fn all(
    State(context): State<Context>,
    access: Access<Management>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    list(items(PolicyKind::User, access.visible(&context)), query)
}

/// GET /policies/:vhost
pub(in super::super) async fn of_vhost(
    State(context): State<Context>,
    access: Access<Management>,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = vec![access.look(&context, &vhost)?];
    list(items(PolicyKind::User, vhosts), query)
}

/// GET /policies/:vhost/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    access.look(&context, &vhost)?;
    one(&context, PolicyKind::User, &vhost, &name)
}

/// PUT /policies/:vhost/:name
pub(in super::super) async fn set(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path(path): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    set_one(context, access, PolicyKind::User, path, body).await
}

/// DELETE /policies/:vhost/:name
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path(path): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    delete_one(context, access, PolicyKind::User, path).await
}

/// GET /operator-policies
pub(in super::super) async fn operator_all(
    State(context): State<Context>,
    access: Access<Management>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    list(items(PolicyKind::Operator, access.visible(&context)), query)
}

/// GET /operator-policies/:vhost
pub(in super::super) async fn operator_of_vhost(
    State(context): State<Context>,
    access: Access<Management>,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhosts = vec![access.look(&context, &vhost)?];
    list(items(PolicyKind::Operator, vhosts), query)
}

/// GET /operator-policies/:vhost/:name
pub(in super::super) async fn operator_get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    access.look(&context, &vhost)?;
    one(&context, PolicyKind::Operator, &vhost, &name)
}

/// PUT /operator-policies/:vhost/:name
pub(in super::super) async fn operator_set(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(path): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    set_one(context, access, PolicyKind::Operator, path, body).await
}

/// DELETE /operator-policies/:vhost/:name
pub(in super::super) async fn operator_delete(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(path): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    delete_one(context, access, PolicyKind::Operator, path).await
}
