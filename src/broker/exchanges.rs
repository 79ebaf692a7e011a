//! exchange.declare, .delete, .bind and .unbind, and queue.bind and .unbind.
//!
//! Owns RabbitMQ's rules of equivalence, reserved names, auto-delete and durability of bindings.

use std::sync::Arc;

use bytes::Bytes;

use super::arguments::{self, Compared};
use super::dedup::WindowOf;
use super::events::INTERNAL_USER;
use super::queue_arguments;
use super::rows::{BindingRow, ExchangeRow};
use super::stores;
use super::vhost::{Change, Durably, Vhost};
use crate::auth::Actor;
use crate::base::{Access, AmqpError, ConnectionId, LogPos, Name, Resource};
use crate::codec::RawTable;
use crate::queue::QueueRef;
use crate::router::{
    BindError, Binding, BindingArguments, Bound, Destination, Exchange, ExchangeKind, ExchangeSpec,
    HashOn, WeightError, XMatchError,
};
use crate::store::Table;

/// Names that only the broker may give (A2).
pub(super) const RESERVED_PREFIX: &str = "amq.";

/// The arguments compared when an exchange is declared again (A3.20).
const COMPARED: [&str; 1] = ["alternate-exchange"];

/// What exchange.declare asks for.
#[derive(Debug, Clone)]
pub struct ExchangeDeclaration {
    /// Its name.
    pub name: Name,
    /// The type as sent.
    pub kind: String,
    /// Survives a restart.
    pub durable: bool,
    /// Goes with its last binding (A3.14).
    pub auto_delete: bool,
    /// Only exchanges may publish to it.
    pub internal: bool,
    /// The arguments as sent.
    pub arguments: RawTable,
}

impl ExchangeDeclaration {
    /// What it makes of an exchange: reads the arguments that its type knows.
    pub(super) fn spec(&self, vhost: &Name) -> Result<ExchangeSpec, AmqpError> {
        let table = &self.arguments;
        let at = Resource::exchange(&self.name, vhost);
        let delayed = ExchangeSpec::is_delayed_type(&self.kind);
        let kind = match delayed {
            true => kind_of(arguments::delayed_type(table)?)?,
            false => kind_of(&self.kind)?,
        };
        // Both would need the exchange's one store.
        if delayed && kind == ExchangeKind::RecentHistory {
            return Err(AmqpError::unknown_exchange_type(kind.name()));
        }
        Ok(ExchangeSpec {
            name: self.name.clone(),
            kind,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: table.octets().clone(),
            alternate: arguments::alternate_exchange(table, at)?,
            hash_on: match kind {
                ExchangeKind::ConsistentHash => arguments::hash_on(table, at)?,
                _ => HashOn::default(),
            },
            dedup: match kind {
                ExchangeKind::Deduplication => Some(queue_arguments::dedup_rule(table, at)?),
                _ => queue_arguments::dedup(table, at)?,
            },
            history_len: match kind {
                ExchangeKind::RecentHistory => arguments::history_len(table)?,
                _ => 0,
            },
            delayed,
        })
    }
}

/// The kind that a type names, or 406.
fn kind_of(name: &str) -> Result<ExchangeKind, AmqpError> {
    ExchangeKind::from_name(name.as_bytes()).ok_or_else(|| AmqpError::unknown_exchange_type(name))
}

/// One binding as a client names it.
#[derive(Debug, Clone)]
pub struct BindingSpec {
    /// The exchange it starts from.
    pub source: Name,
    /// The routing key.
    pub key: Bytes,
    /// The arguments as sent.
    pub arguments: RawTable,
}

impl Vhost {
    /// exchange.declare with passive: 404 if there is none.
    pub fn find_exchange(&self, name: &Name) -> Result<Durably<()>, AmqpError> {
        not_default(name)?;
        self.topology().exchange(self.name(), name)?;
        Ok(self.unchanged(()))
    }

    /// exchange.declare: creates it, or holds it against what is there (A3.20).
    pub fn declare_exchange(&self, wanted: &ExchangeDeclaration) -> Result<Durably<()>, AmqpError> {
        self.declare_permitted(wanted, INTERNAL_USER, |_, _| Ok(()))
    }

    /// The same by a user, who may configure the name; an exchange with an alternate is also read
    /// from, and that written to (A10).
    pub fn declare_exchange_as(
        &self,
        by: &Actor,
        wanted: &ExchangeDeclaration,
    ) -> Result<Durably<()>, AmqpError> {
        self.declare_permitted(wanted, by.user(), |access, what| by.may(access, what))
    }

