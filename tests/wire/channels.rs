//! Opening channels, and channels that fail while others live (A1.18, A1.19, A2).

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::octets::method;
use crate::say::{self, Options};

#[test]
fn a1_18_channel_number_65535_is_fine() {
    let mut client = shared().client(0);
    client.open_channel(65535);
    client.check_quiet(65535);
    client.close();
}

#[test]
fn a1_18_a_second_open_is_504() {
    let mut client = shared().client(1);
    client.method(1, say::channel_open());
    client.expect_close(504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10));
}

#[test]
fn a1_18_a_method_on_an_unopened_channel_is_504() {
    let broker = shared();
    let text = "CHANNEL_ERROR - expected 'channel.open'";
    for (method, id) in [
        (say::get("q", true), (60, 70)),
        (say::ack(1, false), (60, 80)),
        (say::channel_close(), (20, 40)),
        (say::channel_close_ok(), (20, 41)),
    ] {
        let mut client = broker.client(1);
        client.method(2, method);
        client.expect_close(504, text, id);
    }
}

#[test]
fn a1_18_a_closed_channel_is_an_unopened_one() {
    let mut client = shared().client(1);
    client.method(1, say::channel_close());
    client.expect(1, say::CHANNEL_CLOSE_OK);
    client.method(1, say::flow(true));
    client.expect_close(504, "CHANNEL_ERROR - expected 'channel.open'", (20, 20));
}

fn three_channels(broker: &std::sync::Arc<Broker>) -> Client {
    let mut client = broker.connect();
    client.open(&Options {
        channel_max: 3,
        ..Options::default()
    });
    for channel in [1, 1000, 65535] {
        client.open_channel(channel);
    }
    client
}

#[test]
fn a1_18_one_channel_more_than_negotiated_is_530() {
    let mut client = three_channels(&shared());
    client.method(2, say::channel_open());
    let text = "NOT_ALLOWED - number of channels opened (3) has reached the negotiated \
                channel_max (3)";
    client.expect_close(530, text, (0, 0));
}

#[test]
fn a1_18_a_closed_channel_makes_room_for_another() {
    let mut client = three_channels(&shared());
    client.method(1000, say::channel_close());
    client.expect(1000, say::CHANNEL_CLOSE_OK);
    client.open_channel(2);
    client.close();
}

#[test]
fn a1_18_a_flood_of_opens_ends_at_the_limit_with_530() {
    let broker = shared();
    let mut client = broker.client(0);
    let open = |channel: u16| say::channel_open().on(channel);
    client.send(&(1..=65535).flat_map(open).collect::<Vec<u8>>());
    for channel in 1..=2047 {
        client.expect(channel, say::CHANNEL_OPEN_OK);
    }
    let text = "NOT_ALLOWED - number of channels opened (2047) has reached the negotiated \
                channel_max (2047)";
    client.expect_close(530, text, (0, 0));
    broker.check_alive();
}

#[test]
fn a1_19_flow_on_is_answered_and_off_is_540() {
    let mut client = shared().client(1);
    client.method(1, say::flow(true));
    assert_eq!(client.expect(1, say::FLOW_OK).u8(), 1);
    client.method(1, say::flow(false));
    client.expect_close(540, "NOT_IMPLEMENTED - active=false", (20, 20));
}

#[test]
fn a1_an_access_request_is_granted_without_a_look() {
    let mut client = shared().client(1);
    client.method(1, method((30, 10)).short("/data").u8(0));
    assert_eq!(client.expect(1, (30, 11)).u16(), 1);
    client.close();
}

#[test]
fn a1_methods_of_class_connection_while_running_are_504() {
    let broker = shared();
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    let options = Options::default();
    for (method, id) in [
        (say::open("/"), (10, 40)),
        (say::tune_ok(&options), (10, 31)),
        (say::start_ok(&options), (10, 11)),
    ] {
        let mut client = broker.client(1);
        client.method(0, method);
        client.expect_close(504, text, id);
    }
}

#[test]
fn a1_methods_of_channels_on_channel_0_are_504() {
    let broker = shared();
    let text = "CHANNEL_ERROR - unexpected method in connection state running";
    for (method, id) in [
        (say::channel_open(), (20, 10)),
        (say::queue_declare("q", 0), (50, 10)),
        (say::publish_method("", "q", 0), (60, 40)),
        (say::ack(1, false), (60, 80)),
        (say::qos(0, 1, false), (60, 10)),
    ] {
        let mut client = broker.client(1);
        client.method(0, method);
        client.expect_close(504, text, id);
    }
}

