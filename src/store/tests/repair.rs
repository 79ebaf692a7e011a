//! What a repair saves: all that can be read, whatever is damaged, and a start finds no fault with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::base::index::QueueState;
use crate::base::{LogPos, QueueId};
use crate::store::catalogue::Rows;
use crate::store::checkpoint_file::FILE;
use crate::store::directory::{recover, resume};
use crate::store::format::{BatchHeader, FileHeader, nonce_of};
use crate::store::io::Io;
use crate::store::repair::{Examined, examine};
use crate::store::{Damage, Options, Recovered, Repair, Store, StoreError, Table, repair};

use super::model::{Held, Id, describe, id_of, message};
use super::schedules::{start, work};
use super::sim::{Random, SimIo};
use super::sim_rows::SimRows;

type Messages = BTreeMap<QueueId, BTreeMap<Id, Vec<u8>>>;

fn messages(held: &Held) -> Messages {
    let of_queue = |(queue, held): (&QueueId, &BTreeMap<Id, (u64, Vec<u8>)>)| {
        let plain = held.iter().map(|(id, (_, octets))| (*id, octets.clone()));
        (*queue, plain.collect())
    };
    held.queues.iter().map(of_queue).collect()
}

/// All that recovery hands over, read.
fn taken(recovered: Recovered) -> Messages {
    let log = recovered.log.clone();
    let mut reader = log.reader();
    let mut found = Messages::new();
    recovered.restore(
        |_| Some(2),
        |state: QueueState| {
            let queue = found.entry(state.queue).or_default();
            let mut positions = Vec::new();
            for lane in &state.lanes {
                positions.extend(lane.loose.iter().map(|(_, entry)| entry.pos));
                for page in &lane.pages {
                    let entries = reader.page(page.pos).unwrap().into_iter().enumerate();
                    let left = entries.filter(|(place, _)| !page.removed.contains(*place));
                    positions.extend(left.map(|(_, entry)| entry.pos));
                }
            }
            reader.messages(&positions, &mut |_, octets| {
                let octets = octets.unwrap().to_vec();
                queue.insert(id_of(&octets).unwrap(), octets);
            });
        },
    );
    found
}

/// How many of `before` are not in `after`.
fn missing(before: &Messages, after: &Messages) -> u64 {
    let none = BTreeMap::new();
    let of_queue = |(queue, held): (&QueueId, &BTreeMap<Id, Vec<u8>>)| {
        let after = after.get(queue).unwrap_or(&none);
        held.iter()
            .filter(|(id, octets)| after.get(*id) != Some(octets))
            .count() as u64
    };
    before.iter().map(of_queue).sum()
}

fn strictly(io: &SimIo, rows: &SimRows) -> Result<Messages, StoreError> {
    let (io, rows) = (Arc::new(io.clone()), Box::new(rows.clone()));
    let parts = recover(io, rows, Options::default(), describe, false)?;
    Ok(taken(parts.recovered))
}

fn is_refused(io: &SimIo, rows: &SimRows) -> bool {
    let (io, rows) = (Arc::new(io.clone()), Box::new(rows.clone()));
    recover(io, rows, Options::default(), describe, false).is_err()
}

/// What a repair finds, and what stands behind it.
fn repaired(io: &SimIo, rows: &SimRows) -> (Vec<Damage>, u64, Messages) {
    let shared: Arc<dyn Io> = Arc::new(io.clone());
    let before = io.files();
    let look = || examine(&shared, rows.applied(), describe, false, &mut |_| {}).unwrap();
    let Examined {
        found,
        damage,
        lost,
    } = look();
    assert_eq!(io.files(), before, "to look changes nothing");
    let rows_again = Box::new(rows.clone());
    drop(resume(shared.clone(), rows_again, Options::default(), found, true).unwrap());
    let again = look();
    assert_eq!((again.damage, again.lost), (Vec::new(), BTreeMap::new()));
    let kept = strictly(io, rows).unwrap();
    let lost = lost.values().map(|loss| loss.lost).sum();
    (damage, lost, kept)
}

/// Its disk, the catalogue, what the queues hold, and all that was ever published.
type Written = (SimIo, SimRows, Messages, BTreeSet<(QueueId, Id)>);

