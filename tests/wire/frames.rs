//! Frames that are wrong in themselves, and frames out of order (A1.8).

use std::sync::Arc;

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::octets::{BODY, END, Fields, HEADER, HEARTBEAT, METHOD, frame, head};
use crate::say::{self, Options};

/// An open connection with channel 1, and frames of 8192 octets.
fn small_frames(broker: &Arc<Broker>) -> Client {
    let mut client = broker.connect();
    client.open(&Options {
        frame_max: 8192,
        ..Options::default()
    });
    client.open_channel(1);
    client
}

/// A fault of the octets: after the close nothing is read any more, not even its answer.
fn expect_frame_error(octets: &[u8], code: u16, text: &str) {
    let broker = shared();
    let mut client = small_frames(&broker);
    client.send(octets);
    client.expect_close(code, text, (0, 0));
    broker.check_alive();
}

#[test]
fn a1_8_frames_up_to_8_above_the_limit_pass() {
    let broker = shared();
    for frame_size in [8191, 8192, 8199, 8200] {
        let mut client = small_frames(&broker);
        let queue = client.declare_queue(1, "", say::EXCLUSIVE);
        let body = vec![b'x'; frame_size - 8];
        client.send(&say::publish(1, "", &queue, &body));
        client.method(1, say::get(&queue, true));
        let (_, got) = client.content(1, say::GET_OK);
        assert_eq!(got.len(), body.len());
        client.close();
    }
}

#[test]
fn a1_8_frames_9_above_the_limit_are_501() {
    let text = "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,8193,8184}";
    expect_frame_error(&say::body(1, &[b'x'; 8193]), 501, text);
}

#[test]
fn a1_8_a_frame_of_4_gib_is_501_before_it_comes() {
    let text = "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,4294967295,8184}";
    expect_frame_error(&head(METHOD, 1, u32::MAX), 501, text);
}

#[test]
fn a1_8_wrong_end_octet_is_501() {
    let mut octets = say::flow(true).on(1);
    *octets.last_mut().unwrap() = 0xCD;
    let text = "FRAME_ERROR - type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,205}";
    expect_frame_error(&octets, 501, text);
    let mut octets = say::body(1, b"0123456789abcdefg");
    *octets.last_mut().unwrap() = 0;
    let text = "FRAME_ERROR - type 3, first 16 octets = <<\"0123456789abcdef\">>: \
                {invalid_frame_end_marker,0}";
    expect_frame_error(&octets, 501, text);
}

#[test]
fn a1_8_what_came_before_a_broken_frame_is_done() {
    let broker = shared();
    let mut client = small_frames(&broker);
    let mut octets = say::flow(true).on(1);
    octets.extend(head(METHOD, 1, u32::MAX));
    client.send(&octets);
    client.expect(1, say::FLOW_OK);
    client.expect(0, say::CLOSE);
}

#[test]
fn a1_8_what_follows_a_broken_frame_takes_no_memory() {
    const MOST_KIB: usize = 32 * 1024;
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut client = small_frames(&broker);
    client.send(&head(METHOD, 1, u32::MAX));
    client.expect(0, say::CLOSE);
    let chunk = vec![END; 1024 * 1024];
    for _ in 0..256 {
        if !client.try_send(&chunk) {
            break;
        }
    }
    let grown = broker.peak_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "grew by {grown} KiB");
    broker.check_alive();
}

#[test]
fn a1_8_what_follows_a_close_takes_no_memory() {
    const MOST_KIB: usize = 32 * 1024;
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut client = broker.client(1);
    client.method(1, say::flow(false));
    client.expect(0, say::CLOSE);
    let chunk = say::publish(1, "", "q", &[b'x'; 64 * 1024]).repeat(16);
    for _ in 0..256 {
        assert!(client.try_send(&chunk), "it waits for close-ok");
    }
    let grown = broker.peak_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "grew by {grown} KiB");
    client.method(0, say::close_ok());
    client.expect_end();
}

#[test]
fn a1_8_unknown_frame_types_are_501() {
    for kind in [0, 4, 5, 6, 7, 9, 255] {
        let text = format!("FRAME_ERROR - type {kind}, all octets = <<>>: unknown_frame");
        expect_frame_error(&frame(kind, 1, &[]), 501, &text);
    }
}

