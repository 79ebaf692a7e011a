//! queue.declare, .delete and .purge, and who may use a queue.
//!
//! Owns RabbitMQ's rules of names, exclusivity, equivalence and auto-delete (A4).

use std::borrow::Cow;

use bytes::Bytes;

use super::arguments::{self, Compared};
use super::dedup::WindowOf;
use super::events::INTERNAL_USER;
use super::exchanges::RESERVED_PREFIX;
use super::queue_arguments;
use super::rows::QueueRow;
use super::vhost::{Change, Durably, Vhost};
use crate::auth::Actor;
use crate::base::{Access, AmqpError, ConnectionId, Name, ReplyCode, Resource, clock};
use crate::codec::{RawTable, TableBuilder, Value};
use crate::queue::{Effects, Queue, QueueKind, QueueRef, QueueSpec};
use crate::router::Destination;
use crate::store::Table;

const QUEUE_TYPE: &str = "x-queue-type";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";

/// What queue.declare asks for.
#[derive(Debug, Clone)]
pub struct QueueDeclaration {
    /// Its name; empty asks for one from the broker (A4.2).
    pub name: Name,
    /// Survives a restart. Without effect on an exclusive queue.
    pub durable: bool,
    /// For this connection only, and gone with it (A4.3).
    pub exclusive: bool,
    /// Goes with its last consumer (A4.4).
    pub auto_delete: bool,
    /// The arguments as sent.
    pub arguments: RawTable,
}

/// What queue.delete makes a condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeleteIf {
    /// No consumer.
    pub unused: bool,
    /// No ready message.
    pub empty: bool,
}

impl Vhost {
    /// The queue of a name, if `connection` may use it: else 404 or 405.
    pub fn queue(&self, name: &Name, connection: ConnectionId) -> Result<QueueRef, AmqpError> {
        let topology = self.topology();
        let queue = topology.queues.get(name);
        let queue = queue.ok_or_else(|| AmqpError::no_queue(name, self.name()))?;
        self.not_locked(queue, connection)?;
        Ok(queue.clone())
    }

    /// queue.declare with passive.
    pub fn find_queue(
        &self,
        name: &Name,
        connection: ConnectionId,
    ) -> Result<Durably<QueueRef>, AmqpError> {
        let queue = self.queue(name, connection)?;
        self.use_queue(&queue)?;
        Ok(self.unchanged(queue))
    }

    /// queue.declare: creates it, or holds it against what is there.
    pub fn declare_queue(
        &self,
        wanted: &QueueDeclaration,
        connection: ConnectionId,
    ) -> Result<Durably<QueueRef>, AmqpError> {
        self.declare(wanted, None, connection, INTERNAL_USER, |_, _| Ok(()))
    }

    /// The same by a user, who may configure the name; a queue with a dead-letter exchange is also
    /// read from, and that written to (A10). One without a name gets `chosen`, or another.
    pub fn declare_queue_as(
        &self,
        by: &Actor,
        wanted: &QueueDeclaration,
        chosen: Option<&Name>,
        connection: ConnectionId,
    ) -> Result<Durably<QueueRef>, AmqpError> {
        let permit = |access, what: Resource<'_>| by.may(access, what);
        self.declare(wanted, chosen, connection, by.user(), permit)
    }

