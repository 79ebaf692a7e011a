//! Encoding and decoding agree, and decoding survives any octets.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::base::index::{IndexEntry, PAGE_LEN};
use crate::base::{LogPos, QueueId};
use crate::store::format::{
    BatchHeader, Cursor, FileHeader, file_name, put_delta, put_varint, segment_of, take_delta,
};
use crate::store::record::{Page, Record, decode};
use crate::store::scan::records;
use crate::store::{Batch, Table};

fn queue_ids(ids: &[u64]) -> Vec<QueueId> {
    ids.iter().copied().map(QueueId).collect()
}

/// Type and payload of the only record of a batch.
fn only(batch: &Batch) -> (u8, Vec<u8>) {
    let mut all = records(LogPos::new(1, 32), batch.payload());
    let (_, kind, body) = all.next().unwrap();
    assert!(all.next().is_none());
    (kind, body.to_vec())
}

proptest! {
    #[test]
    fn numbers(value: u64, previous: u64) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        put_delta(&mut out, previous, value);
        prop_assert!(out.len() <= 20);
        let mut cursor = Cursor(&out);
        prop_assert_eq!(cursor.varint(), Some(value));
        prop_assert_eq!(take_delta(&mut cursor, previous), Some(value));
        prop_assert!(cursor.0.is_empty());
    }

    #[test]
    fn headers(segment in 1_u32.., end: u32, payload_bytes in 1_u32.., synced: u64, crc: u32, nonce: u32) {
        let file = FileHeader { segment, previous_end: end, nonce };
        prop_assert_eq!(FileHeader::decode(&file.encode(), segment), Ok(file));
        prop_assert!(FileHeader::decode(&file.encode(), segment - 1).is_err());
        let position = LogPos::new(segment, end);
        let (synced, records_crc) = (LogPos(synced), crc);
        let batch = BatchHeader { payload_bytes, position, synced, records_crc };
        prop_assert_eq!(BatchHeader::decode(&batch.encode(nonce), position, nonce), Ok(batch));
        let sealed = batch.encode(nonce);
        prop_assert!(BatchHeader::decode(&sealed, LogPos(position.0 ^ 1), nonce).is_err());
        prop_assert!(BatchHeader::decode(&sealed, position, !nonce).is_err());
    }

    #[test]
    fn publishes(stamped: u64, ids in vec(any::<u64>(), 0..20), a: Vec<u8>, b: Vec<u8>) {
        let queues = queue_ids(&ids);
        let mut batch = Batch::new();
        batch.publish(stamped, &queues, &[&a, &b]);
        let (kind, body) = only(&batch);
        let Record::Publish(publish) = decode(kind, &body).unwrap() else { panic!() };
        prop_assert_eq!(publish.stamped_ms, stamped);
        prop_assert_eq!(publish.queue_ids().collect::<Vec<_>>(), queues.clone());
        prop_assert_eq!(publish.message, [a.clone(), b].concat());

        let mut batch = Batch::new();
        batch.move_to(QueueId(stamped), LogPos(7), stamped, &queues, &[&a]);
        let (kind, body) = only(&batch);
        let Record::Move { queue, position, publish } = decode(kind, &body).unwrap() else {
            panic!()
        };
        prop_assert_eq!((queue, position), (QueueId(stamped), LogPos(7)));
        prop_assert_eq!(publish.queue_ids().collect::<Vec<_>>(), queues);
        prop_assert_eq!(publish.message, a);
    }

    #[test]
    fn acks(id: u64, positions in vec(any::<u64>(), 1..50)) {
        let positions: Vec<_> = positions.into_iter().map(LogPos).collect();
        let mut batch = Batch::new();
        batch.ack(QueueId(id), positions.iter().copied());
        let (kind, body) = only(&batch);
        let Record::Ack { queue, positions: found } = decode(kind, &body).unwrap() else {
            panic!()
        };
        prop_assert_eq!(queue, QueueId(id));
        prop_assert_eq!(found.positions().collect::<Vec<_>>(), positions);
    }

    #[test]
    fn rows(key: Vec<u8>, value in proptest::option::of(any::<Vec<u8>>())) {
        let mut batch = Batch::new();
        match &value {
            Some(value) => batch.put(Table::Queues, &key, value),
            None => batch.delete(Table::Queues, &key),
        }
        let (kind, body) = only(&batch);
        let Record::Catalogue { table, key: found, value: set } = decode(kind, &body).unwrap()
        else { panic!() };
        prop_assert_eq!(Table::from_number(table), Some(Table::Queues));
        prop_assert_eq!(found, key);
        prop_assert_eq!(set.map(<[u8]>::to_vec), value);
    }

    #[test]
    fn pages(
        id: u64,
        lane: u8,
        replaces: u64,
        seed: Vec<(u64, u64, Option<u64>, u32, u32, bool)>,
        plain: bool,
    ) {
        let entry = |&(pos, stamped_ms, ttl_ms, body_bytes, failed_deliveries, redelivered): &_| {
            let plain_entry = IndexEntry {
                pos: LogPos(pos),
                stamped_ms,
                ttl_ms: None,
                body_bytes,
                failed_deliveries: 0,
                priority: lane,
                redelivered: false,
            };
            let ttl_ms = Option::map(ttl_ms, |ttl_ms: u64| ttl_ms.min(u64::MAX - 1));
            match plain {
                true => plain_entry,
                false => IndexEntry { ttl_ms, failed_deliveries, redelivered, ..plain_entry },
            }
        };
        let entries: Vec<IndexEntry> = seed.iter().map(entry).collect();
        prop_assume!(!entries.is_empty());
        let (queue, replaces) = (QueueId(id), LogPos(replaces));
        let mut batch = Batch::new();
        batch.page(queue, lane, replaces, &entries);
        let (kind, body) = only(&batch);
        let Record::Page(page) = decode(kind, &body).unwrap() else { panic!() };
        prop_assert_eq!(page, Page { queue, lane, replaces, entries });
        for len in (0..body.len()).step_by(1 + body.len() / 20) {
            prop_assert!(decode(kind, &body[..len]).is_err());
        }
    }

    #[test]
    fn renames(id: u64, pairs in vec(any::<(u64, u64)>(), 1..50)) {
        let pairs: Vec<_> = pairs.into_iter().map(|(a, b)| (LogPos(a), LogPos(b))).collect();
        let mut batch = Batch::new();
        batch.rename(QueueId(id), &pairs);
        let (kind, body) = only(&batch);
        let Record::Rename { queue, positions } = decode(kind, &body).unwrap() else { panic!() };
        prop_assert_eq!(queue, QueueId(id));
        let flat: Vec<_> = pairs.iter().flat_map(|(old, new)| [*old, *new]).collect();
        prop_assert_eq!(positions.positions().collect::<Vec<_>>(), flat);
    }

    #[test]
    fn any_octets_are_refused_or_understood(kind in 0_u8..11, octets: Vec<u8>) {
        if let Ok(Record::Ack { positions, .. }) = decode(kind, &octets) {
            prop_assert!(positions.iter().count() <= octets.len());
        }
        let _ = records(LogPos::new(1, 32), &octets).count();
    }
}

