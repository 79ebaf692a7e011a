//! Which bindings each kind of exchange takes, and which it picks, in the plainest words.
//!
//! Owns no state.

use super::super::consistent::{Share, weight};
use super::super::hash;
use super::*;

pub(super) fn pattern_matches(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"#", rest)), None) => pattern_matches(rest, words),
        (Some((&"#", rest)), Some((_, less))) => {
            pattern_matches(rest, words) || pattern_matches(pattern, less)
        }
        (Some(_), None) => false,
        (Some((part, rest)), Some((word, less))) => {
            (*part == "*" || part == word) && pattern_matches(rest, less)
        }
    }
}

pub(super) fn words(key: &str) -> Vec<&str> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split('.').collect()
    }
}

fn mode(fields: &[Field]) -> Option<&'static str> {
    match fields
        .iter()
        .find(|(name, _)| *name == "x-match")
        .map(|(_, value)| *value)
    {
        None => Some("all"),
        Some(HeaderValue::LongString(b"any")) => Some("any"),
        Some(HeaderValue::LongString(b"any-with-x")) => Some("any-with-x"),
        Some(HeaderValue::LongString(b"all-with-x")) => Some("all-with-x"),
        Some(_) => None,
    }
}

fn headers_match(fields: &[Field], headers: &[Field]) -> bool {
    let mode = mode(fields).unwrap_or("all");
    let mut pairs = fields.iter().filter(|(name, _)| {
        *name != "x-match" && (mode.ends_with("-with-x") || !name.starts_with("x-"))
    });
    let satisfied = |(name, wanted): &Field| {
        let found = headers.iter().rfind(|(header, _)| header == name);
        found.is_some_and(|(_, value)| *wanted == HeaderValue::Void || wanted == value)
    };
    if mode.starts_with("any") {
        pairs.any(satisfied)
    } else {
        pairs.all(satisfied)
    }
}

/// Why a kind does not take an arrow.
pub(super) fn refused(kind: ExchangeKind, arrow: &Arrow) -> Option<BindError> {
    let number = arrow.key.parse::<i64>();
    match kind {
        ExchangeKind::Headers if mode(&arrow.fields).is_none() => {
            let value = Bytes::from_static(b"some");
            Some(BindError::XMatch(XMatchError::UnknownMode(value)))
        }
        ExchangeKind::ConsistentHash => match number {
            Err(_) => Some(BindError::Weight(WeightError::NotInteger)),
            Ok(..=0) => Some(BindError::Weight(WeightError::NotPositive)),
            Ok(10_001..) => Some(BindError::Weight(WeightError::TooLarge(10_000))),
            Ok(_) => None,
        },
        ExchangeKind::LocalRandom if !arrow.key.is_empty() => Some(BindError::KeyNotEmpty),
        ExchangeKind::LocalRandom if matches!(arrow.destination, Destination::Exchange(_)) => {
            Some(BindError::NotAQueue)
        }
        _ => None,
    }
}

/// What of the arrows from an exchange a message follows.
pub(super) fn found<'a>(
    kind: ExchangeKind,
    bound: Vec<&'a Arrow>,
    message: &Message,
) -> Vec<&'a Arrow> {
    let key = |test: &dyn Fn(&str) -> bool| message.keys.iter().any(|key| test(key));
    match kind {
        ExchangeKind::ConsistentHash | ExchangeKind::LocalRandom => {}
        ExchangeKind::ModulusHash | ExchangeKind::Random => {}
        _ => {
            let matching = |arrow: &&Arrow| match kind {
                ExchangeKind::Direct => key(&|key| arrow.key == key),
                ExchangeKind::Topic => key(&|key| pattern_matches(&words(&arrow.key), &words(key))),
                ExchangeKind::Headers => headers_match(&arrow.fields, &message.headers),
                _ => true,
            };
            return bound.into_iter().filter(matching).collect();
        }
    }
    let mut line = bound;
    line.sort_by_key(|arrow| {
        let encoded = arguments(&arrow.fields).encoded().clone();
        (rank(arrow), arrow.key.clone(), encoded)
    });
    if line.is_empty() {
        return line;
    }
    let keys: Vec<_> = message.keys.iter().map(|key| key.as_bytes()).collect();
    let picked = match kind {
        ExchangeKind::ConsistentHash => {
            line.dedup_by_key(|arrow| rank(arrow));
            let draw = |arrow: &Arrow| {
                let ((is_queue, name), weight) = (rank(arrow), weight(arrow.key.as_bytes()));
                Share::new(is_queue, name.as_bytes(), weight.unwrap())
                    .draw(hash::wide(b'S', keys[0]))
            };
            let lowest = |a: &&&Arrow, b: &&&Arrow| draw(a).total_cmp(&draw(b));
            return line.iter().min_by(lowest).copied().into_iter().collect();
        }
        ExchangeKind::ModulusHash => hash::phash2(&keys) as usize % line.len(),
        _ => ((u128::from(message.random) * line.len() as u128) >> 64) as usize,
    };
    vec![line[picked]]
}

/// Exchanges before queues, then by name.
fn rank(arrow: &Arrow) -> (bool, String) {
    match &arrow.destination {
        Destination::Exchange(name) => (false, name.to_string()),
        Destination::Queue(queue) => (true, Target::name(queue).to_string()),
    }
}
