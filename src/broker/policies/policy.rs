//! One policy: its pattern, what it applies to, and what it sets (A9).
//!
//! Owns the checks that a policy must pass before it counts.

use fancy_regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::base::Name;
use crate::base::limits::{PATTERN_BACKTRACKS_MAX, PATTERN_MAX_BYTES, SHORTSTR_MAX};
use crate::base::reply::PolicyFault;
use crate::broker::queue_arguments::{policy_key, takes_policy_key};
use crate::broker::rows::{Row, key};
use crate::queue::QueueKind;

/// The two sorts of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// By users with the tag policymaker.
    User,
    /// By operators: merged over the others, as limits that they cannot exceed.
    Operator,
}

/// What a policy applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    All,
    /// Queues of every type.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams: there are none yet.
    Streams,
    /// Exchanges.
    Exchanges,
}

impl ApplyTo {
    const ALL: [ApplyTo; 6] = [
        ApplyTo::All,
        ApplyTo::Queues,
        ApplyTo::ClassicQueues,
        ApplyTo::QuorumQueues,
        ApplyTo::Streams,
        ApplyTo::Exchanges,
    ];

    /// RabbitMQ's word.
    pub const fn name(self) -> &'static str {
        match self {
            ApplyTo::All => "all",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
            ApplyTo::Exchanges => "exchanges",
        }
    }

    fn queues(self, kind: QueueKind) -> bool {
        match self {
            ApplyTo::All | ApplyTo::Queues => true,
            ApplyTo::ClassicQueues => kind == QueueKind::Classic,
            ApplyTo::QuorumQueues => kind == QueueKind::Quorum,
            ApplyTo::Streams | ApplyTo::Exchanges => false,
        }
    }
}

/// A policy as it is asked for. It is checked when it is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Its name.
    pub name: Name,
    /// A regular expression, found anywhere in a name.
    pub pattern: String,
    /// What it sets, by key.
    pub definition: Json,
    /// Of those that match, the one with the highest counts.
    #[serde(default)]
    pub priority: i64,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    #[serde(rename = "apply-to", default = "all")]
    pub apply_to: String,
}

fn all() -> String {
    ApplyTo::All.name().to_owned()
}

/// A policy.
#[derive(Debug)]
pub struct Policy {
    name: Name,
    pattern: String,
    regex: Regex,
    apply_to: ApplyTo,
    priority: i64,
    definition: Map<String, Json>,
}

/// A policy that is refused; the text is RabbitMQ's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPolicy(String);

impl From<PolicyFault<'_>> for InvalidPolicy {
    fn from(fault: PolicyFault<'_>) -> Self {
        InvalidPolicy(fault.to_string())
    }
}

/// Keys of RabbitMQ's that mean nothing to a single node. They are kept, and change nothing.
pub(super) const WITHOUT_EFFECT: &[&str] = &[
    "ha-mode",
    "ha-params",
    "ha-promote-on-failure",
    "ha-promote-on-shutdown",
    "ha-sync-batch-size",
    "ha-sync-mode",
    "queue-master-locator",
    "target-group-size",
];

/// The key of exchanges (A3.12).
pub(super) const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

