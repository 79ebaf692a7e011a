//! Queues in memory as a broker would have them: messages of which only the index entry is kept, and
//! pages.
//!
//! Owns their order. What it holds must always be what the model holds.

use std::collections::BTreeMap;

use crate::base::index::{IndexEntry, LaneState, PageState, QueueState};
use crate::base::{LogPos, QueueId};
use crate::store::{Log, Recovered, Table};

use super::model::{Held, Id, Step, describe, id_of, lane_of, ttl_of};

/// The highest priority: there are three.
pub(super) const MAX_PRIORITY: u8 = 2;

#[derive(Debug, Clone)]
pub(super) enum Place {
    Loose(u64, IndexEntry, Id),
    /// A page, and what is left in it.
    Page(PageState),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub(super) next_seq: u64,
    pub(super) places: Vec<Place>,
}

/// All queues.
#[derive(Debug, Clone, Default)]
pub(super) struct Mirror {
    pub(super) queues: BTreeMap<QueueId, [Lane; MAX_PRIORITY as usize + 1]>,
}

/// A message that is in no page.
pub(super) type Loose = (QueueId, IndexEntry, Id);

impl Mirror {
    /// What recovery found; checks it on the way: order, and that every message reads back.
    pub(super) fn recovered(recovered: Recovered, clean: bool) -> Result<(Mirror, Held), String> {
        let mut held = Held::default();
        for (table, rows) in &recovered.rows {
            for row in rows {
                let key: (Table, Vec<u8>) = (*table, row.key.clone());
                held.rows.insert(key, row.value.clone());
            }
        }
        let log = recovered.log.clone();
        let mut states = Vec::new();
        let restored = recovered.restore(|_| Some(MAX_PRIORITY), |state| states.push(state));
        let mut mirror = Mirror::default();
        let (mut messages, mut things) = (0, 0);
        for state in states {
            messages += state.len();
            for lane in &state.lanes {
                things += lane.pages.len() as u64;
                check_lane(lane, clean)?;
                let found = read_lane(&log, lane)?;
                let queue = held.queues.entry(state.queue).or_default();
                let mut last: BTreeMap<u64, Id> = BTreeMap::new();
                let ids: Vec<_> = found.iter().map(|(_, octets)| id_of(octets)).collect();
                for (entry, octets) in found {
                    let id = id_of(&octets).ok_or("a message too short")?;
                    check_entry(&entry, id, lane)?;
                    // Messages of one publisher are in order.
                    if last.insert(id >> 32, id).is_some_and(|before| before >= id) {
                        return Err(format!("{id} is out of order or twice: {ids:?} {lane:?}"));
                    }
                    queue.insert(id, (entry.stamped_ms, octets));
                }
            }
            mirror.enter(&log, state);
        }
        things += messages;
        if (restored.messages, log.totals().1) != (messages, things) {
            return Err(format!(
                "{things} counted as {restored:?} {:?}",
                log.totals()
            ));
        }
        Ok((mirror, held))
    }

    fn enter(&mut self, log: &Log, state: QueueState) {
        let lanes = self.queues.entry(state.queue).or_default();
        let mut reader = log.reader();
        for lane in state.lanes {
            let mut places: Vec<(u64, Place)> = Vec::new();
            for (seq, entry) in lane.loose {
                let mut id = 0;
                reader.messages(&[entry.pos], &mut |_, octets| {
                    id = id_of(&octets.unwrap()).unwrap()
                });
                places.push((seq, Place::Loose(seq, entry, id)));
            }
            let pages = lane.pages.into_iter();
            places.extend(pages.map(|page| (page.first_seq, Place::Page(page))));
            places.sort_unstable_by_key(|(seq, _)| *seq);
            lanes[usize::from(lane.priority)] = Lane {
                next_seq: lane.next_seq,
                places: places.into_iter().map(|(_, place)| place).collect(),
            };
        }
    }

    pub(super) fn snapshot(&self, queue: QueueId) -> QueueState {
        let mut state = QueueState {
            queue,
            lanes: Vec::new(),
        };
        for (priority, lane) in self.queues.get(&queue).into_iter().flatten().enumerate() {
            let mut found = LaneState {
                priority: priority as u8,
                next_seq: lane.next_seq,
                ..LaneState::default()
            };
            for place in &lane.places {
                match place {
                    Place::Loose(seq, entry, _) => found.loose.push((*seq, *entry)),
                    Place::Page(page) => found.pages.push(page.clone()),
                }
            }
            if !lane.places.is_empty() {
                state.lanes.push(found);
            }
        }
        state
    }

    /// What is in no page.
    pub(super) fn loose(&self) -> Vec<Loose> {
        let mut found = Vec::new();
        for (queue, lanes) in &self.queues {
            for place in lanes.iter().flat_map(|lane| &lane.places) {
                if let Place::Loose(_, entry, id) = place {
                    found.push((*queue, *entry, *id));
                }
            }
        }
        found
    }

