//! Exchanges that hash or draw, over a real data directory: what is refused, routed, remembered and restored.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::codec::{Properties, Property, PropertyPatch, RawTable, TableBuilder, Value};
use crate::message::{Facts, Message};

/// Whose doing it is.
const BY: &str = "guest";
const HERE: ConnectionId = ConnectionId(1);
const QUEUES: [&str; 4] = ["a", "b", "c", "d"];

fn open(dir: &Path) -> (Broker, Arc<Vhost>) {
    let config = crate::config::Config {
        data_dir: dir.to_owned(),
        ..Default::default()
    };
    let broker = Broker::open(&config).unwrap();
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    (broker, vhost)
}

fn table(fields: &[(&str, Value<'_>)]) -> RawTable {
    let mut table = TableBuilder::new();
    for (name, value) in fields {
        table.insert(name, *value);
    }
    table.finish()
}

fn declare(vhost: &Vhost, name: &str, kind: &str, arguments: RawTable) -> Result<(), String> {
    let wanted = ExchangeDeclaration {
        name: name.into(),
        kind: kind.into(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    };
    let declared = vhost.declare_exchange(&wanted);
    declared.map(|_| ()).map_err(|fault| fault.text)
}

fn declare_queues(vhost: &Vhost) {
    for name in QUEUES {
        let wanted = QueueDeclaration {
            name: name.into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: RawTable::default(),
        };
        let _declared = vhost.declare_queue(&wanted, HERE).unwrap();
    }
}

fn bind(vhost: &Vhost, source: &str, queue: &str, key: &str) -> Result<(), String> {
    let spec = BindingSpec {
        source: source.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments: RawTable::default(),
    };
    let queue = vhost.queue(&queue.into(), HERE).unwrap();
    let bound = vhost.bind_queue(&queue, &spec, BY);
    bound.map(|_| ()).map_err(|fault| fault.text)
}

/// Publishes to an exchange by one channel, always with the same key, and says where each message went.
fn publish(vhost: &Arc<Vhost>, exchange: &str, messages: &[Properties]) -> Vec<&'static str> {
    let mut publisher = Publisher::new(Arc::clone(vhost));
    publisher.check_exchange(exchange.as_bytes()).unwrap();
    for properties in messages {
        let facts = Facts::new(false, 0, false);
        let properties = properties.raw();
        let message = Message::from_parts(exchange.as_bytes(), b"k", properties, vec![], facts);
        assert_eq!(publisher.publish(message, &[]), Routed::ToQueues);
        publisher.flush().unwrap();
    }
    let mut went = Vec::new();
    for name in QUEUES {
        let queue = vhost.queue(&name.into(), HERE).unwrap();
        while vhost.get(&queue, true).unwrap().is_some() {
            went.push(name);
        }
    }
    assert_eq!(went.len(), messages.len());
    went
}

fn identified(id: usize) -> Properties {
    let id = id.to_string();
    PropertyPatch::new()
        .text(Property::MessageId, id.as_bytes())
        .build()
}

fn tagged(tag: i64) -> Properties {
    let headers = table(&[("tag", Value::I64(tag))]);
    PropertyPatch::new().headers(headers.view()).build()
}

fn kinds_of(went: &[&str]) -> usize {
    QUEUES.iter().filter(|name| went.contains(name)).count()
}

#[test]
fn a3_7_arguments_of_consistent_hash() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, vhost) = open(dir.path());
    let tried = |fields: &[(&str, Value<'_>)]| {
        declare(&vhost, "x", "x-consistent-hash", table(fields)).unwrap_err()
    };
    let header = ("hash-header", Value::LongStr(b"tag"));
    let property = ("hash-property", Value::LongStr(b"app_id"));
    assert_eq!(
        tried(&[header, property]),
        "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"
    );
    assert_eq!(
        tried(&[property]),
        "PRECONDITION_FAILED - Unsupported property: app_id"
    );
    assert_eq!(
        tried(&[("hash-header", Value::Bool(true))]),
        "PRECONDITION_FAILED - invalid type 'bool' for arg 'hash-header' in exchange 'x' in vhost '/'"
    );
    declare(&vhost, "x", "direct", table(&[header, property])).unwrap();
    declare(&vhost, "y", "x-consistent-hash", table(&[header])).unwrap();
    declare(&vhost, "y", "x-consistent-hash", table(&[property])).expect("is not compared");
}

#[test]
fn a3_7_a3_8_keys_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, vhost) = open(dir.path());
    declare_queues(&vhost);
    for kind in ["x-consistent-hash", "x-local-random", "x-random"] {
        declare(&vhost, kind, kind, RawTable::default()).unwrap();
    }
    for (exchange, key, text) in [
        (
            "x-consistent-hash",
            "heavy",
            "The binding key must be an integer: <<\"heavy\">>",
        ),
        (
            "x-consistent-hash",
            "0",
            "The binding key must be greater than 0",
        ),
        (
            "x-consistent-hash",
            "10001",
            "The binding key must not be greater than 10000",
        ),
        (
            "x-local-random",
            "k",
            "Non empty binding 'k' key not permitted",
        ),
    ] {
        let fault = bind(&vhost, exchange, "a", key).unwrap_err();
        assert_eq!(fault, format!("PRECONDITION_FAILED - {text}"));
    }
    let spec = BindingSpec {
        source: "x-local-random".into(),
        key: Bytes::new(),
        arguments: RawTable::default(),
    };
    let fault = vhost
        .bind_exchange(&"x-random".into(), &spec, BY)
        .unwrap_err();
    assert_eq!(fault.text, "PRECONDITION_FAILED - Destination not found");
}

