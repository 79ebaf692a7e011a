//! Policies: settings of queues and exchanges by their names (A9).
//!
//! Owns the policies of a vhost, which of them apply to what, and that a change of one reaches all
//! that it applies to at once. How a policy is merged with arguments stands beside the arguments.
//! Lock order: `policy_changes`, then what a change of the topology takes, then a queue.

mod explain;
mod policy;

use std::sync::Arc;

use serde_json::Value as Json;

pub use explain::{Explained, Explanation};
pub(super) use policy::PolicyRow;
pub use policy::{ApplyTo, InvalidPolicy, Policy, PolicyKind, PolicySpec};

use policy::ALTERNATE_EXCHANGE;

use super::arguments;
use super::events::INTERNAL_USER;
use super::queue_arguments::{self, Given};
use super::rows::{QueueRow, Row};
use super::vhost::{Durably, Vhost};
use crate::base::{AmqpError, Name, Resource};
use crate::codec::{RawTable, TableBuilder, Value};
use crate::queue::{Effects, QueueKind, QueueOptions, QueueRef, Settings};
use crate::store::Table;

/// Why a policy or an argument is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The policy is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    /// The argument is not valid, or the log has failed.
    #[error(transparent)]
    Refused(#[from] AmqpError),
}

/// The policies of a vhost.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    user: Vec<Arc<Policy>>,
    operator: Vec<Arc<Policy>>,
    /// Of several that match all count, key by key, and not only the first.
    stacking: bool,
}

/// The policies that apply to one thing, those that count first in front.
#[derive(Debug, Default)]
pub(super) struct Matching {
    user: Vec<Arc<Policy>>,
    operator: Vec<Arc<Policy>>,
}

impl Policies {
    pub(super) fn new(stacking: bool) -> Self {
        Policies {
            stacking,
            ..Policies::default()
        }
    }

    fn of(&self, kind: PolicyKind) -> &Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    fn of_mut(&mut self, kind: PolicyKind) -> &mut Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }

    /// Puts one in the place of the one with its name. Of equal priorities the first by name counts.
    pub(super) fn set(&mut self, kind: PolicyKind, policy: Policy) {
        self.remove(kind, policy.name());
        let all = self.of_mut(kind);
        all.push(Arc::new(policy));
        all.sort_by(|a, b| (b.priority(), a.name()).cmp(&(a.priority(), b.name())));
    }

    fn remove(&mut self, kind: PolicyKind, name: &Name) {
        self.of_mut(kind).retain(|policy| policy.name() != name);
    }

    fn matching(&self, is_for: impl Fn(&Policy) -> bool) -> Matching {
        let most = if self.stacking { usize::MAX } else { 1 };
        let of = |all: &[Arc<Policy>]| {
            let found = all.iter().filter(|policy| is_for(policy));
            found.take(most).cloned().collect()
        };
        Matching {
            user: of(&self.user),
            operator: of(&self.operator),
        }
    }

    /// Those that apply to a queue.
    pub(super) fn of_queue(&self, name: &str, kind: QueueKind) -> Matching {
        self.matching(|policy| policy.is_for_queue(name, kind))
    }

    /// Those that apply to an exchange.
    pub(super) fn of_exchange(&self, name: &str) -> Matching {
        self.matching(|policy| policy.is_for_exchange(name))
    }

    /// Where the messages of an exchange go that reach no queue: by its argument, else by a policy.
    pub(super) fn alternate(&self, exchange: &str, argument: Option<Name>) -> Option<Name> {
        argument.or_else(|| {
            let matching = self.of_exchange(exchange);
            let given = matching.given(ALTERNATE_EXCHANGE).policy?;
            given.as_str().map(Name::from)
        })
    }
}

impl Matching {
    /// What they say of a key.
    fn given(&self, key: &str) -> Given<'_> {
        let first =
            |all: &'_ [Arc<Policy>]| all.iter().position(|p| p.definition().contains_key(key));
        Given {
            policy: first(&self.user).and_then(|at| self.user.get(at)?.definition().get(key)),
            operator: first(&self.operator)
                .and_then(|at| self.operator.get(at)?.definition().get(key)),
        }
    }

    /// A queue's settings by these policies and its arguments, which are valid by themselves.
    fn settings(&self, kind: QueueKind, table: &RawTable, at: Resource<'_>) -> Settings {
        let chosen = queue_arguments::choose(kind, table, |key| self.given(key));
        let merged = queue_arguments::merged(table, &chosen);
        let first = |all: &[Arc<Policy>]| all.first().map(|policy| policy.name().clone());
        Settings {
            arguments: table.octets().clone(),
            options: queue_arguments::read(&merged, at)
                .or_else(|_| queue_arguments::read(table, at))
                .unwrap_or_else(|_| QueueOptions {
                    kind,
                    ..QueueOptions::default()
                })
                .into(),
            policy: first(&self.user),
            operator_policy: first(&self.operator),
        }
    }
}

