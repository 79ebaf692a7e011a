//! Who there is and who may do what: users, their permissions and limits (A10).
//!
//! Owns an immutable state of that, and how the next is made of it. Where it is stored and who may
//! change it is the broker's.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Limits, PasswordHash, Pattern, PatternError};
use crate::base::Name;
use crate::base::reply::Access;

/// Tags with a meaning (A10). Any other is kept.
pub mod tag {
    /// May do everything in management.
    pub const ADMINISTRATOR: &str = "administrator";
    /// May see everything in management.
    pub const MONITORING: &str = "monitoring";
    /// May use management, and set policies.
    pub const POLICYMAKER: &str = "policymaker";
    /// May use management.
    pub const MANAGEMENT: &str = "management";
    /// May publish with another user's id (A5.6).
    pub const IMPERSONATOR: &str = "impersonator";
}

/// A user.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The name it logs in with.
    pub name: Name,
    /// Without one nobody can log in by password.
    pub password: Option<PasswordHash>,
    /// See [`tag`].
    pub tags: Vec<Name>,
}

/// What a user may do in a vhost.
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    /// Whose.
    pub user: Name,
    /// Where.
    pub vhost: Name,
    /// Names of what may be declared and deleted.
    pub configure: Pattern,
    /// Names of what may be published to and bound to.
    pub write: Pattern,
    /// Names of what may be consumed from and bound from.
    pub read: Pattern,
}

impl Permission {
    /// The pattern for one kind of access.
    pub fn pattern(&self, access: Access) -> &Pattern {
        match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        }
    }
}

/// Which routing keys of a topic exchange a user may use. Without one it may use all.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPermission {
    /// Whose.
    pub user: Name,
    /// Where.
    pub vhost: Name,
    /// Of which exchange.
    pub exchange: Name,
    /// Keys it may publish with.
    pub write: Pattern,
    /// Keys it may bind with.
    pub read: Pattern,
}

impl TopicPermission {
    /// Compiles the patterns, in which `{username}` and `{vhost}` stand for these names.
    ///
    /// # Errors
    /// One of them is no pattern.
    pub fn new(
        user: Name,
        vhost: Name,
        exchange: Name,
        [write, read]: [&str; 2],
    ) -> Result<Self, PatternError> {
        let variables = [("{username}", user.as_str()), ("{vhost}", vhost.as_str())];
        Ok(TopicPermission {
            write: Pattern::expanded(write, &variables)?,
            read: Pattern::expanded(read, &variables)?,
            user,
            vhost,
            exchange,
        })
    }

    /// Whether a key may be used. Only publishing and binding from ask.
    pub fn allows(&self, access: Access, key: &[u8]) -> bool {
        match access {
            Access::Write => self.write.matches(key),
            Access::Read => self.read.matches(key),
            Access::Configure => true,
        }
    }
}

/// A user with all that is set for it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user.
    pub user: User,
    /// Its limits.
    pub limits: Limits,
    /// By vhost.
    permissions: BTreeMap<Name, Arc<Permission>>,
    /// By vhost and exchange.
    topics: BTreeMap<(Name, Name), Arc<TopicPermission>>,
}

impl Account {
    /// What it may do in a vhost; if nothing, it may not even connect to it.
    pub fn permission(&self, vhost: &Name) -> Option<&Arc<Permission>> {
        self.permissions.get(vhost)
    }

    /// What restricts it in a topic exchange.
    pub fn topic_permission(&self, vhost: &Name, exchange: &Name) -> Option<&Arc<TopicPermission>> {
        self.topics.get(&(vhost.clone(), exchange.clone()))
    }

    /// Whether any topic exchange of the vhost is restricted.
    pub fn restricts_topics(&self, vhost: &Name) -> bool {
        self.topics.keys().any(|(of, _)| of == vhost)
    }

    /// All its permissions, by vhost.
    pub fn permissions(&self) -> impl Iterator<Item = &Arc<Permission>> {
        self.permissions.values()
    }

    /// All its topic permissions, by vhost and exchange.
    pub fn topic_permissions(&self) -> impl Iterator<Item = &Arc<TopicPermission>> {
        self.topics.values()
    }
}

/// Users, permissions and limits at one time.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    accounts: imbl::OrdMap<Name, Arc<Account>>,
}

/// The directory as it is now: read without a lock, replaced as a whole.
pub type SharedDirectory = Arc<ArcSwap<Directory>>;

impl Directory {
    /// A user with all that is set for it.
    pub fn account(&self, user: &str) -> Option<&Arc<Account>> {
        self.accounts.get(user.as_bytes())
    }

    /// All users, by name.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    /// All permissions, by user and vhost.
    pub fn permissions(&self) -> impl Iterator<Item = &Arc<Permission>> {
        self.accounts().flat_map(|account| account.permissions())
    }

    /// All topic permissions, by user, vhost and exchange.
    pub fn topic_permissions(&self) -> impl Iterator<Item = &Arc<TopicPermission>> {
        self.accounts()
            .flat_map(|account| account.topic_permissions())
    }

    /// What a user may do in a vhost; if nothing, it may not even connect to it.
    pub fn permission(&self, user: &str, vhost: &Name) -> Option<&Arc<Permission>> {
        self.account(user)?.permission(vhost)
    }

