//! Runtime parameters and global ones.

use serde_json::json;

use super::*;
use crate::broker::parameters::{ParameterError, ParameterKey};

fn at(vhost: &str, component: &str, name: &str) -> ParameterKey {
    ParameterKey {
        vhost: vhost.into(),
        component: component.into(),
        name: name.into(),
    }
}

#[test]
fn a11_parameters_are_kept_until_they_are_cleared() {
    let bench = Bench::new();
    let shovel = at("/", "shovel", "s");
    let value = json!({"src-uri": "amqp://"});
    let set = bench
        .broker
        .set_parameter(shovel.clone(), value.clone(), "test");
    assert!(set.is_ok());
    let global = |bench: &Bench, value| {
        let done = bench
            .broker
            .set_global_parameter(&"g".into(), value, "test");
        done.unwrap().value
    };
    assert!(!global(&bench, Some(json!([1, "two"]))));
    let bench = bench.restart();
    let parameters = bench.broker.parameters();
    assert_eq!(parameters.get(&shovel), Some(&value));
    assert_eq!(parameters.get_global(&"g".into()), Some(&json!([1, "two"])));
    assert!(bench.broker.clear_parameter(&shovel, "test").unwrap().value);
    assert!(!bench.broker.clear_parameter(&shovel, "test").unwrap().value);
    assert!(global(&bench, None));
    assert!(!global(&bench, None));
    let bench = bench.restart();
    assert_eq!(bench.broker.parameters().local().count(), 0);
    assert_eq!(bench.broker.parameters().global().count(), 0);
}

#[test]
fn a11_a_parameter_needs_a_component_and_a_vhost() {
    let bench = Bench::new();
    let fault = |at| {
        bench
            .broker
            .set_parameter(at, json!({}), "test")
            .unwrap_err()
    };
    let unknown = fault(at("/", "foo", "bar")).to_string();
    assert_eq!(unknown, "Validation failed\n\ncomponent foo not found\n");
    let nowhere = fault(at("nope", "shovel", "s"));
    assert_eq!(nowhere, ParameterError::NoVhost("nope".into()));
    let (name, settings) = ("v".into(), VhostSettings::default);
    assert!(bench.broker.put_vhost(&name, settings(), "test").is_ok());
    let set = bench
        .broker
        .set_parameter(at("v", "shovel", "s"), json!({}), "test");
    assert!(set.is_ok());
    assert!(bench.broker.delete_vhost(&name, "test").unwrap().value);
    assert_eq!(bench.broker.parameters().local().count(), 0);
    let bench = bench.restart();
    assert_eq!(bench.broker.parameters().local().count(), 0);
}
