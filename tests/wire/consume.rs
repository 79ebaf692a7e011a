//! Consumers: their beginning, their end, and what they get (A2, A6).

use crate::broker::shared;
use crate::client::Client;
use crate::octets::method;
use crate::say::{self, Options};

/// Takes deliveries for consumer "c": tag, redelivered, body.
#[track_caller]
fn delivery(client: &mut Client) -> (u64, bool, Vec<u8>) {
    let (mut fields, body) = client.content(1, say::DELIVER);
    assert_eq!(fields.short(), "c");
    (fields.u64(), fields.u8() != 0, body)
}

fn client_with_queue() -> (Client, String) {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    (client, queue)
}

#[test]
fn a6_19_consume_ok_comes_before_the_first_delivery() {
    let (mut client, queue) = client_with_queue();
    let mut octets = say::publish(1, "", &queue, b"first");
    octets.extend(say::consume(&queue, "c", true).on(1));
    octets.extend(say::publish(1, "", &queue, b"second"));
    client.send(&octets);
    assert_eq!(client.expect(1, say::CONSUME_OK).short(), "c");
    assert_eq!(delivery(&mut client), (1, false, b"first".to_vec()));
    assert_eq!(delivery(&mut client), (2, false, b"second".to_vec()));
    client.close();
}

#[test]
fn a2_a_consumer_tag_in_use_is_530() {
    let (mut client, queue) = client_with_queue();
    for _ in 0..2 {
        client.method(1, say::consume(&queue, "c", true));
    }
    client.expect(1, say::CONSUME_OK);
    let text = "NOT_ALLOWED - attempt to reuse consumer tag 'c'";
    client.expect_close(530, text, (60, 20));
}

#[test]
fn a2_a_consumer_tag_may_be_used_on_another_channel_and_after_cancel() {
    let (mut client, queue) = client_with_queue();
    client.open_channel(2);
    for channel in [1, 2] {
        client.method(channel, say::consume(&queue, "c", true));
        client.expect(channel, say::CONSUME_OK);
    }
    client.method(1, say::cancel("c"));
    assert_eq!(client.expect(1, say::CANCEL_OK).short(), "c");
    client.method(1, say::consume(&queue, "c", true));
    client.expect(1, say::CONSUME_OK);
    client.close();
}

#[test]
fn a6_18_an_empty_tag_gets_a_name() {
    let (mut client, queue) = client_with_queue();
    let mut tags = Vec::new();
    for _ in 0..2 {
        client.method(1, say::consume(&queue, "", true));
        tags.push(client.expect(1, say::CONSUME_OK).short());
    }
    assert!(
        tags.iter().all(|tag| tag.starts_with("amq.ctag-")),
        "{tags:?}"
    );
    assert_ne!(tags[0], tags[1]);
    client.close();
}

#[test]
fn a2_cancel_of_an_unknown_tag_is_fine() {
    let mut client = shared().client(1);
    client.method(1, say::cancel("nobody"));
    assert_eq!(client.expect(1, say::CANCEL_OK).short(), "nobody");
    client.close();
}

#[test]
fn a6_8_nothing_is_delivered_after_cancel_ok_and_unacked_stay() {
    let (mut client, queue) = client_with_queue();
    client.method(1, say::consume(&queue, "c", false));
    client.expect(1, say::CONSUME_OK);
    client.send(&say::publish(1, "", &queue, b"1"));
    assert_eq!(delivery(&mut client).0, 1);
    let mut octets = say::cancel("c").on(1);
    octets.extend(say::publish(1, "", &queue, b"2"));
    client.send(&octets);
    client.expect(1, say::CANCEL_OK);
    client.check_quiet(1);
    client.method(1, say::ack(1, false));
    client.method(1, say::get(&queue, true));
    assert_eq!(client.content(1, say::GET_OK).1, b"2");
    client.close();
}

#[test]
fn a2_without_a_name_and_a_declaration_it_is_404() {
    let broker = shared();
    let text = "NOT_FOUND - no previously declared queue";
    for (method, id) in [
        (say::consume("", "c", true), (60, 20)),
        (say::get("", true), (60, 70)),
        (say::queue_purge(""), (50, 30)),
        (say::queue_delete(""), (50, 40)),
        (say::queue_bind("", "amq.direct", "k"), (50, 20)),
    ] {
        let mut client = broker.client(1);
        client.method(1, method);
        client.expect_channel_close(1, 404, text, id);
    }
}

#[test]
fn a2_a_missing_queue_is_404() {
    let broker = shared();
    let text = "NOT_FOUND - no queue 'a2.missing' in vhost '/'";
    for (method, id) in [
        (say::consume("a2.missing", "c", true), (60, 20)),
        (say::get("a2.missing", true), (60, 70)),
        (say::queue_purge("a2.missing"), (50, 30)),
        (say::queue_bind("a2.missing", "amq.direct", "k"), (50, 20)),
    ] {
        let mut client = broker.client(1);
        client.method(1, method);
        client.expect_channel_close(1, 404, text, id);
    }
    // But deleting it is no error.
    let mut client = broker.client(1);
    client.method(1, say::queue_delete("a2.missing"));
    assert_eq!(client.expect(1, (50, 41)).u32(), 0);
    client.close();
}

