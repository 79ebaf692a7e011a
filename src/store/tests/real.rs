//! The whole store with its threads, on real files.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::base::index::{IndexEntry, LaneState, QueueState};
use crate::base::{LogPos, QueueId};
use crate::store::{Durability, Durable, Log, Options, Recovered, Store, StoreError, Table};

use super::model::{describe, message};
use super::sim::{Fault, SimIo};
use super::sim_rows::SimRows;

const Q: QueueId = QueueId(1);

#[derive(Default)]
struct Bell {
    rung: Mutex<usize>,
    changed: Condvar,
}

impl Durable for Bell {
    fn durable(&self) {
        *self.rung.lock() += 1;
        self.changed.notify_all();
    }
}

impl Bell {
    fn wait_for(&self, times: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        let mut rung = self.rung.lock();
        while *rung < times {
            assert!(
                !self.changed.wait_until(&mut rung, until).timed_out(),
                "nobody rang"
            );
        }
    }
}

/// A message that was found: its queue, position, and whether it may have been delivered before.
type Found = (QueueId, LogPos, bool, Bytes);

fn take(recovered: Recovered, log: &Log, exists: impl Fn(QueueId) -> bool) -> Vec<Found> {
    let mut reader = log.reader();
    let mut messages = Vec::new();
    let max_priority = |queue| exists(queue).then_some(0);
    recovered.restore(max_priority, |state| {
        for (_, entry) in state.lanes.iter().flat_map(|lane| &lane.loose) {
            reader.messages(&[entry.pos], &mut |_, octets| {
                messages.push((state.queue, entry.pos, entry.redelivered, octets.unwrap()));
            });
        }
    });
    messages.sort_by_key(|(queue, pos, ..)| (*pos, *queue));
    messages
}

fn open(path: &Path) -> (Store, Recovered) {
    Store::open(path, Options::default(), describe).unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_clean_life_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let (store, recovered) = open(&path);
    assert!(recovered.rows.is_empty());
    assert!(take(recovered, store.log(), |_| true).is_empty());
    assert!(matches!(
        Store::open(&path, Options::default(), describe),
        Err(StoreError::InUse { .. })
    ));

    let log = store.log();
    let mut batch = log.batch();
    batch.put(Table::Queues, b"q", b"durable");
    let first = batch.publish(1, &[Q, QueueId(2)], &[&message(1, b"shared "), b"body"]);
    let second = batch.publish(2, &[Q], &[&message(2, b"second")]);
    let appended = log.append(batch).unwrap();
    assert!(log.applied_below() < appended.end());
    let (first, second) = (appended.position(first), appended.position(second));
    let bell = Arc::new(Bell::default());
    log.notify_when_durable(appended.end(), bell.clone());
    bell.wait_for(1);
    assert!(log.durable() >= appended.end());
    log.notify_when_durable(appended.end(), bell.clone());
    bell.wait_for(2);
    let end = appended.end();
    drop(appended);
    assert_eq!(log.applied_below(), end);
    let entry = |pos, stamped_ms, redelivered| IndexEntry {
        pos,
        stamped_ms,
        ttl_ms: None,
        body_bytes: 14,
        failed_deliveries: 0,
        priority: 0,
        redelivered,
    };
    let state = |queue, loose| QueueState {
        queue,
        lanes: vec![LaneState {
            loose,
            ..LaneState::default()
        }],
    };
    let of_q = vec![(5, entry(first, 1, false)), (6, entry(second, 2, true))];
    let states = vec![
        state(Q, of_q),
        state(QueueId(2), vec![(1, entry(first, 1, false))]),
    ];
    store.close(states).unwrap();
    store.close(Vec::new()).unwrap();
    drop(store);

    look_again(&path, first, second);
}

/// The second and third life of the directory above.
fn look_again(path: &Path, first: LogPos, second: LogPos) {
    let (store, recovered) = open(path);
    assert!(recovered.clean);
    assert_eq!(recovered.highest_queue_id, QueueId(2));
    assert_eq!(recovered.rows[&Table::Queues][0].value, b"durable");
    let messages = take(recovered, store.log(), |_| true);
    let seen: Vec<_> = messages
        .iter()
        .map(|(queue, pos, redelivered, _)| (*queue, *pos, *redelivered))
        .collect();
    let expected = [
        (Q, first, false),
        (QueueId(2), first, false),
        (Q, second, true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(messages[0].3, message(1, b"shared body"));
    drop(store);

    let (store, recovered) = open(path);
    assert!(!recovered.clean, "it was dropped, not closed");
    let messages = take(recovered, store.log(), |queue| queue == Q);
    let redelivered: Vec<_> = messages.iter().map(|message| message.2).collect();
    assert_eq!(redelivered, [true, true]);
    assert_eq!(
        store.log().totals().1,
        2,
        "the other queue's message was released"
    );
    assert!(store.free_bytes().unwrap() > 0);
}

#[test]
fn other_formats_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("FORMAT"), "warren 3\n").unwrap();
    let Err(error) = Store::open(directory.path(), Options::default(), describe) else {
        panic!()
    };
    assert!(error.to_string().contains("\"warren 3\""), "{error}");
}