/// Provokes a 404 on the channel, and leaves it unanswered.
fn fail(client: &mut Client, channel: u16) {
    client.method(channel, say::queue_declare("a2.missing", say::PASSIVE));
    let text = "NOT_FOUND - no queue 'a2.missing' in vhost '/'";
    client.expect_channel_close(channel, 404, text, (50, 10));
}

#[test]
fn a2_a_soft_error_leaves_other_channels_alive() {
    let mut client = shared().client(2);
    let queue = client.declare_queue(2, "", say::EXCLUSIVE);
    client.method(2, say::consume(&queue, "c", true));
    client.expect(2, say::CONSUME_OK);
    fail(&mut client, 1);
    client.send(&say::publish(2, "", &queue, b"still here"));
    assert_eq!(client.content(2, say::DELIVER).1, b"still here");
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    client.check_quiet(1);
    client.close();
}

#[test]
fn a2_a_failed_channel_ignores_everything_until_close_ok() {
    let mut client = shared().client(2);
    let queue = client.declare_queue(2, "", say::EXCLUSIVE);
    fail(&mut client, 1);
    // All of this would be answered, or be an error of its own.
    client.method(1, say::flow(true));
    client.method(1, say::queue_declare("a2.missing", say::PASSIVE));
    client.method(1, say::ack(99, false));
    client.method(1, say::flow(false));
    client.method(1, say::queue_purge(&queue));
    client.send(&say::publish(1, "", &queue, b"ignored"));
    client.check_quiet(2);
    client.method(2, say::get(&queue, true));
    client.expect(2, say::GET_EMPTY);
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    client.close();
}

#[test]
fn a2_the_rest_of_a_publish_that_failed_is_ignored() {
    let mut client = shared().client(2);
    client.send(&say::publish(1, "a2.nowhere", "key", b""));
    let text = "NOT_FOUND - no exchange 'a2.nowhere' in vhost '/'";
    client.expect_channel_close(1, 404, text, (60, 40));
    client.method(1, say::publish_method("", "q", 0));
    client.send(&say::header(1, 10, say::PLAIN));
    client.send(&say::body(1, b"0123"));
    client.check_quiet(2);
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    client.check_quiet(1);
    client.close();
}

#[test]
fn a2_channel_open_before_close_ok_is_504() {
    let mut client = shared().client(1);
    fail(&mut client, 1);
    client.method(1, say::channel_open());
    client.expect_close(504, "CHANNEL_ERROR - second 'channel.open' seen", (20, 10));
}

#[test]
fn a2_closes_that_cross_are_both_answered() {
    let mut client = shared().client(1);
    let mut octets = say::queue_declare("a2.missing", say::PASSIVE).on(1);
    octets.extend(say::channel_close().on(1));
    client.send(&octets);
    let text = "NOT_FOUND - no queue 'a2.missing' in vhost '/'";
    client.expect_channel_close(1, 404, text, (50, 10));
    client.expect(1, say::CHANNEL_CLOSE_OK);
    client.method(1, say::channel_close_ok());
    client.open_channel(1);
    client.close();
}

#[test]
fn a2_a_failed_channel_counts_until_close_ok() {
    let mut client = three_channels(&shared());
    fail(&mut client, 1);
    client.method(1, say::channel_close_ok());
    client.open_channel(4);
    fail(&mut client, 4);
    client.method(5, say::channel_open());
    let text = "NOT_ALLOWED - number of channels opened (3) has reached the negotiated \
                channel_max (3)";
    client.expect_close(530, text, (0, 0));
}

#[test]
fn a2_what_a_failed_channel_held_is_ready_again_before_its_close() {
    let broker = shared();
    let mut client = broker.client(2);
    let queue = client.declare_queue(2, "", say::EXCLUSIVE);
    client.send(&say::publish(2, "", &queue, b"held"));
    client.check_quiet(2);
    client.method(1, say::get(&queue, false));
    assert_eq!(client.content(1, say::GET_OK).1, b"held");
    fail(&mut client, 1);
    client.method(2, say::get(&queue, true));
    let (mut fields, body) = client.content(2, say::GET_OK);
    assert_eq!((fields.u64(), fields.u8(), &body[..]), (1, 1, &b"held"[..]));
    client.close();
}
