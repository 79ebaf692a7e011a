//! Users of an HTTP server: who gets in, what each may do, and how often the server is asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use tempfile::TempDir;

use crate::client::Client;
use crate::support::{Broker, LIMIT, warren};
use crate::{broker, command};

type Fields = BTreeMap<String, String>;
type Rule = dyn Fn(&str, &Fields) -> (u16, String) + Send + Sync;

/// A server whose answers are a test's, and which counts what it is asked.
struct Users {
    address: SocketAddr,
    rule: Arc<Mutex<Arc<Rule>>>,
    asked: Arc<(Mutex<Vec<String>>, Condvar)>,
}

/// What makes it answer nothing.
const HANG: u16 = 999;

impl Users {
    fn new(rule: impl Fn(&str, &Fields) -> (u16, String) + Send + Sync + 'static) -> Self {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let users = Users {
            address: socket.local_addr().unwrap(),
            rule: Arc::new(Mutex::new(Arc::new(rule))),
            asked: Arc::default(),
        };
        let (rule, asked) = (Arc::clone(&users.rule), Arc::clone(&users.asked));
        let answer = move |uri: Uri, body: Bytes| async move {
            let fields = fields(std::str::from_utf8(&body).unwrap());
            let path = uri.path().trim_start_matches("/auth/").to_owned();
            let (noted, more) = &*asked;
            noted.lock().unwrap().push(shown(&path, &fields));
            more.notify_all();
            let rule = Arc::clone(&rule.lock().unwrap());
            let (status, text) = rule(&path, &fields);
            if status == HANG {
                std::future::pending::<()>().await;
            }
            (StatusCode::from_u16(status).unwrap(), text)
        };
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(socket).unwrap();
                let router = Router::new().fallback(answer);
                axum::serve(listener, router).await.unwrap();
            });
        });
        users
    }

    fn now(&self, rule: impl Fn(&str, &Fields) -> (u16, String) + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    /// What it was asked since this was last called.
    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.0.lock().unwrap())
    }

    fn wait_for(&self, question: &str) {
        let (noted, more) = &*self.asked;
        let waiting = |asked: &mut Vec<String>| !asked.iter().any(|q| q.contains(question));
        let noted = noted.lock().unwrap();
        let (noted, _) = more.wait_timeout_while(noted, LIMIT, waiting).unwrap();
        assert!(noted.iter().any(|q| q.contains(question)), "{noted:?}");
    }

    fn config(&self, backends: &str, more: &str) -> String {
        let at = format!("http://{}/auth", self.address);
        format!(
            "listen = [\"127.0.0.1:0\"]\n[auth]\nbackends = {backends}\n[auth.http]\n\
             user_path = \"{at}/user\"\nvhost_path = \"{at}/vhost\"\n\
             resource_path = \"{at}/resource\"\ntopic_path = \"{at}/topic\"\n{more}"
        )
    }
}

