//! Frames and their payloads as text: what a transcript shows of them.

use super::spec::{self, Kind, PROPERTIES};
use super::value::Octets;

/// The last octet of every frame.
pub(crate) const FRAME_END: u8 = 0xce;

/// What came: a method with its content, or whatever else a broker may send.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// 0 is the connection itself.
    pub(crate) channel: u16,
    /// `class.method`, or a word for what is no method.
    pub(crate) name: String,
    /// Name and fields.
    pub(crate) text: String,
}

/// An item.
pub(crate) fn item(channel: u16, name: &str, text: String) -> Item {
    Item {
        channel,
        name: name.to_owned(),
        text,
    }
}

/// An item that is no method.
pub(crate) fn word(channel: u16, word: &str) -> Item {
    item(channel, word, word.to_owned())
}

/// Type, channel and size of the payload of a frame.
pub(crate) fn head(from: &mut Octets<'_>) -> Option<(u8, u16, usize)> {
    let kind = from.number(1)? as u8;
    Some((kind, from.number(2)? as u16, from.number(4)? as usize))
}

/// A frame's octets.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    out.extend(size.to_be_bytes());
    out.extend(payload);
    out.push(FRAME_END);
    out
}

/// Name and fields, without those that are false or empty.
pub(crate) fn method_text(method: &spec::Method, from: &mut Octets<'_>) -> Option<String> {
    let mut text = method.name.to_owned();
    let mut bits: Option<(u8, u8)> = None;
    for field in &method.fields {
        let value = if field.kind == Kind::Bit {
            let (octet, at) = match bits {
                Some((octet, at)) if at < 8 => (octet, at),
                _ => (from.number(1)? as u8, 0),
            };
            bits = Some((octet, at + 1));
            (octet >> at & 1 != 0).to_string()
        } else {
            bits = None;
            from.field(field.kind)?
        };
        if !["false", "\"\"", "{}"].contains(&value.as_str()) {
            text += &format!(" {}={value}", field.name);
        }
    }
    from.0.is_empty().then_some(text)
}

/// Names and values of the properties that are there.
pub(crate) fn properties_text(from: &mut Octets<'_>) -> Option<String> {
    let flags = from.number(2)?;
    let mut text = String::new();
    for (at, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags >> (15 - at) & 1 != 0 {
            text += &format!(" {name}={}", from.field(*kind)?);
        }
    }
    from.0.is_empty().then_some(text)
}
