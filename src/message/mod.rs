//! One message: where it was published, its raw properties and its body.
//!
//! Owns the in-memory form and the form in which the commit log keeps it. Never decodes what it
//! need not: properties stay the octets the publisher sent. A body is a slice of what was read
//! from the socket or from the log; a small one that finds no taker at once is copied out of its
//! read buffer.

mod dedup;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::index::Described;
pub use dedup::{Dedup, DedupId, DedupMark};

use crate::base::limits::DELAY_MAX_MS;
use crate::codec::{Properties, PropertyPatch, TableBuilder, Value};

/// What a queue needs of a message without decoding its properties, found once at publish.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    flags: u8,
    priority: u8,
}

/// delivery_mode 2.
const PERSISTENT: u8 = 1;
/// The property expiration is there.
const EXPIRES: u8 = 2;
/// The header x-death is the broker's own, not a client's (A7.7).
const DIED: u8 = 4;
/// The header BCC is there, for the broker alone (A3.18).
const HIDES: u8 = 8;

impl Facts {
    /// `priority` is the property, 0 if absent; `expires` says whether the property expiration is
    /// there.
    pub fn new(persistent: bool, priority: u8, expires: bool) -> Self {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        Facts {
            flags: flag(persistent, PERSISTENT) | flag(expires, EXPIRES),
            priority,
        }
    }
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "flags {:#05b}, priority {}", self.flags, self.priority)
    }
}

/// A published message. Cloning shares the octets.
///
/// `head` holds the exchange, the routing key and the properties, and, when everything came in one
/// piece, the body too: then the whole message is one reference-counted slice of a read buffer.
/// The struct is 64 octets, one cache line.
#[derive(Clone)]
pub struct Message {
    head: Bytes,
    /// Body pieces after the part in `head`.
    more: Option<Arc<Vec<Bytes>>>,
    properties_len: u32,
    body_at: u32,
    /// Octets of body within `head`.
    body_in_head: u32,
    body_len: u32,
    key_at: u16,
    properties_at: u16,
    exchange_len: u8,
    key_len: u8,
    facts: Facts,
}

/// Where the parts of a message lie in one contiguous slice that starts with the exchange name.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Octets of the exchange name, which starts at 0.
    pub exchange_len: u8,
    /// Where the routing key starts.
    pub key_at: u16,
    /// Octets of the routing key.
    pub key_len: u8,
    /// Where the property flags start.
    pub properties_at: u16,
    /// Octets of the property flags and values.
    pub properties_len: u32,
    /// Where the body starts.
    pub body_at: u32,
    /// Octets of the body.
    pub body_len: u32,
}

/// Where [`Message::settle`] copied a message.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    start: usize,
    end: usize,
}

/// Messages up to this size are copied out of the read buffer they came in if they stay.
const SETTLED_MAX_BYTES: usize = 16 * 1024;

/// Octets before the exchange name in the logged form: exchange and key lengths, flags, priority
/// and the properties' length.
const LOGGED_HEAD_LEN: usize = 8;

impl Message {
    /// A message that lies in one piece, as it does when its frames arrived in one read.
    /// `layout` must describe `octets`; parts that reach beyond it read as empty.
    pub fn contiguous(octets: Bytes, layout: Layout, facts: Facts) -> Self {
        Message {
            head: octets,
            more: None,
            properties_len: layout.properties_len,
            body_at: layout.body_at,
            body_in_head: layout.body_len,
            body_len: layout.body_len,
            key_at: layout.key_at,
            properties_at: layout.properties_at,
            exchange_len: layout.exchange_len,
            key_len: layout.key_len,
            facts,
        }
    }

    /// A message from parts that lie apart. The names and properties are copied together, the body
    /// is shared. Names beyond 255 octets, which the protocol cannot carry, are cut.
    pub fn from_parts(
        exchange: &[u8],
        routing_key: &[u8],
        properties: &[u8],
        body: Vec<Bytes>,
        facts: Facts,
    ) -> Self {
        let exchange = exchange.get(..255).unwrap_or(exchange);
        let routing_key = routing_key.get(..255).unwrap_or(routing_key);
        let mut head =
            BytesMut::with_capacity(exchange.len() + routing_key.len() + properties.len());
        head.put_slice(exchange);
        head.put_slice(routing_key);
        head.put_slice(properties);
        let body_len = body.iter().map(Bytes::len).sum::<usize>();
        Message {
            body_at: head.len() as u32,
            head: head.freeze(),
            more: (!body.is_empty()).then(|| Arc::new(body)),
            properties_len: properties.len() as u32,
            body_in_head: 0,
            body_len: body_len as u32,
            key_at: exchange.len() as u16,
            properties_at: (exchange.len() + routing_key.len()) as u16,
            exchange_len: exchange.len() as u8,
            key_len: routing_key.len() as u8,
            facts,
        }
    }

