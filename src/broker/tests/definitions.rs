//! Definitions in and out (A11).

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::broker::definitions::{ImportError, Imported, Progress, Scope};
use crate::broker::policies::PolicyKind;

/// `GET /api/definitions` of a RabbitMQ 3.10.8.
const RABBITMQ: &str = include_str!("../../../tests/data/rabbitmq-3.10.8-definitions.json");

const SECTIONS: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

impl Bench {
    fn import_into(&self, json: &Json, scope: &Scope) -> Result<Imported, ImportError> {
        let text = json.to_string();
        let mut progress = |_: Progress| ();
        let done = self
            .broker
            .import_definitions(text.as_bytes(), scope, "test", &mut progress);
        done.map(|done| done.value)
    }

    fn import(&self, json: &Json) -> Result<Imported, ImportError> {
        self.import_into(json, &Scope::Broker)
    }

    fn export(&self) -> Map<String, Json> {
        self.broker.export_definitions(&Scope::Broker)
    }
}

fn items<'a>(definitions: &'a Map<String, Json>, section: &str) -> &'a Vec<Json> {
    definitions[section].as_array().unwrap()
}

/// Whether every field of an item is the same in another, which may have more.
fn is_part(item: &Json, of: &Json) -> bool {
    let fields = item.as_object().unwrap();
    fields.iter().all(|(key, value)| of.get(key) == Some(value))
}

fn assert_same(ours: &Map<String, Json>, theirs: &Map<String, Json>) {
    for section in SECTIONS {
        let (ours, theirs) = (items(ours, section), items(theirs, section));
        assert_eq!(ours.len(), theirs.len(), "{section}");
        for item in theirs {
            let found = ours.iter().any(|our| is_part(item, our));
            assert!(found, "{section}: {item} is not in {ours:#?}");
        }
    }
}

#[test]
fn a11_definitions_of_rabbitmq_come_out_as_they_went_in() {
    let bench = Bench::new();
    let mut theirs: Json = serde_json::from_str(RABBITMQ).unwrap();
    let imported = bench.import(&theirs).unwrap();
    assert_eq!((imported.created, imported.dangling), (13, 0));
    // A limit of -1 is none.
    for parameter in theirs["parameters"].as_array_mut().unwrap() {
        if let Some(limits) = parameter["value"].as_object_mut() {
            limits.retain(|_, value| *value != json!(-1));
        }
    }
    let theirs = theirs.as_object().unwrap();
    assert_same(&bench.export(), theirs);
    let queue = |bench: &Bench| {
        let orders = bench.broker.vhost("orders").unwrap();
        orders.queue_named(b"app.jobs").unwrap()
    };
    assert_eq!(queue(&bench).settings().policy, Some("ttl".into()));
    assert_eq!(queue(&bench).settings().options.max_len, Some(100_000));
    let bench = bench.restart();
    assert_same(&bench.export(), theirs);
    assert_eq!(
        queue(&bench).settings().options.message_ttl_ms,
        Some(60_000)
    );
    // What Warren writes Warren reads, and nothing is there twice.
    let again = bench.import(&bench.export().into()).unwrap();
    assert_eq!((again.created, again.existed), (0, 13));
}

