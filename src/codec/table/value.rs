//! One value of a table or array: its type, its octets, and how texts show it.
//!
//! Owns the list of types; borrows everything.

use std::fmt;

use super::super::read::Reader;
use super::{ArrayRef, TableRef};
use crate::base::reply::BinaryTerm;

/// A field value. Numbers are decoded, the rest is borrowed.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l` and `L`; written as `l`.
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: a number and how many of its digits are decimals.
    Decimal(u8, u32),
    /// `S`: any octets, though mostly text.
    LongStr(&'a [u8]),
    /// `x`
    Binary(&'a [u8]),
    /// `A`
    Array(ArrayRef<'a>),
    /// `F`
    Table(TableRef<'a>),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `V`
    Void,
}

impl<'a> Value<'a> {
    /// Reads a type octet and the value behind it, not looking into tables and arrays.
    #[inline]
    pub(super) fn read(from: &mut Reader<'a>) -> Option<Self> {
        Some(match from.u8()? {
            b'S' => Value::LongStr(from.long()?),
            b'I' => Value::I32(i32::from_be_bytes(from.array()?)),
            b'l' | b'L' => Value::I64(i64::from_be_bytes(from.array()?)),
            b't' => Value::Bool(from.u8()? != 0),
            b'T' => Value::Timestamp(from.u64()?),
            b'F' => Value::Table(TableRef(from.long()?)),
            b'A' => Value::Array(ArrayRef(from.long()?)),
            b'd' => Value::F64(f64::from_be_bytes(from.array()?)),
            b'b' => Value::I8(i8::from_be_bytes(from.array()?)),
            b'B' => Value::U8(from.u8()?),
            b's' => Value::I16(i16::from_be_bytes(from.array()?)),
            b'u' => Value::U16(from.u16()?),
            b'i' => Value::U32(from.u32()?),
            b'f' => Value::F32(f32::from_be_bytes(from.array()?)),
            b'D' => Value::Decimal(from.u8()?, from.u32()?),
            b'x' => Value::Binary(from.long()?),
            b'V' => Value::Void,
            _ => return None,
        })
    }

    /// RabbitMQ's name of the type, as texts show it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal(..) => "decimal",
            Value::LongStr(_) => "longstr",
            Value::Binary(_) => "binary",
            Value::Array(_) => "array",
            Value::Table(_) => "table",
            Value::Timestamp(_) => "timestamp",
            Value::Void => "void",
        }
    }

    /// The integer, if it is one of any width. A timestamp is not.
    pub const fn as_int(&self) -> Option<i64> {
        match *self {
            Value::I8(n) => Some(n as i64),
            Value::U8(n) => Some(n as i64),
            Value::I16(n) => Some(n as i64),
            Value::U16(n) => Some(n as i64),
            Value::I32(n) => Some(n as i64),
            Value::U32(n) => Some(n as i64),
            Value::I64(n) => Some(n),
            _ => None,
        }
    }

    /// The text, if it is a string of UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Value::LongStr(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        }
    }

    /// Whether RabbitMQ takes two arguments for the same at a redeclare: the integer types are one
    /// class, the floating ones another, and all else must agree in type (row A2, 406 redeclare).
    pub fn equivalent(&self, other: &Value<'_>) -> bool {
        let float = |v: &Value<'_>| match *v {
            Value::F32(n) => Some(f64::from(n)),
            Value::F64(n) => Some(n),
            _ => None,
        };
        match (self.as_int(), other.as_int(), float(self), float(other)) {
            (Some(a), Some(b), ..) => a == b,
            (.., Some(a), Some(b)) => a == b,
            _ => self == other,
        }
    }
}

/// As RabbitMQ's texts show a value on its own: a string bare, all else in Erlang's notation.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::LongStr(s) | Value::Binary(s) => f.write_str(&String::from_utf8_lossy(s)),
            other => other.term(f),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{},", self.type_name())?;
        self.term(f)?;
        f.write_str("}")
    }
}

impl Value<'_> {
    fn term(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(b) => write!(f, "{b}"),
            Value::F32(n) => write!(f, "{n:?}"),
            Value::F64(n) => write!(f, "{n:?}"),
            Value::Decimal(scale, n) => write!(f, "{{{scale},{n}}}"),
            Value::LongStr(s) | Value::Binary(s) => write!(f, "{}", BinaryTerm(s)),
            Value::Array(array) => write!(f, "{array:?}"),
            Value::Table(table) => write!(f, "{table:?}"),
            Value::Timestamp(n) => write!(f, "{n}"),
            Value::Void => f.write_str("undefined"),
            int => write!(f, "{}", int.as_int().unwrap_or_default()),
        }
    }
}

/// `[{longstr,<<"a">>},{signedint,1}]`
impl fmt::Debug for ArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, value) in self.iter().enumerate() {
            write!(f, "{}{value:?}", if i == 0 { "" } else { "," })?;
        }
        f.write_str("]")
    }
}

/// `[{<<"key">>,longstr,<<"a">>}]`
impl fmt::Debug for TableRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (key, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{{{},{},", BinaryTerm(key), value.type_name())?;
            value.term(f)?;
            f.write_str("}")?;
        }
        f.write_str("]")
    }
}
