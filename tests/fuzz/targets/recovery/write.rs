//! Writing a log as a broker does: messages, acks, pages, copies, checkpoints, and starts in between.
//!
//! Owns the naive model: for each queue and lane a list of numbers.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use warren::base::index::{IndexEntry, LaneState, PageState, QueueState};
use warren::base::{LogPos, QueueId};
use warren::store::{Log, Store, Table};

use super::disk::Disk;
use super::read::{Held, open};
use super::{describe, message};

#[derive(Debug, Arbitrary)]
pub enum Record {
    Publish {
        queues: u8,
        len: u8,
    },
    Ack {
        queue: u8,
        lane: u8,
        nth: u8,
    },
    /// To other queues, in one step.
    Move {
        queue: u8,
        lane: u8,
        nth: u8,
        queues: u8,
        len: u8,
    },
    Row {
        key: u8,
        value: u8,
    },
    DeleteRow(u8),
    Page {
        queue: u8,
        lane: u8,
        len: u8,
    },
    AckPage {
        queue: u8,
        lane: u8,
        nth: u8,
    },
    /// A copy of a message in no page, which is where it is from now on.
    Rename {
        queue: u8,
        lane: u8,
        nth: u8,
    },
    Checkpoint,
    /// A stop in order, and a start.
    Restart,
    /// A stop without a word, and a start.
    Crash,
}

const RECORDS_MAX: usize = 64;

/// What is on the disk at the end.
#[derive(Default)]
pub struct Written {
    pub held: Held,
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What was ever in a queue.
    pub ever: BTreeSet<(u64, u64)>,
}

/// A place of a lane: a message in no page, or a page with what is left in it.
#[derive(Debug, Clone)]
enum Place {
    Loose(IndexEntry, u64),
    Page(PageState, Vec<(usize, IndexEntry, u64)>),
}

type Lanes = [Vec<Place>; 3];

struct Broker {
    store: Store,
    queues: BTreeMap<u64, Lanes>,
    written: Written,
    last_id: u64,
}

/// Writes all of it and stops.
pub fn write(disk: &Disk, records: &[Record]) -> Written {
    let mut broker = Broker::start(disk, Written::default(), 0x57A2 << 32);
    for record in records.iter().take(RECORDS_MAX) {
        match record {
            Record::Restart | Record::Crash => {
                let last_id = broker.last_id;
                let written = broker.stop(matches!(record, Record::Restart));
                broker = Broker::start(disk, written, last_id);
            }
            record => broker.record(record),
        }
    }
    broker.stop(records.len().is_multiple_of(2))
}

impl Broker {
    /// Takes what is there, which is what was written.
    fn start(disk: &Disk, mut written: Written, last_id: u64) -> Broker {
        let (store, recovered) = open(disk).expect("it was written whole");
        let rows: BTreeMap<_, _> = recovered
            .rows
            .values()
            .flatten()
            .map(|row| (row.key.clone(), row.value.clone()))
            .collect();
        assert_eq!(rows, written.rows);
        let mut states = Vec::new();
        recovered.restore(|_| Some(2), |state| states.push(state));
        let queues: BTreeMap<u64, Lanes> = states
            .into_iter()
            .map(|state| (state.queue.0, lanes(store.log(), state)))
            .collect();
        let held = std::mem::take(&mut written.held);
        let mut broker = Broker {
            store,
            queues,
            written,
            last_id,
        };
        broker.sum_up();
        assert_eq!(broker.written.held, held, "after a restart");
        broker
    }

    fn stop(mut self, in_order: bool) -> Written {
        self.sum_up();
        let states: Vec<QueueState> = self.states().collect();
        match in_order {
            true => self.store.close(states).expect("nothing fails here"),
            // All that was appended is written; no checkpoint tells of it.
            false => drop(self.store),
        }
        self.written
    }

    fn sum_up(&mut self) {
        let held = self
            .queues
            .iter()
            .map(|(queue, lanes)| (*queue, ids(lanes)));
        self.written.held = held.filter(|(_, ids)| !ids.is_empty()).collect();
    }

    fn states(&self) -> impl Iterator<Item = QueueState> {
        self.queues
            .iter()
            .map(|(queue, lanes)| state(*queue, lanes))
    }

    fn log(&self) -> &Log {
        self.store.log()
    }

    fn lane(&mut self, queue: u8, lane: u8) -> (u64, &mut Vec<Place>) {
        let queue = u64::from(queue % 3) + 1;
        (
            queue,
            &mut self.queues.entry(queue).or_default()[usize::from(lane % 3)],
        )
    }

