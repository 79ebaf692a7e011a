//! Strangers who are too many or guess passwords, and others beside them.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::broker;
use crate::client::Client;
use crate::support::{Broker, LIMIT};

/// From another address of this machine.
fn connect(broker: &Broker, from: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&broker.address().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Waits until the broker has dropped a connection.
fn is_dropped(mut stream: &TcpStream) -> bool {
    let mut octets = [0; 64];
    match stream.read(&mut octets) {
        Ok(count) => count == 0,
        Err(e) => e.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn who_connects_and_says_nothing_keeps_nobody_out() {
    let dir = TempDir::new().unwrap();
    let rules = "[throttle]\nexempt = []\nhandshakes = 12\nhandshakes_per_address = 8\n\
                 [amqp]\nhandshake_timeout_s = 600";
    let broker = broker(&dir, &format!("listen = [\"127.0.0.1:0\"]\n{rules}"));
    // As many as may be, and one more that waits for its fate: then all before it were seen.
    let silent: Vec<_> = (0..8).map(|_| connect(&broker, "127.0.0.2")).collect();
    assert!(is_dropped(&connect(&broker, "127.0.0.2")), "the ninth");
    let mut open: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::new(connect(&broker, "127.0.0.3"));
            client.open_as_guest();
            client
        })
        .collect();
    // Now there is no room: the address with the most makes it, oldest first.
    let more: Vec<_> = (0..4).map(|_| connect(&broker, "127.0.0.4")).collect();
    let mut client = Client::new(connect(&broker, "127.0.0.5"));
    client.open_as_guest();
    assert!(is_dropped(&silent[0]));
    client.echo(&[100]);
    for client in &mut open {
        client.close();
    }
    drop((silent, more));
    broker.stop();
}

#[test]
fn a10_guesses_are_slowed_down_where_they_come_from() {
    let dir = TempDir::new().unwrap();
    let rules = "[throttle]\nexempt = []\nfailed_logins_free = 1\nfailed_login_delay_max_ms = 2000\n\
                 [amqp]\nhandshake_timeout_s = 600";
    let broker = broker(&dir, &format!("listen = [\"127.0.0.1:0\"]\n{rules}"));
    let guess = |password: &[u8]| {
        let mut client = Client::new(connect(&broker, "127.0.0.2"));
        client.start();
        let response = [b"\x00guest\x00", password].concat();
        client.start_ok("PLAIN", &response);
        client
    };
    for _ in 0..4 {
        assert_eq!(guess(b"wrong").closed().0, 403);
    }
    // The next waits, with those after it behind it, and the last is refused untried.
    let waiting: Vec<_> = (0..30).map(|_| guess(b"guest")).collect();
    broker.wait_for("too many failed logins from there");
    let mut client = Client::new(connect(&broker, "127.0.0.3"));
    client.open_as_guest();
    client.close();
    drop(waiting);
    broker.stop();
}
