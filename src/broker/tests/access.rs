//! Users, permissions, limits and vhosts: what is kept, what goes with what.

use super::*;
use crate::auth::{
    Authority, Credentials, Limit, Limits, Login, PasswordHash, Pattern, Permission,
    TopicPermission, User,
};
use crate::queue::QueueKind;

fn user(name: &str, password: &str) -> User {
    let hash = PasswordHash::salted(crate::auth::HashingAlgorithm::Sha256, password.as_bytes());
    User {
        name: name.into(),
        password: Some(hash.unwrap()),
        tags: vec!["monitoring".into()],
    }
}

fn permission(user: &str, vhost: &str) -> Permission {
    Permission {
        user: user.into(),
        vhost: vhost.into(),
        configure: Pattern::new("^a").unwrap(),
        write: Pattern::new(".*").unwrap(),
        read: Pattern::nothing(),
    }
}

fn topic(user: &str, vhost: &str) -> TopicPermission {
    let exchange = "amq.topic".into();
    TopicPermission::new(user.into(), vhost.into(), exchange, ["^{username}", ""]).unwrap()
}

fn done<T, E: std::fmt::Debug>(result: Result<Durably<T>, E>) -> T {
    result.unwrap().value
}

impl Bench {
    fn logs_in(&self, user: &str, password: &str) -> bool {
        let given = Credentials {
            user: user.into(),
            password: password.into(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let login = self.broker.login(given, [127, 0, 0, 1].into());
        runtime.unwrap().block_on(login).is_ok()
    }

    fn enter(&self, user: &str, vhost: &str) -> (Arc<Handle>, Result<Entered, AmqpError>) {
        let handle = Arc::new(Handle::default());
        let (peer, local) = addresses();
        let stats = self.broker.connect(handle.clone(), peer, local);
        let login = Arc::new(Login {
            user: user.into(),
            tags: vec![],
            authority: Authority::Directory,
        });
        (handle, self.broker.enter(stats.id(), login, vhost))
    }

    /// User `u` with everything set for it, in vhost `v`.
    fn populate(&self) {
        let by = "test";
        let (broker, v) = (&self.broker, Name::from("v"));
        assert!(
            broker
                .put_vhost(&v, VhostSettings::default(), by)
                .unwrap()
                .value
        );
        assert!(broker.put_user(user("u", "secret"), by).unwrap().value);
        done(broker.put_permission(permission("u", "v"), by));
        done(broker.put_topic_permission(topic("u", "v"), by));
        let mut limits = Limits::default();
        limits.set(Limit::Connections, 7);
        let set = broker.put_user_limits(&"u".into(), limits.clone(), by);
        done(set);
        done(broker.put_vhost_limits(&v, limits, by));
    }
}

#[test]
fn a10_a_new_directory_has_a_first_user_once() {
    let bench = Bench::new();
    assert!(bench.logs_in("guest", "guest"));
    assert!(!bench.logs_in("guest", "other"));
    let bench = bench.restart();
    assert!(bench.logs_in("guest", "guest"));
    let directory = bench.broker.directory();
    let guest = &directory.account("guest").unwrap().user;
    assert_eq!(guest.tags, ["administrator".into()]);
    assert!(
        bench
            .broker
            .delete_user(&"guest".into(), "test")
            .unwrap()
            .value
    );
    assert!(!bench.logs_in("guest", "guest"));
    let bench = bench.restart();
    assert!(!bench.logs_in("guest", "guest"));
    let bench = bench.crash();
    assert!(!bench.logs_in("guest", "guest"));
    assert_eq!(bench.broker.directory().permissions().count(), 0);
}

#[test]
fn a10_everything_set_for_a_user_is_there_after_a_restart_and_a_crash() {
    let bench = Bench::new();
    bench.populate();
    let mut bench = bench.crash();
    for _ in 0..2 {
        assert!(bench.logs_in("u", "secret"));
        let directory = bench.broker.directory();
        let account = directory.account("u").unwrap();
        assert_eq!(account.user.tags, ["monitoring".into()]);
        assert_eq!(account.limits.get(Limit::Connections), Some(7));
        let v = Name::from("v");
        assert_eq!(**account.permission(&v).unwrap(), permission("u", "v"));
        let kept = account.topic_permission(&v, &"amq.topic".into()).unwrap();
        assert!(kept.write.matches(b"u.1") && !kept.write.matches(b"x"));
        let vhost = bench.broker.vhost("v").unwrap();
        assert_eq!(vhost.limits().get(Limit::Connections), Some(7));
        bench = bench.restart();
    }
    done(bench.broker.delete_user(&"u".into(), "test"));
    let bench = bench.crash();
    assert!(bench.broker.directory().account("u").is_none());
    // Nothing of the old one is there for a new one of this name.
    done(bench.broker.put_user(user("u", "x"), "test"));
    let directory = bench.crash().broker.directory();
    let account = directory.account("u").unwrap();
    assert_eq!(account.permissions().count(), 0);
    assert_eq!(account.topic_permissions().count(), 0);
    assert!(account.limits.is_empty());
}

#[test]
fn a10_what_is_not_there_cannot_be_permitted() {
    let bench = Bench::new();
    let put = |user, vhost| {
        let done = bench.broker.put_permission(permission(user, vhost), "test");
        done.map(|done| done.value)
    };
    assert_eq!(
        put("nobody", "/"),
        Err(ChangeError::NoUser("nobody".into()))
    );
    assert_eq!(put("guest", "no"), Err(ChangeError::NoVhost("no".into())));
    assert_eq!(put("guest", "/"), Ok(()));
    let name = |length| bench.broker.put_user(user(&"x".repeat(length), ""), "test");
    assert_eq!(name(0).map(|d| d.value), Err(ChangeError::Name));
    assert_eq!(name(255).map(|d| d.value), Ok(true));
    assert_eq!(name(256).map(|d| d.value), Err(ChangeError::Name));
}

#[test]
fn a1_7_a_vhost_is_entered_by_those_with_a_permission() {
    let bench = Bench::new();
    bench.populate();
    let enter = |user, vhost| bench.enter(user, vhost).1.map(drop).map_err(|e| e.text);
    assert_eq!(enter("u", "v"), Ok(()));
    assert_eq!(enter("guest", "/"), Ok(()));
    let refused = "NOT_ALLOWED - access to vhost 'v' refused for user 'guest'";
    assert_eq!(enter("guest", "v"), Err(refused.into()));
    let missing = "NOT_ALLOWED - vhost w not found";
    assert_eq!(enter("guest", "w"), Err(missing.into()));
    let deleted = bench
        .broker
        .delete_permission(&"u".into(), &"v".into(), "test");
    assert!(deleted.unwrap().value);
    assert!(enter("u", "v").is_err());
}

#[test]
fn a10_connections_go_with_their_user_and_their_vhost() {
    let bench = Bench::new();
    bench.populate();
    let (of_user, entered) = bench.enter("u", "v");
    let _seat = entered.unwrap();
    let (of_guest, entered) = bench.enter("guest", "/");
    let _other = entered.unwrap();
    let (gone, entered) = bench.enter("u", "v");
    drop(entered);
    done(bench.broker.delete_user(&"u".into(), "test"));
    assert_eq!(*of_user.0.lock(), Some(AmqpError::user_deleted("u")));
    assert_eq!(*of_guest.0.lock(), None);
    assert_eq!(*gone.0.lock(), None);
    done(bench.broker.delete_vhost(&"/".into(), "test"));
    assert_eq!(*of_guest.0.lock(), Some(AmqpError::vhost_deleted("/")));
}

#[test]
fn a_vhost_is_deleted_with_all_that_is_in_it() {
    let bench = Bench::new();
    bench.populate();
    let vhost = bench.broker.vhost("v").unwrap();
    let mut wanted = plain("q");
    wanted.durable = true;
    let queue = vhost.declare_queue(&wanted, HERE).unwrap().value;
    let mut wanted = exchange("x");
    wanted.durable = true;
    done(vhost.declare_exchange(&wanted));
    done(vhost.bind_queue(&queue, &binding("x"), BY));
    let mut publisher = Publisher::new(vhost.clone());
    publisher.check_exchange(b"x").unwrap();
    publisher.publish(message("x", "key", b"m", true), &[]);
    publisher.flush().unwrap();
    // The same names elsewhere.
    bench.declare("q", |wanted| wanted.durable = true);
    let before = bench.live_messages();
    assert!(
        bench
            .broker
            .delete_vhost(&"v".into(), "test")
            .unwrap()
            .value
    );
    assert_eq!(bench.live_messages(), before - 1);
    // Who is still in it changes nothing any more.
    let late = vhost.declare_queue(&plain("late"), HERE);
    assert_eq!(code(late.map(|d| d.value)), ReplyCode::NotAllowed);
    publisher.check_exchange(b"").unwrap();
    publisher.publish(message("", "q", b"m", true), &[]);
    assert_eq!(publisher.flush(), Ok(LogPos::NONE));

    drop((publisher, vhost, queue));
    let bench = bench.crash();
    assert!(bench.broker.vhost("v").is_none());
    assert!(bench.has_queue("q"));
    assert_eq!(bench.broker.directory().topic_permissions().count(), 0);
    let again = bench
        .broker
        .put_vhost(&"v".into(), VhostSettings::default(), "test");
    assert!(again.unwrap().value);
    let vhost = bench.broker.vhost("v").unwrap();
    assert!(vhost.topology().queues.is_empty() && vhost.limits().is_empty());
    assert!(vhost.topology().graph.get(b"x").is_none());
    assert!(vhost.topology().graph.get(b"amq.direct").is_some());
    assert!(bench.enter("u", "v").1.is_err(), "its permissions are gone");
}

#[test]
fn a_vhost_keeps_its_settings_and_may_be_protected() {
    let bench = Bench::new();
    let v = Name::from("v");
    let settings = VhostSettings {
        description: "d".into(),
        tags: vec!["t".into()],
        default_queue_type: Some(QueueKind::Quorum),
        protected: true,
    };
    let put = |bench: &Bench, settings| bench.broker.put_vhost(&v, settings, "test").unwrap().value;
    assert!(put(&bench, settings.clone()));
    let bench = bench.restart();
    assert_eq!(*bench.broker.vhost("v").unwrap().settings(), settings);
    let refused = bench.broker.delete_vhost(&v, "test").map(|d| d.value);
    assert_eq!(refused, Err(ChangeError::Protected(v.clone())));
    assert!(!put(&bench, VhostSettings::default()), "it is there");
    assert!(bench.broker.delete_vhost(&v, "test").unwrap().value);
    assert!(!bench.broker.delete_vhost(&v, "test").unwrap().value);
}

fn limits(set: &[(Limit, i64)]) -> Limits {
    let mut limits = Limits::default();
    for (limit, value) in set {
        limits.set(*limit, *value);
    }
    limits
}

fn text_of<T>(result: Result<Durably<T>, AmqpError>) -> String {
    result.map(|done| drop(done.value)).unwrap_err().text
}

#[test]
fn a10_a_publisher_asks_again_when_the_directory_has_changed() {
    let bench = Bench::new();
    bench.declare_exchange("x", |_| ());
    let put = |write: &str| {
        let mut permission = permission("guest", "/");
        permission.write = Pattern::new(write).unwrap();
        done(bench.broker.put_permission(permission, "test"));
    };
    let (_, entered) = bench.enter("guest", "/");
    let entered = entered.unwrap();
    let mut publisher = Publisher::new(bench.vhost.clone()).held_to(entered.actor);
    let mut publish = || {
        publisher.check_exchange(b"x")?;
        let message = message("x", "key", b"m", false);
        publisher.check_keys(&message, &[])?;
        publisher.publish(message, &[]);
        publisher.flush().map(drop)
    };
    assert_eq!(publish(), Ok(()));
    put("^y$");
    assert_eq!(code(publish()), ReplyCode::AccessRefused);
    put("^x$");
    assert_eq!((publish(), publish()), (Ok(()), Ok(())));
    let topic = |exchange: &str| {
        let patterns = ["^allowed$", ""];
        TopicPermission::new("guest".into(), "/".into(), exchange.into(), patterns).unwrap()
    };
    done(bench.broker.put_topic_permission(topic("x"), "test"));
    assert_eq!(publish(), Ok(()), "no topic exchange");
    done(
        bench
            .broker
            .delete_permission(&"guest".into(), &"/".into(), "test"),
    );
    assert_eq!(code(publish()), ReplyCode::AccessRefused);
}

#[test]
fn a10_topic_permissions_hold_for_every_key_and_are_dropped_at_once() {
    let bench = Bench::new();
    bench.declare_exchange("t", |wanted| wanted.kind = "topic".into());
    let (_, entered) = bench.enter("guest", "/");
    let mut publisher = Publisher::new(bench.vhost.clone()).held_to(entered.unwrap().actor);
    let mut publish = |key: &str, extra: &[&'static str]| {
        publisher.check_exchange(b"t").unwrap();
        let extra: Vec<Bytes> = extra
            .iter()
            .map(|key| Bytes::from_static(key.as_bytes()))
            .collect();
        let message = message("t", key, b"m", false);
        publisher.check_keys(&message, &extra)?;
        publisher.publish(message, &extra);
        publisher.flush().map(drop)
    };
    assert_eq!(publish("b", &[]), Ok(()));
    let permission =
        TopicPermission::new("guest".into(), "/".into(), "t".into(), ["^a", ""]).unwrap();
    done(bench.broker.put_topic_permission(permission, "test"));
    assert_eq!(publish("a", &[]), Ok(()));
    assert_eq!(code(publish("b", &[])), ReplyCode::AccessRefused);
    assert_eq!(publish("a", &["ab"]), Ok(()));
    assert_eq!(code(publish("a", &["b"])), ReplyCode::AccessRefused);
    done(
        bench
            .broker
            .delete_topic_permissions(&"guest".into(), &"/".into(), None, "test"),
    );
    assert_eq!(publish("b", &["c"]), Ok(()));
}

#[test]
fn a10_queues_and_exchanges_are_held_to_the_limits_of_vhost_and_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::config::Config {
        data_dir: dir.path().join("data"),
        ..Default::default()
    };
    config.limits.queues = 3;
    config.limits.exchanges = 2;
    let broker = Broker::open(&config).unwrap();
    let vhost = broker.vhost("/").unwrap();
    let set =
        |set: &[(Limit, i64)]| done(broker.put_vhost_limits(&"/".into(), limits(set), "test"));
    let queue = |name: &str| vhost.declare_queue(&plain(name), HERE);
    let exchange = |name: &str| vhost.declare_exchange(&exchange(name));
    set(&[(Limit::Queues, 1), (Limit::Exchanges, 1)]);
    let first = done(queue("a"));
    assert_eq!(done(queue("a")), first, "it is there");
    assert_eq!(
        text_of(queue("b")),
        "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost '/' (1) is reached"
    );
    done(exchange("a"));
    assert_eq!(
        text_of(exchange("b")),
        "PRECONDITION_FAILED - cannot declare exchange 'b' in vhost '/': exchange limit of 1 is reached"
    );
    set(&[]);
    done(exchange("b"));
    assert!(text_of(exchange("c")).ends_with("exchange limit of 2 is reached"));
    let _ = (done(queue("b")), done(queue("c")));
    assert_eq!(
        text_of(queue("d")),
        "PRECONDITION_FAILED - cannot declare queue 'd': queue limit in cluster (3) is reached"
    );
    done(vhost.delete_queue(&"a".into(), DeleteIf::default(), HERE, BY));
    done(queue("d"));
}

#[test]
fn a4_7_a_vhosts_type_of_queue_is_that_of_declarations_without_one() {
    let bench = Bench::new();
    let settings = VhostSettings {
        default_queue_type: Some(QueueKind::Quorum),
        ..VhostSettings::default()
    };
    done(bench.broker.put_vhost(&"/".into(), settings, "test"));
    let kind = |name: &str, change: fn(&mut QueueDeclaration)| bench.declare(name, change).kind;
    assert_eq!(kind("durable", |w| w.durable = true), QueueKind::Quorum);
    assert_eq!(
        kind("durable", |w| w.durable = true),
        QueueKind::Quorum,
        "again"
    );
    assert_eq!(kind("transient", |_| ()), QueueKind::Classic);
    let exclusive = |w: &mut QueueDeclaration| (w.durable, w.exclusive) = (true, true);
    assert_eq!(kind("exclusive", exclusive), QueueKind::Classic);
    let named = |w: &mut QueueDeclaration| {
        w.durable = true;
        w.arguments = argument("x-queue-type", Value::LongStr(b"classic"));
    };
    assert_eq!(kind("named", named), QueueKind::Classic);
}

#[test]
fn who_passes_a_quota_is_asked_to_be_quiet_and_others_are_not() {
    let bench = Bench::new();
    bench.populate();
    bench.declare("q", |_| ());
    let rate = limits(&[(Limit::MessageRate, 10)]);
    done(
        bench
            .broker
            .put_user_limits(&"u".into(), rate.clone(), "test"),
    );
    let quiet = |user: &str, vhost: &str| {
        let (_, entered) = bench.enter(user, vhost);
        let entered = entered.unwrap();
        let mut publisher = Publisher::new(entered.vhost.clone()).metered(entered.quota.clone());
        for _ in 0..100 {
            publisher.check_exchange(b"").unwrap();
            publisher.publish(message("", "q", b"m", false), &[]);
        }
        publisher.flush().unwrap();
        let pause = publisher.take_pause();
        pause.map_or(std::time::Duration::ZERO, |pause| {
            pause.left(entered.vhost.quota(), &entered.quota)
        })
    };
    let minimum = std::time::Duration::from_secs(9);
    assert!(quiet("u", "v") > minimum);
    assert!(quiet("guest", "/").is_zero());
    done(
        bench
            .broker
            .put_user_limits(&"u".into(), Limits::default(), "test"),
    );
    assert!(quiet("u", "v").is_zero());
    done(bench.broker.put_vhost_limits(&"/".into(), rate, "test"));
    assert!(quiet("guest", "/") > minimum);
    assert!(quiet("u", "v").is_zero());
}
