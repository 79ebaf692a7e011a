//! Users, permissions, limits and vhosts: what is kept, what goes with what.

use super::*;
use crate::auth::{
    Credentials, Limit, Limits, Login, PasswordHash, Pattern, Permission, TopicPermission, User,
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
        let runtime = tokio::runtime::Builder::new_current_thread().build();
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
    done(vhost.bind_queue(&queue, &binding("x")));
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
