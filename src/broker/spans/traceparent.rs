//! The header `traceparent` of W3C's Trace Context: of which trace a message is a part, and whether that is sampled.
//!
//! Owns its form. What is not of that form is not there.

use crate::codec::{Properties, Value};
use crate::message::Message;

const HEADER: &str = "traceparent";

/// Octets of version, trace, span and flags, with the dashes between them. Later versions may add to that.
const LEN: usize = 55;

/// The last bit of the flags.
const SAMPLED: u8 = 1;

/// The span that another is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
}

impl Parent {
    /// That of a message, if it is sampled.
    pub(in crate::broker) fn of(message: &Message) -> Option<Parent> {
        let properties = Properties::trusted(message.properties_bytes());
        match properties.headers()?.get(HEADER)? {
            Value::LongStr(text) | Value::Binary(text) => read(text),
            _ => None,
        }
    }

    /// The same trace, below another span of it.
    pub(super) fn child(self, span: [u8; 8]) -> Parent {
        Parent { span, ..self }
    }
}

fn read(text: &[u8]) -> Option<Parent> {
    let mut parts = text.get(..LEN)?.split(|&octet| octet == b'-');
    let [version] = hex(parts.next()?)?;
    let trace = hex(parts.next()?)?;
    let span = hex(parts.next()?)?;
    let [flags] = hex(parts.next()?)?;
    // Of a later version more may follow, behind a dash.
    let ends = match text.get(LEN) {
        None => true,
        Some(octet) => version > 0 && *octet == b'-',
    };
    let is_one = ends && version != u8::MAX && trace != [0; 16] && span != [0; 8];
    (is_one && flags & SAMPLED != 0).then_some(Parent { trace, span })
}

/// Lower case only, as W3C has it.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *octet = digit(*high)? << 4 | digit(*low)?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_sampled_parent_is_read() {
        let parent = read(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(
            parent.span,
            [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
        );
        let later = format!("cc{}-what", &GOOD[2..]);
        assert_eq!(read(later.as_bytes()), Some(parent));
        let flags = format!("{}ff", &GOOD[..53]);
        assert_eq!(read(flags.as_bytes()), Some(parent));
    }

    #[test]
    fn what_is_not_sampled_or_of_another_form_is_not_there() {
        let zeros = |from: usize, to: usize| {
            let mut text = GOOD.to_owned();
            text.replace_range(from..to, &"0".repeat(to - from));
            text
        };
        for wrong in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            format!("{GOOD}0"),
            format!("{}00", &GOOD[..53]),
            format!("ff{}", &GOOD[2..]),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            GOOD.replace('7', "g"),
            zeros(3, 35),
            zeros(36, 52),
        ] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
