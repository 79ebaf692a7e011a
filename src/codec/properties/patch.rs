//! Changing some properties and copying the rest as it is.
//!
//! Owns nothing between calls: a patch is a list of changes, and applying it writes new octets.

use bytes::{BufMut, Bytes, BytesMut};

use super::super::read::Reader;
use super::super::table::{TableRef, put_long, put_short};
use super::{Properties, Property};

/// What becomes of one property.
#[derive(Debug, Clone, Copy, Default)]
enum Change<'a> {
    #[default]
    Keep,
    Remove,
    Text(&'a [u8]),
    Octet(u8),
    Time(u64),
    Table(TableRef<'a>),
}

/// Changes to properties, also the way to build them from none. Later changes of a property
/// replace earlier ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropertyPatch<'a>([Change<'a>; Property::ALL.len()]);

impl<'a> PropertyPatch<'a> {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    fn set(mut self, property: Property, change: Change<'a>) -> Self {
        if let Some(slot) = self.0.get_mut(property as usize) {
            *slot = change;
        }
        self
    }

    /// Takes a property away.
    #[must_use]
    pub fn remove(self, property: Property) -> Self {
        self.set(property, Change::Remove)
    }

    /// Sets a property that is a string; of longer ones only 255 octets count. Does nothing for the
    /// four that are none.
    #[must_use]
    pub fn text(self, property: Property, value: &'a [u8]) -> Self {
        match property {
            Property::Headers
            | Property::DeliveryMode
            | Property::Priority
            | Property::Timestamp => self,
            _ => self.set(property, Change::Text(value)),
        }
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(self, headers: TableRef<'a>) -> Self {
        self.set(Property::Headers, Change::Table(headers))
    }

    /// Sets the delivery mode.
    #[must_use]
    pub fn delivery_mode(self, mode: u8) -> Self {
        self.set(Property::DeliveryMode, Change::Octet(mode))
    }

    /// Sets the priority.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        self.set(Property::Priority, Change::Octet(priority))
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn timestamp(self, seconds: u64) -> Self {
        self.set(Property::Timestamp, Change::Time(seconds))
    }

    /// The properties with the changes made. What was not validated before and cannot be read is
    /// dropped.
    pub fn apply(&self, to: &Properties) -> Properties {
        let mut from = Reader::new(to.raw());
        let had = from.u16().unwrap_or_default();
        let mut flags = 0;
        let mut out = BytesMut::with_capacity(to.raw().len() + 64);
        out.put_u16(0);
        for (property, change) in Property::ALL.into_iter().zip(self.0) {
            let old = if had & property.flag() == 0 {
                None
            } else {
                property.skip(&mut from)
            };
            match change {
                Change::Remove => continue,
                Change::Keep => match old {
                    Some(value) => out.extend_from_slice(value),
                    None => continue,
                },
                Change::Text(value) => put_short(&mut out, value),
                Change::Octet(value) => out.put_u8(value),
                Change::Time(value) => out.put_u64(value),
                Change::Table(table) => put_long(&mut out, table.octets()),
            }
            flags |= property.flag();
        }
        if let Some(first) = out.first_chunk_mut::<2>() {
            *first = flags.to_be_bytes();
        }
        Properties::trusted(out.freeze())
    }

    /// Properties of nothing but what was set here.
    pub fn build(&self) -> Properties {
        self.apply(&Properties::trusted(Bytes::from_static(&[0, 0])))
    }
}
