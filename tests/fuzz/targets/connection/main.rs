//! Two connections of one client: frames in an order that a client might send them, and in others, against
//! the real state machines, handshake to close, and a broker with its log and its catalogue.
//!
//! What is said to the client must be whole frames that make sense one after the other (`judge.rs`). When
//! both connections have ended nothing is left unacked, and when the vhost is deleted nobody holds a message
//! of the log.
//!
//! Input: steps, by `arbitrary`.
#![no_main]

mod judge;
mod say;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{BufMut, BytesMut};
use libfuzzer_sys::fuzz_target;
use warren::amqp::{Detached, Settings};
use warren::auth::{HashingAlgorithm, PasswordHash, Permission, User};
use warren::broker::stats::ObjectTotals;
use warren::broker::{Broker, DEFAULT_VHOST, VhostSettings};
use warren_fuzz::config;

use judge::Judge;
use say::{Step, method, say};

/// Most octets sent in one run: what matters is the order of things, not their number.
const SENT_MAX: usize = 64 * 1024;

fuzz_target!(|steps: Vec<Step<'_>>| {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));
    WORLD.with_borrow_mut(|world| world.run(&steps));
});

struct World {
    runtime: tokio::runtime::Runtime,
    broker: Arc<Broker>,
    settings: Arc<Settings>,
    /// What there is at the start.
    objects: ObjectTotals,
    everything: Permission,
    _data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (config, data) = config();
        let broker = Arc::new(Broker::open(&config).expect("a broker"));
        cheapen_guest(&broker);
        let directory = broker.directory();
        let permission = directory.permission("guest", &DEFAULT_VHOST.into());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        World {
            settings: Arc::new(Settings::from(&config)),
            objects: broker.overview().objects,
            everything: Permission::clone(permission.expect("of the first user")),
            broker,
            runtime: runtime.expect("a runtime"),
            _data: data,
        }
    }

    fn run(&mut self, steps: &[Step<'_>]) {
        let mut wires = [self.dial(), self.dial()];
        let (mut turn, mut sent) = (0, 0);
        for step in steps {
            let wire = &mut wires[turn];
            match step {
                Step::Turn => turn = 1 - turn,
                Step::Read => self.read(wire),
                step => {
                    let before = wire.said.len();
                    say(step, &mut wire.said);
                    sent += wire.said.len() - before;
                }
            }
            if sent > SENT_MAX {
                break;
            }
        }
        // Twice, for what one connection has for the other.
        for _ in 0..2 {
            wires.iter_mut().for_each(|wire| self.read(wire));
        }
        drop(wires);
        self.check_and_tidy();
    }

    /// A connection that is open, with two channels.
    fn dial(&self) -> Wire {
        let mut wire = Wire {
            detached: Detached::new(Arc::clone(&self.broker), Arc::clone(&self.settings)),
            said: BytesMut::from(&b"AMQP\x00\x00\x09\x01"[..]),
            judge: Judge::default(),
        };
        let start_ok = b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US";
        wire.said.put_slice(&method(0, 10, 11, start_ok));
        wire.said
            .put_slice(&method(0, 10, 31, &[7, 255, 0, 2, 0, 0, 0, 0]));
        wire.said.put_slice(&method(0, 10, 40, b"\x01/\0\0"));
        for channel in [1, 2] {
            wire.said.put_slice(&method(channel, 20, 10, &[0]));
        }
        self.read(&mut wire);
        assert!(wire.judge.is_open(), "a good handshake");
        wire
    }

    /// Has what was said read, and judges the answers.
    fn read(&self, wire: &mut Wire) {
        wire.detached.receive(&mut wire.said);
        self.runtime.block_on(wire.detached.log_in(&mut wire.said));
        // What rests on the log, and queues whose time has come.
        let log = self.broker.log();
        if log.pending_bytes() > 0 {
            log.sync().expect("the disk does not fail");
        }
        // Once: a timer of the runtime, even one of no time, takes a millisecond.
        let mut keeping = pin!(self.broker.keep_time());
        self.runtime.block_on(poll_fn(|context| {
            let _ = keeping.as_mut().poll(context);
            Poll::Ready(())
        }));
        wire.detached.work();
        while wire.detached.sendable_len() > 0 {
            let judge = &mut wire.judge;
            let taken = wire.detached.send(|slices: &[IoSlice<'_>]| {
                slices.iter().for_each(|slice| judge.hear(slice));
                Ok(slices.iter().map(|slice| slice.len()).sum())
            });
            taken.expect("nothing fails here");
        }
    }

    /// What is left when nobody is there any more; then a new vhost takes the place of this one.
    fn check_and_tidy(&self) {
        let broker = &self.broker;
        let vhost = broker.vhost(DEFAULT_VHOST).expect("the first vhost");
        for queue in vhost.queues() {
            let queue = queue.lock();
            assert_eq!(queue.unacked_len(), 0, "nobody is there who could ack");
            assert_eq!(queue.consumers_len(), 0);
        }
        let _ = broker
            .delete_vhost(vhost.name(), "fuzz")
            .expect("it is there");
        assert_eq!(
            broker.log().totals().1,
            0,
            "a message that nobody holds keeps the log"
        );
        let settings = VhostSettings::default();
        let _ = broker
            .put_vhost(vhost.name(), settings, "fuzz")
            .expect("a good name");
        let _ = broker
            .put_permission(self.everything.clone(), "fuzz")
            .expect("of the first user");
        assert_eq!(broker.overview().objects, self.objects);
    }
}

/// Gives guest a hash that costs nothing: the first user's is slow by intention, and each run logs in twice.
fn cheapen_guest(broker: &Broker) {
    let hash = PasswordHash::salted(HashingAlgorithm::Sha256, b"guest");
    let guest = User {
        name: "guest".into(),
        password: Some(hash.expect("nothing to fail")),
        tags: Vec::new(),
    };
    let _ = broker.put_user(guest, "fuzz").expect("a good name");
}

struct Wire {
    detached: Detached,
    said: BytesMut,
    judge: Judge,
}
