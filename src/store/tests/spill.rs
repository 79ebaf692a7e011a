//! The spill over a disk that fails and fills up: whatever is held can be read at any time, and what is not held takes
//! no space.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sim::{Fault, Random, SimIo};
use crate::base::index::IndexEntry;
use crate::base::{LogPos, QueueId};
use crate::store::log::Log;
use crate::store::options::{Options, SPARSE_SPILL_SEGMENTS};
use crate::store::spill::{Active, Place, SUFFIX};

struct Bench {
    io: SimIo,
    log: Log,
    active: Active,
}

impl Bench {
    fn new(seed: u64, segment_bytes: u32) -> Self {
        let io = SimIo::new(seed);
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let log = Log::new(options, Arc::new(io.clone()), 1);
        log.shared.spill.begin(Arc::new(io.clone()));
        Bench {
            io,
            log,
            active: None,
        }
    }

    /// Spills messages that so many queues hold.
    fn spill(&self, messages: &[(Vec<u8>, u32)]) -> Vec<LogPos> {
        let mut batch = self.log.batch();
        let spill = |(message, queues): &(Vec<u8>, u32)| batch.spill(7, *queues, &[message]);
        let offsets: Vec<_> = messages.iter().map(spill).collect();
        let spilled = self.log.spill(batch).expect("the disk takes more");
        let positions = offsets.into_iter().map(|offset| spilled.position(offset));
        positions.collect()
    }

    fn turn(&mut self) -> bool {
        let (spill, mut used) = (&self.log.shared.spill, Vec::new());
        spill.turn(&mut self.active, &mut used).is_ok()
    }

    fn read(&self, positions: &[LogPos]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        self.log
            .reader()
            .messages(positions, &mut |index, message| {
                assert_eq!(index, found.len());
                found.push(message.expect("it is held").to_vec());
            });
        found
    }

    fn files(&self) -> usize {
        let names = self.io.files();
        names.keys().filter(|name| name.ends_with(SUFFIX)).count()
    }
}

fn index(pos: LogPos) -> IndexEntry {
    IndexEntry {
        pos,
        stamped_ms: 7,
        ttl_ms: None,
        body_bytes: 3,
        failed_deliveries: 0,
        priority: 0,
        redelivered: true,
    }
}

#[test]
fn what_is_held_can_be_read_whatever_the_disk_does() {
    let (mut failed, mut emptied) = (0, 0);
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut bench = Bench::new(seed, 300 + random.below(3000) as u32);
        let mut held: BTreeMap<LogPos, (Vec<u8>, u32)> = BTreeMap::new();
        let mut pages: Vec<(LogPos, Vec<IndexEntry>)> = Vec::new();
        for _ in 0..150 {
            match random.below(10) {
                0..4 => {
                    let messages: Vec<_> = (0..1 + random.below(6))
                        .map(|_| {
                            let octets = (0..random.below(300)).map(|_| random.next() as u8);
                            (octets.collect::<Vec<u8>>(), 1 + random.below(3) as u32)
                        })
                        .collect();
                    held.extend(bench.spill(&messages).into_iter().zip(messages));
                }
                4 if !held.is_empty() => {
                    let entries: Vec<_> = held.keys().copied().map(index).collect();
                    let mut batch = bench.log.batch();
                    let record = batch.page(QueueId(3), 0, LogPos::NONE, &entries);
                    let page = bench.log.spill(batch).unwrap().position(record);
                    pages.push((page, entries));
                }
                5 => {
                    let fault = [Fault::Error, Fault::Full][random.below(2) as usize];
                    bench.io.fail_after(random.below(4), fault);
                }
                6..8 => failed += usize::from(!bench.turn()),
                _ => {
                    let few = random.below(4) == 0;
                    held.retain(|pos, (_, queues)| {
                        if random.below(if few { 8 } else { 2 }) == 0 {
                            bench.log.release(*pos, 1);
                            *queues -= 1;
                        }
                        *queues > 0
                    });
                    pages.retain(|(pos, _)| {
                        let stays = random.one_in(2);
                        if !stays {
                            bench.log.release(*pos, 1);
                        }
                        stays
                    });
                }
            }
            let positions: Vec<LogPos> = held.keys().copied().collect();
            let wanted: Vec<_> = held.values().map(|(message, _)| message.clone()).collect();
            assert_eq!(bench.read(&positions), wanted, "seed {seed}");
            for (pos, entries) in &pages {
                assert_eq!(bench.log.reader().page(*pos).unwrap(), *entries);
            }
            let live: u64 = held.values().map(|(_, queues)| u64::from(*queues)).sum();
            bench.log.shared.spill.check_sums();
            let figures = bench.log.figures();
            assert_eq!(figures.spill_live, live + pages.len() as u64, "seed {seed}");
        }
        for (pos, (_, queues)) in held {
            bench.log.release(pos, queues);
        }
        for (pos, _) in pages {
            bench.log.release(pos, 1);
        }
        while !bench.turn() {}
        // What could not be deleted is tried again.
        bench.turn();
        assert!(bench.files() <= 1, "seed {seed}: the one that is written");
        emptied += usize::from(bench.files() == 0);
    }
    eprintln!("{failed} writes failed, {emptied} ended without a file");
    assert!(failed > 100);
}