fn fields(form: &str) -> Fields {
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// The question in a few words.
fn shown(path: &str, fields: &Fields) -> String {
    let names = ["username", "vhost", "resource", "name", "permission"];
    let values = names.iter().chain([&"routing_key"]);
    let values: Vec<_> = values.filter_map(|&name| fields.get(name)).collect();
    let values: Vec<_> = values.into_iter().map(String::as_str).collect();
    format!("{path} {}", values.join(" "))
}

fn allow() -> (u16, String) {
    (200, "allow".to_owned())
}

fn deny() -> (u16, String) {
    (200, "deny for a reason".to_owned())
}

/// Lets `app` in with its password, and have what does not begin with `no`, be it a name or a key.
fn usual(path: &str, fields: &Fields) -> (u16, String) {
    let is = |name: &str, value: &str| fields.get(name).is_some_and(|v| v == value);
    let no = |name: &str| fields.get(name).is_some_and(|v| v.starts_with("no"));
    let may = match path {
        "user" => is("username", "app") && is("password", "secret"),
        "vhost" => is("vhost", "/"),
        _ => !no("name") && !no("routing_key"),
    };
    if may { allow() } else { deny() }
}

const LOGIN: &[u8] = b"\0app\0secret";

fn connect(broker: &Broker) -> Client<TcpStream> {
    let stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    Client::new(stream)
}

/// With channel 1.
fn open(broker: &Broker) -> Client<TcpStream> {
    let mut client = connect(broker);
    client.open("PLAIN", LOGIN);
    channel(&mut client, 1);
    client
}

fn channel(client: &mut Client<TcpStream>, number: u8) {
    client.send(number, (20, 10), &[0]);
    client.expect((20, 11));
}

fn name(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn declare(client: &mut Client<TcpStream>, channel: u8, queue: &str) {
    let fields = [&[0, 0][..], &name(queue), &[0], &[0; 4]].concat();
    client.send(channel, (50, 10), &fields);
}

/// Publishes an empty message.
fn publish(client: &mut Client<TcpStream>, channel: u8, exchange: &str, key: &str) {
    let fields = [&[0, 0][..], &name(exchange), &name(key), &[0]].concat();
    client.send(channel, (60, 40), &fields);
    client.frame(2, channel, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// Code and text of channel.close.
fn channel_closed(client: &mut Client<TcpStream>, channel: u8) -> (u16, String) {
    let close = client.expect((20, 40));
    let text = &close[3..3 + usize::from(close[2])];
    let code = u16::from_be_bytes([close[0], close[1]]);
    client.send(channel, (20, 41), &[]);
    (code, String::from_utf8(text.to_vec()).unwrap())
}

#[test]
fn a10_the_server_says_who_gets_in_and_for_what() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let broker = broker(&dir, &users.config("[\"http\"]", ""));
    let mut client = open(&broker);
    for _ in 0..3 {
        declare(&mut client, 1, "q");
        client.expect((50, 11));
    }
    assert_eq!(
        users.take_asked(),
        [
            "user app",
            "vhost app /",
            "resource app / queue q configure"
        ],
        "an answer is remembered"
    );
    // The name that is chosen for a queue is the one that is asked about.
    declare(&mut client, 1, "");
    let declared = client.expect((50, 11));
    let chosen = std::str::from_utf8(&declared[1..1 + usize::from(declared[0])]).unwrap();
    let asked = format!("resource app / queue {chosen} configure");
    assert_eq!(users.take_asked(), [asked]);
    // Each end of a binding, its key, and reading.
    let binding = [
        &[0, 0][..],
        &name("q"),
        &name("amq.topic"),
        &name("a"),
        &[0],
    ]
    .concat();
    client.send(1, (50, 20), &[&binding[..], &[0; 4]].concat());
    client.expect((50, 21));
    client.send(1, (60, 70), &[&[0, 0][..], &name("q"), &[1]].concat());
    client.expect((60, 72));
    assert_eq!(
        users.take_asked(),
        [
            "resource app / queue q write",
            "resource app / exchange amq.topic read",
            "topic app / topic amq.topic read a",
            "resource app / queue q read",
        ]
    );
    // With dead letters, where it goes too.
    let exchange = "x-dead-letter-exchange";
    let table = [&name(exchange)[..], b"S\0\0\0\x02no"].concat();
    let fields = [
        &[0, 0][..],
        &name("d"),
        &[0],
        &(table.len() as u32).to_be_bytes(),
        &table,
    ];
    client.send(1, (50, 10), &fields.concat());
    let (code, text) = channel_closed(&mut client, 1);
    let refused =
        "ACCESS_REFUSED - write access to exchange 'no' in vhost '/' refused for user 'app'";
    assert_eq!((code, text.as_str()), (403, refused));
    // The connection goes on.
    channel(&mut client, 1);
    declare(&mut client, 1, "no");
    let (code, text) = channel_closed(&mut client, 1);
    let refused =
        "ACCESS_REFUSED - configure access to queue 'no' in vhost '/' refused for user 'app'";
    assert_eq!((code, text.as_str()), (403, refused));
    broker.wait_for("for a reason");
    client.close();
    broker.stop();
}

#[test]
fn a10_what_is_sent_before_an_answer_is_there_waits_in_its_order() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let broker = broker(&dir, &users.config("[\"http\"]", "cache_ttl_ms = 0"));
    let mut client = open(&broker);
    channel(&mut client, 2);
    // All in one go: each needs an answer, and none is remembered.
    client.send(1, (85, 10), &[0]);
    declare(&mut client, 1, "q");
    for _ in 0..5 {
        publish(&mut client, 1, "", "q");
    }
    let mut consume = [&[0, 0][..], &name("q"), &name("tag"), &[0b0010]].concat();
    consume.extend([0; 4]);
    client.send(2, (60, 20), &consume);
    publish(&mut client, 1, "no", "q");
    publish(&mut client, 1, "", "q");
    client.expect((85, 11));
    client.expect((50, 11));
    let mut seen = Vec::new();
    while seen.len() < 8 {
        let (kind, payload) = client.next_frame();
        let method = (kind == 1).then(|| (payload[1], payload[3]));
        match method {
            Some((60, 80)) => {}
            Some(ids) => seen.push(ids),
            None => {}
        }
        if method == Some((20, 40)) {
            break;
        }
    }
    assert_eq!(seen[0], (60, 21), "{seen:?}");
    assert_eq!(seen.iter().filter(|&&ids| ids == (60, 60)).count(), 5);
    assert_eq!(*seen.last().unwrap(), (20, 40));
    client.send(1, (20, 41), &[]);
    client.close();
    broker.stop();
}

#[test]
fn a10_routing_keys_of_topic_exchanges_are_asked_about() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let broker = broker(&dir, &users.config("[\"http\"]", ""));
    let mut client = open(&broker);
    for key in ["a.b", "a.b", "c"] {
        publish(&mut client, 1, "amq.topic", key);
    }
    // Not of others.
    publish(&mut client, 1, "amq.direct", "no");
    // In several frames: asked about once it is whole.
    let fields = [&[0, 0][..], &name("amq.topic"), &name("no.2"), &[0]].concat();
    client.send(1, (60, 40), &fields);
    client.frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0]);
    client.frame(3, 1, b"ab");
    client.frame(3, 1, b"cd");
    let (code, text) = channel_closed(&mut client, 1);
    let refused = "ACCESS_REFUSED - write access to topic 'no.2' in exchange 'amq.topic' in vhost '/' \
                   refused for user 'app'";
    assert_eq!((code, text.as_str()), (403, refused));
    let asked = users.take_asked();
    assert_eq!(
        asked[2..],
        [
            "resource app / exchange amq.topic write",
            "topic app / topic amq.topic write a.b",
            "topic app / topic amq.topic write c",
            "resource app / exchange amq.direct write",
            "topic app / topic amq.topic write no.2",
        ]
    );
    client.close();
    broker.stop();
}

