//! Users, permissions and limits: who may change them, and how a change becomes lasting.
//!
//! Owns the order of a change: one at a time, its rows in the log first, then the new state for all
//! to see. Every change says in the log's target `audit` who made it. No secret gets there.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::info;

use super::Broker;
use super::access_rows::{PermissionRow, TopicPermissionRow, UserLimitsRow, UserRow};
use super::rows::Row;
use super::vhost::Durably;
use crate::auth::{
    Actor, Directory, Limit, Limits, Login, LoginRefused, Permission, Proof, TopicPermission, User,
};
use crate::base::limits::NAME_MAX_BYTES;
use crate::base::{AmqpError, Name};
use crate::store::{Batch, Table};

/// Why a user, a vhost or a permission is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such user.
    #[error("user '{0}' does not exist")]
    NoUser(Name),
    /// There is no such vhost.
    #[error("virtual host '{0}' does not exist")]
    NoVhost(Name),
    /// No thing may have that name.
    #[error("a name must have 1 to {NAME_MAX_BYTES} octets")]
    Name,
    /// The vhost is protected from being deleted.
    #[error("virtual host '{0}' is protected from deletion")]
    Protected(Name),
    /// The log has failed, and the broker stops.
    #[error("the log has failed")]
    Log,
}

/// A change of the directory in the making.
struct Draft {
    directory: Directory,
    records: Batch,
}

impl Draft {
    fn put(&mut self, table: Table, row: &impl Row) {
        self.records.put(table, &row.key(), &row.value());
    }

    fn delete(&mut self, table: Table, row: &impl Row) {
        self.records.delete(table, &row.key());
    }
}

/// Logging in, and asking.
impl Broker {
    /// Users, permissions and users' limits as they are now.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Checks what a client shows at login. `peer` is where it comes from.
    ///
    /// # Errors
    /// It is refused; the reason is for the log.
    pub async fn login(
        &self,
        given: impl Into<Proof>,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        let given = given.into();
        let told = self.events.are_wanted().then(|| given.user().to_owned());
        let login = self.logins.check(&self.directory, given, peer).await;
        if let Some(user) = told {
            let event = match login {
                Ok(_) => "user.authentication.success",
                Err(_) => "user.authentication.failure",
            };
            self.events.tell(event, |headers| {
                headers
                    .text("name", &user)
                    .text("peer_host", &peer.to_string());
                if let Err(reason) = &login {
                    headers.text("error", &reason.to_string());
                }
            });
        }
        login
    }

    /// Reads the keys of access tokens, again and again, for ever. One task runs it.
    pub async fn keep_token_keys(&self) {
        match self.logins.oauth2() {
            Some(oauth2) => oauth2.keep_fresh().await,
            None => std::future::pending().await,
        }
    }

    /// Who has logged in, at work in a vhost.
    pub fn actor(&self, login: Arc<Login>, vhost: &Name) -> Actor {
        Actor::new(login, vhost.clone(), Arc::clone(&self.directory))
    }
}

/// Changing. `by` is the name of who does it.
impl Broker {
    /// Enters a user, or changes its password and tags. Whether it is new.
    ///
    /// # Errors
    /// [`ChangeError::Name`].
    pub fn put_user(&self, user: User, by: &str) -> Result<Durably<bool>, ChangeError> {
        check_name(&user.name)?;
        let mut before = None;
        let done = self.change_directory(|draft| {
            before = draft.directory.account(&user.name).map(Arc::clone);
            draft.put(Table::Users, &UserRow::from(&user));
            Ok(draft.directory.put_user(user.clone()))
        })?;
        info!(target: "audit", by, user = %user.name, tags = ?user.tags, new = done.value, "user set");
        self.tell_user(before.as_ref().map(|account| &account.user), &user, by);
        Ok(done)
    }