#[test]
fn a_fan_out_costs_few_octets_a_queue() {
    let queues = queue_ids(&(1_000_000..1_001_000).collect::<Vec<_>>());
    let mut batch = Batch::new();
    batch.publish(0, &queues, &[b"body"]);
    assert!(batch.len() < 1100);
    let spread = queue_ids(
        &(1..1000)
            .map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .collect::<Vec<_>>(),
    );
    let mut batch = Batch::new();
    batch.publish(0, &spread, &[b"body"]);
    assert!(batch.len() < 10_200);
}

#[test]
fn a_page_costs_few_octets_a_message() {
    let entry = |n: u32| IndexEntry {
        pos: LogPos::new(7, 1000 + 260 * n),
        stamped_ms: 1_800_000_000_000 + u64::from(n / 100),
        ttl_ms: None,
        body_bytes: 200,
        failed_deliveries: 0,
        priority: 0,
        redelivered: false,
    };
    let entries: Vec<_> = (0..PAGE_LEN as u32).map(entry).collect();
    let mut batch = Batch::new();
    batch.page(QueueId(1_000_000), 0, LogPos::NONE, &entries);
    assert!(batch.len() < 4 * PAGE_LEN + 100, "{} octets", batch.len());
}

#[test]
fn no_positions_no_record() {
    let mut batch = Batch::new();
    batch.ack(QueueId(1), []);
    assert!(batch.is_empty());
}

#[test]
fn only_our_own_file_names_are_segments() {
    assert_eq!(segment_of(&file_name(7)), Some(7));
    assert_eq!(segment_of("00000007.wal"), Some(7));
    for other in [
        "7.wal",
        "+0000007.wal",
        "00000000.wal",
        "00000007.wal.old",
        "x",
    ] {
        assert_eq!(segment_of(other), None, "{other}");
    }
}
