//! From the broker to definitions.

use serde_json::{Map, Value as Json, json};

use super::Scope;
use crate::base::Name;
use crate::broker::Broker;
use crate::broker::arguments::stored;
use crate::broker::exchanges::RESERVED_PREFIX;
use crate::broker::policies::{Policy, PolicyKind};
use crate::broker::vhost::Vhost;
use crate::queue::QueueRef;
use crate::router::{Binding, Destination};

/// The version of RabbitMQ whose definitions these are.
const RABBITMQ_VERSION: &str = "3.10.8";

impl Broker {
    /// All that is declared, as JSON that Warren and RabbitMQ read: without exclusive queues, the
    /// exchanges that every vhost has, and the bindings to the default exchange.
    pub fn export_definitions(&self, scope: &Scope) -> Map<String, Json> {
        let mut all = Map::new();
        let mut put = |key: &str, value: Json| all.insert(key.to_owned(), value);
        put("rabbit_version", RABBITMQ_VERSION.into());
        put("rabbitmq_version", RABBITMQ_VERSION.into());
        put("product_name", "Warren".into());
        put("product_version", env!("CARGO_PKG_VERSION").into());
        let vhosts = match scope {
            Scope::Broker => {
                put("rabbitmq_definition_format", "cluster".into());
                put("users", self.users());
                put("vhosts", self.vhosts().iter().map(|v| vhost(v)).collect());
                let directory = self.directory();
                let permissions = directory.permissions().map(|p| {
                    json!({
                        "user": p.user.as_str(), "vhost": p.vhost.as_str(),
                        "configure": p.configure.source(), "write": p.write.source(),
                        "read": p.read.source(),
                    })
                });
                put("permissions", permissions.collect());
                let topics = directory.topic_permissions().map(|p| {
                    json!({
                        "user": p.user.as_str(), "vhost": p.vhost.as_str(),
                        "exchange": p.exchange.as_str(), "write": p.write.source(),
                        "read": p.read.source(),
                    })
                });
                put("topic_permissions", topics.collect());
                let parameters = self.parameters();
                let global = parameters.global();
                let global = global.map(|(name, value)| json!({"name": &**name, "value": value}));
                put("global_parameters", global.collect());
                self.vhosts()
            }
            Scope::Vhost(name) => {
                put("rabbitmq_definition_format", "single_virtual_host".into());
                put("original_vhost_name", name.as_str().into());
                self.vhost(name).into_iter().collect()
            }
        };
        let of = |each: &dyn Fn(&Vhost) -> Vec<Json>| -> Json {
            let mut items: Vec<Json> = vhosts.iter().flat_map(|vhost| each(vhost)).collect();
            if *scope != Scope::Broker {
                for item in items.iter_mut().filter_map(Json::as_object_mut) {
                    item.remove("vhost");
                }
            }
            items.into()
        };
        put("parameters", of(&|vhost| self.parameters_of(vhost)));
        put("policies", of(&policies));
        put("exchanges", of(&exchanges));
        put("queues", of(&queues));
        put("bindings", of(&bindings));
        all
    }

    fn users(&self) -> Json {
        let directory = self.directory();
        let accounts = directory.accounts().map(|account| {
            let user = &account.user;
            let password = user.password.as_ref();
            let algorithm = password.map_or("rabbit_password_hashing_sha256", |hash| {
                hash.algorithm().name()
            });
            let limits = account.limits.iter();
            let limits: Map<String, Json> = limits
                .map(|(limit, most)| (limit.name().to_owned(), most.into()))
                .collect();
            json!({
                "name": user.name.as_str(),
                "password_hash": password.map(|hash| hash.text()).unwrap_or_default(),
                "hashing_algorithm": algorithm,
                "tags": names(&user.tags),
                "limits": limits,
            })
        });
        accounts.collect()
    }

