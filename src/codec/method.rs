//! Methods, read from the payload of a method frame (rows A1.8 to A1.10, "Methods").
//!
//! Three ways, by what they cost and what they must keep:
//!
//! - basic.publish, ack, nack and reject come by the hundred thousand a second. They are read by
//!   hand, borrowing the strings. Those of publish are not checked for UTF-8, as in RabbitMQ.
//!   basic.qos is read by hand too, for the prefetch size that `amq-protocol` drops.
//! - All others are read by `amq-protocol` into its [`AMQPClass`]. Its field table is a map: it
//!   loses order and duplicates, rejects keys that are not UTF-8, and nests without bound. So the
//!   table of a method that has one is cut out first, validated here, and handed on beside the
//!   method as a [`RawTable`]; the method's own `arguments` (or `client_properties`) stay empty.
//! - Which methods exist, and where their tables are, says one list here.
//!
//! Never decides whether a method fits the state it arrives in.

use amq_protocol::protocol::{AMQPClass, parse_class};
use bytes::Bytes;

use super::read::Reader;
use super::table::RawTable;
use crate::base::AmqpError;

/// Class basic.
pub const BASIC: u16 = 60;

/// A method as a channel handles it.
#[derive(Debug, Clone, PartialEq)]
pub enum Method<'a> {
    /// 60,40: content follows.
    Publish(Publish<'a>),
    /// 60,80
    Ack {
        /// Delivery tag; 0 with `multiple` means all.
        tag: u64,
        /// All up to the tag.
        multiple: bool,
    },
    /// 60,120
    Nack {
        /// Delivery tag; 0 with `multiple` means all.
        tag: u64,
        /// All up to the tag.
        multiple: bool,
        /// Back to the queue, or else dropped or dead-lettered.
        requeue: bool,
    },
    /// 60,90
    Reject {
        /// Delivery tag.
        tag: u64,
        /// Back to the queue, or else dropped or dead-lettered.
        requeue: bool,
    },
    /// 60,10: read here because `amq-protocol` drops the prefetch size, which must be refused.
    Qos {
        /// In octets; anything but 0 is not implemented: 540.
        prefetch_size: u32,
        /// In messages; 0 is no limit.
        prefetch_count: u16,
        /// For the channel, or else for each consumer started later.
        global: bool,
    },
    /// Every other one.
    Other(Box<Command>),
}

/// basic.publish, its strings borrowed from the frame and not necessarily UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Exchange name.
    pub exchange: &'a [u8],
    /// Routing key.
    pub routing_key: &'a [u8],
    /// Return it if it reaches no queue.
    pub mandatory: bool,
    /// Not implemented by RabbitMQ: 540.
    pub immediate: bool,
}

/// A method read by `amq-protocol`.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The method; a field table in it is empty whatever the client sent.
    pub method: AMQPClass,
    /// That table: arguments of declare, bind, unbind and consume, client properties of start-ok.
    pub arguments: RawTable,
}

impl Method<'_> {
    /// Class and method, for the close that a fault of it leads to.
    pub fn id(&self) -> (u16, u16) {
        match self {
            Method::Publish(_) => (BASIC, 40),
            Method::Ack { .. } => (BASIC, 80),
            Method::Nack { .. } => (BASIC, 120),
            Method::Reject { .. } => (BASIC, 90),
            Method::Qos { .. } => (BASIC, 10),
            Method::Other(c) => (c.method.get_amqp_class_id(), c.method.get_amqp_method_id()),
        }
    }
}

/// Reads the payload of a method frame. A fault names the method.
///
/// # Errors
/// 503 no such method; 501 fields that cannot be read, octets left over, or a string that is not
/// UTF-8 in a method without content; 502 a malformed table, or one nested too deep.
#[inline]
pub fn parse_method(payload: &[u8]) -> Result<Method<'_>, AmqpError> {
    let Some((&[c0, c1, m0, m1], fields)) = payload.split_first_chunk::<4>() else {
        return Err(AmqpError::undecodable_method(payload));
    };
    let (class_id, method_id) = (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]));
    let method = match (class_id, method_id) {
        (BASIC, 40) => publish(fields),
        (BASIC, 80) => settle(fields).map(|(tag, bits)| Method::Ack {
            tag,
            multiple: bits & 1 != 0,
        }),
        (BASIC, 90) => settle(fields).map(|(tag, bits)| Method::Reject {
            tag,
            requeue: bits & 1 != 0,
        }),
        (BASIC, 120) => settle(fields).map(|(tag, bits)| Method::Nack {
            tag,
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        }),
        (BASIC, 10) => qos(fields),
        _ => {
            let command = command(payload, fields, class_id, method_id);
            // RabbitMQ notices bad text before it knows the method (A1.9).
            return command.map_err(|fault| match fault == AmqpError::malformed_utf8() {
                true => fault,
                false => fault.at(class_id, method_id),
            });
        }
    };
    method.ok_or_else(|| AmqpError::undecodable_method(fields).at(class_id, method_id))
}

