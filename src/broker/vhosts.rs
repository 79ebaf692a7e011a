//! Creating, changing and deleting vhosts while clients are connected.
//!
//! Owns the list of them, and the way of a connection into one. All of a vhost goes in one batch of
//! the log: after a crash it is there as a whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::info;

use super::access::{ChangeError, check_name};
use super::access_rows::{PermissionRow, TopicPermissionRow, VhostLimitsRow};
use super::census::{Place, Seat};
use super::rows::{Row, VhostRow};
use super::vhost::{Durably, Vhost, VhostSettings};
use super::{Broker, ConnectionId};
use crate::auth::{Actor, Directory, Limit, Limits, Login};
use crate::base::{AmqpError, LogPos, Name, Quota};
use crate::store::{Batch, Table};

/// What a connection holds that has opened a vhost.
pub struct Entered {
    /// The vhost.
    pub vhost: Arc<Vhost>,
    /// The user at work in it.
    pub actor: Actor,
    /// Its entry in the census. To be kept as long as the connection is open.
    pub seat: Seat,
    /// The rates that the user is held to.
    pub quota: Arc<Quota>,
}

impl Broker {
    /// A vhost by name.
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.load().get(name.as_bytes()).cloned()
    }

    /// connection.open (A1.7).
    ///
    /// # Errors
    /// 530: there is no such vhost, a limit is reached, or the user has no business there.
    pub fn enter(
        &self,
        id: ConnectionId,
        login: Arc<Login>,
        vhost: &str,
    ) -> Result<Entered, AmqpError> {
        let missing = || AmqpError::vhost_not_found(vhost);
        let found = self.vhost(vhost).ok_or_else(missing)?;
        let actor = self.actor(login, found.name());
        let place = Place {
            user: actor.user().clone(),
            vhost: found.name().clone(),
        };
        let of_user = self.limits_of(actor.user());
        let seat = self.census.enter(id, place, &found.limits(), &of_user)?;
        // Only now: when the vhost or the user is deleted, either it is missing here, or this
        // connection is among those that are closed for it.
        self.vhost(vhost)
            .filter(|now| Arc::ptr_eq(now, &found))
            .ok_or_else(missing)?;
        actor.may_enter()?;
        let quota = self.quotas.entry(actor.user().clone());
        let quota = quota.or_insert_with(|| Arc::new(of_user.quota()));
        Ok(Entered {
            quota: Arc::clone(&quota),
            vhost: found,
            actor,
            seat,
        })
    }

    /// A user's limits; one that is in no directory has none.
    pub fn limits_of(&self, user: &Name) -> Limits {
        let directory = self.directory.load();
        let account = directory.account(user);
        account.map_or_else(Limits::default, |account| account.limits.clone())
    }

    /// Creates a vhost, or changes its settings. Whether it is new.
    ///
    /// # Errors
    /// [`ChangeError::Name`].
    pub fn put_vhost(
        &self,
        name: &Name,
        settings: VhostSettings,
        by: &str,
    ) -> Result<Durably<bool>, ChangeError> {
        check_name(name)?;
        let mut end = self.access_changes.lock();
        let mut records = self.log().batch();
        put(&mut records, Table::Vhosts, &VhostRow::of(name, &settings));
        *end = self.append(records)?;
        let known = self.vhost(name);
        let retagged = known
            .as_ref()
            .is_some_and(|vhost| vhost.settings().tags != settings.tags);
        match &known {
            Some(vhost) => vhost.set_settings(settings.clone()),
            None => {
                let vhost = self.new_vhost(name.clone());
                vhost.set_settings(settings.clone());
                let mut vhosts = HashMap::clone(&self.vhosts.load());
                vhosts.insert(name.clone(), Arc::new(vhost));
                self.vhosts.store(Arc::new(vhosts));
            }
        }
        let new = known.is_none();
        info!(target: "audit", by, vhost = %name, new, "vhost set");
        if new {
            for exchange in self.vhost(name).iter().flat_map(|vhost| {
                let topology = vhost.topology();
                topology.graph.exchanges().cloned().collect::<Vec<_>>()
            }) {
                self.events.tell("exchange.created", |headers| {
                    headers.exchange(exchange.spec(), name).by(by);
                });
            }
            self.events.tell("vhost.created", |headers| {
                headers
                    .text("name", name)
                    .text("description", &settings.description)
                    .texts("tags", &settings.tags)
                    .by(by);
            });
        } else if retagged {
            self.events.tell("vhost.tags.set", |headers| {
                headers
                    .text("name", name)
                    .texts("tags", &settings.tags)
                    .by(by);
            });
        }
        Ok(Durably {
            value: new,
            end: *end,
        })
    }

    /// Sets a vhost's limits, all at once. What is there already stays.
    ///
    /// # Errors
    /// There is no such vhost.
    pub fn put_vhost_limits(
        &self,
        name: &Name,
        limits: Limits,
        by: &str,
    ) -> Result<Durably<()>, ChangeError> {
        let mut end = self.access_changes.lock();
        let missing = || ChangeError::NoVhost(name.clone());
        let vhost = self.vhost(name).ok_or_else(missing)?;
        let mut records = self.log().batch();
        let row = VhostLimitsRow {
            vhost: name.clone(),
            limits,
        };
        match row.limits.is_empty() {
            true => delete(&mut records, Table::VhostLimits, &row),
            false => put(&mut records, Table::VhostLimits, &row),
        }
        *end = self.append(records)?;
        info!(target: "audit", by, vhost = %name, limits = ?row.limits, "vhost limits set");
        let event = match row.limits.is_empty() {
            true => "vhost.limits.cleared",
            false => "vhost.limits.set",
        };
        self.events.tell(event, |headers| {
            headers
                .text("name", "limits")
                .text("vhost", name)
                .limits(Limit::OF_VHOST, &row.limits)
                .by(by);
        });
        vhost.set_limits(row.limits);
        Ok(Durably {
            value: (),
            end: *end,
        })
    }

    /// Deletes a vhost with all that is in it and set for it, and closes its connections. Whether
    /// there was one.
    ///
    /// # Errors
    /// It is protected.
    pub fn delete_vhost(&self, name: &Name, by: &str) -> Result<Durably<bool>, ChangeError> {
        let mut end = self.access_changes.lock();
        let Some(vhost) = self.vhost(name) else {
            return Ok(Durably {
                value: false,
                end: *end,
            });
        };
        if vhost.settings().protected {
            return Err(ChangeError::Protected(name.clone()));
        }
        let mut directory = Directory::clone(&self.directory.load());
        let deleted = vhost.change(by, |change| {
            vhost.mark_deleted();
            let before = change.topology.clone();
            for queue in before.queues.values() {
                change.remove_queue(queue, &queue.lock());
            }
            for exchange in before.graph.exchanges() {
                change.remove_exchange(&exchange.spec().name);
            }
            let settings = VhostSettings::default();
            change.delete(Table::Vhosts, &VhostRow::of(name, &settings));
            let limits = VhostLimitsRow {
                vhost: name.clone(),
                limits: Limits::default(),
            };
            change.delete(Table::VhostLimits, &limits);
            leave(&mut directory, name, &mut change.records);
            change.forget_policies();
            self.forget_parameters(name, change);
            change.changed = true;
            Ok(before.queues)
        });
        let Durably {
            value: queues,
            end: at,
        } = deleted.map_err(|_| ChangeError::Log)?;
        *end = at;
        self.directory.store(Arc::new(directory));
        let mut vhosts = HashMap::clone(&self.vhosts.load());
        vhosts.remove(name);
        self.vhosts.store(Arc::new(vhosts));
        self.parameters_left(name);
        for queue in queues.values() {
            vhost.close_queue(queue, &mut queue.lock());
        }
        info!(target: "audit", by, vhost = %name, queues = queues.len(), "vhost deleted");
        self.events.tell("vhost.deleted", |headers| {
            headers.text("name", name).by(by);
        });
        self.close_seats(&AmqpError::vhost_deleted(name), |place| {
            place.vhost == *name
        });
        Ok(Durably {
            value: true,
            end: *end,
        })
    }

    fn append(&self, records: Batch) -> Result<LogPos, ChangeError> {
        let appended = self.log().append(records);
        appended.map(|a| a.end()).map_err(|_| ChangeError::Log)
    }

    /// Closes the connections that are `wanted`.
    pub(super) fn close_seats(&self, reason: &AmqpError, wanted: impl Fn(&Place) -> bool) {
        for id in self.census.find(wanted) {
            if let Some(connection) = self.connections.get(&id) {
                connection.handle.close(reason.clone());
            }
        }
    }
}

/// Takes all permissions in a vhost out of the directory and the catalogue.
fn leave(directory: &mut Directory, vhost: &Name, records: &mut Batch) {
    let users: Vec<Name> = directory
        .accounts()
        .map(|account| account.user.name.clone())
        .collect();
    for user in users {
        if let Some(permission) = directory.permission(&user, vhost).cloned() {
            directory.remove_permission(&user, vhost);
            let row = PermissionRow::from(&*permission);
            delete(records, Table::Permissions, &row);
        }
        let account = directory.account(&user);
        if !account.is_some_and(|account| account.restricts_topics(vhost)) {
            continue;
        }
        for permission in directory.remove_topic_permissions(&user, vhost, None) {
            let row = TopicPermissionRow::from(&*permission);
            delete(records, Table::TopicPermissions, &row);
        }
    }
}

fn put(records: &mut Batch, table: Table, row: &impl Row) {
    records.put(table, &row.key(), &row.value());
}

fn delete(records: &mut Batch, table: Table, row: &impl Row) {
    records.delete(table, &row.key());
}
