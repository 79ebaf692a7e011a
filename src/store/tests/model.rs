//! The naive model: a list of batches, and what a broker holds after the first k of them.
//!
//! Knows nothing of positions, pages, checkpoints and compaction: none of them may change what is held.

use std::collections::BTreeMap;

use crate::base::index::Described;
use crate::base::{LogPos, QueueId};
use crate::store::{Appended, Batch, Log, RecordOffset, Table};

/// What makes a message another one: it begins with this number.
pub(super) type Id = u64;

/// An entry of a batch.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish {
        queues: Vec<QueueId>,
        id: Id,
        stamped_ms: u64,
        octets: Vec<u8>,
    },
    Ack {
        queue: QueueId,
        ids: Vec<Id>,
    },
    Put {
        table: Table,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        table: Table,
        key: Vec<u8>,
    },
}

/// What a broker holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) queues: BTreeMap<QueueId, BTreeMap<Id, (u64, Vec<u8>)>>,
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

/// Without the messages' octets.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = |held: &BTreeMap<Id, _>| held.keys().copied().collect::<Vec<Id>>();
        let queues: Vec<_> = self
            .queues
            .iter()
            .map(|(queue, held)| (queue.0, ids(held)))
            .collect();
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|((_, key), value)| (key, value.len()))
            .collect();
        write!(f, "{queues:?} {rows:?}")
    }
}

impl Held {
    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Publish {
                queues,
                id,
                stamped_ms,
                octets,
            } => {
                for queue in queues {
                    let message = (*stamped_ms, octets.clone());
                    self.queues.entry(*queue).or_default().insert(*id, message);
                }
            }
            Step::Ack { queue, ids } => {
                if let Some(held) = self.queues.get_mut(queue) {
                    ids.iter().for_each(|id| drop(held.remove(id)));
                }
            }
            Step::Put { table, key, value } => {
                self.rows.insert((*table, key.clone()), value.clone());
            }
            Step::Delete { table, key } => {
                self.rows.remove(&(*table, key.clone()));
            }
        }
        self.queues.retain(|_, held| !held.is_empty());
    }
}

/// Messages have one of three priorities, by their number.
pub(super) fn lane_of(id: Id) -> u8 {
    (id % 3) as u8
}

/// A time to live, some have.
pub(super) fn ttl_of(id: Id) -> Option<u64> {
    id.is_multiple_of(5).then_some(id)
}

pub(super) fn id_of(octets: &[u8]) -> Option<Id> {
    octets.first_chunk().map(|id| Id::from_le_bytes(*id))
}

pub(super) fn describe(octets: &[u8]) -> Option<Described> {
    let id = id_of(octets)?;
    Some(Described {
        body_bytes: octets.len() as u32,
        priority: lane_of(id),
        ttl_ms: ttl_of(id),
    })
}

/// The octets of a message.
pub(super) fn message(id: Id, rest: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes(), rest].concat()
}

/// Fills a batch and remembers what it means; positions come when it has been appended.
pub(super) struct Plan {
    pub(super) batch: Batch,
    steps: Vec<Step>,
    published: Vec<RecordOffset>,
}

impl Plan {
    pub(super) fn new(log: &Log) -> Plan {
        Plan {
            batch: log.batch(),
            steps: Vec::new(),
            published: Vec::new(),
        }
    }

    pub(super) fn publish(&mut self, stamped_ms: u64, queues: &[QueueId], octets: Vec<u8>) {
        let (a, b) = octets.split_at(octets.len() / 2);
        let offset = self.batch.publish(stamped_ms, queues, &[a, b]);
        self.published(stamped_ms, queues, octets, offset);
    }

    pub(super) fn move_to(
        &mut self,
        (queue, position, id): (QueueId, LogPos, Id),
        stamped_ms: u64,
        queues: &[QueueId],
        octets: Vec<u8>,
    ) {
        let offset = self
            .batch
            .move_to(queue, position, stamped_ms, queues, &[&octets]);
        self.steps.push(Step::Ack {
            queue,
            ids: vec![id],
        });
        self.published(stamped_ms, queues, octets, offset);
    }

    fn published(
        &mut self,
        stamped_ms: u64,
        queues: &[QueueId],
        octets: Vec<u8>,
        at: RecordOffset,
    ) {
        self.steps.push(Step::Publish {
            queues: queues.to_vec(),
            id: id_of(&octets).unwrap(),
            stamped_ms,
            octets,
        });
        self.published.push(at);
    }

    pub(super) fn ack(&mut self, queue: QueueId, messages: &[(LogPos, Id)]) {
        self.batch.ack(queue, messages.iter().map(|(pos, _)| *pos));
        let ids = messages.iter().map(|(_, id)| *id).collect();
        self.steps.push(Step::Ack { queue, ids });
    }

    /// As [`Plan::ack`], by pages.
    pub(super) fn ack_pages(&mut self, queue: QueueId, pages: &[LogPos], ids: Vec<Id>) {
        self.batch.ack_pages(queue, pages.iter().copied());
        self.steps.push(Step::Ack { queue, ids });
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.batch.put(table, key, value);
        let (key, value) = (key.into(), value.into());
        self.steps.push(Step::Put { table, key, value });
    }

    pub(super) fn delete(&mut self, table: Table, key: &[u8]) {
        self.batch.delete(table, key);
        let key = key.into();
        self.steps.push(Step::Delete { table, key });
    }

    /// The batch, and its steps, which have no place yet.
    pub(super) fn split(self) -> (Batch, Unplaced) {
        let (steps, published) = (self.steps, self.published);
        (self.batch, Unplaced { steps, published })
    }
}

/// The steps of a batch that is not appended yet.
pub(super) struct Unplaced {
    pub(super) steps: Vec<Step>,
    published: Vec<RecordOffset>,
}

impl Unplaced {
    /// Each step; a published message with its position.
    pub(super) fn place(&self, appended: &Appended) -> Vec<(Step, LogPos)> {
        let mut published = self.published.iter();
        let placed = self.steps.iter().map(|step| {
            let offset = match step {
                Step::Publish { .. } => published.next(),
                _ => None,
            };
            let pos = offset.map_or(LogPos::NONE, |offset| appended.position(*offset));
            (step.clone(), pos)
        });
        placed.collect()
    }
}
