//! Patterns in scopes: `*` stands for any octets, `%2F` and the like for the octet they name.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wildcard {
    /// What stands between the stars, in order. One part is an exact text.
    parts: Vec<Vec<u8>>,
}

impl Wildcard {
    pub(super) fn new(pattern: &str) -> Self {
        Wildcard {
            parts: pattern.split('*').map(percent_decoded).collect(),
        }
    }

    /// Takes time in proportion to the lengths: each part is looked for once, from where the one
    /// before it ended.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (Some((first, rest)), Some(last)) = (self.parts.split_first(), self.parts.last())
        else {
            return false;
        };
        let Some((_, middle)) = rest.split_last() else {
            return text == first.as_slice();
        };
        let Some(mut left) = text.strip_prefix(first.as_slice()) else {
            return false;
        };
        for part in middle.iter().filter(|part| !part.is_empty()) {
            let found = left.windows(part.len()).position(|window| window == part);
            let Some(behind) = found.and_then(|at| left.get(at + part.len()..)) else {
                return false;
            };
            left = behind;
        }
        left.ends_with(last)
    }
}

/// A percent sign without two digits stands for itself.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, behind)) = rest.split_first() {
        let named = match (octet, behind) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match named {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(octet);
                rest = behind;
            }
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_percent_for_an_octet() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*c", "abc", true),
            ("*c", "cb", false),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*b*", "abc", true),
            ("a**c", "abc", true),
            ("%2F", "/", true),
            ("%2f*", "/v", true),
            ("a%2Ab", "a*b", true),
            ("a%2Ab", "axb", false),
            ("100%", "100%", true),
            ("%zz", "%zz", true),
        ] {
            let matched = Wildcard::new(pattern).matches(text.as_bytes());
            assert_eq!(matched, expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn it_matches_as_the_expression_does(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            let expected = regex::Regex::new(&expression).unwrap().is_match(&text);
            prop_assert_eq!(Wildcard::new(&pattern).matches(text.as_bytes()), expected);
        }
    }
}
