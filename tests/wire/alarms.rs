//! Publishers are stopped while memory or disk runs short (A1.15).

use crate::broker::Broker;
use crate::client::Client;
use crate::octets::{HEARTBEAT, Id};
use crate::say::{self, Options};

const BLOCKED: Id = (10, 60);

/// A disk with so much room that no machine has it.
const NO_DISK: &str = "[alarms]\ndisk_free_limit = 1000000000000000\n";

fn open(broker: &std::sync::Arc<Broker>, heartbeat_s: u16) -> Client {
    let mut client = broker.connect();
    client.open(&Options {
        capabilities: &["connection.blocked"],
        heartbeat_s,
        ..Options::default()
    });
    client.open_channel(1);
    client
}

#[test]
fn a1_15_a_publisher_is_told_and_no_longer_read_while_consumers_go_on() {
    let broker = Broker::start(NO_DISK);
    let mut consumer = open(&broker, 0);
    let queue = consumer.declare_queue(1, "q", 0);
    consumer.method(1, say::consume(&queue, "c", true));
    consumer.expect(1, say::CONSUME_OK);

    let mut publisher = open(&broker, 0);
    publisher.send(&say::publish(1, "", &queue, b"taken"));
    assert_eq!(publisher.expect(0, BLOCKED).short(), "low on disk");
    let (_, body) = consumer.content(1, say::DELIVER);
    assert_eq!(body, b"taken");

    // Much more than the sockets hold: it stays unread, and costs the broker nothing.
    let writer = publisher.writer();
    writer.set_nonblocking(true).unwrap();
    let more = say::publish(1, "", &queue, &[b'x'; 100_000]).repeat(100);
    let mut sent = 0;
    while let Ok(count) = std::io::Write::write(&mut &writer, &more[sent..]) {
        sent += count;
    }
    assert!(sent < more.len(), "all {sent} octets were read");
    consumer.check_quiet(1);
    // Others may even declare and get.
    let mut third = open(&broker, 0);
    third.method(1, say::get(&queue, true));
    third.expect(1, say::GET_EMPTY);
}

#[test]
fn a1_12_a_blocked_client_need_not_show_that_it_lives() {
    let broker = Broker::start("[alarms]\nmemory_watermark = 0\n");
    let mut client = open(&broker, 1);
    client.send(&say::publish(1, "", "nowhere", b"x"));
    assert_eq!(client.expect(0, BLOCKED).short(), "low on memory");
    // Half a second each: twice as long as a silent client may live.
    for _ in 0..12 {
        let beat = client.frame();
        assert_eq!((beat.kind, beat.channel), (HEARTBEAT, 0), "{beat:?}");
    }
}
