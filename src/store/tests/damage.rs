//! Damage is refused, or cut where it cannot be told from a torn tail; it is never read as data.

use std::sync::Arc;

use crate::base::{LogPos, QueueId};
use crate::store::directory::{Parts, recover as recover_with};
use crate::store::format::{BATCH_MAGIC, BatchHeader};
use crate::store::io::Io;
use crate::store::shared::Group;
use crate::store::{LogError, Options, Rows, StoreError, Table};

use super::mirror::Mirror;
use super::model::{Held, Plan, Step, describe, message};
use super::sim::{Fault, SimIo};
use super::sim_rows::SimRows;

const Q: QueueId = QueueId(1);

fn recover(io: Arc<dyn Io>, rows: Box<dyn Rows>, options: Options) -> Result<Parts, StoreError> {
    recover_with(io, rows, options, describe, false)
}

/// Runs a log in which every batch is synced before the next one is written. Returns the states
/// after each batch, the first being the empty one.
fn write(io: &SimIo, rows: &SimRows, batches: usize, segment_bytes: u32) -> Vec<Held> {
    let options = Options {
        segment_bytes,
        ..Options::default()
    };
    let parts = recover(Arc::new(io.clone()), Box::new(rows.clone()), options).unwrap();
    let Parts {
        log, mut writer, ..
    } = parts;
    let mut states = vec![Held::default()];
    let mut positions = Vec::new();
    let mut group = Group::default();
    for n in 0..batches {
        let mut plan = Plan::new(&log);
        let octets = message(n as u64, format!("message {n}").as_bytes());
        plan.publish(n as u64, &[Q, QueueId(2)], octets);
        if n % 3 == 2 {
            let first = *states.last().unwrap().queues[&Q].keys().next().unwrap();
            plan.ack(Q, &[(positions[first as usize], first)]);
        }
        plan.put(Table::Queues, &[n as u8], b"row");
        let (batch, steps) = plan.split();
        let appended = log.append(batch).unwrap();
        let mut held = states.last().unwrap().clone();
        for (step, pos) in steps.place(&appended) {
            match &step {
                Step::Publish { .. } => positions.push(pos),
                Step::Ack { ids, .. } => {
                    let acked = ids.iter().map(|id| positions[*id as usize]);
                    log.release_all(acked);
                }
                _ => {}
            }
            held.apply(&step);
        }
        states.push(held);
        log.shared.take(&mut group, None);
        writer.turn(&mut group).unwrap();
        assert!(log.durable() >= appended.end());
    }
    // Without the zeros that were written ahead.
    group.closed = true;
    writer.turn(&mut group).unwrap();
    states
}

fn open(io: &SimIo, rows: &SimRows) -> Result<Held, StoreError> {
    let parts = recover(
        Arc::new(io.clone()),
        Box::new(rows.clone()),
        Options::default(),
    )?;
    let clean = parts.recovered.clean;
    Ok(Mirror::recovered(parts.recovered, clean).unwrap().1)
}

#[test]
fn a_flipped_bit_is_refused_or_costs_the_last_batch_at_most() {
    let (io, rows) = (SimIo::new(1), SimRows::default());
    let states = write(&io, &rows, 8, 1 << 20);
    let files = io.files();
    assert_eq!(files.len(), 1);
    let (name, content) = files.first_key_value().unwrap();
    let (last, before) = (&states[8], &states[7]);
    let (mut refused, mut cut) = (0, 0);
    for octet in 0..content.len() {
        for bit in 0..8 {
            let mut damaged = content.clone();
            damaged[octet] ^= 1 << bit;
            let (io, rows) = (SimIo::new(1), SimRows::default());
            io.put_file(name, damaged);
            match open(&io, &rows) {
                Err(StoreError::Corrupt { .. }) => {
                    assert_eq!(io.files().len(), 1, "a refused log is left alone");
                    refused += 1;
                }
                Err(other) => panic!("octet {octet} bit {bit}: {other}"),
                Ok(held) => {
                    assert_eq!(held.queues, before.queues, "octet {octet} bit {bit}");
                    assert_ne!(held.queues, last.queues);
                    cut += 1;
                }
            }
        }
    }
    assert!(
        refused > 4 * cut,
        "only the last of eight batches can be cut: {refused} and {cut}"
    );
}

