//! From definitions into the broker.
//!
//! Owns the order, which is RabbitMQ's, and how much of the topology changes at once.

use serde_json::Value as Json;
use tracing::{info, warn};

use super::Scope;
use super::plan::{Done, Plan, Step};
use crate::base::{LogPos, Name};
use crate::broker::Broker;
use crate::broker::vhost::{Durably, Vhost};

/// Exchanges, queues and bindings that become one change of a vhost's topology.
const STEPS_AT_ONCE: usize = 1_000;

/// Why definitions are not imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is no JSON object.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The first part with a fault; nothing was changed.
    #[error("{at}: {reason}")]
    Invalid {
        /// Which part: `queues[3] 'orders'`.
        at: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What came between the check and the change: a vhost was deleted, or the log has failed. What
    /// came before it is done.
    #[error("{at}: {reason}; what came before it is imported")]
    Interrupted {
        /// Which part.
        at: String,
        /// Why.
        reason: String,
    },
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Exchanges, queues and bindings that are new.
    pub created: usize,
    /// Those that were there: they stay as they are.
    pub existed: usize,
    /// Bindings left out, as one of their ends is not there.
    pub dangling: usize,
    /// Users, vhosts, permissions, policies and parameters set.
    pub set: usize,
}

/// How far an import is, in exchanges, queues and bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub done: usize,
    /// In all.
    pub total: usize,
}

impl Broker {
    /// Imports definitions. What is there is left as it is (queues, exchanges, bindings) or set anew
    /// (users, permissions, policies, parameters); nothing is deleted. Blocks for as long as it takes.
    ///
    /// # Errors
    /// See [`ImportError`]; but for the last, nothing has changed.
    pub fn import_definitions(
        &self,
        json: &[u8],
        scope: &Scope,
        by: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Durably<Imported>, ImportError> {
        let document: Json =
            serde_json::from_slice(json).map_err(|e| ImportError::NotJson(e.to_string()))?;
        let Json::Object(document) = &document else {
            return Err(ImportError::NotJson("no object".to_owned()));
        };
        let plan = Plan::read(self, document, scope)?;
        let mut import = Import {
            broker: self,
            by,
            end: LogPos::NONE,
            imported: Imported::default(),
        };
        import.directory(&plan)?;
        import.settings(&plan)?;
        let total = plan.steps.values().map(Vec::len).sum();
        let mut done = 0;
        for (vhost, steps) in &plan.steps {
            let vhost = import.vhost(vhost)?;
            for chunk in steps.chunks(STEPS_AT_ONCE) {
                import.steps(&vhost, chunk)?;
                done += chunk.len();
                progress(Progress { done, total });
            }
        }
        let Import { imported, end, .. } = import;
        info!(target: "audit", by, ?scope, ?imported, "definitions imported");
        Ok(Durably {
            value: imported,
            end,
        })
    }
}

/// An import under way.
struct Import<'a> {
    broker: &'a Broker,
    by: &'a str,
    end: LogPos,
    imported: Imported,
}

impl Import<'_> {
    fn set<T, E: std::fmt::Display>(
        &mut self,
        at: impl FnOnce() -> String,
        done: Result<Durably<T>, E>,
    ) -> Result<(), ImportError> {
        let done = done.map_err(|e| interrupted(at(), e))?;
        self.end = self.end.max(done.end);
        self.imported.set += 1;
        Ok(())
    }

    fn vhost(&self, name: &Name) -> Result<std::sync::Arc<Vhost>, ImportError> {
        let found = self.broker.vhost(name);
        found.ok_or_else(|| interrupted(format!("vhost '{name}'"), "it was deleted"))
    }

    fn directory(&mut self, plan: &Plan) -> Result<(), ImportError> {
        let (broker, by) = (self.broker, self.by);
        for (user, limits) in &plan.users {
            let at = || format!("user '{}'", user.name);
            self.set(at, broker.put_user(user.clone(), by))?;
            self.set(at, broker.put_user_limits(&user.name, limits.clone(), by))?;
        }
        for (name, settings) in &plan.vhosts {
            let at = || format!("vhost '{name}'");
            self.set(at, broker.put_vhost(name, settings.clone(), by))?;
        }
        for permission in &plan.permissions {
            let at = || format!("permission of '{}'", permission.user);
            self.set(at, broker.put_permission(permission.clone(), by))?;
        }
        for permission in &plan.topic_permissions {
            let at = || format!("topic permission of '{}'", permission.user);
            self.set(at, broker.put_topic_permission(permission.clone(), by))?;
        }
        Ok(())
    }

    fn settings(&mut self, plan: &Plan) -> Result<(), ImportError> {
        let (broker, by) = (self.broker, self.by);
        for (name, value) in &plan.global_parameters {
            let at = || format!("global parameter '{name}'");
            self.set(
                at,
                broker.set_global_parameter(name, Some(value.clone()), by),
            )?;
        }
        for (name, limits) in &plan.limits {
            let at = || format!("limits of vhost '{name}'");
            self.set(at, broker.put_vhost_limits(name, limits.clone(), by))?;
        }
        for (name, kind, spec) in &plan.policies {
            let vhost = self.vhost(name)?;
            let at = || format!("policy '{}'", spec.name);
            self.set(at, vhost.set_policy(*kind, spec, by))?;
        }
        for (at, value) in &plan.parameters {
            let name = || format!("parameter '{}'", at.name);
            self.set(name, broker.set_parameter(at.clone(), value.clone(), by))?;
        }
        Ok(())
    }

    fn steps(&mut self, vhost: &Vhost, steps: &[Step]) -> Result<(), ImportError> {
        let mut counted = self.imported;
        let mut at = "exchanges, queues and bindings".to_owned();
        let mut queues = Vec::new();
        let limits = vhost.limits();
        let changed = vhost.change(self.by, |change| {
            for step in steps {
                let done = step.apply(change, &limits).inspect_err(|_| at.clone_from(&step.at))?;
                match done {
                    Done::New => counted.created += 1,
                    Done::NewQueue(queue) => {
                        counted.created += 1;
                        queues.push(queue);
                    }
                    Done::Existed => counted.existed += 1,
                    Done::Dangling => {
                        counted.dangling += 1;
                        warn!(vhost = %vhost.name(), binding = step.at, "left out: an end of it is not there");
                    }
                }
            }
            Ok(())
        });
        let changed = changed.map_err(|fault| interrupted(at, fault))?;
        self.end = self.end.max(changed.end);
        self.imported = counted;
        for queue in queues {
            let began = vhost.begin_queue(&queue);
            began.map_err(|fault| interrupted(format!("queue '{}'", queue.name), fault))?;
        }
        Ok(())
    }
}

fn interrupted(at: String, reason: impl std::fmt::Display) -> ImportError {
    ImportError::Interrupted {
        at,
        reason: reason.to_string(),
    }
}
