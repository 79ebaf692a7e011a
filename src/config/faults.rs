//! What is wrong in a configuration file: in which line, with which key, and what stands there.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// Octets of a value that are shown.
const SHOWN_MAX: usize = 60;

/// Keys whose values are never shown.
const SECRET: [&str; 1] = ["auth.default_password"];

/// Behind the file's name.
pub(super) fn at_line(line: &Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

/// The fault of a text that is no configuration.
pub(super) fn unreadable(fault: &toml::de::Error, text: &str, path: &str) -> ConfigError {
    let mut reason = worded(fault.message());
    let span = fault.span();
    if let Some((key, value)) = span.as_ref().and_then(|span| value_at(text, span))
        && !SECRET.contains(&key.as_str())
    {
        let shown = text.get(value).unwrap_or_default();
        let line = shown.lines().next().unwrap_or_default();
        let cut: String = line.chars().take(SHOWN_MAX).collect();
        let dots = if cut.len() < shown.len() { "…" } else { "" };
        reason = format!("{key} = {cut}{dots}: {reason}");
    }
    ConfigError::Invalid {
        path: path.to_owned(),
        line: Some(line_of(text, span.map_or(0, |span| span.start))),
        reason,
    }
}

/// Adds the file to the fault of a value, and the line of its key or else of its table.
pub(super) fn located(fault: ConfigError, text: &str, path: &str) -> ConfigError {
    let ConfigError::OutOfRange { key, .. } = &fault else {
        return fault;
    };
    ConfigError::Invalid {
        path: path.to_owned(),
        line: place(text, key).map(|at| line_of(text, at)),
        reason: fault.to_string(),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or(text);
    before.matches('\n').count() + 1
}

/// Where the key is, or as much of its path as there is.
fn place(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for part in key.split('.') {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else {
            break;
        };
        found = Some(name.span().start);
        let Some(inner) = value.get_ref().as_table() else {
            break;
        };
        table = inner;
    }
    found
}

/// The key and the place of the value, other than a table, that `at` is in.
fn value_at(text: &str, at: &Range<usize>) -> Option<(String, Range<usize>)> {
    let document = DeTable::parse(text).ok()?;
    in_table("", document.get_ref(), at)
}

fn in_table(path: &str, table: &DeTable<'_>, at: &Range<usize>) -> Option<(String, Range<usize>)> {
    table.iter().find_map(|(name, value)| {
        let key = match path {
            "" => name.get_ref().to_string(),
            path => format!("{path}.{}", name.get_ref()),
        };
        in_value(&key, value, at)
    })
}

fn in_value(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    at: &Range<usize>,
) -> Option<(String, Range<usize>)> {
    let span = value.span();
    let itself = || {
        let is_within = span.start <= at.start && at.end <= span.end;
        is_within.then(|| (key.to_owned(), span.clone()))
    };
    match value.get_ref() {
        DeValue::Table(table) => in_table(key, table, at),
        DeValue::Array(items) => {
            let inner = items.iter().find_map(|item| in_value(key, item, at));
            let has_tables = items.iter().any(|item| item.get_ref().is_table());
            inner.or_else(|| if has_tables { None } else { itself() })
        }
        _ => itself(),
    }
}

/// What the libraries say, for people.
fn worded(message: &str) -> String {
    const NUMBERS: [(&str, u64); 3] = [
        ("expected u8", u8::MAX as u64),
        ("expected u16", u16::MAX as u64),
        ("expected u32", u32::MAX as u64),
    ];
    if message == "invalid IP address syntax" {
        return "must be a network, such as 10.0.0.0/8 or ::1/128".to_owned();
    }
    let message = message.replace('\n', " ");
    for (end, most) in NUMBERS {
        if let Some(start) = message.strip_suffix(end) {
            return format!("{start}expected a number from 0 to {most}");
        }
    }
    for (end, what) in [
        ("expected u64", "expected a number from 0"),
        ("expected usize", "expected a number from 0"),
        ("expected i64", "expected a number"),
    ] {
        if let Some(start) = message.strip_suffix(end) {
            return format!("{start}{what}");
        }
    }
    message
}