    fn declare_permitted(
        &self,
        wanted: &ExchangeDeclaration,
        by: &str,
        permit: impl Fn(Access, Resource<'_>) -> Result<(), AmqpError>,
    ) -> Result<Durably<()>, AmqpError> {
        if !ExchangeSpec::is_delayed_type(&wanted.kind) {
            kind_of(&wanted.kind)?;
        }
        not_default(&wanted.name)?;
        let at = Resource::exchange(&wanted.name, self.name());
        permit(Access::Configure, at)?;
        // What is there needs no change, and so no lock; and who permits may have to ask.
        if let Some(current) = self.topology().graph.get(wanted.name.as_bytes()) {
            equivalent(current.spec(), wanted, self.name())?;
            return Ok(self.unchanged(()));
        }
        if wanted.name.starts_with(RESERVED_PREFIX) {
            return Err(AmqpError::reserved_exchange_prefix(&wanted.name));
        }
        if let Some(alternate) = arguments::alternate_exchange(&wanted.arguments, at)? {
            permit(Access::Read, at)?;
            permit(Access::Write, Resource::exchange(&alternate, self.name()))?;
        }
        self.change(by, |change| {
            if let Some(current) = change.topology.graph.get(wanted.name.as_bytes()) {
                return equivalent(current.spec(), wanted, self.name());
            }
            let count = change.topology.graph.exchange_count();
            self.check_exchange_limit(&self.limits(), &wanted.name, count)?;
            change.add_exchange(wanted)
        })
    }

    /// Whether clients may delete an exchange of this name at all.
    ///
    /// # Errors
    /// 403.
    pub fn check_deletable(&self, name: &Name) -> Result<(), AmqpError> {
        not_default(name)?;
        match name.starts_with(RESERVED_PREFIX) {
            true => Err(AmqpError::delete_system_exchange(name, self.name())),
            false => Ok(()),
        }
    }

    /// exchange.delete. One that does not exist is no error.
    pub fn delete_exchange(
        &self,
        name: &Name,
        if_unused: bool,
        by: &str,
    ) -> Result<Durably<()>, AmqpError> {
        self.check_deletable(name)?;
        self.change(by, |change| {
            let found = change.topology.graph.get(name.as_bytes());
            if if_unused && found.is_some_and(|exchange| !exchange.is_unused()) {
                return Err(AmqpError::exchange_in_use(name, self.name()));
            }
            change.remove_exchange(name);
            Ok(())
        })
    }

    /// exchange.bind.
    pub fn bind_exchange(
        &self,
        to: &Name,
        spec: &BindingSpec,
        by: &str,
    ) -> Result<Durably<()>, AmqpError> {
        not_default(to)?;
        not_default(&spec.source)?;
        let destination = Destination::Exchange(to.clone());
        let bound = self.change(by, |change| change.bind(destination.clone(), spec))?;
        self.remind(bound, &destination, spec)
    }

    /// exchange.unbind.
    pub fn unbind_exchange(
        &self,
        to: &Name,
        spec: &BindingSpec,
        by: &str,
    ) -> Result<Durably<()>, AmqpError> {
        not_default(to)?;
        not_default(&spec.source)?;
        self.change(by, |change| {
            change.unbind(Destination::Exchange(to.clone()), spec);
            Ok(())
        })
    }

    /// queue.bind.
    pub fn bind_queue(
        &self,
        queue: &QueueRef,
        spec: &BindingSpec,
        by: &str,
    ) -> Result<Durably<()>, AmqpError> {
        not_default(&spec.source)?;
        let destination = Destination::Queue(queue.clone());
        let bound = self.change(by, |change| {
            if change.topology.queues.get(&queue.name) != Some(queue) {
                return Err(AmqpError::no_queue(&queue.name, self.name()));
            }
            change.bind(destination.clone(), spec)
        })?;
        self.remind(bound, &destination, spec)
    }

    /// A destination that is newly bound gets what the exchange remembers.
    fn remind(
        &self,
        bound: Durably<Bound>,
        destination: &Destination<QueueRef>,
        spec: &BindingSpec,
    ) -> Result<Durably<()>, AmqpError> {
        let told = match bound.value {
            Bound::New => self.tell_history(&spec.source, destination)?,
            Bound::Existed => LogPos::NONE,
        };
        Ok(Durably {
            value: (),
            end: bound.end.max(told),
        })
    }

    /// queue.unbind. Of another connection's exclusive queue: 405, if the binding is there at all.
    pub fn unbind_queue(
        &self,
        queue: &QueueRef,
        spec: &BindingSpec,
        connection: ConnectionId,
        by: &str,
    ) -> Result<Durably<()>, AmqpError> {
        not_default(&spec.source)?;
        self.change(by, |change| {
            if change.unbind(Destination::Queue(queue.clone()), spec) {
                self.not_locked(queue, connection)?;
            }
            Ok(())
        })
    }
}

impl super::vhost::Topology {
    /// The exchange of a name, or 404.
    pub(super) fn exchange(
        &self,
        vhost: &Name,
        name: &Name,
    ) -> Result<&Arc<Exchange<QueueRef>>, AmqpError> {
        self.graph
            .get(name.as_bytes())
            .ok_or_else(|| AmqpError::no_exchange(name, vhost))
    }