/// Logs, checkpoints, pages and copies as chance has it.
fn some_log(seed: u64) -> Written {
    let mut random = Random(seed);
    let (io, rows) = (SimIo::new(random.next()), SimRows::default());
    let mut ever = BTreeSet::new();
    let mut now = Held::default();
    for life in 0..2 {
        let (mut machine, mut catalogue, _) = start(&io, &rows, &mut random).unwrap();
        machine.start_numbers(life);
        for _ in 0..3 {
            assert!(work(&mut machine, &mut catalogue, &mut random));
        }
        machine.arrive();
        assert!(machine.turn());
        catalogue.keep(random.one_in(2));
        for held in machine.history.allowed(LogPos::NONE) {
            for (queue, held) in &held.queues {
                ever.extend(held.keys().map(|id| (*queue, *id)));
            }
        }
        now = machine.history.now.clone();
        drop(machine);
        io.restart(false);
        rows.restart();
    }
    (io, rows, messages(&now), ever)
}

/// A disk with the same files.
fn copy(io: &SimIo, seed: u64) -> SimIo {
    let copy = SimIo::new(seed);
    for (name, octets) in io.files() {
        copy.put_file(&name, octets);
    }
    copy
}

/// Some logs, each several times.
fn logs(count: u64) -> impl Iterator<Item = (u64, Written)> {
    const TIMES: u64 = 8;
    (0..count / TIMES).flat_map(|log| {
        let (io, rows, before, ever) = some_log(log);
        (0..TIMES).map(move |time| {
            let seed = log * TIMES + time;
            (
                seed,
                (copy(&io, seed), rows.copy(), before.clone(), ever.clone()),
            )
        })
    })
}

#[test]
fn a_sound_log_has_no_damage() {
    for (seed, (io, rows, before, _)) in logs(160).step_by(8) {
        let (damage, lost, kept) = repaired(&io, &rows);
        assert_eq!((damage, lost), (Vec::new(), 0), "seed {seed}");
        assert_eq!(missing(&before, &kept), 0, "seed {seed}");
        assert_eq!(missing(&kept, &before), 0, "seed {seed}");
    }
}

/// One bit of one segment, anywhere: at most what stands in the batch it hits is lost, and it is said.
#[test]
fn a_flipped_bit_costs_what_it_hits() {
    let (mut refused, mut unharmed) = (0, 0);
    for (seed, (io, rows, before, ever)) in logs(160) {
        let mut random = Random(seed);
        let mut files = io.files();
        files.retain(|name, _| name.ends_with(".wal"));
        let at = random.below(files.len() as u64) as usize;
        let (name, mut octets) = files.into_iter().nth(at).unwrap();
        let octet = match random.one_in(3) {
            true => random.below(32) as usize,
            false => random.below(octets.len() as u64) as usize,
        };
        octets[octet] ^= 1 << random.below(8);
        io.put_file(&name, octets);
        // A start that goes well changes the files.
        let is_refused = is_refused(&copy(&io, seed), &rows);
        refused += u64::from(is_refused);
        let (damage, lost, kept) = repaired(&io, &rows);
        let said = format!("seed {seed}, octet {octet} of {name}: {damage:?}, {lost} lost");
        assert!(!is_refused || !damage.is_empty(), "{said}");
        let gone = missing(&before, &kept);
        unharmed += u64::from(is_refused && gone == 0);
        let cut = damage.iter().any(|found| found.end.is_some());
        assert!(
            gone <= lost || cut || damage.is_empty(),
            "{gone} gone; {said}"
        );
        assert!(gone <= 16, "{gone} gone; {said}");
        for (queue, held) in &kept {
            assert!(
                held.keys().all(|id| ever.contains(&(*queue, *id))),
                "{said}"
            );
        }
    }
    assert!(refused > 20, "{refused}");
    assert!(unharmed > refused / 3, "{unharmed} of {refused}");
}

