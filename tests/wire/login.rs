//! Logging in, and being refused (A1.14, A10, A2).

use std::sync::Arc;
use std::thread;

use crate::broker::{Broker, shared};
use crate::octets::{Fields, method};
use crate::say::{self, Options};

fn refused(broker: &Arc<Broker>, capabilities: &'static [&'static str]) -> crate::client::Client {
    let mut client = broker.connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    let options = Options {
        password: "wrong",
        capabilities,
        ..Options::default()
    };
    client.method(0, say::start_ok(&options));
    client
}

#[test]
fn a1_14_a_refused_login_is_403_to_those_who_can_take_it() {
    let mut client = refused(&shared(), &["authentication_failure_close"]);
    let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
                details see the broker logfile.";
    client.expect_close(403, text, (0, 0));
}

#[test]
fn a1_14_a_refused_login_is_silence_to_others() {
    refused(&shared(), &[]).expect_end();
}

#[test]
fn a1_14_what_follows_a_refused_login_takes_no_memory() {
    const MOST_KIB: usize = 32 * 1024;
    let broker = Broker::start("");
    let before = broker.resident_kib();
    let mut client = refused(&broker, &["authentication_failure_close"]);
    client.expect(0, say::CLOSE);
    let chunk = vec![0; 1024 * 1024];
    for _ in 0..256 {
        if !client.try_send(&chunk) {
            break;
        }
    }
    let grown = broker.peak_kib().saturating_sub(before);
    assert!(grown < MOST_KIB, "grew by {grown} KiB");
    broker.check_alive();
}

#[test]
fn a2_a_mechanism_nobody_offered_closes_silently() {
    let broker = shared();
    let start_ok = |mechanism: &str, response: &[u8]| {
        let method = method((10, 11)).long(b"").short(mechanism);
        method.long(response).short("en_US").on(0)
    };
    thread::scope(|scope| {
        for octets in [
            start_ok("EXTERNAL", b""),
            start_ok("plain", b"\0guest\0guest"),
            start_ok("PLAIN", b"guest"),
            start_ok("PLAIN", b"guest\0guest\0guest"),
            start_ok("AMQPLAIN", b"\x05LOGIN"),
        ] {
            let broker = &broker;
            scope.spawn(move || {
                let mut client = broker.connect();
                client.send(say::AMQP_0_9_1);
                client.expect(0, say::START);
                client.send(&octets);
                client.expect_end();
            });
        }
    });
}

#[test]
fn a10_amqplain_is_a_table_of_login_and_password() {
    let mut client = shared().connect();
    client.send(say::AMQP_0_9_1);
    client.expect(0, say::START);
    let table = Fields(vec![])
        .short("LOGIN")
        .raw(b"S")
        .long("guest")
        .short("PASSWORD")
        .raw(b"S")
        .long("guest");
    let start_ok = method((10, 11)).long(b"").short("AMQPLAIN");
    client.method(0, start_ok.long(&table.0).short("en_US"));
    client.expect(0, say::TUNE);
}