    fn declare(
        &self,
        wanted: &QueueDeclaration,
        chosen: Option<&Name>,
        connection: ConnectionId,
        by: &str,
        permit: impl Fn(Access, Resource<'_>) -> Result<(), AmqpError>,
    ) -> Result<Durably<QueueRef>, AmqpError> {
        let wanted = &*self.with_default_type(wanted);
        let name = match wanted.name.is_empty() {
            true => chosen.cloned().unwrap_or_else(|| server_name(QUEUE_PREFIX)),
            // Also of a queue that is there (A2, Corrections).
            false if wanted.name.starts_with(RESERVED_PREFIX) => {
                return Err(AmqpError::reserved_queue_prefix(&wanted.name));
            }
            false => wanted.name.clone(),
        };
        let at = Resource::queue(&name, self.name());
        permit(Access::Configure, at)?;
        // What is there needs no change, and so no lock.
        if let Some(current) = self.topology().queues.get(&name) {
            self.equivalent(current, wanted, connection)?;
            self.use_queue(current)?;
            self.ended.broker.queues_declared.add(1);
            return Ok(self.unchanged(current.clone()));
        }
        self.check_queue_limit(&self.limits(), &name, self.topology().queues.len())?;
        if let Some(exchange) = wanted.arguments.get(DEAD_LETTER_EXCHANGE)
            && let Some(exchange) = exchange.as_str()
        {
            permit(Access::Read, at)?;
            permit(Access::Write, Resource::exchange(exchange, self.name()))?;
        }
        let kind = queue_arguments::read(&wanted.arguments, at)?.kind;
        fit(wanted, kind, at)?;
        let mut created = false;
        let declared = self.change(by, |change| {
            if let Some(current) = change.topology.queues.get(&name) {
                self.equivalent(current, wanted, connection)?;
                return Ok(current.clone());
            }
            self.check_queue_limit(&self.limits(), &name, change.topology.queues.len())?;
            let owner = wanted.exclusive.then_some(connection);
            created = true;
            Ok(change.add_queue(&name, wanted, kind, owner))
        })?;
        match created {
            true => self.begin_queue(&declared.value)?,
            false => self.use_queue(&declared.value)?,
        }
        self.ended.broker.queues_declared.add(1);
        Ok(declared)
    }

    /// A queue was created.
    pub(super) fn begin_queue(&self, queue: &QueueRef) -> Result<(), AmqpError> {
        self.ended.broker.queues_created.add(1);
        self.use_queue(queue)
    }

    /// A declaration that names no type gets the vhost's, if it can be of that type (A4.7).
    fn with_default_type<'w>(&self, wanted: &'w QueueDeclaration) -> Cow<'w, QueueDeclaration> {
        let Some(kind) = self.settings().default_queue_type else {
            return Cow::Borrowed(wanted);
        };
        let named = wanted.arguments.get(QUEUE_TYPE).is_some();
        let fits = match kind {
            QueueKind::Classic => true,
            QueueKind::Quorum => wanted.durable && !wanted.exclusive && !wanted.auto_delete,
        };
        if named || !fits {
            return Cow::Borrowed(wanted);
        }
        let mut arguments = TableBuilder::new();
        for (name, value) in wanted.arguments.view() {
            arguments.insert_raw(name, value);
        }
        arguments.insert(QUEUE_TYPE, Value::LongStr(kind.name().as_bytes()));
        let mut typed = wanted.clone();
        typed.arguments = arguments.finish();
        Cow::Owned(typed)
    }

    /// A queue that expires without use is used now (A4.10).
    fn use_queue(&self, queue: &QueueRef) -> Result<(), AmqpError> {
        if queue.settings().options.expires_ms.is_none() {
            return Ok(());
        }
        let touch = |state: &mut Queue, now_ms, _: &mut Effects| state.touch(now_ms);
        self.change_queue(queue, &mut Effects::default(), touch)
            .map(drop)
    }

    /// queue.delete. How many messages were ready; 0 if there is no such queue, which is no error.
    pub fn delete_queue(
        &self,
        name: &Name,
        conditions: DeleteIf,
        connection: ConnectionId,
        by: &str,
    ) -> Result<Durably<usize>, AmqpError> {
        let queue = match self.queue(name, connection) {
            Ok(queue) => queue,
            Err(fault) if fault.code == ReplyCode::NotFound => {
                return Ok(self.unchanged(0));
            }
            Err(fault) => return Err(fault),
        };
        self.remove_queue(&queue, by, |state| {
            if conditions.empty && state.ready_len() > 0 {
                return Err(AmqpError::queue_not_empty(&queue.name, self.name()));
            }
            if conditions.unused && state.consumers_len() > 0 {
                return Err(AmqpError::queue_in_use(&queue.name, self.name()));
            }
            Ok(())
        })
    }

    /// Deletes an exclusive queue with its connection.
    pub fn delete_exclusive(&self, queue: &QueueRef) -> Result<Durably<usize>, AmqpError> {
        self.remove_queue(queue, INTERNAL_USER, |_| Ok(()))
    }

    /// Deletes an auto-delete queue, unless a consumer has come meanwhile.
    pub(super) fn delete_unused(&self, queue: &QueueRef) -> Result<Durably<usize>, AmqpError> {
        self.delete_if(queue, |state| state.consumers_len() == 0)
    }

    fn delete_if(
        &self,
        queue: &QueueRef,
        still: impl FnOnce(&Queue) -> bool,
    ) -> Result<Durably<usize>, AmqpError> {
        let removed = self.remove_queue(queue, INTERNAL_USER, |state| match still(state) {
            true => Ok(()),
            false => Err(AmqpError::queue_in_use(&queue.name, self.name())),
        });
        match removed {
            Err(fault) if fault.code == ReplyCode::PreconditionFailed => Ok(self.unchanged(0)),
            other => other,
        }
    }

    /// Deletes a queue that nobody has used for its time, unless somebody has meanwhile (A4.10).
    pub(super) fn delete_expired(&self, queue: &QueueRef) -> Result<Durably<usize>, AmqpError> {
        self.delete_if(queue, |state| state.is_expired(clock::now_ms()))
    }

    /// queue.purge: how many messages were dropped (A4.8).
    pub fn purge_queue(&self, queue: &QueueRef) -> Result<Durably<usize>, AmqpError> {
        let mut effects = Effects::default();
        let count = queue.lock().purge(&mut effects);
        let end = self.follow_up(queue, &mut effects)?;
        Ok(Durably { value: count, end })
    }

    fn remove_queue(
        &self,
        queue: &QueueRef,
        by: &str,
        check: impl FnOnce(&Queue) -> Result<(), AmqpError>,
    ) -> Result<Durably<usize>, AmqpError> {
        // Locked from the check to the end, so that nothing comes between that the check should have
        // seen.
        let mut locked = None;
        let removed = self.change(by, |change| {
            if change.topology.queues.get(&queue.name) != Some(queue) {
                return Ok(());
            }
            let state = queue.lock();
            check(&state)?;
            change.remove_queue(queue, &state);
            locked = Some(state);
            Ok(())
        })?;
        // After the change: whoever still routes to it finds it gone, and no consumer is told of
        // an end that did not come. What it held needs no records, as its id is no more.
        let count = locked.map_or(0, |mut state| self.close_queue(queue, &mut state));
        Ok(Durably {
            value: count,
            end: removed.end,
        })
    }

    /// Ends a queue that is in the topology no more: its consumers are told, its messages let go. How
    /// many were ready.
    pub(super) fn close_queue(&self, queue: &QueueRef, state: &mut Queue) -> usize {
        let mut ended = self.ended.counts.lock();
        *ended.queues(queue.kind) += state.tally().counts();
        drop(ended);
        self.ended.broker.queues_deleted.add(1);
        let mut effects = Effects::default();
        let count = state.close(&mut effects);
        self.release(&mut effects);
        count
    }

    /// Fails with 405 if the queue is another connection's alone (A4.3).
    pub fn not_locked(&self, queue: &QueueRef, connection: ConnectionId) -> Result<(), AmqpError> {
        match queue.exclusive_to {
            Some(owner) if owner != connection => {
                Err(AmqpError::locked_queue(&queue.name, self.name()))
            }
            _ => Ok(()),
        }
    }

    /// Exclusivity before flags before arguments, as RabbitMQ compares them.
    fn equivalent(
        &self,
        current: &QueueRef,
        wanted: &QueueDeclaration,
        connection: ConnectionId,
    ) -> Result<(), AmqpError> {
        let at = Resource::queue(&current.name, self.name());
        self.not_locked(current, connection)?;
        if wanted.exclusive != current.exclusive_to.is_some() {
            return Err(AmqpError::locked_queue(&current.name, self.name()));
        }
        let durable = wanted.durable && !wanted.exclusive;
        if durable != current.durable {
            return Err(AmqpError::inequivalent_flag(
                "durable",
                at,
                durable,
                current.durable,
            ));
        }
        let (received, is) = (wanted.auto_delete, current.auto_delete);
        if received != is {
            return Err(AmqpError::inequivalent_flag(
                "auto_delete",
                at,
                received,
                is,
            ));
        }
        let is = arguments::stored(&current.settings().arguments);
        let both = Compared {
            wanted: &wanted.arguments,
            current: &is,
        };
        if queue_arguments::kind(&wanted.arguments, at)? != current.kind {
            return arguments::equivalent(both, [QUEUE_TYPE], at);
        }
        arguments::equivalent(both, queue_arguments::compared(), at)
    }
}