/// A file is missing, short, or was written over.
#[test]
fn whole_files_may_be_lost() {
    let mut refused = 0;
    for (seed, (io, rows, before, ever)) in logs(160) {
        let mut random = Random(seed);
        let files = io.files();
        let at = random.below(files.len() as u64) as usize;
        let (name, octets) = files.iter().nth(at).unwrap();
        if !name.ends_with(".wal") && name != FILE {
            continue;
        }
        match random.below(3) {
            0 => io.remove_file(name),
            1 => {
                let left = random.below(octets.len() as u64) as usize;
                io.put_file(name, octets[..left].to_vec());
            }
            _ => {
                let mut octets = octets.clone();
                let from = random.below(octets.len() as u64) as usize;
                let to = (from + 1 + random.below(200) as usize).min(octets.len());
                octets[from..to].fill(0x5a);
                io.put_file(name, octets);
            }
        }
        let is_refused = is_refused(&copy(&io, seed), &rows);
        refused += u64::from(is_refused);
        let (damage, _, kept) = repaired(&io, &rows);
        assert!(!is_refused || !damage.is_empty(), "seed {seed}: {name}");
        for (queue, held) in &kept {
            let known = held.keys().all(|id| ever.contains(&(*queue, *id)));
            assert!(known, "seed {seed}: {name}, {damage:?}");
        }
        if name == FILE {
            // All messages are in the log still; the checkpoint said which are gone.
            let gone = missing(&before, &kept);
            assert_eq!(gone, 0, "seed {seed}: {damage:?}");
        }
    }
    assert!(refused > 40, "{refused}");
}

#[test]
fn a_page_that_cannot_be_read_is_made_anew() {
    let (mut pages, mut mended, mut unsaid) = (0, 0, 0);
    for (seed, (io, rows, before, _)) in logs(160) {
        let shared: Arc<dyn Io> = Arc::new(io.clone());
        let found = examine(&shared, rows.applied(), describe, false, &mut |_| {}).unwrap();
        let positions = found.found.queues.iter().flat_map(|queue| {
            queue.items.iter().filter_map(|(_, item)| match item {
                crate::store::unranked::Item::Page(_, page) => Some(page.pos),
                crate::store::unranked::Item::Loose(_) => None,
            })
        });
        let positions: Vec<LogPos> = positions.collect();
        let Some(pos) = positions.get(seed as usize % positions.len().max(1)) else {
            continue;
        };
        pages += 1;
        let name = crate::store::format::file_name(pos.segment());
        let mut octets = io.files()[&name].clone();
        octets[pos.offset() as usize + 20] ^= 4;
        io.put_file(&name, octets);
        let (damage, lost, kept) = repaired(&io, &rows);
        // Of what compaction has copied only the page knows whose it is.
        let gone = missing(&before, &kept);
        // The last batches are cut as a start would, if nothing shows that they had been synced. And one that
        // comes again may hide one that does not.
        unsaid += u64::from(gone > lost && !damage.is_empty());
        assert!(
            gone <= lost + 1 || damage.is_empty(),
            "seed {seed}: {gone} gone, {damage:?}, {lost} lost"
        );
        mended += u64::from(gone == 0);
    }
    assert!(pages > 50 && mended > pages / 2, "{mended} of {pages}");
    assert!(unsaid <= pages / 20, "{unsaid} of {pages}");
}

#[test]
fn a_nonce_is_told_by_a_header() {
    for nonce in [0, 1, 0xdead_beef, u32::MAX] {
        let header = BatchHeader {
            payload_bytes: 77,
            position: LogPos::new(3, 32),
            synced: LogPos::new(3, 32),
            records_crc: 0x1234_5678,
        };
        assert_eq!(nonce_of(&header.encode(nonce)), nonce);
    }
    let file = FileHeader {
        segment: 1,
        previous_end: 0,
        nonce: 7,
    };
    assert_eq!(nonce_of(&file.encode()), 0);
}

const Q: QueueId = QueueId(1);

/// A data directory of a store that was killed, with ten messages and three rows.
fn directory(path: &Path) {
    let (store, _) = Store::open(path, Options::default(), describe).unwrap();
    for id in 0..10 {
        let mut batch = store.log().batch();
        batch.publish(1, &[Q], &[&message(id, b"kept")]);
        if id % 4 == 0 {
            batch.put(Table::Queues, &[id as u8], b"row");
        }
        let _ = store.log().append(batch).unwrap();
        store.log().sync().unwrap();
    }
}

fn mend(path: &Path, apply: bool) -> Repair {
    repair(path, apply, describe, &|_, _| true, &mut |_| {}).unwrap()
}

