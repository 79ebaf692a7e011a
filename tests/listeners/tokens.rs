//! Access tokens in the place of passwords: who gets in, what for, and until when.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tempfile::TempDir;

use crate::broker;
use crate::client::Client;
use crate::support::{Broker, LIMIT, warren};

const CONFIG: &str = r#"
listen = ["127.0.0.1:0"]
[auth]
backends = ["internal", "oauth2"]
[oauth2]
resource_server_id = "rabbitmq"
jwks_file = "{dir}/keys.json"
"#;

/// Signs tokens, and publishes its key.
struct Issuer(EncodingKey);

impl Issuer {
    fn new(dir: &Path) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let keys = vec![Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()];
        let set = serde_json::to_vec(&JwkSet { keys }).unwrap();
        fs::write(dir.join("keys.json"), set).unwrap();
        Issuer(key)
    }

    fn token(&self, user: &str, seconds: u64, scope: &str) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = json!({
            "sub": user, "aud": "rabbitmq", "exp": now + seconds, "scope": scope,
        });
        encode(&Header::new(Algorithm::ES256), &claims, &self.0).unwrap()
    }
}

fn connect(broker: &Broker) -> Client<TcpStream> {
    let stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    Client::new(stream)
}

fn open(broker: &Broker, token: &str) -> Client<TcpStream> {
    let mut client = connect(broker);
    client.open("PLAIN", format!("\0\0{token}").as_bytes());
    client
}

fn update_secret(client: &mut Client<TcpStream>, token: &str) {
    let mut fields = (token.len() as u32).to_be_bytes().to_vec();
    fields.extend(token.as_bytes());
    fields.push(0);
    client.send(0, (10, 70), &fields);
}

const EVERYTHING: &str = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*";

#[test]
fn a10_a_token_lets_in_and_its_scopes_say_what_for() {
    let dir = TempDir::new().unwrap();
    let issuer = Issuer::new(dir.path());
    let broker = broker(&dir, CONFIG);
    let mut client = open(&broker, &issuer.token("app", 3600, EVERYTHING));
    client.echo(&[10, 5000]);
    client.close();
    // The directory's users are still there.
    let mut client = connect(&broker);
    client.open_as_guest();
    client.close();
    // A queue may be read, but none declared.
    let mut client = open(&broker, &issuer.token("app", 3600, "rabbitmq.read:*/*"));
    client.send(1, (20, 10), &[0]);
    client.expect((20, 11));
    client.send(1, (50, 10), b"\0\0\x01q\0\0\0\0\0");
    let close = client.expect((20, 40));
    assert_eq!(close[..2], 403u16.to_be_bytes());
    drop(client);
    // Nothing in this vhost.
    let mut client = connect(&broker);
    client.start();
    let token = issuer.token("app", 3600, "rabbitmq.read:other/*");
    client.start_ok("PLAIN", format!("\0app\0{token}").as_bytes());
    let tune = client.expect((10, 30));
    client.send(0, (10, 31), &[&tune[..6], &[0, 0]].concat());
    client.send(0, (10, 40), b"\x01/\0\0");
    assert_eq!(client.closed().0, 530);
    broker.stop();
}

#[test]
fn a10_what_is_no_good_token_is_a_wrong_password() {
    let dir = TempDir::new().unwrap();
    let stranger = Issuer::new(dir.path());
    let issuer = Issuer::new(dir.path());
    let broker = broker(&dir, CONFIG);
    for token in [
        stranger.token("app", 3600, EVERYTHING),
        issuer.token("app", 0, EVERYTHING),
        "guess".to_owned(),
    ] {
        let mut client = connect(&broker);
        client.start();
        client.start_ok("PLAIN", format!("\0app\0{token}").as_bytes());
        assert_eq!(client.closed().0, 403);
    }
    let line = broker.wait_for("not a token, or not signed by a known key");
    assert!(
        !broker.log().iter().any(|line| line.contains("eyJ")),
        "{line}"
    );
    broker.stop();
}