#[test]
fn a3_7_a3_10_a_route_by_more_than_the_key_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, vhost) = open(dir.path());
    declare_queues(&vhost);
    let by_id = table(&[("hash-property", Value::LongStr(b"message_id"))]);
    let by_tag = table(&[("hash-header", Value::LongStr(b"tag"))]);
    for (name, kind, arguments, key) in [
        ("by-key", "x-consistent-hash", RawTable::default(), "1"),
        ("by-id", "x-consistent-hash", by_id, "1"),
        ("by-tag", "x-consistent-hash", by_tag, "1"),
        ("modulus", "x-modulus-hash", RawTable::default(), ""),
        ("random", "x-random", RawTable::default(), ""),
        ("local-random", "x-local-random", RawTable::default(), ""),
    ] {
        declare(&vhost, name, kind, arguments).unwrap();
        for queue in QUEUES {
            bind(&vhost, name, queue, key).unwrap();
        }
    }
    let ids: Vec<_> = (0..100).map(identified).collect();
    let tags: Vec<_> = (0..100).map(tagged).collect();
    for one_way in ["by-key", "modulus", "by-tag"] {
        assert_eq!(kinds_of(&publish(&vhost, one_way, &ids)), 1, "{one_way}");
    }
    for many_ways in ["by-id", "random", "local-random"] {
        assert_eq!(
            kinds_of(&publish(&vhost, many_ways, &ids)),
            4,
            "{many_ways}"
        );
    }
    assert_eq!(kinds_of(&publish(&vhost, "by-tag", &tags)), 4);
}

#[test]
fn a3_17_kinds_and_what_they_choose_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, vhost) = open(dir.path());
    // Queues come and go, so that the order of ids is not that of names.
    for _ in 0..3 {
        declare_queues(&vhost);
        let _deleted = vhost
            .delete_queue(&"b".into(), DeleteIf::default(), HERE, BY)
            .unwrap();
    }
    declare_queues(&vhost);
    let by_id = table(&[("hash-property", Value::LongStr(b"message_id"))]);
    for (kind, arguments) in [
        ("x-consistent-hash", by_id),
        ("x-modulus-hash", RawTable::default()),
        ("x-random", RawTable::default()),
        ("x-local-random", RawTable::default()),
    ] {
        declare(&vhost, kind, kind, arguments).unwrap();
        for queue in ["c", "a", "d", "b"] {
            let key = if kind == "x-consistent-hash" { "3" } else { "" };
            bind(&vhost, kind, queue, key).unwrap();
        }
    }
    let choices = |vhost: &Arc<Vhost>| -> Vec<_> {
        let by_id = (0..100).map(|id| publish(vhost, "x-consistent-hash", &[identified(id)]));
        let by_key = publish(vhost, "x-modulus-hash", &[identified(0)]);
        by_id.chain([by_key]).collect()
    };
    let before = choices(&vhost);
    let specs = |vhost: &Vhost| -> Vec<_> {
        let graph = &vhost.topology().graph;
        let kinds = [
            "x-consistent-hash",
            "x-modulus-hash",
            "x-random",
            "x-local-random",
        ];
        kinds
            .map(|kind| graph.get(kind.as_bytes()).unwrap().spec().clone())
            .to_vec()
    };
    let declared = specs(&vhost);
    broker.close().unwrap();
    drop((vhost, broker));
    let (_broker, vhost) = open(dir.path());
    assert_eq!(specs(&vhost), declared);
    assert_eq!(choices(&vhost), before);
    for kind in ["x-random", "x-local-random"] {
        assert_eq!(
            vhost
                .topology()
                .graph
                .bindings_of_source(kind.as_bytes())
                .count(),
            4
        );
    }
}
