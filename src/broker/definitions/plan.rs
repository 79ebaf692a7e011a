//! From a document to what is to be done: every part read and checked, nothing changed.
//!
//! Owns the checks, and the name of the first fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::Scope;
use super::document::{
    BindingDef, ExchangeDef, GlobalParameterDef, ParameterDef, PermissionDef, QueueDef,
    TopicPermissionDef, UserDef, VhostDef,
};
use super::import::ImportError;
use crate::auth::{Limit, Limits, PasswordHash, Pattern, Permission, TopicPermission, User};
use crate::base::limits::SHORTSTR_MAX;
use crate::base::{AmqpError, Name, Resource};
use crate::broker::exchanges::{BindingSpec, ExchangeDeclaration, RESERVED_PREFIX};
use crate::broker::parameters::{self, ParameterKey};
use crate::broker::policies::{Policy, PolicyKind, PolicySpec};
use crate::broker::queues::{QueueDeclaration, fit};
use crate::broker::vhost::{Change, VhostSettings};
use crate::broker::{Broker, queue_arguments};
use crate::codec::{Null, RawTable};
use crate::queue::{QueueKind, QueueRef};
use crate::router::{Bound, Destination};

/// What an import does, in order.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) users: Vec<(User, Limits)>,
    pub(super) vhosts: Vec<(Name, VhostSettings)>,
    pub(super) permissions: Vec<Permission>,
    pub(super) topic_permissions: Vec<TopicPermission>,
    pub(super) global_parameters: Vec<(Name, Json)>,
    pub(super) limits: Vec<(Name, Limits)>,
    pub(super) policies: Vec<(Name, PolicyKind, PolicySpec)>,
    pub(super) parameters: Vec<(ParameterKey, Json)>,
    /// By vhost: exchanges, then queues, then bindings.
    pub(super) steps: BTreeMap<Name, Vec<Step>>,
}

/// A part of the topology, and what it is called in the document.
pub(super) struct Step {
    pub(super) at: String,
    what: What,
}

enum What {
    Exchange(ExchangeDeclaration),
    Queue(QueueDeclaration, QueueKind),
    Binding {
        to_queue: bool,
        to: Name,
        spec: BindingSpec,
    },
}

/// What became of a step.
pub(super) enum Done {
    /// It is new.
    New,
    /// A queue that is new, and whose time without use begins now.
    NewQueue(QueueRef),
    /// It was there, and stays as it is.
    Existed,
    /// A binding one of whose ends is not there: RabbitMQ's own exports have such.
    Dangling,
}

impl Step {
    /// `limits` are the vhost's, as they are once the import has set them.
    pub(super) fn apply(
        &self,
        change: &mut Change<'_>,
        limits: &Limits,
    ) -> Result<Done, AmqpError> {
        match &self.what {
            What::Exchange(wanted) => {
                if change.topology.graph.get(wanted.name.as_bytes()).is_some() {
                    return Ok(Done::Existed);
                }
                let count = change.topology.graph.exchange_count();
                change
                    .vhost
                    .check_exchange_limit(limits, &wanted.name, count)?;
                change.add_exchange(wanted).map(|()| Done::New)
            }
            What::Queue(wanted, kind) => {
                if change.topology.queues.contains_key(&wanted.name) {
                    return Ok(Done::Existed);
                }
                let count = change.topology.queues.len();
                change
                    .vhost
                    .check_queue_limit(limits, &wanted.name, count)?;
                let queue = change.add_queue(&wanted.name, wanted, *kind, None);
                Ok(Done::NewQueue(queue))
            }
            What::Binding { to_queue, to, spec } => {
                let topology = &change.topology;
                let destination = match to_queue {
                    true => topology.queues.get(to).cloned().map(Destination::Queue),
                    false => topology
                        .graph
                        .get(to.as_bytes())
                        .map(|_| Destination::Exchange(to.clone())),
                };
                let source = topology.graph.get(spec.source.as_bytes());
                match (source, destination) {
                    (Some(_), Some(destination)) => Ok(match change.bind(destination, spec)? {
                        Bound::New => Done::New,
                        Bound::Existed => Done::Existed,
                    }),
                    _ => Ok(Done::Dangling),
                }
            }
        }
    }
}