#[test]
fn a2_another_connections_exclusive_queue_is_405() {
    let broker = shared();
    let mut owner = broker.client(1);
    owner.declare_queue(1, "a2.owned", say::EXCLUSIVE);
    let text = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'a2.owned' in \
                vhost '/'. It could be originally declared on another connection or the \
                exclusive property value does not match that of the original declaration.";
    for (method, id) in [
        (say::queue_declare("a2.owned", say::EXCLUSIVE), (50, 10)),
        (say::queue_declare("a2.owned", say::PASSIVE), (50, 10)),
        (say::queue_delete("a2.owned"), (50, 40)),
        (say::consume("a2.owned", "c", true), (60, 20)),
        (say::get("a2.owned", true), (60, 70)),
    ] {
        let mut client = broker.client(1);
        client.method(1, method);
        client.expect_channel_close(1, 405, text, id);
    }
    owner.close();
}

#[test]
fn a2_a_second_exclusive_consumer_is_403() {
    const EXCLUSIVE_CONSUMER: u8 = 4;
    let (mut client, queue) = client_with_queue();
    let consume = |tag: &str, bits: u8| {
        let consume = method((60, 20)).u16(0).short(&queue).short(tag);
        consume.u8(bits).u32(0)
    };
    client.method(1, consume("c", EXCLUSIVE_CONSUMER));
    client.expect(1, say::CONSUME_OK);
    client.method(1, consume("d", 0));
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    client.expect_channel_close(1, 403, &text, (60, 20));
}

#[test]
fn a6_7_a_consumer_whose_queue_goes_is_told_if_it_can_take_it() {
    let broker = shared();
    for (capabilities, told) in [(&["consumer_cancel_notify"][..], true), (&[], false)] {
        let mut client = broker.connect();
        client.open(&Options {
            capabilities,
            ..Options::default()
        });
        client.open_channel(1);
        client.open_channel(2);
        let queue = client.declare_queue(1, "", say::EXCLUSIVE);
        client.method(1, say::consume(&queue, "c", true));
        client.expect(1, say::CONSUME_OK);
        client.method(2, say::queue_delete(&queue));
        let mut cancelled = false;
        let mut deleted = false;
        while !deleted || cancelled != told {
            let frame = client.frame();
            match (frame.channel, frame.id()) {
                (2, (50, 41)) => deleted = true,
                (1, say::CANCEL) => {
                    let mut cancel = frame.fields();
                    assert_eq!((cancel.short(), cancel.u8()), ("c".into(), 1));
                    cancelled = true;
                }
                _ => panic!("{frame:?}"),
            }
        }
        client.check_quiet(1);
        client.close();
    }
}

#[test]
fn a2_qos_with_a_prefetch_size_is_540() {
    let mut client = shared().client(1);
    client.method(1, say::qos(4096, 1, false));
    client.expect_close(540, "NOT_IMPLEMENTED - prefetch_size!=0 (4096)", (60, 10));
}

#[test]
fn a6_1_a_consumer_gets_no_more_than_its_prefetch() {
    let (mut client, queue) = client_with_queue();
    client.method(1, say::qos(0, 2, false));
    client.expect(1, say::QOS_OK);
    client.method(1, say::consume(&queue, "c", false));
    client.expect(1, say::CONSUME_OK);
    client.send(&say::publish(1, "", &queue, b"x").repeat(5));
    assert_eq!(delivery(&mut client).0, 1);
    assert_eq!(delivery(&mut client).0, 2);
    client.check_quiet(1);
    client.method(1, say::ack(1, false));
    assert_eq!(delivery(&mut client).0, 3);
    client.check_quiet(1);
    client.method(1, say::ack(0, true));
    assert_eq!(delivery(&mut client).0, 4);
    assert_eq!(delivery(&mut client).0, 5);
    client.close();
}

#[test]
fn a6_2_the_channels_prefetch_is_shared_by_its_consumers() {
    let (mut client, queue) = client_with_queue();
    client.method(1, say::qos(0, 3, true));
    client.expect(1, say::QOS_OK);
    for tag in ["c", "d"] {
        client.method(1, say::consume(&queue, tag, false));
        client.expect(1, say::CONSUME_OK);
    }
    client.send(&say::publish(1, "", &queue, b"x").repeat(5));
    for _ in 0..3 {
        client.content(1, say::DELIVER);
    }
    client.check_quiet(1);
    client.method(1, say::ack(2, true));
    for _ in 0..2 {
        client.content(1, say::DELIVER);
    }
    client.check_quiet(1);
    client.close();
}