    /// The id, position and octets of a message of a lane that are to be moved, and takes it out.
    fn take(&mut self, queue: u8, lane: u8, nth: u8) -> Option<(u64, LogPos)> {
        let log = self.log().clone();
        let (queue, places) = self.lane(queue, lane);
        let at = usize::from(nth).checked_rem(places.len())?;
        let (pos, empty) = match &mut places[at] {
            Place::Loose(entry, _) => (entry.pos, None),
            Place::Page(page, left) => {
                let (place, entry, _) = left.remove(usize::from(nth) % left.len());
                page.remove(place, entry.pos, entry.body_bytes);
                (entry.pos, left.is_empty().then_some(page.pos))
            }
        };
        if matches!(places[at], Place::Loose(..)) {
            places.remove(at);
        } else if let Some(page) = empty {
            places.remove(at);
            log.release(page, 1);
        }
        Some((queue, pos))
    }

    fn publish_to(&mut self, queues: u8, id: u64, octets: &[u8], pos: LogPos) {
        let described = describe(octets).expect("a message");
        for queue in targets(queues) {
            let entry = IndexEntry {
                pos,
                stamped_ms: id,
                ttl_ms: described.ttl_ms,
                body_bytes: described.body_bytes,
                failed_deliveries: 0,
                priority: described.priority,
                redelivered: false,
            };
            let lanes = self.queues.entry(queue.0).or_default();
            lanes[usize::from(entry.priority)].push(Place::Loose(entry, id));
            self.written.ever.insert((queue.0, id));
        }
    }

    fn record(&mut self, record: &Record) {
        let log = self.log().clone();
        let mut batch = log.batch();
        match record {
            Record::Publish { queues, len } => {
                self.last_id += 1;
                let octets = message(self.last_id, *len);
                let to: Vec<_> = targets(*queues).collect();
                let at = batch.publish(self.last_id, &to, &[&octets]);
                let appended = log.append(batch).expect("room");
                self.publish_to(*queues, self.last_id, &octets, appended.position(at));
            }
            Record::Ack { queue, lane, nth } => {
                if let Some((queue, pos)) = self.take(*queue, *lane, *nth) {
                    batch.ack(QueueId(queue), [pos]);
                    let appended = log.append(batch).expect("room");
                    log.release(pos, 1);
                    drop(appended);
                }
            }
            Record::Move {
                queue,
                lane,
                nth,
                queues,
                len,
            } => {
                if let Some((queue, pos)) = self.take(*queue, *lane, *nth) {
                    self.last_id += 1;
                    let octets = message(self.last_id, *len);
                    let to: Vec<_> = targets(*queues).collect();
                    let at = batch.move_to(QueueId(queue), pos, self.last_id, &to, &[&octets]);
                    let appended = log.append(batch).expect("room");
                    log.release(pos, 1);
                    self.publish_to(*queues, self.last_id, &octets, appended.position(at));
                }
            }
            Record::Row { key, value } => {
                let value = vec![*value; usize::from(*value)];
                batch.put(Table::Queues, &[*key], &value);
                drop(log.append(batch).expect("room"));
                self.written.rows.insert(vec![*key], value);
            }
            Record::DeleteRow(key) => {
                batch.delete(Table::Queues, &[*key]);
                drop(log.append(batch).expect("room"));
                self.written.rows.remove(&vec![*key]);
            }
            Record::Page { queue, lane, len } => self.page(*queue, *lane, *len),
            Record::AckPage { queue, lane, nth } => {
                let (queue, places) = self.lane(*queue, *lane);
                let pages = (0..places.len()).filter(|at| matches!(places[*at], Place::Page(..)));
                let pages: Vec<usize> = pages.collect();
                let Some(at) = usize::from(*nth).checked_rem(pages.len()) else {
                    return;
                };
                let Place::Page(page, _) = places.remove(pages[at]) else {
                    return;
                };
                batch.ack_pages(QueueId(queue), [page.pos]);
                let appended = log.append(batch).expect("room");
                log.release(page.pos, 1);
                page.segments
                    .iter()
                    .for_each(|(segment, live)| log.release_many(*segment, (*live).into()));
                drop(appended);
            }
            Record::Rename { queue, lane, nth } => self.rename(*queue, *lane, *nth),
            Record::Checkpoint => {
                let mut checkpoint = log.begin_checkpoint();
                self.states().for_each(|state| checkpoint.add(state));
                checkpoint.finish().expect("nothing fails here");
            }
            Record::Restart | Record::Crash => {}
        }
    }