    /// Applies a step of a batch just appended; what it takes away is loose. Releases that.
    pub(super) fn apply(&mut self, log: &Log, step: &Step, pos: LogPos) {
        match step {
            Step::Publish {
                queues,
                id,
                stamped_ms,
                octets,
            } => {
                for queue in queues {
                    let priority = lane_of(*id);
                    let lanes = self.queues.entry(*queue).or_default();
                    let lane = &mut lanes[usize::from(priority)];
                    let entry = IndexEntry {
                        pos,
                        stamped_ms: *stamped_ms,
                        ttl_ms: ttl_of(*id),
                        body_bytes: octets.len() as u32,
                        failed_deliveries: 0,
                        priority,
                        redelivered: false,
                    };
                    lane.places.push(Place::Loose(lane.next_seq, entry, *id));
                    lane.next_seq += 1;
                }
            }
            Step::Ack { queue, ids } => {
                for lane in self.queues.get_mut(queue).into_iter().flatten() {
                    lane.places.retain(|place| match place {
                        Place::Loose(_, entry, id) if ids.contains(id) => {
                            log.release(entry.pos, 1);
                            false
                        }
                        _ => true,
                    });
                }
            }
            Step::Put { .. } | Step::Delete { .. } => {}
        }
    }

    /// Everything releases what it holds.
    pub(super) fn release_all(&mut self, log: &Log) {
        for place in std::mem::take(&mut self.queues)
            .into_values()
            .flatten()
            .flat_map(|l| l.places)
        {
            match place {
                Place::Loose(_, entry, _) => log.release(entry.pos, 1),
                Place::Page(page) => release_page(log, &page),
            }
        }
    }
}

/// A page and all that is left in it.
pub(super) fn release_page(log: &Log, page: &PageState) {
    log.release(page.pos, 1);
    for (segment, live) in &page.segments {
        log.release_many(*segment, u64::from(*live));
    }
}

/// Numbers ascend and do not overlap; after a crash all may have been delivered.
fn check_lane(lane: &LaneState, clean: bool) -> Result<(), String> {
    let mut spans: Vec<(u64, u64)> = lane.loose.iter().map(|(seq, _)| (*seq, 1)).collect();
    spans.extend(
        lane.pages
            .iter()
            .map(|page| (page.first_seq, u64::from(page.len))),
    );
    spans.sort_unstable();
    let mut next = 0;
    for (first, len) in spans {
        if first < next {
            return Err(format!("numbers overlap at {first}: {lane:#?}"));
        }
        next = first + len;
    }
    if next > lane.next_seq {
        return Err(format!("the next number is taken: {lane:#?}"));
    }
    let told = lane.loose.iter().all(|(_, entry)| entry.redelivered)
        && lane.pages.iter().all(|page| page.redelivered);
    match clean || told {
        true => Ok(()),
        false => Err(format!("all may have been delivered: {lane:#?}")),
    }
}

fn check_entry(entry: &IndexEntry, id: Id, lane: &LaneState) -> Result<(), String> {
    let sound = entry.priority == lane.priority
        && lane_of(id) == lane.priority
        && entry.ttl_ms == ttl_of(id);
    match sound {
        true => Ok(()),
        false => Err(format!("{id} became {entry:?}")),
    }
}

/// All messages of a lane in order, with their octets.
fn read_lane(log: &Log, lane: &LaneState) -> Result<Vec<(IndexEntry, Vec<u8>)>, String> {
    let mut reader = log.reader();
    let mut entries: Vec<(u64, IndexEntry)> = lane.loose.clone();
    for page in &lane.pages {
        let found = reader.page(page.pos).map_err(|error| error.to_string())?;
        let left = found.into_iter().enumerate();
        let left: Vec<_> = left
            .filter(|(place, _)| !page.removed.contains(*place))
            .collect();
        let body_bytes: u64 = left
            .iter()
            .map(|(_, entry)| u64::from(entry.body_bytes))
            .sum();
        if (page.live() as usize, page.body_bytes) != (left.len(), body_bytes) {
            return Err(format!("{page:?} holds {left:?}"));
        }
        entries.extend(
            left.into_iter()
                .map(|(place, entry)| (page.first_seq + place as u64, entry)),
        );
    }
    entries.sort_unstable_by_key(|(seq, _)| *seq);
    let positions: Vec<LogPos> = entries.iter().map(|(_, entry)| entry.pos).collect();
    let mut messages = Vec::new();
    let mut fault = None;
    reader.messages(&positions, &mut |index, octets| match octets {
        Ok(octets) => messages.push((entries[index].1, octets.to_vec())),
        Err(error) => fault = Some(format!("{error}: {:?}", entries[index])),
    });
    let described = |(entry, octets): &(IndexEntry, Vec<u8>)| {
        describe(octets).is_some_and(|described| described.body_bytes == entry.body_bytes)
    };
    match fault {
        Some(fault) => Err(fault),
        None if messages.iter().all(described) => Ok(messages),
        None => Err(format!("sizes differ: {entries:?}")),
    }
}
