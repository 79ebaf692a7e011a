//! Writing tables and arrays.
//!
//! What is built is valid by construction, but for nesting: whoever wraps tables of others into
//! each other without end is not stopped here.

use bytes::{BufMut, Bytes, BytesMut};

use super::{ArrayRef, RawTable, TableRef, Value};
use crate::base::limits::SHORTSTR_MAX;

/// A table in the making. Fields stay in the order they are added.
#[derive(Debug, Clone, Default)]
pub struct TableBuilder(BytesMut);

impl TableBuilder {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field, also if the key is there already. Of a key only 255 octets count.
    pub fn insert(&mut self, key: &str, value: Value<'_>) -> &mut Self {
        let key = key
            .get(..key.floor_char_boundary(SHORTSTR_MAX))
            .unwrap_or_default();
        self.insert_raw(key.as_bytes(), value)
    }

    /// Adds a field whose key need not be UTF-8, such as one read from another table.
    pub fn insert_raw(&mut self, key: &[u8], value: Value<'_>) -> &mut Self {
        put_short(&mut self.0, key);
        put_value(&mut self.0, value);
        self
    }

    /// What is there so far, to be put into another table.
    pub fn view(&self) -> TableRef<'_> {
        TableRef(&self.0)
    }

    /// The table.
    pub fn finish(self) -> RawTable {
        RawTable(self.0.freeze())
    }
}

/// An array in the making.
#[derive(Debug, Clone, Default)]
pub struct ArrayBuilder(BytesMut);

impl ArrayBuilder {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    pub fn push(&mut self, value: Value<'_>) -> &mut Self {
        put_value(&mut self.0, value);
        self
    }

    /// What is there so far, to be put into a table.
    pub fn view(&self) -> ArrayRef<'_> {
        ArrayRef(&self.0)
    }

    /// The array's octets, without the length in front.
    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// A short string: of longer octets the first 255.
#[inline]
pub(in crate::codec) fn put_short(out: &mut BytesMut, octets: &[u8]) {
    let octets = octets.get(..SHORTSTR_MAX).unwrap_or(octets);
    out.put_u8(octets.len() as u8);
    out.extend_from_slice(octets);
}

/// Four octets of length, then the octets. No buffer here comes near four gigabytes; one that did
/// would be cut.
pub(in crate::codec) fn put_long(out: &mut BytesMut, octets: &[u8]) {
    let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
    out.put_u32(len);
    out.extend_from_slice(octets.get(..len as usize).unwrap_or(octets));
}

fn put_value(out: &mut BytesMut, value: Value<'_>) {
    out.put_u8(match value {
        Value::Bool(_) => b't',
        Value::I8(_) => b'b',
        Value::U8(_) => b'B',
        Value::I16(_) => b's',
        Value::U16(_) => b'u',
        Value::I32(_) => b'I',
        Value::U32(_) => b'i',
        Value::I64(_) => b'l',
        Value::F32(_) => b'f',
        Value::F64(_) => b'd',
        Value::Decimal(..) => b'D',
        Value::LongStr(_) => b'S',
        Value::Binary(_) => b'x',
        Value::Array(_) => b'A',
        Value::Table(_) => b'F',
        Value::Timestamp(_) => b'T',
        Value::Void => b'V',
    });
    match value {
        Value::Bool(b) => out.put_u8(b.into()),
        Value::I8(n) => out.put_i8(n),
        Value::U8(n) => out.put_u8(n),
        Value::I16(n) => out.put_i16(n),
        Value::U16(n) => out.put_u16(n),
        Value::I32(n) => out.put_i32(n),
        Value::U32(n) => out.put_u32(n),
        Value::I64(n) => out.put_i64(n),
        Value::F32(n) => out.put_f32(n),
        Value::F64(n) => out.put_f64(n),
        Value::Decimal(scale, n) => {
            out.put_u8(scale);
            out.put_u32(n);
        }
        Value::LongStr(octets) | Value::Binary(octets) => put_long(out, octets),
        Value::Array(array) => put_long(out, array.octets()),
        Value::Table(table) => put_long(out, table.octets()),
        Value::Timestamp(n) => out.put_u64(n),
        Value::Void => {}
    }
}
