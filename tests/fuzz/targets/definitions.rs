//! Definitions: an import that is refused changes nothing; one that is taken can be exported, and what is
//! exported imports as the same.
//!
//! Input: a definitions file.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value as Json};
use warren::auth::Permission;
use warren::broker::definitions::{ImportError, Scope};
use warren::broker::{Broker, VhostSettings};
use warren_fuzz::config;

struct World {
    broker: Broker,
    fresh: Map<String, Json>,
    everything: Permission,
    _data: tempfile::TempDir,
}

fuzz_target!(|json: &[u8]| {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    // A password in the clear is hashed, slowly, as it must be.
    if json.windows(10).any(|octets| octets == b"\"password\"") {
        return;
    }
    WORLD.with_borrow_mut(|world| {
        world.run(json, &Scope::Broker);
        world.run(json, &Scope::Vhost("/".into()));
    });
});

impl World {
    fn new() -> Self {
        let (config, data) = config();
        let broker = Broker::open(&config).expect("a broker");
        let guest = broker.directory();
        let permission = guest.permission("guest", &"/".into());
        World {
            fresh: broker.export_definitions(&Scope::Broker),
            everything: Permission::clone(permission.expect("of the first user")),
            broker,
            _data: data,
        }
    }

    fn run(&mut self, json: &[u8], scope: &Scope) {
        let broker = &self.broker;
        let import = |json: &[u8]| {
            let done = broker.import_definitions(json, scope, "fuzz", &mut |_| {});
            done.map(|done| done.value)
        };
        match import(json) {
            Ok(first) => {
                let exported = broker.export_definitions(scope);
                let text = serde_json::to_vec(&exported).expect("JSON");
                let again = match import(&text) {
                    Ok(again) => again,
                    Err(error) => panic!("what was exported is refused: {error}"),
                };
                assert_eq!((again.created, again.dangling), (0, 0), "after {first:?}");
                assert_eq!(broker.export_definitions(scope), exported);
                self.tidy();
            }
            Err(error) => {
                // Nothing comes between the check and the change here.
                assert!(!matches!(error, ImportError::Interrupted { .. }), "{error}");
            }
        }
        let now = self.broker.export_definitions(&Scope::Broker);
        assert_eq!(now, self.fresh);
    }

    /// As a new broker is.
    fn tidy(&self) {
        let broker = &self.broker;
        for vhost in broker.vhosts() {
            let mut settings = VhostSettings::clone(&vhost.settings());
            if settings.protected {
                settings.protected = false;
                let _ = broker
                    .put_vhost(vhost.name(), settings, "fuzz")
                    .expect("there is one");
            }
            let _ = broker
                .delete_vhost(vhost.name(), "fuzz")
                .expect("it is not protected");
        }
        let first = self.everything.vhost.clone();
        let made = broker.put_vhost(&first, VhostSettings::default(), "fuzz");
        let _ = made.expect("a good name");
        let directory = broker.directory();
        for account in directory.accounts() {
            let name = &account.user.name;
            let _ = broker.delete_user(name, "fuzz").expect("there is one");
        }
        let parameters = broker.parameters();
        for (name, _) in parameters.global() {
            let _ = broker
                .set_global_parameter(name, None, "fuzz")
                .expect("there is one");
        }
        let only = [
            ("users", &self.fresh["users"]),
            ("permissions", &self.fresh["permissions"]),
        ];
        let only: Map<String, Json> = only
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .into_iter()
            .collect();
        let text = serde_json::to_vec(&only).expect("JSON");
        let done = broker.import_definitions(&text, &Scope::Broker, "fuzz", &mut |_| {});
        let _ = done.expect("as it was exported");
        // Or the log grows faster than it is written.
        broker.log().sync().expect("nothing fails here");
    }
}
