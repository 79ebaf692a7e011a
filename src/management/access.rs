//! Who asks, and what they may see.
//!
//! Owns reading credentials from a request and the meaning of the tags (A10): a handler takes an
//! [`Access`] of the level it needs, so that none can forget to ask.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Context;
use crate::auth::{Actor, Credentials, Login, Proof};
use crate::base::Name;
use crate::base::reply::ApiError;
use crate::broker::Vhost;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A set of tags of which a user must have one.
pub(super) trait Level: Send + Sync + 'static {
    /// What a refusal says they are not.
    const NAME: &'static str;
    /// The tags.
    const TAGS: &'static [&'static str];

    /// What a user of another level is told.
    fn refusal() -> ApiError {
        ApiError::not_tagged(Self::NAME)
    }
}

/// Anybody who may use the API at all.
pub(super) struct Management;
/// Who sees what concerns all users and the node.
pub(super) struct Monitor;
/// Who may set policies.
pub(super) struct Policymaker;
/// Who may do all.
pub(super) struct Administrator;

impl Level for Management {
    const NAME: &'static str = "management";
    const TAGS: &'static [&'static str] =
        &["administrator", "monitoring", "policymaker", "management"];
}

impl Level for Monitor {
    const NAME: &'static str = "monitor";
    const TAGS: &'static [&'static str] = &["administrator", "monitoring"];
}

impl Level for Policymaker {
    const NAME: &'static str = "policymaker";
    const TAGS: &'static [&'static str] = &["administrator", "policymaker"];

    fn refusal() -> ApiError {
        ApiError::not_object_user()
    }
}

impl Level for Administrator {
    const NAME: &'static str = "administrator";
    const TAGS: &'static [&'static str] = &["administrator"];
}

/// Whether a user's tags make it one of a level.
pub(super) fn is<L: Level>(login: &Login) -> bool {
    login.tags.iter().any(|tag| L::TAGS.contains(&tag.as_str()))
}

/// Proof that a user of a level asks.
pub(super) struct Access<L> {
    pub(super) login: Arc<Login>,
    level: PhantomData<L>,
}

impl<L: Level> Access<L> {
    pub(super) fn user(&self) -> &Name {
        &self.login.user
    }

    /// Whether the user is one of another level, too.
    pub(super) fn is<Other: Level>(&self) -> bool {
        is::<Other>(&self.login)
    }

    /// The vhosts whose contents the user sees: all, or those it has permissions in. By name.
    pub(super) fn visible(&self, context: &Context) -> Vec<Arc<Vhost>> {
        let mut vhosts = context.broker.vhosts();
        if !self.is::<Monitor>() {
            vhosts.retain(|vhost| self.at_work(context, vhost).may_enter().is_ok());
        }
        vhosts
    }

    /// A vhost to look into.
    ///
    /// # Errors
    /// 404 if there is none, 401 if the user does not see it.
    pub(super) fn look(&self, context: &Context, name: &str) -> Result<Arc<Vhost>, ApiError> {
        let found = context.broker.vhost(name).ok_or_else(ApiError::not_found)?;
        match self.is::<Monitor>() {
            true => Ok(found),
            false => self.permitted(context, found),
        }
    }

    /// A vhost to change something in, and the user at work there, to be asked what it may.
    ///
    /// # Errors
    /// 404 if there is none, 401 if the user has no permissions in it.
    pub(super) fn enter(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<(Arc<Vhost>, Actor), ApiError> {
        let found = context.broker.vhost(name).ok_or_else(ApiError::no_vhost)?;
        let vhost = self.permitted(context, found)?;
        let actor = self.at_work(context, &vhost);
        Ok((vhost, actor))
    }

    fn at_work(&self, context: &Context, vhost: &Vhost) -> Actor {
        context.broker.actor(Arc::clone(&self.login), vhost.name())
    }

    fn permitted(&self, context: &Context, vhost: Arc<Vhost>) -> Result<Arc<Vhost>, ApiError> {
        match self.at_work(context, &vhost).may_enter() {
            Ok(()) => Ok(vhost),
            Err(_) => Err(ApiError::not_vhost_user()),
        }
    }
}

impl<L: Level> FromRequestParts<Context> for Access<L> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, ApiError> {
        let login = log_in(parts, context).await?;
        if !is::<Management>(&login) {
            return Err(ApiError::not_tagged(Management::NAME));
        }
        match is::<L>(&login) {
            true => Ok(Access {
                login: Arc::new(login),
                level: PhantomData,
            }),
            false => Err(L::refusal()),
        }
    }
}

