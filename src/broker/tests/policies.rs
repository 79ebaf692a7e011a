//! Policies on queues and exchanges that are there, and on those that come (A9).

use serde_json::{Value as Json, json};

use super::*;
use crate::broker::policies::{PolicyError, PolicyKind, PolicySpec};
use crate::broker::stats::QueueView;

pub(super) fn policy(name: &str, pattern: &str, priority: i64, definition: Json) -> PolicySpec {
    PolicySpec {
        name: name.into(),
        pattern: pattern.into(),
        definition,
        priority,
        apply_to: "all".into(),
    }
}

impl Bench {
    fn set(&self, kind: PolicyKind, spec: &PolicySpec) {
        assert!(self.vhost.set_policy(kind, spec, BY).is_ok(), "{spec:?}");
    }

    fn unset(&self, kind: PolicyKind, name: &str) -> bool {
        self.vhost
            .delete_policy(kind, &name.into(), BY)
            .unwrap()
            .value
    }

    fn set_argument(&self, queue: &QueueRef, name: &str, value: Option<Value<'_>>) -> bool {
        self.vhost.set_queue_argument(queue, name, value).is_ok()
    }
}

fn max_len(queue: &QueueRef) -> Option<u64> {
    queue.settings().options.max_len
}

use PolicyKind::{Operator, User};

#[test]
fn a9_the_policy_of_the_highest_priority_counts_and_an_operators_is_merged_over_it() {
    let bench = Bench::new();
    let queue = bench.declare("a.q", |_| ());
    bench.set(User, &policy("low", "^a", 1, json!({"max-length": 10})));
    assert_eq!(max_len(&queue), Some(10));
    bench.set(
        User,
        &policy("high", "q$", 2, json!({"expires": 1_000_000})),
    );
    assert_eq!(max_len(&queue), None, "one policy at a time");
    assert_eq!(queue.settings().policy, Some("high".into()));
    bench.set(Operator, &policy("op", "", 0, json!({"max-length": 7})));
    assert_eq!(max_len(&queue), Some(7));
    assert!(bench.unset(User, "high"));
    assert!(!bench.unset(User, "high"));
    assert_eq!(max_len(&queue), Some(7));
    assert!(bench.unset(Operator, "op"));
    assert_eq!(max_len(&queue), Some(10));
    // Also what is declared later; not what has another name.
    assert_eq!(max_len(&bench.declare("a.later", |_| ())), Some(10));
    assert_eq!(max_len(&bench.declare("b", |_| ())), None);
    let mut queues_of_type = policy("low", "^a", 1, json!({"max-length": 3}));
    queues_of_type.apply_to = "quorum_queues".into();
    bench.set(User, &queues_of_type);
    assert_eq!(max_len(&queue), None);
}

#[test]
fn a4_10_a_policy_that_lets_queues_expire_counts_from_when_it_is_set() {
    let bench = Bench::new();
    let queue = bench.declare("q", |_| ());
    bench.set(User, &policy("p", "^q$", 0, json!({"expires": 60_000})));
    bench.vhost.on_timer(&queue).unwrap();
    assert!(bench.has_queue("q"), "nobody has used it, but it is new");
}

#[test]
fn a9_limits_apply_to_messages_that_are_there() {
    let bench = Bench::new();
    let queue = bench.declare("q", |_| ());
    let dead = bench.declare("dead", |_| ());
    for n in 0..10 {
        bench.publish("", "q", n.to_string().as_bytes(), false);
    }
    let definition = json!({
        "max-length": 4,
        "dead-letter-exchange": "",
        "dead-letter-routing-key": "dead",
    });
    bench.set(User, &policy("p", "^q$", 0, definition));
    assert_eq!(QueueView::of(&queue).ready, 4);
    assert_eq!(QueueView::of(&dead).ready, 6);
    assert!(bench.unset(User, "p"));
    bench.publish("", "q", b"more", false);
    assert_eq!(QueueView::of(&queue).ready, 5);
}

