//! Values over time: what rates and charts are drawn from.
//!
//! Owns how long a value is kept and at which distance. What is sampled, and when, is the caller's.

use std::collections::VecDeque;

/// A value, and when it was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<T> {
    /// In ms since 1970.
    pub at_ms: u64,
    /// The value.
    pub value: T,
}

/// Samples at one distance.
#[derive(Debug, Clone, Copy)]
pub struct Tier {
    /// From one sample to the next, in ms.
    pub step_ms: u64,
    /// Most samples kept.
    pub kept: usize,
}

/// Samples of one thing, the finer the younger.
#[derive(Debug, Clone)]
pub struct History<T> {
    tiers: Vec<(Tier, VecDeque<Sample<T>>)>,
}

impl<T: Copy> History<T> {
    /// Keeps what `tiers` say, which go from fine to coarse.
    pub fn new(tiers: &[Tier]) -> Self {
        History {
            tiers: tiers.iter().map(|&tier| (tier, VecDeque::new())).collect(),
        }
    }

    /// Adds the value as it is now. Each tier takes it once its step has passed.
    pub fn push(&mut self, at_ms: u64, value: T) {
        for (tier, samples) in &mut self.tiers {
            // Half a step of slack: the sampler's own clock is not exact.
            let due = samples
                .back()
                .is_none_or(|last| at_ms + tier.step_ms / 2 >= last.at_ms + tier.step_ms);
            if due {
                if samples.len() >= tier.kept {
                    samples.pop_front();
                }
                samples.push_back(Sample { at_ms, value });
            }
        }
    }

    /// How many tiers it keeps.
    pub fn tiers(&self) -> usize {
        self.tiers.len()
    }

    /// The last two samples, from the older to the younger: what rates are made of.
    pub fn last_two(&self) -> Option<[Sample<T>; 2]> {
        let (_, samples) = self.tiers.first()?;
        let before = samples.len().checked_sub(2)?;
        Some([*samples.get(before)?, *samples.back()?])
    }

    /// The samples of the last `age_ms`, about `step_ms` apart, from the oldest to the youngest. They
    /// come from the finest tier that reaches as far back, or has lost nothing yet, or else from the one
    /// that reaches furthest.
    pub fn window(&self, now_ms: u64, age_ms: u64, step_ms: u64) -> Vec<Sample<T>> {
        let reaches = |tier: &Tier, samples: &VecDeque<_>| {
            let span_ms = tier.step_ms.saturating_mul(tier.kept as u64 - 1);
            span_ms >= age_ms || samples.len() < tier.kept
        };
        let found = self
            .tiers
            .iter()
            .find(|(tier, samples)| reaches(tier, samples))
            .or(self.tiers.last());
        let Some((tier, samples)) = found else {
            return Vec::new();
        };
        let since_ms = now_ms.saturating_sub(age_ms + tier.step_ms / 2);
        let every = (step_ms / tier.step_ms).max(1) as usize;
        let recent = samples.iter().filter(|sample| sample.at_ms >= since_ms);
        let mut chosen: Vec<_> = recent.rev().step_by(every).copied().collect();
        chosen.reverse();
        chosen
    }
}

/// By how much `of` grew each second from one sample to the next. What begins anew has no negative
/// rate.
pub fn per_second<T>([before, after]: &[Sample<T>; 2], of: impl Fn(&T) -> u64) -> f64 {
    let ms = after.at_ms.saturating_sub(before.at_ms);
    if ms == 0 {
        return 0.0;
    }
    let grown = of(&after.value).saturating_sub(of(&before.value));
    grown as f64 * 1000.0 / ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIERS: [Tier; 2] = [
        Tier {
            step_ms: 5_000,
            kept: 13,
        },
        Tier {
            step_ms: 60_000,
            kept: 61,
        },
    ];

    /// A value that grows by 10 a second, sampled every 5 s with a jitter.
    fn hours(hours: u64) -> (History<u64>, u64) {
        let mut history = History::new(&TIERS);
        let mut now_ms = 0;
        for n in 0..hours * 720 {
            now_ms = n * 5_000 + n % 3;
            history.push(now_ms, now_ms / 100);
        }
        (history, now_ms)
    }

    fn rate(history: &History<u64>) -> f64 {
        per_second(&history.last_two().unwrap(), |n| *n)
    }

    #[test]
    fn a_rate_is_that_of_the_last_step() {
        let (mut history, now_ms) = hours(1);
        assert!((rate(&history) - 10.0).abs() < 0.1);
        history.push(now_ms + 5_000, now_ms / 100);
        assert_eq!(rate(&history), 0.0);
    }

    #[test]
    fn a_counter_that_begins_anew_has_no_negative_rate() {
        let mut history = History::new(&TIERS);
        history.push(0, 100);
        assert_eq!(history.last_two(), None);
        history.push(5_000, 7);
        assert_eq!(rate(&history), 0.0);
    }

    #[test]
    fn a_window_comes_from_the_finest_tier_that_reaches_back() {
        let (history, now_ms) = hours(3);
        let minute = history.window(now_ms, 60_000, 5_000);
        assert_eq!(minute.len(), 13);
        let coarser = history.window(now_ms, 60_000, 10_000);
        assert_eq!(coarser.len(), 7);
        assert_eq!(coarser.last(), minute.last());
        let hour = history.window(now_ms, 3_600_000, 60_000);
        assert!((60..=61).contains(&hour.len()), "{}", hour.len());
        assert!(hour.is_sorted_by_key(|sample| sample.at_ms));
        let too_long = history.window(now_ms, 86_400_000, 60_000);
        assert_eq!(too_long.len(), 61);
    }

    #[test]
    fn what_is_young_is_shown_finely_however_far_back_one_asks() {
        let mut history = History::new(&TIERS);
        for n in 0..4 {
            history.push(n * 5_000, n);
        }
        let all = history.window(15_000, 3_600_000, 5_000);
        let values: Vec<u64> = all.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [0, 1, 2, 3]);
    }

    #[test]
    fn memory_is_bounded() {
        let (history, _) = hours(24);
        let kept: usize = history.tiers.iter().map(|(_, samples)| samples.len()).sum();
        assert_eq!(kept, 13 + 61);
    }
}
