//! By what a message is known again that was sent twice (A3.21).
//!
//! Owns the id. Which ids were seen, the broker knows.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Message;
use crate::base::limits::DEDUP_SIZE;
use crate::codec::{Properties, Value};

/// The header with the id, unless told otherwise.
const HEADER: &str = "x-deduplication-header";

/// How an exchange or a queue drops what it has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// How many ids are remembered, the last ones.
    pub size: u64,
    /// For how long, in milliseconds; without a limit if absent.
    pub ttl_ms: Option<u64>,
    /// The header that has the id.
    pub header: String,
    /// Of a queue: an id is known for as long as its message is there, and `size` and `ttl_ms` have no
    /// meaning.
    pub while_there: bool,
}

impl Default for Dedup {
    fn default() -> Self {
        Dedup {
            size: DEDUP_SIZE,
            ttl_ms: None,
            header: HEADER.to_owned(),
            while_there: false,
        }
    }
}

/// What stands for a header's value: a hash, so that it takes as little memory whatever a client sends, and so
/// that no client can make two values meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DedupId(pub [u8; 16]);

impl Message {
    /// Its id, if it has the header.
    pub fn dedup_id(&self, header: &str) -> Option<DedupId> {
        let properties = Properties::trusted(self.properties_bytes());
        let value = properties.headers()?.get(header)?;
        let mut hash = Sha256::new();
        hash.update(value.type_name());
        hash.update([0]);
        match value {
            Value::LongStr(text) => hash.update(text),
            other => hash.update(other.to_string()),
        }
        let whole: [u8; 32] = hash.finalize().into();
        whole.first_chunk().copied().map(DedupId)
    }
}

/// What is on disk of an id: the message of a window's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupMark {
    /// The id.
    pub id: DedupId,
    /// When it was seen, in ms since 1970; 0 if it is to be forgotten.
    pub seen_at_ms: u64,
}

impl DedupMark {
    /// As a message.
    pub fn to_message(self) -> Message {
        let body = [&self.id.0[..], &self.seen_at_ms.to_be_bytes()].concat();
        let facts = super::Facts::new(true, 0, false);
        Message::from_parts(b"", b"", b"\0\0", vec![Bytes::from(body)], facts)
    }

    /// From such a message.
    pub fn from_message(message: &Message) -> Option<Self> {
        let body = message.body_parts().collect::<Vec<_>>().concat();
        let (id, at) = body.split_first_chunk()?;
        Some(DedupMark {
            id: DedupId(*id),
            seen_at_ms: u64::from_be_bytes(at.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{PropertyPatch, TableBuilder};
    use crate::message::Facts;

    fn with(value: Value<'_>) -> Message {
        let mut headers = TableBuilder::new();
        headers.insert(HEADER, value);
        let headers = headers.finish();
        let properties = PropertyPatch::new().headers(headers.view()).build();
        Message::from_parts(b"", b"q", properties.raw(), vec![], Facts::default())
    }

    #[test]
    fn a3_21_an_id_is_type_and_value() {
        let id = |value| with(value).dedup_id(HEADER).unwrap();
        assert_eq!(id(Value::LongStr(b"1")), id(Value::LongStr(b"1")));
        assert_ne!(id(Value::LongStr(b"1")), id(Value::LongStr(b"2")));
        assert_ne!(id(Value::LongStr(b"1")), id(Value::I32(1)));
        assert_eq!(with(Value::I32(1)).dedup_id("another"), None);
    }

    #[test]
    fn a_mark_reads_back() {
        let mark = DedupMark {
            id: DedupId([7; 16]),
            seen_at_ms: 1_700_000_000_123,
        };
        assert_eq!(DedupMark::from_message(&mark.to_message()), Some(mark));
        assert_eq!(DedupMark::from_message(&with(Value::Void)), None);
    }
}