#[test]
fn a9_an_alternate_exchange_by_policy_is_followed_at_once() {
    let bench = Bench::new();
    bench.declare_exchange("x", |_| ());
    bench.declare_exchange("lost", |_| ());
    bench.bind("lost", &bench.declare("found", |_| ()));
    assert_eq!(bench.publish("x", "", b"1", false), Routed::Nowhere);
    bench.set(
        User,
        &policy("ae", "^x", 0, json!({"alternate-exchange": "lost"})),
    );
    assert_eq!(bench.publish("x", "", b"2", false), Routed::ToQueues);
    bench.declare_exchange("x2", |_| ());
    assert_eq!(bench.publish("x2", "", b"3", false), Routed::ToQueues);
    let why = bench.vhost.explain_exchange(b"x").unwrap();
    assert_eq!(why.settings[0].source, "policy 'ae'");
    assert!(bench.unset(User, "ae"));
    assert_eq!(bench.publish("x", "", b"4", false), Routed::Nowhere);
}

#[test]
fn a9_policies_survive_a_restart() {
    let bench = Bench::new();
    bench.declare("q", |q| q.durable = true);
    bench.declare_exchange("x", |x| x.durable = true);
    bench.set(User, &policy("p", "^q", 5, json!({"max-length": 3})));
    bench.set(
        User,
        &policy("ae", "^x", 5, json!({"alternate-exchange": "amq.fanout"})),
    );
    bench.set(Operator, &policy("o", "", 0, json!({"max-length": 2})));
    let bench = bench.restart();
    let queue = bench.queue("q");
    assert_eq!(max_len(&queue), Some(2));
    assert_eq!(queue.settings().operator_policy, Some("o".into()));
    assert!(bench.unset(Operator, "o"));
    let bench = bench.restart();
    assert_eq!(max_len(&bench.queue("q")), Some(3));
    let topology = bench.vhost.topology();
    let alternate = topology.graph.get(b"x").unwrap().spec().alternate.clone();
    assert_eq!(alternate, Some("amq.fanout".into()));
}

#[test]
fn a9_an_invalid_policy_changes_nothing() {
    let bench = Bench::new();
    let queue = bench.declare("q", |_| ());
    bench.set(User, &policy("p", "", 0, json!({"max-length": 3})));
    let refused = bench
        .vhost
        .set_policy(User, &policy("p", "", 0, json!({"max-length": -3})), BY);
    assert!(matches!(refused, Err(PolicyError::Invalid(_))));
    assert_eq!(max_len(&queue), Some(3));
}

#[test]
fn stacked_policies_all_count_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::config::Config {
        data_dir: dir.path().join("data"),
        ..Default::default()
    };
    config.policies.stacking = true;
    let broker = Broker::open(&config).unwrap();
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let bench = Bench { broker, vhost, dir };
    let queue = bench.declare("q", |q| {
        q.arguments = argument("x-max-length", Value::I32(9))
    });
    bench.set(
        User,
        &policy("base", "", 0, json!({"expires": 60_000, "max-length": 5})),
    );
    bench.set(User, &policy("more", "^q", 1, json!({"max-length": 7})));
    bench.set(
        Operator,
        &policy("op", "", 0, json!({"message-ttl": 1_000_000})),
    );
    let options = &queue.settings().options;
    assert_eq!(options.max_len, Some(7));
    assert_eq!(options.expires_ms, Some(60_000));
    assert_eq!(options.message_ttl_ms, Some(1_000_000));
    let why = bench.vhost.explain_queue(&queue);
    assert_eq!(why.policies, ["more".into(), "base".into()]);
    let of = |key: &str| why.settings.iter().find(|s| s.key == key).unwrap();
    let limit = of("max-length");
    assert_eq!(
        (limit.source.as_str(), &limit.value),
        ("policy 'more'", &Some(json!(7)))
    );
    assert_eq!(limit.rule, "the smallest value counts");
    assert_eq!(
        limit.others,
        [
            ("policy 'base'".to_owned(), json!(5)),
            ("argument x-max-length".to_owned(), json!(9)),
        ]
    );
    assert_eq!(of("expires").source, "policy 'base'");
    assert_eq!(of("message-ttl").source, "operator policy 'op'");
    assert_eq!(of("message-ttl").rule, "");
    assert_eq!(
        Json::from(why.effective_definition.clone()),
        json!({"max-length": 7, "expires": 60_000, "message-ttl": 1_000_000})
    );
}

