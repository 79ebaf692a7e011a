//! Field tables and arrays read in place (spec 4.2.5.5, row A1.10).
//!
//! Order and duplicate keys are kept, as they must be in headers that pass through. Everything is
//! validated once, nested values included, when it enters as a [`RawTable`] or in a properties
//! scan; after that iterating cannot fail.
//!
//! Types are RabbitMQ's: `s` is a signed 16-bit integer, `l` and `L` are both signed 64-bit, `B u i`
//! are the unsigned ones, `x` is a byte array. Keys need not be UTF-8.

mod build;
mod json;
mod stored;
mod value;

use bytes::Bytes;

pub use build::{ArrayBuilder, TableBuilder};
pub(super) use build::{put_long, put_short};
pub use json::{JsonError, Null};
pub use value::Value;

use super::read::Reader;
use crate::base::AmqpError;
use crate::base::limits::TABLE_DEPTH_MAX;

/// A validated table that owns a share of the octets it was read in, its length not included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RawTable(Bytes);

impl RawTable {
    /// A table from its octets, without the length in front.
    ///
    /// # Errors
    /// 502 if they are no table, or one nested deeper than `limits::TABLE_DEPTH_MAX`.
    pub fn new(octets: Bytes) -> Result<Self, AmqpError> {
        validate_table(&octets)?;
        Ok(RawTable(octets))
    }

    /// The octets, without the length in front.
    pub const fn octets(&self) -> &Bytes {
        &self.0
    }

    /// The table itself.
    pub fn view(&self) -> TableRef<'_> {
        TableRef(&self.0)
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.view().get(key)
    }

    /// Keys and values in the order they came.
    pub fn iter(&self) -> TableIter<'_> {
        self.view().iter()
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same fields sorted by key, equal keys in their order: RabbitMQ compares the arguments
    /// of bindings so (row A3.15).
    #[must_use]
    pub fn sorted(&self) -> RawTable {
        let mut fields: Vec<_> = self.iter().collect();
        if fields.is_sorted_by_key(|(key, _)| *key) {
            return self.clone();
        }
        fields.sort_by_key(|(key, _)| *key);
        let mut out = TableBuilder::new();
        for (key, value) in fields {
            out.insert_raw(key, value);
        }
        out.finish()
    }
}

impl<'a> IntoIterator for &'a RawTable {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = TableIter<'a>;
    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

/// A table within validated octets.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct TableRef<'a>(&'a [u8]);

impl<'a> TableRef<'a> {
    /// A table from octets that a scan has been over already.
    pub(super) const fn trusted(octets: &'a [u8]) -> Self {
        TableRef(octets)
    }

    /// Its octets, without the length in front.
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Keys and values in the order they came, duplicates included.
    pub const fn iter(self) -> TableIter<'a> {
        TableIter(Reader::new(self.0))
    }

    /// The first value of a key, as RabbitMQ looks keys up.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.iter()
            .find(|(k, _)| *k == key.as_bytes())
            .map(|(_, value)| value)
    }

    /// Whether it has no fields.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// A copy that stands on its own.
    pub fn to_raw(self) -> RawTable {
        RawTable(Bytes::copy_from_slice(self.0))
    }
}

impl<'a> IntoIterator for TableRef<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = TableIter<'a>;
    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

/// The fields of a table.
#[derive(Debug, Clone)]
pub struct TableIter<'a>(Reader<'a>);

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a [u8], Value<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some((self.0.short()?, Value::read(&mut self.0)?))
    }
}

/// An array within validated octets.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ArrayRef<'a>(&'a [u8]);

impl<'a> ArrayRef<'a> {
    /// Its octets, without the length in front.
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// The values in order.
    pub const fn iter(self) -> ArrayIter<'a> {
        ArrayIter(Reader::new(self.0))
    }

    /// Whether it has no values.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for ArrayRef<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;
    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// The values of an array.
#[derive(Debug, Clone)]
pub struct ArrayIter<'a>(Reader<'a>);

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;
    fn next(&mut self) -> Option<Value<'a>> {
        if self.0.is_empty() {
            None
        } else {
            Value::read(&mut self.0)
        }
    }
}

/// Whether octets are a table through and through.
///
/// # Errors
/// 502, as for [`RawTable::new`].
pub(super) fn validate_table(octets: &[u8]) -> Result<(), AmqpError> {
    check_table(octets, TABLE_DEPTH_MAX)
}

fn check_table(octets: &[u8], depth: usize) -> Result<(), AmqpError> {
    let mut fields = Reader::new(octets);
    while !fields.is_empty() {
        fields.short().ok_or_else(AmqpError::malformed_table)?;
        check_value(&mut fields, depth)?;
    }
    Ok(())
}

fn check_array(octets: &[u8], depth: usize) -> Result<(), AmqpError> {
    let mut values = Reader::new(octets);
    while !values.is_empty() {
        check_value(&mut values, depth)?;
    }
    Ok(())
}

fn check_value(from: &mut Reader<'_>, depth: usize) -> Result<(), AmqpError> {
    let deeper = || {
        depth
            .checked_sub(1)
            .filter(|d| *d > 0)
            .ok_or_else(|| AmqpError::table_too_deep(TABLE_DEPTH_MAX))
    };
    match Value::read(from).ok_or_else(AmqpError::malformed_table)? {
        Value::Table(table) => check_table(table.octets(), deeper()?),
        Value::Array(array) => check_array(array.octets(), deeper()?),
        _ => Ok(()),
    }
}