/// The names that parts may refer to: of what is there, and of what the document brings.
struct Known {
    users: BTreeSet<Name>,
    vhosts: BTreeSet<Name>,
}

impl Known {
    fn vhost(&self, name: &Name) -> Result<(), String> {
        match self.vhosts.contains(name) {
            true => Ok(()),
            false => Err(format!("virtual host '{name}' does not exist")),
        }
    }

    fn user(&self, name: &Name) -> Result<(), String> {
        match self.users.contains(name) {
            true => Ok(()),
            false => Err(format!("user '{name}' does not exist")),
        }
    }
}

impl Plan {
    /// Reads and checks a whole document.
    pub(super) fn read(
        broker: &Broker,
        document: &Map<String, Json>,
        scope: &Scope,
    ) -> Result<Self, ImportError> {
        let mut plan = Plan::default();
        let read = Reader { document, scope };
        let mut known = Known {
            users: broker
                .directory()
                .accounts()
                .map(|a| a.user.name.clone())
                .collect(),
            vhosts: broker.vhosts().iter().map(|v| v.name().clone()).collect(),
        };
        if *scope == Scope::Broker {
            read.each("users", |user: UserDef| {
                known.users.insert(name(&user.name)?.clone());
                plan.users.push(self::user(user)?);
                Ok(())
            })?;
            read.each("vhosts", |vhost: VhostDef| {
                known.vhosts.insert(name(&vhost.name)?.clone());
                plan.vhosts.push(self::vhost(vhost)?);
                Ok(())
            })?;
            read.each("permissions", |p: PermissionDef| {
                known.user(&p.user)?;
                known.vhost(&p.vhost)?;
                let pattern = |source: &str| Pattern::new(source).map_err(text);
                plan.permissions.push(Permission {
                    configure: pattern(&p.configure)?,
                    write: pattern(&p.write)?,
                    read: pattern(&p.read)?,
                    user: p.user,
                    vhost: p.vhost,
                });
                Ok(())
            })?;
            read.each("topic_permissions", |p: TopicPermissionDef| {
                known.user(&p.user)?;
                known.vhost(&p.vhost)?;
                let patterns = [p.write.as_str(), p.read.as_str()];
                let permission = TopicPermission::new(p.user, p.vhost, p.exchange, patterns);
                plan.topic_permissions.push(permission.map_err(text)?);
                Ok(())
            })?;
            read.each("global_parameters", |p: GlobalParameterDef| {
                parameters::check_name(&p.name).map_err(text)?;
                plan.global_parameters.push((p.name, p.value));
                Ok(())
            })?;
        } else if let Scope::Vhost(name) = scope {
            let missing = |reason| ImportError::Invalid {
                at: "definitions".to_owned(),
                reason,
            };
            known.vhost(name).map_err(missing)?;
        }
        plan.policies(&read, &known)?;
        plan.topology(&read, &known)?;
        plan.rehearse(broker)?;
        Ok(plan)
    }

    fn policies(&mut self, read: &Reader<'_>, known: &Known) -> Result<(), ImportError> {
        read.each("policies", |item: Json| {
            let (vhost, spec) = in_vhost::<PolicySpec>(item)?;
            known.vhost(&vhost)?;
            Policy::new(&spec, PolicyKind::User).map_err(text)?;
            self.policies.push((vhost, PolicyKind::User, spec));
            Ok(())
        })?;
        read.each("parameters", |p: ParameterDef| {
            known.vhost(&p.vhost)?;
            match p.component.as_str() {
                "operator_policy" => {
                    let mut fields = object(p.value)?;
                    fields.insert("name".into(), p.name.as_str().into());
                    let spec: PolicySpec = serde_json::from_value(fields.into()).map_err(text)?;
                    Policy::new(&spec, PolicyKind::Operator).map_err(text)?;
                    self.policies.push((p.vhost, PolicyKind::Operator, spec));
                }
                "vhost-limits" => {
                    let limits = self::limits(object(p.value)?, Limit::OF_VHOST)?;
                    self.limits.push((p.vhost, limits));
                }
                _ => {
                    let at = ParameterKey {
                        vhost: p.vhost,
                        component: p.component,
                        name: p.name,
                    };
                    parameters::check(&at).map_err(text)?;
                    self.parameters.push((at, p.value));
                }
            }
            Ok(())
        })
    }