impl Change<'_> {
    /// Adds a queue whose name is free, and whose arguments are valid for its type. Once the change
    /// is made, [`Vhost::begin_queue`] follows.
    pub(super) fn add_queue(
        &mut self,
        name: &Name,
        wanted: &QueueDeclaration,
        kind: QueueKind,
        owner: Option<ConnectionId>,
    ) -> QueueRef {
        let settings = self.vhost.settings_for(name, kind, &wanted.arguments);
        let spec = QueueSpec {
            id: self.vhost.next_queue_id(),
            vhost: self.vhost.name().clone(),
            name: name.clone(),
            durable: wanted.durable && owner.is_none(),
            exclusive_to: owner,
            auto_delete: wanted.auto_delete,
            kind,
            is_store: false,
        };
        let queue = QueueRef::new(spec, settings);
        if queue.durable {
            let arguments = wanted.arguments.octets().clone();
            self.put(Table::Queues, &QueueRow::of(&queue, arguments));
        }
        self.topology.queues.insert(queue.clone());
        let (told, arguments) = (queue.clone(), wanted.arguments.clone());
        self.tell("queue.created", move |headers| {
            headers
                .text("name", &told.name)
                .text("vhost", &told.vhost)
                .text("type", told.kind.name())
                .flag("durable", told.durable)
                .flag("auto_delete", told.auto_delete)
                .flag("exclusive", told.exclusive_to.is_some())
                .table("arguments", &arguments);
        });
        let rule = queue.settings().options.dedup.clone();
        if let Some(rule) = rule.filter(|rule| !rule.while_there) {
            self.add_window(WindowOf::Queue(name.clone()), rule, queue.durable);
        }
        self.changed = true;
        queue
    }

    /// Takes a queue out with its bindings, and the auto-delete exchanges that this leaves unused.
    /// `state` is the queue's.
    pub(super) fn remove_queue(&mut self, queue: &QueueRef, state: &Queue) {
        self.topology.queues.remove(&queue.name);
        self.changed = true;
        if queue.durable {
            self.delete(Table::Queues, &QueueRow::of(queue, Bytes::new()));
        }
        self.remove_window(&WindowOf::Queue(queue.name.clone()));
        if self.are_events_wanted() {
            for consumer in state.consumers() {
                let told = queue.clone();
                self.tell("consumer.deleted", move |headers| {
                    headers.consumer(&told, &consumer.tag);
                });
            }
        }
        let removed = self
            .topology
            .graph
            .remove_destination(&Destination::Queue(queue.clone()));
        self.internally(|change| {
            for name in change.auto_deleted(&removed.unused_sources) {
                change.remove_exchange(&name);
            }
            change.forget_bindings(&removed.bindings);
        });
        let told = queue.clone();
        self.tell("queue.deleted", move |headers| {
            headers.text("name", &told.name).text("vhost", &told.vhost);
        });
    }
}

/// What a quorum queue cannot be.
pub(super) fn fit(
    wanted: &QueueDeclaration,
    kind: QueueKind,
    at: Resource<'_>,
) -> Result<(), AmqpError> {
    if kind == QueueKind::Classic {
        return Ok(());
    }
    if wanted.name.is_empty() {
        return Err(AmqpError::server_named_of_type(kind.module()));
    }
    let faults = [
        ("auto-delete", wanted.auto_delete),
        ("exclusive-owner", wanted.exclusive),
        ("non-durable", !wanted.durable),
    ];
    match faults.iter().find(|(_, is)| *is) {
        Some((property, _)) => Err(AmqpError::invalid_property(property, at)),
        None => Ok(()),
    }
}

/// What the names of queues begin with that were declared without one (A4.2).
pub const QUEUE_PREFIX: &str = "amq.gen";

/// A name of the broker's making, such as `amq.gen-` and 22 random characters (A4.2, A6.18).
pub fn server_name(prefix: &str) -> Name {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let random: [u8; 22] = rand::random();
    let letters = random
        .iter()
        .map(|r| ALPHABET.get(usize::from(r & 63)).map_or('A', |&c| c.into()));
    Name::from(format!("{prefix}-{}", letters.collect::<String>()))
}
