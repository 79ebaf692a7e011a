//! What a broker that is asked to notes in each message that clients publish (A5.9).
//!
//! Owns the names of RabbitMQ's message interceptors and what they set. Off by default, and then of no cost.

use crate::base::{clock, host};
use crate::codec::{Properties, PropertyPatch, TableBuilder, Value};
use crate::config::Interceptors;
use crate::message::Message;

/// When a message came, in ms since 1970.
const TIMESTAMP: &str = "timestamp_in_ms";
/// The node it came to.
const ROUTED_BY: &str = "x-routed-by";

/// What to note.
#[derive(Debug, Clone)]
pub(super) struct Stamps {
    wanted: Interceptors,
    node: Box<str>,
}

impl Stamps {
    /// `None` if nothing is to be noted.
    pub(super) fn new(wanted: Interceptors) -> Option<Self> {
        let off = Interceptors::default();
        (wanted != off).then(|| Stamps {
            wanted,
            node: host::node_name().into(),
        })
    }

    /// The message with what is noted in it.
    pub(super) fn on(&self, message: &Message) -> Message {
        self.at(message, clock::now_ms())
    }

    fn at(&self, message: &Message, now_ms: u64) -> Message {
        let properties = Properties::trusted(message.properties_bytes());
        let theirs = properties.headers().unwrap_or_default();
        let Interceptors {
            timestamp: time,
            routing_node: node,
        } = self.wanted;
        let timestamp = time.sets(theirs.get(TIMESTAMP).is_some());
        let routed_by = node.sets(theirs.get(ROUTED_BY).is_some());
        let mut headers = TableBuilder::new();
        for (name, value) in theirs {
            let ours = timestamp && name == TIMESTAMP.as_bytes()
                || routed_by && name == ROUTED_BY.as_bytes();
            if !ours {
                headers.insert_raw(name, value);
            }
        }
        if timestamp {
            headers.insert(TIMESTAMP, Value::I64(now_ms.cast_signed()));
        }
        if routed_by {
            headers.insert(ROUTED_BY, Value::LongStr(self.node.as_bytes()));
        }
        let headers = headers.finish();
        let mut patch = PropertyPatch::new();
        if timestamp || routed_by {
            patch = patch.headers(headers.view());
        }
        // The property has seconds. Those of a client stay, unless told otherwise.
        if time.sets(properties.timestamp().is_some()) {
            patch = patch.timestamp(now_ms / 1000);
        }
        message.with_properties(patch.apply(&properties).raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stamp;
    use crate::message::Facts;

    const NOW_MS: u64 = 1_700_000_000_123;

    fn stamped(wanted: Interceptors, properties: &[u8]) -> Properties {
        let message =
            Message::from_parts(b"x", b"k", properties, vec!["m".into()], Facts::default());
        let message = Stamps::new(wanted).unwrap().at(&message, NOW_MS);
        assert_eq!(message.body_len(), 1);
        Properties::trusted(message.properties_bytes())
    }

    fn of(timestamp: Stamp, routing_node: Stamp) -> Interceptors {
        Interceptors {
            timestamp,
            routing_node,
        }
    }

    fn header(properties: &Properties, name: &str) -> Option<String> {
        Some(match properties.headers()?.get(name)? {
            Value::I64(n) => n.to_string(),
            Value::LongStr(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn a5_9_nothing_is_noted_unless_asked_for() {
        assert!(Stamps::new(Interceptors::default()).is_none());
    }

    #[test]
    fn a5_9_time_and_node_are_noted() {
        let seen = stamped(of(Stamp::Keep, Stamp::Overwrite), &[0, 0]);
        assert_eq!(header(&seen, TIMESTAMP), Some(NOW_MS.to_string()));
        assert_eq!(header(&seen, ROUTED_BY), Some(host::node_name()));
        assert_eq!(seen.timestamp(), Some(NOW_MS / 1000));
    }

    #[test]
    fn a5_9_what_a_client_set_stays_unless_it_is_to_be_overwritten() {
        let mut headers = TableBuilder::new();
        headers.insert(TIMESTAMP, Value::I64(5));
        headers.insert("other", Value::I64(6));
        let headers = headers.finish();
        let theirs = PropertyPatch::new()
            .timestamp(7)
            .headers(headers.view())
            .build();
        let kept = stamped(of(Stamp::Keep, Stamp::Off), theirs.raw());
        assert_eq!(header(&kept, TIMESTAMP).as_deref(), Some("5"));
        assert_eq!(kept.timestamp(), Some(7));
        assert_eq!(header(&kept, ROUTED_BY), None);
        let ours = stamped(of(Stamp::Overwrite, Stamp::Off), theirs.raw());
        assert_eq!(header(&ours, TIMESTAMP), Some(NOW_MS.to_string()));
        assert_eq!(header(&ours, "other").as_deref(), Some("6"));
        assert_eq!(ours.timestamp(), Some(NOW_MS / 1000));
    }
}