#[test]
fn an_earlier_life_of_a_file_is_not_the_log() {
    let (earlier, later) = (SimIo::new(1), SimIo::new(2));
    write(&earlier, &SimRows::default(), 8, 1 << 20);
    let rows = SimRows::default();
    let states = write(&later, &rows, 3, 1 << 20);
    let (name, mut content) = earlier.files().pop_first().unwrap();
    let written = later.files()[&name].clone();
    assert!(written.len() < content.len());
    // The same batches at the same places in the same segment: only the nonce tells them apart.
    content[..written.len()].copy_from_slice(&written);
    let (io, rows) = (SimIo::new(1), SimRows::default());
    io.put_file(&name, content.clone());
    assert_eq!(open(&io, &rows).unwrap().queues, states[3].queues);
    assert_eq!(io.files()[&name], written, "what follows is cut");
    for octet in [40, written.len() / 2] {
        let mut damaged = content.clone();
        damaged[octet] ^= 1;
        let io = SimIo::new(1);
        io.put_file(&name, damaged);
        let found = open(&io, &SimRows::default());
        assert!(
            matches!(found, Err(StoreError::Corrupt { .. })),
            "{octet}: {found:?}"
        );
    }
    // A header of this life before records of the earlier one: a batch that was torn.
    let mut torn = content;
    let last = written.len() - 20;
    torn[last..written.len()].fill(0x5a);
    let io = SimIo::new(1);
    io.put_file(&name, torn);
    assert_eq!(
        open(&io, &SimRows::default()).unwrap().queues,
        states[2].queues
    );
}

#[test]
fn a_whole_record_in_the_wrong_place_is_no_record() {
    // What a recycled file can hold when only the header of a batch reached the disk: records of
    // before, each sound in itself. Here they change places within a batch.
    let (io, rows) = (SimIo::new(1), SimRows::default());
    let parts = recover(
        Arc::new(io.clone()),
        Box::new(rows.clone()),
        Options::default(),
    );
    let Parts {
        log, mut writer, ..
    } = parts.unwrap();
    let mut batch = log.batch();
    let first = batch.publish(1, &[Q], &[&message(1, b"first")]);
    let second = batch.publish(2, &[Q], &[&message(2, b"other")]);
    let appended = log.append(batch).unwrap();
    let (first, second, end) = (
        appended.position(first),
        appended.position(second),
        appended.end(),
    );
    let mut group = Group::default();
    log.shared.take(&mut group, None);
    writer.turn(&mut group).unwrap();
    let (name, content) = io.files().pop_first().unwrap();
    let at = |position: LogPos| position.offset() as usize;
    let (before, records) = content.split_at(at(first));
    let (a, b) = records[..at(end) - at(first)].split_at(at(second) - at(first));
    assert_eq!(a.len(), b.len());
    io.put_file(&name, [before, b, a].concat());
    assert!(open(&io, &rows).unwrap().queues.is_empty());
}

#[test]
fn a_message_cannot_pretend_to_be_the_log() {
    // Every place in the torn batch looks like the header of a batch that proves damage.
    let (io, rows) = (SimIo::new(1), SimRows::default());
    let parts = recover(
        Arc::new(io.clone()),
        Box::new(rows.clone()),
        Options::default(),
    );
    let Parts {
        log, mut writer, ..
    } = parts.unwrap();
    let start = log.durable().offset() + 32 + 9 + 1 + 8 + 1 + 1;
    let forged = (0..20).flat_map(|n| {
        let position = LogPos::new(1, start + 32 * n);
        let synced = LogPos(position.0 - 1);
        BatchHeader {
            payload_bytes: 9,
            position,
            synced,
            records_crc: 0,
        }
        .encode(0)
    });
    let mut batch = log.batch();
    batch.publish(1, &[Q], &[&forged.collect::<Vec<u8>>()]);
    let _ = log.append(batch).unwrap();
    let mut group = Group::default();
    log.shared.take(&mut group, None);
    writer.turn(&mut group).unwrap();
    let (name, mut content) = io.files().pop_first().unwrap();
    assert_eq!(content[start as usize..][..2], BATCH_MAGIC);
    content[40] ^= 1;
    io.put_file(&name, content);
    assert!(open(&io, &rows).unwrap().queues.is_empty());
}