    fn is_durable(&self, end: &Destination<QueueRef>) -> bool {
        match end {
            Destination::Queue(queue) => queue.durable,
            Destination::Exchange(name) => self.exchange_is_durable(name),
        }
    }

    fn exchange_is_durable(&self, name: &Name) -> bool {
        self.graph
            .get(name.as_bytes())
            .is_some_and(|exchange| exchange.spec().durable)
    }
}

impl Change<'_> {
    /// Adds an exchange whose name is free.
    pub(super) fn add_exchange(&mut self, wanted: &ExchangeDeclaration) -> Result<(), AmqpError> {
        let mut spec = wanted.spec(self.vhost.name())?;
        spec.alternate = self.vhost.alternate_of(&spec.name, spec.alternate);
        let store = stores::options(&spec);
        let rule = spec.dedup.clone();
        if spec.durable {
            self.put(Table::Exchanges, &ExchangeRow::of(self.vhost.name(), &spec));
        }
        let (told, vhost) = (spec.clone(), self.vhost.name().clone());
        self.tell("exchange.created", move |headers| {
            headers.exchange(&told, &vhost);
        });
        self.topology.graph.insert(spec);
        if let Some(options) = store {
            self.add_store(&wanted.name, wanted.durable, options);
        }
        if let Some(rule) = rule {
            self.add_window(
                WindowOf::Exchange(wanted.name.clone()),
                rule,
                wanted.durable,
            );
        }
        self.changed = true;
        Ok(())
    }

    pub(super) fn bind(
        &mut self,
        destination: Destination<QueueRef>,
        spec: &BindingSpec,
    ) -> Result<Bound, AmqpError> {
        let vhost = self.vhost.name();
        let arguments = arguments::of_binding(&spec.arguments);
        let graph = &mut self.topology.graph;
        match graph.bind(
            spec.source.as_bytes(),
            destination.clone(),
            &spec.key,
            arguments.clone(),
        ) {
            Ok(Bound::Existed) => return Ok(Bound::Existed),
            Ok(Bound::New) => self.changed = true,
            Err(fault) => return Err(bind_fault(fault, &destination, spec, vhost)),
        }
        self.tell_binding(
            "binding.created",
            &Binding {
                source: spec.source.clone(),
                destination: destination.clone(),
                key: spec.key.clone(),
                arguments: arguments.clone(),
            },
        );
        self.record_binding(destination, spec, arguments, true);
        Ok(Bound::New)
    }

    fn tell_binding(&mut self, event: &'static str, binding: &Binding<QueueRef>) {
        let (binding, vhost) = (binding.clone(), self.vhost.name().clone());
        self.tell(event, move |headers| {
            let (kind, name) = match &binding.destination {
                Destination::Queue(queue) => ("queue", &queue.name),
                Destination::Exchange(name) => ("exchange", name),
            };
            headers
                .text("source_name", &binding.source)
                .text("source_kind", "exchange")
                .text("destination_name", name)
                .text("destination_kind", kind)
                .octets("routing_key", &binding.key)
                .text("vhost", &vhost)
                .table("arguments", &arguments::stored(binding.arguments.encoded()));
        });
    }

