//! A binding's arguments, header values, and the matcher of a headers exchange.
//!
//! Owns when a message's headers satisfy a binding (A3.5). Never decodes a field table: whoever does hands in
//! (name, value) pairs, and the encoded table besides, which is the arguments' identity.

use std::sync::Arc;

use bytes::Bytes;

/// One value of a field table, as the headers exchange tells values apart.
///
/// RabbitMQ compares what a value decodes to, not its type octet: the widths of integers and of floats do not
/// matter, and a long string equals a byte array of the same octets; an integer never equals a float, a
/// boolean or a string (rabbit_exchange_type_headers.erl, exact equality).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeaderValue<'a> {
    /// `V`: no value. In a binding it asks only for the header's presence.
    Void,
    /// `t`
    Bool(bool),
    /// `b B s u I i l L`
    Int(i64),
    /// `f d`
    Float(f64),
    /// `S`
    LongString(&'a [u8]),
    /// `x`
    ByteArray(&'a [u8]),
    /// `T`, in seconds
    Timestamp(u64),
    /// `D`: equal only if both the scale and the digits are.
    Decimal {
        /// Digits after the decimal point.
        scale: u8,
        /// All the digits.
        value: u32,
    },
    /// `F`, still encoded
    Table(&'a [u8]),
    /// `A`, still encoded
    Array(&'a [u8]),
}

/// What a header value is compared as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparable<B> {
    Void,
    Bool(bool),
    Int(i128),
    /// By its bits, so that 0.0 and -0.0 differ as they do in Erlang/OTP 27.
    Float(u64),
    Bytes(B),
    Decimal(u8, u32),
    Table(B),
    Array(B),
}

impl<'a> Comparable<&'a [u8]> {
    fn to_owned(&self) -> Comparable<Box<[u8]>> {
        match *self {
            Comparable::Void => Comparable::Void,
            Comparable::Bool(value) => Comparable::Bool(value),
            Comparable::Int(value) => Comparable::Int(value),
            Comparable::Float(value) => Comparable::Float(value),
            Comparable::Bytes(value) => Comparable::Bytes(value.into()),
            Comparable::Decimal(scale, value) => Comparable::Decimal(scale, value),
            Comparable::Table(value) => Comparable::Table(value.into()),
            Comparable::Array(value) => Comparable::Array(value.into()),
        }
    }

    fn of(value: HeaderValue<'a>, timestamp_unit: i128) -> Self {
        match value {
            HeaderValue::Void => Comparable::Void,
            HeaderValue::Bool(value) => Comparable::Bool(value),
            HeaderValue::Int(value) => Comparable::Int(value.into()),
            HeaderValue::Float(value) => Comparable::Float(value.to_bits()),
            HeaderValue::LongString(value) | HeaderValue::ByteArray(value) => {
                Comparable::Bytes(value)
            }
            HeaderValue::Timestamp(value) => Comparable::Int(i128::from(value) * timestamp_unit),
            HeaderValue::Decimal { scale, value } => Comparable::Decimal(scale, value),
            HeaderValue::Table(value) => Comparable::Table(value),
            HeaderValue::Array(value) => Comparable::Array(value),
        }
    }

    /// A value in a message's headers. A timestamp counts as its milliseconds there, as RabbitMQ has it since
    /// 3.13 (mc_amqpl.erl, `routing_headers`), while in a binding it counts as its seconds.
    pub(super) fn in_message(value: HeaderValue<'a>) -> Self {
        Self::of(value, 1000)
    }
}

impl Comparable<Box<[u8]>> {
    pub(super) fn borrowed(&self) -> Comparable<&[u8]> {
        match self {
            Comparable::Void => Comparable::Void,
            Comparable::Bool(value) => Comparable::Bool(*value),
            Comparable::Int(value) => Comparable::Int(*value),
            Comparable::Float(value) => Comparable::Float(*value),
            Comparable::Bytes(value) => Comparable::Bytes(value),
            Comparable::Decimal(scale, value) => Comparable::Decimal(*scale, *value),
            Comparable::Table(value) => Comparable::Table(value),
            Comparable::Array(value) => Comparable::Array(value),
        }
    }
}

/// How many of a binding's pairs a message must satisfy, and which pairs count (A3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchMode {
    /// `all`, the default: every pair whose name does not start with `x-`.
    #[default]
    All,
    /// `any`: at least one pair whose name does not start with `x-`.
    Any,
    /// `all-with-x`: every pair but `x-match`.
    AllWithX,
    /// `any-with-x`: at least one pair but `x-match`.
    AnyWithX,
}

/// An `x-match` that a headers exchange refuses to be bound with: 406 (A2, A3.5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XMatchError {
    /// A string that names no mode. RabbitMQ: `Invalid x-match field value <<"v">>; expected all, any,
    /// all-with-x, or any-with-x`.
    #[error("x-match names no mode: {0:?}")]
    UnknownMode(Bytes),
    /// Not a long string (a byte array is none). RabbitMQ: `Invalid x-match field type T (value V); expected
    /// longstr`.
    #[error("x-match is not a long string")]
    NotLongString,
}

