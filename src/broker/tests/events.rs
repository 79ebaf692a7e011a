//! Lifecycle events on the exchange for them.

use serde_json::{Value as Json, json};

use super::*;
use crate::auth::{HashingAlgorithm, Limit, Limits, PasswordHash, User};
use crate::broker::policies::{PolicyKind, PolicySpec};

/// The value of a change that is taken.
fn done<T, E: std::fmt::Debug>(change: Result<Durably<T>, E>) -> T {
    change.unwrap().value
}

impl Bench {
    fn with_events() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = crate::config::Config {
            data_dir: dir.path().join("data"),
            ..Default::default()
        };
        config.events.exchange = true;
        let broker = Broker::open(&config).unwrap();
        let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
        Bench { broker, vhost, dir }
    }

    /// The same with a queue that all is told to.
    fn with_listener() -> (Self, QueueRef) {
        let bench = Bench::with_events();
        let here = bench.declare("events", |_| ());
        done(bench.vhost.bind_queue(&here, &keyed(b"#"), BY));
        (bench, here)
    }

    /// What has been told, by name, with its headers. Waits for `len` of them.
    async fn told(&self, queue: &QueueRef, len: usize) -> Vec<(String, Json)> {
        let mut told = Vec::new();
        let publishing = self.broker.publish_events();
        let arrive = async {
            while queue.lock().ready_len() < len {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = publishing => panic!("the task has ended"),
            () = arrive => {}
        }
        for message in queue.lock().peek_all() {
            let properties = crate::codec::Properties::trusted(message.properties_bytes());
            let headers = properties.headers().unwrap().to_json();
            let key = String::from_utf8(message.routing_key().to_vec()).unwrap();
            told.push((key, headers.into()));
        }
        told
    }
}

fn keyed(key: &'static [u8]) -> BindingSpec {
    BindingSpec {
        key: Bytes::from_static(key),
        ..binding("amq.rabbitmq.event")
    }
}

/// Holds what was told against names of events and who did it.
#[track_caller]
fn by_whom(told: &[(String, Json)], expected: &[(&str, &str)]) {
    let shown: Vec<_> = told
        .iter()
        .map(|(event, headers)| {
            let by = headers["user_who_performed_action"].as_str();
            (event.as_str(), by.unwrap_or("nobody"))
        })
        .collect();
    assert_eq!(shown, expected, "{told:#?}");
}

#[tokio::test]
async fn a3_1_what_begins_and_ends_is_told() {
    let (bench, here) = Bench::with_listener();
    let queue = bench.declare("q", |wanted| wanted.durable = true);
    bench.declare_exchange("x", |_| ());
    bench.bind("x", &queue);
    let (key, _) = bench.consume(&queue, true);
    done(bench.vhost.unsubscribe(&queue, key, BY));
    // A change that fails tells nothing.
    bench
        .vhost
        .bind_queue(&queue, &binding("none"), BY)
        .unwrap_err();
    let none = DeleteIf::default();
    done(bench.vhost.delete_queue(&"q".into(), none, HERE, BY));
    let name: Name = "v".into();
    let settings = VhostSettings {
        tags: vec!["t".into()],
        ..VhostSettings::default()
    };
    done(bench.broker.put_vhost(&name, settings, BY));
    done(bench.broker.delete_vhost(&name, BY));
    let expected = [
        ("queue.created", "name", "q"),
        ("exchange.created", "type", "fanout"),
        ("binding.created", "source_name", "x"),
        ("consumer.created", "consumer_tag", "tag"),
        ("consumer.deleted", "queue", "q"),
        ("binding.deleted", "destination_name", "q"),
        ("queue.deleted", "vhost", "/"),
        ("exchange.created", "vhost", "v"),
    ];
    // Six exchanges come and go with the vhost.
    let told = bench.told(&here, expected.len() + 5 + 1 + 6 + 1).await;
    for ((event, header, value), (name, headers)) in expected.into_iter().zip(&told) {
        assert_eq!(event, name, "{told:?}");
        assert_eq!(headers[header], value, "{name}");
        assert!(headers["timestamp_in_ms"].is_i64());
    }
    let (created, headers) = &told[expected.len() + 5];
    assert_eq!(
        (created.as_str(), &headers["tags"]),
        ("vhost.created", &json!(["t"]))
    );
    assert_eq!(told.last().unwrap().0, "vhost.deleted");
}

