//! Octets from those who mean no good, or do not know better: a reply or the end, and never more.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::broker::{Broker, shared};
use crate::octets::{Fields, METHOD, frame};
use crate::say;

/// What all that garbage may cost while it comes and after.
const MOST_KIB: usize = 64 * 1024;

fn check(broker: &Arc<Broker>, before: usize) {
    broker.check_alive();
    let grown = broker.peak_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "grew by {grown} KiB");
}

fn random(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let mut octets = vec![0; rng.random_range(1..=most)];
    rng.fill(&mut octets[..]);
    octets
}

/// Random octets, often ones that mean something in the protocol.
fn likely(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let count = rng.random_range(0..=most);
    let words: [&[u8]; 12] = [
        &[0],
        &[1],
        &[2],
        &[255],
        &[0, 60],
        &[0, 40],
        &[0, 50],
        &[0, 10],
        b"F\0\0\0\x05",
        b"S\0\0\0\x01x",
        b"A\0\0\0\x01t",
        b"\x03key",
    ];
    let mut octets = Vec::new();
    for _ in 0..count {
        match rng.random_range(0..4) {
            0 => octets.push(rng.random()),
            _ => octets.extend_from_slice(words[rng.random_range(0..words.len())]),
        }
    }
    octets
}

#[test]
fn random_octets_from_the_start_are_answered_with_the_header() {
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..500 {
        let mut client = broker.connect();
        let mut octets = random(&mut rng, 5000);
        octets.extend([0; 8]);
        client.try_send(&octets);
        assert_eq!(client.octets(8), say::AMQP_0_9_1, "round {round}");
        client.expect_end();
    }
    check(&broker, before);
}

#[test]
fn random_octets_after_the_header_end_the_handshake() {
    let broker = Broker::start("[amqp]\nhandshake_timeout_s = 1\n");
    let before = broker.resident_kib();
    let mut rng = StdRng::seed_from_u64(2);
    // All at once: each is kept for a silent second.
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = broker.connect();
        client.send(say::AMQP_0_9_1);
        let octets = random(&mut rng, 20_000);
        client.try_send(&octets);
        clients.push(client);
    }
    for mut client in clients {
        client.expect(0, say::START);
        client.expect_end();
    }
    check(&broker, before);
}

#[test]
fn random_octets_on_an_open_connection_end_it() {
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..300 {
        let mut client = broker.client(1);
        let octets = random(&mut rng, 20_000);
        client.try_send(&octets);
        client.finish();
        client.drain();
    }
    check(&broker, before);
}

#[test]
fn random_frames_on_an_open_connection_do_no_harm() {
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..500 {
        let mut client = broker.client(2);
        for _ in 0..rng.random_range(1..30) {
            let kind = [1, 1, 1, 1, 2, 3, 8, rng.random()][rng.random_range(0..8)];
            let payload = likely(&mut rng, 60);
            if !client.try_send(&frame(kind, rng.random_range(0..4), &payload)) {
                break;
            }
        }
        client.finish();
        client.drain();
    }
    check(&broker, before);
}

#[test]
fn random_fields_of_every_method_do_no_harm() {
    const CLASSES: [u16; 9] = [10, 20, 30, 40, 50, 60, 85, 90, 11];
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut rng = StdRng::seed_from_u64(5);
    for round in 0..600usize {
        let mut client = broker.client(1);
        let class = CLASSES[round % CLASSES.len()];
        let id = rng.random_range(0..13) * 10 + rng.random_range(0..2);
        let fields = Fields(vec![]).u16(class).u16(id);
        let channel = u16::from(class != 10);
        let fields = fields.raw(&likely(&mut rng, 30));
        client.try_send(&frame(METHOD, channel, &fields.0));
        client.finish();
        client.drain();
    }
    check(&broker, before);
}

/// What a good client sends once it is open, with content in two frames.
fn session(queue: &str) -> Vec<u8> {
    let arguments = Fields(vec![]).short("x-expires").raw(b"I\0\0\xea\x60");
    let headers = Fields(vec![]).short("k").raw(b"S").long("value");
    let properties = Fields(vec![]).u16(0x2000).long(&headers.0);
    let mut content = say::publish_method("", queue, say::MANDATORY).on(1);
    content.extend(say::header(1, 10, &properties.0));
    content.extend(say::body(1, b"01234"));
    content.extend(say::body(1, b"56789"));
    [
        say::queue_declare_with(queue, say::EXCLUSIVE, &arguments.0).on(1),
        say::queue_bind(queue, "amq.topic", "a.*.#").on(1),
        say::confirm_select().on(1),
        say::qos(0, 10, false).on(1),
        say::consume(queue, "c", false).on(1),
        content,
        say::ack(1, false).on(1),
        say::cancel("c").on(1),
        say::queue_delete(queue).on(1),
    ]
    .concat()
}

#[test]
fn a_good_session_with_octets_changed_does_no_harm() {
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let good = session("hostile");
    let mut rng = StdRng::seed_from_u64(6);
    for _ in 0..1000 {
        let mut octets = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..octets.len());
            match rng.random_range(0..3) {
                0 => octets[at] = rng.random(),
                1 => octets[at] ^= 1 << rng.random_range(0..8),
                _ => {
                    octets.remove(at);
                }
            }
        }
        let mut client = broker.client(1);
        client.try_send(&octets);
        client.finish();
        client.drain();
    }
    check(&broker, before);
}

#[test]
fn a_good_session_cut_off_anywhere_leaves_nothing() {
    let broker = shared();
    let good = session("hostile.cut");
    for at in 0..good.len() {
        let mut client = broker.client(1);
        client.send(&good[..at]);
        client.finish();
        client.drain();
    }
    let mut client = broker.client(1);
    client.method(1, say::queue_declare("hostile.cut", say::PASSIVE));
    let text = "NOT_FOUND - no queue 'hostile.cut' in vhost '/'";
    client.expect_channel_close(1, 404, text, (50, 10));
}
