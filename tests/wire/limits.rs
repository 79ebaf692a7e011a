//! Limits and quotas of node, vhosts, users and queues: below them, at them, above them.
//!
//! The limits of the protocol itself are in `edges`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::client::Client;
use crate::octets::{Fields, Id, method};
use crate::say::{self, Options};

const BLOCKED: Id = (10, 60);
const UNBLOCKED: Id = (10, 61);

/// A broker whose users all have the password guest, and permissions in every vhost: user u and vhost v, and
/// more of both that have limits.
fn start(config: &str, vhosts: &[(&str, Value)], users: &[(&str, Value)]) -> Arc<Broker> {
    let mut vhosts = vhosts.to_vec();
    let mut users = users.to_vec();
    for (all, name) in [(&mut vhosts, "v"), (&mut users, "u")] {
        if all.iter().all(|(other, _)| *other != name) {
            all.push((name, json!({})));
        }
    }
    let mut permissions = Vec::new();
    for (user, _) in &users {
        permissions.extend(vhosts.iter().map(|(vhost, _)| {
            json!({"user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"})
        }));
    }
    let all = json!({
        "vhosts": vhosts.iter().map(|(name, _)| json!({"name": name})).collect::<Vec<_>>(),
        "users": users.iter().map(|(name, limits)| json!({
            "name": name, "tags": "", "limits": limits,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "password_hash": "AAAAAPEoQ8a3jY6DABRiJzkoKooQbXiBp2iGLke7d+FVKzJx",
        })).collect::<Vec<_>>(),
        "permissions": permissions,
        "parameters": vhosts.iter().map(|(name, limits)| json!({
            "component": "vhost-limits", "name": "limits", "vhost": name, "value": limits,
        })).collect::<Vec<_>>(),
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), all.to_string()).unwrap();
    let first = format!("load_definitions = \"{}\"\n", file.path().display());
    Broker::start(&(first + config))
}

