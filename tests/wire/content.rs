//! How a message's frames may lie in the stream (A1.8, A1.11, A1.21).

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::octets::BODY;
use crate::say;

/// What the queue holds next, which must be there.
#[track_caller]
fn take(client: &mut Client, channel: u16, queue: &str) -> Vec<u8> {
    client.method(channel, say::get(queue, true));
    client.content(channel, say::GET_OK).1
}

#[test]
fn a1_21_contents_of_channels_may_be_interleaved() {
    let mut client = shared().client(3);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    let parts = |channel: u16, text: &[u8; 4]| {
        [
            say::publish_method("", &queue, 0).on(channel),
            say::header(channel, 4, say::PLAIN),
            say::body(channel, &text[..1]),
            say::body(channel, &text[1..]),
        ]
    };
    let (one, two, three) = (parts(1, b"1111"), parts(2, b"2222"), parts(3, b"3333"));
    let mut octets = Vec::new();
    for step in 0..4 {
        for channel in [&one, &two, &three] {
            octets.extend_from_slice(&channel[step]);
        }
    }
    client.send(&octets);
    for channel in 1..=3 {
        client.check_quiet(channel);
    }
    let mut got: Vec<_> = (0..3).map(|_| take(&mut client, 1, &queue)).collect();
    got.sort();
    assert_eq!(got, [b"1111", b"2222", b"3333"]);
    client.close();
}

#[test]
fn a1_21_content_may_be_split_at_every_octet() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.method(1, say::consume(&queue, "c", true));
    client.expect(1, say::CONSUME_OK);
    let mut octets = say::publish_method("", &queue, 0).on(1);
    octets.extend(say::header(1, 11, say::PERSISTENT));
    octets.extend(say::body(1, b"hello "));
    octets.extend(say::body(1, b""));
    octets.extend(say::body(1, b"world"));
    for at in 0..=octets.len() {
        client.send(&octets[..at]);
        client.send(&octets[at..]);
        let (_, body) = client.content(1, say::DELIVER);
        assert_eq!(body, b"hello world", "split at {at}");
    }
    for octet in &octets {
        client.send(&[*octet]);
    }
    assert_eq!(client.content(1, say::DELIVER).1, b"hello world");
    client.close();
}

#[test]
fn a1_8_a_body_of_no_octets_has_no_frames() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.send(&say::publish(1, "", &queue, b""));
    client.method(1, say::get(&queue, true));
    client.expect(1, say::GET_OK);
    let header = client.frame();
    assert_eq!(header.payload[4..12], [0; 8], "{header:?}");
    client.check_quiet(1);
    client.close();
}

#[test]
fn a1_8_a_body_frame_after_a_body_of_no_octets_is_505() {
    let mut client = shared().client(1);
    client.send(&say::publish(1, "", "nowhere", b""));
    client.send(&say::body(1, b""));
    let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    client.expect_close(505, text, (0, 0));
}

#[test]
fn a1_8_empty_body_frames_within_a_body_are_nothing() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.method(1, say::publish_method("", &queue, 0));
    client.send(&say::header(1, 2, say::PLAIN));
    for part in [&b""[..], b"", b"a", b"", b"b"] {
        client.send(&say::body(1, part));
    }
    assert_eq!(take(&mut client, 1, &queue), b"ab");
    client.close();
}

#[test]
fn a1_8_a_large_body_comes_in_frames_of_the_receivers_size() {
    let broker = shared();
    let mut sender = broker.client(1);
    let mut receiver = broker.connect();
    receiver.open(&say::Options {
        frame_max: 4096,
        ..say::Options::default()
    });
    receiver.open_channel(1);
    let queue = receiver.declare_queue(1, "a1.8.large", 0);
    let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    sender.method(1, say::publish_method("", &queue, 0));
    sender.send(&say::header(1, sent.len() as u64, say::PLAIN));
    for part in sent.chunks(100_000) {
        sender.send(&say::body(1, part));
    }
    sender.check_quiet(1);
    receiver.method(1, say::get(&queue, true));
    receiver.expect(1, say::GET_OK);
    receiver.frame();
    let mut got = Vec::new();
    while got.len() < sent.len() {
        let frame = receiver.frame();
        assert_eq!(frame.kind, BODY);
        assert!(frame.payload.len() <= 4088, "{frame:?}");
        got.extend(frame.payload);
    }
    assert!(got == sent, "the body has changed");
    receiver.method(1, say::queue_delete(&queue));
    receiver.expect(1, (50, 41));
    receiver.close();
}