/// One pair of a binding's arguments that a message's headers are held against.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) name: Box<[u8]>,
    /// `Void` asks only for the header's presence.
    pub(super) value: Comparable<Box<[u8]>>,
}

/// When a message's headers satisfy a binding.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    any: bool,
    pairs: Vec<Pair>,
}

impl Matcher {
    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// One satisfied pair is enough. Without any pair nothing matches; `all` without a pair always does.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether headers satisfy the binding; they are sorted by name, each name once.
    pub(super) fn matches(&self, headers: &[(&[u8], Comparable<&[u8]>)]) -> bool {
        let satisfied = |pair: &Pair| {
            let found = headers.binary_search_by(|(name, _)| (*name).cmp(&pair.name));
            let value = found
                .ok()
                .and_then(|at| headers.get(at))
                .map(|(_, value)| value);
            value.is_some_and(|value| {
                pair.value == Comparable::Void || pair.value.borrowed() == *value
            })
        };
        if self.any {
            self.pairs.iter().any(satisfied)
        } else {
            self.pairs.iter().all(satisfied)
        }
    }
}

/// A binding's arguments: the encoded table, which is their identity, and what a headers exchange reads in it.
#[derive(Clone, Debug, Default)]
pub struct BindingArguments {
    encoded: Bytes,
    parsed: Option<Arc<Parsed>>,
}

#[derive(Debug)]
struct Parsed {
    mode: Result<MatchMode, XMatchError>,
    matcher: Matcher,
}

impl BindingArguments {
    /// Arguments from the encoded table and its fields.
    ///
    /// Two bindings are one only if their encoded tables are equal octet by octet. RabbitMQ sorts a binding's
    /// arguments by name before it compares them (A3.15), so `encoded` has to be in that order. An empty
    /// table is `Bytes::new()` ([`BindingArguments::default`]).
    ///
    /// A bad `x-match` is no error here, because only a headers exchange looks at it:
    /// [`Graph::bind`](super::Graph::bind) refuses it there.
    pub fn new<'a>(
        encoded: &[u8],
        fields: impl Iterator<Item = (&'a [u8], HeaderValue<'a>)>,
    ) -> Self {
        let fields: Vec<_> = fields.collect();
        if fields.is_empty() {
            return BindingArguments {
                encoded: Bytes::copy_from_slice(encoded),
                parsed: None,
            };
        }
        // The first of several counts, as in `rabbit_misc:table_lookup`.
        let mode = match fields.iter().find(|(name, _)| *name == b"x-match") {
            None => Ok(MatchMode::All),
            Some((_, value)) => match_mode(*value),
        };
        let with_x = matches!(mode, Ok(MatchMode::AllWithX | MatchMode::AnyWithX));
        let pairs = fields
            .iter()
            .filter(|(name, _)| *name != b"x-match" && (with_x || !name.starts_with(b"x-")))
            .map(|(name, value)| Pair {
                name: (*name).into(),
                value: Comparable::of(*value, 1).to_owned(),
            });
        let any = matches!(mode, Ok(MatchMode::Any | MatchMode::AnyWithX));
        let matcher = Matcher {
            any,
            pairs: pairs.collect(),
        };
        let parsed = Some(Arc::new(Parsed { mode, matcher }));
        BindingArguments {
            encoded: Bytes::copy_from_slice(encoded),
            parsed,
        }
    }

    /// The encoded table.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// How a headers exchange matches with these arguments.
    ///
    /// # Errors
    /// `x-match` is there and is none of the modes.
    pub fn match_mode(&self) -> Result<MatchMode, XMatchError> {
        self.parsed
            .as_ref()
            .map_or(Ok(MatchMode::All), |parsed| parsed.mode.clone())
    }

    pub(super) fn matcher(&self) -> Option<&Matcher> {
        self.parsed.as_ref().map(|parsed| &parsed.matcher)
    }
}

impl PartialEq for BindingArguments {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for BindingArguments {}

fn match_mode(value: HeaderValue<'_>) -> Result<MatchMode, XMatchError> {
    match value {
        HeaderValue::LongString(b"all") => Ok(MatchMode::All),
        HeaderValue::LongString(b"any") => Ok(MatchMode::Any),
        HeaderValue::LongString(b"all-with-x") => Ok(MatchMode::AllWithX),
        HeaderValue::LongString(b"any-with-x") => Ok(MatchMode::AnyWithX),
        HeaderValue::LongString(other) => {
            Err(XMatchError::UnknownMode(Bytes::copy_from_slice(other)))
        }
        _ => Err(XMatchError::NotLongString),
    }
}