/// Fifty rounds of ten messages and a row, each waiting for room and for durability.
fn produce_and_consume(log: &Log, thread: u64, peak: &AtomicUsize) {
    let bell = Arc::new(Bell::default());
    for round in 1..=50 {
        log.notify_when_room(bell.clone());
        bell.wait_for(2 * round - 1);
        let mut batch = log.batch();
        let offsets: Vec<_> = (0..10)
            .map(|n| batch.publish(n, &[QueueId(thread)], &[&[7; 500]]))
            .collect();
        batch.put(Table::Meta, &thread.to_be_bytes(), &round.to_be_bytes());
        let appended = log.append(batch).unwrap();
        peak.fetch_max(log.pending_bytes(), Ordering::Relaxed);
        log.notify_when_durable(appended.end(), bell.clone());
        bell.wait_for(2 * round);
        assert!(log.durable() >= appended.end());
        let positions: Vec<_> = offsets
            .iter()
            .map(|offset| appended.position(*offset))
            .collect();
        let mut batch = log.batch();
        batch.ack(QueueId(thread), positions.iter().copied());
        let _ = log.append(batch).unwrap();
        log.release_all(positions);
    }
}

#[test]
fn many_producers_and_space_comes_back() {
    for durability in [Durability::Fsync, Durability::Interval, Durability::Os] {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 64 << 10,
            pending_limit_bytes: 32 << 10,
            durability,
            sync_interval: Duration::from_millis(5),
            catalogue_flush_every: Duration::from_millis(10),
            ..Options::default()
        };
        let (store, _) = Store::open(directory.path(), options.clone(), describe).unwrap();
        let peak = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let (log, peak) = (store.log(), &peak);
                scope.spawn(move || produce_and_consume(log, thread, peak));
            }
        });
        store.log().sync().unwrap();
        assert!(peak.into_inner() < (32 << 10) + 4 * 8192);
        until("consumed segments are deleted", || {
            store.log().begin_checkpoint().finish().unwrap();
            store.log().totals() == (1, 0)
        });
        let mut files: Vec<_> = std::fs::read_dir(directory.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort_unstable();
        let spares = files.iter().filter(|name| name.ends_with(".spare"));
        assert_eq!(spares.count(), 2, "{files:?}");
        assert_eq!(files.len(), 4, "{files:?}");
        assert_eq!(files[3], "checkpoint");
        store.close(Vec::new()).unwrap();
        drop(store);
        let (store, recovered) = Store::open(directory.path(), options, describe).unwrap();
        assert_eq!(recovered.rows[&Table::Meta].len(), 4);
        assert!(
            recovered.rows[&Table::Meta]
                .iter()
                .all(|row| row.value == 50_usize.to_be_bytes())
        );
        assert!(take(recovered, store.log(), |_| true).is_empty());
    }
}

/// Appends a message, waits until it counts as durable, and returns how many syncs there were by then.
fn syncs_for(log: &Log, wanted: &[Durability]) -> u64 {
    let mut batch = log.batch();
    batch.publish(0, &[Q], &[b"message"]);
    wanted.iter().for_each(|wanted| batch.wants(*wanted));
    let appended = log.append(batch).unwrap();
    let bell = Arc::new(Bell::default());
    log.notify_when_durable(appended.end(), bell.clone());
    bell.wait_for(1);
    log.figures().syncs.iter().sum()
}