    /// The exchange it was published to, as sent: not necessarily UTF-8 (A1.9).
    pub fn exchange(&self) -> &[u8] {
        self.head_part(0, self.exchange_len as usize)
    }

    /// The routing key, as sent: not necessarily UTF-8 (A1.9).
    pub fn routing_key(&self) -> &[u8] {
        self.head_part(self.key_at as usize, self.key_len as usize)
    }

    /// Property flags and values as on the wire.
    pub fn properties(&self) -> &[u8] {
        self.head_part(self.properties_at as usize, self.properties_len as usize)
    }

    /// The same octets as [`Self::properties`], shared.
    pub fn properties_bytes(&self) -> Bytes {
        let start = self.properties_at as usize;
        let end = start + self.properties_len as usize;
        if end <= self.head.len() {
            self.head.slice(start..end)
        } else {
            Bytes::new()
        }
    }

    /// Octets of the whole body.
    pub fn body_len(&self) -> usize {
        self.body_len as usize
    }

    /// The body in order, in as many pieces as it lies in.
    pub fn body_parts(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.head_part(self.body_at as usize, self.body_in_head as usize);
        let rest = self.more.as_deref().map(Vec::as_slice).unwrap_or_default();
        std::iter::once(first)
            .chain(rest.iter().map(Bytes::as_ref))
            .filter(|p| !p.is_empty())
    }

    /// As [`Self::body_parts`], each piece shared.
    pub fn body_bytes(&self) -> impl Iterator<Item = Bytes> {
        let start = self.body_at as usize;
        let end = start + self.body_in_head as usize;
        let first = if end <= self.head.len() {
            self.head.slice(start..end)
        } else {
            Bytes::new()
        };
        let rest = self.more.as_deref().map(Vec::as_slice).unwrap_or_default();
        std::iter::once(first)
            .chain(rest.iter().cloned())
            .filter(|p| !p.is_empty())
    }

    /// The same message with other properties; the facts about them must be the same.
    pub fn with_properties(&self, properties: &[u8]) -> Self {
        let body = self.body_bytes().collect();
        Message::from_parts(
            self.exchange(),
            self.routing_key(),
            properties,
            body,
            self.facts,
        )
    }

    /// The message as it is sent on to another exchange.
    pub fn readdressed(&self, exchange: &[u8], routing_key: &[u8]) -> Self {
        let body = self.body_bytes().collect();
        Message::from_parts(exchange, routing_key, self.properties(), body, self.facts)
    }

    /// The message as it is published again after a death: to another exchange, without an
    /// expiration (A7.5), and with an x-death header that the broker answers for.
    pub fn reborn(&self, exchange: &[u8], routing_key: &[u8], properties: &[u8]) -> Self {
        let flags = (self.facts.flags & !EXPIRES) | DIED;
        let facts = Facts {
            flags,
            ..self.facts
        };
        let body = self.body_bytes().collect();
        Message::from_parts(exchange, routing_key, properties, body, facts)
    }

    /// The message with the header that tells a consumer how often its delivery has failed (A6.14).
    pub fn with_delivery_count(&self, count: u32) -> Self {
        const NAME: &str = "x-delivery-count";
        let properties = Properties::trusted(self.properties_bytes());
        let mut headers = TableBuilder::new();
        for (name, value) in properties.headers().unwrap_or_default() {
            if name != NAME.as_bytes() {
                headers.insert_raw(name, value);
            }
        }
        headers.insert(NAME, Value::I64(count.into()));
        let headers = headers.finish();
        let patched = PropertyPatch::new()
            .headers(headers.view())
            .apply(&properties);
        self.with_properties(patched.raw())
    }

    /// Whether it is a clone of `other`, or `other` of it.
    pub fn is_same(&self, other: &Message) -> bool {
        let start = |message: &Message| (message.head.as_ptr(), message.head.len());
        let more = |message: &Message| message.more.as_ref().map(Arc::as_ptr);
        start(self) == start(other) && more(self) == more(other) && self.facts == other.facts
    }

    /// Copies the whole message behind what is in `arena`; the copy, once `arena` is frozen, is
    /// [`Self::settled_in`]. `None` if it is so large that what it pins hardly matters.
    pub fn settle(&self, arena: &mut BytesMut) -> Option<Settled> {
        if self.more.is_some() || self.size() > SETTLED_MAX_BYTES {
            return None;
        }
        let start = arena.len();
        for part in [self.exchange(), self.routing_key(), self.properties()] {
            arena.put_slice(part);
        }
        self.body_parts().for_each(|part| arena.put_slice(part));
        Some(Settled {
            start,
            end: arena.len(),
        })
    }

