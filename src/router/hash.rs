//! Hashes that stay what they are: across restarts, versions and machines.
//!
//! Owns the hashes that decide where messages go, so none of them may ever change. Not for hash tables: clients
//! choose what is hashed, and could choose it to collide.

use super::arguments::Comparable;

/// Erlang's golden ratio, from which it makes the starting values for each type of term.
const GOLDEN: u32 = 0x9E37_79B9;

/// `erlang:phash2` of a list of binaries, below 2^27: what RabbitMQ's `x-modulus-hash` hashes by, so that both
/// brokers send equal keys to queues of equal names.
pub(super) fn phash2(list: &[&[u8]]) -> u32 {
    let of_binary = |hash: u32, octets: &&[u8]| {
        let start = GOLDEN.wrapping_mul(13).wrapping_add(hash);
        match octets.is_empty() {
            true => start,
            false => jenkins(octets, start),
        }
    };
    let hash = list.iter().fold(0, of_binary);
    // The empty list, which every list ends with.
    let hash = match hash {
        0 => 3_468_870_702,
        _ => {
            let base = GOLDEN.wrapping_mul(2);
            mix([base.wrapping_add(2), base, hash])[2]
        }
    };
    hash % (1 << 27)
}

/// Bob Jenkins' hash of 1996, "lookup2".
fn jenkins(octets: &[u8], start: u32) -> u32 {
    let word = |from: &[u8]| {
        from.iter()
            .rev()
            .fold(0_u32, |word, octet| word << 8 | u32::from(*octet))
    };
    let mut state = [GOLDEN, GOLDEN, start];
    let mut blocks = octets.chunks_exact(12);
    let add = |[a, b, c]: [u32; 3], block: &[u8], scale: u32| {
        let (first, rest) = block.split_at(block.len().min(4));
        let (second, third) = rest.split_at(rest.len().min(4));
        [
            a.wrapping_add(word(first)),
            b.wrapping_add(word(second)),
            c.wrapping_add(word(third).wrapping_mul(scale)),
        ]
    };
    for block in &mut blocks {
        state = mix(add(state, block, 1));
    }
    let [a, b, c] = state;
    let length = octets.len() as u32;
    // The last block's third word begins with the length, so its octets move up by one.
    mix(add([a, b, c.wrapping_add(length)], blocks.remainder(), 256))[2]
}

fn mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    for (first, second, third) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> first);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << second);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> third);
    }
    [a, b, c]
}

/// 64 bits of what kind of thing it is, and its octets: FNV-1a, finished as in SplitMix64.
pub(super) fn wide(kind: u8, octets: &[u8]) -> u64 {
    let start = (0xCBF2_9CE4_8422_2325 ^ u64::from(kind)).wrapping_mul(0x0000_0100_0000_01B3);
    let step =
        |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3);
    scatter(octets.iter().fold(start, step))
}

/// 64 bits of a value; values that compare equal have the same.
pub(super) fn value(value: &Comparable<&[u8]>) -> u64 {
    match value {
        Comparable::Void => wide(b'V', &[]),
        Comparable::Bool(value) => wide(b't', &[u8::from(*value)]),
        Comparable::Int(value) => wide(b'l', &value.to_le_bytes()),
        Comparable::Float(bits) => wide(b'd', &bits.to_le_bytes()),
        Comparable::Bytes(octets) => wide(b'S', octets),
        Comparable::Decimal(scale, value) => {
            let [a, b, c, d] = value.to_le_bytes();
            wide(b'D', &[*scale, a, b, c, d])
        }
        Comparable::Table(octets) => wide(b'F', octets),
        Comparable::Array(octets) => wide(b'A', octets),
    }
}

/// Spreads every bit over all of them: the finish of SplitMix64.
pub(super) fn scatter(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Even bits as a number above 0 whose distribution is exponential: the negative logarithm of an even one
/// between 0 and 1. Made of additions, multiplications and a division only, which are the same everywhere;
/// `f64::ln` need not be.
pub(super) fn exponential(bits: u64) -> f64 {
    let even = ((bits >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0);
    let bits = even.to_bits();
    let exponent = f64::from((bits >> 52) as u32) - 1023.0;
    let fraction = f64::from_bits((bits & ((1 << 52) - 1)) | 1.0_f64.to_bits());
    let (fraction, exponent) = match fraction > std::f64::consts::SQRT_2 {
        true => (fraction * 0.5, exponent + 1.0),
        false => (fraction, exponent),
    };
    // The series of the inverse hyperbolic tangent.
    let s = (fraction - 1.0) / (fraction + 1.0);
    let square = s * s;
    let terms = [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
    let series = terms
        .iter()
        .fold(1.0 / 13.0, |sum, term| sum * square + term);
    -(exponent * std::f64::consts::LN_2 + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_9_phash2_is_erlangs() {
        // From `erlang:phash2(List, 134217728)` of Erlang/OTP.
        for (list, expected) in [
            (&[&b"abc"[..]][..], 63_525_141),
            (&[b""], 38_220_213),
            (&[b"a-longer-routing-key-0123456789", b"b"], 13_467_163),
        ] {
            assert_eq!(phash2(list), expected, "{list:?}");
        }
    }

    #[test]
    fn hashes_that_have_been_stay() {
        assert_eq!(value(&Comparable::Bytes(b"key")), wide(b'S', b"key"));
        assert_eq!(wide(b'S', b"key"), 17_573_529_697_179_801_838);
    }

    #[test]
    fn the_logarithm_is_one() {
        let mut bits = 1_u64;
        for _ in 0..10_000 {
            bits = scatter(bits.wrapping_add(0x9E37_79B9_7F4A_7C15));
            let even = ((bits >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0;
            let (found, expected) = (exponential(bits), -even.ln());
            assert!(
                (found - expected).abs() <= expected * 1e-9,
                "{found} {expected}"
            );
        }
        assert!(exponential(u64::MAX) > 0.0 && exponential(0) < 40.0);
    }
}
