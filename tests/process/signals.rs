//! SIGTERM and SIGINT: a clean stop, which a second signal cuts short.

use std::net::TcpStream;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::Broker;
use crate::support::raw::RawClient;

#[test]
fn sigterm_and_sigint_end_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = TempDir::new().unwrap();
        let broker = Broker::start(dir.path());
        let address = broker.address();
        broker.signal(signal);
        let (status, log) = broker.ended();
        assert_eq!(status.code(), Some(0), "{log:?}");
        assert!(log.last().unwrap().contains("stopped"), "{log:?}");
        assert!(TcpStream::connect(address).is_err());
        // The next start finds that it was clean.
        let broker = Broker::start(dir.path());
        assert!(
            broker
                .wait_for("data directory opened")
                .contains("clean_stop=true")
        );
    }
}

#[test]
fn sighup_ends_nothing() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = RawClient::open(broker.address());
    broker.signal(Signal::HUP);
    drop(RawClient::open(broker.address()));
    broker.signal(Signal::TERM);
    assert_eq!(client.closed().0, 320);
    assert_eq!(broker.ended().0.code(), Some(0));
}

#[test]
fn open_connections_are_told_320() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = TempDir::new().unwrap();
        let broker = Broker::start(dir.path());
        let mut clients: Vec<_> = (0..3).map(|_| RawClient::open(broker.address())).collect();
        broker.signal(signal);
        for client in &mut clients {
            let (code, text) = client.closed();
            assert_eq!(code, 320);
            let expected =
                "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
            assert_eq!(text, expected);
        }
        drop(clients);
        let (status, log) = broker.ended();
        assert_eq!(status.code(), Some(0), "{log:?}");
    }
}

#[test]
fn a_client_that_never_answers_does_not_keep_it_from_stopping() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(dir.path());
    let mut open = RawClient::open(broker.address());
    let silent = TcpStream::connect(broker.address()).unwrap();
    broker.signal(Signal::TERM);
    assert_eq!(open.closed().0, 320);
    let (status, log) = broker.ended();
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.iter().any(|line| line.contains("cut off")), "{log:?}");
    drop((open, silent));
    let broker = Broker::start(dir.path());
    assert!(
        broker
            .wait_for("data directory opened")
            .contains("clean_stop=true")
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = RawClient::open(broker.address());
    broker.signal(Signal::INT);
    // It stops, and waits for this client, which does not answer.
    client.closed();
    broker.signal(Signal::INT);
    let (status, log) = broker.ended();
    assert_eq!(status.code(), Some(1), "{log:?}");
    assert!(
        log.iter().any(|line| line.contains("second signal")),
        "{log:?}"
    );
    // Nothing is lost by it, but it was no clean stop.
    let broker = Broker::start(dir.path());
    assert!(
        broker
            .wait_for("data directory opened")
            .contains("clean_stop=false")
    );
}