#[test]
fn a10_who_is_refused_by_the_server_or_gets_no_answer_does_not_get_in() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let broker = broker(
        &dir,
        &users.config("[\"http\"]", "request_timeout_ms = 300"),
    );
    let refused = |password: &[u8]| {
        let mut client = connect(&broker);
        client.start();
        client.start_ok("PLAIN", &[b"\0app\0", password].concat());
        client.closed().0
    };
    assert_eq!(refused(b"wrong"), 403);
    assert_eq!(refused(b""), 403);
    for (status, text) in [(500, "allow"), (200, "<p>allow</p>"), (HANG, "")] {
        users.now(move |_, _| (status, text.to_owned()));
        assert_eq!(refused(b"secret"), 403, "{status}");
    }
    broker.wait_for("status 500");
    broker.wait_for("neither allow nor deny");
    broker.wait_for("no answer in time");
    // Another vhost than it may enter.
    users.now(|path, _| if path == "vhost" { deny() } else { allow() });
    let mut client = connect(&broker);
    client.start();
    client.start_ok("PLAIN", LOGIN);
    let tune = client.expect((10, 30));
    client.send(0, (10, 31), &[&tune[..6], &[0, 0]].concat());
    client.send(0, (10, 40), b"\x01/\0\0");
    let (code, text) = client.closed();
    let refused = "NOT_ALLOWED - access to vhost '/' refused for user 'app'";
    assert_eq!((code, text.as_str()), (530, refused));
    assert!(!broker.log().iter().any(|line| line.contains("secret")));
    broker.stop();
}

#[test]
fn a10_backends_are_asked_in_their_order() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let broker = broker(&dir, &users.config("[\"internal\", \"http\"]", ""));
    let mut client = connect(&broker);
    client.open_as_guest();
    client.echo(&[10, 5000]);
    client.close();
    assert!(users.take_asked().is_empty(), "users of the directory");
    let mut client = open(&broker);
    client.echo_on(2, &[10, 5000]);
    client.close();
    assert!(users.take_asked().len() > 2);
    // The server knows guest too, but only the first that takes a login is asked what it may do.
    users.now(|_, _| allow());
    let mut client = connect(&broker);
    client.open("PLAIN", b"\0guest\0otherwise");
    client.close();
    broker.stop();
}