#[test]
fn a11_a_bad_file_changes_nothing_and_names_the_first_fault() {
    let bench = Bench::new();
    let before = bench.export();
    let queue = |name: &str, arguments: Json| {
        json!({
            "name": name, "vhost": "/", "durable": true, "auto_delete": false,
            "arguments": arguments,
        })
    };
    let exchange = json!({"name": "x", "vhost": "/", "type": "x-consistent-hash"});
    let binding = |key: &str| {
        json!({
            "source": "x", "vhost": "/", "destination": "good", "destination_type": "queue",
            "routing_key": key, "arguments": {},
        })
    };
    let policy = |definition: Json| json!({"vhost": "/", "name": "p", "pattern": "", "definition": definition, "priority": 0});
    for (section, items, fault) in [
        (
            "queues",
            json!([
                queue("a", json!({})),
                queue("b", json!({"x-max-length": -1}))
            ]),
            "queues[1] 'b': PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'b' in \
             vhost '/': {value_negative,-1}",
        ),
        (
            "queues",
            json!([{"name": "a", "durable": true}]),
            "queues[0] 'a': missing field `vhost`",
        ),
        (
            "queues",
            json!([{"name": "a", "vhost": "nope"}]),
            "queues[0] 'a': virtual host 'nope' does not exist",
        ),
        (
            "exchanges",
            json!([{"name": "e", "vhost": "/", "type": "x-none"}]),
            "exchanges[0] 'e': PRECONDITION_FAILED - unknown exchange type 'x-none'",
        ),
        (
            "bindings",
            json!([binding("5"), binding("five")]),
            "bindings[1]: ",
        ),
        (
            "policies",
            json!([policy(json!({"max-length": "x"}))]),
            "policies[0] 'p': Validation failed\n\n<<\"x\">> is not a valid maximum length\n",
        ),
        (
            "permissions",
            json!([{"user": "who", "vhost": "/", "configure": "", "write": "", "read": ""}]),
            "permissions[0]: user 'who' does not exist",
        ),
        (
            "users",
            json!([{"name": "u", "password_hash": "AAAA"}]),
            "users[0] 'u': ",
        ),
        (
            "parameters",
            json!([{"vhost": "/", "component": "foo", "name": "n", "value": {}}]),
            "parameters[0] 'n': Validation failed\n\ncomponent foo not found\n",
        ),
        ("vhosts", json!({"name": "v"}), "vhosts: is no list"),
    ] {
        let mut file = json!({
            "users": [{"name": "new", "password_hash": "", "tags": "administrator"}],
            "vhosts": [{"name": "new"}],
            "exchanges": [exchange],
            "queues": [queue("good", json!({}))],
            "policies": [policy(json!({"max-length": 1}))],
        });
        file[section] = items;
        let found = bench.import(&file).unwrap_err();
        assert!(matches!(found, ImportError::Invalid { .. }));
        let text = found.to_string();
        assert!(text.starts_with(fault), "{section}: {text}");
        assert_eq!(bench.export(), before, "{section}");
    }
    let not_json =
        bench
            .broker
            .import_definitions(b"{\"queues\":[", &Scope::Broker, "t", &mut |_| ());
    assert!(matches!(not_json, Err(ImportError::NotJson(_))));
}

#[test]
fn a11_what_is_there_stays_and_what_refers_to_nothing_is_left_out() {
    let bench = Bench::new();
    let there = bench.declare("q", |q| q.auto_delete = true);
    let file = json!({
        "queues": [
            {"name": "q", "vhost": "/", "durable": true, "arguments": {"x-max-length": 1}},
            {"name": "amq.gen-x", "vhost": "/"},
            {"name": "quorum", "vhost": "/", "type": "quorum"},
        ],
        "exchanges": [
            {"name": "", "vhost": "/", "type": "direct"},
            {"name": "amq.direct", "vhost": "/", "type": "direct"},
        ],
        "bindings": [
            {"source": "gone", "vhost": "/", "destination": "q", "destination_type": "queue"},
            {"source": "amq.fanout", "vhost": "/", "destination": "q", "destination_type": "queue"},
            {"source": "", "vhost": "/", "destination": "q", "destination_type": "queue"},
        ],
    });
    let imported = bench.import(&file).unwrap();
    assert_eq!(
        (imported.created, imported.existed, imported.dangling),
        (2, 1, 1)
    );
    assert_eq!(bench.queue("q"), there);
    assert!(there.auto_delete);
    assert_eq!(bench.queue("quorum").kind, crate::queue::QueueKind::Quorum);
    assert!(!bench.has_queue("amq.gen-x"));
}

#[test]
fn a11_an_import_keeps_to_the_limits_of_the_vhost() {
    let bench = Bench::new();
    let before = bench.export();
    let file = json!({
        "vhosts": [{"name": "v"}],
        "parameters": [{
            "vhost": "v", "component": "vhost-limits", "name": "limits",
            "value": {"max-queues": 1},
        }],
        "queues": [{"name": "a", "vhost": "v"}, {"name": "b", "vhost": "v"}],
    });
    let fault = bench.import(&file).unwrap_err().to_string();
    assert!(
        fault.starts_with("queues[1] 'b': PRECONDITION_FAILED"),
        "{fault}"
    );
    assert_eq!(bench.export(), before);
}

