//! Arguments and policies together: which value of a key is in force (A9).
//!
//! Owns the merge. What policies there are, and which of them apply, is not known here.

use serde_json::Value as Json;

use super::{Check, KNOWN, Known, Merge, PolicyKey};
use crate::codec::{RawTable, TableBuilder, Value};
use crate::queue::QueueKind;

/// Who gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum By {
    /// The queue's argument, or an exchange's.
    Argument,
    /// A policy.
    Policy,
    /// An operator policy.
    OperatorPolicy,
}

/// What the policies that apply say of a key.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::broker) struct Given<'a> {
    pub(in crate::broker) policy: Option<&'a Json>,
    pub(in crate::broker) operator: Option<&'a Json>,
}

/// What is in force for a key.
pub(in crate::broker) struct Choice<'a> {
    known: &'static Known,
    pub(in crate::broker) by: By,
    pub(in crate::broker) value: Value<'a>,
}

impl Choice<'_> {
    /// The policy key.
    pub(in crate::broker) fn key(&self) -> &'static str {
        self.known.policy_name()
    }

    /// The argument.
    pub(in crate::broker) fn argument(&self) -> &'static str {
        self.known.name
    }

    /// The rule by which it was chosen from more than one.
    pub(in crate::broker) fn rule(&self) -> &'static str {
        match self.known.policy.map(|key| key.merge) {
            Some(Merge::Min) => "the smallest value counts",
            Some(Merge::PolicyInQuorum) => {
                "an operator policy counts before a policy; the argument before both, or after them in a quorum queue"
            }
            _ => "the argument counts before an operator policy, and that before a policy",
        }
    }
}

/// How a policy key of queues is checked.
pub(in crate::broker) fn policy_key(key: &str) -> Option<&'static PolicyKey> {
    let mut all = KNOWN.iter();
    let known = all.find(|known| known.policy_name() == key)?;
    known.policy.as_ref()
}

/// Whether a policy with this key is for queues of a type. A key that no queue knows is for all.
pub(in crate::broker) fn takes_policy_key(kind: QueueKind, key: &str) -> bool {
    let mut all = KNOWN.iter();
    all.find(|known| known.policy_name() == key)
        .is_none_or(|known| known.takes(kind))
}

impl PolicyKey {
    /// RabbitMQ's words for what it is.
    pub(in crate::broker) fn what(&self) -> &'static str {
        self.what
    }

    /// Whether an operator policy may have it.
    pub(in crate::broker) fn is_operators(&self) -> bool {
        self.operator
    }

    /// Whether a value will do.
    pub(in crate::broker) fn accepts(&self, value: &Json) -> bool {
        match self.check {
            Check::Integer(least, most) => {
                value.as_i64().is_some_and(|n| (least..=most).contains(&n))
            }
            Check::Text => value.is_string(),
            Check::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        }
    }
}

/// What is in force in a queue: of each key that its arguments or a policy set, the value that
/// counts.
pub(in crate::broker) fn choose<'a>(
    kind: QueueKind,
    arguments: &'a RawTable,
    given: impl Fn(&str) -> Given<'a>,
) -> Vec<Choice<'a>> {
    let taken = KNOWN.iter().filter(|known| known.takes(kind));
    let mut chosen: Vec<Choice<'a>> = taken
        .filter_map(|known| {
            let argument = arguments.get(known.name);
            let (by, value) = match known.policy {
                Some(key) => key.choose(kind, argument, given(known.policy_name()))?,
                None => (By::Argument, argument?),
            };
            Some(Choice { known, by, value })
        })
        .collect();
    // A key for dead letters without an exchange for them means nothing.
    if !chosen.iter().any(|c| c.key() == "dead-letter-exchange") {
        chosen.retain(|c| c.key() != "dead-letter-routing-key");
    }
    chosen
}

/// The arguments with what was chosen in their place: to be read as if it had been declared so.
pub(in crate::broker) fn merged(arguments: &RawTable, chosen: &[Choice<'_>]) -> RawTable {
    if chosen.iter().all(|choice| choice.by == By::Argument) {
        return arguments.clone();
    }
    let mut table = TableBuilder::new();
    for (name, value) in arguments {
        if !chosen.iter().any(|c| c.argument().as_bytes() == name) {
            table.insert_raw(name, value);
        }
    }
    for choice in chosen {
        table.insert(choice.argument(), choice.value);
    }
    table.finish()
}

impl PolicyKey {
    fn choose<'a>(
        &self,
        kind: QueueKind,
        argument: Option<Value<'a>>,
        given: Given<'a>,
    ) -> Option<(By, Value<'a>)> {
        let usable = |value: &'a Json| self.usable(kind, value);
        let argument = argument.map(|value| (By::Argument, value));
        let policy = given.policy.and_then(usable).map(|v| (By::Policy, v));
        let operator = given.operator.and_then(usable);
        let operator = operator.map(|value| (By::OperatorPolicy, value));
        match self.merge {
            Merge::Min => {
                let all = [argument, policy, operator].into_iter().flatten();
                all.min_by_key(|(_, value)| limit(*value))
            }
            Merge::PolicyInQuorum if kind == QueueKind::Quorum => operator.or(policy).or(argument),
            Merge::Argument | Merge::PolicyInQuorum => argument.or(operator).or(policy),
        }
    }

    /// A policy's value as a queue of this type could have it in an argument. What only a classic
    /// queue can do is not applied to others.
    fn usable<'a>(&self, kind: QueueKind, value: &'a Json) -> Option<Value<'a>> {
        match (value, kind) {
            (Json::Number(n), QueueKind::Classic) => n.as_i64().filter(|n| *n >= 0).map(Value::I64),
            (Json::Number(n), QueueKind::Quorum) => n.as_i64().map(Value::I64),
            (Json::String(word), QueueKind::Quorum) if word == "reject-publish-dlx" => None,
            (Json::String(text), _) => Some(Value::LongStr(text.as_bytes())),
            _ => None,
        }
    }
}

