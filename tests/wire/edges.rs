//! Limits of the protocol: below them, at them, above them. Those an operator sets are in `limits`.

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::octets::{BODY, Fields, HEADER, method};
use crate::say::{self, Options};

/// So many octets of a name that nobody else has.
fn long_name(prefix: &str, octets: usize) -> String {
    format!("{prefix}{}", "n".repeat(octets - prefix.len()))
}

#[test]
fn a1_6_a_body_that_just_fits_a_frame_of_the_receivers_is_one_and_an_octet_more_are_two() {
    for frame_max in [4096, 8192, 131_072] {
        let mut client = shared().connect();
        client.open(&Options {
            frame_max,
            ..Options::default()
        });
        client.open_channel(1);
        let queue = client.declare_queue(1, "", say::EXCLUSIVE);
        let fits = frame_max as usize - 8;
        for (size, expected) in [(fits - 1, 1), (fits, 1), (fits + 1, 2), (2 * fits, 2)] {
            client.method(1, say::publish_method("", &queue, 0));
            client.send(&say::header(1, size as u64, say::PLAIN));
            for piece in vec![7; size].chunks(fits) {
                client.send(&say::body(1, piece));
            }
            client.method(1, say::get(&queue, true));
            client.expect(1, say::GET_OK);
            assert_eq!(client.frame().kind, HEADER);
            let mut frames = 0;
            let mut left = size;
            while left > 0 {
                let frame = client.frame();
                assert_eq!(frame.kind, BODY);
                left -= frame.payload.len();
                frames += 1;
            }
            assert_eq!(frames, expected, "{size} octets in frames of {frame_max}");
        }
        client.close();
    }
}

#[test]
fn a1_12_the_shortest_and_the_longest_heartbeat_are_taken() {
    for heartbeat_s in [0, 1, 60, u16::MAX] {
        let mut client = shared().connect();
        client.open(&Options {
            heartbeat_s,
            ..Options::default()
        });
        client.close();
    }
}

#[test]
fn a1_11_a_message_of_just_the_largest_size_passes() {
    let broker = Broker::start("[amqp]\nmax_message_bytes = 1000\n");
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    for size in [0, 999, 1000] {
        client.send(&say::publish(1, "", &queue, &vec![b'x'; size]));
        client.method(1, say::get(&queue, true));
        assert_eq!(client.content(1, say::GET_OK).1.len(), size);
    }
    client.send(&say::publish(1, "", &queue, &[b'x'; 1001]));
    let text = "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000";
    client.expect_channel_close(1, 406, text, (60, 40));
}

#[test]
fn a1_10_a_table_of_64_levels_passes_and_of_65_does_not() {
    // What has levels in it is the first; the others are tables or arrays.
    let nested = |kind: u8, levels: usize| {
        let name: &[u8] = if kind == b'F' { b"\x01t" } else { b"" };
        let level_len = name.len() + 5;
        let mut octets = if kind == b'F' {
            vec![]
        } else {
            b"\x01t".to_vec()
        };
        for level in 1..levels {
            octets.extend_from_slice(name);
            octets.push(kind);
            octets.extend_from_slice(&(((levels - 1 - level) * level_len) as u32).to_be_bytes());
        }
        // An array of one level less has nothing in it that would need a name.
        if levels == 1 { vec![] } else { octets }
    };
    let text = "SYNTAX_ERROR - field table nested deeper than 64 levels";
    for kind in [b'F', b'A'] {
        let declare = |levels| say::queue_declare_with("", say::EXCLUSIVE, &nested(kind, levels));
        let publish = |levels| {
            let headers = Fields(vec![]).u16(0x2000).long(nested(kind, levels));
            say::publish_as(1, "", "nowhere", 0, &headers.0, b"body")
        };
        let mut client = shared().client(1);
        for levels in [1, 63, 64] {
            client.method(1, declare(levels));
            client.expect(1, say::QUEUE_DECLARE_OK);
            client.send(&publish(levels));
            client.check_quiet(1);
        }
        client.method(1, declare(65));
        client.expect_close(502, text, (50, 10));
        let mut client = shared().client(1);
        client.send(&publish(65));
        client.expect_close(502, text, (60, 40));
    }
}

#[test]
fn a1_9_names_of_255_octets_pass_everywhere() {
    let mut client = shared().client(1);
    let queue = long_name("edges-q", 255);
    let exchange = long_name("edges-x", 255);
    let key = long_name("edges-k", 255);
    let tag = long_name("edges-t", 255);
    assert_eq!(client.declare_queue(1, &queue, say::EXCLUSIVE), queue);
    client.method(1, say::exchange_declare(&exchange, "direct", 0b100));
    client.expect(1, say::EXCHANGE_DECLARE_OK);
    client.method(1, say::queue_bind(&queue, &exchange, &key));
    client.expect(1, (50, 21));
    client.method(1, say::consume(&queue, &tag, true));
    assert_eq!(client.expect(1, say::CONSUME_OK).short(), tag);
    client.send(&say::publish(1, &exchange, &key, b"body"));
    let (mut fields, body) = client.content(1, say::DELIVER);
    assert_eq!(fields.short(), tag);
    assert_eq!((fields.u64(), fields.u8()), (1, 0));
    assert_eq!((fields.short(), fields.short()), (exchange, key));
    assert_eq!(body, b"body");
    // A text about them is cut to what fits, and is whole.
    let missing = long_name("missing", 255);
    client.method(1, say::get(&missing, true));
    let mut close = client.expect(1, say::CHANNEL_CLOSE);
    assert_eq!(close.u16(), 404);
    let text = close.short();
    assert!(text.len() == 255 && text.ends_with("..."), "{text}");
    client.method(1, say::channel_close_ok());
    client.close();
}