impl Vhost {
    /// Its policies, in the order in which they count.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.policies.load().of(kind).clone()
    }

    /// A policy by name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<Policy>> {
        let policies = self.policies.load();
        let mut all = policies.of(kind).iter();
        all.find(|policy| policy.name().as_str() == name).cloned()
    }

    /// Sets a policy, also in the place of one of its name, and applies it.
    ///
    /// # Errors
    /// It is not valid: nothing has changed.
    pub fn set_policy(
        &self,
        kind: PolicyKind,
        spec: &PolicySpec,
        by: &str,
    ) -> Result<Durably<()>, PolicyError> {
        let policy = Policy::new(spec, kind)?;
        let row = PolicyRow::of(self.name(), &policy);
        let change = |policies: &mut Policies| policies.set(kind, policy);
        let done = self.change_policies(by, change, |records| {
            records.put(table(kind), &row.key(), &row.value());
        })?;
        self.ended.events.tell(events_of(kind).0, |headers| {
            headers
                .text("name", &spec.name)
                .text("vhost", self.name())
                .text("pattern", &spec.pattern)
                .text("apply-to", &spec.apply_to)
                .number("priority", spec.priority)
                .json("definition", &spec.definition)
                .by(by);
        });
        Ok(done)
    }

    /// Deletes a policy, and takes back what it did. Whether there was one.
    pub fn delete_policy(
        &self,
        kind: PolicyKind,
        name: &Name,
        by: &str,
    ) -> Result<Durably<bool>, AmqpError> {
        let Some(policy) = self.policy(kind, name) else {
            return Ok(self.unchanged(false));
        };
        let row = PolicyRow::of(self.name(), &policy);
        let done = self.change_policies(
            by,
            |policies| policies.remove(kind, name),
            |records| {
                records.delete(table(kind), &row.key());
            },
        )?;
        self.ended.events.tell(events_of(kind).1, |headers| {
            headers.text("name", name).text("vhost", self.name()).by(by);
        });
        Ok(Durably {
            value: true,
            end: done.end,
        })
    }

    fn change_policies(
        &self,
        by: &str,
        change: impl FnOnce(&mut Policies),
        record: impl FnOnce(&mut crate::store::Batch),
    ) -> Result<Durably<()>, AmqpError> {
        let _one_at_a_time = self.policy_changes.lock();
        let mut policies = Policies::clone(&self.policies.load());
        change(&mut policies);
        let policies = Arc::new(policies);
        let done = self.change(by, |draft| {
            record(&mut draft.records);
            draft.changed = true;
            draft.set_alternates(&policies);
            // Within the change: what is declared after it sees these, and what was before is found
            // below.
            draft.policies = Some(Arc::clone(&policies));
            Ok(())
        })?;
        self.apply_to_queues(&policies)?;
        Ok(done)
    }

    fn apply_to_queues(&self, policies: &Policies) -> Result<(), AmqpError> {
        for queue in self.topology().queues.values() {
            let table = arguments::stored(&queue.settings().arguments);
            let at = Resource::queue(&queue.name, self.name());
            let matching = policies.of_queue(&queue.name, queue.kind);
            self.apply(queue, matching.settings(queue.kind, &table, at))?;
        }
        Ok(())
    }

    /// Has a queue follow other settings at once.
    fn apply(&self, queue: &QueueRef, settings: Settings) -> Result<(), AmqpError> {
        let options = Arc::clone(&settings.options);
        let changes = options != queue.settings().options;
        queue.set_settings(settings);
        if changes {
            let set = |state: &mut crate::queue::Queue, now_ms, _: &mut Effects| {
                state.set_options(QueueOptions::clone(&options), now_ms);
            };
            self.change_queue(queue, &mut Effects::default(), set)?;
        }
        Ok(())
    }

    /// The settings of a queue that is declared with these valid arguments.
    pub(super) fn settings_for(&self, name: &Name, kind: QueueKind, table: &RawTable) -> Settings {
        let at = Resource::queue(name, self.name());
        let policies = self.policies.load();
        policies.of_queue(name, kind).settings(kind, table, at)
    }

    /// Where the messages of an exchange go that reach no queue (A3.12).
    pub(super) fn alternate_of(&self, exchange: &str, argument: Option<Name>) -> Option<Name> {
        self.policies.load().alternate(exchange, argument)
    }

    /// Changes an argument of a queue that exists, or takes it away. What a queue is from its start
    /// stays: its type, its priorities, whether one consumer at a time is active.
    ///
    /// # Errors
    /// 406 if the argument cannot be changed, or has a value that will not do.
    pub fn set_queue_argument(
        &self,
        queue: &QueueRef,
        name: &str,
        value: Option<Value<'_>>,
    ) -> Result<Durably<()>, AmqpError> {
        let at = Resource::queue(&queue.name, self.name());
        if queue_arguments::is_structural(name) {
            return Err(AmqpError::fixed_arg(name, at));
        }
        // A declaration may have any; who changes one means it to do something.
        if value.is_some() && !queue_arguments::compared().any(|known| known == name) {
            return Err(AmqpError::unknown_arg(name, at));
        }
        let _one_at_a_time = self.policy_changes.lock();
        let current = arguments::stored(&queue.settings().arguments);
        let mut table = TableBuilder::new();
        for (key, value) in current.iter().filter(|(key, _)| *key != name.as_bytes()) {
            table.insert_raw(key, value);
        }
        if let Some(value) = value {
            table.insert(name, value);
        }
        let table = table.finish();
        queue_arguments::read(&table, at)?;
        let settings = self.settings_for(&queue.name, queue.kind, &table);
        let done = self.change(INTERNAL_USER, |change| {
            if change.topology.queues.get(&queue.name) != Some(queue) {
                return Err(AmqpError::no_queue(&queue.name, self.name()));
            }
            if queue.durable {
                change.put(Table::Queues, &QueueRow::of(queue, table.octets().clone()));
            }
            change.changed = true;
            Ok(())
        })?;
        self.apply(queue, settings)?;
        Ok(done)
    }
}