#[test]
fn a1_8_frames_too_short_for_their_type_are_501() {
    let text = "FRAME_ERROR - type 1, all octets = <<0,20,0>>: unknown_frame";
    expect_frame_error(&frame(METHOD, 1, &[0, 20, 0]), 501, text);
    let text = "FRAME_ERROR - type 2, all octets = <<0,60>>: unknown_frame";
    expect_frame_error(&frame(HEADER, 1, &[0, 60]), 501, text);
}

#[test]
fn a1_8_a_heartbeat_with_a_payload_is_501() {
    let text = "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame";
    expect_frame_error(&frame(HEARTBEAT, 0, b"x"), 501, text);
}

#[test]
fn a1_8_a_heartbeat_on_a_channel_is_505() {
    let text = "UNEXPECTED_FRAME - type 8, all octets = <<>>";
    expect_frame_error(&frame(HEARTBEAT, 1, &[]), 505, text);
}

#[test]
fn a1_8_content_on_channel_0_is_505() {
    let text = "UNEXPECTED_FRAME - type 3, all octets = <<\"x\">>";
    expect_frame_error(&say::body(0, b"x"), 505, text);
}

const EXPECTED_METHOD: &str =
    "UNEXPECTED_FRAME - expected method frame, got non method frame instead";

#[test]
fn a1_8_content_before_its_method_is_505() {
    let broker = shared();
    for channel in [1, 2] {
        // Channel 2 is not open, which the order of frames comes before.
        for octets in [
            say::header(channel, 1, say::PLAIN),
            say::body(channel, b"x"),
        ] {
            let mut client = small_frames(&broker);
            client.send(&octets);
            client.expect_close(505, EXPECTED_METHOD, (0, 0));
        }
    }
}

fn expect_after_publish(then: &[u8], code: u16, text: &str) {
    let broker = shared();
    let mut client = small_frames(&broker);
    client.method(1, say::publish_method("", "nowhere", 0));
    client.send(then);
    client.expect_close(code, text, (60, 40));
    broker.check_alive();
}

#[test]
fn a1_8_another_frame_where_a_header_is_due_is_505() {
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got non content header \
                frame instead";
    for then in [
        say::flow(true).on(1),
        say::body(1, b"x"),
        say::publish_method("", "nowhere", 0).on(1),
    ] {
        expect_after_publish(&then, 505, text);
    }
}

#[test]
fn a1_8_a_header_of_another_class_is_505() {
    let fields = Fields(vec![]).u16(50).u16(0).u64(1).u16(0);
    let text = "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 \
                instead";
    expect_after_publish(&frame(HEADER, 1, &fields.0), 505, text);
}

#[test]
fn a1_8_another_frame_where_a_body_is_due_is_505() {
    let text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead";
    let header = say::header(1, 2, say::PLAIN);
    for then in [
        [header.clone(), say::flow(true).on(1)].concat(),
        [header.clone(), header.clone()].concat(),
        [header.clone(), say::body(1, b"x"), say::flow(true).on(1)].concat(),
    ] {
        expect_after_publish(&then, 505, text);
    }
}

#[test]
fn a1_8_more_body_than_announced_is_501() {
    let text = "FRAME_ERROR - content body frame exceeds remaining content size";
    let header = say::header(1, 2, say::PLAIN);
    for then in [
        [header.clone(), say::body(1, b"xyz")].concat(),
        [header.clone(), say::body(1, b"x"), say::body(1, b"yz")].concat(),
    ] {
        expect_after_publish(&then, 501, text);
    }
}

#[test]
fn a1_8_a_body_beyond_512_mib_is_501() {
    for size in [512 * 1024 * 1024 + 1, 1 << 63, u64::MAX] {
        let text = format!(
            "FRAME_ERROR - content body size {size} exceeds maximum allowed size 536870912"
        );
        expect_after_publish(&say::header(1, size, say::PLAIN), 501, &text);
    }
}

#[test]
fn a1_8_frames_on_other_channels_may_come_between_content() {
    let broker = shared();
    let mut client = small_frames(&broker);
    client.method(1, say::publish_method("", "nowhere", 0));
    client.send(&frame(HEARTBEAT, 0, &[]));
    client.open_channel(2);
    client.send(&say::header(1, 3, say::PLAIN));
    client.check_quiet(2);
    client.send(&frame(BODY, 1, b"abc"));
    client.check_quiet(1);
    client.close();
}
