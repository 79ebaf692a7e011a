//! basic.publish: what is refused, what is returned, what passes unchanged (A1.10, A2, A5).

use crate::broker::shared;
use crate::octets::Fields;
use crate::say;

#[test]
fn a2_immediate_is_540() {
    let mut client = shared().client(1);
    client.send(&say::publish_as(
        1,
        "",
        "q",
        say::IMMEDIATE,
        say::PLAIN,
        b"now",
    ));
    client.expect_close(540, "NOT_IMPLEMENTED - immediate=true", (60, 40));
}

#[test]
fn a2_publish_to_a_missing_exchange_is_404() {
    let mut client = shared().client(1);
    client.send(&say::publish(1, "a2.missing", "key", b"lost"));
    let text = "NOT_FOUND - no exchange 'a2.missing' in vhost '/'";
    client.expect_channel_close(1, 404, text, (60, 40));
}

#[test]
fn a2_publish_to_an_internal_exchange_is_403() {
    const INTERNAL: u8 = 0b1000;
    const AUTO_DELETE: u8 = 0b0100;
    let mut client = shared().client(1);
    client.method(
        1,
        say::exchange_declare("a2.internal", "fanout", INTERNAL | AUTO_DELETE),
    );
    client.expect(1, say::EXCHANGE_DECLARE_OK);
    client.send(&say::publish(1, "a2.internal", "key", b"no"));
    let text = "ACCESS_REFUSED - cannot publish to internal exchange 'a2.internal' in vhost '/'";
    client.expect_channel_close(1, 403, text, (60, 40));
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    // exchange.delete
    let delete = crate::octets::method((40, 20))
        .u16(0)
        .short("a2.internal")
        .u8(0);
    client.method(1, delete);
    client.expect(1, (40, 21));
    client.close();
}

/// Headers whose order and double key a map would lose, and a few other properties.
fn properties() -> Vec<u8> {
    let headers = Fields(vec![])
        .short("z")
        .raw(b"S")
        .long("last first")
        .short("a")
        .raw(b"I\0\0\0\x01")
        .short("a")
        .raw(b"I\0\0\0\x02");
    // content-type, headers, delivery-mode, correlation-id.
    Fields(vec![])
        .u16(0x8000 | 0x2000 | 0x1000 | 0x0400)
        .short(b"text/\xc3\xa9")
        .long(&headers.0)
        .u8(1)
        .short(b"\xff\x00id")
        .0
}

#[test]
fn a1_10_properties_pass_octet_by_octet() {
    let broker = shared();
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.send(&say::publish_as(1, "", &queue, 0, &properties(), b"x"));
    client.method(1, say::get(&queue, true));
    let (_, got, _) = client.content_with_properties(1, say::GET_OK);
    assert_eq!(got, properties());
    client.close();
}

#[test]
fn a5_2_mandatory_without_a_queue_comes_back_whole() {
    let mut client = shared().client(1);
    let body = vec![b'x'; 200_000];
    let mut octets = say::publish_method("amq.direct", "a5.nowhere", say::MANDATORY).on(1);
    octets.extend(say::header(1, body.len() as u64, &properties()));
    octets.extend(body.chunks(100_000).flat_map(|part| say::body(1, part)));
    client.send(&octets);
    let (mut fields, got, returned) = client.content_with_properties(1, say::RETURN);
    assert_eq!((fields.u16(), fields.short()), (312, "NO_ROUTE".into()));
    assert_eq!(fields.short(), "amq.direct");
    assert_eq!(fields.short(), "a5.nowhere");
    assert_eq!(got, properties());
    assert!(returned == body, "the body has changed");
    client.check_quiet(1);
    client.close();
}

#[test]
fn a5_2_mandatory_with_a_queue_and_others_without_one_do_not_come_back() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.send(&say::publish_as(
        1,
        "",
        &queue,
        say::MANDATORY,
        say::PLAIN,
        b"1",
    ));
    client.send(&say::publish(1, "", "a5.nowhere", b"2"));
    client.check_quiet(1);
    client.close();
}

#[test]
fn a3_the_default_exchange_finds_a_queue_by_its_name() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    assert!(queue.starts_with("amq.gen-"), "{queue}");
    client.send(&say::publish(1, "", &queue, b"x"));
    client.method(1, say::get(&queue, true));
    let (mut fields, _) = client.content(1, say::GET_OK);
    assert_eq!((fields.u64(), fields.u8()), (1, 0), "tag and redelivered");
    assert_eq!(
        (fields.short(), fields.short()),
        (String::new(), queue.clone())
    );
    assert_eq!(fields.u32(), 0, "messages left");
    client.close();
}
