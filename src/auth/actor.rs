//! A logged-in user at work in a vhost.
//!
//! Owns the question whether it may do what it asks (A10). The answer is always that of the directory
//! as it is now: what is remembered of it elsewhere is held against [`Actor::directory`].

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::directory::{SharedDirectory, tag};
use super::http::Deed;
use super::{Directory, HttpUser, Token, TopicPermission};
use crate::base::reply::Access;
use crate::base::{AmqpError, Name, Resource};

/// What says what a user may do.
#[derive(Debug, Clone)]
pub enum Authority {
    /// The directory.
    Directory,
    /// The access token it logged in with.
    Token(Arc<Token>),
    /// An HTTP server, which is asked.
    Http(Arc<HttpUser>),
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Authority::Directory, Authority::Directory) => true,
            (Authority::Token(a), Authority::Token(b)) => a == b,
            (Authority::Http(a), Authority::Http(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Who has logged in, and with which tags.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    /// The user's name.
    pub user: Name,
    /// Its tags at that time.
    pub tags: Vec<Name>,
    /// What says what it may do.
    pub authority: Authority,
}

impl Login {
    /// Whether the user has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|has| has.as_str() == tag)
    }

    /// The access token it logged in with.
    pub fn token(&self) -> Option<&Arc<Token>> {
        match &self.authority {
            Authority::Token(token) => Some(token),
            _ => None,
        }
    }

    /// The same where a check may stand still until it is known what the user may do. Not for what a
    /// connection does: others wait with it.
    #[must_use]
    pub fn waiting(mut self) -> Self {
        if let Authority::Http(user) = &self.authority {
            self.authority = Authority::Http(Arc::new(user.waiting()));
        }
        self
    }

    /// Who is to be asked before what was just refused can be decided: nobody, most often. Then
    /// [`HttpUser::ask`], do the same again, and [`Login::forget`].
    pub fn undecided(&self) -> Option<&Arc<HttpUser>> {
        match &self.authority {
            Authority::Http(user) if user.has_questions() => Some(user),
            _ => None,
        }
    }

    /// What was asked for has been done again.
    pub fn forget(&self) {
        if let Authority::Http(user) = &self.authority {
            user.forget();
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Actor {
    login: Arc<Login>,
    vhost: Name,
    /// Of the bearer of a token it is its own, and empty: a new token puts another there, which tells
    /// that answers have changed. Of who is known elsewhere it is empty, too.
    directory: SharedDirectory,
    token: Option<Arc<ArcSwap<Token>>>,
}

impl Actor {
    /// `login` in `vhost`.
    pub fn new(login: Arc<Login>, vhost: Name, directory: SharedDirectory) -> Self {
        let token = login.token().cloned();
        Actor {
            directory: match login.authority {
                Authority::Directory => directory,
                _ => SharedDirectory::default(),
            },
            token: token.map(|token| Arc::new(ArcSwap::new(token))),
            login,
            vhost,
        }
    }

    /// The access token that says what it may do, if it is one.
    pub fn token(&self) -> Option<Arc<Token>> {
        self.token.as_ref().map(|token| token.load_full())
    }

    /// From now on another token of the same bearer holds, for all clones of this.
    pub fn renew(&self, token: Arc<Token>) {
        if let Some(current) = &self.token {
            current.store(token);
            self.directory.store(Arc::default());
        }
    }

    /// The user's name.
    pub fn user(&self) -> &Name {
        &self.login.user
    }

    /// Who has logged in.
    pub fn login(&self) -> &Arc<Login> {
        &self.login
    }

    /// Whether it may publish with the id of another (A5.6).
    pub fn is_impersonator(&self) -> bool {
        self.login.has_tag(tag::IMPERSONATOR)
    }

    /// The state of the directory that answers rest on.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Whether answers that rest on `directory` still hold. Those of an HTTP server do not: how long
    /// they hold is known where they are remembered.
    pub fn is_current(&self, directory: &Arc<Directory>) -> bool {
        self.asked().is_none() && Arc::ptr_eq(&self.directory.load(), directory)
    }

    /// Whom an HTTP server is asked about.
    fn asked(&self) -> Option<&HttpUser> {
        match &self.login.authority {
            Authority::Http(user) => Some(user),
            _ => None,
        }
    }

    /// Whether it has any business in the vhost (A1.7).
    ///
    /// # Errors
    /// 530.
    pub fn may_enter(&self) -> Result<(), AmqpError> {
        let may = match (&self.token, self.asked()) {
            (_, Some(user)) => user.may_enter(&self.vhost),
            (Some(token), None) => token.load().may_enter(&self.vhost),
            (None, None) => {
                let directory = self.directory.load();
                directory.permission(self.user(), &self.vhost).is_some()
            }
        };
        match may {
            true => Ok(()),
            false => Err(AmqpError::vhost_access_refused(&self.vhost, self.user())),
        }
    }

    /// Whether it may use a queue or an exchange, which need not exist.
    ///
    /// # Errors
    /// 403.
    pub fn may(&self, access: Access, what: Resource<'_>) -> Result<(), AmqpError> {
        let name = what.shown_name();
        let may = match (&self.token, self.asked()) {
            (_, Some(user)) => user.may(Deed::Use {
                vhost: self.vhost.clone(),
                kind: what.kind(),
                name: name.into(),
                access,
            }),
            (Some(token), None) => token.load().may(access, &self.vhost, name),
            (None, None) => {
                let directory = self.directory.load();
                let permission = directory.permission(self.user(), &self.vhost);
                permission.is_some_and(|p| p.pattern(access).matches(name.as_bytes()))
            }
        };
        match may {
            true => Ok(()),
            false => Err(AmqpError::access_refused(access, what, self.user())),
        }
    }

    /// Whether its routing keys are restricted anywhere in the vhost, at a state of the directory.
    pub fn restricts_topics(&self, directory: &Directory) -> bool {
        if self.asks_for_each_key() {
            return true;
        }
        let account = directory.account(self.user());
        account.is_some_and(|account| account.restricts_topics(&self.vhost))
    }

    /// Whether each routing key of a topic exchange is asked about by [`Self::may_topic`].
    pub fn asks_for_each_key(&self) -> bool {
        !matches!(self.login.authority, Authority::Directory)
    }

    /// What restricts its routing keys in a topic exchange, at a state of the directory.
    pub fn topic_permission(
        &self,
        directory: &Directory,
        exchange: &Name,
    ) -> Option<Arc<TopicPermission>> {
        let account = directory.account(self.user())?;
        account.topic_permission(&self.vhost, exchange).cloned()
    }

    /// Whether it may use a routing key of a topic exchange.
    ///
    /// # Errors
    /// 403.
    pub fn may_topic(&self, access: Access, exchange: &Name, key: &[u8]) -> Result<(), AmqpError> {
        let may = match (&self.token, self.asked()) {
            (_, Some(user)) => Some(user.may(Deed::Route {
                vhost: self.vhost.clone(),
                exchange: exchange.clone(),
                key: key.to_vec(),
                access,
            })),
            (Some(token), None) => Some(token.load().may_topic(access, &self.vhost, exchange, key)),
            (None, None) => None,
        };
        match may {
            Some(true) => return Ok(()),
            Some(false) => return Err(self.key_refused(access, exchange, key)),
            None => {}
        }
        match self.topic_permission(&self.directory.load(), exchange) {
            Some(permission) => self.held_to(&permission, access, key),
            None => Ok(()),
        }
    }

    /// The same with a permission at hand.
    ///
    /// # Errors
    /// 403.
    pub fn held_to(
        &self,
        permission: &TopicPermission,
        access: Access,
        key: &[u8],
    ) -> Result<(), AmqpError> {
        if permission.allows(access, key) {
            return Ok(());
        }
        Err(self.key_refused(access, &permission.exchange, key))
    }

    fn key_refused(&self, access: Access, exchange: &Name, key: &[u8]) -> AmqpError {
        let key = String::from_utf8_lossy(key);
        AmqpError::topic_access_refused(access, &key, exchange, &self.vhost, self.user())
    }
}