    fn topology(&mut self, read: &Reader<'_>, known: &Known) -> Result<(), ImportError> {
        let steps = &mut self.steps;
        let mut add = |at: &str, vhost: Name, what: What| {
            let of_vhost: &mut Vec<Step> = steps.entry(vhost).or_default();
            let at = at.to_owned();
            of_vhost.push(Step { at, what });
        };
        read.each_at("exchanges", |at, exchange: ExchangeDef| {
            known.vhost(&exchange.vhost)?;
            if exchange.name.is_empty() || exchange.name.starts_with(RESERVED_PREFIX) {
                return Ok(());
            }
            let wanted = ExchangeDeclaration {
                name: name(&exchange.name)?.clone(),
                kind: exchange.kind,
                durable: exchange.durable,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: table(&exchange.arguments)?,
            };
            wanted.spec(&exchange.vhost).map_err(text)?;
            add(at, exchange.vhost, What::Exchange(wanted));
            Ok(())
        })?;
        read.each_at("queues", |at, mut queue: QueueDef| {
            known.vhost(&queue.vhost)?;
            if queue.name.starts_with(RESERVED_PREFIX) {
                return Ok(());
            }
            if let Some(kind) = queue.kind.filter(|kind| kind != QueueKind::Classic.name()) {
                let argument = queue.arguments.entry("x-queue-type");
                argument.or_insert(kind.into());
            }
            let wanted = QueueDeclaration {
                name: name(&queue.name)?.clone(),
                durable: queue.durable,
                exclusive: false,
                auto_delete: queue.auto_delete,
                arguments: table(&queue.arguments)?,
            };
            let resource = Resource::queue(&wanted.name, &queue.vhost);
            let kind = queue_arguments::read(&wanted.arguments, resource);
            let kind = kind.map_err(text)?.kind;
            fit(&wanted, kind, resource).map_err(text)?;
            add(at, queue.vhost, What::Queue(wanted, kind));
            Ok(())
        })?;
        read.each_at("bindings", |at, binding: BindingDef| {
            known.vhost(&binding.vhost)?;
            if binding.source.is_empty() {
                return Ok(());
            }
            let to_queue = match binding.destination_type.as_str() {
                "queue" => true,
                "exchange" => false,
                other => return Err(format!("unknown destination_type '{other}'")),
            };
            if binding.routing_key.len() > SHORTSTR_MAX {
                return Err(format!(
                    "the routing key is longer than {SHORTSTR_MAX} octets"
                ));
            }
            let spec = BindingSpec {
                source: binding.source,
                key: Bytes::from(binding.routing_key),
                arguments: table(&binding.arguments)?,
            };
            let to = binding.destination;
            add(at, binding.vhost, What::Binding { to_queue, to, spec });
            Ok(())
        })
    }

