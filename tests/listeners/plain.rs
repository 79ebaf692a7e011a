//! Unix sockets, the PROXY protocol, networks that may connect.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use tempfile::TempDir;

use crate::client::Client;
use crate::support::{Broker, LIMIT};
use crate::{broker, reload};

const SIZES: [usize; 4] = [0, 1, 5_000, 1_000_000];

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

#[test]
fn a_unix_socket_is_as_good_as_tcp() {
    let dir = TempDir::new().unwrap();
    let broker = broker(&dir, r#"listen = ["127.0.0.1:0", "unix:{dir}/sock"]"#);
    let path = dir.path().join("sock");
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut client = Client::new(stream);
    // Guest may log in: nobody comes from farther away than this machine.
    client.open_as_guest();
    client.echo(&SIZES);
    client.close();
    broker.stop();
    assert!(!path.exists(), "the socket's file goes with the broker");
}

#[test]
fn a1_20_the_client_is_who_the_proxy_says() {
    let dir = TempDir::new().unwrap();
    let listen = r#"listen = [{ address = "127.0.0.1:0", proxy_protocol = true }]"#;
    let broker = broker(&dir, listen);
    let version_1 = b"PROXY TCP4 127.0.0.9 127.0.0.1 40000 5672\r\n";
    let mut version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    version_2.extend([127, 0, 0, 9, 127, 0, 0, 1, 1, 1, 2, 2]);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [&version_1[..], &version_2, local] {
        let mut stream = connect(&broker);
        stream.write_all(header).unwrap();
        let mut client = Client::new(stream);
        client.open_as_guest();
        client.echo(&[10]);
        client.close();
    }
    // From there guest may not log in, though the proxy is on this machine.
    let mut stream = connect(&broker);
    stream
        .write_all(b"PROXY TCP4 192.0.2.1 127.0.0.1 40000 5672\r\n")
        .unwrap();
    let mut client = Client::new(stream);
    client.start();
    client.start_ok("PLAIN", b"\x00guest\x00guest");
    assert_eq!(client.closed().0, 403);
    broker.wait_for("192.0.2.1");
    broker.stop();
}

#[test]
fn a1_20_without_its_header_a_proxied_connection_ends() {
    let dir = TempDir::new().unwrap();
    let listen = r#"listen = [{ address = "127.0.0.1:0", proxy_protocol = true }]"#;
    let broker = broker(&dir, listen);
    let mut stream = connect(&broker);
    stream.write_all(b"AMQP\x00\x00\x09\x01AMQP").unwrap();
    // Whether what was sent is thrown away with the socket is the kernel's to say.
    let read = stream.read(&mut [0; 100]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    broker.wait_for("no PROXY header");
    broker.stop();
}

#[test]
fn other_networks_get_no_answer() {
    let dir = TempDir::new().unwrap();
    let listen = r#"listen = [{ address = "127.0.0.1:0", allow = ["10.0.0.0/8", "::1/128"] }]"#;
    let broker = broker(&dir, listen);
    let read = connect(&broker).read(&mut [0; 100]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    broker.wait_for("not in a network that may connect here");
    let listen = r#"listen = [{ address = "127.0.0.1:0", allow = ["127.0.0.0/30"] }]"#;
    reload(&broker, &dir, listen, "the settings were read again");
    let mut client = Client::new(connect(&broker));
    client.open_as_guest();
    client.close();
    broker.stop();
}
