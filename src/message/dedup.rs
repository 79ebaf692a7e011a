//! By what a message is known again that was sent twice (A3.21).
//!
//! Owns the id. Which ids were seen, the broker knows.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Message;
use crate::base::limits::{DEDUP_SIZE, EXPIRY_MAX_MS};
use crate::codec::{Properties, Property, PropertyPatch, Value};

/// The header with the id, unless told otherwise.
const HEADER: &str = "x-deduplication-header";

/// The header that says for how long a message's id is to be remembered, in milliseconds.
const TTL_HEADER: &str = "x-cache-ttl";

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

    /// For how long its id is to be remembered in place of what the window says, in milliseconds, at most ten
    /// years. What is no integer of 0 and up says nothing: the publisher cannot be told, since that would
    /// close its channel for a header.
    pub fn dedup_ttl_ms(&self) -> Option<u64> {
        let properties = Properties::trusted(self.properties_bytes());
        let ttl_ms = properties.headers()?.get(TTL_HEADER)?.as_int()?;
        u64::try_from(ttl_ms.min(EXPIRY_MAX_MS)).ok()
    }
}

/// What is on disk of an id: the message of a window's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupMark {
    /// The id.
    pub id: DedupId,
    /// When it was seen, in ms since 1970; 0 if it is to be forgotten.
    pub seen_at_ms: u64,
    /// For how long it is known, in milliseconds; as the window says if absent, which is so only on disks
    /// that older versions wrote and in windows without a limit.
    pub ttl_ms: Option<u64>,
}

impl DedupMark {
    /// As a message, which leaves the window's queue when it is no longer known.
    pub fn to_message(self) -> Message {
        let body = [&self.id.0[..], &self.seen_at_ms.to_be_bytes()].concat();
        let facts = super::Facts::new(true, 0, self.ttl_ms.is_some());
        let ttl_ms = self.ttl_ms.map(|ttl_ms| ttl_ms.to_string());
        let mut properties = PropertyPatch::new();
        if let Some(ttl_ms) = &ttl_ms {
            properties = properties.text(Property::Expiration, ttl_ms.as_bytes());
        }
        let properties = properties.build();
        Message::from_parts(b"", b"", properties.raw(), vec![Bytes::from(body)], facts)
    }

    /// From such a message.
    pub fn from_message(message: &Message) -> Option<Self> {
        let body = message.body_parts().collect::<Vec<_>>().concat();
        let (id, at) = body.split_first_chunk()?;
        Some(DedupMark {
            id: DedupId(*id),
            seen_at_ms: u64::from_be_bytes(at.try_into().ok()?),
            ttl_ms: message.ttl_ms(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TableBuilder;
    use crate::message::Facts;

    fn with(value: Value<'_>) -> Message {
        with_header(HEADER, value)
    }

    fn with_header(name: &str, value: Value<'_>) -> Message {
        let mut headers = TableBuilder::new();
        headers.insert(name, value);
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
    fn a3_21_a_message_says_how_long_its_id_is_known() {
        let ttl_ms = |value| with_header(TTL_HEADER, value).dedup_ttl_ms();
        for (value, wanted) in [
            (Value::I8(1), Some(1)),
            (Value::U16(65_535), Some(65_535)),
            (Value::I32(0), Some(0)),
            (Value::I64(60_000), Some(60_000)),
            (Value::I64(EXPIRY_MAX_MS + 1), Some(EXPIRY_MAX_MS as u64)),
            (Value::I64(i64::MAX), Some(EXPIRY_MAX_MS as u64)),
            (Value::I32(-1), None),
            (Value::I64(i64::MIN), None),
            (Value::LongStr(b"60000"), None),
            (Value::F64(60_000.0), None),
            (Value::Bool(true), None),
            (Value::Timestamp(60_000), None),
            (Value::Void, None),
        ] {
            assert_eq!(ttl_ms(value), wanted, "{value}");
        }
        assert_eq!(with(Value::I32(1)).dedup_ttl_ms(), None);
    }

    #[test]
    fn a_mark_reads_back() {
        for ttl_ms in [None, Some(0), Some(EXPIRY_MAX_MS as u64)] {
            let mark = DedupMark {
                id: DedupId([7; 16]),
                seen_at_ms: 1_700_000_000_123,
                ttl_ms,
            };
            assert_eq!(DedupMark::from_message(&mark.to_message()), Some(mark));
        }
        assert_eq!(DedupMark::from_message(&with(Value::Void)), None);
    }
}
