//! What is in a method frame: ids, strings, tables (A1.8 to A1.10).

use crate::broker::{Broker, shared};
use crate::octets::{Fields, METHOD, frame, method};
use crate::say::{self, Options};

/// What a method on channel 1 is answered with, when it closes the connection.
#[track_caller]
fn expect_refused(payload: &[u8], code: u16, text: &str, id: (u16, u16)) {
    let broker = shared();
    let mut client = broker.client(1);
    client.send(&frame(METHOD, 1, payload));
    client.expect_close(code, text, id);
}

#[test]
fn a1_8_unknown_classes_and_methods_are_503() {
    for id in [
        (0, 0),
        (11, 10),
        (60, 41),
        (20, 99),
        (85, 12),
        (65535, 65535),
    ] {
        let text = format!("COMMAND_INVALID - unknown method {}.{}", id.0, id.1);
        expect_refused(&method(id).0, 503, &text, id);
    }
}

#[test]
fn a2_methods_that_only_a_server_sends_are_503() {
    let text = "COMMAND_INVALID - unimplemented method";
    let deliver = method(say::DELIVER)
        .short("c")
        .u64(1)
        .u8(0)
        .short("")
        .short("");
    for payload in [
        method(say::QUEUE_DECLARE_OK).short("q").u32(0).u32(0),
        method(say::CHANNEL_OPEN_OK).long(b""),
        method(say::CONSUME_OK).short("c"),
        deliver,
        method(say::CHANNEL_CLOSE_OK),
    ] {
        let id = (
            u16::from_be_bytes([payload.0[0], payload.0[1]]),
            u16::from_be_bytes([payload.0[2], payload.0[3]]),
        );
        expect_refused(&payload.0, 503, text, id);
    }
}

#[test]
fn a1_8_fields_that_end_early_or_late_are_501() {
    let flow = say::flow(true).0;
    expect_refused(
        &flow[..4],
        501,
        "FRAME_ERROR - cannot decode <<>>",
        (20, 20),
    );
    expect_refused(
        &[&flow[..], &[7]].concat(),
        501,
        "FRAME_ERROR - cannot decode <<1,7>>",
        (20, 20),
    );
    let ack = say::ack(1, false).0;
    expect_refused(
        &ack[..5],
        501,
        "FRAME_ERROR - cannot decode <<0>>",
        (60, 80),
    );
    // A string longer than the frame.
    let cancel = method((60, 30)).raw(b"\xffabc");
    expect_refused(
        &cancel.0,
        501,
        "FRAME_ERROR - cannot decode <<255,97,98,99>>",
        (60, 30),
    );
}

#[test]
fn a1_9_names_that_are_not_utf_8_are_501() {
    let bad = b"q\xff\xfe";
    for method in [
        say::queue_declare(bad, 0),
        say::exchange_declare(bad, "direct", 0),
        say::queue_bind("q", "amq.direct", bad),
        method((60, 30)).short(bad).u8(0),
        method((60, 70)).u16(0).short(bad).u8(0),
    ] {
        let broker = shared();
        let mut client = broker.client(1);
        client.method(1, method);
        let mut close = client.expect(0, say::CLOSE);
        let (code, text) = (close.u16(), close.short());
        assert_eq!(code, 501, "{text}");
        assert!(
            text.starts_with("FRAME_ERROR - Malformed UTF-8 in shortstr"),
            "{text}"
        );
        assert_eq!(
            (close.u16(), close.u16()),
            (0, 0),
            "noticed before the method is known"
        );
    }
}

#[test]
fn a1_9_names_of_a_publish_are_any_octets() {
    let broker = shared();
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.method(1, say::queue_bind(&queue, "amq.fanout", ""));
    client.expect(1, (50, 21));
    client.method(1, say::publish_method("amq.fanout", b"\xff\xfe", 0));
    client.send(&say::header(1, 0, say::PLAIN));
    client.method(1, say::get(&queue, true));
    let fields = client.content(1, say::GET_OK).0.rest();
    let key = b"\x02\xff\xfe";
    assert!(
        fields.windows(key.len()).any(|part| part == key),
        "no key in {fields:?}"
    );
    client.close();
}

#[test]
fn a1_9_cr_and_lf_are_taken_out_of_names() {
    let broker = shared();
    let mut client = broker.client(1);
    let name = client.declare_queue(1, "a1.9\r\nqueue\n", say::EXCLUSIVE);
    assert_eq!(name, "a1.9queue");
    client.method(1, say::exchange_declare("a1.9\rx\n", "direct", 0b100));
    client.expect(1, say::EXCHANGE_DECLARE_OK);
    client.method(1, say::exchange_declare("a1.9x", "direct", say::PASSIVE));
    client.expect(1, say::EXCHANGE_DECLARE_OK);
    client.close();
}

