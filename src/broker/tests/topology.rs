//! Declaring, binding and deleting.

use super::*;

#[test]
fn a2_a_queue_declared_again_must_be_the_same() {
    let bench = Bench::new();
    let first = bench.declare("q", |q| q.durable = true);
    assert_eq!(bench.declare("q", |q| q.durable = true), first);
    let mut other = plain("q");
    let refused = |wanted: &QueueDeclaration| code(bench.vhost.declare_queue(wanted, HERE));
    assert_eq!(refused(&other), ReplyCode::PreconditionFailed);
    other.durable = true;
    other.auto_delete = true;
    assert_eq!(refused(&other), ReplyCode::PreconditionFailed);
    other.auto_delete = false;
    other.arguments = argument("x-max-priority", Value::I32(5));
    assert_eq!(refused(&other), ReplyCode::PreconditionFailed);
    // What the broker does not know is not compared.
    other.arguments = argument("x-whatever", Value::I32(5));
    assert!(bench.vhost.declare_queue(&other, HERE).is_ok());
}

#[test]
fn a2_an_argument_of_another_integer_type_is_the_same() {
    let bench = Bench::new();
    let first = bench.declare("q", |q| {
        q.arguments = argument("x-max-priority", Value::I32(5));
    });
    let again = bench.declare("q", |q| {
        q.arguments = argument("x-max-priority", Value::I64(5));
    });
    assert_eq!(first, again);
    assert_eq!(first.settings().options.max_priority, 5);
}

#[test]
fn a3_20_an_exchange_declared_again_must_be_the_same() {
    let bench = Bench::new();
    bench.declare_exchange("x", |_| ());
    bench.declare_exchange("x", |_| ());
    let changes: [fn(&mut ExchangeDeclaration); 5] = [
        |x| x.kind = "direct".into(),
        |x| x.durable = true,
        |x| x.auto_delete = true,
        |x| x.internal = true,
        |x| x.arguments = argument("alternate-exchange", Value::LongStr(b"y")),
    ];
    for change in changes {
        let mut other = exchange("x");
        change(&mut other);
        let refused = code(bench.vhost.declare_exchange(&other));
        assert_eq!(refused, ReplyCode::PreconditionFailed, "{other:?}");
    }
}

#[test]
fn a2_reserved_names_are_refused() {
    let bench = Bench::new();
    let vhost = &bench.vhost;
    let queue = code(vhost.declare_queue(&plain("amq.mine"), HERE));
    assert_eq!(queue, ReplyCode::AccessRefused);
    let refused = code(vhost.declare_exchange(&exchange("amq.mine")));
    assert_eq!(refused, ReplyCode::AccessRefused);
    let system = code(vhost.delete_exchange(&"amq.direct".into(), false, BY));
    assert_eq!(system, ReplyCode::AccessRefused);
    for name in [
        "amq.direct",
        "amq.fanout",
        "amq.headers",
        "amq.match",
        "amq.topic",
    ] {
        assert!(bench.has_exchange(name), "{name}");
    }
    // One that is there may be declared again.
    bench.declare_exchange("amq.fanout", |x| x.durable = true);
    let default = code(vhost.declare_exchange(&exchange("")));
    assert_eq!(default, ReplyCode::AccessRefused);
}

#[test]
fn a4_2_the_broker_gives_names_that_differ() {
    let bench = Bench::new();
    let (one, two) = (bench.declare("", |_| ()), bench.declare("", |_| ()));
    assert_ne!(one.name, two.name);
    assert!(one.name.starts_with("amq.gen-"));
    assert_eq!(one.name.len(), "amq.gen-".len() + 22);
}