/// The vhosts that a list is of: the one that the path names, or all whose contents the user sees.
pub(super) struct Within {
    pub(super) access: Access<Management>,
    pub(super) vhosts: Vec<Arc<Vhost>>,
    /// The path names one.
    named: bool,
}

impl Within {
    /// Whether a list of what is seen by its user, such as connections, is to have that of a vhost.
    pub(super) fn is_asked_for(&self, vhost: &Name) -> bool {
        !self.named || self.vhosts.iter().any(|one| one.name() == vhost)
    }
}

impl FromRequestParts<Context> for Within {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Response> {
        let access = Access::from_request_parts(parts, context).await;
        let access: Access<Management> = access.map_err(IntoResponse::into_response)?;
        let named = Option::<Path<String>>::from_request_parts(parts, context).await;
        let named = named.map_err(IntoResponse::into_response)?;
        let vhosts = match &named {
            None => access.visible(context),
            Some(Path(name)) => {
                let vhost = access.look(context, name);
                vec![vhost.map_err(IntoResponse::into_response)?]
            }
        };
        Ok(Within {
            access,
            vhosts,
            named: named.is_some(),
        })
    }
}

async fn log_in(parts: &Parts, context: &Context) -> Result<Login, ApiError> {
    let token = bearer(parts);
    let local = context.local.as_ref();
    if let Some(login) = local.and_then(|local| local.log_in(token)) {
        return Ok(login);
    }
    let proof = match token {
        Some(token) => Proof::Token(token.as_bytes().to_vec()),
        None => basic(parts)?.into(),
    };
    let peer = parts.extensions.get::<Peer>();
    let Peer(peer) = *peer.ok_or_else(ApiError::login_failed)?;
    let login = context.broker.login(proof, peer.ip()).await;
    // A request is alone in its task, so that its checks may stand still.
    login
        .map(Login::waiting)
        .map_err(|_| ApiError::login_failed())
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// `Authorization: Basic base64(user:password)`.
fn basic(parts: &Parts) -> Result<Credentials, ApiError> {
    let header = parts.headers.get(AUTHORIZATION);
    let header = header.ok_or_else(ApiError::no_credentials)?;
    let decoded = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, encoded)| BASE64_STANDARD.decode(encoded.trim()).ok())
        .ok_or_else(ApiError::login_failed)?;
    let colon = decoded.iter().position(|&octet| octet == b':');
    let (user, password) = colon
        .and_then(|at| Some((decoded.get(..at)?, decoded.get(at + 1..)?)))
        .ok_or_else(ApiError::login_failed)?;
    Ok(Credentials {
        user: String::from_utf8(user.to_vec()).map_err(|_| ApiError::login_failed())?,
        password: password.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn read(header: &str) -> Result<Credentials, ApiError> {
        let request = Request::get("/").header(AUTHORIZATION, header);
        basic(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a10_basic_credentials() {
        let found = read("Basic Z3Vlc3Q6YTpi").unwrap();
        assert_eq!(
            (found.user.as_str(), &found.password[..]),
            ("guest", &b"a:b"[..])
        );
        assert!(read("basic Z3Vlc3Q6").is_ok(), "the scheme has no case");
        for wrong in [
            "Basic",
            "Basic !",
            "Basic Z3Vlc3Q=",
            "Bearer Z3Vlc3Q6YTpi",
            "Basic /zph",
        ] {
            assert_eq!(
                read(wrong).unwrap_err(),
                ApiError::login_failed(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a10_what_each_tag_allows() {
        let levels = |tag: &str| {
            let login = Login {
                user: "u".into(),
                tags: vec![tag.into()],
                authority: crate::auth::Authority::Directory,
            };
            [
                is::<Management>(&login),
                is::<Policymaker>(&login),
                is::<Monitor>(&login),
                is::<Administrator>(&login),
            ]
        };
        assert_eq!(levels("none"), [false; 4]);
        assert_eq!(levels("management"), [true, false, false, false]);
        assert_eq!(levels("policymaker"), [true, true, false, false]);
        assert_eq!(levels("monitoring"), [true, false, true, false]);
        assert_eq!(levels("administrator"), [true; 4]);
    }
}
