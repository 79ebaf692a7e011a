//! What the broker has promised: which numbers must be in a queue, and which may be.
//!
//! Messages are numbered through, over all rounds, and every one goes to all [`QUEUES`]. The first
//! queue is consumed under load, the others only by the check after each crash.

use std::collections::{BTreeMap, BTreeSet};

/// The queues of the fanout exchange. The first has a consumer.
pub(crate) const QUEUES: [&str; 3] = ["load-0", "load-1", "load-2"];

/// The last one: its backlog is longer than what a broker keeps in memory, and those who consume from it
/// come and go.
pub(crate) const BACKLOG: &str = QUEUES[2];

/// What is known of one number in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Confirmed, and nobody has acked it.
    Must,
    /// Not confirmed, or its ack may not have come through.
    May,
}

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Every number that is not known to be gone.
    pub(crate) known: BTreeMap<u64, Known>,
    /// Numbers that were delivered at least once: they must be marked if they come again.
    pub(crate) seen: BTreeSet<u64>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) queues: [Entries; 3],
    /// The highest number that was ever sent.
    pub(crate) published: u64,
    /// How many were confirmed.
    pub(crate) confirmed: u64,
    first_of_round: u64,
}

/// What the publisher has to say after a round.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) last: u64,
    pub(crate) confirmed: BTreeSet<u64>,
}

/// What the consumer has to say after a round.
#[derive(Debug, Default)]
pub(crate) struct Consumed {
    pub(crate) seen: BTreeSet<u64>,
    pub(crate) acked: Vec<Acked>,
}

/// A batch of acks.
#[derive(Debug)]
pub(crate) struct Acked {
    pub(crate) numbers: Vec<u64>,
    /// How far the publisher was when the broker had answered a request sent behind the acks; none
    /// if it never did. Any higher number was sent after the acks were done, and stands behind
    /// them in the log.
    pub(crate) done_at: Option<u64>,
}

impl Book {
    pub(crate) fn begin(&mut self) {
        self.first_of_round = self.published + 1;
    }

    /// Enters what happened in a round, up to the kill.
    pub(crate) fn enter(
        &mut self,
        published: Published,
        consumed: Consumed,
        visited: BTreeSet<u64>,
    ) {
        self.queues[2].seen.extend(visited);
        for queue in &mut self.queues {
            for number in self.first_of_round..=published.last {
                let known = match published.confirmed.contains(&number) {
                    true => Known::Must,
                    false => Known::May,
                };
                queue.known.insert(number, known);
            }
        }
        let durable_to = published.confirmed.last().copied().unwrap_or(0);
        self.published = published.last;
        self.confirmed += published.confirmed.len() as u64;

        let first = &mut self.queues[0];
        first.seen.extend(consumed.seen);
        for Acked { numbers, done_at } in consumed.acked {
            let gone = done_at.is_some_and(|at| durable_to > at);
            for number in numbers {
                match gone {
                    true => first.known.remove(&number),
                    false => first.known.insert(number, Known::May),
                };
            }
        }
    }
}