    /// Enters a user, or changes it; what else is set for it stays. Whether it is new.
    pub fn put_user(&mut self, user: User) -> bool {
        if let Some(account) = self.account_mut(&user.name) {
            account.user = user;
            return false;
        }
        let account = Account {
            user,
            limits: Limits::default(),
            permissions: BTreeMap::new(),
            topics: BTreeMap::new(),
        };
        self.accounts
            .insert(account.user.name.clone(), Arc::new(account));
        true
    }

    /// Takes a user out, with all that was set for it.
    pub fn remove_user(&mut self, user: &str) -> Option<Arc<Account>> {
        self.accounts.remove(user.as_bytes())
    }

    /// Sets what a user may do in a vhost. Whether there is such a user.
    pub fn put_permission(&mut self, permission: Permission) -> bool {
        let account = self.account_mut(&permission.user);
        let vhost = permission.vhost.clone();
        account
            .map(|account| account.permissions.insert(vhost, Arc::new(permission)))
            .is_some()
    }

    /// Takes a user's permission in a vhost away. Whether there was one.
    pub fn remove_permission(&mut self, user: &str, vhost: &Name) -> bool {
        let account = self.account_mut(user);
        account.is_some_and(|account| account.permissions.remove(vhost).is_some())
    }

    /// Restricts a user in a topic exchange. Whether there is such a user.
    pub fn put_topic_permission(&mut self, permission: TopicPermission) -> bool {
        let account = self.account_mut(&permission.user);
        let key = (permission.vhost.clone(), permission.exchange.clone());
        account
            .map(|account| account.topics.insert(key, Arc::new(permission)))
            .is_some()
    }

    /// Takes a user's restrictions in a vhost away, of one exchange or of all. Those that were there.
    pub fn remove_topic_permissions(
        &mut self,
        user: &str,
        vhost: &Name,
        exchange: Option<&Name>,
    ) -> Vec<Arc<TopicPermission>> {
        let Some(account) = self.account_mut(user) else {
            return Vec::new();
        };
        let gone = |(of, name): &(Name, Name)| {
            of == vhost && exchange.is_none_or(|exchange| exchange == name)
        };
        let (removed, kept) = std::mem::take(&mut account.topics)
            .into_iter()
            .partition(|(key, _)| gone(key));
        account.topics = kept;
        BTreeMap::into_values(removed).collect()
    }

    /// Sets a user's limits. Whether there is such a user.
    pub fn put_user_limits(&mut self, user: &str, limits: Limits) -> bool {
        self.account_mut(user)
            .map(|account| account.limits = limits)
            .is_some()
    }

    fn account_mut(&mut self, user: &str) -> Option<&mut Account> {
        self.accounts.get_mut(user.as_bytes()).map(Arc::make_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> User {
        User {
            name: name.into(),
            password: None,
            tags: vec![],
        }
    }

    fn permission(user: &str, vhost: &str) -> Permission {
        let all = Pattern::new(".*").unwrap();
        Permission {
            user: user.into(),
            vhost: vhost.into(),
            configure: all.clone(),
            write: all.clone(),
            read: all,
        }
    }

    fn topic(user: &str, vhost: &str, exchange: &str) -> TopicPermission {
        TopicPermission::new(user.into(), vhost.into(), exchange.into(), ["", ".*"]).unwrap()
    }

    #[test]
    fn a_user_goes_with_all_that_is_set_for_it() {
        let mut directory = Directory::default();
        assert!(!directory.put_permission(permission("a", "/")));
        assert!(directory.put_user(user("a")));
        assert!(directory.put_permission(permission("a", "/")));
        assert!(directory.put_topic_permission(topic("a", "/", "x")));
        let mut tagged = user("a");
        tagged.tags.push(tag::MONITORING.into());
        assert!(!directory.put_user(tagged), "it is known");
        assert!(directory.permission("a", &"/".into()).is_some());
        assert!(directory.remove_user("a").is_some());
        directory.put_user(user("a"));
        assert_eq!(directory.permissions().count(), 0);
        assert_eq!(directory.topic_permissions().count(), 0);
    }

    #[test]
    fn an_earlier_state_does_not_change() {
        let mut directory = Directory::default();
        directory.put_user(user("a"));
        let before = directory.clone();
        directory.put_permission(permission("a", "/"));
        directory.put_user(user("b"));
        assert_eq!(before.accounts().count(), 1);
        assert!(before.permission("a", &"/".into()).is_none());
    }

    #[test]
    fn topic_permissions_go_one_by_one_or_by_vhost() {
        let mut directory = Directory::default();
        directory.put_user(user("a"));
        for (vhost, exchange) in [("/", "x"), ("/", "y"), ("v", "x")] {
            directory.put_topic_permission(topic("a", vhost, exchange));
        }
        let removed = directory.remove_topic_permissions("a", &"/".into(), Some(&"y".into()));
        assert_eq!(removed.len(), 1);
        assert_eq!(removed[0].exchange, "y".into());
        let removed = directory.remove_topic_permissions("a", &"/".into(), None);
        assert_eq!(removed.len(), 1);
        assert_eq!(directory.topic_permissions().count(), 1);
    }
}