#[test]
fn a1_17_a_connection_ends_with_its_token_unless_it_gets_another() {
    let dir = TempDir::new().unwrap();
    let issuer = Issuer::new(dir.path());
    let broker = broker(&dir, CONFIG);
    let mut ends = open(&broker, &issuer.token("app", 3, EVERYTHING));
    let mut goes_on = open(&broker, &issuer.token("app", 3, EVERYTHING));
    update_secret(&mut goes_on, &issuer.token("app", 3600, EVERYTHING));
    goes_on.expect((10, 71));
    let (code, text) = ends.closed();
    assert_eq!(
        (code, text.as_str()),
        (320, "CONNECTION_FORCED - credential expired")
    );
    goes_on.echo(&[10]);
    goes_on.close();
    broker.stop();
}

#[test]
fn a1_17_a_new_token_is_held_to_the_same_rules_and_user() {
    let dir = TempDir::new().unwrap();
    let issuer = Issuer::new(dir.path());
    let broker = broker(&dir, CONFIG);
    for token in [
        issuer.token("other", 3600, EVERYTHING),
        issuer.token("app", 0, EVERYTHING),
        "guest".to_owned(),
    ] {
        let mut client = open(&broker, &issuer.token("app", 3600, EVERYTHING));
        update_secret(&mut client, &token);
        let (code, text) = client.closed();
        let expected = "NOT_ALLOWED - New secret was refused by one of the backends";
        assert_eq!((code, text.as_str()), (530, expected));
    }
    // Who has a password has nothing to renew.
    let mut client = connect(&broker);
    client.open_as_guest();
    update_secret(&mut client, "whatever");
    client.expect((10, 71));
    client.close();
    broker.stop();
}

#[test]
fn a1_17_what_a_new_token_does_not_grant_ends_at_once() {
    let dir = TempDir::new().unwrap();
    let issuer = Issuer::new(dir.path());
    let broker = broker(&dir, CONFIG);
    let mut client = open(&broker, &issuer.token("app", 3600, EVERYTHING));
    client.send(1, (20, 10), &[0]);
    client.expect((20, 11));
    client.send(1, (50, 10), b"\0\0\x01q\0\0\0\0\0");
    client.expect((50, 11));
    client.send(1, (60, 20), b"\0\0\x01q\x03tag\0\0\0\0\0");
    client.expect((60, 21));
    client.send(2, (20, 10), &[0]);
    client.expect((20, 11));
    // Allowed, and remembered by the channel.
    client.publish(2, "nowhere");
    let renewed = issuer.token("app", 3600, "rabbitmq.configure:*/*");
    update_secret(&mut client, &renewed);
    client.expect((10, 71));
    // The consumer may no longer read its queue.
    assert_eq!(client.expect((60, 30)), b"\x03tag\x01");
    client.publish(2, "nowhere");
    assert_eq!(client.expect((20, 40))[..2], 403u16.to_be_bytes());
    broker.stop();
}

#[test]
fn a12_a_token_lets_into_the_http_api() {
    let dir = TempDir::new().unwrap();
    let issuer = Issuer::new(dir.path());
    let path = dir.path().join("warren.toml");
    let there = dir.path().display().to_string();
    fs::write(&path, CONFIG.replace("{dir}", &there)).unwrap();
    let mut command = warren();
    command.arg("--config").arg(path);
    command.args(["--management", "127.0.0.1:0", "--metrics", "off"]);
    command.arg("--data-dir").arg(dir.path().join("data"));
    let broker = Broker::run(command);
    let line = broker.wait_for("listening for HTTP");
    let address = line.rsplit('=').next().unwrap().trim();
    let ask = |token: &str, path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let scope = "rabbitmq.tag:management rabbitmq.read:*/*";
    let token = issuer.token("app", 3600, scope);
    let who = ask(&token, "/api/whoami");
    assert!(who.starts_with("HTTP/1.1 200"), "{who}");
    assert!(who.contains(r#""name":"app""#), "{who}");
    assert!(ask(&token, "/api/users").starts_with("HTTP/1.1 401"));
    let untagged = issuer.token("app", 3600, "rabbitmq.read:*/*");
    for wrong in [untagged, issuer.token("app", 0, scope), "guess".to_owned()] {
        assert!(ask(&wrong, "/api/whoami").starts_with("HTTP/1.1 401"));
    }
    broker.stop();
}