#[test]
fn any_tail_may_be_missing() {
    let (io, rows) = (SimIo::new(1), SimRows::default());
    let states = write(&io, &rows, 5, 1 << 20);
    let files = io.files();
    let (name, content) = files.first_key_value().unwrap();
    for bytes in 0..content.len() {
        for zeros in [0, 100] {
            let mut torn = content[..bytes].to_vec();
            torn.resize(bytes + zeros, 0);
            let (io, rows) = (SimIo::new(1), SimRows::default());
            let has_header = torn.get(..32) == content.get(..32);
            io.put_file(name, torn);
            // The header was on disk before the file had a name. One that ends in a zero is whole with zeros behind it.
            if !has_header {
                let found = open(&io, &rows);
                assert!(matches!(found, Err(StoreError::Corrupt { offset: 0, .. })));
                continue;
            }
            let held = open(&io, &rows).unwrap();
            assert!(
                states.iter().any(|state| state.queues == held.queues),
                "{bytes}"
            );
            // What was cut stays cut, and the next start finds the same.
            assert_eq!(open(&io, &rows).unwrap().queues, held.queues, "{bytes}");
        }
    }
}

#[test]
fn an_earlier_segment_must_be_whole() {
    let (io, rows) = (SimIo::new(1), SimRows::default());
    write(&io, &rows, 20, 400);
    let files = io.files();
    assert!(files.len() > 3);
    let names: Vec<_> = files.keys().cloned().collect();
    // Behind its end are zeros.
    let end = files[&names[1]].iter().rposition(|octet| *octet != 0);
    for bytes in 0..=end.unwrap() {
        let (io, rows) = (SimIo::new(1), SimRows::default());
        files
            .iter()
            .for_each(|(name, content)| io.put_file(name, content.clone()));
        io.put_file(&names[1], files[&names[1]][..bytes].to_vec());
        let found = open(&io, &rows);
        assert!(
            matches!(&found, Err(StoreError::Corrupt { file, .. }) if *file == names[1]),
            "{bytes}: {found:?}"
        );
    }
    io.remove_file(&names[1]);
    assert!(matches!(open(&io, &rows), Err(StoreError::Missing { file, .. }) if file == names[1]));
}

#[test]
fn a_log_behind_its_catalogue_is_refused() {
    let (io, rows) = (SimIo::new(1), SimRows::default());
    write(&io, &rows, 3, 1 << 20);
    open(&io, &rows).unwrap();
    for name in io.files().keys() {
        io.remove_file(name);
    }
    assert!(matches!(open(&io, &rows), Err(StoreError::Missing { .. })));
}

#[test]
fn a_failed_sync_is_final() {
    let io = SimIo::new(1);
    let parts = recover(
        Arc::new(io.clone()),
        Box::new(SimRows::default()),
        Options::default(),
    );
    let Parts {
        log, mut writer, ..
    } = parts.unwrap();
    let mut batch = log.batch();
    batch.publish(0, &[Q], &[b"lost"]);
    let appended = log.append(batch).unwrap();
    let before = log.durable();
    // The write succeeds, the sync does not.
    io.fail_after(1, Fault::Error);
    let mut group = Group::default();
    log.shared.take(&mut group, None);
    let failure = writer.turn(&mut group).unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("cannot sync 00000001.wal at offset"),
        "{failure}"
    );
    log.shared.stop(failure);
    assert_eq!(log.durable(), before);
    assert!(log.durable() < appended.end());
    let mut batch = log.batch();
    batch.publish(0, &[Q], &[b"never"]);
    assert!(matches!(log.append(batch), Err(LogError::Failed(_))));
    assert!(matches!(log.sync(), Err(LogError::Failed(_))));
    assert!(
        log.has_room(),
        "who waits for room must come to see the failure"
    );
}

#[test]
fn positions_are_never_given_twice() {
    let (io, rows) = (SimIo::new(1), SimRows::default());
    let mut last = LogPos::NONE;
    for _ in 0..4 {
        let parts = recover(
            Arc::new(io.clone()),
            Box::new(rows.clone()),
            Options::default(),
        );
        let log = parts.unwrap().log;
        let mut batch = log.batch();
        let offset = batch.publish(0, &[Q], &[b"not written"]);
        let position = log.append(batch).unwrap().position(offset);
        assert!(position > last);
        last = position;
    }
}
