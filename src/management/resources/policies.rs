//! Policies and operator policies.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::Context;
use super::super::access::{Access, Administrator, Level, Management, Policymaker, Within};
use super::super::body::Fields;
use super::super::list::{Item, list};
use super::super::object::{Columns, Object};
use super::super::query::ListQuery;
use super::{gone, put};
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

/// Policies, or operator policies: the paths of both do the same.
pub(in super::super) trait Kind: Send + Sync + 'static {
    const KIND: PolicyKind;
    /// Who may set them.
    type Setter: Level;
}

/// Those of `/policies`.
pub(in super::super) struct OfUsers;
/// Those of `/operator-policies`.
pub(in super::super) struct OfOperators;

impl Kind for OfUsers {
    const KIND: PolicyKind = PolicyKind::User;
    type Setter = Policymaker;
}

impl Kind for OfOperators {
    const KIND: PolicyKind = PolicyKind::Operator;
    type Setter = Administrator;
}

/// GET /policies, /policies/:vhost
pub(in super::super) async fn all<K: Kind>(
    within: Within,
    query: ListQuery,
) -> Result<Response, ApiError> {
    list(items(K::KIND, within.vhosts), query)
}

/// GET /policies/:vhost/:name
pub(in super::super) async fn get<K: Kind>(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let policy = vhost.policy(K::KIND, &name);
    let item = PolicyItem {
        vhost: vhost.name().clone(),
        policy: policy.ok_or_else(ApiError::not_found)?,
    };
    Ok(Json(item.json(&Columns::ALL)).into_response())
}

/// PUT /policies/:vhost/:name
pub(in super::super) async fn set<K: Kind>(
    State(context): State<Context>,
    access: Access<K::Setter>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, _) = access.enter(&context, &vhost)?;
    let is_new = vhost.policy(K::KIND, &name).is_none();
    let spec = spec(name, &body)?;
    let set = vhost.set_policy(K::KIND, &spec, access.user());
    context.durably(set).await?;
    Ok(put(is_new))
}

/// DELETE /policies/:vhost/:name
pub(in super::super) async fn delete<K: Kind>(
    State(context): State<Context>,
    access: Access<K::Setter>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (vhost, _) = access.enter(&context, &vhost)?;
    let deleted = vhost.delete_policy(K::KIND, &Name::from(name), access.user());
    gone(context.durably(deleted).await?)
}
