//! Values that messages take in turn: sizes, priorities.

/// Most values a range is spread over.
const SPREAD: u64 = 64;

/// Values taken one after the other, over and over. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cycle(Vec<u64>);

impl Cycle {
    /// The value whose turn it is.
    pub(crate) fn at(&self, turn: usize) -> u64 {
        let at = turn.checked_rem(self.0.len()).unwrap_or(0);
        self.0.get(at).copied().unwrap_or(0)
    }

    /// After how many turns it begins again.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The lowest value.
    pub(crate) fn min(&self) -> u64 {
        self.0.iter().copied().min().unwrap_or(0)
    }

    /// The highest value.
    pub(crate) fn max(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(0)
    }
}

impl std::str::FromStr for Cycle {
    type Err = String;

    /// `16`, `16,1024` or `100..2000`, which is spread evenly over at most 64 values.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("'{text}' is not a number"))
        };
        let mut values = Vec::new();
        for part in text.split(',') {
            let Some((from, to)) = part.split_once("..") else {
                values.push(number(part)?);
                continue;
            };
            let (from, to) = (number(from)?, number(to)?);
            let span = to
                .checked_sub(from)
                .ok_or_else(|| format!("'{part}' runs backwards"))?;
            let steps = span.min(SPREAD - 1);
            let value = |step: u64| {
                let share = u128::from(span) * u128::from(step) / u128::from(steps.max(1));
                from + share as u64
            };
            values.extend((0..=steps).map(value));
        }
        Ok(Self(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_lists_and_ranges() {
        let cycle: Cycle = "7".parse().unwrap();
        assert_eq!((cycle.len(), cycle.at(0), cycle.at(9)), (1, 7, 7));
        let cycle: Cycle = "0..3,16".parse().unwrap();
        let turns: Vec<_> = (0..6).map(|turn| cycle.at(turn)).collect();
        assert_eq!(turns, [0, 1, 2, 3, 16, 0]);
        let cycle: Cycle = "100..2000".parse().unwrap();
        assert_eq!((cycle.len(), cycle.min(), cycle.max()), (64, 100, 2000));
        for text in ["", "x", "3..1", "1..", "1,,2"] {
            assert!(text.parse::<Cycle>().is_err(), "{text}");
        }
    }
}
