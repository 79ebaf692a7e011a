//! Consumers that do not settle in their time (A6.13).

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::octets::Fields;
use crate::say::{self, Options};

const LIMIT_MS: u32 = 300;

/// `x-consumer-timeout`.
fn limit() -> Vec<u8> {
    let name = Fields(vec![]).short("x-consumer-timeout");
    name.raw(b"I").u32(LIMIT_MS).0
}

/// A delivery: its tag, and whether it was delivered before.
#[track_caller]
fn delivery(client: &mut Client, consumer: &str) -> (u64, bool) {
    let (mut fields, _) = client.content(1, say::DELIVER);
    assert_eq!(fields.short(), consumer);
    (fields.u64(), fields.u8() != 0)
}

/// Has the messages of a consumer "late" time out, beside one that settles.
fn times_out(client: &mut Client, queue: &str, arguments: &[u8]) {
    client.method(1, say::consume_with(queue, "late", arguments));
    client.expect(1, say::CONSUME_OK);
    client.send(&say::publish(1, "", queue, b"x").repeat(2));
    assert_eq!(delivery(client, "late"), (1, false));
    assert_eq!(delivery(client, "late"), (2, false));
    let mut cancel = client.expect(1, say::CANCEL);
    assert_eq!(cancel.short(), "late");
}

#[test]
fn a6_13_a_late_consumer_is_cancelled_and_its_messages_go_back() {
    let mut client = shared().client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    times_out(&mut client, &queue, &limit());
    // Too late, but no fault of the channel.
    client.method(1, say::ack(1, false));
    client.check_quiet(1);
    client.method(1, say::consume(&queue, "next", false));
    client.expect(1, say::CONSUME_OK);
    assert_eq!(delivery(&mut client, "next"), (3, true));
    assert_eq!(delivery(&mut client, "next"), (4, true));
    client.method(1, say::ack(0, true));
    client.check_quiet(1);
    client.close();
}

#[test]
fn a6_13_the_limit_may_be_the_queues_and_holds_for_those_that_are_late_only() {
    let mut client = shared().client(1);
    client.method(1, say::queue_declare_with("", say::EXCLUSIVE, &limit()));
    let queue = client.expect(1, say::QUEUE_DECLARE_OK).short();
    let other = client.declare_queue(1, "", say::EXCLUSIVE);
    client.method(1, say::consume(&other, "patient", false));
    client.expect(1, say::CONSUME_OK);
    client.send(&say::publish(1, "", &other, b"x"));
    assert_eq!(delivery(&mut client, "patient"), (1, false));
    client.method(1, say::consume(&queue, "late", false));
    client.expect(1, say::CONSUME_OK);
    client.send(&say::publish(1, "", &queue, b"x"));
    assert_eq!(delivery(&mut client, "late"), (2, false));
    assert_eq!(client.expect(1, say::CANCEL).short(), "late");
    client.method(1, say::ack(1, false));
    client.check_quiet(1);
    client.close();
}

fn closes_the_channel(client: &mut Client, queue: &str, arguments: &[u8]) {
    client.method(1, say::consume_with(queue, "late", arguments));
    client.expect(1, say::CONSUME_OK);
    client.send(&say::publish(1, "", queue, b"x"));
    assert_eq!(delivery(client, "late"), (1, false));
    let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 300 ms. \
                This timeout value can be configured, see consumers doc guide to learn more";
    client.expect_channel_close(1, 406, text, (0, 0));
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    client.method(1, say::get(queue, true));
    client.content(1, say::GET_OK);
}

#[test]
fn a6_13_a_client_that_knows_no_such_cancel_has_its_channel_closed() {
    let mut client = shared().connect();
    client.open(&Options {
        capabilities: &[],
        ..Options::default()
    });
    client.open_channel(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    closes_the_channel(&mut client, &queue, &limit());
    client.close();
}

#[test]
fn a6_13_by_a_setting_it_is_as_before_4_3() {
    let config = "[amqp]\nconsumer_timeout_ms = 300\nconsumer_timeout_closes_channel = true\n";
    let mut client = Broker::start(config).client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    closes_the_channel(&mut client, &queue, &[]);
    client.close();
}
