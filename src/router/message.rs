//! What routing may ask of a message beyond its exchange and keys.
//!
//! Owns that a message's headers are decoded once, and only when asked for. Never decodes them itself.

use super::arguments::{Comparable, HeaderValue};

/// A property that an `x-consistent-hash` exchange can hash on (A3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashProperty {
    /// `correlation_id`
    CorrelationId,
    /// `message_id`
    MessageId,
    /// `timestamp`
    Timestamp,
}

impl HashProperty {
    /// The property of a name in `hash-property`.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"correlation_id" => Some(HashProperty::CorrelationId),
            b"message_id" => Some(HashProperty::MessageId),
            b"timestamp" => Some(HashProperty::Timestamp),
            _ => None,
        }
    }
}

/// A message as far as routing looks into it. Nothing is asked of it unless an exchange needs it.
pub trait MessageView {
    /// The headers in the order they were sent. Asked for at most once in a route.
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)>;

    /// A property, if the message has it.
    fn property(&self, property: HashProperty) -> Option<HeaderValue<'_>>;

    /// Whether it asks to be held back by an exchange that delays (A3.11).
    fn is_delayed(&self) -> bool {
        false
    }

    /// A random number, a new one at every call: routing has no randomness of its own.
    fn random(&self) -> u64;
}

/// A message that is on its way through the graph.
pub(super) struct Asked<'a, M> {
    view: &'a M,
    read: bool,
    headers: Vec<(&'a [u8], Comparable<&'a [u8]>)>,
}

impl<'a, M: MessageView> Asked<'a, M> {
    pub(super) fn new(view: &'a M) -> Self {
        Asked {
            view,
            read: false,
            headers: Vec::new(),
        }
    }

    /// The headers by name. Of several with one name the last counts (mc_amqpl.erl, `routing_headers`).
    pub(super) fn headers(&mut self) -> &[(&'a [u8], Comparable<&'a [u8]>)] {
        if !self.read {
            self.read = true;
            let headers = self.view.headers();
            self.headers
                .extend(headers.map(|(name, value)| (name, Comparable::in_message(value))));
            self.headers.reverse();
            self.headers.sort_by_key(|(name, _)| *name);
            self.headers.dedup_by(|(name, _), (kept, _)| name == kept);
        }
        &self.headers
    }

    /// The header of a name.
    pub(super) fn header(&mut self, name: &[u8]) -> Option<Comparable<&'a [u8]>> {
        let headers = self.headers();
        let at = headers
            .binary_search_by_key(&name, |(name, _)| *name)
            .ok()?;
        headers.get(at).map(|(_, value)| value.clone())
    }

    pub(super) fn property(&self, property: HashProperty) -> Option<Comparable<&'a [u8]>> {
        self.view.property(property).map(Comparable::in_message)
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.view.is_delayed()
    }

    /// Whether an `x-recent-history` exchange is to remember it (A3.10).
    pub(super) fn is_remembered(&mut self) -> bool {
        self.header(b"x-recent-history-no-store") != Some(Comparable::Bool(true))
    }

    /// A number below `count`; 0 if that is 0.
    pub(super) fn random_below(&self, count: usize) -> usize {
        let scaled = u128::from(self.view.random()) * count as u128;
        (scaled >> 64) as usize
    }
}
