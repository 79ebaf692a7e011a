//! The naive model: a list of batches, and what a broker holds after the first k of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{LogPos, QueueId};
use crate::store::{Appended, Batch, RecordOffset, Recovered, Table};

/// An entry of a batch, positions as the log gave them.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Publish {
        position: LogPos,
        queues: Vec<QueueId>,
        payload: Vec<u8>,
        stamped_ms: u64,
    },
    Ack {
        queue: QueueId,
        positions: Vec<LogPos>,
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
    Redelivered {
        queue: QueueId,
        positions: Vec<LogPos>,
    },
}

/// What a broker holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) queues: BTreeMap<QueueId, BTreeMap<LogPos, (u64, Vec<u8>)>>,
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(super) redelivered: BTreeSet<(QueueId, LogPos)>,
}

impl Held {
    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Publish {
                position,
                queues,
                payload,
                stamped_ms,
            } => {
                for queue in queues {
                    let message = (*stamped_ms, payload.clone());
                    self.queues
                        .entry(*queue)
                        .or_default()
                        .insert(*position, message);
                }
            }
            Step::Ack { queue, positions } => {
                for position in positions {
                    if let Some(held) = self.queues.get_mut(queue) {
                        held.remove(position);
                    }
                    self.redelivered.remove(&(*queue, *position));
                }
            }
            Step::Put { table, key, value } => {
                self.rows.insert((*table, key.clone()), value.clone());
            }
            Step::Delete { table, key } => {
                self.rows.remove(&(*table, key.clone()));
            }
            Step::Redelivered { queue, positions } => {
                for position in positions {
                    if self
                        .queues
                        .get(queue)
                        .is_some_and(|held| held.contains_key(position))
                    {
                        self.redelivered.insert((*queue, *position));
                    }
                }
            }
        }
        self.queues.retain(|_, held| !held.is_empty());
    }

    pub(super) fn messages(&self) -> Vec<(QueueId, LogPos)> {
        let of = |(queue, held): (&QueueId, &BTreeMap<LogPos, _>)| {
            let queue = *queue;
            held.keys()
                .map(move |position| (queue, *position))
                .collect::<Vec<_>>()
        };
        self.queues.iter().flat_map(of).collect()
    }
}

/// Fills a batch and remembers what it means; positions are put in when it has been appended.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) batch: Batch,
    steps: Vec<(Step, Option<RecordOffset>)>,
}

impl Plan {
    pub(super) fn new(batch: Batch) -> Plan {
        Plan {
            batch,
            steps: Vec::new(),
        }
    }

    pub(super) fn publish(&mut self, stamped_ms: u64, queues: &[QueueId], payload: &[u8]) {
        let (a, b) = payload.split_at(payload.len() / 2);
        let offset = self.batch.publish(stamped_ms, queues, &[a, b]);
        self.published(stamped_ms, queues, payload, offset);
    }

    pub(super) fn move_to(
        &mut self,
        (queue, position): (QueueId, LogPos),
        stamped_ms: u64,
        queues: &[QueueId],
        payload: &[u8],
    ) {
        let offset = self
            .batch
            .move_to(queue, position, stamped_ms, queues, &[payload]);
        self.steps.push((
            Step::Ack {
                queue,
                positions: vec![position],
            },
            None,
        ));
        self.published(stamped_ms, queues, payload, offset);
    }

    fn published(&mut self, stamped_ms: u64, queues: &[QueueId], payload: &[u8], at: RecordOffset) {
        let (queues, payload) = (queues.to_vec(), payload.to_vec());
        let step = Step::Publish {
            position: LogPos::NONE,
            queues,
            payload,
            stamped_ms,
        };
        self.steps.push((step, Some(at)));
    }

    pub(super) fn ack(&mut self, queue: QueueId, positions: Vec<LogPos>) {
        self.batch.ack(queue, positions.iter().copied());
        self.steps.push((Step::Ack { queue, positions }, None));
    }

    pub(super) fn redelivered(&mut self, queue: QueueId, positions: Vec<LogPos>) {
        self.batch.redelivered(queue, positions.iter().copied());
        self.steps
            .push((Step::Redelivered { queue, positions }, None));
    }

    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.batch.put(table, key, value);
        self.steps.push((
            Step::Put {
                table,
                key: key.into(),
                value: value.into(),
            },
            None,
        ));
    }

    pub(super) fn delete(&mut self, table: Table, key: &[u8]) {
        self.batch.delete(table, key);
        self.steps.push((
            Step::Delete {
                table,
                key: key.into(),
            },
            None,
        ));
    }

    /// The batch, and its steps, which have no place yet.
    pub(super) fn split(self) -> (Batch, Unplaced) {
        (self.batch, Unplaced(self.steps))
    }
}

/// The steps of a batch that is not appended yet.
pub(super) struct Unplaced(Vec<(Step, Option<RecordOffset>)>);

impl Unplaced {
    pub(super) fn place(self, appended: &Appended) -> Vec<Step> {
        let placed = self.0.into_iter().map(|(mut step, offset)| {
            if let (Step::Publish { position, .. }, Some(offset)) = (&mut step, offset) {
                *position = appended.position(offset);
            }
            step
        });
        placed.collect()
    }
}

/// What recovery says is held; checks order, uniqueness and sharing on the way.
pub(super) fn recovered(recovered: Recovered) -> Result<(Held, bool), String> {
    let mut held = Held::default();
    for (table, rows) in &recovered.rows {
        for row in rows {
            held.rows
                .insert((*table, row.key.clone()), row.value.clone());
        }
    }
    let clean = recovered.clean;
    let mut problem = None;
    recovered
        .restore(
            |_| true,
            |live| {
                let queue = held.queues.entry(live.queue).or_default();
                if queue
                    .last_key_value()
                    .is_some_and(|(last, _)| *last >= live.pos)
                {
                    problem = Some(format!("{:?} out of order or twice", live));
                }
                queue.insert(live.pos, (live.stamped_ms, live.payload.to_vec()));
                if clean && live.redelivered {
                    held.redelivered.insert((live.queue, live.pos));
                }
                if !clean && !live.redelivered {
                    problem = Some(format!("{:?} must be redelivered after a crash", live));
                }
            },
        )
        .map_err(|error| error.to_string())?;
    problem.map_or(Ok((held, clean)), Err)
}
