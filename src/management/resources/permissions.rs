//! What users may do in vhosts, and with which routing keys.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::Context;
use super::super::access::{Access, Administrator};
use super::super::body::Fields;
use super::super::list::{Item, list};
use super::super::object::{Columns, Object};
use super::super::query::{ListQuery, Params};
use super::exchanges::name_of;
use super::{gone, put, users};
use crate::auth::{Account, Directory, Pattern, Permission, TopicPermission};
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::Vhost;

impl Item for Arc<Permission> {
    fn name(&self) -> &str {
        &self.user
    }

    fn order(&self, other: &Self) -> Ordering {
        (&self.user, &self.vhost).cmp(&(&other.user, &other.vhost))
    }

    fn fill(&self, object: &mut Object<'_>) {
        object
            .put("user", self.user.as_str())
            .put("vhost", self.vhost.as_str())
            .put("configure", self.configure.source())
            .put("write", self.write.source())
            .put("read", self.read.source());
    }
}

impl Item for Arc<TopicPermission> {
    fn name(&self) -> &str {
        &self.user
    }

    fn order(&self, other: &Self) -> Ordering {
        let of = |p: &Self| (p.user.clone(), p.vhost.clone(), p.exchange.clone());
        of(self).cmp(&of(other))
    }

    fn fill(&self, object: &mut Object<'_>) {
        object
            .put("user", self.user.as_str())
            .put("vhost", self.vhost.as_str())
            .put("exchange", self.exchange.as_str())
            .put("write", self.write.source())
            .put("read", self.read.source());
    }
}

fn pattern(body: &Fields, field: &str) -> Result<Pattern, ApiError> {
    Pattern::new(body.needed_text(field)?)
        .map_err(|fault| ApiError::bad_request(format!("invalid_regexp {field}: {fault}")))
}

/// Fails unless both are there: RabbitMQ does not say which is not.
fn both(context: &Context, vhost: &str, user: &str) -> Result<(Name, Name), ApiError> {
    let is_user = context.broker.directory().account(user).is_some();
    match context.broker.vhost(vhost).is_some() && is_user {
        true => Ok((Name::from(vhost), Name::from(user))),
        false => Err(ApiError::bad_request("vhost_or_user_not_found")),
    }
}

/// The vhost of a path.
fn existing(context: &Context, name: &str) -> Result<Arc<Vhost>, ApiError> {
    context.broker.vhost(name).ok_or_else(ApiError::not_found)
}

/// Permissions or topic permissions: their lists are made alike.
pub(in super::super) trait Granted: Item + Sized + 'static {
    fn vhost(&self) -> &Name;
    fn in_directory(directory: &Directory) -> Vec<Self>;
    fn of(account: &Account) -> Vec<Self>;
}

impl Granted for Arc<Permission> {
    fn vhost(&self) -> &Name {
        &self.vhost
    }

    fn in_directory(directory: &Directory) -> Vec<Self> {
        directory.permissions().cloned().collect()
    }

    fn of(account: &Account) -> Vec<Self> {
        account.permissions().cloned().collect()
    }
}

impl Granted for Arc<TopicPermission> {
    fn vhost(&self) -> &Name {
        &self.vhost
    }

    fn in_directory(directory: &Directory) -> Vec<Self> {
        directory.topic_permissions().cloned().collect()
    }

    fn of(account: &Account) -> Vec<Self> {
        account.topic_permissions().cloned().collect()
    }
}

/// GET /permissions, /topic-permissions
pub(in super::super) async fn all<P: Granted>(
    State(context): State<Context>,
    _: Access<Administrator>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    list(P::in_directory(&context.broker.directory()), query)
}

/// GET /users/:user/permissions, /users/:user/topic-permissions
pub(in super::super) async fn of_user<P: Granted>(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path(user): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let account = users::find(&context, &user)?;
    list(P::of(&account), query)
}