    /// Whether the binding was there.
    fn unbind(&mut self, destination: Destination<QueueRef>, spec: &BindingSpec) -> bool {
        let arguments = arguments::of_binding(&spec.arguments);
        let graph = &mut self.topology.graph;
        let source = spec.source.as_bytes();
        let unbound = graph.unbind(source, destination.clone(), &spec.key, arguments.clone());
        if !unbound.existed {
            return false;
        }
        self.changed = true;
        let binding = Binding {
            source: spec.source.clone(),
            destination: destination.clone(),
            key: spec.key.clone(),
            arguments: arguments.clone(),
        };
        self.record_binding(destination, spec, arguments, false);
        if unbound.source_now_unused {
            for name in self.auto_deleted(std::slice::from_ref(&spec.source)) {
                self.remove_exchange(&name);
            }
        }
        self.tell_binding("binding.deleted", &binding);
        true
    }

    /// A binding is durable if and only if both its ends are (A3.17).
    fn record_binding(
        &mut self,
        destination: Destination<QueueRef>,
        spec: &BindingSpec,
        arguments: BindingArguments,
        exists: bool,
    ) {
        let topology = &self.topology;
        if !topology.exchange_is_durable(&spec.source) || !topology.is_durable(&destination) {
            return;
        }
        let (source, key) = (spec.source.clone(), spec.key.clone());
        let binding = Binding {
            source,
            destination,
            key,
            arguments,
        };
        let row = BindingRow::of(self.vhost.name(), &binding);
        match exists {
            true => self.put(Table::Bindings, &row),
            false => self.delete(Table::Bindings, &row),
        }
    }

    /// Takes the records of bindings out that went with one of their ends. A row that was never
    /// written is deleted to no effect.
    pub(super) fn forget_bindings(&mut self, bindings: &[Arc<Binding<QueueRef>>]) {
        for binding in bindings {
            self.tell_binding("binding.deleted", binding);
            let lasting = match &binding.destination {
                Destination::Queue(queue) => queue.durable,
                Destination::Exchange(_) => true,
            };
            if lasting {
                self.delete(Table::Bindings, &BindingRow::of(self.vhost.name(), binding));
            }
        }
    }
}

fn bind_fault(
    fault: BindError,
    destination: &Destination<QueueRef>,
    spec: &BindingSpec,
    vhost: &Name,
) -> AmqpError {
    match (fault, destination) {
        (BindError::NoSource, _) => AmqpError::no_exchange(&spec.source, vhost),
        (BindError::NoDestination, Destination::Exchange(name)) => {
            AmqpError::no_exchange(name, vhost)
        }
        (BindError::NoDestination, Destination::Queue(queue)) => {
            AmqpError::no_queue(&queue.name, vhost)
        }
        (BindError::XMatch(XMatchError::UnknownMode(value)), _) => AmqpError::x_match_value(&value),
        (BindError::XMatch(XMatchError::NotLongString), _) => {
            arguments::x_match_type(&spec.arguments)
        }
        (BindError::Weight(WeightError::NotInteger), _) => AmqpError::weight_not_integer(&spec.key),
        (BindError::Weight(WeightError::NotPositive), _) => AmqpError::weight_not_positive(),
        (BindError::Weight(WeightError::TooLarge(max)), _) => AmqpError::weight_too_large(max),
        (BindError::KeyNotEmpty, _) => {
            AmqpError::local_random_key(&String::from_utf8_lossy(&spec.key))
        }
        (BindError::NotAQueue, _) => AmqpError::local_random_destination(),
        // A short string cannot be so long.
        (BindError::KeyTooLong(_), _) => AmqpError::internal(),
    }
}

fn not_default(name: &Name) -> Result<(), AmqpError> {
    if name.is_empty() {
        Err(AmqpError::default_exchange())
    } else {
        Ok(())
    }
}

fn equivalent(
    current: &ExchangeSpec,
    wanted: &ExchangeDeclaration,
    vhost: &Name,
) -> Result<(), AmqpError> {
    let at = Resource::exchange(&current.name, vhost);
    let (received, is) = (&wanted.kind, current.type_name());
    if received != is {
        return Err(AmqpError::inequivalent_type(at, received, is));
    }
    let flags = [
        ("durable", wanted.durable, current.durable),
        ("auto_delete", wanted.auto_delete, current.auto_delete),
        ("internal", wanted.internal, current.internal),
    ];
    for (name, received, current) in flags {
        if received != current {
            return Err(AmqpError::inequivalent_flag(name, at, received, current));
        }
    }
    let current = arguments::stored(&current.arguments);
    arguments::equivalent(
        Compared {
            wanted: &wanted.arguments,
            current: &current,
        },
        COMPARED,
        at,
    )
}
