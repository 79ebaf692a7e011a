//! Clients that take more than they give: the broker's memory has a limit, and others are served.

use std::io::Write;
use std::sync::Arc;
use std::thread;

use crate::broker::Broker;
use crate::client::Client;
use crate::say;

/// What a client that does not read may cost: the broker's outbound limit, and socket buffers. Far
/// below what these tests would have the broker send.
const MOST_KIB: usize = 48 * 1024;

/// So many octets and more would have to be kept if there were no limit.
const FLOOD_BYTES: usize = 256 * 1024 * 1024;

/// Writes until the broker no longer reads, or until `octets` are out.
fn pour(client: &Client, chunk: Vec<u8>, octets: usize) -> thread::JoinHandle<()> {
    let mut writer = client.writer();
    // It gives up when the client is dropped, and with it the socket is shut down.
    thread::spawn(move || {
        let mut left = octets;
        while left > 0 && writer.write_all(&chunk).is_ok() {
            left = left.saturating_sub(chunk.len());
        }
    })
}

/// Has other clients do their work while the flood is on, and holds the broker to its memory.
fn check_others(broker: &Arc<Broker>, before: usize) {
    for _ in 0..50 {
        broker.check_alive();
    }
    let grown = broker.peak_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "grew by {grown} KiB");
}

#[test]
fn a_client_that_never_reads_its_replies_is_no_longer_read() {
    let broker = Broker::start("");
    let mut client = broker.client(1);
    let before = broker.resident_kib();
    // Each is answered with more than it is long.
    let queue = client.declare_queue(1, &"q".repeat(255), say::EXCLUSIVE);
    let declare = say::queue_declare("", say::PASSIVE).on(1);
    assert_eq!(queue.len(), 255);
    let writing = pour(&client, declare.repeat(4096), FLOOD_BYTES / 16);
    check_others(&broker, before);
    client.hang_up();
    writing.join().unwrap();
    check_others(&broker, before);
}

#[test]
fn a_client_that_never_reads_what_it_gets_is_no_longer_read() {
    let broker = Broker::start("");
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.send(&say::publish(1, "", &queue, &[b'x'; 64 * 1024]));
    client.check_quiet(1);
    let before = broker.resident_kib();
    // The same message, again and again.
    let mut round = say::get(&queue, false).on(1);
    round.extend(say::nack(0, true, true).on(1));
    let writing = pour(&client, round.repeat(1000), FLOOD_BYTES / 64);
    check_others(&broker, before);
    client.hang_up();
    writing.join().unwrap();
    check_others(&broker, before);
}

#[test]
fn a_client_that_never_reads_its_returns_is_no_longer_read() {
    let broker = Broker::start("");
    let client = broker.client(1);
    let before = broker.resident_kib();
    let lost = say::publish_as(1, "", "nowhere", say::MANDATORY, say::PLAIN, &[b'x'; 8000]);
    let writing = pour(&client, lost.repeat(16), FLOOD_BYTES);
    check_others(&broker, before);
    client.hang_up();
    writing.join().unwrap();
    check_others(&broker, before);
}

#[test]
fn a_consumer_that_never_reads_is_passed_over() {
    const BODY: usize = 16 * 1024;
    const MESSAGES: usize = FLOOD_BYTES / 2 / BODY;
    /// More than fits in the outbound limit and the socket's buffers.
    const STUCK_MOST: usize = 1024;
    let broker = Broker::start("");
    let mut stuck = broker.client(1);
    let queue = stuck.declare_queue(1, "flood", 0);
    stuck.method(1, say::consume(&queue, "stuck", true));
    stuck.expect(1, say::CONSUME_OK);
    let mut reader = broker.client(1);
    reader.method(1, say::consume(&queue, "reader", true));
    reader.expect(1, say::CONSUME_OK);
    let mut publisher = broker.client(1);
    let before = broker.resident_kib();
    let publish = say::publish(1, "", &queue, &[b'x'; BODY]);
    let mut received = 0;
    for published in 1..=MESSAGES {
        publisher.send(&publish);
        while published - received > STUCK_MOST {
            assert_eq!(reader.content(1, say::DELIVER).1.len(), BODY);
            received += 1;
        }
    }
    check_others(&broker, before);
    stuck.hang_up();
    broker.check_alive();
}

#[test]
fn a_consumer_slower_than_its_backlog_gets_all_of_it() {
    const BODY: usize = 16 * 1024;
    // Several times what is on its way to one connection, so that it is passed over and resumed.
    const MESSAGES: usize = 1000;
    let broker = Broker::start("");
    let mut client = broker.client(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    for _ in 0..MESSAGES {
        client.send(&say::publish(1, "", &queue, &[b'x'; BODY]));
    }
    client.method(1, say::consume(&queue, "c", true));
    client.expect(1, say::CONSUME_OK);
    for _ in 0..MESSAGES {
        client.content(1, say::DELIVER);
    }
    client.close();
}

#[test]
fn many_messages_announced_and_never_sent_take_little() {
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut client = broker.client(0);
    let mut octets = Vec::new();
    for channel in 1..=2047 {
        octets.extend(say::channel_open().on(channel));
        octets.extend(say::publish_method("", "nowhere", 0).on(channel));
        octets.extend(say::header(channel, 16 * 1024 * 1024, say::PLAIN));
        octets.extend(say::body(channel, b"and so on"));
    }
    client.send(&octets);
    for channel in 1..=2047 {
        client.expect(channel, say::CHANNEL_OPEN_OK);
    }
    check_others(&broker, before);
}

#[test]
fn small_messages_do_not_hold_what_was_read_with_them() {
    const ROUNDS: usize = 1500;
    let broker = Broker::start("");
    let mut client = broker.client(2);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    let before = broker.resident_kib();
    // One of them is kept, between many octets that are not.
    let mut round = say::publish(1, "", &queue, b"kept");
    let lost = say::publish(2, "", "nowhere", &[b'x'; 8000]);
    round.extend(lost.repeat(16));
    for _ in 0..ROUNDS {
        client.send(&round);
    }
    client.method(1, say::queue_declare(&queue, say::PASSIVE));
    let mut declared = client.expect(1, say::QUEUE_DECLARE_OK);
    assert_eq!((declared.short(), declared.u32()), (queue, ROUNDS as u32));
    check_others(&broker, before);
}
