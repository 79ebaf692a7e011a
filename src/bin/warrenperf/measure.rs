//! Moments of a run, and what lies between two of them.

use crate::clock;
use crate::error::Result;
use crate::proc_stat::{self, Usage};
use crate::shared::Progress;
use std::sync::atomic::Ordering;

/// What was done, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages published.
    pub(crate) published: u64,
    /// Messages delivered.
    pub(crate) delivered: u64,
    /// Messages confirmed.
    pub(crate) confirmed: u64,
    /// Messages refused.
    pub(crate) nacked: u64,
    /// Rounds of churn, or syncs.
    pub(crate) rounds: u64,
}

impl Counts {
    /// Each with its name.
    pub(crate) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("published", self.published),
            ("delivered", self.delivered),
            ("confirmed", self.confirmed),
            ("nacked", self.nacked),
            ("rounds", self.rounds),
        ]
    }

    /// Publishes, deliveries and rounds.
    pub(crate) fn ops(&self) -> u64 {
        self.published + self.delivered + self.rounds
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            published: self.published.saturating_sub(before.published),
            delivered: self.delivered.saturating_sub(before.delivered),
            confirmed: self.confirmed.saturating_sub(before.confirmed),
            nacked: self.nacked.saturating_sub(before.nacked),
            rounds: self.rounds.saturating_sub(before.rounds),
        }
    }
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// On the host's monotonic clock.
    pub(crate) time: u64,
    /// Since the start.
    pub(crate) counts: Counts,
    /// The broker's process, if it is watched.
    pub(crate) broker: Option<Usage>,
    /// This process.
    pub(crate) own: Usage,
}

/// Whose counters to look at.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// One for each publisher.
    pub(crate) publishers: Vec<Progress>,
    /// One for each consumer.
    pub(crate) consumers: Vec<Progress>,
    /// One for each worker that goes round.
    pub(crate) workers: Vec<Progress>,
    /// The broker's process.
    pub(crate) broker_pid: Option<u32>,
}

impl Gauges {
    /// Counters for so many publishers and consumers.
    pub(crate) fn new(publishers: u16, consumers: u16, broker_pid: Option<u32>) -> Self {
        Self {
            publishers: some(publishers),
            consumers: some(consumers),
            workers: Vec::new(),
            broker_pid,
        }
    }

    /// Counters for workers that go round.
    pub(crate) fn of_workers(workers: u16, broker_pid: Option<u32>) -> Self {
        Self {
            workers: some(workers),
            broker_pid,
            ..Self::default()
        }
    }

    /// Reads everything.
    pub(crate) fn read(&self) -> Result<Moment> {
        let sum = |of: fn(&Progress) -> u64| self.publishers.iter().map(of).sum();
        Ok(Moment {
            time: clock::now_ns(),
            counts: Counts {
                published: sum(Progress::messages),
                delivered: self.delivered(),
                confirmed: sum(|p| p.confirmed.load(Ordering::Relaxed)),
                nacked: sum(|p| p.nacked.load(Ordering::Relaxed)),
                rounds: self.workers.iter().map(Progress::messages).sum(),
            },
            broker: self.broker_pid.map(proc_stat::usage).transpose()?,
            own: proc_stat::usage(std::process::id())?,
        })
    }

    /// Messages delivered so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.consumers.iter().map(Progress::messages).sum()
    }

    /// When anything was last published, confirmed, delivered or done.
    pub(crate) fn last_activity(&self) -> u64 {
        let all = self
            .publishers
            .iter()
            .chain(&self.consumers)
            .chain(&self.workers);
        all.map(|p| p.last.load(Ordering::Relaxed))
            .max()
            .unwrap_or(0)
    }

    /// Whether every publisher is through.
    pub(crate) fn published_all(&self) -> bool {
        self.publishers.iter().all(Progress::done)
    }

    /// Whether every consumer is through.
    pub(crate) fn consumed_all(&self) -> bool {
        self.consumers.iter().all(Progress::done)
    }

    /// Whether there are workers that go round, and every one is through.
    pub(crate) fn worked_all(&self) -> bool {
        !self.workers.is_empty() && self.workers.iter().all(Progress::done)
    }
}

fn some(count: u16) -> Vec<Progress> {
    (0..count).map(|_| Progress::default()).collect()
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interval {
    /// How long it was.
    pub(crate) seconds: f64,
    /// What was done.
    pub(crate) counts: Counts,
    /// Seconds of processor time of the broker, if it was watched.
    pub(crate) broker_cpu: Option<f64>,
    /// Seconds of processor time of this process.
    pub(crate) own_cpu: f64,
}

impl Interval {
    /// From one moment to a later one.
    pub(crate) fn between(from: &Moment, to: &Moment) -> Self {
        let broker_cpu = from.broker.zip(to.broker).map(|(a, b)| b.cpu - a.cpu);
        Self {
            seconds: (to.time.saturating_sub(from.time) as f64 / 1e9).max(1e-9),
            counts: to.counts.since(&from.counts),
            broker_cpu,
            own_cpu: to.own.cpu - from.own.cpu,
        }
    }

    /// Microseconds of `cpu` for each op.
    pub(crate) fn per_op(&self, cpu: f64) -> Option<f64> {
        let ops = self.counts.ops();
        (ops > 0).then(|| cpu * 1e6 / ops as f64)
    }

    /// So many per second.
    pub(crate) fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_is_a_publish_or_a_delivery() {
        let counts = |published, delivered| Counts {
            published,
            delivered,
            ..Counts::default()
        };
        let from = Moment {
            time: 1_000_000_000,
            counts: counts(10, 0),
            ..Moment::default()
        };
        let to = Moment {
            time: 3_000_000_000,
            counts: counts(110, 100),
            broker: Some(Usage::default()),
            own: Usage {
                cpu: 0.001,
                rss_kib: 0,
            },
        };
        let interval = Interval::between(&from, &to);
        assert_eq!(interval.rate(interval.counts.published), 50.0);
        assert_eq!(interval.broker_cpu, None);
        let own = interval.per_op(interval.own_cpu).unwrap();
        assert!((own - 5.0).abs() < 1e-9);
        assert_eq!(Interval::default().per_op(1.0), None);
    }
}