/// GET /vhosts/:vhost/permissions, /vhosts/:vhost/topic-permissions
pub(in super::super) async fn of_vhost<P: Granted>(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path(vhost): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = existing(&context, &vhost)?;
    let mut found = P::in_directory(&context.broker.directory());
    found.retain(|one| one.vhost() == vhost.name());
    list(found, query)
}

/// GET /permissions/:vhost/:user
pub(in super::super) async fn get(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let directory = context.broker.directory();
    let found = directory.permission(&user, &Name::from(vhost));
    let found = found.ok_or_else(ApiError::not_found)?;
    Ok(Json(found.json(&Columns::ALL)).into_response())
}

/// PUT /permissions/:vhost/:user
pub(in super::super) async fn set(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, user)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, user) = both(&context, &vhost, &user)?;
    body.require(&["configure", "write", "read"])?;
    let directory = context.broker.directory();
    let is_new = directory.permission(&user, &vhost).is_none();
    let permission = Permission {
        user,
        vhost,
        configure: pattern(&body, "configure")?,
        write: pattern(&body, "write")?,
        read: pattern(&body, "read")?,
    };
    let done = context.broker.put_permission(permission, access.user());
    context.durably(done).await?;
    Ok(put(is_new))
}

/// DELETE /permissions/:vhost/:user
pub(in super::super) async fn delete(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let (vhost, user) = (Name::from(vhost), Name::from(user));
    let done = context
        .broker
        .delete_permission(&user, &vhost, access.user());
    gone(context.durably(done).await?)
}

/// GET /topic-permissions/:vhost/:user
pub(in super::super) async fn topics_between(
    State(context): State<Context>,
    _: Access<Administrator>,
    Path((vhost, user)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = existing(&context, &vhost)?;
    let account = users::find(&context, &user)?;
    let all = account.topic_permissions();
    let found = all.filter(|p| p.vhost == *vhost.name());
    list(found.cloned().collect(), query)
}

/// PUT /topic-permissions/:vhost/:user
pub(in super::super) async fn set_topic(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, user)): Path<(String, String)>,
    body: Fields,
) -> Result<StatusCode, ApiError> {
    let (vhost, user) = both(&context, &vhost, &user)?;
    body.require(&["exchange", "write", "read"])?;
    let exchange = name_of(body.needed_text("exchange")?);
    let account = users::find(&context, &user)?;
    let is_new = account.topic_permission(&vhost, &exchange).is_none();
    let sources = [body.needed_text("write")?, body.needed_text("read")?];
    let permission = TopicPermission::new(user, vhost, exchange, sources)
        .map_err(|fault| ApiError::bad_request(format!("invalid_regexp: {fault}")))?;
    let done = context
        .broker
        .put_topic_permission(permission, access.user());
    context.durably(done).await?;
    Ok(put(is_new))
}

/// DELETE /topic-permissions/:vhost/:user, of all exchanges or with `?exchange=` of one
pub(in super::super) async fn delete_topics(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, user)): Path<(String, String)>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let exchange = params.get("exchange").map(name_of);
    delete_topic_permissions(&context, &access, &vhost, &user, exchange).await
}

/// DELETE /topic-permissions/:vhost/:user/:exchange
pub(in super::super) async fn delete_topic(
    State(context): State<Context>,
    access: Access<Administrator>,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let exchange = Some(name_of(&exchange));
    delete_topic_permissions(&context, &access, &vhost, &user, exchange).await
}

async fn delete_topic_permissions(
    context: &Context,
    access: &Access<Administrator>,
    vhost: &str,
    user: &str,
    exchange: Option<Name>,
) -> Result<StatusCode, ApiError> {
    let (vhost, user) = (Name::from(vhost), Name::from(user));
    let exchange = exchange.as_ref();
    let broker = &context.broker;
    let done = broker.delete_topic_permissions(&user, &vhost, exchange, access.user());
    gone(context.durably(done).await?)
}
