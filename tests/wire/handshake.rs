//! From the first octet to connection.open-ok (A1.1 to A1.7, A1.21).

use std::thread;

use crate::broker::{Broker, shared};
use crate::octets::{Fields, METHOD, Reader, frame, head};
use crate::say::{self, Options};

#[test]
fn a1_1_headers_of_0_9_1_and_0_9_are_accepted() {
    let broker = shared();
    for header in [say::AMQP_0_9_1, b"AMQP\x01\x01\x00\x09"] {
        let mut client = broker.connect();
        client.send(header);
        client.expect(0, say::START);
    }
}

#[test]
fn a1_1_every_other_header_is_answered_with_0_9_1_and_the_end() {
    let broker = shared();
    let hello = [
        &b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"[..],
        &[7; 150],
    ]
    .concat();
    let others: [&[u8]; 11] = [
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x03\x01\x00\x00",
        b"AMQP\x00\x00\x09\x00",
        b"AMQP\x00\x00\x09\x02",
        b"AMQP\x00\x00\x08\x00",
        b"AMQP\x01\x01\x08\x00",
        b"amqp\x00\x00\x09\x01",
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: localhost:5672\r\n\r\n",
        &hello,
    ];
    for header in others {
        let mut client = broker.connect();
        client.send(header);
        assert_eq!(client.octets(8), say::AMQP_0_9_1, "to {header:?}");
        client.expect_end();
    }
    broker.check_alive();
}

#[test]
fn a1_1_a_header_cut_short_is_just_the_end() {
    let broker = shared();
    for header in [&b""[..], b"A", b"AMQP\x00\x00\x09", b"HTTP"] {
        let mut client = broker.connect();
        client.send(header);
        client.finish();
        client.expect_end();
    }
    broker.check_alive();
}

#[test]
fn a1_1_header_may_come_octet_by_octet() {
    let mut client = shared().connect();
    for octet in say::AMQP_0_9_1 {
        client.send(&[*octet]);
    }
    client.expect(0, say::START);
}

#[test]
fn a1_2_half_open_handshakes_are_cut_off() {
    let broker = Broker::start("[amqp]\nhandshake_timeout_s = 1\n");
    let options = Options::default();
    let steps = [
        say::AMQP_0_9_1.to_vec(),
        say::start_ok(&options).on(0),
        say::tune_ok(&options).on(0),
        // Half a frame.
        say::open("/").on(0)[..9].to_vec(),
    ];
    // All at once, so that they wait together.
    let mut clients: Vec<_> = (0..=steps.len()).map(|_| broker.connect()).collect();
    for (count, client) in clients.iter_mut().enumerate() {
        client.send(&steps[..count].concat());
    }
    for client in &mut clients {
        client.drain();
    }
    // A heartbeat is no progress.
    let mut client = broker.connect();
    client.send(say::AMQP_0_9_1);
    client.send(&frame(8, 0, &[]));
    client.drain();
    broker.check_alive();
}

#[test]
fn a1_2_the_handshake_deadline_ends_with_the_handshake() {
    let broker = Broker::start("[amqp]\nhandshake_timeout_s = 1\n");
    let mut client = broker.client(1);
    // Cut off after the deadline: once it is, one that began later than `client` is over it too.
    let mut half_open = broker.connect();
    half_open.send(say::AMQP_0_9_1);
    half_open.drain();
    client.check_quiet(1);
}

#[test]
fn a1_3_start_says_version_mechanisms_locales_and_properties() {
    let mut client = shared().connect();
    client.send(say::AMQP_0_9_1);
    let mut start = client.expect(0, say::START);
    assert_eq!((start.u8(), start.u8()), (0, 9));
    let properties = entries(&start.long());
    let mechanisms = String::from_utf8(start.long()).unwrap();
    assert!(
        mechanisms.starts_with("PLAIN AMQPLAIN"),
        "mechanisms: {mechanisms}"
    );
    assert_eq!(start.long(), b"en_US");
    assert_eq!(start.rest(), b"");
    for name in [
        "product",
        "version",
        "platform",
        "copyright",
        "information",
        "cluster_name",
    ] {
        let found = properties.iter().find(|(key, ..)| key == name);
        let (_, kind, value) = found.unwrap_or_else(|| panic!("no property {name}"));
        assert_eq!(*kind, b'S', "the type of {name}");
        assert!(!value.is_empty(), "{name} is empty");
    }
}

#[test]
fn a1_4_capabilities_are_rabbitmqs_and_all_true() {
    const RABBITMQS: [&str; 9] = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "per_consumer_qos",
        "authentication_failure_close",
        "connection.blocked",
        "consumer_priorities",
        "direct_reply_to",
    ];
    let mut client = shared().connect();
    client.send(say::AMQP_0_9_1);
    let mut start = client.expect(0, say::START);
    start.u16();
    let properties = entries(&start.long());
    let found = properties.iter().find(|(key, ..)| key == "capabilities");
    let (_, kind, table) = found.expect("no capabilities");
    assert_eq!(*kind, b'F');
    let capabilities = entries(table);
    for (name, kind, value) in &capabilities {
        assert!(RABBITMQS.contains(&name.as_str()), "RabbitMQ has no {name}");
        assert_eq!((*kind, value.as_slice()), (b't', &[1][..]), "{name}");
    }
    for name in &RABBITMQS[..6] {
        let announced = capabilities.iter().any(|(key, ..)| key == name);
        assert!(announced, "{name} is not announced");
    }
}

/// The entries of a table of strings, tables and booleans: key, type, value.
fn entries(table: &[u8]) -> Vec<(String, u8, Vec<u8>)> {
    let mut from = Reader::new(table);
    let mut found = Vec::new();
    while !from.is_empty() {
        let (key, kind) = (from.short(), from.u8());
        let value = match kind {
            b't' => vec![from.u8()],
            b'S' | b'F' => from.long(),
            other => panic!("{key} has the type {other}"),
        };
        found.push((key, kind, value));
    }
    found
}