#[test]
fn a10_the_server_may_know_passwords_and_the_directory_the_rest() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(|_, _| allow());
    let broker = broker(&dir, &users.config("[\"http/internal\"]", ""));
    let mut client = connect(&broker);
    client.open("PLAIN", b"\0guest\0otherwise");
    client.echo(&[10]);
    client.close();
    assert_eq!(users.take_asked(), ["user guest"]);
    let mut client = connect(&broker);
    client.start();
    client.start_ok("PLAIN", LOGIN);
    assert_eq!(client.closed().0, 403, "whom the directory does not know");
    broker.stop();
}

#[test]
fn a10_who_waits_for_an_answer_holds_up_nobody_else() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let backends = "[\"internal\", \"http\"]";
    let broker = broker(&dir, &users.config(backends, "request_timeout_ms = 4000"));
    let mut waits: Vec<_> = (0..8).map(|_| open(&broker)).collect();
    users.now(|_, _| (HANG, String::new()));
    for (number, client) in waits.iter_mut().enumerate() {
        declare(client, 1, &format!("q{number}"));
    }
    users.wait_for("queue q0 configure");
    let mut other = connect(&broker);
    other.open_as_guest();
    other.echo(&[10, 5000]);
    other.close();
    for client in &mut waits {
        assert_eq!(channel_closed(client, 1).0, 403);
    }
    // A fault is not remembered.
    users.now(usual);
    channel(&mut waits[0], 1);
    declare(&mut waits[0], 1, "q0");
    waits[0].expect((50, 11));
    broker.stop();
}

#[test]
fn a10_an_answer_is_asked_for_again_after_its_time() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(usual);
    let broker = broker(&dir, &users.config("[\"http\"]", "cache_ttl_ms = 200"));
    let mut client = open(&broker);
    publish(&mut client, 1, "amq.fanout", "");
    client.send(0, (10, 70), &[0, 0, 0, 0, 0]);
    client.expect((10, 71));
    users.now(|_, _| deny());
    // Until it is refused.
    loop {
        publish(&mut client, 1, "amq.fanout", "");
        client.send(0, (10, 70), &[0, 0, 0, 0, 0]);
        let (_, payload) = client.next_frame();
        match (payload[1], payload[3]) {
            (10, 71) => thread::sleep(Duration::from_millis(20)),
            ids => {
                assert_eq!(ids, (20, 40));
                break;
            }
        }
    }
    drop(client);
    let mut client = connect(&broker);
    client.start();
    client.start_ok("PLAIN", LOGIN);
    assert_eq!(client.closed().0, 403, "the login too");
    broker.stop();
}

#[test]
fn a12_the_http_api_takes_the_users_of_the_server() {
    let dir = TempDir::new().unwrap();
    let users = Users::new(|path, fields| match path {
        "user" if usual(path, fields) == allow() => (200, "allow policymaker".to_owned()),
        _ => usual(path, fields),
    });
    let text = users.config("[\"internal\", \"http\"]", "cache_ttl_ms = 0");
    drop(command(&dir, &text));
    let mut command = warren();
    command.arg("--config").arg(dir.path().join("warren.toml"));
    command.args(["--management", "127.0.0.1:0", "--metrics", "off"]);
    command.arg("--data-dir").arg(dir.path().join("data"));
    let broker = Broker::run(command);
    let line = broker.wait_for("listening for HTTP");
    let address = line.rsplit('=').next().unwrap().trim().to_owned();
    let ask = |login: &str, method: &str, path: &str, body: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Basic {}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            BASE64_STANDARD.encode(login),
            body.len(),
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let who = ask("app:secret", "GET", "/api/whoami", "");
    assert!(who.contains(r#""tags":["policymaker"]"#), "{who}");
    assert!(ask("app:wrong", "GET", "/api/whoami", "").starts_with("HTTP/1.1 401"));
    assert!(ask("app:secret", "GET", "/api/users", "").starts_with("HTTP/1.1 401"));
    let put = |queue: &str| {
        ask(
            "app:secret",
            "PUT",
            &format!("/api/queues/%2F/{queue}"),
            "{}",
        )
    };
    assert!(put("q").starts_with("HTTP/1.1 201"), "{}", put("q"));
    assert!(put("no").starts_with("HTTP/1.1 401"), "{}", put("no"));
    let listed = ask("app:secret", "GET", "/api/queues", "");
    assert!(listed.contains(r#""name":"q""#), "{listed}");
    assert!(ask("guest:guest", "GET", "/api/users", "").starts_with("HTTP/1.1 200"));
    broker.stop();
}
