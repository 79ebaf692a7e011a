//! Signs of life, both ways (A1.12).

use crate::broker::shared;
use crate::client::Client;
use crate::octets::{HEARTBEAT, frame};
use crate::say::{self, Options};

fn every_second() -> Client {
    let mut client = shared().connect();
    client.open(&Options {
        heartbeat_s: 1,
        ..Options::default()
    });
    client
}

fn expect_heartbeat(client: &mut Client) {
    let beat = client.frame();
    let got = (beat.kind, beat.channel, beat.payload.len());
    assert_eq!(got, (HEARTBEAT, 0, 0), "{beat:?}");
}

#[test]
fn a1_12_a_silent_client_gets_heartbeats_and_then_the_end_without_a_close() {
    let mut client = every_second();
    // Twice T must pass before it is given up, and the broker looks every half of it.
    for _ in 0..2 {
        expect_heartbeat(&mut client);
    }
    client.expect_end();
}

/// Answers to heartbeats are the only clock: ten of them take longer than any client may be silent.
fn stays_alive(sign_of_life: &[u8]) {
    let mut client = every_second();
    for _ in 0..10 {
        expect_heartbeat(&mut client);
        client.send(sign_of_life);
    }
    client.open_channel(3);
}

#[test]
fn a1_12_heartbeats_keep_a_connection_alive() {
    stays_alive(&frame(HEARTBEAT, 0, &[]));
}

#[test]
fn a1_12_any_octet_keeps_a_connection_alive() {
    let mut client = every_second();
    client.open_channel(1);
    client.open_channel(2);
    client.send(&say::publish_method("", "nowhere", 0).on(1));
    // A frame that takes its time: an octet for every heartbeat.
    let header = say::header(1, 0, say::PLAIN);
    for octet in &header[..10] {
        expect_heartbeat(&mut client);
        client.send(&[*octet]);
    }
    client.send(&header[10..]);
    client.method(1, say::flow(true));
    let mut frame = client.frame();
    while frame.kind == HEARTBEAT {
        frame = client.frame();
    }
    assert_eq!((frame.channel, frame.id()), (1, say::FLOW_OK), "{frame:?}");
}

#[test]
fn a1_12_heartbeats_count_while_replies_wait_to_be_read() {
    const BODY: usize = 64 * 1024;
    /// More than the broker and the sockets keep for a client that does not read.
    const GETS: usize = 512;
    let mut client = every_second();
    client.open_channel(1);
    let queue = client.declare_queue(1, "", say::EXCLUSIVE);
    client.send(&say::publish(1, "", &queue, &[b'x'; BODY]));
    for _ in 0..GETS {
        client.method(1, say::get(&queue, false));
        client.method(1, say::nack(0, true, true));
    }
    // Another connection's heartbeats tell the time.
    let mut clock = every_second();
    for _ in 0..6 {
        expect_heartbeat(&mut clock);
        clock.send(&frame(HEARTBEAT, 0, &[]));
        client.send(&frame(HEARTBEAT, 0, &[]));
    }
    let mut got = 0;
    while got < GETS {
        let frame = client.frame();
        got += usize::from(frame.id() == say::GET_OK);
        // From here on it is the reading that takes time.
        if got % 64 == 0 && frame.id() == say::GET_OK {
            client.send(&crate::octets::frame(HEARTBEAT, 0, &[]));
        }
    }
}

#[test]
fn a1_12_a_refused_frame_on_a_silent_connection_is_not_waited_for() {
    // The wait for close-ok is the heartbeat interval, if that is shorter.
    let mut client = every_second();
    client.method(1, say::get("q", true));
    let mut close = client.frame();
    while close.kind == HEARTBEAT {
        close = client.frame();
    }
    assert_eq!(close.id(), say::CLOSE, "{close:?}");
    client.expect_end();
}
