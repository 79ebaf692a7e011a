//! Who the scenarios log in as: puts `definitions.json` into a data directory before its broker
//! starts. A RabbitMQ that is recorded from gets the same file by `rabbitmqctl import_definitions`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use warren::auth::{
    HashingAlgorithm, Limit, Limits, PasswordHash, Pattern, Permission, TopicPermission, User,
};
use warren::base::Name;
use warren::broker::{Broker, VhostSettings};
use warren::config::Config;

/// Opens the data directory, fills it, and closes it.
pub(crate) fn settle(definitions: &Path, data_dir: &Path) {
    let all: Value = serde_json::from_str(&fs::read_to_string(definitions).unwrap()).unwrap();
    let config = Config {
        data_dir: data_dir.to_owned(),
        ..Config::default()
    };
    let broker = Broker::open(&config).unwrap();
    for vhost in entries(&all, "vhosts") {
        let settings = VhostSettings::default();
        let done = broker.put_vhost(&name(vhost, "name"), settings, "oracle");
        assert!(done.unwrap().value, "{vhost}");
    }
    for user in entries(&all, "users") {
        put_user(&broker, user);
    }
    for entry in entries(&all, "permissions") {
        let permission = Permission {
            user: name(entry, "user"),
            vhost: name(entry, "vhost"),
            configure: Pattern::new(text(entry, "configure")).unwrap(),
            write: Pattern::new(text(entry, "write")).unwrap(),
            read: Pattern::new(text(entry, "read")).unwrap(),
        };
        let _ = broker.put_permission(permission, "oracle").unwrap();
    }
    for entry in entries(&all, "topic_permissions") {
        let permission = TopicPermission::new(
            name(entry, "user"),
            name(entry, "vhost"),
            name(entry, "exchange"),
            [text(entry, "write"), text(entry, "read")],
        );
        let _ = broker
            .put_topic_permission(permission.unwrap(), "oracle")
            .unwrap();
    }
    for entry in entries(&all, "parameters") {
        assert_eq!(text(entry, "component"), "vhost-limits");
        let limits = limits(&entry["value"], Limit::OF_VHOST);
        let vhost = name(entry, "vhost");
        let _ = broker.put_vhost_limits(&vhost, limits, "oracle").unwrap();
    }
    broker.close().unwrap();
}

fn put_user(broker: &Broker, entry: &Value) {
    let password = text(entry, "password").as_bytes();
    let tags = text(entry, "tags").split(',').filter(|tag| !tag.is_empty());
    let user = User {
        name: name(entry, "name"),
        password: PasswordHash::salted(HashingAlgorithm::Sha256, password).ok(),
        tags: tags.map(Name::from).collect(),
    };
    let name = user.name.clone();
    assert!(broker.put_user(user, "oracle").unwrap().value, "{entry}");
    if let Some(set) = entry.get("limits") {
        let limits = limits(set, Limit::OF_USER);
        let _ = broker.put_user_limits(&name, limits, "oracle").unwrap();
    }
}

fn entries<'a>(all: &'a Value, key: &str) -> &'a [Value] {
    all[key].as_array().unwrap()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap()
}

fn name(entry: &Value, key: &str) -> Name {
    text(entry, key).into()
}

fn limits(set: &Value, among: &[Limit]) -> Limits {
    let mut limits = Limits::default();
    for (name, most) in set.as_object().unwrap() {
        let limit = Limit::from_name(name, among).unwrap();
        limits.set(limit, most.as_i64().unwrap());
    }
    limits
}
