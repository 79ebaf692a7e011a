//! Values in the notation of Erlang terms, as RabbitMQ's texts show them.
//!
//! Owns the notation only. Lines are never broken, though Erlang breaks them after 80 columns.

use std::fmt;

/// An atom: quoted unless it is a plain lower-case word, so that exchange type `x-random` shows as
/// `'x-random'` within the quotes of the text itself.
#[derive(Debug, Clone, Copy)]
pub struct Atom<'a>(pub &'a str);

impl fmt::Display for Atom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.0.starts_with(|c: char| c.is_ascii_lowercase())
            && self
                .0
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@');
        if plain {
            f.write_str(self.0)
        } else {
            write!(f, "'{}'", self.0)
        }
    }
}

/// A binary as `~p` shows it: `<<"text">>` if it can be printed, `<<1,2,3>>` if not.
#[derive(Debug, Clone, Copy)]
pub struct BinaryTerm<'a>(pub &'a [u8]);

impl fmt::Display for BinaryTerm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => {
                let suffix = if text.is_ascii() { "" } else { "/utf8" };
                write!(
                    f,
                    "<<\"{}\"{suffix}>>",
                    text.replace('\\', "\\\\").replace('"', "\\\"")
                )
            }
            _ => Octets(self.0).fmt(f),
        }
    }
}

/// A binary as `~w` shows it: always `<<1,2,3>>`. What cannot fit in a reply text is not written.
#[derive(Debug, Clone, Copy)]
pub struct Octets<'a>(pub &'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        for (i, octet) in self.0.iter().take(super::REPLY_TEXT_MAX).enumerate() {
            write!(f, "{}{octet}", if i == 0 { "" } else { "," })?;
        }
        f.write_str(">>")
    }
}
