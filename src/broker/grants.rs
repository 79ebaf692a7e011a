//! What a user may do in a vhost, asked at the place where an operation asks it (A10).
//!
//! Owns which permission each operation needs, and what a publisher remembers of the answers until the
//! directory changes: a publish that is like the one before asks nothing.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::vhost::{Topology, Vhost};
use crate::auth::{Actor, Directory};
use crate::base::{Access, AmqpError, Name, Resource};
use crate::router::ExchangeKind;

impl Vhost {
    /// Binding to a queue or an exchange, and unbinding: write to the destination, read from the source
    /// and, of a topic exchange, the key. Neither end need exist.
    ///
    /// # Errors
    /// 403.
    pub fn may_bind(
        &self,
        by: &Actor,
        to: Resource<'_>,
        source: &Name,
        key: &[u8],
    ) -> Result<(), AmqpError> {
        by.may(Access::Write, to)?;
        let source_at = Resource::exchange(source, self.name());
        if to.is_default_exchange() || source_at.is_default_exchange() {
            return Err(AmqpError::default_exchange());
        }
        by.may(Access::Read, source_at)?;
        match self.topology().is_topic(source.as_bytes()) {
            true => by.may_topic(Access::Read, source, key),
            false => Ok(()),
        }
    }
}

impl Topology {
    fn is_topic(&self, exchange: &[u8]) -> bool {
        let exchange = self.graph.get(exchange);
        exchange.is_some_and(|exchange| exchange.spec().kind == ExchangeKind::Topic)
    }
}

/// Exchanges that a publisher remembers; RabbitMQ's channels have as many.
const REMEMBERED_MAX: usize = 12;

/// See the module.
pub(super) struct Grants {
    actor: Actor,
    directory: Arc<Directory>,
    /// Exchanges that may be written to.
    granted: SmallVec<[Bytes; 2]>,
    /// Whether the user's routing keys are restricted anywhere in the vhost.
    restricts_topics: bool,
}

impl Grants {
    pub(super) fn new(actor: Actor) -> Self {
        let directory = actor.directory();
        Grants {
            restricts_topics: actor.restricts_topics(&directory),
            actor,
            directory,
            granted: SmallVec::new(),
        }
    }

    pub(super) fn user(&self) -> &Name {
        self.actor.user()
    }

    /// Forgets everything if the directory has changed. Whether it has.
    pub(super) fn refresh(&mut self) -> bool {
        if self.actor.is_current(&self.directory) {
            return false;
        }
        self.directory = self.actor.directory();
        self.restricts_topics = self.actor.restricts_topics(&self.directory);
        self.granted.clear();
        true
    }

    /// Whether an exchange, which need not exist, may be published to.
    pub(super) fn may_write(&mut self, exchange: &[u8], vhost: &Name) -> Result<(), AmqpError> {
        if self.granted.iter().any(|granted| granted == exchange) {
            return Ok(());
        }
        let name = String::from_utf8_lossy(exchange);
        let what = Resource::exchange(&name, vhost);
        self.actor.may(Access::Write, what)?;
        if self.granted.len() >= REMEMBERED_MAX {
            self.granted.clear();
        }
        self.granted.push(Bytes::copy_from_slice(exchange));
        Ok(())
    }

    /// Whether a message may be published with these routing keys.
    pub(super) fn may_use_keys<'k>(
        &self,
        topology: &Topology,
        exchange: &[u8],
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<(), AmqpError> {
        if !self.restricts_topics || !topology.is_topic(exchange) {
            return Ok(());
        }
        let Ok(name) = std::str::from_utf8(exchange).map(Name::from) else {
            return Ok(());
        };
        let mut keys = keys.into_iter();
        if self.actor.asks_for_each_key() {
            return keys.try_for_each(|key| self.actor.may_topic(Access::Write, &name, key));
        }
        let Some(permission) = self.actor.topic_permission(&self.directory, &name) else {
            return Ok(());
        };
        keys.try_for_each(|key| self.actor.held_to(&permission, Access::Write, key))
    }
}
