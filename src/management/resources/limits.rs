//! Limits of vhosts and of users.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Administrator, Management};
use super::super::body::Fields;
use super::users;
use crate::auth::{Limit, Limits};
use crate::base::Name;
use crate::base::reply::ApiError;

/// `{"max-queues": 5}`
pub(super) fn to_json(limits: &Limits) -> Value {
    let fields = limits.iter();
    fields
        .map(|(limit, most)| (limit.name().to_owned(), Value::from(most)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The limit of a name, and what it is to be.
fn read(name: &str, among: &[Limit], body: &Fields) -> Result<(Limit, i64), ApiError> {
    let value = body.integer("value")?;
    let value = value.ok_or_else(|| ApiError::keys_missing(&["value"]))?;
    Ok((find(name, among)?, value))
}

fn find(name: &str, among: &[Limit]) -> Result<Limit, ApiError> {
    Limit::from_name(name, among).ok_or_else(|| ApiError::unknown_value("limit", name))
}

/// One entry of a list, none if nothing is limited.
fn entry(kind: &str, name: &Name, limits: &Limits) -> Option<Value> {
    let set = !limits.is_empty();
    set.then(|| json!({ kind: name.as_str(), "value": to_json(limits) }))
}

/// GET /vhost-limits
pub(in super::super) async fn of_vhosts(
    State(context): State<Context>,
    access: Access<Management>,
) -> Response {
    let vhosts = access.visible(&context).into_iter();
    let entries = vhosts.filter_map(|vhost| entry("vhost", vhost.name(), &vhost.limits()));
    Json(entries.collect::<Vec<_>>()).into_response()
}

/// GET /vhost-limits/:vhost
pub(in super::super) async fn of_vhost(
    State(context): State<Context>,
    access: Access<Management>,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let entry = entry("vhost", vhost.name(), &vhost.limits());
    Ok(Json(Vec::from_iter(entry)).into_response())
}

/// PUT /vhost-limits/:vhost/:limit
pub(in super::super) async fn set_of_vhost(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let vhost = context
        .broker
        .vhost(&vhost)
        .ok_or_else(ApiError::no_vhost)?;
    let (limit, value) = read(&name, Limit::OF_VHOST, &body)?;
    let mut limits = Limits::clone(&vhost.limits());
    limits.set(limit, value);
    let done = context
        .broker
        .put_vhost_limits(vhost.name(), limits, access.user());
    context.durably(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// DELETE /vhost-limits/:vhost/:limit
pub(in super::super) async fn clear_of_vhost(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let vhost = context
        .broker
        .vhost(&vhost)
        .ok_or_else(ApiError::not_found)?;
    let mut limits = Limits::clone(&vhost.limits());
    limits.clear(find(&name, Limit::OF_VHOST)?);
    let done = context
        .broker
        .put_vhost_limits(vhost.name(), limits, access.user());
    context.durably(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GET /user-limits
pub(in super::super) async fn of_users(
    State(context): State<Context>,
    access: Access<Management>,
) -> Response {
    let directory = context.broker.directory();
    let own_only = !access.is::<Administrator>();
    let accounts = directory.accounts();
    let seen = accounts.filter(|a| !own_only || a.user.name == *access.user());
    let entries = seen.filter_map(|account| entry("user", &account.user.name, &account.limits));
    Json(entries.collect::<Vec<_>>()).into_response()
}

/// GET /user-limits/:user
pub(in super::super) async fn of_user(
    State(context): State<Context>,
    access: Access<Management>,
    Path(user): Path<String>,
) -> Result<Response, ApiError> {
    if !access.is::<Administrator>() && access.user().as_str() != user {
        return Err(ApiError::not_object_user());
    }
    let account = users::find(&context, &user)?;
    let entry = entry("user", &account.user.name, &account.limits);
    Ok(Json(Vec::from_iter(entry)).into_response())
}

/// PUT /user-limits/:user/:limit
pub(in super::super) async fn set_of_user(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((user, name)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let account = context.broker.directory().account(&user).cloned();
    let account = account.ok_or_else(|| ApiError::unknown_value("user", &user))?;
    let (limit, value) = read(&name, Limit::OF_USER, &body)?;
    let mut limits = account.limits.clone();
    limits.set(limit, value);
    let done = context
        .broker
        .put_user_limits(&account.user.name, limits, access.user());
    context.durably(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// DELETE /user-limits/:user/:limit
pub(in super::super) async fn clear_of_user(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((user, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let account = users::find(&context, &user)?;
    let mut limits = account.limits.clone();
    limits.clear(find(&name, Limit::OF_USER)?);
    let done = context
        .broker
        .put_user_limits(&account.user.name, limits, access.user());
    context.durably(done).await?;
    Ok(StatusCode::NO_CONTENT)
}