#[test]
fn a_batch_waits_for_what_it_wants() {
    use Durability::{Fsync, Interval, Os};
    for setting in [Fsync, Os] {
        let options = Options {
            durability: setting,
            sync_interval: Duration::from_secs(3600),
            ..Options::default()
        };
        let (io, rows) = (SimIo::new(1), Box::new(SimRows::default()));
        let (store, _) = Store::open_with(Arc::new(io), rows, options, describe).unwrap();
        let log = store.log();
        assert_eq!(log.durability(), setting);
        assert_eq!(syncs_for(log, &[Os]), 0);
        assert_eq!(syncs_for(log, &[Os, Interval]), 0, "it was synced just now");
        let one = u64::from(setting == Fsync);
        assert_eq!(syncs_for(log, &[]), one);
        assert_eq!(syncs_for(log, &[Interval, Fsync, Os]), one + 1);
        assert_eq!(syncs_for(log, &[Os]), one + 1);
    }
}

#[test]
fn what_is_written_is_synced_at_its_interval() {
    let options = Options {
        sync_interval: Duration::from_millis(20),
        ..Options::default()
    };
    let (io, rows) = (SimIo::new(1), Box::new(SimRows::default()));
    let (store, _) = Store::open_with(Arc::new(io), rows, options, describe).unwrap();
    let log = store.log();
    let before = syncs_for(log, &[Durability::Interval]);
    let syncs = || log.figures().syncs.iter().sum::<u64>();
    until("it is synced though nothing follows", || {
        syncs() > before || before > 0
    });
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(syncs(), 1, "once is enough");
}

#[test]
fn a_batch_larger_than_a_segment_has_one_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes: 1 << 10,
        ..Options::default()
    };
    let (store, _) = Store::open(directory.path(), options.clone(), describe).unwrap();
    for bytes in [10, 100_000, 10, 1_000_000, 10] {
        let mut batch = store.log().batch();
        batch.publish(0, &[Q], &[&vec![1; bytes]]);
        let _ = store.log().append(batch).unwrap();
    }
    drop(store);
    let (store, recovered) = Store::open(directory.path(), options, describe).unwrap();
    let lengths: Vec<_> = take(recovered, store.log(), |_| true)
        .iter()
        .map(|message| message.3.len())
        .collect();
    assert_eq!(lengths, [10, 100_000, 10, 1_000_000, 10]);
}

