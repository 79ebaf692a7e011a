//! Runtime parameters and global ones.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Policymaker};
use super::super::body::Fields;
use super::{gone, put};
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::parameters::ParameterKey;

fn to_json(at: &ParameterKey, value: &Value) -> Value {
    json!({
        "vhost": at.vhost.as_str(), "component": at.component, "name": at.name.as_str(),
        "value": value,
    })
}

fn global_to_json(name: &Name, value: &Value) -> Value {
    json!({ "name": name.as_str(), "value": value })
}

fn value(body: &Fields) -> Result<Value, ApiError> {
    body.require(&["value"])?;
    Ok(body.get("value").cloned().unwrap_or_default())
}

fn at(component: String, vhost: &Name, name: String) -> ParameterKey {
    ParameterKey {
        vhost: vhost.clone(),
        component,
        name: Name::from(name),
    }
}

/// Those that the user sees and that are `wanted`.
fn list(
    context: &Context,
    access: &Access<Policymaker>,
    wanted: impl Fn(&ParameterKey) -> bool,
) -> Response {
    let visible = access.visible(context);
    let sees = |at: &ParameterKey| visible.iter().any(|vhost| *vhost.name() == at.vhost);
    let parameters = context.broker.parameters();
    let found = parameters.local().filter(|(at, _)| sees(at) && wanted(at));
    let found: Vec<Value> = found.map(|(at, value)| to_json(at, value)).collect();
    Json(found).into_response()
}

/// GET /parameters
pub(in super::super) async fn all(
    State(context): State<Context>,
    access: Access<Policymaker>,
) -> Response {
    list(&context, &access, |_| true)
}

/// GET /parameters/:component
pub(in super::super) async fn of_component(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path(component): Path<String>,
) -> Response {
    list(&context, &access, |at| at.component == component)
}

/// GET /parameters/:component/:vhost
pub(in super::super) async fn of_vhost(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path((component, vhost)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let wanted = |at: &ParameterKey| at.component == component && at.vhost == *vhost.name();
    Ok(list(&context, &access, wanted))
}

/// GET /parameters/:component/:vhost/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let at = at(component, vhost.name(), name);
    let parameters = context.broker.parameters();
    let value = parameters.get(&at).ok_or_else(ApiError::not_found)?;
    Ok(Json(to_json(&at, value)).into_response())
}

/// PUT /parameters/:component/:vhost/:name
pub(in super::super) async fn set(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path((component, vhost, name)): Path<(String, String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, _) = access.enter(&context, &vhost)?;
    let at = at(component, vhost.name(), name);
    let is_new = context.broker.parameters().get(&at).is_none();
    let set = context
        .broker
        .set_parameter(at, value(&body)?, access.user());
    context.durably(set).await?;
    Ok(put(is_new))
}

/// DELETE /parameters/:component/:vhost/:name
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path((component, vhost, name)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let (vhost, _) = access.enter(&context, &vhost)?;
    let at = at(component, vhost.name(), name);
    let cleared = context.broker.clear_parameter(&at, access.user());
    gone(context.durably(cleared).await?)
}

/// GET /global-parameters
pub(in super::super) async fn all_global(
    State(context): State<Context>,
    _: Access<Policymaker>,
) -> Response {
    let parameters = context.broker.parameters();
    let all = parameters.global();
    let all: Vec<Value> = all
        .map(|(name, value)| global_to_json(name, value))
        .collect();
    Json(all).into_response()
}

/// GET /global-parameters/:name
pub(in super::super) async fn get_global(
    State(context): State<Context>,
    _: Access<Policymaker>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let name = Name::from(name);
    let parameters = context.broker.parameters();
    let value = parameters
        .get_global(&name)
        .ok_or_else(ApiError::not_found)?;
    Ok(Json(global_to_json(&name, value)).into_response())
}

/// PUT /global-parameters/:name
pub(in super::super) async fn set_global(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path(name): Path<String>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (name, value) = (Name::from(name), value(&body)?);
    let set = context
        .broker
        .set_global_parameter(&name, Some(value), access.user());
    let was_there = context.durably(set).await?;
    Ok(put(!was_there))
}

/// DELETE /global-parameters/:name
pub(in super::super) async fn delete_global(
    State(context): State<Context>,
    access: Access<Policymaker>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let cleared = context
        .broker
        .set_global_parameter(&Name::from(name), None, access.user());
    gone(context.durably(cleared).await?)
}