#[test]
fn a1_5_tune_offers_rabbitmqs_numbers() {
    let mut client = shared().connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    client.method(0, say::start_ok(&Options::default()));
    let mut tune = client.expect(0, say::TUNE);
    assert_eq!((tune.u16(), tune.u32(), tune.u16()), (2047, 131_072, 60));
}

fn tuned(channel_max: u16, frame_max: u32) -> Options {
    Options {
        channel_max,
        frame_max,
        ..Options::default()
    }
}

#[test]
fn a1_6_tune_ok_within_range_is_taken() {
    let broker = shared();
    for options in [tuned(2047, 131_072), tuned(1, 8192), tuned(5, 4096)] {
        let mut client = broker.connect();
        client.open(&options);
        client.close();
    }
}

#[test]
fn a1_6_tune_ok_out_of_range_closes_silently() {
    let broker = shared();
    let wrong = [
        tuned(2047, 0),
        tuned(2047, 131_073),
        tuned(2047, u32::MAX),
        tuned(2047, 4095),
        tuned(0, 131_072),
        tuned(2048, 131_072),
    ];
    // Together: each takes the 3 s of a silent close.
    thread::scope(|scope| {
        for options in wrong {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = broker.connect();
                client.send(say::AMQP_0_9_1);
                client.expect(0, say::START);
                client.method(0, say::start_ok(&options));
                client.expect(0, say::TUNE);
                client.send(&[say::tune_ok(&options).on(0), say::open("/").on(0)].concat());
                client.expect_end();
            });
        }
    });
    broker.check_alive();
}

/// start-ok in a frame of `size` octets.
fn start_ok_of(size: usize) -> Vec<u8> {
    let empty = Fields(vec![]).short("padding").raw(b"S").long(b"");
    let without = say::start_ok_with(&empty.0, "guest").on(0).len();
    let padding = vec![b'x'; size - without];
    let padded = Fields(vec![]).short("padding").raw(b"S").long(padding);
    say::start_ok_with(&padded.0, "guest").on(0)
}

#[test]
fn a1_6_before_tune_ok_frames_of_8192_pass() {
    let broker = shared();
    for size in [8192, 8200] {
        let mut client = broker.connect();
        client.send(say::AMQP_0_9_1);
        client.expect(0, say::START);
        client.send(&start_ok_of(size));
        client.expect(0, say::TUNE);
    }
    let mut client = broker.connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    client.send(&start_ok_of(8201));
    client.expect_end();
}

#[test]
fn a1_7_open_of_an_unknown_vhost_is_530() {
    let broker = shared();
    let mut client = broker.connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    client.method(0, say::start_ok(&Options::default()));
    client.expect(0, say::TUNE);
    client.method(0, say::tune_ok(&Options::default()));
    client.method(0, say::open("nowhere"));
    client.expect_close(530, "NOT_ALLOWED - vhost nowhere not found", (10, 40));
}

#[test]
fn a1_21_the_whole_handshake_and_more_may_come_in_one_write() {
    let broker = shared();
    let octets = pipelined();
    let mut client = broker.connect();
    client.send(&octets);
    expect_pipelined(&mut client);
    client.close();
}

#[test]
fn a1_21_the_whole_handshake_and_more_may_come_octet_by_octet() {
    let broker = shared();
    let mut client = broker.connect();
    for octet in pipelined() {
        client.send(&[octet]);
    }
    expect_pipelined(&mut client);
    client.close();
}

/// Everything from the protocol header to a publish that comes back.
fn pipelined() -> Vec<u8> {
    let options = Options::default();
    let methods = [
        say::start_ok(&options).on(0),
        say::tune_ok(&options).on(0),
        say::open("/").on(0),
        say::channel_open().on(7),
        say::queue_declare("", say::EXCLUSIVE).on(7),
        say::confirm_select().on(7),
        say::publish_as(7, "", "nowhere", say::MANDATORY, say::PLAIN, b"back"),
        say::get("", true).on(7),
    ];
    [say::AMQP_0_9_1, &methods.concat()].concat()
}

fn expect_pipelined(client: &mut crate::client::Client) {
    client.expect(0, say::START);
    client.expect(0, say::TUNE);
    client.expect(0, say::OPEN_OK);
    client.expect(7, say::CHANNEL_OPEN_OK);
    client.expect(7, say::QUEUE_DECLARE_OK);
    client.expect(7, say::SELECT_OK);
    assert_eq!(client.content(7, say::RETURN).1, b"back");
    client.expect(7, say::ACK);
    client.expect(7, say::GET_EMPTY);
}

#[test]
fn a1_2_methods_out_of_turn_close_silently() {
    let broker = shared();
    let options = Options::default();
    thread::scope(|scope| {
        for octets in [
            say::tune_ok(&options).on(0),
            say::open("/").on(0),
            say::channel_open().on(0),
            say::channel_open().on(1),
            say::publish_method("", "", 0).on(0),
            say::body(0, b"body"),
            frame(METHOD, 0, &[0, 10, 0, 99]),
            frame(METHOD, 0, &[0, 10]),
            frame(9, 0, &[]),
            head(METHOD, 0, u32::MAX),
        ] {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = broker.connect();
                client.send(say::AMQP_0_9_1);
                client.expect(0, say::START);
                client.send(&octets);
                client.expect_end();
            });
        }
    });
    broker.check_alive();
}

#[test]
fn a1_2_close_during_the_handshake_is_answered() {
    let mut client = shared().connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    client.method(0, say::close());
    client.expect(0, say::CLOSE_OK);
    client.expect_end();
}
