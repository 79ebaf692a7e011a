//! Dead letters: what is written on a message when it dies (A7.2 to A7.7).
//!
//! Owns x-death and its companions, and the rule that ends cycles. Pure: routing and logging are
//! the aftermath's.

use bytes::Bytes;

use crate::base::Name;
use crate::codec::{
    ArrayBuilder, Properties, Property, PropertyPatch, TableBuilder, TableRef, Value,
};
use crate::message::Message;
use crate::queue::{DeadLetter, DeathReason};

/// A message as it is published again.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Message,
    /// Routing keys beyond the message's own (A7.4).
    pub(super) extra_keys: Vec<Bytes>,
    /// Queue and reason of each death, the latest first.
    history: Vec<(Bytes, Bytes)>,
}

/// One line of x-death.
struct Death<'a> {
    queue: &'a [u8],
    reason: &'a [u8],
    count: i64,
    time_s: u64,
    exchange: &'a [u8],
    keys: Vec<&'a [u8]>,
    expiration: Option<&'a [u8]>,
}

impl Letter {
    /// What becomes of `message`, dead in `queue` at `now_s`.
    pub(super) fn new(
        message: &Message,
        queue: &Name,
        reason: DeathReason,
        now_s: u64,
        to: &DeadLetter,
    ) -> Self {
        let properties = Properties::trusted(message.properties_bytes());
        let headers = properties.headers().unwrap_or_default();
        let keys = routing_keys(message, headers);
        let death = Death {
            queue: queue.as_bytes(),
            reason: reason.name().as_bytes(),
            count: 1,
            time_s: now_s,
            exchange: message.exchange(),
            keys,
            expiration: properties.expiration(),
        };
        let old = if message.has_died() {
            deaths(headers)
        } else {
            Vec::new()
        };
        let deaths = with_death(old, death);
        let new_headers = headers_of(headers, message.has_died(), &deaths, to);
        let patched = PropertyPatch::new()
            .headers(new_headers.view())
            .remove(Property::Expiration)
            .apply(&properties);
        let key = to.routing_key.as_deref().unwrap_or(message.routing_key());
        let extra_keys = match to.routing_key {
            Some(_) => Vec::new(),
            None => extra_keys(message),
        };
        let copy = Bytes::copy_from_slice;
        Letter {
            history: deaths
                .iter()
                .map(|d| (copy(d.queue), copy(d.reason)))
                .collect(),
            message: message.reborn(to.exchange.as_bytes(), key, patched.raw()),
            extra_keys,
        }
    }

    /// Whether going to `queue` would close a circle in which no client had a hand (A7.6).
    pub(super) fn is_cycle(&self, queue: &Name) -> bool {
        let again = self
            .history
            .iter()
            .position(|(died_in, _)| died_in == queue.as_bytes());
        let rejected = DeathReason::Rejected.name().as_bytes();
        again.is_some_and(|at| {
            !self
                .history
                .iter()
                .take(at + 1)
                .any(|(_, reason)| reason == rejected)
        })
    }
}

/// The routing keys of a message beyond its own, once more (A7.4): those of CC, and of a BCC that is hidden.
pub(super) fn extra_keys(message: &Message) -> Vec<Bytes> {
    let properties = Properties::trusted(message.properties_bytes());
    let headers = properties.headers().unwrap_or_default();
    let hidden = strings(headers.get("BCC").filter(|_| message.hides_bcc()));
    let keys = cc(headers).chain(hidden);
    keys.map(Bytes::copy_from_slice).collect()
}

/// The keys it was published with: its own, and those of CC.
fn routing_keys<'a>(message: &'a Message, headers: TableRef<'a>) -> Vec<&'a [u8]> {
    std::iter::once(message.routing_key())
        .chain(cc(headers))
        .collect()
}

fn cc(headers: TableRef<'_>) -> impl Iterator<Item = &[u8]> {
    strings(headers.get("CC"))
}

/// The strings of an array.
fn strings(value: Option<Value<'_>>) -> impl Iterator<Item = &[u8]> {
    let array = match value {
        Some(Value::Array(array)) => Some(array),
        _ => None,
    };
    array.into_iter().flatten().filter_map(|value| match value {
        Value::LongStr(text) => Some(text),
        _ => None,
    })
}