/// A table in a table in a table, each under the key "t".
fn nested_tables(levels: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(levels * 7);
    for level in 0..levels {
        octets.extend_from_slice(b"\x01tF");
        let inside = (levels - 1 - level) * 7;
        octets.extend_from_slice(&(inside as u32).to_be_bytes());
    }
    octets
}

/// Arrays in an array under the key "a".
fn nested_arrays(levels: usize) -> Vec<u8> {
    let mut octets = b"\x01a".to_vec();
    for level in 0..levels {
        octets.push(b'A');
        let inside = (levels - 1 - level) * 5;
        octets.extend_from_slice(&(inside as u32).to_be_bytes());
    }
    octets
}

const TOO_DEEP: &str = "SYNTAX_ERROR - field table nested deeper than 64 levels";

#[test]
fn a1_10_a_table_of_100_000_levels_is_502() {
    const LEVELS: usize = 100_000;
    let broker = Broker::start("[amqp]\nframe_max_bytes = 1048576\n");
    let options = || Options {
        frame_max: 1_048_576,
        ..Options::default()
    };
    for table in [nested_tables(LEVELS), nested_arrays(LEVELS)] {
        let mut client = broker.connect();
        client.open(&options());
        client.open_channel(1);
        client.method(1, say::queue_declare_with("deep", 0, &table));
        client.expect_close(502, TOO_DEEP, (50, 10));

        let mut client = broker.connect();
        client.open(&options());
        client.open_channel(1);
        let headers = Fields(vec![]).u16(0x2000).long(&table);
        client.method(1, say::publish_method("", "nowhere", 0));
        client.send(&say::header(1, 0, &headers.0));
        client.expect_close(502, TOO_DEEP, (60, 40));
    }
    broker.check_alive();
}

#[test]
fn a1_10_client_properties_nested_too_deep_close_silently() {
    let broker = shared();
    let mut client = broker.connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    client.method(0, say::start_ok_with(&nested_tables(1000), "guest"));
    client.expect_end();
    broker.check_alive();
}

#[test]
fn a1_10_malformed_tables_are_502() {
    let text = "SYNTAX_ERROR - malformed field table";
    for table in [
        &b"\x01kz"[..],
        b"\x01k",
        b"\x09k",
        b"\x01kS\xff\xff\xff\xffx",
        b"\x01kF\x00\x00\x00\x01x",
        b"\x01kA\x00\x00\x00\x02Ix",
    ] {
        expect_refused(
            &say::queue_declare_with("q", 0, table).0,
            502,
            text,
            (50, 10),
        );
    }
}

#[test]
fn a1_10_properties_that_do_not_fit_their_flags_are_502() {
    for properties in [
        &b"\x80\x00\x05abc"[..],
        b"\x10\x00",
        b"\x00\x00left over",
        b"\x20\x00\x00\x00\x00\xff",
    ] {
        let broker = shared();
        let mut client = broker.client(1);
        client.method(1, say::publish_method("", "nowhere", 0));
        client.send(&say::header(1, 0, properties));
        let mut close = client.expect(0, say::CLOSE);
        let (code, text) = (close.u16(), close.short());
        assert_eq!(code, 502, "{text}, for {properties:?}");
    }
}

#[test]
fn a1_10_every_table_type_is_taken() {
    let table = Fields(vec![])
        .short("S")
        .raw(b"S")
        .long("text")
        .short("t")
        .raw(b"t\x01")
        .short("T")
        .raw(b"T\0\0\0\0\0\0\0\x01")
        .short("b")
        .raw(b"b\x80")
        .short("B")
        .raw(b"B\xff")
        .short("s")
        .raw(b"s\x80\0")
        .short("u")
        .raw(b"u\xff\xff")
        .short("I")
        .raw(b"I\0\0\0\x01")
        .short("i")
        .raw(b"i\xff\xff\xff\xff")
        .short("d")
        .raw(b"d\0\0\0\0\0\0\0\0")
        .short("f")
        .raw(b"f\0\0\0\0")
        .short("l")
        .raw(b"l\0\0\0\0\0\0\0\x01")
        .short("L")
        .raw(b"L\0\0\0\0\0\0\0\x01")
        .short("D")
        .raw(b"D\x02\0\0\0\x01")
        .short("F")
        .raw(b"F")
        .long(b"\x01kt\x00")
        .short("A")
        .raw(b"A")
        .long(b"t\x01V")
        .short("x")
        .raw(b"x")
        .long(b"\xff\x00")
        .short("V")
        .raw(b"V");
    let broker = shared();
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    let headers = Fields(vec![]).u16(0x2000).long(&table.0);
    client.send(&say::publish_as(1, "", &queue, 0, &headers.0, b"x"));
    client.method(1, say::get(&queue, true));
    let (_, properties, _) = client.content_with_properties(1, say::GET_OK);
    assert_eq!(properties, headers.0, "headers come as they were sent");
    client.close();
}