#[test]
fn it_takes_nothing_while_the_disk_does_not_and_keeps_nobody_waiting() {
    let io = SimIo::new(1);
    let options = Options {
        full_retry_every: std::time::Duration::from_millis(1),
        pending_limit_bytes: 1000,
        ..Options::default()
    };
    let log = Log::new(options, Arc::new(io.clone()), 1);
    let spill = |octets: usize| {
        let mut batch = log.batch();
        let record = batch.spill(7, 1, &[&vec![b'x'; octets]]);
        log.spill(batch).map(|spilled| spilled.position(record))
    };
    assert_eq!(spill(10), None, "there is no disk yet");
    io.fill();
    log.start_spill(Arc::new(io.clone())).unwrap();
    let taken = spill(5000).unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while spill(1).is_some() {
        assert!(std::time::Instant::now() < until);
    }
    assert!(log.has_room(), "who publishes goes on");
    let mut lens = Vec::new();
    let positions = [taken];
    let mut see = |_, message: Result<bytes::Bytes, _>| lens.push(message.unwrap().len());
    log.reader().messages(&positions, &mut see);
    assert_eq!(lens, [5000], "what it took is there");
    // There is space again.
    io.restart(false);
    while spill(1).is_none() {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    while log.shared.spill.waiting_bytes() > 0 {
        assert!(std::time::Instant::now() < until);
        std::thread::yield_now();
    }
    assert!(io.files().keys().any(|name| name.ends_with(SUFFIX)));
    log.shared.spill.close();
    let thread = log.shared.spiller.lock().take();
    thread.unwrap().join().unwrap();
    assert_eq!(spill(10), None, "it is closed");
    assert!(!io.files().keys().any(|name| name.ends_with(SUFFIX)));
}

#[test]
fn segments_are_sparse_once_enough_lies_idle() {
    let bench = Bench::new(1, 1000);
    let mut old = Vec::new();
    for _ in 0..SPARSE_SPILL_SEGMENTS * 3 {
        let positions = bench.spill(&[(vec![1; 300], 1), (vec![2; 300], 1), (vec![3; 300], 1)]);
        bench.log.release_all(positions[1..].iter().copied());
        old.push(positions[0]);
    }
    let sparse = bench.log.sparse_segments();
    assert!(sparse.len() >= 2 * SPARSE_SPILL_SEGMENTS as usize);
    let copies = bench.log.copy_forward(&old).unwrap();
    let pairs: Vec<_> = old
        .iter()
        .map(|pos| (*pos, copies.of(*pos).unwrap()))
        .collect();
    copies.referred(&pairs);
    drop(copies);
    let moved: Vec<LogPos> = pairs.iter().map(|(_, new)| *new).collect();
    assert_eq!(bench.read(&moved), vec![vec![1; 300]; old.len()]);
    assert!(bench.log.sparse_segments().is_empty());
    assert_eq!(bench.log.figures().spill_live, old.len() as u64);
    bench.log.release_all(moved);
    assert_eq!(bench.log.figures().spill_live, 0);
}

#[test]
fn copies_that_are_all_held_are_not_copied_again() {
    let bench = Bench::new(1, 1000);
    let mut old = Vec::new();
    for _ in 0..SPARSE_SPILL_SEGMENTS * 10 {
        let positions = bench.spill(&[(vec![1; 300], 1), (vec![2; 300], 1), (vec![3; 300], 1)]);
        bench.log.release_all(positions[1..].iter().copied());
        old.push(positions[0]);
    }
    let mut moved = Vec::new();
    for old in old.chunks(2) {
        let copies = bench.log.copy_forward(old).unwrap();
        let pairs: Vec<_> = old
            .iter()
            .map(|pos| (*pos, copies.of(*pos).unwrap()))
            .collect();
        copies.referred(&pairs);
        moved.extend(pairs.iter().map(|(_, new)| *new));
    }
    let figures = bench.log.figures();
    assert!(figures.spill_segments >= SPARSE_SPILL_SEGMENTS * 5);
    assert_eq!(figures.spill_live, moved.len() as u64);
    assert_eq!(bench.log.shared.spill.idle_bytes(), 0);
    assert_eq!(bench.log.sparse_segments(), []);
    bench.log.release_all(moved);
    assert_eq!(bench.log.figures().spill_live, 0);
}

#[test]
fn much_that_lies_idle_is_noticed_however_it_came_to_that() {
    const SEGMENTS: usize = 7;
    let bench = Bench::new(1, 6000);
    let spill = &bench.log.shared.spill;
    let limit = SPARSE_SPILL_SEGMENTS * 6000;
    let mut held: Vec<Vec<LogPos>> = (0..=SEGMENTS)
        .map(|_| bench.spill(&vec![(vec![1; 250], 1); 20]))
        .collect();
    let mut let_go = |segment: usize, count: usize| {
        let gone: Vec<LogPos> = held[segment].drain(..count).collect();
        let gone = gone.into_iter();
        let mut told = gone.map(|pos| spill.release(pos.segment(), 1, limit));
        told.any(|told| told)
    };
    for segment in 0..SEGMENTS {
        assert!(!let_go(segment, 10), "3.5 segments lie idle");
    }
    assert!((0..SEGMENTS).any(|segment| let_go(segment, 8)));
    assert!(!bench.log.sparse_segments().is_empty());
}

#[test]
fn a_purge_just_before_the_end_leaves_no_file() {
    let io = SimIo::new(1);
    let options = Options {
        segment_bytes: 1000,
        ..Options::default()
    };
    for _ in 0..50 {
        let log = Log::new(options.clone(), Arc::new(io.clone()), 1);
        log.start_spill(Arc::new(io.clone())).unwrap();
        let mut positions = Vec::new();
        for _ in 0..5 {
            let mut batch = log.batch();
            let record = batch.spill(7, 1, &[&[b'x'; 500]]);
            positions.push(log.spill(batch).unwrap().position(record));
        }
        while log.shared.spill.waiting_bytes() > 0 {
            std::thread::yield_now();
        }
        let last = positions.pop().unwrap();
        log.release_all(positions);
        log.shared.spill.close();
        let thread = log.shared.spiller.lock().take();
        thread.unwrap().join().unwrap();
        assert!(!io.files().keys().any(|name| name.ends_with(SUFFIX)));
        log.release(last, 1);
    }
}

#[test]
fn what_is_gone_is_no_damage_and_what_waits_is_read_in_pieces() {
    let mut bench = Bench::new(1, 200_000);
    let (small, large) = (vec![1; 100], vec![2; 50_000]);
    let messages = [(small.clone(), 1), (large.clone(), 1), (small.clone(), 1)];
    let positions = bench.spill(&messages);
    let found = bench.read(&positions);
    assert_eq!(found, [small.clone(), large.clone(), small.clone()]);
    assert_eq!(bench.read(&positions[1..2]), [large]);
    match bench.log.shared.spill.find(positions[0], 4096) {
        Place::Memory(octets) => assert!(octets.len() < 200, "{}", octets.len()),
        _ => panic!("it is not written"),
    }
    // A part is in the file; the segment goes, and with it what was to be written.
    bench.turn();
    let rest = bench.spill(&[(small.clone(), 1)]);
    bench.spill(&[(vec![3; 199_000], 1)]);
    bench
        .log
        .release_all(positions.iter().chain(&rest).copied());
    for pos in [positions[0], rest[0]] {
        let mut gone = false;
        let reader = bench.log.reader();
        { reader }.messages(&[pos], &mut |_, found| gone = found.unwrap_err().is_gone());
        assert!(gone, "{pos}");
    }
}