/// What is limited, and by whom.
#[derive(Debug, Clone, Copy)]
enum Of {
    Node(&'static str),
    Vhost(&'static str),
    User(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Connection,
    Channel,
    Queue,
    Exchange,
    Consumer,
}

/// Of each limit, what is said to one more: with `{n}` for the limit, which is the number of that one, too.
const LIMITS: [(Of, What, &str); 10] = [
    (
        Of::Node("connections"),
        What::Connection,
        "NOT_ALLOWED - connection refused: node connection limit ({n}) is reached",
    ),
    (
        Of::Vhost("max-connections"),
        What::Connection,
        "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit ({n}) is reached",
    ),
    (
        Of::User("max-connections"),
        What::Connection,
        "NOT_ALLOWED - connection refused for user 'u': user connection limit ({n}) is reached",
    ),
    (
        Of::Node("channels"),
        What::Channel,
        "NOT_ALLOWED - number of channels opened on node 'warren' has reached the maximum allowed limit of {n}",
    ),
    (
        Of::User("max-channels"),
        What::Channel,
        "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user limit of {n}",
    ),
    (
        Of::Node("queues"),
        What::Queue,
        "PRECONDITION_FAILED - cannot declare queue 'n{n}': queue limit in cluster ({n}) is reached",
    ),
    (
        Of::Vhost("max-queues"),
        What::Queue,
        "PRECONDITION_FAILED - cannot declare queue 'n{n}': queue limit in vhost 'v' ({n}) is reached",
    ),
    (
        Of::Node("exchanges"),
        What::Exchange,
        "PRECONDITION_FAILED - cannot declare exchange 'n{n}' in vhost 'v': exchange limit of {n} is reached",
    ),
    (
        Of::Vhost("max-exchanges"),
        What::Exchange,
        "PRECONDITION_FAILED - cannot declare exchange 'n{n}' in vhost 'v': exchange limit of {n} is reached",
    ),
    (
        Of::Node("consumers_per_channel"),
        What::Consumer,
        "NOT_ALLOWED - reached maximum ({n}) of consumers per channel",
    ),
];

/// Who brings a thing after the other.
struct Filler {
    broker: Arc<Broker>,
    what: What,
    clients: Vec<Client>,
}

/// User u, in vhost v.
fn options() -> Options {
    Options {
        user: "u",
        vhost: "v",
        ..Options::default()
    }
}

impl Filler {
    fn new(broker: Arc<Broker>, what: What) -> Self {
        let mut filler = Filler {
            broker,
            what,
            clients: Vec::new(),
        };
        if what != What::Connection {
            let mut client = filler.broker.connect();
            client.open(&options());
            if what != What::Channel {
                client.open_channel(1);
            }
            if what == What::Consumer {
                client.declare_queue(1, "n", say::EXCLUSIVE);
            }
            filler.clients.push(client);
        }
        filler
    }

    /// Brings the thing with this number, or what the broker said instead.
    fn add(&mut self, number: u16) -> Result<(), String> {
        if self.what == What::Connection {
            let mut client = self.broker.connect();
            client.send(say::AMQP_0_9_1);
            client.expect(0, say::START);
            client.method(0, say::start_ok(&options()));
            client.expect(0, say::TUNE);
            client.method(0, say::tune_ok(&options()));
            self.clients.push(client);
        }
        let name = format!("n{number}");
        let (channel, asked, answer) = match self.what {
            What::Connection => (0, say::open("v"), say::OPEN_OK),
            What::Channel => (number + 1, say::channel_open(), say::CHANNEL_OPEN_OK),
            What::Queue => (1, say::queue_declare(&name, 0), say::QUEUE_DECLARE_OK),
            What::Exchange => {
                let declare = say::exchange_declare(&name, "direct", 0);
                (1, declare, say::EXCHANGE_DECLARE_OK)
            }
            What::Consumer => (1, say::consume("n", &name, true), say::CONSUME_OK),
        };
        let client = self.clients.last_mut().unwrap();
        client.method(channel, asked);
        let frame = client.frame();
        if frame.id() == answer {
            return Ok(());
        }
        assert!(
            [say::CLOSE, say::CHANNEL_CLOSE].contains(&frame.id()),
            "{frame:?}"
        );
        let mut close = frame.fields();
        let code = close.u16();
        assert_eq!(code, if frame.id() == say::CLOSE { 530 } else { 406 });
        Err(close.short())
    }

    fn remove(&mut self, number: u16) {
        let name = format!("n{number}");
        let (channel, asked, answer) = match self.what {
            What::Connection => return self.clients.pop().unwrap().close(),
            What::Channel => (number + 1, say::channel_close(), say::CHANNEL_CLOSE_OK),
            What::Queue => (1, say::queue_delete(&name), (50, 41)),
            What::Exchange => {
                let delete = method((40, 20)).u16(0).short(&name).u8(0);
                (1, delete, (40, 21))
            }
            What::Consumer => (1, say::cancel(&name), say::CANCEL_OK),
        };
        let client = self.clients.last_mut().unwrap();
        client.method(channel, asked);
        client.expect(channel, answer);
    }
}

fn limited(of: Of, most: i32) -> Arc<Broker> {
    match of {
        Of::Node(key) => start(&format!("[limits]\n{key} = {most}\n"), &[], &[]),
        Of::Vhost(limit) => start("", &[("v", json!({limit: most}))], &[]),
        Of::User(limit) => start("", &[], &[("u", json!({limit: most}))]),
    }
}

#[test]
fn a2_every_limit_lets_in_as_many_as_it_says_and_not_one_more() {
    for (of, what, text) in LIMITS {
        for most in [0, 2] {
            let mut filler = Filler::new(limited(of, most.into()), what);
            for number in 0..most {
                assert_eq!(filler.add(number), Ok(()), "{of:?} {most}");
            }
            if let Some(last) = most.checked_sub(1) {
                // One that goes makes room for one.
                filler.remove(last);
                assert_eq!(filler.add(last), Ok(()), "{of:?} {most}, one gone");
                // What is there is no more than it was.
                if matches!(what, What::Queue | What::Exchange) {
                    assert_eq!(filler.add(0), Ok(()), "{of:?} {most}, again");
                }
            }
            let text = text.replace("{n}", &most.to_string());
            assert_eq!(filler.add(most), Err(text), "{of:?} {most}");
        }
        let mut filler = Filler::new(limited(of, -1), what);
        for number in 0..5 {
            assert_eq!(filler.add(number), Ok(()), "{of:?} without a limit");
        }
    }
}

#[test]
fn a2_the_limit_of_consumers_is_each_channels_own() {
    let broker = Broker::start("[limits]\nconsumers_per_channel = 1\n");
    let mut client = broker.client(2);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    for channel in [1, 2] {
        client.method(channel, say::consume(&queue, &format!("c{channel}"), true));
        client.expect(channel, say::CONSUME_OK);
    }
    client.close();
}

/// A rate: its limit's name, its argument's name, and the word in the reason.
const RATES: [(&str, &str, &str); 2] = [
    (
        "max-messages-per-second",
        "x-max-messages-per-second",
        "messages",
    ),
    ("max-bytes-per-second", "x-max-bytes-per-second", "octets"),
];

/// Of each of them the last one that holds up a publisher for a message of 100 octets, the one that just does
/// not (it allows what comes in 100 ms), and the next.
const EDGES: [[u64; 3]; 2] = [[9, 10, 11], [999, 1000, 1001]];

#[test]
fn a_quota_holds_up_who_is_more_than_100_ms_ahead_of_it_and_says_whose_it_is() {
    let mut all = Vec::new();
    for ((limit, argument, unit), rates) in RATES.into_iter().zip(EDGES) {
        all.extend(rates.map(|rate| (limit, argument, unit, rate, rate == rates[0])));
    }
    // One vhost and one user for each, all with the same name.
    let named = all.iter().map(|(limit, _, unit, rate, _)| {
        let name: &'static str = format!("{unit}-{rate}").leak();
        (name, json!({*limit: rate}))
    });
    let named: Vec<(&'static str, Value)> = named.collect();
    let broker = start("", &named, &named);
    for ((_, argument, unit, rate, held), (name, _)) in all.into_iter().zip(named) {
        let plain = Fields(Vec::new());
        let limited = plain.clone().short(argument).raw(b"l").u64(rate);
        for (user, vhost, arguments, whose) in [
            ("u", name, &plain, format!("vhost '{name}'")),
            (name, "v", &plain, format!("user '{name}'")),
            ("u", "v", &limited, "queue 'q' in vhost 'v'".to_owned()),
        ] {
            let mut client = broker.connect();
            client.open(&Options {
                user,
                vhost,
                capabilities: &["connection.blocked"],
                ..Options::default()
            });
            client.open_channel(1);
            let declare = say::queue_declare_with("q", say::EXCLUSIVE, &arguments.0);
            client.method(1, declare);
            client.expect(1, say::QUEUE_DECLARE_OK);
            client.send(&say::publish(1, "", "q", &[b'x'; 100]));
            if held {
                let reason = format!("{whose} exceeds its quota of {rate} {unit} per second");
                assert_eq!(client.expect(0, BLOCKED).short(), reason);
                client.expect(0, UNBLOCKED);
            }
            // Nothing is said to who is within the rate, and nothing is refused to anybody.
            client.check_quiet(1);
            client.method(1, say::get("q", true));
            assert_eq!(client.content(1, say::GET_OK).1.len(), 100);
            client.close();
        }
    }
}