    /// The same message where [`Self::settle`] copied it.
    pub fn settled_in(&self, arena: &Bytes, at: Settled) -> Self {
        let key_at = u16::from(self.exchange_len);
        let properties_at = key_at + u16::from(self.key_len);
        let layout = Layout {
            exchange_len: self.exchange_len,
            key_at,
            key_len: self.key_len,
            properties_at,
            properties_len: self.properties_len,
            body_at: u32::from(properties_at) + self.properties_len,
            body_len: self.body_len,
        };
        Message::contiguous(arena.slice(at.start..at.end), layout, self.facts)
    }

    /// Whether the header x-death is the broker's own (A7.7).
    pub fn has_died(&self) -> bool {
        self.facts.flags & DIED != 0
    }

    /// The message with a mark that its header BCC is to be kept from whoever receives it.
    #[must_use]
    pub fn hiding_bcc(mut self) -> Self {
        self.facts.flags |= HIDES;
        self
    }

    /// Whether it has a header BCC that nobody may receive (A3.18): its keys count again when it is
    /// dead (A7.4).
    pub fn hides_bcc(&self) -> bool {
        self.facts.flags & HIDES != 0
    }

    /// Time to live that the publisher gave it, in milliseconds (A5.7). What is no number does not
    /// come this far; if it did, it would be none.
    pub fn ttl_ms(&self) -> Option<u64> {
        if self.facts.flags & EXPIRES == 0 {
            return None;
        }
        expiration_ms(self.properties_bytes())
    }

    /// How long an exchange that delays holds it back, in milliseconds (A3.11).
    pub fn delay_ms(&self) -> Option<u64> {
        delay_ms(&Properties::trusted(self.properties_bytes()))
    }

    /// The message once its delay is over: the header x-delay is negated, so that no other exchange delays
    /// it again and the receiver sees that it was.
    pub fn after_delay(&self) -> Self {
        let properties = Properties::trusted(self.properties_bytes());
        let Some(over_ms) = delay_ms(&properties).and_then(|ms| i64::try_from(ms).ok()) else {
            return self.clone();
        };
        let negated = i32::try_from(-over_ms).map_or(Value::I64(-over_ms), Value::I32);
        let mut headers = TableBuilder::new();
        for (name, value) in properties.headers().unwrap_or_default() {
            match name == DELAY.as_bytes() {
                true => headers.insert(DELAY, negated),
                false => headers.insert_raw(name, value),
            };
        }
        let headers = headers.finish();
        let patched = PropertyPatch::new()
            .headers(headers.view())
            .apply(&properties);
        self.with_properties(patched.raw())
    }

    /// Whether the publisher asked for the disk (delivery_mode 2).
    pub fn persistent(&self) -> bool {
        self.facts.flags & PERSISTENT != 0
    }

    /// The priority property, 0 if absent (A5.8).
    pub fn priority(&self) -> u8 {
        self.facts.priority
    }

    /// Octets it takes in memory or on the wire, roughly: what budgets count.
    pub fn size(&self) -> usize {
        self.exchange_len as usize
            + self.key_len as usize
            + self.properties_len as usize
            + self.body_len as usize
    }

    /// Gives `write` the logged form as slices in order. [`Self::from_logged`] reads it back.
    pub fn with_logged<R>(&self, write: impl FnOnce(&[&[u8]]) -> R) -> R {
        let Facts { flags, priority } = self.facts;
        let mut fixed = [self.exchange_len, self.key_len, flags, priority, 0, 0, 0, 0];
        for (slot, octet) in fixed
            .iter_mut()
            .skip(4)
            .zip(self.properties_len.to_be_bytes())
        {
            *slot = octet;
        }
        let names = (self.exchange(), self.routing_key(), self.properties());
        let in_head = self.head_part(self.body_at as usize, self.body_in_head as usize);
        match self.more.as_deref() {
            None => write(&[&fixed, names.0, names.1, names.2, in_head]),
            Some(more) => {
                let mut parts: Vec<&[u8]> = vec![&fixed, names.0, names.1, names.2, in_head];
                parts.extend(more.iter().map(Bytes::as_ref));
                write(&parts)
            }
        }
    }

    /// What the store's index keeps of a message in its logged form; `None` if the octets are none.
    pub fn describe_logged(octets: &[u8]) -> Option<Described> {
        let (fixed, rest) = octets.split_first_chunk::<LOGGED_HEAD_LEN>()?;
        let [exchange_len, key_len, flags, priority, p0, p1, p2, p3] = *fixed;
        let properties_len = u32::from_be_bytes([p0, p1, p2, p3]) as usize;
        let properties_at = usize::from(exchange_len) + usize::from(key_len);
        let (_, behind) = rest.split_at_checked(properties_at)?;
        let (properties, body) = behind.split_at_checked(properties_len)?;
        let ttl_ms = match flags & EXPIRES {
            0 => None,
            _ => expiration_ms(Bytes::copy_from_slice(properties)),
        };
        Some(Described {
            body_bytes: u32::try_from(body.len()).ok()?,
            priority,
            ttl_ms,
        })
    }

