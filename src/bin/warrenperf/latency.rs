//! Histograms of durations, with runs of equal ones recorded together.

use crate::error::{Error, Result};
use hdrhistogram::Histogram;

/// Durations in nanoseconds, to three digits, up to an hour.
#[derive(Debug)]
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    run: (u64, u64),
}

const PERCENTILE_COUNT: usize = 7;

/// The percentiles reported, with their names.
pub(crate) const PERCENTILES: [(f64, &str); PERCENTILE_COUNT] = [
    (50.0, "p50"),
    (75.0, "p75"),
    (90.0, "p90"),
    (95.0, "p95"),
    (99.0, "p99"),
    (99.9, "p99.9"),
    (99.99, "p99.99"),
];

const HIGHEST: u64 = 3_600_000_000_000;

impl Latency {
    /// An empty one.
    pub(crate) fn new() -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, HIGHEST, 3)
            .map_err(|error| Error::Protocol(error.to_string()))?;
        Ok(Self {
            histogram,
            run: (0, 0),
        })
    }

    /// Adds one duration.
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        if nanos == self.run.0 {
            self.run.1 += 1;
            return;
        }
        self.flush();
        self.run = (nanos, 1);
    }

    fn flush(&mut self) {
        let (nanos, times) = std::mem::take(&mut self.run);
        if times > 0 {
            self.histogram.saturating_record(nanos.max(1));
            if times > 1 {
                // Within bounds, as the line above saturates only beyond an hour.
                let _ = self.histogram.record_n(nanos.clamp(1, HIGHEST), times - 1);
            }
        }
    }

    /// Adds what another thread measured.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        // Both have the same bounds, so this cannot fail.
        let _ = self.histogram.add(&other.histogram);
    }

    /// Microseconds at each of PERCENTILES and the highest, or None when nothing was measured.
    pub(crate) fn summary(&mut self) -> Option<Summary> {
        self.flush();
        if self.histogram.is_empty() {
            return None;
        }
        let micros = |nanos: u64| nanos as f64 / 1e3;
        Some(Summary {
            percentiles: PERCENTILES
                .map(|(at, name)| (name, micros(self.histogram.value_at_percentile(at)))),
            max: micros(self.histogram.max()),
            mean: self.histogram.mean() / 1e3,
            samples: self.histogram.len(),
        })
    }
}

/// A histogram in a few numbers, in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// Name and value.
    pub(crate) percentiles: [(&'static str, f64); PERCENTILE_COUNT],
    /// The longest.
    pub(crate) max: f64,
    /// The average.
    pub(crate) mean: f64,
    /// How many.
    pub(crate) samples: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_in_full() {
        let mut one = Latency::new().unwrap();
        for _ in 0..99 {
            one.record(1_000);
        }
        one.record(50_000);
        let mut two = Latency::new().unwrap();
        two.record(0);
        two.record(u64::MAX);
        one.merge(two);
        let summary = one.summary().unwrap();
        assert_eq!(summary.samples, 102);
        assert_eq!(summary.percentiles[0].0, "p50");
        assert!((summary.percentiles[0].1 - 1.0).abs() < 0.01);
        assert!(summary.max > 3e9);
        assert!(Latency::new().unwrap().summary().is_none());
    }
}