/// Below zero is no limit.
fn limit(value: Value<'_>) -> u64 {
    let limit = value.as_int().and_then(|n| u64::try_from(n).ok());
    limit.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::read;
    use super::*;
    use crate::base::Resource;
    use crate::queue::{Overflow, QueueOptions};

    /// What a queue becomes of arguments, a policy and an operator policy.
    fn options(kind: QueueKind, arguments: &Json, policy: &Json, operator: &Json) -> QueueOptions {
        let mut fields = arguments.as_object().unwrap().clone();
        fields.insert("x-queue-type".into(), kind.name().into());
        let table = RawTable::from_json(&fields, crate::codec::Null::Refused).unwrap();
        let chosen = choose(kind, &table, |key| Given {
            policy: policy.get(key),
            operator: operator.get(key),
        });
        read(&merged(&table, &chosen), Resource::queue("q", "/")).unwrap()
    }

    #[test]
    fn a9_of_numbers_the_smallest_counts() {
        let kind = QueueKind::Classic;
        for (argument, policy, operator, expected) in [
            (Some(5), Some(7), Some(9), Some(5)),
            (Some(9), Some(7), None, Some(7)),
            (None, Some(7), Some(6), Some(6)),
            (None, None, Some(6), Some(6)),
            (None, None, None, None),
        ] {
            for (name, of) in [
                (
                    "max-length",
                    (|o| o.max_len) as fn(&QueueOptions) -> Option<u64>,
                ),
                ("max-length-bytes", |o| o.max_len_bytes),
                ("max-messages-per-second", |o| o.messages_per_s),
                ("max-bytes-per-second", |o| o.bytes_per_s),
                ("message-ttl", |o| o.message_ttl_ms),
                ("expires", |o| o.expires_ms),
                ("delivery-limit", |o| o.delivery_limit.map(u64::from)),
            ] {
                let side = |name: &str, value: Option<i32>| match value {
                    Some(value) => json!({ name: value }),
                    None => json!({}),
                };
                let argument = side(&format!("x-{name}"), argument);
                let merged = options(kind, &argument, &side(name, policy), &side(name, operator));
                assert_eq!(of(&merged), expected, "{name}");
            }
        }
    }

    #[test]
    fn a9_an_argument_for_dead_letters_counts_before_a_policy() {
        let policy = json!({"dead-letter-exchange": "p", "dead-letter-routing-key": "k"});
        let none = json!({});
        let to = |arguments: &Json, policy: &Json| {
            let options = options(QueueKind::Classic, arguments, policy, &none);
            options
                .dead_letter
                .map(|to| (to.exchange.to_string(), to.routing_key))
        };
        let argument = json!({"x-dead-letter-exchange": "a"});
        let key = Some(bytes::Bytes::from_static(b"k"));
        assert_eq!(to(&argument, &policy), Some(("a".into(), key.clone())));
        assert_eq!(to(&none, &policy), Some(("p".into(), key)));
        let key_only = json!({"dead-letter-routing-key": "k"});
        assert_eq!(to(&none, &key_only), None);
    }

    #[test]
    fn a9_overflow_is_the_arguments_but_in_a_quorum_queue_the_policys() {
        let argument = json!({"x-overflow": "drop-head"});
        let policy = json!({"overflow": "reject-publish"});
        let classic_only = json!({"overflow": "reject-publish-dlx"});
        let none = json!({});
        let overflow = |kind, argument: &Json, policy: &Json, operator: &Json| {
            options(kind, argument, policy, operator).overflow
        };
        let (classic, quorum) = (QueueKind::Classic, QueueKind::Quorum);
        assert_eq!(
            overflow(classic, &argument, &policy, &none),
            Overflow::DropHead
        );
        assert_eq!(
            overflow(quorum, &argument, &policy, &none),
            Overflow::RejectPublish
        );
        assert_eq!(
            overflow(classic, &none, &policy, &classic_only),
            Overflow::RejectPublishDlx
        );
        assert_eq!(
            overflow(quorum, &none, &classic_only, &none),
            Overflow::DropHead
        );
    }

    #[test]
    fn a9_a_delivery_limit_below_zero_is_none() {
        let none = json!({});
        let unlimited = json!({"delivery-limit": -1});
        let limit = |kind, policy: &Json, operator: &Json| {
            options(kind, &none, policy, operator).delivery_limit
        };
        assert_eq!(limit(QueueKind::Quorum, &none, &none), Some(20));
        assert_eq!(limit(QueueKind::Quorum, &unlimited, &none), None);
        let three = json!({"delivery-limit": 3});
        assert_eq!(limit(QueueKind::Quorum, &unlimited, &three), Some(3));
        assert_eq!(limit(QueueKind::Classic, &unlimited, &none), None);
    }

    #[test]
    fn a9_every_policy_key_says_what_is_wrong_with_it() {
        for known in KNOWN {
            let Some(key) = policy_key(known.policy_name()) else {
                continue;
            };
            assert!(!key.accepts(&json!(["a list"])), "{}", known.name);
            assert!(!key.what().is_empty());
            let overwritten = key.is_operators() && !known.takes(QueueKind::Quorum);
            assert!(!overwritten || key.merge != Merge::Min);
        }
    }
}