#[inline]
fn publish(fields: &[u8]) -> Option<Method<'_>> {
    let mut from = Reader::new(fields);
    from.take(2)?;
    let exchange = from.short()?;
    let routing_key = from.short()?;
    let bits = from.u8()?;
    from.is_empty().then_some(Method::Publish(Publish {
        exchange,
        routing_key,
        mandatory: bits & 1 != 0,
        immediate: bits & 2 != 0,
    }))
}

#[inline]
fn settle(fields: &[u8]) -> Option<(u64, u8)> {
    let mut from = Reader::new(fields);
    let read = (from.u64()?, from.u8()?);
    from.is_empty().then_some(read)
}

fn qos(fields: &[u8]) -> Option<Method<'static>> {
    let mut from = Reader::new(fields);
    let (prefetch_size, prefetch_count, bits) = (from.u32()?, from.u16()?, from.u8()?);
    let global = bits & 1 != 0;
    from.is_empty().then_some(Method::Qos {
        prefetch_size,
        prefetch_count,
        global,
    })
}

/// Where in the fields of a method its table is: behind so many fixed octets, then so many short
/// strings, then so many octets of bits.
struct TableAt {
    fixed: usize,
    strings: usize,
    bits: usize,
}

const fn table_at(fixed: usize, strings: usize, bits: usize) -> Option<TableAt> {
    Some(TableAt {
        fixed,
        strings,
        bits,
    })
}

/// Every method there is, with the place of its table; `None` for what does not exist.
const fn known(class_id: u16, method_id: u16) -> Option<Option<TableAt>> {
    Some(match (class_id, method_id) {
        (10, 10) => table_at(2, 0, 0),
        (10, 11) => table_at(0, 0, 0),
        (40, 10) => table_at(2, 2, 1),
        (40, 30 | 40) => table_at(2, 3, 1),
        (50, 10) => table_at(2, 1, 1),
        (50, 20) => table_at(2, 3, 1),
        (50, 50) => table_at(2, 3, 0),
        (60, 20) => table_at(2, 2, 1),
        (10, 20 | 21 | 30 | 31 | 40 | 41 | 50 | 51 | 60 | 61 | 70 | 71)
        | (20, 10 | 11 | 20 | 21 | 40 | 41)
        | (30, 10 | 11)
        | (40, 11 | 20 | 21 | 31 | 51)
        | (50, 11 | 21 | 30 | 31 | 40 | 41 | 51)
        | (60, 10 | 11 | 21 | 30 | 31 | 40 | 50 | 60 | 70 | 71 | 72 | 80 | 90)
        | (60, 100 | 110 | 111 | 120)
        | (85, 10 | 11)
        | (90, 10 | 11 | 20 | 21 | 30 | 31) => None,
        _ => return None,
    })
}

#[cold]
fn command(
    payload: &[u8],
    fields: &[u8],
    class_id: u16,
    method_id: u16,
) -> Result<Method<'static>, AmqpError> {
    let place =
        known(class_id, method_id).ok_or_else(|| AmqpError::unknown_method(class_id, method_id))?;
    let undecodable = || AmqpError::undecodable_method(fields);
    let Some(place) = place else {
        let method = decode(payload, fields)?;
        return Ok(Method::Other(Box::new(Command {
            method,
            arguments: RawTable::default(),
        })));
    };
    let mut from = Reader::new(fields);
    from.take(place.fixed).ok_or_else(undecodable)?;
    for _ in 0..place.strings {
        from.short().ok_or_else(undecodable)?;
    }
    from.take(place.bits).ok_or_else(undecodable)?;
    let before = payload.len() - from.rest().len();
    let table = from.long().ok_or_else(undecodable)?;
    // Copied: what is declared must not pin the buffer it was read in.
    let arguments = RawTable::new(Bytes::copy_from_slice(table))?;
    let without_table = [
        payload.get(..before).unwrap_or_default(),
        &[0; 4],
        from.rest(),
    ]
    .concat();
    let method = decode(&without_table, fields)?;
    Ok(Method::Other(Box::new(Command { method, arguments })))
}

/// Has `amq-protocol` read a method known to exist, and without a table. It then fails in one of
/// two ways: the octets end too early, or a string is not UTF-8.
fn decode(payload: &[u8], fields: &[u8]) -> Result<AMQPClass, AmqpError> {
    match parse_class(payload) {
        Ok(([], method)) => Ok(method),
        Err(fault) if !fault.is_incomplete() => Err(AmqpError::malformed_utf8()),
        Ok(_) | Err(_) => Err(AmqpError::undecodable_method(fields)),
    }
}
