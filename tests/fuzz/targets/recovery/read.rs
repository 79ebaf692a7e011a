//! A start: what the store finds on a disk, all of it read.
//!
//! Owns the way from a queue's state to its messages in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use warren::base::LogPos;
use warren::base::index::{LaneState, PAGE_LEN};
use warren::store::{Log, Reader, Recovered, Store, StoreError};

use super::disk::{Disk, MemoryRows};
use super::{describe, message, options};

/// What a queue holds, lane by lane, in order.
pub type Held = BTreeMap<u64, Vec<u64>>;

/// What was found.
#[derive(Debug)]
pub struct Found {
    pub held: Held,
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Messages that the store counts.
    pub count: u64,
    /// Messages and pages that cannot be read back.
    pub faults: usize,
}

impl Found {
    pub fn messages(&self) -> impl Iterator<Item = (u64, u64)> {
        self.held
            .iter()
            .flat_map(|(queue, ids)| ids.iter().map(|id| (*queue, *id)))
    }
}

pub fn open(disk: &Disk) -> Result<(Store, Recovered), StoreError> {
    Store::open_with(
        Arc::new(disk.clone()),
        Box::new(MemoryRows::new(disk)),
        options(),
        describe,
    )
}

/// Starts, reads everything, and stops in order.
pub fn read(disk: &Disk) -> Result<Found, StoreError> {
    let (store, recovered) = open(disk)?;
    let mut found = Found {
        held: Held::new(),
        rows: recovered
            .rows
            .values()
            .flatten()
            .map(|row| (row.key.clone(), row.value.clone()))
            .collect(),
        count: 0,
        faults: 0,
    };
    let mut states = Vec::new();
    let restored = recovered.restore(|_| Some(2), |state| states.push(state));
    found.count = restored.messages;
    for state in &states {
        let queue = found.held.entry(state.queue.0).or_default();
        for lane in &state.lanes {
            read_lane(store.log(), lane, queue, &mut found.faults);
        }
        let different: BTreeSet<u64> = queue.iter().copied().collect();
        assert!(
            found.faults > 0 || different.len() == queue.len() || !are_ours(queue),
            "twice: {queue:?}"
        );
    }
    store.close(states)?;
    Ok(found)
}

/// Forged messages may have any number, and any number of times.
fn are_ours(ids: &[u64]) -> bool {
    ids.iter().all(|id| id >> 32 == 0x57A2)
}

fn read_lane(log: &Log, lane: &LaneState, ids: &mut Vec<u64>, faults: &mut usize) {
    let mut reader: Reader = log.reader();
    let mut places: Vec<(u64, LogPos)> = lane
        .loose
        .iter()
        .map(|(seq, entry)| (*seq, entry.pos))
        .collect();
    for page in &lane.pages {
        assert!(page.len as usize <= PAGE_LEN);
        match reader.page(page.pos) {
            Ok(entries) => {
                let left = entries
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| !page.removed.contains(*place));
                places
                    .extend(left.map(|(place, entry)| (page.first_seq + place as u64, entry.pos)));
            }
            Err(_) => *faults += 1,
        }
    }
    places.sort_unstable();
    let positions: Vec<LogPos> = places.into_iter().map(|(_, pos)| pos).collect();
    reader.messages(&positions, &mut |_, octets| match octets {
        Ok(octets) => match octets.first_chunk() {
            Some(id) => {
                let id = u64::from_le_bytes(*id);
                assert!(
                    !are_ours(&[id]) || octets[..] == message(id, (octets.len() - 8) as u8)[..]
                );
                ids.push(id);
            }
            None => *faults += 1,
        },
        Err(_) => *faults += 1,
    });
}
