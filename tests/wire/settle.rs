//! Acks, rejects and recover (A2, A6.10 to A6.12, A6.15).

use crate::broker::shared;
use crate::client::Client;
use crate::octets::method;
use crate::say;

/// A client that has got `count` messages, "1" and on, and acked none.
fn holding(count: u64) -> (Client, String) {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    for n in 1..=count {
        client.send(&say::publish(1, "", &queue, n.to_string().as_bytes()));
    }
    for n in 1..=count {
        client.method(1, say::get(&queue, false));
        assert_eq!(client.content(1, say::GET_OK).0.u64(), n);
    }
    (client, queue)
}

/// What is ready, in order; redelivered ones with a `*`.
fn ready(client: &mut Client, queue: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        client.method(1, say::get(queue, true));
        let frame = client.frame();
        if frame.id() == say::GET_EMPTY {
            return found;
        }
        assert_eq!(frame.id(), say::GET_OK, "{frame:?}");
        let mut fields = frame.fields();
        let mark = match (fields.u64(), fields.u8()) {
            (_, 0) => "",
            _ => "*",
        };
        client.frame();
        let body = String::from_utf8(client.frame().payload).unwrap();
        found.push(format!("{body}{mark}"));
    }
}

#[test]
fn a2_unknown_delivery_tags_are_406() {
    for (settle, tag, id) in [
        (say::ack(3, false), 3, (60, 80)),
        (say::ack(3, true), 3, (60, 80)),
        (say::ack(0, false), 0, (60, 80)),
        (say::ack(u64::MAX, true), u64::MAX, (60, 80)),
        (say::reject(3, false), 3, (60, 90)),
        (say::reject(0, true), 0, (60, 90)),
        (say::nack(3, false, true), 3, (60, 120)),
        (say::nack(3, true, false), 3, (60, 120)),
    ] {
        let (mut client, _) = holding(2);
        client.method(1, settle);
        let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
        client.expect_channel_close(1, 406, &text, id);
        client.method(1, say::channel_close_ok());
        client.open_channel(1);
        client.close();
    }
}

#[test]
fn a2_an_ack_for_the_second_time_is_406() {
    let (mut client, queue) = holding(3);
    client.method(1, say::ack(2, false));
    client.method(1, say::ack(2, false));
    let text = "PRECONDITION_FAILED - unknown delivery tag 2";
    client.expect_channel_close(1, 406, text, (60, 80));
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    assert_eq!(ready(&mut client, &queue), ["1*", "3*"]);
    client.close();
}

#[test]
fn a2_a_delivery_that_needs_no_ack_has_a_tag_that_none_may_ack() {
    let (mut client, queue) = holding(0);
    client.send(&say::publish(1, "", &queue, b"x"));
    client.method(1, say::get(&queue, true));
    assert_eq!(client.content(1, say::GET_OK).0.u64(), 1);
    client.method(1, say::ack(1, false));
    let text = "PRECONDITION_FAILED - unknown delivery tag 1";
    client.expect_channel_close(1, 406, text, (60, 80));
}

#[test]
fn a6_10_tag_0_with_multiple_is_all_and_all_may_be_nothing() {
    let (mut client, queue) = holding(3);
    client.method(1, say::ack(0, true));
    client.method(1, say::ack(0, true));
    client.method(1, say::nack(0, true, true));
    client.check_quiet(1);
    assert_eq!(ready(&mut client, &queue), [""; 0]);
    client.close();
}

#[test]
fn a6_10_multiple_is_all_up_to_the_tag() {
    let (mut client, queue) = holding(4);
    client.method(1, say::ack(3, false));
    client.method(1, say::ack(2, true));
    client.method(1, say::nack(0, true, true));
    assert_eq!(ready(&mut client, &queue), ["4*"]);
    client.close();
}

#[test]
fn a6_15_rejected_messages_go_or_come_back_in_their_places() {
    let (mut client, queue) = holding(4);
    client.method(1, say::reject(1, false));
    client.method(1, say::reject(4, true));
    client.method(1, say::nack(2, false, true));
    client.method(1, say::nack(3, false, false));
    assert_eq!(ready(&mut client, &queue), ["2*", "4*"]);
    client.close();
}

#[test]
fn a6_11_recover_puts_everything_back_in_order() {
    let (mut client, queue) = holding(3);
    client.send(&say::publish(1, "", &queue, b"4"));
    client.method(1, say::ack(2, false));
    client.method(1, say::recover(true));
    client.expect(1, say::RECOVER_OK);
    assert_eq!(ready(&mut client, &queue), ["1*", "3*", "4"]);
    client.close();
}

#[test]
fn a6_12_recover_async_is_the_same_without_an_answer() {
    let (mut client, queue) = holding(2);
    client.method(1, method((60, 100)).u8(1));
    assert_eq!(ready(&mut client, &queue), ["1*", "2*"]);
    client.close();
}

#[test]
fn a2_recover_without_requeue_is_540() {
    for id in [(60, 110), (60, 100)] {
        let (mut client, _) = holding(1);
        client.method(1, method(id).u8(0));
        client.expect_close(540, "NOT_IMPLEMENTED - requeue=false", id);
    }
}

#[test]
fn a6_delivery_tags_count_on_after_recover() {
    let (mut client, queue) = holding(2);
    client.method(1, say::recover(true));
    client.expect(1, say::RECOVER_OK);
    client.method(1, say::get(&queue, false));
    assert_eq!(client.content(1, say::GET_OK).0.u64(), 3);
    client.method(1, say::ack(1, false));
    let text = "PRECONDITION_FAILED - unknown delivery tag 1";
    client.expect_channel_close(1, 406, text, (60, 80));
}

#[test]
fn a2_acks_of_one_batch_are_done_up_to_the_wrong_one() {
    let (mut client, queue) = holding(3);
    let acks = [1, 7, 2].map(|tag| say::ack(tag, false).on(1));
    client.send(&acks.concat());
    let text = "PRECONDITION_FAILED - unknown delivery tag 7";
    client.expect_channel_close(1, 406, text, (60, 80));
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    assert_eq!(ready(&mut client, &queue), ["2*", "3*"]);
    client.close();
}