#[test]
fn a_failing_disk_wakes_everyone() {
    let io = SimIo::new(1);
    let rows = Box::new(SimRows::default());
    let (store, _) =
        Store::open_with(Arc::new(io.clone()), rows, Options::default(), describe).unwrap();
    io.fail_after(0, Fault::Error);
    let mut batch = store.log().batch();
    batch.publish(0, &[Q], &[b"no space"]);
    let appended = store.log().append(batch).unwrap();
    let bell = Arc::new(Bell::default());
    store
        .log()
        .notify_when_durable(appended.end(), bell.clone());
    bell.wait_for(1);
    assert!(store.log().durable() < appended.end());
    assert!(
        store
            .log()
            .failure()
            .unwrap()
            .to_string()
            .contains("cannot write 00000001.wal")
    );
    store
        .log()
        .notify_when_durable(LogPos(u64::MAX), bell.clone());
    bell.wait_for(2);
    assert!(store.close(Vec::new()).is_err());
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on() {
    let io = SimIo::new(1);
    let options = Options {
        full_retry_every: Duration::from_millis(1),
        ..Options::default()
    };
    let rows = Box::new(SimRows::default());
    let (store, _) = Store::open_with(Arc::new(io.clone()), rows, options, describe).unwrap();
    let log = store.log();
    io.fail_after(0, Fault::Full);
    let mut batch = log.batch();
    let octets = message(1, b"waits");
    let record = batch.publish(0, &[Q], &[&octets]);
    let appended = log.append(batch).unwrap();
    let bell = Arc::new(Bell::default());
    log.notify_when_durable(appended.end(), bell.clone());
    bell.wait_for(1);
    assert!(log.failure().is_none() && !log.is_full());
    assert!(log.durable() >= appended.end());
    let mut found = None;
    log.reader()
        .messages(&[appended.position(record)], &mut |_, read| {
            found = Some(read.unwrap())
        });
    assert_eq!(found.unwrap(), octets);
}

#[test]
fn a_disk_that_stays_full_does_not_hold_up_the_end() {
    let io = SimIo::new(1);
    let rows = Box::new(SimRows::default());
    let (store, _) =
        Store::open_with(Arc::new(io.clone()), rows, Options::default(), describe).unwrap();
    let log = store.log();
    io.fill();
    let mut batch = log.batch();
    batch.publish(0, &[Q], &[&message(1, b"no space")]);
    let appended = log.append(batch).unwrap();
    until("the log says so", || log.is_full());
    assert!(log.failure().is_none());
    assert!(log.durable() < appended.end());
    assert!(store.close(Vec::new()).is_err(), "it was never written");
}

#[test]
fn a_stop_on_a_full_disk_does_not_wait_for_a_checkpoint_under_way() {
    let io = SimIo::new(1);
    let rows = Box::new(SimRows::default());
    let options = Options {
        full_retry_every: Duration::from_millis(1),
        ..Options::default()
    };
    let (store, _) = Store::open_with(Arc::new(io.clone()), rows, options, describe).unwrap();
    let log = store.log();
    io.fill();
    let mut batch = log.batch();
    batch.publish(0, &[Q], &[&message(1, b"no space")]);
    let _ = log.append(batch).unwrap();
    until("the log says so", || log.is_full() && log.is_out_of_room());
    let checkpoints = std::thread::spawn({
        let log = log.clone();
        move || log.begin_checkpoint().finish()
    });
    std::thread::sleep(Duration::from_millis(20));
    assert!(!checkpoints.is_finished(), "it waits");
    log.end_checkpoints();
    until("it ends", || checkpoints.is_finished());
    assert!(checkpoints.join().unwrap().is_err());
    assert!(store.close(Vec::new()).is_err(), "it was never written");
}

/// A log on a small disk, without zeros ahead in the way of counting.
fn small_disk(options: Options) -> (SimIo, Store) {
    let io = SimIo::new(1);
    let rows = Box::new(SimRows::default());
    let (store, _) = Store::open_with(Arc::new(io.clone()), rows, options, describe).unwrap();
    (io, store)
}

/// Publishes a message of so many octets. Where it is, and where it ends.
fn publish(log: &Log, octets: usize) -> (LogPos, LogPos) {
    let mut batch = log.batch();
    let record = batch.publish(0, &[Q], &[&message(1, &vec![7; octets])]);
    let appended = log.append(batch).unwrap();
    (appended.position(record), appended.end())
}

#[test]
fn what_fills_the_disk_can_be_purged_from_within() {
    const KIB: usize = 1 << 10;
    let (io, store) = small_disk(Options {
        segment_bytes: 256 << 10,
        pending_limit_bytes: 256 << 10,
        reserve_bytes: 600 << 10,
        full_retry_every: Duration::from_millis(1),
        ..Options::default()
    });
    let log = store.log();
    let bell = Arc::new(Bell::default());
    log.notify_when_short(bell.clone());
    log.room_measured(u64::MAX, 0, false);
    assert!(io.files().contains_key("reserve"));
    io.limit(2000 * KIB);
    // No limit: nothing stops the publisher before the disk is full.
    let mut held = Vec::new();
    while !log.is_out_of_room() {
        let (position, end) = publish(log, 100 * KIB);
        held.push(position);
        until("it is written, or cannot be", || {
            log.durable() >= end || log.is_full()
        });
    }
    bell.wait_for(1);
    assert!(!io.files().contains_key("reserve"));
    // What was on its way still comes, and is confirmed.
    held.extend((0..3).map(|_| publish(log, 80 * KIB).0));
    log.sync().unwrap();
    assert!(!log.is_full() && log.is_out_of_room());
    // The alarm is up.
    log.room_measured(0, 0, true);
    let mut purge = log.batch();
    purge.ack(Q, held.iter().copied());
    drop(log.append(purge).unwrap());
    log.release_all(held);
    log.room_measured(0, 0, true);
    log.begin_checkpoint().finish().unwrap();
    let left = io.used_bytes();
    assert!(left < 300 * KIB, "{left}");
    log.room_measured((2000 * KIB - left) as u64, 0, true);
    assert!(!log.is_out_of_room(), "the reserve is there again");
    store.close(Vec::new()).unwrap();
}

#[test]
fn while_there_is_an_alarm_nothing_is_kept_that_nobody_needs() {
    let (io, store) = small_disk(Options {
        segment_bytes: 64 << 10,
        ..Options::default()
    });
    let log = store.log();
    let spares = |io: &SimIo| {
        let names: Vec<String> = io.files().into_keys().collect();
        names.iter().filter(|name| name.ends_with(".spare")).count()
    };
    let held: Vec<LogPos> = (0..23).map(|_| publish(log, 10 << 10).0).collect();
    log.sync().unwrap();
    log.release_all(held.iter().copied());
    log.begin_checkpoint().finish().unwrap();
    assert_eq!(spares(&io), 2);
    let active = log.durable().segment();
    log.room_measured(1, 2, true);
    assert_eq!(spares(&io), 0);
    log.begin_checkpoint().finish().unwrap();
    assert_eq!(spares(&io), 0);
    assert!(log.durable().segment() > active, "it was left");
    assert_eq!(log.totals(), (1, 0));
    let left = io.used_bytes();
    assert!(left < 1 << 10, "{left}");
    let (position, _) = publish(log, 40 << 10);
    log.sync().unwrap();
    let active = log.durable().segment();
    log.room_measured(1, 2, true);
    log.sync().unwrap();
    assert_eq!(log.durable().segment(), active, "it is held");
    log.release(position, 1);
    // The log that recovery meets has the ack of nothing in it.
    log.room_measured(1, 2, true);
    store.close(Vec::new()).unwrap();
    drop(store);
    let rows = Box::new(SimRows::default());
    let (store, recovered) =
        Store::open_with(Arc::new(io), rows, Options::default(), describe).unwrap();
    assert!(take(recovered, store.log(), |_| true).is_empty());
}

#[test]
fn a_measurement_is_asked_for_once_so_much_was_written_as_there_was_room() {
    let (_, store) = small_disk(Options::default());
    let log = store.log();
    let bell = Arc::new(Bell::default());
    log.notify_when_short(bell.clone());
    // Zeros count, too: they take room. The first write is followed by 1 MiB of them.
    log.room_measured(13 << 20, 10 << 20, false);
    publish(log, 100);
    log.sync().unwrap();
    assert_eq!(*bell.rung.lock(), 0);
    publish(log, 3 << 20);
    bell.wait_for(1);
    publish(log, 3 << 20);
    log.sync().unwrap();
    assert_eq!(*bell.rung.lock(), 1, "once a measurement");
}

#[test]
fn a_full_disk_holds_the_catalogue_up_and_does_not_stop_it() {
    let (io, rows) = (SimIo::new(1), SimRows::default());
    let options = Options {
        catalogue_flush_every: Duration::from_millis(1),
        full_retry_every: Duration::from_millis(1),
        segment_bytes: 1 << 10,
        ..Options::default()
    };
    let boxed = Box::new(rows.clone());
    let (store, _) = Store::open_with(Arc::new(io), boxed, options, describe).unwrap();
    rows.fill(5);
    let log = store.log();
    for n in 0..20 {
        let mut batch = log.batch();
        batch.put(Table::Queues, &[n], &[7; 200]);
        drop(log.append(batch).unwrap());
        log.sync().unwrap();
    }
    until("it was tried again", || !rows.is_full());
    assert!(store.failure().is_none());
    until("segments go", || {
        log.begin_checkpoint().finish().unwrap();
        log.totals().0 == 1
    });
    store.close(Vec::new()).unwrap();
}

#[test]
fn a_failing_catalogue_stops_alone() {
    let rows = SimRows::default();
    let options = Options {
        catalogue_flush_every: Duration::from_millis(1),
        ..Options::default()
    };
    let io = Arc::new(SimIo::new(1));
    let (store, _) = Store::open_with(
        io.clone(),
        Box::new(rows.clone()),
        options.clone(),
        describe,
    )
    .unwrap();
    rows.fail_flush();
    for n in 0..20 {
        let mut batch = store.log().batch();
        batch.put(Table::Queues, &[n], b"declared");
        let _ = store.log().append(batch).unwrap();
        store.log().sync().unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    until("the failure is reported", || store.failure().is_some());
    assert!(store.log().failure().is_none());
    let error = store.close(Vec::new()).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot flush the catalogue: simulated; restart the broker"
    );
    drop(store);
    rows.restart();
    let (_store, recovered) = Store::open_with(io, Box::new(rows), options, describe).unwrap();
    assert_eq!(
        recovered.rows[&Table::Queues].len(),
        20,
        "the log had them all"
    );
}

/// What a process test opens: it should have what only some directories have.
#[test]
fn the_fixture_of_format_2_has_pages_and_loose_messages() {
    let octets = std::fs::read("tests/data/format-2/log/checkpoint").unwrap();
    let checkpoint = crate::store::checkpoint_file::decode(&octets).unwrap();
    let lanes = || checkpoint.queues.iter().flat_map(|row| &row.state.lanes);
    assert!(lanes().any(|lane| !lane.pages.is_empty()));
    assert!(!checkpoint.clean);
    assert!(lanes().any(|lane| !lane.loose.is_empty()));
}