    /// Does the topology's part on copies that are thrown away: what only the exchanges know, such
    /// as weights, is found before anything is changed.
    fn rehearse(&self, broker: &Broker) -> Result<(), ImportError> {
        for (name, steps) in &self.steps {
            let vhost = broker.vhost(name);
            let vhost = vhost.unwrap_or_else(|| Arc::new(broker.new_vhost(name.clone())));
            // The last ones stay.
            let set = self.limits.iter().rev().find(|(of, _)| of == name);
            let limits = set.map_or_else(|| vhost.limits(), |(_, set)| Arc::new(set.clone()));
            let found = vhost.rehearse(|change| {
                steps.iter().find_map(|step| {
                    let fault = step.apply(change, &limits).err()?;
                    Some(ImportError::Invalid {
                        at: step.at.clone(),
                        reason: fault.text,
                    })
                })
            });
            if let Some(found) = found {
                return Err(found);
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    document: &'a Map<String, Json>,
    scope: &'a Scope,
}

impl Reader<'_> {
    fn each<T: DeserializeOwned>(
        &self,
        section: &str,
        mut take: impl FnMut(T) -> Result<(), String>,
    ) -> Result<(), ImportError> {
        self.each_at(section, |_, item| take(item))
    }

    /// Takes each part of a section; a fault says which one it was.
    fn each_at<T: DeserializeOwned>(
        &self,
        section: &str,
        mut take: impl FnMut(&str, T) -> Result<(), String>,
    ) -> Result<(), ImportError> {
        let items = match self.document.get(section) {
            None => return Ok(()),
            Some(Json::Array(items)) => items,
            Some(_) => {
                return Err(ImportError::Invalid {
                    at: section.to_owned(),
                    reason: "is no list".to_owned(),
                });
            }
        };
        for (number, item) in items.iter().enumerate() {
            let mut item = item.clone();
            let mut at = format!("{section}[{number}]");
            if let Some(name) = item.get("name").and_then(Json::as_str) {
                at.push_str(&format!(" '{name}'"));
            }
            if let (Scope::Vhost(vhost), Some(fields)) = (self.scope, item.as_object_mut()) {
                fields.insert("vhost".to_owned(), vhost.as_str().into());
            }
            let done = serde_json::from_value(item)
                .map_err(text)
                .and_then(|item| take(&at, item));
            done.map_err(|reason| ImportError::Invalid { at, reason })?;
        }
        Ok(())
    }
}

fn text(fault: impl std::fmt::Display) -> String {
    fault.to_string()
}

fn name(name: &Name) -> Result<&Name, String> {
    match name.is_empty() || name.len() > SHORTSTR_MAX {
        true => Err(format!("a name must have 1 to {SHORTSTR_MAX} octets")),
        false => Ok(name),
    }
}

fn object(value: Json) -> Result<Map<String, Json>, String> {
    match value {
        Json::Object(fields) => Ok(fields),
        _ => Err("the value is no object".to_owned()),
    }
}

fn table(arguments: &Map<String, Json>) -> Result<RawTable, String> {
    RawTable::from_json(arguments, Null::Void).map_err(text)
}

fn in_vhost<T: DeserializeOwned>(item: Json) -> Result<(Name, T), String> {
    let mut fields = object(item)?;
    let vhost = fields.remove("vhost");
    let vhost = vhost.as_ref().and_then(Json::as_str).map(Name::from);
    let vhost = vhost.ok_or("missing field `vhost`")?;
    Ok((vhost, serde_json::from_value(fields.into()).map_err(text)?))
}

fn user(def: UserDef) -> Result<(User, Limits), String> {
    let algorithm = def.hashing_algorithm.as_deref();
    let password = match (def.password_hash.as_deref(), def.password) {
        (Some("") | None, None) => None,
        (Some(""), Some(password)) | (None, Some(password)) => {
            Some(PasswordHash::new(password.as_bytes()).map_err(text)?)
        }
        (Some(hash), _) => Some(PasswordHash::import(algorithm, hash).map_err(text)?),
    };
    let fields = def
        .limits
        .into_iter()
        .map(|(key, value)| (key, value.into()));
    let user = User {
        name: def.name,
        password,
        tags: def.tags,
    };
    Ok((user, limits(fields.collect(), Limit::OF_USER)?))
}

fn limits(fields: Map<String, Json>, among: &[Limit]) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for (key, value) in fields {
        let limit = Limit::from_name(&key, among);
        let limit = limit.ok_or_else(|| format!("unknown limit '{key}'"))?;
        let value = value.as_i64();
        limits.set(limit, value.ok_or_else(|| format!("{key} is no integer"))?);
    }
    Ok(limits)
}

fn vhost(def: VhostDef) -> Result<(Name, VhostSettings), String> {
    let metadata = def.metadata;
    let kind = def.default_queue_type.or(metadata.default_queue_type);
    let kind = kind.filter(|kind| !kind.is_empty() && kind != "undefined");
    let settings = VhostSettings {
        description: def.description.or(metadata.description).unwrap_or_default(),
        tags: def.tags.or(metadata.tags).unwrap_or_default(),
        default_queue_type: match kind {
            None => None,
            Some(kind) => Some(
                QueueKind::from_name(&kind)
                    .ok_or_else(|| format!("unknown default_queue_type '{kind}'"))?,
            ),
        },
        protected: metadata.protected_from_deletion,
    };
    Ok((def.name, settings))
}