    /// Makes a page of the first messages that are in none, if all behind them are later in the log.
    fn page(&mut self, queue: u8, lane: u8, len: u8) {
        let log = self.log().clone();
        let (queue, places) = self.lane(queue, lane);
        let Some(start) = places
            .iter()
            .position(|place| matches!(place, Place::Loose(..)))
        else {
            return;
        };
        let run = places[start..].iter().map_while(|place| match place {
            Place::Loose(entry, id) => Some((*entry, *id)),
            Place::Page(..) => None,
        });
        let run: Vec<(IndexEntry, u64)> = run.take(usize::from(len % 16) + 1).collect();
        let end = start + run.len();
        let last = run.iter().map(|(entry, _)| entry.pos).max();
        let later = places[end..].iter().all(|place| match place {
            Place::Loose(entry, _) => Some(entry.pos) > last,
            Place::Page(page, _) => Some(page.span.0) > last,
        });
        if !later {
            return;
        }
        let entries: Vec<IndexEntry> = run.iter().map(|(entry, _)| *entry).collect();
        let mut batch = log.batch();
        let at = batch.page(QueueId(queue), lane % 3, LogPos::NONE, &entries);
        let appended = log.append(batch).expect("room");
        let page = PageState::new(appended.position(at), 0, &entries);
        let left = run
            .into_iter()
            .enumerate()
            .map(|(place, (entry, id))| (place, entry, id));
        places.splice(start..end, [Place::Page(page, left.collect())]);
    }

    /// What compaction does to one message.
    fn rename(&mut self, queue: u8, lane: u8, nth: u8) {
        let log = self.log().clone();
        let (queue, places) = self.lane(queue, lane);
        let Some(at) = usize::from(nth).checked_rem(places.len()) else {
            return;
        };
        let Place::Loose(entry, id) = &mut places[at] else {
            return;
        };
        let old = entry.pos;
        log.sync().expect("nothing fails here");
        let mut octets = Vec::new();
        log.reader().messages(&[old], &mut |_, found| {
            octets = found.expect("it is there").to_vec()
        });
        let mut copy = log.batch();
        let at = copy.copy(*id, &octets);
        let appended = log.append(copy).expect("room");
        let new = appended.position(at);
        drop(appended);
        let mut batch = log.batch();
        batch.rename(QueueId(queue), &[(old, new)]);
        let appended = log.append(batch).expect("room");
        entry.pos = new;
        log.hold_many(new.segment(), 1);
        log.release(old, 1);
        log.release(new, 1);
        drop(appended);
    }
}

fn targets(queues: u8) -> impl Iterator<Item = QueueId> {
    (1..=3)
        .filter(move |queue| queues & queue != 0 || *queue == 1)
        .map(|queue| QueueId(queue.into()))
}

fn ids(lanes: &Lanes) -> Vec<u64> {
    let of = |place: &Place| match place {
        Place::Loose(_, id) => vec![*id],
        Place::Page(_, left) => left.iter().map(|(.., id)| *id).collect(),
    };
    lanes.iter().flatten().flat_map(of).collect()
}

fn state(queue: u64, lanes: &Lanes) -> QueueState {
    let mut state = QueueState {
        queue: QueueId(queue),
        lanes: Vec::new(),
    };
    for (priority, places) in lanes
        .iter()
        .enumerate()
        .filter(|(_, places)| !places.is_empty())
    {
        let mut lane = LaneState {
            priority: priority as u8,
            ..LaneState::default()
        };
        for place in places {
            match place {
                Place::Loose(entry, _) => {
                    lane.loose.push((lane.next_seq, *entry));
                    lane.next_seq += 1;
                }
                Place::Page(page, _) => {
                    let mut page = page.clone();
                    page.first_seq = lane.next_seq;
                    lane.next_seq += u64::from(page.len);
                    lane.pages.push(page);
                }
            }
        }
        state.lanes.push(lane);
    }
    state
}

/// The lanes that a state stands for.
fn lanes(log: &Log, state: QueueState) -> Lanes {
    let mut lanes = Lanes::default();
    let mut reader = log.reader();
    for lane in state.lanes {
        let mut places: Vec<(u64, Place)> = Vec::new();
        let id_of = |pos: LogPos| {
            let mut id = 0;
            log.reader().messages(&[pos], &mut |_, found| {
                let octets = found.expect("it is there");
                id = u64::from_le_bytes(*octets.first_chunk().expect("a number"));
            });
            id
        };
        for (seq, entry) in lane.loose {
            places.push((seq, Place::Loose(entry, id_of(entry.pos))));
        }
        for page in lane.pages {
            let entries = reader.page(page.pos).expect("it is there");
            let left = entries
                .into_iter()
                .enumerate()
                .filter(|(place, _)| !page.removed.contains(*place));
            let left = left
                .map(|(place, entry)| (place, entry, id_of(entry.pos)))
                .collect();
            places.push((page.first_seq, Place::Page(page, left)));
        }
        places.sort_unstable_by_key(|(seq, _)| *seq);
        lanes[usize::from(lane.priority)] = places.into_iter().map(|(_, place)| place).collect();
    }
    lanes
}