    /// A user was set: anew, or in the place of what it was before.
    fn tell_user(&self, before: Option<&User>, now: &User, by: &str) {
        let event = match (before, &now.password) {
            (None, _) => Some("user.created"),
            (Some(before), password) if before.password == *password => None,
            (Some(_), Some(_)) => Some("user.password.changed"),
            (Some(_), None) => Some("user.password.cleared"),
        };
        if let Some(event) = event {
            self.events.tell(event, |headers| {
                headers.text("name", &now.name).by(by);
            });
        }
        if now.tags != before.map_or(&[][..], |before| before.tags.as_slice()) {
            self.events.tell("user.tags.set", |headers| {
                headers
                    .text("name", &now.name)
                    .texts("tags", &now.tags)
                    .by(by);
            });
        }
    }

    /// Deletes a user and all that is set for it, and closes its connections. Whether there was one.
    ///
    /// # Errors
    /// [`ChangeError::Log`].
    pub fn delete_user(&self, user: &Name, by: &str) -> Result<Durably<bool>, ChangeError> {
        let done = self.change_directory(|draft| {
            let Some(account) = draft.directory.remove_user(user) else {
                return Ok(false);
            };
            draft.delete(Table::Users, &UserRow::from(&account.user));
            for permission in account.permissions() {
                draft.delete(Table::Permissions, &PermissionRow::from(&**permission));
            }
            for permission in account.topic_permissions() {
                let row = TopicPermissionRow::from(&**permission);
                draft.delete(Table::TopicPermissions, &row);
            }
            draft.delete(Table::UserLimits, &limits_row(user, Limits::default()));
            Ok(true)
        })?;
        if done.value {
            self.quotas.remove(user);
            info!(target: "audit", by, %user, "user deleted");
            self.events.tell("user.deleted", |headers| {
                headers.text("name", user).by(by);
            });
            self.close_seats(&AmqpError::user_deleted(user), |seat| seat.user == *user);
        }
        Ok(done)
    }

    /// Sets what a user may do in a vhost.
    ///
    /// # Errors
    /// There is no such user or vhost.
    pub fn put_permission(
        &self,
        permission: Permission,
        by: &str,
    ) -> Result<Durably<()>, ChangeError> {
        let row = PermissionRow::from(&permission);
        let done = self.change_directory(|draft| {
            self.check_vhost(&row.vhost)?;
            draft.put(Table::Permissions, &row);
            known(draft.directory.put_permission(permission), &row.user)
        })?;
        let PermissionRow {
            user,
            vhost,
            configure,
            write,
            read,
        } = row;
        info!(target: "audit", by, %user, %vhost, configure, write, read, "permission set");
        self.events.tell("permission.created", |headers| {
            headers
                .text("user", &user)
                .text("vhost", &vhost)
                .text("configure", &configure)
                .text("write", &write)
                .text("read", &read)
                .by(by);
        });
        Ok(done)
    }

    /// Takes away what a user may do in a vhost. Whether there was something.
    ///
    /// # Errors
    /// [`ChangeError::Log`].
    pub fn delete_permission(
        &self,
        user: &Name,
        vhost: &Name,
        by: &str,
    ) -> Result<Durably<bool>, ChangeError> {
        let done = self.change_directory(|draft| {
            let permission = draft.directory.permission(user, vhost).cloned();
            let Some(permission) = permission else {
                return Ok(false);
            };
            draft.delete(Table::Permissions, &PermissionRow::from(&*permission));
            Ok(draft.directory.remove_permission(user, vhost))
        })?;
        if done.value {
            info!(target: "audit", by, %user, %vhost, "permission deleted");
            self.events.tell("permission.deleted", |headers| {
                headers.text("user", user).text("vhost", vhost).by(by);
            });
        }
        Ok(done)
    }

    /// Restricts a user's routing keys in a topic exchange, which need not exist.
    ///
    /// # Errors
    /// There is no such user or vhost.
    pub fn put_topic_permission(
        &self,
        permission: TopicPermission,
        by: &str,
    ) -> Result<Durably<()>, ChangeError> {
        let row = TopicPermissionRow::from(&permission);
        let done = self.change_directory(|draft| {
            self.check_vhost(&row.vhost)?;
            draft.put(Table::TopicPermissions, &row);
            known(draft.directory.put_topic_permission(permission), &row.user)
        })?;
        let TopicPermissionRow {
            user,
            vhost,
            exchange,
            write,
            read,
        } = row;
        info!(target: "audit", by, %user, %vhost, %exchange, write, read, "topic permission set");
        self.events.tell("topic.permission.created", |headers| {
            headers
                .text("user", &user)
                .text("vhost", &vhost)
                .text("exchange", &exchange)
                .text("write", &write)
                .text("read", &read)
                .by(by);
        });
        Ok(done)
    }