/// A long string as an entry of a table.
fn entry(name: &str, value: &[u8]) -> Vec<u8> {
    let mut octets = vec![name.len() as u8];
    octets.extend_from_slice(name.as_bytes());
    octets.push(b'S');
    octets.extend_from_slice(&(value.len() as u32).to_be_bytes());
    octets.extend_from_slice(value);
    octets
}

#[test]
fn a7_5_a_dead_letters_key_that_fits_no_method_is_cut_and_the_message_is_whole() {
    let mut client = shared().client(1);
    let dead = client.declare_queue(1, "", say::EXCLUSIVE);
    client.method(1, say::queue_bind(&dead, "amq.fanout", ""));
    client.expect(1, (50, 21));
    for octets in [255, 256, 1000, 70_000] {
        let key = vec![b'k'; octets];
        let mut arguments = entry("x-dead-letter-exchange", b"amq.fanout");
        arguments.extend(entry("x-dead-letter-routing-key", &key));
        client.method(1, say::queue_declare_with("", say::EXCLUSIVE, &arguments));
        let queue = client.expect(1, say::QUEUE_DECLARE_OK).short();
        client.send(&say::publish(1, "", &queue, b"body"));
        client.method(1, say::get(&queue, false));
        let (mut fields, _) = client.content(1, say::GET_OK);
        client.method(1, say::reject(fields.u64(), false));
        client.method(1, say::get(&dead, true));
        let (mut fields, body) = client.content(1, say::GET_OK);
        fields.u64();
        fields.u8();
        assert_eq!(fields.short(), "amq.fanout");
        assert_eq!(fields.short().len(), 255, "of {octets}");
        assert_eq!(body, b"body");
    }
    client.close();
}

#[test]
fn a3_18_further_keys_longer_than_a_short_string_route_as_they_are() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.method(1, say::queue_bind(&queue, "amq.topic", "edge.#"));
    client.expect(1, (50, 21));
    let long = format!("edge.{}", "k".repeat(1000));
    // CC: an array of one long string.
    let mut value = vec![b'S'];
    value.extend_from_slice(&(long.len() as u32).to_be_bytes());
    value.extend_from_slice(long.as_bytes());
    let mut table = b"\x02CCA".to_vec();
    table.extend_from_slice(&(value.len() as u32).to_be_bytes());
    table.extend_from_slice(&value);
    let mut properties = vec![0x20, 0];
    properties.extend_from_slice(&(table.len() as u32).to_be_bytes());
    properties.extend_from_slice(&table);
    client.send(&say::publish_as(
        1,
        "amq.topic",
        "elsewhere",
        0,
        &properties,
        b"body",
    ));
    client.method(1, say::get(&queue, true));
    let (_, got, body) = client.content_with_properties(1, say::GET_OK);
    assert_eq!((got, &body[..]), (properties, &b"body"[..]));
    client.close();
}

fn refused(client: &mut Client, code: u16, text: &str) {
    let mut close = client.expect(0, say::CLOSE);
    assert_eq!((close.u16(), close.short()), (code, text.to_owned()));
}

#[test]
fn a2_the_nodes_limit_of_channels_counts_those_of_all_connections() {
    let broker = Broker::start("[limits]\nchannels = 3\n");
    let mut one = broker.client(2);
    let mut other = broker.client(1);
    other.method(2, say::channel_open());
    let text = "NOT_ALLOWED - number of channels opened on node 'warren' has reached the maximum allowed \
                limit of 3";
    refused(&mut other, 530, text);
    let _ = other.try_send(&say::close_ok().on(0));
    other.expect_end();
    // What the one that was closed had is free.
    one.open_channel(3);
    one.method(3, say::channel_close());
    one.expect(3, say::CHANNEL_CLOSE_OK);
    one.open_channel(3);
    one.close();
}

#[test]
fn a1_7_the_name_of_a_vhost_may_have_255_octets_and_need_not_exist() {
    let mut client = shared().connect();
    let options = Options::default();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    client.method(0, say::start_ok(&options));
    client.expect(0, say::TUNE);
    client.method(0, say::tune_ok(&options));
    client.method(
        0,
        method((10, 40)).short(long_name("v", 255)).short("").u8(0),
    );
    let mut close = client.expect(0, say::CLOSE);
    assert_eq!(close.u16(), 530);
    assert_eq!(close.short().len(), 255);
}
