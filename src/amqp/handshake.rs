//! From the protocol header to connection.open (A1.1 to A1.7, A1.14).
//!
//! Owns the steps of the handshake and what is negotiated in it. Ends in [`Opened`], all that a
//! running connection needs to know.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use bytes::BytesMut;

use super::Settings;
use super::link::Capabilities;
use super::stream::Origin;
use crate::auth::{Credentials, Login, LoginRefused, Proof};
use crate::base::limits::FRAME_MIN_SPEC;
use crate::base::{AmqpError, Name};
use crate::codec::encode::{short_string, write_method};
use crate::codec::{Command, RawTable, Value};

const MECHANISMS: &str = "PLAIN AMQPLAIN";
const MECHANISMS_WITH_EXTERNAL: &str = "PLAIN AMQPLAIN EXTERNAL";

/// Where the handshake stands, and what was learnt so far.
pub(super) enum Step {
    /// Waits for start-ok.
    Starting,
    /// Waits for the broker to check a login; the client has nothing to say meanwhile.
    Authenticating { client: Client },
    /// Waits for tune-ok.
    Tuning { login: Arc<Login>, client: Client },
    /// Waits for open.
    Opening {
        login: Arc<Login>,
        client: Client,
        tuned: Tuned,
    },
}

/// What start-ok said of the client.
pub(super) struct Client {
    pub(super) mechanism: String,
    pub(super) properties: RawTable,
    pub(super) capabilities: Capabilities,
}

/// What tune-ok settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuned {
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat_s: u16,
}

/// The result of the handshake.
pub(super) struct Opened {
    pub(super) login: Arc<Login>,
    pub(super) client: Client,
    pub(super) tuned: Tuned,
    /// The vhost that the client wants; whether it may is still to be seen.
    pub(super) vhost: String,
}

/// What a step leads to.
pub(super) enum Progress {
    Next(Step),
    /// These are to be checked, then [`Step::logged_in`] told.
    Login(Step, Proof),
    Opened(Opened),
}

/// Why a handshake ends.
#[derive(Debug)]
pub(super) enum Fault {
    /// The client is told.
    Told(AmqpError),
    /// The socket closes without a word, after a pause; the text is for the log.
    Silent(AmqpError),
}

/// Writes connection.start (A1.3). EXTERNAL is offered to whose certificate names a user (A10).
pub(super) fn start(origin: &Origin, cluster_name: &str, out: &mut BytesMut) {
    let mechanisms = match certified_user(origin) {
        Some(_) => MECHANISMS_WITH_EXTERNAL,
        None => MECHANISMS,
    };
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: server_properties(cluster_name),
        mechanisms: mechanisms.into(),
        locales: "en_US".into(),
    };
    write_method(
        out,
        0,
        &AMQPClass::Connection(connection::AMQPMethod::Start(start)),
    );
}

impl Step {
    /// Takes the next method of class connection.
    pub(super) fn take(
        self,
        command: &Command,
        origin: &Origin,
        settings: &Settings,
    ) -> Result<Progress, Fault> {
        use connection::AMQPMethod::{Open, StartOk, TuneOk};
        let AMQPClass::Connection(method) = &command.method else {
            return Err(Fault::Silent(AmqpError::unexpected_method(self.name())));
        };
        match (self, method) {
            (Step::Starting, StartOk(start_ok)) => {
                let given = proof(start_ok, origin)?;
                let client = Client {
                    mechanism: start_ok.mechanism.as_str().to_owned(),
                    properties: command.arguments.clone(),
                    capabilities: capabilities(&command.arguments),
                };
                Ok(Progress::Login(Step::Authenticating { client }, given))
            }
            (Step::Tuning { login, client }, TuneOk(tune_ok)) => {
                let tuned = tuned(tune_ok, settings).map_err(Fault::Silent)?;
                Ok(Progress::Next(Step::Opening {
                    login,
                    client,
                    tuned,
                }))
            }
            (
                Step::Opening {
                    login,
                    client,
                    tuned,
                },
                Open(open),
            ) => Ok(Progress::Opened(Opened {
                login,
                client,
                tuned,
                vhost: open.virtual_host.as_str().to_owned(),
            })),
            (step, _) => Err(Fault::Silent(AmqpError::unexpected_method(step.name()))),
        }
    }

    /// The broker has checked the login.
    pub(super) fn logged_in(
        self,
        result: Result<Login, LoginRefused>,
        settings: &Settings,
        out: &mut BytesMut,
    ) -> Result<Step, Fault> {
        let Step::Authenticating { client } = self else {
            return Ok(self);
        };
        match result {
            Ok(login) => {
                tune(settings, out);
                let login = Arc::new(login);
                Ok(Step::Tuning { login, client })
            }
            Err(_) => {
                let refused = AmqpError::login_refused(&client.mechanism);
                Err(match client.capabilities.authentication_failure_close {
                    true => Fault::Told(refused),
                    false => Fault::Silent(refused),
                })
            }
        }
    }

    /// RabbitMQ's word for it.
    fn name(&self) -> &'static str {
        match self {
            Step::Starting => "starting",
            Step::Authenticating { .. } => "securing",
            Step::Tuning { .. } => "tuning",
            Step::Opening { .. } => "opening",
        }
    }
}

