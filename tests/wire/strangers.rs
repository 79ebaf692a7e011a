//! What is refused to a client that has logged in, from one that has not: the rows A1.8 and A2 at each step of the
//! handshake. Nothing of it is done, and nobody is told why.

use std::sync::Arc;

use crate::broker::{Broker, shared};
use crate::client::Client;
use crate::octets::{BODY, HEADER, HEARTBEAT, METHOD, frame, head, method};
use crate::say::{self, Options};

/// How far the handshake has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Starting,
    Tuning,
    Opening,
}

const STEPS: [Step; 3] = [Step::Starting, Step::Tuning, Step::Opening];

fn at(broker: &Arc<Broker>, step: Step) -> Client {
    let options = Options::default();
    let mut client = broker.connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    if step != Step::Starting {
        client.method(0, say::start_ok(&options));
        client.expect(0, say::TUNE);
    }
    if step == Step::Opening {
        client.method(0, say::tune_ok(&options));
    }
    client
}

/// Sends each of these at each step, all side by side, as each has the pause of a silent close; then sees what came.
fn at_every_step(broker: &Arc<Broker>, sent: &[(String, Vec<u8>)], told: impl Fn(Step) -> bool) {
    let mut clients = Vec::new();
    for (what, octets) in sent {
        for step in STEPS {
            let mut client = at(broker, step);
            client.send(octets);
            // What follows is not looked at either.
            let _ = client.try_send(&say::queue_declare("stranger", 0).on(1));
            clients.push((what, step, client));
        }
    }
    for (what, step, mut client) in clients {
        while let Some(frame) = client.next() {
            let closes = frame.id() == say::CLOSE && told(step);
            assert!(closes, "{what} while {step:?}: {frame:?}");
        }
    }
    let mut client = broker.client(1);
    client.method(1, say::queue_declare("stranger", say::PASSIVE));
    let text = "NOT_FOUND - no queue 'stranger' in vhost '/'";
    client.expect_channel_close(1, 404, text, (50, 10));
    broker.check_alive();
}

#[test]
fn a2_no_method_of_a_channel_is_done_before_the_connection_is_open() {
    let methods = [
        ("channel.open", say::channel_open()),
        ("channel.close", say::channel_close()),
        ("channel.close-ok", say::channel_close_ok()),
        ("channel.flow", say::flow(true)),
        (
            "exchange.declare",
            say::exchange_declare("stranger", "direct", 0),
        ),
        (
            "exchange.delete",
            method((40, 20)).u16(0).short("amq.direct").u8(0),
        ),
        ("queue.declare", say::queue_declare("stranger", 0)),
        (
            "queue.bind",
            say::queue_bind("stranger", "amq.direct", "key"),
        ),
        ("queue.purge", say::queue_purge("stranger")),
        ("queue.delete", say::queue_delete("stranger")),
        ("basic.qos", say::qos(0, 1, false)),
        ("basic.consume", say::consume("stranger", "tag", true)),
        ("basic.cancel", say::cancel("tag")),
        ("basic.publish", say::publish_method("", "stranger", 0)),
        ("basic.get", say::get("stranger", true)),
        ("basic.ack", say::ack(1, true)),
        ("basic.reject", say::reject(1, true)),
        ("basic.nack", say::nack(1, true, true)),
        ("basic.recover", say::recover(true)),
        ("tx.select", method((90, 10))),
        ("tx.commit", method((90, 20))),
        ("confirm.select", say::confirm_select()),
        ("access.request", method((30, 10)).short("/data").u8(0)),
    ];
    let sent = methods.iter().flat_map(|(name, fields)| {
        [0, 1].map(|channel| (format!("{name} on {channel}"), fields.on(channel)))
    });
    at_every_step(&shared(), &sent.collect::<Vec<_>>(), |_| false);
}

#[test]
fn a1_8_broken_frames_of_strangers_close_silently() {
    let mut wrong_end = say::start_ok(&Options::default()).on(0);
    *wrong_end.last_mut().unwrap() = 0;
    let sent = [
        ("a frame of an unknown type", frame(4, 0, b"abc")),
        ("a frame of type 0", frame(0, 0, b"")),
        ("a wrong end octet", wrong_end),
        ("4 GiB", head(METHOD, 0, u32::MAX)),
        ("9 octets above the limit", head(METHOD, 0, 8192 - 8 + 9)),
        ("a method of 3 octets", frame(METHOD, 0, &[0, 10, 0])),
        ("a content header", say::header(0, 4, say::PLAIN)),
        (
            "a content header on a channel",
            say::header(1, 4, say::PLAIN),
        ),
        ("a body", frame(BODY, 0, b"body")),
        ("a body on a channel", frame(BODY, 1, b"body")),
        ("a short content header", frame(HEADER, 1, b"abc")),
        ("a heartbeat on a channel", frame(HEARTBEAT, 1, b"")),
        ("a heartbeat with a payload", frame(HEARTBEAT, 0, b"x")),
    ];
    let sent = sent.map(|(what, octets)| (what.to_owned(), octets));
    at_every_step(&shared(), &sent, |_| false);
}

#[test]
fn a2_methods_of_the_connection_that_are_not_due_or_malformed_tell_a_stranger_nothing() {
    let broken_table = method((10, 11)).long(b"\x01aS\xff\xff\xff\xff");
    let sent = [
        (
            "connection.start",
            method((10, 10))
                .u8(0)
                .u8(9)
                .long(b"")
                .long(b"PLAIN")
                .long(b"en_US"),
        ),
        ("connection.secure-ok", method((10, 21)).long(b"guest")),
        ("connection.tune", method((10, 30)).u16(1).u32(8192).u16(0)),
        ("connection.open-ok", method((10, 41)).short("")),
        ("connection.close-ok", say::close_ok()),
        ("connection.blocked", method((10, 60)).short("")),
        (
            "connection.update-secret",
            method((10, 70)).long(b"guest").short(""),
        ),
        ("an unknown method", method((10, 99))),
        ("an unknown class", method((99, 10))),
        ("start-ok with a broken table", broken_table),
        ("start-ok without its fields", method((10, 11))),
        ("tune-ok without its fields", method((10, 31)).u16(1)),
        ("open without its fields", method((10, 40)).u8(255)),
    ];
    let sent = sent.map(|(what, fields)| (what.to_owned(), fields.on(0)));
    // Who has logged in may be told.
    at_every_step(&shared(), &sent, |step| step == Step::Opening);
}
