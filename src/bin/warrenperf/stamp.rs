//! The first 16 bytes of a body: who sent it, which of theirs it is, and when.

/// How long a stamp is; a smaller body carries none.
pub(crate) const STAMP_LEN: usize = 16;

const SEQ_BITS: u32 = 48;
const SEQ_MASK: u64 = (1 << SEQ_BITS) - 1;

/// Identifies one message of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which publisher of the run.
    pub(crate) publisher: u16,
    /// The publisher's count, from 0; 48 bits.
    pub(crate) seq: u64,
    /// When it was sent (or was due, at a set rate), on the host's monotonic clock.
    pub(crate) time: u64,
}

impl Stamp {
    /// As it stands in the body.
    pub(crate) fn encode(self) -> [u8; STAMP_LEN] {
        let id = (u64::from(self.publisher) << SEQ_BITS) | (self.seq & SEQ_MASK);
        ((u128::from(id) << 64) | u128::from(self.time)).to_be_bytes()
    }

    /// Reads what `encode` wrote.
    pub(crate) fn decode(bytes: [u8; STAMP_LEN]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let id = (both >> 64) as u64;
        Self {
            publisher: (id >> SEQ_BITS) as u16,
            seq: id & SEQ_MASK,
            time: both as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_body() {
        let stamp = Stamp {
            publisher: 65_535,
            seq: SEQ_MASK,
            time: 123_456_789_012,
        };
        assert_eq!(Stamp::decode(stamp.encode()), stamp);
        let small = Stamp {
            publisher: 1,
            seq: 0,
            time: 0,
        };
        assert_eq!(Stamp::decode(small.encode()), small);
    }
}