fn opened(path: &Path) -> (Messages, usize) {
    let (_store, recovered) = Store::open(path, Options::default(), describe).unwrap();
    let rows = recovered.rows.get(&Table::Queues).map_or(0, Vec::len);
    (taken(recovered), rows)
}

fn refused(path: &Path) -> String {
    match Store::open(path, Options::default(), describe) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

fn flip(path: &Path, octet: usize) {
    let mut octets = std::fs::read(path).unwrap();
    octets[octet] ^= 1;
    std::fs::write(path, octets).unwrap();
}

#[test]
fn a_directory_is_mended_only_if_it_is_to_be() {
    let directory_ = tempfile::tempdir().unwrap();
    let path = directory_.path().join("data");
    directory(&path);
    assert!(mend(&path, true).damage.is_empty());
    assert!(!path.join("damaged").exists());
    let segment = path.join("log/00000001.wal");
    let octets = std::fs::read(&segment).unwrap();
    let third = octets
        .windows(12)
        .position(|w| w == message(3, b"kept"))
        .unwrap();
    flip(&segment, third);
    let fault = refused(&path);
    assert!(
        fault.contains("00000001.wal is damaged at offset"),
        "{fault}"
    );
    assert!(fault.contains("warren repair"), "{fault}");
    let damaged = std::fs::read(&segment).unwrap();
    let looked = mend(&path, false);
    assert_eq!(std::fs::read(&segment).unwrap(), damaged);
    assert_eq!(looked.damage.len(), 1, "{looked:?}");
    assert_eq!(looked.lost[&Q].lost, 1);
    assert_eq!((looked.lost[&Q].kept, looked.kept[&Q]), (9, 9));
    refused(&path);
    let done = mend(&path, true);
    assert_eq!((&done.damage, &done.lost), (&looked.damage, &looked.lost));
    assert_eq!(std::fs::read(&done.set_aside[0]).unwrap(), damaged);
    let (found, rows) = opened(&path);
    assert_eq!((found[&Q].len(), rows), (9, 3));
    assert!(!found[&Q].contains_key(&3));
    assert!(mend(&path, false).damage.is_empty());
    let (_store, _) = Store::open(&path, Options::default(), describe).unwrap();
    let held = repair(&path, true, describe, &|_, _| true, &mut |_| {});
    assert!(matches!(held, Err(StoreError::InUse { .. })));
}

#[test]
fn a_damaged_catalogue_is_read_from_the_database_or_row_by_row() {
    for without_database in [false, true] {
        let directory_ = tempfile::tempdir().unwrap();
        let path = directory_.path().join("data");
        directory(&path);
        // As after a kill.
        std::fs::remove_file(path.join("catalogue.clean")).unwrap();
        if without_database {
            std::fs::remove_dir_all(path.join("catalogue")).unwrap();
            std::fs::create_dir(path.join("catalogue")).unwrap();
            std::fs::write(path.join("catalogue/heap"), b"damaged").unwrap();
            std::fs::write(path.join("catalogue/metadata"), b"damaged").unwrap();
        }
        let file = path.join("catalogue.rows");
        let last = std::fs::metadata(&file).unwrap().len() as usize - 1;
        flip(&file, last);
        assert!(refused(&path).contains("catalogue.rows is damaged"));
        let done = mend(&path, true);
        assert!(
            done.damage
                .iter()
                .all(|found| found.file == "catalogue.rows")
        );
        assert!(!done.damage.is_empty());
        let (found, rows) = opened(&path);
        assert_eq!((found[&Q].len(), rows), (10, 3), "{without_database}");
        assert!(path.join("damaged/catalogue.rows.1").exists());
    }
}

#[test]
fn a_damaged_database_is_made_anew_from_the_rows() {
    let directory_ = tempfile::tempdir().unwrap();
    let path = directory_.path().join("data");
    directory(&path);
    for entry in std::fs::read_dir(path.join("catalogue")).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_file() {
            std::fs::write(entry, b"damaged").unwrap();
        }
    }
    let done = mend(&path, true);
    assert_eq!(done.damage[0].file, "catalogue");
    assert_eq!(opened(&path).1, 3);
}
