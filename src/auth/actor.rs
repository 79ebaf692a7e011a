//! A logged-in user at work in a vhost.
//!
//! Owns the question whether it may do what it asks (A10). The answer is always that of the directory
//! as it is now: what is remembered of it elsewhere is held against [`Actor::directory`].

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::directory::{SharedDirectory, tag};
use super::{Directory, Token, TopicPermission};
use crate::base::reply::Access;
use crate::base::{AmqpError, Name, Resource};

/// Who has logged in, and with which tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: Name,
    /// Its tags at that time.
    pub tags: Vec<Name>,
    /// The access token it logged in with, which then says what it may do.
    pub token: Option<Arc<Token>>,
}

impl Login {
    /// Whether the user has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|has| has.as_str() == tag)
    }
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Actor {
    login: Arc<Login>,
    vhost: Name,
    /// Of the bearer of a token it is its own, and empty: a new token puts another there, which tells
    /// that answers have changed.
    directory: SharedDirectory,
    token: Option<Arc<ArcSwap<Token>>>,
}

impl Actor {
    /// `login` in `vhost`.
    pub fn new(login: Arc<Login>, vhost: Name, directory: SharedDirectory) -> Self {
        let token = login.token.clone();
        Actor {
            directory: match token {
                Some(_) => SharedDirectory::default(),
                None => directory,
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

    /// Whether answers that rest on `directory` still hold.
    pub fn is_current(&self, directory: &Arc<Directory>) -> bool {
        Arc::ptr_eq(&self.directory.load(), directory)
    }

    /// Whether it has any business in the vhost (A1.7).
    ///
    /// # Errors
    /// 530.
    pub fn may_enter(&self) -> Result<(), AmqpError> {
        let may = match &self.token {
            Some(token) => token.load().may_enter(&self.vhost),
            None => {
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
        let may = match &self.token {
            Some(token) => token.load().may(access, &self.vhost, name),
            None => {
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
        if self.token.is_some() {
            return true;
        }
        let account = directory.account(self.user());
        account.is_some_and(|account| account.restricts_topics(&self.vhost))
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
        if let Some(token) = &self.token {
            let may = token.load().may_topic(access, &self.vhost, exchange, key);
            return match may {
                true => Ok(()),
                false => Err(self.key_refused(access, exchange, key)),
            };
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