/// Properties of which the content header's frame has so many octets: one header with a long value.
fn properties_of(frame_len: usize) -> Vec<u8> {
    // The frame's own, class, weight, size, flags, the table's length, a name, a type and a length.
    let value = vec![b'v'; frame_len - 8 - 12 - 2 - 4 - 2 - 1 - 4];
    let mut table = b"\x01kS".to_vec();
    table.extend_from_slice(&(value.len() as u32).to_be_bytes());
    table.extend_from_slice(&value);
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&(table.len() as u32).to_be_bytes());
    properties.extend_from_slice(&table);
    properties
}

#[test]
fn a1_8_a_header_larger_than_the_receivers_frames_comes_whole_and_is_told_in_the_log() {
    let broker = Broker::start("");
    let mut sender = broker.client(1);
    let mut receiver = broker.connect();
    receiver.open(&say::Options {
        frame_max: 4096,
        ..say::Options::default()
    });
    receiver.open_channel(1);
    let queue = receiver.declare_queue(1, "wide", 0);
    let body = vec![b'b'; 5000];
    for sizes in [[4095, 4096], [4097, 131_072]] {
        let sent = sizes.map(properties_of);
        for properties in &sent {
            sender.send(&say::publish_as(1, "", &queue, 0, properties, &body));
        }
        sender.check_quiet(1);
        // Either way a client gets messages.
        receiver.method(1, say::get(&queue, true));
        let (_, properties, got) = receiver.content_with_properties(1, say::GET_OK);
        assert!(properties == sent[0] && got == body, "{sizes:?}");
        receiver.method(1, say::consume(&queue, "c", true));
        receiver.expect(1, say::CONSUME_OK);
        let (_, properties, got) = receiver.content_with_properties(1, say::DELIVER);
        assert!(properties == sent[1] && got == body, "{sizes:?}");
        receiver.method(1, say::cancel("c"));
        receiver.expect(1, say::CANCEL_OK);
    }
    // Of what fits nothing is said, of the rest once for each connection.
    receiver.method(1, say::get("missing", true));
    receiver.expect(1, say::CHANNEL_CLOSE);
    let mut told = broker.log_until("channel closed");
    told.retain(|line| line.contains("a message's header is larger than the client's frames"));
    assert!(told.len() == 1 && told[0].contains("4097"), "{told:?}");
}

#[test]
fn a1_8_a_body_in_frames_of_one_octet_takes_little_memory() {
    const SIZE: usize = 2 * 1024 * 1024;
    /// The body itself, its way through the queue, and buffers; not a multiple for each frame.
    const MOST_KIB: usize = 32 * 1024;
    let broker = Broker::start("");
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    let before = broker.resident_kib();
    let sent: Vec<u8> = (0..SIZE).map(|n| (n % 251) as u8).collect();
    client.method(1, say::publish_method("", &queue, 0));
    client.send(&say::header(1, SIZE as u64, say::PLAIN));
    for part in sent.chunks(16 * 1024) {
        let frames: Vec<u8> = part.iter().flat_map(|&o| say::body(1, &[o])).collect();
        client.send(&frames);
    }
    assert!(take(&mut client, 1, &queue) == sent, "the body has changed");
    let grown = broker.peak_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "grew by {grown} KiB");
    client.close();
}

#[test]
fn a1_11_a_message_over_the_limit_is_406_and_closes_only_its_channel() {
    let broker = Broker::start("[amqp]\nmax_message_bytes = 1000\n");
    let mut client = broker.client(2);
    let queue = client.declare_queue(2, "", say::EXCLUSIVE);
    client.send(&say::publish(1, "", &queue, &[b'x'; 1000]));
    client.send(&say::publish(1, "", &queue, &[b'x'; 1001]));
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    client.expect_channel_close(1, 406, text, (60, 40));
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    assert_eq!(take(&mut client, 1, &queue).len(), 1000);
    client.method(1, say::get(&queue, true));
    client.expect(1, say::GET_EMPTY);
    client.close();
}

#[test]
fn a1_11_a_message_over_16_mib_is_406() {
    const SIZE: u64 = 16 * 1024 * 1024 + 1;
    let mut client = shared().client(1);
    client.method(1, say::publish_method("", "nowhere", 0));
    client.send(&say::header(1, SIZE, say::PLAIN));
    let part = vec![0; 100_000];
    let mut left = SIZE as usize;
    while left > 0 {
        let step = left.min(part.len());
        client.send(&say::body(1, &part[..step]));
        left -= step;
    }
    let text = "PRECONDITION_FAILED - message size 16777217 is larger than configured max size \
                16777216";
    client.expect_channel_close(1, 406, text, (60, 40));
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    client.close();
}
