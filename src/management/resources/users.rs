//! Users. A password comes in as itself or as a hash; only the hash goes out.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Administrator};
use super::super::body::Fields;
use super::super::list::{Item, list, one};
use super::super::object::Object;
use super::super::query::{ListQuery, Params};
use super::{gone, limits, put};
use crate::auth::{Account, HashingAlgorithm, PasswordHash, User};
use crate::base::Name;
use crate::base::reply::ApiError;

struct UserItem(Arc<Account>);

impl Item for UserItem {
    fn name(&self) -> &str {
        &self.0.user.name
    }

    fn order(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }

    fn fill(&self, object: &mut Object<'_>) {
        let User { password, tags, .. } = &self.0.user;
        let tags: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
        let algorithm = password.as_ref().map(PasswordHash::algorithm);
        object
            .put("name", self.name())
            .put_with("password_hash", || {
                let hash = password.as_ref().map(PasswordHash::text);
                hash.unwrap_or_default().into()
            })
            .put(
                "hashing_algorithm",
                algorithm.unwrap_or(HashingAlgorithm::Sha256).name(),
            )
            .put("tags", tags)
            .put_with("limits", || limits::to_json(&self.0.limits));
    }
}

/// GET /users
pub(in super::super) async fn all(
    State(context): State<Context>,
    _: Access<Administrator>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let directory = context.broker.directory();
    list(directory.accounts().cloned().map(UserItem).collect(), query)
}

/// GET /users/without-permissions
pub(in super::super) async fn without_permissions(
    State(context): State<Context>,
    _: Access<Administrator>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let directory = context.broker.directory();
    let without = |account: &&Arc<Account>| account.permissions().next().is_none();
    let found = directory.accounts().filter(without);
    list(found.cloned().map(UserItem).collect(), query)
}

pub(super) fn find(context: &Context, name: &str) -> Result<Arc<Account>, ApiError> {
    let directory = context.broker.directory();
    directory
        .account(name)
        .cloned()
        .ok_or_else(ApiError::not_found)
}

/// GET /users/:user
pub(in super::super) async fn get(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let item = UserItem(find(&context, &name)?);
    Ok(one(&item, &params))
}

/// PUT /users/:user
pub(in super::super) async fn set(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let user = User {
        name: Name::from(name),
        tags: tags(&body)?,
        password: password(&body).await?,
    };
    let done = context.broker.put_user(user, access.user());
    Ok(put(context.durably(done).await?))
}

/// A list, or with commas between them a text, as it was before lists were.
pub(super) fn tags(body: &Fields) -> Result<Vec<Name>, ApiError> {
    let names = match body.get("tags") {
        None => return Err(ApiError::bad_request("tags_not_present")),
        Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| ApiError::wrong_type("tags", "list of strings"))?,
        Some(_) => return Err(ApiError::wrong_type("tags", "list of strings")),
    };
    let named = names.iter().map(|name| name.trim());
    Ok(named.filter(|n| !n.is_empty()).map(Name::from).collect())
}

/// The hash of the password sent. Without one, and with an empty one, nobody can log in by password.
async fn password(body: &Fields) -> Result<Option<PasswordHash>, ApiError> {
    let (plain, hash) = (body.text("password")?, body.text("password_hash")?);
    let hash = match (plain, hash) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "both_password_and_password_hash_are_provided",
            ));
        }
        (None, Some("")) | (Some(""), None) | (None, None) => return Ok(None),
        (None, Some(hash)) => PasswordHash::import(body.text("hashing_algorithm")?, hash),
        (Some(plain), None) => hashed(plain, None).await?,
    };
    hash.map(Some)
        .map_err(|fault| ApiError::bad_request(fault.to_string()))
}

type Hashed = Result<PasswordHash, crate::auth::HashError>;

/// Hashes off the runtime's workers, as it is slow.
async fn hashed(plain: &str, algorithm: Option<HashingAlgorithm>) -> Result<Hashed, ApiError> {
    let plain = plain.to_owned();
    let hash = move || match algorithm {
        None => PasswordHash::new(plain.as_bytes()),
        Some(algorithm) => PasswordHash::salted(algorithm, plain.as_bytes()),
    };
    tokio::task::spawn_blocking(hash)
        .await
        .map_err(|e| ApiError::bad_request(e.to_string()))
}

/// DELETE /users/:user
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let done = context.broker.delete_user(&Name::from(name), access.user());
    gone(context.durably(done).await?)
}

/// POST /users/bulk-delete
pub(in super::super) async fn delete_all(
    State(context): State<Context>,
    access: Access<Administrator>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    body.require(&["users"])?;
    let names = match body.get("users") {
        Some(Value::Array(names)) => names,
        _ => return Err(ApiError::wrong_type("users", "list of strings")),
    };
    for name in names.iter().filter_map(Value::as_str) {
        let done = context.broker.delete_user(&Name::from(name), access.user());
        context.durably(done).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// GET /auth/hash_password/:password: RabbitMQ's default hash, for definitions.
pub(in super::super) async fn hash_password(
    _: Access<Administrator>,
    Path(plain): Path<String>,
) -> Result<Response, ApiError> {
    let hash = hashed(&plain, Some(HashingAlgorithm::Sha256)).await?;
    let hash = hash.map_err(|fault| ApiError::bad_request(fault.to_string()))?;
    Ok(Json(json!({ "ok": hash.text() })).into_response())
}
