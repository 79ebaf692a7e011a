//! The patterns of permissions (A10).
//!
//! Owns what a pattern matches: unanchored, an empty one nothing. The engine takes linear time in
//! what it reads, and what a pattern may compile to is limited, so that none can be an attack.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

use crate::base::limits::{PATTERN_COMPILED_MAX_BYTES, PATTERN_MAX_BYTES};

/// A regular expression over names or routing keys.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: String,
    matcher: Matcher,
}

/// The two patterns that nearly all permissions are need no engine.
#[derive(Debug, Clone)]
enum Matcher {
    Nothing,
    Everything,
    Some(Regex),
}

/// A pattern that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression '{source_text}': {reason}")]
pub struct PatternError {
    source_text: String,
    reason: String,
}

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// It is none, or larger than it may be.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        Self::expanded(source, &[])
    }

    /// Compiles it with each `{name}` replaced by a value, which stands for itself. Two pairs of a
    /// user's: see [`TopicPermission`](super::TopicPermission).
    pub(super) fn expanded(source: &str, variables: &[(&str, &str)]) -> Result<Self, PatternError> {
        let refused = |reason: String| PatternError {
            source_text: source.chars().take(64).collect(),
            reason,
        };
        if source.len() > PATTERN_MAX_BYTES {
            return Err(refused(format!("longer than {PATTERN_MAX_BYTES} octets")));
        }
        let mut text = Cow::from(source);
        for (name, value) in variables {
            if text.contains(name) {
                text = text.replace(name, &regex::escape(value)).into();
            }
        }
        let matcher = match text.as_ref() {
            "" => Matcher::Nothing,
            ".*" => Matcher::Everything,
            text => RegexBuilder::new(&literal_braces(text))
                .size_limit(PATTERN_COMPILED_MAX_BYTES)
                .dfa_size_limit(PATTERN_COMPILED_MAX_BYTES)
                .build()
                .map(Matcher::Some)
                .map_err(|e| refused(last_line(&e.to_string())))?,
        };
        Ok(Pattern {
            source: source.to_owned(),
            matcher,
        })
    }

    /// The empty pattern.
    pub fn nothing() -> Self {
        Pattern {
            source: String::new(),
            matcher: Matcher::Nothing,
        }
    }

    /// Whether some part of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Nothing => false,
            Matcher::Everything => true,
            Matcher::Some(regex) => regex.is_match(text),
        }
    }

    /// As it was given.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The engine shows the pattern over several lines; the last one says what is wrong.
fn last_line(error: &str) -> String {
    let last = error.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// A brace that does not count repetitions stands for itself, as in RabbitMQ's engine: definitions
/// hold patterns like `^{client_id}`.
fn literal_braces(text: &str) -> Cow<'_, str> {
    if !text.contains('{') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 2);
    let mut escaped = None;
    for (at, c) in text.char_indices() {
        // `\p{…}`, `\x{…}` and the like, and `\{`.
        let is_argument = matches!(escaped, Some('p' | 'P' | 'x' | 'u' | 'U' | 'b'));
        let is_escaped = escaped == Some('\\');
        if c == '{' && !is_argument && !is_escaped && !is_count(text.get(at + 1..)) {
            out.push('\\');
        }
        out.push(c);
        escaped = match (escaped, c) {
            (Some('\\'), c) => Some(c).filter(|c| *c != '\\'),
            (_, '\\') => Some('\\'),
            _ => None,
        };
    }
    out.into()
}

/// Whether what follows a brace is `n}`, `n,}` or `n,m}`.
fn is_count(rest: Option<&str>) -> bool {
    let Some((inner, _)) = rest.and_then(|rest| rest.split_once('}')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match inner.split_once(',') {
        None => is_number(inner),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn matches(source: &str, text: &str) -> bool {
        Pattern::new(source).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn a10_patterns_are_unanchored_and_empty_is_nothing() {
        assert!(matches("b", "abc"));
        assert!(!matches("^b", "abc"));
        assert!(matches("^amq\\.gen", "amq.gen-x"));
        for text in ["", "a"] {
            assert!(matches(".*", text));
            assert!(!matches("", text));
        }
        assert!(matches("^$", ""));
        assert!(!matches("^$", "a"));
        assert!(matches("^(a|amq\\.default)$", "amq.default"));
    }

    #[test]
    fn a10_variables_stand_for_themselves() {
        let pattern = |source, user| {
            Pattern::expanded(source, &[("{username}", user), ("{vhost}", "/")]).unwrap()
        };
        assert!(pattern("^{username}-", "joe").matches(b"joe-1"));
        assert!(pattern("^{vhost}{username}$", "joe").matches(b"/joe"));
        // A user's name is no pattern.
        assert!(!pattern("^{username}$", ".*").matches(b"joe"));
        assert!(pattern("^{username}$", ".*").matches(b".*"));
        assert_eq!(pattern("^{username}-", "joe").source(), "^{username}-");
    }

    #[test]
    fn a_brace_that_counts_nothing_is_a_brace() {
        for (source, text, is) in [
            ("^{client_id}$", "{client_id}", true),
            ("^a{2}$", "aa", true),
            ("^a{2,}$", "aaa", true),
            ("^a{1,2}$", "aaa", false),
            ("^a\\{2}$", "a{2}", true),
            ("^\\x{61}$", "a", true),
            ("^\\p{Lu}$", "A", true),
            ("^\\\\{x}$", "\\{x}", true),
        ] {
            assert_eq!(matches(source, text), is, "{source} on {text}");
        }
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong_in_one_line() {
        let fault = |source: &str| Pattern::new(source).unwrap_err().to_string();
        assert_eq!(
            fault("a("),
            "invalid regular expression 'a(': unclosed group"
        );
        assert!(fault("^(?!secret)").contains("look-around"));
        assert!(fault(&"a".repeat(PATTERN_MAX_BYTES + 1)).contains("longer than"));
        assert!(!fault("\\w{100}{100}").contains('\n'));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let text = "a".repeat(255) + "!";
        let began = Instant::now();
        for source in [
            "(a+)+$",
            "(a|aa)+$",
            "(a*)*b",
            "^(([a-z])+.)+[A-Z]([a-z])+$",
        ] {
            assert!(!matches(source, &text));
        }
        for bomb in ["((a{100}){100}){100}", "(\\w{50}){50}"] {
            assert!(Pattern::new(bomb).is_err(), "{bomb}");
        }
        // It would take longer than the universe has; a slow machine takes seconds at most.
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