impl Policy {
    /// Checks a policy.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in RabbitMQ's words.
    pub fn new(spec: &PolicySpec, kind: PolicyKind) -> Result<Self, InvalidPolicy> {
        if spec.name.is_empty() || spec.name.len() > SHORTSTR_MAX {
            return Err(PolicyFault::Name.into());
        }
        let Json::Object(definition) = &spec.definition else {
            return Err(PolicyFault::NotADictionary(&spec.definition).into());
        };
        check_definition(definition, kind)?;
        let mut known = ApplyTo::ALL.into_iter();
        let apply_to = known
            .find(|known| known.name() == spec.apply_to)
            .ok_or(PolicyFault::ApplyTo(&spec.apply_to))?;
        Ok(Policy {
            name: spec.name.clone(),
            regex: compile(&spec.pattern)?,
            pattern: spec.pattern.clone(),
            apply_to,
            priority: spec.priority,
            definition: definition.clone(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its regular expression.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What it applies to.
    pub fn apply_to(&self) -> ApplyTo {
        self.apply_to
    }

    /// Of those that match, the one with the highest counts.
    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// What it sets, by key.
    pub fn definition(&self) -> &Map<String, Json> {
        &self.definition
    }

    /// As it could be set.
    pub fn spec(&self) -> PolicySpec {
        PolicySpec {
            name: self.name.clone(),
            pattern: self.pattern.clone(),
            definition: self.definition.clone().into(),
            priority: self.priority,
            apply_to: self.apply_to.name().to_owned(),
        }
    }

    /// Whether it is for a queue. A policy with a key that queues of this type do not know is not.
    pub(super) fn is_for_queue(&self, name: &str, kind: QueueKind) -> bool {
        let fits = |key: &String| takes_policy_key(kind, key);
        self.apply_to.queues(kind) && self.definition.keys().all(fits) && self.matches(name)
    }

    pub(super) fn is_for_exchange(&self, name: &str) -> bool {
        matches!(self.apply_to, ApplyTo::All | ApplyTo::Exchanges) && self.matches(name)
    }

    /// A pattern that gives up on a name does not match it.
    fn matches(&self, name: &str) -> bool {
        self.pattern.is_empty() || self.regex.is_match(name).unwrap_or(false)
    }
}

/// Look-around is allowed: `^(?!amq\.)` is what many RabbitMQ policies begin with.
fn compile(pattern: &str) -> Result<Regex, InvalidPolicy> {
    if pattern.len() > PATTERN_MAX_BYTES {
        let reason = format!("longer than {PATTERN_MAX_BYTES} octets");
        return Err(PolicyFault::Pattern { reason: &reason }.into());
    }
    RegexBuilder::new(pattern)
        .backtrack_limit(PATTERN_BACKTRACKS_MAX)
        .delegate_size_limit(PATTERN_MAX_BYTES * 1024)
        .build()
        .map_err(|e| {
            let reason = e.to_string();
            PolicyFault::Pattern { reason: &reason }.into()
        })
}

fn check_definition(definition: &Map<String, Json>, kind: PolicyKind) -> Result<(), InvalidPolicy> {
    if definition.is_empty() {
        return Err(PolicyFault::Empty.into());
    }
    let mut unrecognised = Vec::new();
    for (key, value) in definition {
        let (fits, what) = match (policy_key(key), key.as_str()) {
            (Some(known), _) if kind == PolicyKind::User || known.is_operators() => {
                (known.accepts(value), known.what())
            }
            (None, ALTERNATE_EXCHANGE) if kind == PolicyKind::User => {
                (value.is_string(), "alternate exchange name")
            }
            (None, key) if kind == PolicyKind::User && WITHOUT_EFFECT.contains(&key) => continue,
            (_, key) => {
                unrecognised.push((key, value));
                continue;
            }
        };
        if !fits {
            return Err(PolicyFault::Invalid { value, what }.into());
        }
    }
    match unrecognised.is_empty() {
        true => Ok(()),
        false => Err(PolicyFault::Unrecognised(&unrecognised).into()),
    }
}

/// A policy in the catalogue.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::broker) struct PolicyRow {
    pub(in crate::broker) vhost: Name,
    name: Name,
    pattern: String,
    /// JSON.
    definition: String,
    priority: i64,
    apply_to: String,
}

impl Row for PolicyRow {
    const NAME: &'static str = "policy";

    fn key(&self) -> Vec<u8> {
        key(&[self.vhost.as_bytes(), self.name.as_bytes()])
    }
}

impl PolicyRow {
    pub(super) fn of(vhost: &Name, policy: &Policy) -> Self {
        PolicyRow {
            vhost: vhost.clone(),
            name: policy.name.clone(),
            pattern: policy.pattern.clone(),
            definition: Json::from(policy.definition.clone()).to_string(),
            priority: policy.priority,
            apply_to: policy.apply_to.name().to_owned(),
        }
    }

    /// The policy, if this version still accepts it.
    pub(in crate::broker) fn policy(&self, kind: PolicyKind) -> Result<Policy, InvalidPolicy> {
        let spec = PolicySpec {
            name: self.name.clone(),
            pattern: self.pattern.clone(),
            definition: serde_json::from_str(&self.definition).unwrap_or_default(),
            priority: self.priority,
            apply_to: self.apply_to.clone(),
        };
        Policy::new(&spec, kind)
    }

    /// What logs call it.
    pub(in crate::broker) fn name(&self) -> &Name {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(pattern: &str, definition: Json) -> PolicySpec {
        PolicySpec {
            name: "p".into(),
            pattern: pattern.into(),
            definition,
            priority: 0,
            apply_to: "all".into(),
        }
    }

    fn fault(definition: Json, kind: PolicyKind) -> String {
        let text = Policy::new(&spec("", definition), kind)
            .unwrap_err()
            .to_string();
        let body = text.strip_prefix("Validation failed\n\n").unwrap();
        body.strip_suffix('\n').unwrap().to_owned()
    }

    #[test]
    fn a9_a_definition_is_checked_key_by_key() {
        let user = PolicyKind::User;
        for (definition, text) in [
            (json!({"message-ttl": -1}), "-1 is not a valid message TTL"),
            (
                json!({"max-length": "x"}),
                "<<\"x\">> is not a valid maximum length",
            ),
            (
                json!({"overflow": "zz", "max-length": 1.5, "expires": 0}),
                "0 is not a valid queue expiry",
            ),
            (json!({}), "no policy provided"),
            (
                json!({"x-foo": 1, "max-length": 5}),
                "[{<<\"x-foo\">>,1}] are not recognised policy settings",
            ),
            (json!([1]), "definition must be a dictionary: [1]"),
        ] {
            assert_eq!(fault(definition, user), text);
        }
        let operator = fault(json!({"dead-letter-exchange": "x"}), PolicyKind::Operator);
        assert_eq!(
            operator,
            "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings"
        );
        let mut wrong = spec("", json!({"max-length": 1}));
        wrong.apply_to = "foo".into();
        let text = Policy::new(&wrong, user).unwrap_err().to_string();
        assert!(text.contains("apply-to 'foo' unrecognised"), "{text}");
        let text = Policy::new(&spec("(a", json!({"max-length": 1})), user);
        assert!(text.unwrap_err().to_string().contains("regular expression"));
    }

    #[test]
    fn a9_a_pattern_is_found_anywhere_and_may_look_around() {
        let matches = |pattern: &str, name: &str| {
            let policy = Policy::new(&spec(pattern, json!({"max-length": 1})), PolicyKind::User);
            policy.unwrap().is_for_queue(name, QueueKind::Classic)
        };
        assert!(matches("", "anything"));
        assert!(matches("b", "abc"));
        assert!(!matches("^b", "abc"));
        assert!(matches(r"^(?!amq\.)", "orders"));
        assert!(!matches(r"^(?!amq\.)", "amq.gen-x"));
    }

    #[test]
    fn a_pattern_that_never_ends_gives_up() {
        let hostile = spec(r"^(a+)+\1$", json!({"max-length": 1}));
        let policy = Policy::new(&hostile, PolicyKind::User).unwrap();
        let name = format!("{}b", "a".repeat(200));
        assert!(!policy.is_for_queue(&name, QueueKind::Classic));
    }

    #[test]
    fn a_row_reads_back() {
        let policy = Policy::new(&spec("^a", json!({"max-length": 1})), PolicyKind::User).unwrap();
        let row = PolicyRow::of(&"/".into(), &policy);
        let back = PolicyRow::read(&row.value()).unwrap();
        assert_eq!(back.key(), row.key());
        assert_eq!(back.policy(PolicyKind::User).unwrap().spec(), policy.spec());
    }
}
