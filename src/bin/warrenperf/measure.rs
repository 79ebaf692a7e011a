//! Moments of a run, and what lies between two of them.

use crate::clock;
use crate::error::Result;
use crate::proc_stat::{self, Usage};
use crate::shared::Progress;
use std::sync::atomic::Ordering;

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// On the host's monotonic clock.
    pub(crate) time: u64,
    /// Messages published so far.
    pub(crate) published: u64,
    /// Messages delivered so far.
    pub(crate) delivered: u64,
    /// Messages confirmed so far.
    pub(crate) confirmed: u64,
    /// Messages refused so far.
    pub(crate) nacked: u64,
    /// The broker's process, if it is watched.
    pub(crate) broker: Option<Usage>,
    /// This process.
    pub(crate) own: Usage,
}

/// Whose counters to look at.
#[derive(Debug)]
pub(crate) struct Gauges {
    /// One for each publisher.
    pub(crate) publishers: Vec<Progress>,
    /// One for each consumer.
    pub(crate) consumers: Vec<Progress>,
    /// The broker's process.
    pub(crate) broker_pid: Option<u32>,
}

impl Gauges {
    /// Counters for so many workers.
    pub(crate) fn new(publishers: u16, consumers: u16, broker_pid: Option<u32>) -> Self {
        let some = |count: u16| (0..count).map(|_| Progress::default()).collect();
        Self {
            publishers: some(publishers),
            consumers: some(consumers),
            broker_pid,
        }
    }

    /// Reads everything.
    pub(crate) fn read(&self) -> Result<Moment> {
        let publishers = || self.publishers.iter();
        Ok(Moment {
            time: clock::now_ns(),
            published: publishers().map(Progress::messages).sum(),
            delivered: self.delivered(),
            confirmed: publishers()
                .map(|p| p.confirmed.load(Ordering::Relaxed))
                .sum(),
            nacked: publishers().map(|p| p.nacked.load(Ordering::Relaxed)).sum(),
            broker: self.broker_pid.map(proc_stat::usage).transpose()?,
            own: proc_stat::usage(std::process::id())?,
        })
    }

    /// Messages delivered so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.consumers.iter().map(Progress::messages).sum()
    }

    /// When anything was last published, confirmed or delivered.
    pub(crate) fn last_activity(&self) -> u64 {
        let all = self.publishers.iter().chain(&self.consumers);
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
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interval {
    /// How long it was.
    pub(crate) seconds: f64,
    /// Messages published.
    pub(crate) published: u64,
    /// Messages delivered.
    pub(crate) delivered: u64,
    /// Messages confirmed.
    pub(crate) confirmed: u64,
    /// Messages refused.
    pub(crate) nacked: u64,
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
            published: to.published.saturating_sub(from.published),
            delivered: to.delivered.saturating_sub(from.delivered),
            confirmed: to.confirmed.saturating_sub(from.confirmed),
            nacked: to.nacked.saturating_sub(from.nacked),
            broker_cpu,
            own_cpu: to.own.cpu - from.own.cpu,
        }
    }

    /// Microseconds of `cpu` for each publish and each delivery.
    pub(crate) fn per_op(&self, cpu: f64) -> Option<f64> {
        let ops = self.published + self.delivered;
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
        let from = Moment {
            time: 1_000_000_000,
            published: 10,
            ..Moment::default()
        };
        let to = Moment {
            time: 3_000_000_000,
            published: 110,
            delivered: 100,
            broker: Some(Usage::default()),
            own: Usage {
                cpu: 0.001,
                rss_kib: 0,
            },
            ..Moment::default()
        };
        let interval = Interval::between(&from, &to);
        assert_eq!(interval.rate(interval.published), 50.0);
        assert_eq!(interval.broker_cpu, None);
        let own = interval.per_op(interval.own_cpu).unwrap();
        assert!((own - 5.0).abs() < 1e-9);
        assert_eq!(Interval::default().per_op(1.0), None);
    }
}
