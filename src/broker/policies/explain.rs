//! Why a queue or an exchange is as it is: which argument or policy is in force for each setting.
//!
//! Owns the account of it; decides nothing.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::policy::{ALTERNATE_EXCHANGE, WITHOUT_EFFECT};
use super::{Matching, Policy, effective};
use crate::base::{Name, Resource};
use crate::broker::arguments;
use crate::broker::queue_arguments::{self, By};
use crate::broker::vhost::Vhost;
use crate::queue::QueueRef;

/// What is in force, and what is not.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The policies that apply, those that count first in front: one, unless policies are stacked.
    pub policies: Vec<Name>,
    /// The operator policies that apply.
    pub operator_policies: Vec<Name>,
    /// What the policies make of it, without arguments: RabbitMQ's `effective_policy_definition`.
    pub effective_definition: Map<String, Json>,
    /// Each setting that an argument or a policy gives.
    pub settings: Vec<Explained>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The policy key.
    pub key: String,
    /// The value in force; `None` if what is given has no effect here.
    pub value: Option<Json>,
    /// Who gives it, for people: `argument x-max-length`, `policy 'p'`.
    pub source: String,
    /// What else was given, and by whom.
    pub others: Vec<(String, Json)>,
    /// Why this one counts; empty if nothing else was given.
    pub rule: &'static str,
}

impl Vhost {
    /// What is in force in a queue, and why.
    pub fn explain_queue(&self, queue: &QueueRef) -> Explanation {
        let table = arguments::stored(&queue.settings().arguments);
        let matching = self.policies.load().of_queue(&queue.name, queue.kind);
        let chosen = queue_arguments::choose(queue.kind, &table, |key| matching.given(key));
        let mut settings = Vec::new();
        for choice in &chosen {
            let argument = table.get(choice.argument()).map(|value| value.to_json());
            let mut given = given(&matching, choice.key());
            given.extend(argument.map(|value| {
                let source = format!("argument {}", choice.argument());
                (By::Argument, source, value)
            }));
            settings.extend(explained(choice.key(), choice.by, given, choice.rule()));
        }
        settings.extend(without_effect(&matching));
        Explanation {
            effective_definition: effective(&matching, queue.kind),
            ..of(&matching, settings)
        }
    }

    /// What is in force in an exchange, and why; `None` if there is none of the name.
    pub fn explain_exchange(&self, name: &[u8]) -> Option<Explanation> {
        let topology = self.topology();
        let spec = topology.graph.get(name)?.spec();
        let table = arguments::stored(&spec.arguments);
        let at = Resource::exchange(&spec.name, self.name());
        let argument = arguments::alternate_exchange(&table, at).ok().flatten();
        let matching = self.policies.load().of_exchange(&spec.name);
        let mut given = given(&matching, ALTERNATE_EXCHANGE);
        let by = match argument {
            Some(_) => By::Argument,
            None => By::Policy,
        };
        given.extend(argument.map(|name| {
            let source = format!("argument {ALTERNATE_EXCHANGE}");
            (By::Argument, source, Json::from(name.as_str()))
        }));
        let rule = "the argument counts before a policy";
        let mut settings: Vec<_> = explained(ALTERNATE_EXCHANGE, by, given, rule)
            .into_iter()
            .collect();
        settings.extend(without_effect(&matching));
        let policies = matching.user.iter().rev();
        Some(Explanation {
            effective_definition: policies
                .flat_map(|policy| policy.definition().clone())
                .collect(),
            ..of(&matching, settings)
        })
    }
}

type Candidate = (By, String, Json);

/// What policies say of a key, those that count first in front.
fn given(matching: &Matching, key: &str) -> Vec<Candidate> {
    let of = |by, sort: &'static str, all: &[Arc<Policy>]| -> Vec<Candidate> {
        let with_key = all.iter().filter_map(|policy| {
            let value = policy.definition().get(key)?.clone();
            Some((by, format!("{sort} '{}'", policy.name()), value))
        });
        with_key.collect()
    };
    let mut all = of(By::Policy, "policy", &matching.user);
    all.extend(of(
        By::OperatorPolicy,
        "operator policy",
        &matching.operator,
    ));
    all
}

fn explained(
    key: &str,
    by: By,
    mut given: Vec<Candidate>,
    rule: &'static str,
) -> Option<Explained> {
    let at = given.iter().position(|(who, ..)| *who == by)?;
    let (_, source, value) = given.remove(at);
    Some(Explained {
        key: key.to_owned(),
        value: Some(value),
        source,
        rule: if given.is_empty() { "" } else { rule },
        others: given
            .into_iter()
            .map(|(_, who, value)| (who, value))
            .collect(),
    })
}

/// Keys that are RabbitMQ's and mean nothing here.
fn without_effect(matching: &Matching) -> Vec<Explained> {
    let keys = WITHOUT_EFFECT.iter().filter_map(|key| {
        let mut given = given(matching, key);
        given.truncate(1);
        let (_, source, value) = given.pop()?;
        Some(Explained {
            key: (*key).to_owned(),
            value: None,
            others: vec![(source, value)],
            source: "nothing: there is one node".to_owned(),
            rule: "",
        })
    });
    keys.collect()
}

fn of(matching: &Matching, settings: Vec<Explained>) -> Explanation {
    let names = |all: &[Arc<Policy>]| all.iter().map(|policy| policy.name().clone()).collect();
    Explanation {
        policies: names(&matching.user),
        operator_policies: names(&matching.operator),
        effective_definition: Map::new(),
        settings,
    }
}
