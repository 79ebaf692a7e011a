//! A logged-in user at work in a vhost.
//!
//! Owns the question whether it may do what it asks (A10). The answer is always that of the directory
//! as it is now: what is remembered of it elsewhere is held against [`Actor::directory`].

use std::sync::Arc;

use super::directory::{SharedDirectory, tag};
use super::{Directory, TopicPermission};
use crate::base::reply::Access;
use crate::base::{AmqpError, Name, Resource};

/// Who has logged in, and with which tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: Name,
    /// Its tags at that time.
    pub tags: Vec<Name>,
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
    directory: SharedDirectory,
}

impl Actor {
    /// `login` in `vhost`.
    pub fn new(login: Arc<Login>, vhost: Name, directory: SharedDirectory) -> Self {
        Actor {
            login,
            vhost,
            directory,
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
        match self.directory.load().permission(self.user(), &self.vhost) {
            Some(_) => Ok(()),
            None => Err(AmqpError::vhost_access_refused(&self.vhost, self.user())),
        }
    }

    /// Whether it may use a queue or an exchange, which need not exist.
    ///
    /// # Errors
    /// 403.
    pub fn may(&self, access: Access, what: Resource<'_>) -> Result<(), AmqpError> {
        let directory = self.directory.load();
        let permission = directory.permission(self.user(), &self.vhost);
        match permission.is_some_and(|p| p.pattern(access).matches(what.shown_name().as_bytes())) {
            true => Ok(()),
            false => Err(AmqpError::access_refused(access, what, self.user())),
        }
    }

    /// Whether its routing keys are restricted anywhere in the vhost, at a state of the directory.
    pub fn restricts_topics(&self, directory: &Directory) -> bool {
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
        Err(AmqpError::topic_access_refused(
            access,
            &String::from_utf8_lossy(key),
            &permission.exchange,
            &self.vhost,
            self.user(),
        ))
    }
}