impl super::vhost::Change<'_> {
    /// The vhost is deleted, and its policies with it.
    pub(super) fn forget_policies(&mut self) {
        let policies = self.vhost.policies.load();
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            for policy in policies.of(kind) {
                let row = PolicyRow::of(self.vhost.name(), policy);
                self.delete(table(kind), &row);
                let (name, vhost) = (policy.name().clone(), self.vhost.name().clone());
                self.tell(events_of(kind).1, move |headers| {
                    headers.text("name", &name).text("vhost", &vhost);
                });
            }
        }
    }

    /// Has every exchange follow its policy.
    fn set_alternates(&mut self, policies: &Policies) {
        let mut changed = Vec::new();
        for exchange in self.topology.graph.exchanges() {
            let spec = exchange.spec();
            let at = Resource::exchange(&spec.name, self.vhost.name());
            let table = arguments::stored(&spec.arguments);
            let argument = arguments::alternate_exchange(&table, at).ok().flatten();
            let alternate = policies.alternate(&spec.name, argument);
            if alternate != spec.alternate {
                changed.push((spec.name.clone(), alternate));
            }
        }
        for (name, alternate) in changed {
            self.topology
                .graph
                .set_alternate(name.as_bytes(), alternate);
        }
    }
}

/// What it is called to set one, and to clear it.
const fn events_of(kind: PolicyKind) -> (&'static str, &'static str) {
    match kind {
        PolicyKind::User => ("policy.set", "policy.cleared"),
        PolicyKind::Operator => ("operator.policy.set", "operator.policy.cleared"),
    }
}

fn table(kind: PolicyKind) -> Table {
    match kind {
        PolicyKind::User => Table::Policies,
        PolicyKind::Operator => Table::OperatorPolicies,
    }
}

/// A queue's effective definition, as RabbitMQ's listings show it: policy and operator policy
/// merged, without arguments.
fn effective(matching: &Matching, kind: QueueKind) -> serde_json::Map<String, Json> {
    let no_arguments = RawTable::default();
    let chosen = queue_arguments::choose(kind, &no_arguments, |key| matching.given(key));
    chosen
        .into_iter()
        .map(|choice| (choice.key().to_owned(), choice.value.to_json()))
        .collect()
}
