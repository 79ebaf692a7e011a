//! How long a consumer that is not waited for lets bytes gather before it reads again.
//!
//! A broker that writes a few messages at a time would wake the consumer for each write, and the
//! wake-ups would cost more than all the rest of it.

/// About how many bytes are worth a read.
const TARGET: u64 = 32 * 1024;

/// The longest pause: 1 ms.
const LONGEST: u64 = 1_000_000;

/// Remembers when the last read was.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    last: u64,
}

impl Gather {
    /// After a read of `got` bytes at `now`: nanoseconds until there are likely to be enough.
    pub(crate) fn pause(&mut self, now: u64, got: usize) -> u64 {
        let got = (got as u64).max(1);
        let since = now.saturating_sub(std::mem::replace(&mut self.last, now));
        let lacking = TARGET.saturating_sub(got);
        (u128::from(since) * u128::from(lacking) / u128::from(got)).min(LONGEST.into()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_in_proportion_to_what_lacks() {
        let mut gather = Gather::default();
        assert_eq!(gather.pause(1_000_000_000, TARGET as usize), 0);
        assert_eq!(gather.pause(1_000_100_000, TARGET as usize / 2), 100_000);
        assert_eq!(gather.pause(1_000_200_000, TARGET as usize * 2), 0);
        assert_eq!(gather.pause(1_000_300_000, 1), LONGEST);
    }
}