    /// Takes away a user's restrictions in a vhost, of one exchange or of all. Whether there were
    /// any.
    ///
    /// # Errors
    /// [`ChangeError::Log`].
    pub fn delete_topic_permissions(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: Option<&Name>,
        by: &str,
    ) -> Result<Durably<bool>, ChangeError> {
        let done = self.change_directory(|draft| {
            let directory = &mut draft.directory;
            let removed = directory.remove_topic_permissions(user, vhost, exchange);
            for permission in &removed {
                let row = TopicPermissionRow::from(&**permission);
                draft.delete(Table::TopicPermissions, &row);
            }
            Ok(!removed.is_empty())
        })?;
        if done.value {
            info!(target: "audit", by, %user, %vhost, ?exchange, "topic permissions deleted");
            self.events.tell("topic.permission.deleted", |headers| {
                headers.text("user", user).text("vhost", vhost).by(by);
            });
        }
        Ok(done)
    }

    /// Sets a user's limits, all at once. They hold from the next connection or channel on.
    ///
    /// # Errors
    /// There is no such user.
    pub fn put_user_limits(
        &self,
        user: &Name,
        limits: Limits,
        by: &str,
    ) -> Result<Durably<()>, ChangeError> {
        let shown = format!("{limits:?}");
        let done = self.change_directory(|draft| {
            let row = limits_row(user, limits.clone());
            match limits.is_empty() {
                true => draft.delete(Table::UserLimits, &row),
                false => draft.put(Table::UserLimits, &row),
            }
            known(draft.directory.put_user_limits(user, limits), user)
        })?;
        if let Some(quota) = self.quotas.get(user) {
            self.limits_of(user).set_rates(&quota);
        }
        info!(target: "audit", by, %user, limits = shown, "user limits set");
        let now = self.limits_of(user);
        let event = match now.is_empty() {
            true => "user.limits.cleared",
            false => "user.limits.set",
        };
        self.events.tell(event, |headers| {
            headers
                .text("name", "limits")
                .text("username", user)
                .limits(Limit::OF_USER, &now)
                .by(by);
        });
        Ok(done)
    }

    /// Changes the directory. If `change` fails, nothing has changed.
    fn change_directory<T>(
        &self,
        change: impl FnOnce(&mut Draft) -> Result<T, ChangeError>,
    ) -> Result<Durably<T>, ChangeError> {
        let mut end = self.access_changes.lock();
        let mut draft = Draft {
            directory: Directory::clone(&self.directory.load()),
            records: self.log().batch(),
        };
        let value = change(&mut draft)?;
        if !draft.records.is_empty() {
            let appended = self.log().append(draft.records);
            *end = appended.map_err(|_| ChangeError::Log)?.end();
            self.directory.store(Arc::new(draft.directory));
        }
        Ok(Durably { value, end: *end })
    }

    fn check_vhost(&self, vhost: &Name) -> Result<(), ChangeError> {
        match self.vhost(vhost) {
            Some(_) => Ok(()),
            None => Err(ChangeError::NoVhost(vhost.clone())),
        }
    }
}

pub(super) fn check_name(name: &Name) -> Result<(), ChangeError> {
    match (1..=NAME_MAX_BYTES).contains(&name.len()) {
        true => Ok(()),
        false => Err(ChangeError::Name),
    }
}

fn known(is_known: bool, user: &Name) -> Result<(), ChangeError> {
    match is_known {
        true => Ok(()),
        false => Err(ChangeError::NoUser(user.clone())),
    }
}

fn limits_row(user: &Name, limits: Limits) -> UserLimitsRow {
    UserLimitsRow {
        user: user.clone(),
        limits,
    }
}