#[test]
fn a11_the_limits_that_an_import_sets_hold_for_it() {
    let bench = Bench::new();
    let limit = |max: i64| {
        json!([{
            "vhost": "/", "component": "vhost-limits", "name": "limits",
            "value": {"max-queues": max},
        }])
    };
    let queues = json!([{"name": "a", "vhost": "/"}, {"name": "b", "vhost": "/"}]);
    let before = bench.export();
    // Lower than what there may be now: nothing changes.
    let file = json!({"parameters": limit(1), "queues": queues.clone()});
    let fault = bench.import(&file).unwrap_err();
    assert!(matches!(fault, ImportError::Invalid { .. }), "{fault}");
    assert_eq!(bench.export(), before);
    // And higher.
    let low = json!({"parameters": limit(0)});
    bench.import(&low).unwrap();
    let file = json!({"parameters": limit(2), "queues": queues});
    assert_eq!(bench.import(&file).unwrap().created, 2);
}

#[test]
fn a11_one_vhosts_definitions_go_into_another() {
    let bench = Bench::new();
    bench
        .import(&serde_json::from_str(RABBITMQ).unwrap())
        .unwrap();
    let orders = Scope::Vhost("orders".into());
    let exported = bench.broker.export_definitions(&orders);
    assert_eq!(
        exported["rabbitmq_definition_format"],
        "single_virtual_host"
    );
    assert!(!exported.contains_key("users"));
    let file = Json::from(exported);
    let imported = bench.import_into(&file, &Scope::Vhost("/".into())).unwrap();
    assert_eq!(imported.created, 8);
    let queue = bench.queue("app.jobs");
    assert_eq!(queue.settings().policy, Some("ttl".into()));
    assert!(
        bench
            .vhost
            .policy(PolicyKind::Operator, "ceiling")
            .is_some()
    );
    let nowhere = bench.import_into(&file, &Scope::Vhost("nope".into()));
    assert!(nowhere.is_err());
}

#[test]
fn a11_an_exclusive_queue_is_not_exported_nor_its_bindings() {
    let bench = Bench::new();
    let mine = bench.declare("mine", |q| q.exclusive = true);
    bench.bind("amq.fanout", &mine);
    let exported = bench.export();
    assert!(items(&exported, "queues").is_empty());
    assert!(items(&exported, "bindings").is_empty());
}

#[test]
fn a4_10_an_imported_queue_expires_by_its_time_and_not_at_once() {
    let bench = Bench::new();
    let file = json!({
        "queues": [{"name": "q", "vhost": "/", "arguments": {"x-expires": 60_000}}],
    });
    bench.import(&file).unwrap();
    let queue = bench.queue("q");
    bench.vhost.on_timer(&queue).unwrap();
    assert!(bench.has_queue("q"));
}

#[test]
fn a11_ten_thousand_queues_and_bindings_are_imported_in_steps() {
    let bench = Bench::new();
    let queues: Vec<Json> = (0..10_000)
        .map(|n| json!({"name": format!("q{n}"), "vhost": "/", "durable": true, "arguments": {}}))
        .collect();
    let bindings: Vec<Json> = (0..10_000)
        .map(|n| {
            json!({
                "source": "amq.topic", "vhost": "/", "destination": format!("q{n}"),
                "destination_type": "queue", "routing_key": format!("a.{n}.#"), "arguments": {},
            })
        })
        .collect();
    let file = json!({"queues": queues, "bindings": bindings}).to_string();
    let mut told = Vec::new();
    let imported =
        bench
            .broker
            .import_definitions(file.as_bytes(), &Scope::Broker, "test", &mut |p| {
                told.push(p.done)
            });
    assert_eq!(imported.unwrap().value.created, 20_000);
    assert_eq!(told.len(), 20);
    assert_eq!(told.last(), Some(&20_000));
    let topology = bench.vhost.topology();
    assert_eq!(topology.queues.len(), 10_000);
    assert_eq!(topology.graph.binding_count(), 10_000);
}
