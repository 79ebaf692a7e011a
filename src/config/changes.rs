//! What differs between two configurations, and what of it a running broker takes up.
//!
//! Owns which settings follow the file without a restart ([`Config::taking_up`]); how each is taken up is for the part
//! that uses it.

use serde_json::Value;

use super::{Auth, Config, Listen, Management, Tls};

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key with its table, as in `alarms.memory_watermark`.
    pub key: String,
    /// What it was, as JSON.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// Settings that are never shown.
const SECRET: [&str; 1] = ["auth.default_password"];
const HIDDEN: &str = "***";

impl Config {
    /// It with all settings of `other` that a running broker can take up.
    #[must_use]
    pub fn taking_up(&self, other: &Config) -> Config {
        Config {
            log: other.log.clone(),
            listen: allowing(&self.listen, &other.listen),
            tls: self.tls.taking_up(&other.tls),
            amqp: other.amqp.clone(),
            alarms: other.alarms.clone(),
            limits: other.limits.clone(),
            throttle: other.throttle.clone(),
            auth: Auth {
                loopback_users: other.auth.loopback_users.clone(),
                ..self.auth.clone()
            },
            management: Management {
                cors_allow_origins: other.management.cors_allow_origins.clone(),
                cors_max_age_s: other.management.cors_max_age_s,
                ..self.management.clone()
            },
            ..self.clone()
        }
    }

    /// The settings that differ in `other`, by their keys.
    pub fn changes(&self, other: &Config) -> Vec<Change> {
        let mut found = Vec::new();
        compare("", &self.shown(), &other.shown(), &mut found);
        found
    }

    /// All settings as JSON, without those that are secret.
    pub fn shown(&self) -> Value {
        // Nothing in it can fail to be JSON: all keys are texts.
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        for key in SECRET {
            if let Some(secret) = shown.pointer_mut(&format!("/{}", key.replace('.', "/"))) {
                *secret = HIDDEN.into();
            }
        }
        shown
    }
}

impl Tls {
    /// With listeners that come or go all of it waits for them: half of it may make no sense.
    fn taking_up(&self, other: &Tls) -> Tls {
        let same = self.listen.len() == other.listen.len();
        let mut pairs = self.listen.iter().zip(&other.listen);
        match same && pairs.all(|(one, other)| one.at == other.at) {
            true => Tls {
                listen: allowing(&self.listen, &other.listen),
                ..other.clone()
            },
            false => self.clone(),
        }
    }
}

/// Listeners as they are, with the networks that `other` allows for the same addresses.
fn allowing(listen: &[Listen], other: &[Listen]) -> Vec<Listen> {
    let renewed = listen.iter().enumerate().map(|(number, one)| {
        // Several may have the same address if its port is 0.
        let same = |found: &&Listen| found.at == one.at;
        let found = other.get(number).filter(same);
        match found.or_else(|| other.iter().find(same)) {
            Some(found) => Listen {
                allow: found.allow.clone(),
                ..one.clone()
            },
            None => one.clone(),
        }
    });
    renewed.collect()
}

fn compare(key: &str, before: &Value, after: &Value, found: &mut Vec<Change>) {
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        for (name, before) in before {
            let after = after.get(name).unwrap_or(&Value::Null);
            let inner = match key {
                "" => name.clone(),
                table => format!("{table}.{name}"),
            };
            compare(&inner, before, after, found);
        }
    } else if before != after {
        found.push(Change {
            key: key.to_owned(),
            before: before.to_string(),
            after: after.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text, "w.toml").unwrap()
    }

    fn keys(before: &Config, after: &Config) -> Vec<String> {
        let changes = before.changes(after).into_iter();
        changes.map(|change| change.key).collect()
    }

    #[test]
    fn changes_are_told_by_key_and_value() {
        let (before, after) = (
            Config::default(),
            parse("log = \"debug\"\n[limits]\nqueues = 7"),
        );
        let changes = before.changes(&after);
        let log = Change {
            key: "log".into(),
            before: "\"info\"".into(),
            after: "\"debug\"".into(),
        };
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes.contains(&log), "{changes:?}");
        assert!(before.changes(&before).is_empty());
    }

    #[test]
    fn some_are_taken_up_and_the_others_wait() {
        let before = Config::default();
        let after = parse(
            "data_dir = \"elsewhere\"\nlisten = [\"127.0.0.1:1\"]\n[storage]\ndurability = \"os\"\n\
             [alarms]\nmemory_watermark = 0.5\n[amqp]\nheartbeat_s = 5\n[throttle]\nhandshakes = 1\n\
             [auth]\nloopback_users = []\nbackends = [\"internal\", \"internal\"]\n\
             [management]\npath_prefix = \"/w\"\ncors_max_age_s = 1",
        );
        let now = before.taking_up(&after);
        let mut taken = keys(&before, &now);
        taken.sort();
        assert_eq!(
            taken,
            [
                "alarms.memory_watermark",
                "amqp.heartbeat_s",
                "auth.loopback_users",
                "management.cors_max_age_s",
                "throttle.handshakes"
            ]
        );
        let mut waiting = keys(&now, &after);
        waiting.sort();
        let expected = [
            "auth.backends",
            "data_dir",
            "listen",
            "management.path_prefix",
            "storage.durability",
        ];
        assert_eq!(waiting, expected);
    }

    #[test]
    fn networks_follow_and_addresses_do_not() {
        let listen = |text: &str| parse(&format!("listen = [{text}]"));
        let before = listen("\"127.0.0.1:1\", \"127.0.0.1:2\"");
        let narrowed = listen(
            "{ address = \"127.0.0.1:2\", proxy_protocol = true, allow = [\"10.0.0.0/8\"] }",
        );
        let now = before.taking_up(&narrowed);
        assert!(now.listen[0].allow.is_empty());
        assert_eq!(now.listen[1].allow.len(), 1);
        assert!(!now.listen[1].proxy_protocol);
        assert_eq!(keys(&now, &narrowed), ["listen"]);
    }

    #[test]
    fn tls_waits_as_a_whole_for_its_listeners() {
        let tls = |listen: &str, cert: &str| {
            let files = format!("cert_file = \"{cert}\"\nkey_file = \"k\"");
            parse(&format!("[tls]\nlisten = [{listen}]\n{files}"))
        };
        let before = tls("\"127.0.0.1:1\"", "a");
        let now = before.taking_up(&tls("\"127.0.0.1:1\"", "b"));
        assert_eq!(keys(&before, &now), ["tls.cert_file"]);
        assert_eq!(before.taking_up(&tls("\"127.0.0.1:2\"", "b")), before);
    }

    #[test]
    fn passwords_are_not_shown() {
        let secret = parse("[auth]\ndefault_password = \"s3cret\"");
        assert!(!secret.shown().to_string().contains("s3cret"));
        assert_eq!(secret.shown()["auth"]["default_password"], "***");
        assert!(keys(&Config::default(), &secret).is_empty());
    }
}
