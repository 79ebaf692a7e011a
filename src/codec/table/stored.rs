//! Tables in stored records: as one run of octets, validated again when they come back.
//!
//! Owns no format of its own beyond that of the wire.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RawTable;

impl Serialize for RawTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.octets())
    }
}

impl<'de> Deserialize<'de> for RawTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Octets)
    }
}

struct Octets;

impl<'de> Visitor<'de> for Octets {
    type Value = RawTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the octets of a field table")
    }

    fn visit_bytes<E: Error>(self, octets: &[u8]) -> Result<RawTable, E> {
        RawTable::new(Bytes::copy_from_slice(octets)).map_err(E::custom)
    }

    fn visit_byte_buf<E: Error>(self, octets: Vec<u8>) -> Result<RawTable, E> {
        RawTable::new(octets.into()).map_err(E::custom)
    }

    // Formats without a type for octets give them one by one.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawTable, A::Error> {
        let mut octets = Vec::new();
        while let Some(octet) = seq.next_element()? {
            octets.push(octet);
        }
        RawTable::new(octets.into()).map_err(A::Error::custom)
    }
}