    /// Reads the logged form; `None` if the octets are not one.
    pub fn from_logged(octets: Bytes) -> Option<Self> {
        let fixed: [u8; LOGGED_HEAD_LEN] = octets.get(..LOGGED_HEAD_LEN)?.try_into().ok()?;
        let [exchange_len, key_len, flags, priority, p0, p1, p2, p3] = fixed;
        let properties_len = u32::from_be_bytes([p0, p1, p2, p3]);
        let key_at = exchange_len as usize;
        let properties_at = key_at + key_len as usize;
        let body_at = properties_at + properties_len as usize;
        let head = octets.slice(LOGGED_HEAD_LEN..);
        let body_len = head.len().checked_sub(body_at)?;
        let layout = Layout {
            exchange_len,
            key_at: key_at as u16,
            key_len,
            properties_at: properties_at as u16,
            properties_len,
            body_at: body_at as u32,
            body_len: u32::try_from(body_len).ok()?,
        };
        let facts = Facts { flags, priority };
        Some(Self::contiguous(head, layout, facts))
    }

    fn head_part(&self, at: usize, len: usize) -> &[u8] {
        self.head.get(at..at + len).unwrap_or_default()
    }
}

/// The header that asks for a delay.
const DELAY: &str = "x-delay";

/// What the header x-delay asks for: an integer, also as a string, or a number whose fraction is cut off.
/// What is not above 0, above 2^32-1 or no number is no delay (A3.11).
pub fn delay_ms(properties: &Properties) -> Option<u64> {
    let delay_ms = match properties.headers()?.get(DELAY)? {
        Value::LongStr(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        Value::F32(number) => number as i64,
        Value::F64(number) => number as i64,
        Value::Timestamp(_) => return None,
        value => value.as_int()?,
    };
    u64::try_from(delay_ms)
        .ok()
        .filter(|ms| (1..=DELAY_MAX_MS).contains(ms))
}

fn expiration_ms(properties: Bytes) -> Option<u64> {
    let properties = Properties::trusted(properties);
    std::str::from_utf8(properties.expiration()?)
        .ok()?
        .parse()
        .ok()
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &String::from_utf8_lossy(self.exchange()))
            .field("routing_key", &String::from_utf8_lossy(self.routing_key()))
            .field("body_len", &self.body_len)
            .field("facts", &self.facts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logged(message: &Message) -> Bytes {
        message.with_logged(|parts| Bytes::from(parts.concat()))
    }

    #[test]
    fn a_message_is_one_cache_line() {
        assert_eq!(std::mem::size_of::<Message>(), 64);
    }

    #[test]
    fn a_cut_off_logged_form_is_refused() {
        let facts = Facts::new(true, 3, false);
        let whole = logged(&Message::from_parts(b"x", b"key", b"\0\0", vec![], facts));
        for len in 0..whole.len() {
            let cut = whole.slice(..len);
            assert!(Message::describe_logged(&cut).is_none(), "{len} octets");
            assert!(Message::from_logged(cut).is_none(), "{len} octets");
        }
        assert!(Message::from_logged(whole).is_some());
    }

    proptest! {
        #[test]
        fn the_logged_form_reads_back(
            exchange in proptest::collection::vec(any::<u8>(), 0..256),
            key in proptest::collection::vec(any::<u8>(), 0..256),
            properties in proptest::collection::vec(any::<u8>(), 0..300),
            body in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..4),
            persistent: bool,
            priority: u8,
        ) {
            let pieces = body.iter().cloned().map(Bytes::from).collect();
            let facts = Facts::new(persistent, priority, false);
            let message = Message::from_parts(&exchange, &key, &properties, pieces, facts);
            let back = Message::from_logged(logged(&message)).unwrap();
            let described = Message::describe_logged(&logged(&message)).unwrap();
            let (body_bytes, ttl_ms) = (message.body_len() as u32, message.ttl_ms());
            prop_assert_eq!(described, Described { body_bytes, priority, ttl_ms });
            for m in [&message, &back] {
                prop_assert_eq!(m.exchange(), &exchange[..]);
                prop_assert_eq!(m.routing_key(), &key[..]);
                prop_assert_eq!(m.properties(), &properties[..]);
                prop_assert_eq!(&m.properties_bytes()[..], &properties[..]);
                prop_assert_eq!(m.body_parts().collect::<Vec<_>>().concat(), body.concat());
                prop_assert_eq!(m.body_bytes().map(|b| b.to_vec()).collect::<Vec<_>>().concat(), body.concat());
                prop_assert_eq!(m.body_len(), body.concat().len());
                prop_assert_eq!(m.facts, facts);
            }
        }
    }
}
