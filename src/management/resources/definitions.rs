//! Definitions: all that is declared, out and in.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::Context;
use super::super::access::{Access, Administrator};
use super::super::body::octets;
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::definitions::Scope;

fn export(context: &Context, scope: &Scope) -> Response {
    Json(context.broker.export_definitions(scope)).into_response()
}

/// The whole file is read and checked, and much may be declared: not on a worker.
async fn import(
    context: Context,
    by: &Name,
    scope: Scope,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let json = octets(body).await?;
    let (broker, by) = (context.broker.clone(), by.clone());
    let import = move || broker.import_definitions(&json, &scope, &by, &mut |_| ());
    let done = tokio::task::spawn_blocking(import).await;
    let done = done.map_err(|_| ApiError::from(crate::base::AmqpError::internal()))?;
    context.durably(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GET /definitions
pub(in super::super) async fn get(
    State(context): State<Context>,
    _: Access<Administrator>,
) -> Response {
    export(&context, &Scope::Broker)
}

/// POST /definitions
pub(in super::super) async fn put(
    State(context): State<Context>,
    access: Access<Administrator>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    import(context, access.user(), Scope::Broker, body).await
}

/// GET /definitions/:vhost
pub(in super::super) async fn get_vhost(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(vhost): Path<String>,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    Ok(export(&context, &Scope::Vhost(vhost.name().clone())))
}

/// POST /definitions/:vhost
pub(in super::super) async fn put_vhost(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(vhost): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let scope = Scope::Vhost(vhost.name().clone());
    import(context, access.user(), scope, body).await
}