/// The deaths that an x-death header of the broker's tells of.
fn deaths(headers: TableRef<'_>) -> Vec<Death<'_>> {
    let Some(Value::Array(array)) = headers.get("x-death") else {
        return Vec::new();
    };
    let tables = array.iter().filter_map(|value| match value {
        Value::Table(table) => Some(table),
        _ => None,
    });
    tables.map(death).collect()
}

fn death(table: TableRef<'_>) -> Death<'_> {
    let text = |name| match table.get(name) {
        Some(Value::LongStr(octets)) => Some(octets),
        _ => None,
    };
    Death {
        queue: text("queue").unwrap_or_default(),
        reason: text("reason").unwrap_or_default(),
        count: table.get("count").and_then(|v| v.as_int()).unwrap_or(1),
        time_s: match table.get("time") {
            Some(Value::Timestamp(seconds)) => seconds,
            _ => 0,
        },
        exchange: text("exchange").unwrap_or_default(),
        keys: strings(table.get("routing-keys")).collect(),
        expiration: text("original-expiration"),
    }
}

/// One line for each queue and reason; the latest death's comes first (A7.2).
fn with_death<'a>(mut deaths: Vec<Death<'a>>, new: Death<'a>) -> Vec<Death<'a>> {
    let same = |d: &Death<'_>| d.queue == new.queue && d.reason == new.reason;
    match deaths.iter().position(same) {
        Some(at) => {
            let mut again = deaths.remove(at);
            again.count = again.count.saturating_add(1);
            deaths.insert(0, again);
        }
        None => deaths.insert(0, new),
    }
    deaths
}

fn headers_of(
    old: TableRef<'_>,
    has_died: bool,
    deaths: &[Death<'_>],
    to: &DeadLetter,
) -> crate::codec::RawTable {
    let mut headers = TableBuilder::new();
    for (name, value) in old {
        let ours = name == b"x-death"
            || name.starts_with(b"x-last-death-")
            || (!has_died && name.starts_with(b"x-first-death-"));
        let replaced = (name == b"CC" || name == b"BCC") && to.routing_key.is_some();
        if !ours && !replaced {
            headers.insert_raw(name, value);
        }
    }
    let mut lines = ArrayBuilder::new();
    for death in deaths {
        lines.push(Value::Table(line(death).view()));
    }
    headers.insert("x-death", Value::Array(lines.view()));
    if let Some(last) = deaths.first() {
        if !has_died {
            headers.insert("x-first-death-exchange", Value::LongStr(last.exchange));
            headers.insert("x-first-death-queue", Value::LongStr(last.queue));
            headers.insert("x-first-death-reason", Value::LongStr(last.reason));
        }
        headers.insert("x-last-death-exchange", Value::LongStr(last.exchange));
        headers.insert("x-last-death-queue", Value::LongStr(last.queue));
        headers.insert("x-last-death-reason", Value::LongStr(last.reason));
    }
    headers.finish()
}

fn line(death: &Death<'_>) -> crate::codec::RawTable {
    let mut keys = ArrayBuilder::new();
    for key in &death.keys {
        keys.push(Value::LongStr(key));
    }
    let mut line = TableBuilder::new();
    if let Some(expiration) = death.expiration {
        line.insert("original-expiration", Value::LongStr(expiration));
    }
    line.insert("count", Value::I64(death.count));
    line.insert("reason", Value::LongStr(death.reason));
    line.insert("queue", Value::LongStr(death.queue));
    line.insert("time", Value::Timestamp(death.time_s));
    line.insert("exchange", Value::LongStr(death.exchange));
    line.insert("routing-keys", Value::Array(keys.view()));
    line.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Facts;

    fn published(headers: TableBuilder, expiration: Option<&[u8]>) -> Message {
        let headers = headers.finish();
        let mut patch = PropertyPatch::new().headers(headers.view());
        if let Some(expiration) = expiration {
            patch = patch.text(Property::Expiration, expiration);
        }
        let facts = Facts::new(true, 0, expiration.is_some());
        Message::from_parts(b"ex", b"key", patch.build().raw(), vec![], facts)
    }

    fn to(exchange: &str, key: Option<&'static [u8]>) -> DeadLetter {
        DeadLetter {
            exchange: exchange.into(),
            routing_key: key.map(Bytes::from_static),
        }
    }

    fn die(message: &Message, queue: &str, reason: DeathReason, to: &DeadLetter) -> Letter {
        Letter::new(message, &queue.into(), reason, 1000, to)
    }

    fn headers(message: &Message) -> crate::codec::RawTable {
        let properties = Properties::trusted(message.properties_bytes());
        properties.headers().unwrap_or_default().to_raw()
    }

    #[test]
    fn a7_2_a_death_is_written_down() {
        let message = published(TableBuilder::new(), Some(b"500"));
        let letter = die(
            &message,
            "q",
            DeathReason::Expired,
            &to("dlx", Some(b"dead")),
        );
        assert_eq!(letter.message.exchange(), b"dlx");
        assert_eq!(letter.message.routing_key(), b"dead");
        let headers = headers(&letter.message);
        assert_eq!(
            headers.get("x-death").unwrap().to_string(),
            "[{table,[{<<\"original-expiration\">>,longstr,<<\"500\">>},\
             {<<\"count\">>,long,1},{<<\"reason\">>,longstr,<<\"expired\">>},\
             {<<\"queue\">>,longstr,<<\"q\">>},{<<\"time\">>,timestamp,1000},\
             {<<\"exchange\">>,longstr,<<\"ex\">>},\
             {<<\"routing-keys\">>,array,[{longstr,<<\"key\">>}]}]}]"
        );
        for name in ["x-first-death-queue", "x-last-death-queue"] {
            assert_eq!(headers.get(name).unwrap().as_str(), Some("q"));
        }
    }

    #[test]
    fn a7_5_the_expiration_goes() {
        let message = published(TableBuilder::new(), Some(b"500"));
        let letter = die(&message, "q", DeathReason::MaxLen, &to("", None));
        assert_eq!(letter.message.ttl_ms(), None);
        let properties = Properties::trusted(letter.message.properties_bytes());
        assert_eq!(properties.expiration(), None);
        assert!(letter.message.persistent());
    }

    #[test]
    fn a7_2_a_second_death_of_the_kind_is_counted_and_comes_first() {
        let first = published(TableBuilder::new(), None);
        let a = die(&first, "a", DeathReason::Rejected, &to("", None)).message;
        let b = die(&a, "b", DeathReason::Expired, &to("", None)).message;
        let again = die(&b, "a", DeathReason::Rejected, &to("", None)).message;
        let headers = headers(&again);
        let deaths = deaths(headers.view());
        let lines: Vec<_> = deaths.iter().map(|d| (d.queue, d.count)).collect();
        assert_eq!(lines, [(&b"a"[..], 2), (&b"b"[..], 1)]);
        assert_eq!(
            headers.get("x-first-death-queue").unwrap().as_str(),
            Some("a")
        );
        assert_eq!(
            headers.get("x-last-death-reason").unwrap().as_str(),
            Some("rejected")
        );
    }

    #[test]
    fn a7_6_only_a_circle_without_a_rejection_ends() {
        let message = published(TableBuilder::new(), None);
        let once = die(&message, "a", DeathReason::Expired, &to("", None));
        assert!(once.is_cycle(&"a".into()));
        assert!(!once.is_cycle(&"b".into()));
        let rejected = die(&once.message, "b", DeathReason::Rejected, &to("", None));
        assert!(!rejected.is_cycle(&"a".into()));
        assert!(!rejected.is_cycle(&"b".into()));
    }

    #[test]
    fn a7_7_a_clients_own_x_death_does_not_count() {
        let mut forged = TableBuilder::new();
        let mut line = TableBuilder::new();
        line.insert("queue", Value::LongStr(b"q"))
            .insert("reason", Value::LongStr(b"expired"));
        line.insert("count", Value::I64(41));
        let mut lines = ArrayBuilder::new();
        lines.push(Value::Table(line.view()));
        forged.insert("x-death", Value::Array(lines.view()));
        let letter = die(
            &published(forged, None),
            "q",
            DeathReason::Expired,
            &to("", None),
        );
        let headers = headers(&letter.message);
        assert_eq!(deaths(headers.view()).first().unwrap().count, 1);
    }

    #[test]
    fn a7_4_cc_counts_unless_the_queue_gives_a_key() {
        let with_cc = || {
            let mut headers = TableBuilder::new();
            let mut keys = ArrayBuilder::new();
            keys.push(Value::LongStr(b"more"));
            headers.insert("CC", Value::Array(keys.view()));
            published(headers, None)
        };
        let own = die(&with_cc(), "q", DeathReason::Expired, &to("dlx", None));
        assert_eq!(own.message.routing_key(), b"key");
        assert_eq!(own.extra_keys, [Bytes::from_static(b"more")]);
        let given = die(
            &with_cc(),
            "q",
            DeathReason::Expired,
            &to("dlx", Some(b"dead")),
        );
        assert!(given.extra_keys.is_empty());
        assert!(headers(&given.message).get("CC").is_none());
    }

    #[test]
    fn a7_4_bcc_counts_again_and_is_never_told() {
        let with_bcc = || {
            let mut headers = TableBuilder::new();
            let mut keys = ArrayBuilder::new();
            keys.push(Value::LongStr(b"hidden"));
            headers.insert("BCC", Value::Array(keys.view()));
            published(headers, None)
        };
        let own = to("dlx", None);
        let letter = die(&with_bcc().hiding_bcc(), "q", DeathReason::Expired, &own);
        assert_eq!(letter.extra_keys, [Bytes::from_static(b"hidden")]);
        assert!(letter.message.hides_bcc());
        let told = headers(&letter.message);
        let told = deaths(told.view());
        assert_eq!(told.first().unwrap().keys, [b"key"]);
        let given = to("dlx", Some(b"dead"));
        let letter = die(&with_bcc().hiding_bcc(), "q", DeathReason::Expired, &given);
        assert!(letter.extra_keys.is_empty());
        assert!(headers(&letter.message).get("BCC").is_none());
    }
}