#[test]
fn a_keys_meaning_may_be_none_and_the_explanation_says_so() {
    let bench = Bench::new();
    let queue = bench.declare("q", |_| ());
    bench.set(
        User,
        &policy("ha", "", 0, json!({"ha-mode": "all", "max-length": 1})),
    );
    let why = bench.vhost.explain_queue(&queue);
    let ha = why.settings.iter().find(|s| s.key == "ha-mode").unwrap();
    assert_eq!(ha.value, None);
    assert_eq!(max_len(&queue), Some(1));
}

#[test]
fn an_argument_is_changed_without_declaring_anew() {
    let bench = Bench::new();
    let queue = bench.declare("q", |q| {
        q.durable = true;
        q.arguments = argument("x-max-length", Value::I32(100));
    });
    for _ in 0..10 {
        bench.publish("", "q", b"1", true);
    }
    assert!(bench.set_argument(&queue, "x-max-length", Some(Value::I64(3))));
    assert_eq!(QueueView::of(&queue).ready, 3);
    assert!(!bench.set_argument(&queue, "x-max-length", Some(Value::I64(-3))));
    assert!(!bench.set_argument(&queue, "x-max-priority", Some(Value::I64(3))));
    let bench = bench.restart();
    let queue = bench.queue("q");
    assert_eq!((max_len(&queue), QueueView::of(&queue).ready), (Some(3), 3));
    // A client that declares it must say what is now.
    let mut again = plain("q");
    again.durable = true;
    again.arguments = argument("x-max-length", Value::I32(100));
    let refused = code(bench.vhost.declare_queue(&again, HERE));
    assert_eq!(refused, ReplyCode::PreconditionFailed);
    assert!(bench.set_argument(&queue, "x-max-length", None));
    again.arguments = RawTable::default();
    assert!(bench.vhost.declare_queue(&again, HERE).is_ok());
    assert_eq!(max_len(&queue), None);
}

/// Whatever comes first, in the end every queue follows the policies that there are.
#[test]
fn a9_no_queue_declared_meanwhile_is_missed() {
    let bench = Bench::new();
    let names: Vec<String> = (0..200).map(|n| format!("q{n}")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            names
                .iter()
                .for_each(|name| drop(bench.declare(name, |_| ())))
        });
        scope.spawn(|| {
            for limit in 1..=100 {
                bench.set(User, &policy("p", "", 0, json!({ "max-length": limit })));
            }
        });
    });
    for name in &names {
        assert_eq!(max_len(&bench.queue(name)), Some(100), "{name}");
    }
}

#[test]
fn a9_a_vhosts_policies_go_with_it() {
    let bench = Bench::new();
    let (name, settings) = ("v".into(), VhostSettings::default);
    assert!(
        bench
            .broker
            .put_vhost(&name, settings(), "test")
            .unwrap()
            .value
    );
    let vhost = bench.broker.vhost("v").unwrap();
    let spec = policy("p", "", 0, json!({"max-length": 3}));
    assert!(vhost.set_policy(User, &spec, BY).is_ok());
    assert!(bench.broker.delete_vhost(&name, "test").unwrap().value);
    assert!(
        bench
            .broker
            .put_vhost(&name, settings(), "test")
            .unwrap()
            .value
    );
    let bench = bench.restart();
    assert!(bench.broker.vhost("v").unwrap().policies(User).is_empty());
}