    fn parameters_of(&self, vhost: &Vhost) -> Vec<Json> {
        let of = |component: &str, name: &str, value: Json| {
            json!({
                "vhost": vhost.name().as_str(), "component": component, "name": name,
                "value": value,
            })
        };
        let policies = vhost.policies(PolicyKind::Operator);
        let operator = policies.iter().map(|policy| {
            let value = json!({
                "pattern": policy.pattern(), "apply-to": policy.apply_to().name(),
                "definition": policy.definition(), "priority": policy.priority(),
            });
            of("operator_policy", policy.name(), value)
        });
        let limits = vhost.limits();
        let fields: Map<String, Json> = limits
            .iter()
            .map(|(limit, most)| (limit.name().to_owned(), most.into()))
            .collect();
        let limits = (!fields.is_empty()).then(|| of("vhost-limits", "limits", fields.into()));
        let parameters = self.parameters();
        let others = parameters
            .local()
            .filter(|(at, _)| at.vhost == *vhost.name());
        let others = others.map(|(at, value)| of(&at.component, &at.name, value.clone()));
        operator.chain(limits).chain(others).collect()
    }
}

fn names(names: &[Name]) -> Json {
    names.iter().map(|name| Json::from(name.as_str())).collect()
}

fn vhost(vhost: &Vhost) -> Json {
    let settings = vhost.settings();
    let mut metadata = Map::new();
    metadata.insert("description".into(), settings.description.clone().into());
    metadata.insert("tags".into(), names(&settings.tags));
    if let Some(kind) = settings.default_queue_type {
        metadata.insert("default_queue_type".into(), kind.name().into());
    }
    if settings.protected {
        metadata.insert("protected_from_deletion".into(), true.into());
    }
    let mut fields = metadata.clone();
    fields.insert("name".into(), vhost.name().as_str().into());
    fields.insert("metadata".into(), metadata.into());
    fields.into()
}

fn policies(vhost: &Vhost) -> Vec<Json> {
    let of = |policy: &Policy| {
        json!({
            "vhost": vhost.name().as_str(), "name": policy.name().as_str(),
            "pattern": policy.pattern(), "apply-to": policy.apply_to().name(),
            "definition": policy.definition(), "priority": policy.priority(),
        })
    };
    let policies = vhost.policies(PolicyKind::User);
    policies.iter().map(|policy| of(policy)).collect()
}

fn exchanges(vhost: &Vhost) -> Vec<Json> {
    let topology = vhost.topology();
    let all = topology.graph.exchanges().map(|exchange| exchange.spec());
    let declared = all.filter(|spec| !spec.name.starts_with(RESERVED_PREFIX));
    declared
        .map(|spec| {
            json!({
                "vhost": vhost.name().as_str(), "name": spec.name.as_str(),
                "type": spec.type_name(), "durable": spec.durable,
                "auto_delete": spec.auto_delete, "internal": spec.internal,
                "arguments": stored(&spec.arguments).view().to_json(),
            })
        })
        .collect()
}

fn is_shared(queue: &QueueRef) -> bool {
    queue.exclusive_to.is_none()
}

fn queues(vhost: &Vhost) -> Vec<Json> {
    let all = vhost.queues();
    let shared = all.iter().filter(|queue| is_shared(queue));
    shared
        .map(|queue| {
            json!({
                "vhost": vhost.name().as_str(), "name": queue.name.as_str(),
                "type": queue.kind.name(), "durable": queue.durable,
                "auto_delete": queue.auto_delete,
                "arguments": stored(&queue.settings().arguments).view().to_json(),
            })
        })
        .collect()
}

fn bindings(vhost: &Vhost) -> Vec<Json> {
    let topology = vhost.topology();
    let all = topology.graph.exchanges().flat_map(|x| x.bindings());
    let of = |binding: &Binding<QueueRef>| {
        let (destination, kind) = match &binding.destination {
            Destination::Queue(queue) if !is_shared(queue) => return None,
            Destination::Queue(queue) => (&queue.name, "queue"),
            Destination::Exchange(name) => (name, "exchange"),
        };
        Some(json!({
            "vhost": vhost.name().as_str(), "source": binding.source.as_str(),
            "destination": destination.as_str(), "destination_type": kind,
            "routing_key": String::from_utf8_lossy(&binding.key),
            "arguments": stored(binding.arguments.encoded()).view().to_json(),
        }))
    };
    all.filter_map(|binding| of(binding)).collect()
}