#[tokio::test]
async fn a3_1_what_goes_with_something_is_the_brokers_own_doing() {
    let (bench, here) = Bench::with_listener();
    let queue = bench.declare("q", |_| ());
    bench.declare_exchange("x", |wanted| wanted.auto_delete = true);
    let from_x = binding("x");
    done(bench.vhost.bind_queue(&queue, &from_x, "alice"));
    bench.consume(&queue, true);
    let none = DeleteIf::default();
    done(bench.vhost.delete_queue(&"q".into(), none, HERE, "bob"));

    let queue = bench.declare("brief", |wanted| wanted.auto_delete = true);
    let (key, _) = bench.consume(&queue, true);
    done(bench.vhost.unsubscribe(&queue, key, "bob"));

    let queue = bench.declare("mine", |wanted| wanted.exclusive = true);
    bench.declare_exchange("y", |wanted| wanted.auto_delete = true);
    let from_y = binding("y");
    done(bench.vhost.bind_queue(&queue, &from_y, "alice"));
    done(bench.vhost.unbind_queue(&queue, &from_y, HERE, "bob"));
    done(bench.vhost.delete_exclusive(&queue));
    let expected = [
        ("queue.created", INTERNAL_USER),
        ("exchange.created", INTERNAL_USER),
        ("binding.created", "alice"),
        ("consumer.created", BY),
        ("consumer.deleted", "bob"),
        ("exchange.deleted", INTERNAL_USER),
        ("binding.deleted", INTERNAL_USER),
        ("queue.deleted", "bob"),
        ("queue.created", INTERNAL_USER),
        ("consumer.created", BY),
        ("consumer.deleted", "bob"),
        ("queue.deleted", INTERNAL_USER),
        ("queue.created", INTERNAL_USER),
        ("exchange.created", INTERNAL_USER),
        ("binding.created", "alice"),
        ("exchange.deleted", "bob"),
        ("binding.deleted", "bob"),
        ("queue.deleted", INTERNAL_USER),
    ];
    by_whom(&bench.told(&here, expected.len()).await, &expected);
}

#[tokio::test]
async fn a3_1_what_operators_do_is_told_with_what_they_set() {
    let (bench, here) = Bench::with_listener();
    let Bench { broker, vhost, .. } = &bench;
    let mut user = User {
        name: "u".into(),
        password: None,
        tags: Vec::new(),
    };
    done(broker.put_user(user.clone(), "alice"));
    user.tags = vec!["monitoring".into()];
    done(broker.put_user(user.clone(), "alice"));
    let hash = PasswordHash::salted(HashingAlgorithm::Sha256, b"secret");
    user.password = Some(hash.unwrap());
    done(broker.put_user(user.clone(), "alice"));
    // The same once more changes nothing.
    done(broker.put_user(user, "alice"));
    let mut limits = Limits::default();
    limits.set(Limit::Connections, 7);
    let name = Name::from("u");
    done(broker.put_user_limits(&name, limits.clone(), "alice"));
    done(broker.put_user_limits(&name, Limits::default(), "alice"));
    done(broker.put_vhost_limits(&"/".into(), limits, "alice"));
    let spec = PolicySpec {
        name: "p".into(),
        pattern: "^q".to_owned(),
        apply_to: "queues".to_owned(),
        priority: 3,
        definition: json!({ "max-length": 5 }),
    };
    done(vhost.set_policy(PolicyKind::User, &spec, "bob"));
    done(vhost.delete_policy(PolicyKind::User, &"p".into(), "bob"));
    let value = json!({ "a": [1, true] });
    let name = Name::from("g");
    done(broker.set_global_parameter(&name, Some(value.clone()), "carol"));
    done(broker.set_global_parameter(&name, None, "carol"));
    let expected = [
        ("user.created", "alice"),
        ("user.tags.set", "alice"),
        ("user.password.changed", "alice"),
        ("user.limits.set", "alice"),
        ("user.limits.cleared", "alice"),
        ("vhost.limits.set", "alice"),
        ("policy.set", "bob"),
        ("policy.cleared", "bob"),
        ("parameter.set", "carol"),
        ("parameter.cleared", "carol"),
    ];
    let told = bench.told(&here, expected.len()).await;
    by_whom(&told, &expected);
    let header = |at: usize, name: &str| &told[at].1[name];
    assert_eq!(header(1, "tags"), &json!(["monitoring"]));
    assert_eq!(header(3, "max-connections"), &json!(7));
    assert_eq!(header(5, "vhost"), "/");
    assert_eq!(header(6, "definition"), &json!({ "max-length": 5 }));
    assert_eq!(header(8, "value"), &value);
    assert_eq!(header(8, "component"), "global");
}

#[tokio::test]
async fn a3_1_nothing_is_told_to_nobody() {
    let bench = Bench::with_events();
    let here = bench.declare("events", |_| ());
    let queues = keyed(b"queue.*");
    bench.declare("before", |_| ());
    done(bench.vhost.bind_queue(&here, &queues, BY));
    bench.declare("while", |_| ());
    let told = bench.told(&here, 1).await;
    assert_eq!(told[0].1["name"], "while", "{told:?}");
    done(bench.vhost.unbind_queue(&here, &queues, HERE, BY));
    assert!(!bench.broker.events.are_wanted());
    let plain = Bench::new();
    assert!(
        !plain.has_exchange("amq.rabbitmq.event"),
        "it is off by default"
    );
}