#[test]
fn a4_3_an_exclusive_queue_is_for_its_connection_only() {
    let bench = Bench::new();
    let queue = bench.declare("q", |q| (q.exclusive, q.durable) = (true, true));
    assert!(!queue.durable, "it goes with the connection");
    let (vhost, name) = (&bench.vhost, Name::from("q"));
    let mut wanted = plain("q");
    wanted.exclusive = true;
    let locked = ReplyCode::ResourceLocked;
    assert_eq!(code(vhost.declare_queue(&wanted, ELSEWHERE)), locked);
    assert_eq!(code(vhost.find_queue(&name, ELSEWHERE)), locked);
    assert_eq!(code(vhost.queue(&name, ELSEWHERE)), locked);
    let delete = vhost.delete_queue(&name, DeleteIf::default(), ELSEWHERE, BY);
    assert_eq!(code(delete), locked);
    // Unbinding: only if the binding is there at all.
    let unbind = || vhost.unbind_queue(&queue, &binding("amq.fanout"), ELSEWHERE, BY);
    assert!(unbind().is_ok());
    bench.bind("amq.fanout", &queue);
    assert_eq!(code(unbind()), locked);
    assert_eq!(
        bench.publish("amq.fanout", "", b"1", false),
        Routed::ToQueues
    );
    assert!(vhost.delete_exclusive(&queue).is_ok());
    assert!(!bench.has_queue("q"));
    assert_eq!(
        bench.publish("amq.fanout", "", b"2", false),
        Routed::Nowhere
    );
}

#[test]
fn a4_4_an_auto_delete_queue_goes_with_its_last_consumer() {
    let bench = Bench::new();
    let queue = bench.declare("q", |q| q.auto_delete = true);
    assert!(bench.vhost.get(&queue, true).unwrap().is_none());
    assert!(bench.has_queue("q"), "get does not count");
    let (one, two) = (bench.consume(&queue, true).0, bench.consume(&queue, true).0);
    assert!(bench.vhost.unsubscribe(&queue, one, BY).is_ok());
    assert!(bench.vhost.unsubscribe(&queue, one, BY).is_ok());
    assert!(bench.has_queue("q"));
    assert!(bench.vhost.unsubscribe(&queue, two, BY).is_ok());
    assert!(!bench.has_queue("q"));
    assert!(queue.lock().is_gone());
}

#[test]
fn a3_14_auto_delete_goes_from_exchange_to_exchange() {
    let bench = Bench::new();
    for name in ["first", "second", "third"] {
        bench.declare_exchange(name, |x| (x.auto_delete, x.durable) = (true, true));
    }
    bench.declare_exchange("kept", |_| ());
    let queue = bench.declare("q", |q| q.auto_delete = true);
    bench.bind_exchange("first", "second");
    bench.bind_exchange("second", "third");
    bench.bind_exchange("kept", "third");
    bench.bind("third", &queue);
    let (key, _) = bench.consume(&queue, true);
    assert!(bench.vhost.unsubscribe(&queue, key, BY).is_ok());
    for name in ["first", "second", "third"] {
        assert!(!bench.has_exchange(name), "{name}");
    }
    assert!(bench.has_exchange("kept"));
    let bench = bench.restart();
    assert!(!bench.has_exchange("first") && !bench.has_queue("q"));
}

#[test]
fn a3_14_unbinding_the_last_binding_deletes_an_auto_delete_exchange() {
    let bench = Bench::new();
    bench.declare_exchange("x", |x| x.auto_delete = true);
    let queue = bench.declare("q", |_| ());
    bench.bind("x", &queue);
    let unbound = bench.vhost.unbind_queue(&queue, &binding("x"), HERE, BY);
    assert!(unbound.is_ok());
    assert!(!bench.has_exchange("x"));
}

#[test]
fn delete_minds_its_conditions() {
    let bench = Bench::new();
    let queue = bench.declare("q", |_| ());
    bench.publish("", "q", b"1", false);
    let (name, vhost) = (Name::from("q"), &bench.vhost);
    let empty = DeleteIf {
        empty: true,
        ..Default::default()
    };
    let unused = DeleteIf {
        unused: true,
        ..Default::default()
    };
    let failed = ReplyCode::PreconditionFailed;
    assert_eq!(code(vhost.delete_queue(&name, empty, HERE, BY)), failed);
    let (_, port) = bench.consume(&queue, false);
    assert_eq!(code(vhost.delete_queue(&name, unused, HERE, BY)), failed);
    assert!(!port.cancelled.load(Ordering::SeqCst));
    assert_eq!(port.received.lock().len(), 1);
    bench.publish("", "q", b"2", false);
    let deleted = vhost.delete_queue(&name, DeleteIf::default(), HERE, BY);
    assert_eq!(deleted.unwrap().value, 0, "delivered is not ready");
    assert!(port.cancelled.load(Ordering::SeqCst));
    let again = vhost.delete_queue(&name, DeleteIf::default(), HERE, BY);
    assert_eq!(again.unwrap().value, 0);
}
