//! Closing, from either side, and what is done before the answer (A1.13).

use crate::broker::shared;
use crate::say;

#[test]
fn a1_13_close_is_answered_and_nothing_after_it_is_done() {
    let broker = shared();
    let mut client = broker.client(1);
    let mut octets = say::close().on(0);
    octets.extend(say::queue_declare("a1.13.late", 0).on(1));
    client.send(&octets);
    client.expect(0, say::CLOSE_OK);
    client.expect_end();
    let mut other = broker.client(1);
    other.method(1, say::queue_declare("a1.13.late", say::PASSIVE));
    let text = "NOT_FOUND - no queue 'a1.13.late' in vhost '/'";
    other.expect_channel_close(1, 404, text, (50, 10));
}

#[test]
fn a1_13_exclusive_queues_are_gone_before_close_ok() {
    let broker = shared();
    let mut other = broker.client(1);
    for _ in 0..20 {
        let mut client = broker.client(1);
        client.declare_queue(1, "a1.13.exclusive", say::EXCLUSIVE);
        client.method(0, say::close());
        client.expect(0, say::CLOSE_OK);
        other.declare_queue(1, "a1.13.exclusive", say::EXCLUSIVE);
        other.method(1, say::queue_delete("a1.13.exclusive"));
        other.expect(1, (50, 41));
    }
    other.close();
}

#[test]
fn a1_13_unacked_messages_are_ready_before_close_ok() {
    let broker = shared();
    let mut other = broker.client(1);
    let queue = other.declare_queue(1, "a1.13.unacked", 0);
    other.send(&say::publish(1, "", &queue, b"again"));
    other.check_quiet(1);
    for of_channel in [true, false, true] {
        let mut client = broker.client(1);
        client.method(1, say::consume(&queue, "c", false));
        client.expect(1, say::CONSUME_OK);
        client.content(1, say::DELIVER);
        if of_channel {
            client.method(1, say::channel_close());
            client.expect(1, say::CHANNEL_CLOSE_OK);
        } else {
            client.method(0, say::close());
            client.expect(0, say::CLOSE_OK);
        }
        other.method(1, say::queue_declare(&queue, say::PASSIVE));
        let mut declared = other.expect(1, say::QUEUE_DECLARE_OK);
        let counts = (declared.short(), declared.u32(), declared.u32());
        assert_eq!(counts, (queue.clone(), 1, 0), "ready and consumers");
    }
    other.method(1, say::queue_delete(&queue));
    other.expect(1, (50, 41));
    other.close();
}

#[test]
fn a1_13_after_its_close_the_broker_waits_for_the_answer_only() {
    let mut client = shared().client(2);
    client.method(1, say::flow(false));
    client.expect(0, say::CLOSE);
    client.method(1, say::flow(true));
    client.method(2, say::channel_open());
    client.send(&say::publish(2, "", "q", b"ignored"));
    client.send(&crate::octets::frame(9, 3, b"not even a frame type"));
    client.method(0, say::close_ok());
    client.expect_end();
}

#[test]
fn a1_13_closes_that_cross_are_both_answered() {
    let mut client = shared().client(1);
    client.method(1, say::flow(false));
    client.expect(0, say::CLOSE);
    client.method(0, say::close());
    client.expect(0, say::CLOSE_OK);
    client.expect_end();
}

#[test]
fn a1_13_a_socket_that_just_ends_gives_everything_back() {
    let broker = shared();
    let mut other = broker.client(1);
    let queue = other.declare_queue(1, "a1.13.gone", 0);
    other.method(1, say::consume(&queue, "c", true));
    other.expect(1, say::CONSUME_OK);
    let mut client = broker.client(1);
    client.send(&say::publish(1, "", &queue, b"1"));
    other.content(1, say::DELIVER);
    other.method(1, say::cancel("c"));
    other.expect(1, say::CANCEL_OK);
    client.send(&say::publish(1, "", &queue, b"2"));
    client.method(1, say::get(&queue, false));
    client.content(1, say::GET_OK);
    // The consumer waits for what the dead connection held.
    other.method(1, say::consume(&queue, "c", true));
    other.expect(1, say::CONSUME_OK);
    drop(client);
    let (mut fields, body) = other.content(1, say::DELIVER);
    assert_eq!(body, b"2");
    assert_eq!(
        (fields.short(), fields.u64(), fields.u8()),
        ("c".into(), 2, 1)
    );
    other.method(1, say::cancel("c"));
    other.expect(1, say::CANCEL_OK);
    other.method(1, say::queue_delete(&queue));
    other.expect(1, (50, 41));
    other.close();
}

#[test]
fn a1_13_close_ok_without_a_close_is_504() {
    let mut client = shared().client(1);
    client.method(0, say::close_ok());
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    client.expect_close(504, text, (10, 51));
}