fn server_properties(cluster_name: &str) -> FieldTable {
    let yes = AMQPValue::Boolean(true);
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "per_consumer_qos",
        "direct_reply_to",
        "authentication_failure_close",
    ] {
        capabilities.insert(short_string(name), yes.clone());
    }
    let mut properties = FieldTable::default();
    for (name, value) in [
        // Whose rules are spoken here: kombu has basic.qos mean what it means to RabbitMQ 3.3 and later
        // only where it reads this name and a version below 4.0.
        ("product", "RabbitMQ"),
        ("version", "3.10.8"),
        ("platform", concat!("Warren ", env!("CARGO_PKG_VERSION"))),
        ("copyright", "Copyright (c) the Warren authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("cluster_name", cluster_name),
    ] {
        properties.insert(short_string(name), AMQPValue::LongString(value.into()));
    }
    properties.insert(
        short_string("capabilities"),
        AMQPValue::FieldTable(capabilities),
    );
    properties
}

fn capabilities(client_properties: &RawTable) -> Capabilities {
    let Some(Value::Table(table)) = client_properties.get("capabilities") else {
        return Capabilities::default();
    };
    let has = |name| matches!(table.get(name), Some(Value::Bool(true)));
    Capabilities {
        consumer_cancel_notify: has("consumer_cancel_notify"),
        connection_blocked: has("connection.blocked"),
        authentication_failure_close: has("authentication_failure_close"),
    }
}

fn proof(start_ok: &connection::StartOk, origin: &Origin) -> Result<Proof, Fault> {
    let mechanism = start_ok.mechanism.as_str();
    let response = start_ok.response.as_bytes();
    let given = match (mechanism, certified_user(origin)) {
        ("PLAIN", _) => plain(response),
        ("AMQPLAIN", _) => amqplain(response),
        // What the client says of itself is ignored (A10).
        ("EXTERNAL", Some(user)) => return Ok(Proof::Certificate(user.clone())),
        _ => return Err(Fault::Silent(AmqpError::unknown_mechanism(mechanism))),
    };
    given
        .map(Proof::Password)
        .ok_or_else(|| Fault::Silent(AmqpError::malformed_sasl(mechanism)))
}

fn certified_user(origin: &Origin) -> Option<&Name> {
    origin.tls.as_ref()?.user.as_ref()
}

/// `\0user\0password`; an authorisation identity in front is refused (A10, Corrections).
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |&octet| octet == 0);
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let user = std::str::from_utf8(user).ok()?.to_owned();
    authzid.is_empty().then(|| Credentials {
        user,
        password: password.to_vec(),
    })
}

/// A table without its length, with LOGIN and PASSWORD (A10).
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let table = RawTable::new(bytes::Bytes::copy_from_slice(response)).ok()?;
    let (Value::LongStr(user), Value::LongStr(password)) =
        (table.get("LOGIN")?, table.get("PASSWORD")?)
    else {
        return None;
    };
    let user = std::str::from_utf8(user).ok()?.to_owned();
    Some(Credentials {
        user,
        password: password.to_vec(),
    })
}

fn tune(settings: &Settings, out: &mut BytesMut) {
    let tune = connection::Tune {
        channel_max: settings.channel_max,
        frame_max: settings.frame_max_bytes,
        heartbeat: settings.heartbeat_s,
    };
    write_method(
        out,
        0,
        &AMQPClass::Connection(connection::AMQPMethod::Tune(tune)),
    );
}

/// Holds tune-ok against what was offered (A1.6). 0 asks for no limit, which is more than offered.
/// Frames below RabbitMQ 4's smallest are taken, down to the specification's: older clients ask for
/// them.
fn tuned(tune_ok: &connection::TuneOk, settings: &Settings) -> Result<Tuned, AmqpError> {
    let connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat,
    } = *tune_ok;
    let too_high = |value: u32, most: u32| value == 0 || value > most;
    if too_high(frame_max, settings.frame_max_bytes) {
        return Err(AmqpError::tune_too_high(
            "frame_max",
            frame_max,
            settings.frame_max_bytes,
        ));
    }
    if frame_max < FRAME_MIN_SPEC {
        return Err(AmqpError::tune_too_low(
            "frame_max",
            frame_max,
            FRAME_MIN_SPEC,
        ));
    }
    if too_high(channel_max.into(), settings.channel_max.into()) {
        let most = settings.channel_max.into();
        return Err(AmqpError::tune_too_high(
            "channel_max",
            channel_max.into(),
            most,
        ));
    }
    Ok(Tuned {
        channel_max,
        frame_max,
        heartbeat_s: heartbeat,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_plain_wants_a_user_and_a_password() {
        let given = plain(b"\0guest\0pass\0word").unwrap();
        assert_eq!(
            (given.user.as_str(), &given.password[..]),
            ("guest", &b"pass\0word"[..])
        );
        for malformed in [
            &b""[..],
            b"guest",
            b"\0guest",
            b"admin\0guest\0guest",
            b"\0\xff\0x",
        ] {
            assert_eq!(plain(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn a10_amqplain_is_a_table_without_its_length() {
        let given = amqplain(b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x03abc").unwrap();
        assert_eq!(
            (given.user.as_str(), &given.password[..]),
            ("guest", &b"abc"[..])
        );
        assert_eq!(amqplain(b"\x05LOGINS\0\0\0\x05guest"), None);
        assert_eq!(amqplain(b"\x05LOGINS\0\0\0\xff"), None);
    }

    #[test]
    fn a1_6_tune_ok_may_ask_for_less_but_not_for_more() {
        let settings = Settings::from(&crate::config::Config::default());
        let ask = |channel_max, frame_max| {
            tuned(
                &connection::TuneOk {
                    channel_max,
                    frame_max,
                    heartbeat: 5,
                },
                &settings,
            )
        };
        assert!(ask(2047, 131_072).is_ok());
        assert!(ask(1, 4096).is_ok());
        let refused = [
            ask(2047, 0),
            ask(2047, 131_073),
            ask(2047, 4095),
            ask(0, 8192),
            ask(2048, 8192),
        ];
        assert!(refused.iter().all(Result::is_err));
    }
}
