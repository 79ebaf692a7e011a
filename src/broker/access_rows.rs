//! How users, permissions and limits stand in the catalogue.
//!
//! Owns those rows; the rest is as in `rows`. Patterns are stored as text.

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::rows::{Row, key};
use crate::auth::{Limits, PasswordHash, Pattern, Permission, TopicPermission, User};
use crate::base::Name;

/// A user.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UserRow {
    pub(super) name: Name,
    pub(super) password: Option<PasswordHash>,
    pub(super) tags: Vec<Name>,
}

/// What a user may do in a vhost.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PermissionRow {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) configure: String,
    pub(super) write: String,
    pub(super) read: String,
}

/// Which routing keys of a topic exchange a user may use.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicPermissionRow {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) exchange: Name,
    pub(super) write: String,
    pub(super) read: String,
}

/// A user's limits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UserLimitsRow {
    pub(super) user: Name,
    pub(super) limits: Limits,
}

/// A vhost's limits.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VhostLimitsRow {
    pub(super) vhost: Name,
    pub(super) limits: Limits,
}

impl Row for UserRow {
    const NAME: &'static str = "user";

    fn key(&self) -> Vec<u8> {
        key(&[self.name.as_bytes()])
    }
}

impl Row for PermissionRow {
    const NAME: &'static str = "permission";

    fn key(&self) -> Vec<u8> {
        key(&[self.user.as_bytes(), self.vhost.as_bytes()])
    }
}

impl Row for TopicPermissionRow {
    const NAME: &'static str = "topic permission";

    fn key(&self) -> Vec<u8> {
        let (user, vhost) = (self.user.as_bytes(), self.vhost.as_bytes());
        key(&[user, vhost, self.exchange.as_bytes()])
    }
}

impl Row for UserLimitsRow {
    const NAME: &'static str = "user limits";

    fn key(&self) -> Vec<u8> {
        key(&[self.user.as_bytes()])
    }
}

impl Row for VhostLimitsRow {
    const NAME: &'static str = "vhost limits";

    fn key(&self) -> Vec<u8> {
        key(&[self.vhost.as_bytes()])
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        UserRow {
            name: user.name.clone(),
            password: user.password.clone(),
            tags: user.tags.clone(),
        }
    }
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        User {
            name: row.name,
            password: row.password,
            tags: row.tags,
        }
    }
}

impl From<&Permission> for PermissionRow {
    fn from(permission: &Permission) -> Self {
        PermissionRow {
            user: permission.user.clone(),
            vhost: permission.vhost.clone(),
            configure: permission.configure.source().to_owned(),
            write: permission.write.source().to_owned(),
            read: permission.read.source().to_owned(),
        }
    }
}

impl From<&TopicPermission> for TopicPermissionRow {
    fn from(permission: &TopicPermission) -> Self {
        TopicPermissionRow {
            user: permission.user.clone(),
            vhost: permission.vhost.clone(),
            exchange: permission.exchange.clone(),
            write: permission.write.source().to_owned(),
            read: permission.read.source().to_owned(),
        }
    }
}

impl PermissionRow {
    /// A pattern that an earlier version took and this one does not allows nothing.
    pub(super) fn restore(self) -> Permission {
        let pattern = |source: &str| {
            let pattern = Pattern::new(source);
            pattern.unwrap_or_else(|fault| {
                warn!(user = %self.user, vhost = %self.vhost, %fault, "permission allows nothing");
                Pattern::nothing()
            })
        };
        Permission {
            configure: pattern(&self.configure),
            write: pattern(&self.write),
            read: pattern(&self.read),
            user: self.user,
            vhost: self.vhost,
        }
    }
}

impl TopicPermissionRow {
    /// As [`PermissionRow::restore`].
    pub(super) fn restore(self) -> TopicPermission {
        let (user, vhost, exchange) = (self.user, self.vhost, self.exchange);
        let patterns = [self.write.as_str(), self.read.as_str()];
        TopicPermission::new(user.clone(), vhost.clone(), exchange.clone(), patterns)
            .unwrap_or_else(|fault| {
                warn!(%user, %vhost, %exchange, %fault, "topic permission allows nothing");
                TopicPermission {
                    user,
                    vhost,
                    exchange,
                    write: Pattern::nothing(),
                    read: Pattern::nothing(),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Limit;

    fn reads_back<R: Row + std::fmt::Debug>(row: &R) {
        let back = R::read(&row.value()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{row:?}"));
        assert_eq!(back.key(), row.key());
    }

    #[test]
    fn every_row_reads_back() {
        let (user, vhost) = (Name::from("jö"), Name::from("/"));
        let password = PasswordHash::new(b"secret").unwrap();
        let row = UserRow {
            name: user.clone(),
            password: Some(password.clone()),
            tags: vec!["administrator".into()],
        };
        reads_back(&row);
        assert_eq!(
            UserRow::read(&row.value()).unwrap().password,
            Some(password)
        );
        reads_back(&PermissionRow {
            user: user.clone(),
            vhost: vhost.clone(),
            configure: ".*".into(),
            write: String::new(),
            read: "^a".into(),
        });
        reads_back(&TopicPermissionRow {
            user: user.clone(),
            vhost: vhost.clone(),
            exchange: "amq.topic".into(),
            write: "^{username}".into(),
            read: String::new(),
        });
        let mut limits = Limits::default();
        limits.set(Limit::Connections, 5);
        limits.set(Limit::Channels, 0);
        reads_back(&VhostLimitsRow {
            vhost,
            limits: limits.clone(),
        });
        reads_back(&UserLimitsRow { user, limits });
    }

    #[test]
    fn a_pattern_that_is_none_allows_nothing() {
        let row = PermissionRow {
            user: "u".into(),
            vhost: "/".into(),
            configure: "(".into(),
            write: ".*".into(),
            read: String::new(),
        };
        let permission = row.restore();
        assert!(!permission.configure.matches(b"("));
        assert!(permission.write.matches(b"x"));
    }
}
