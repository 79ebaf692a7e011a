//! Content headers, properties and stored messages: read, patched, written, read again.
//!
//! Input: the payload of a content header frame. What lies behind class, weight and size is also taken for
//! properties, and the whole for a stored message.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use warren::codec::{
    ContentHeader, FrameCursor, Properties, Property, PropertyPatch, RawTable, encode, parse_method,
};
use warren::message::Message;
use warren_fuzz::bounded;

/// Every property, as text.
fn look(properties: &Properties) -> Vec<String> {
    let one = |property| match property {
        Property::Headers => format!("{:?}", properties.headers()),
        Property::DeliveryMode => format!("{:?}", properties.delivery_mode()),
        Property::Priority => format!("{:?}", properties.priority()),
        Property::Timestamp => format!("{:?}", properties.timestamp()),
        text => format!("{:?}", properties.text(text)),
    };
    Property::ALL.into_iter().map(one).collect()
}

fn message(octets: &[u8]) {
    let described = Message::describe_logged(octets);
    let raw = Bytes::copy_from_slice(octets);
    let message = Message::from_logged(raw);
    assert_eq!(described.is_some(), message.is_some(), "{described:?}");
    let (Some(message), Some(described)) = (message, described) else {
        return;
    };
    assert_eq!(described.body_bytes as usize, message.body_len());
    assert_eq!(described.priority, message.priority());
    assert_eq!(described.ttl_ms, message.ttl_ms());
    message.with_logged(|parts| assert_eq!(parts.concat(), octets));
    let _ = (
        message.has_died(),
        message.delay_ms(),
        message.with_delivery_count(3),
    );
    let mut arena = BytesMut::new();
    if let Some(settled) = message.settle(&mut arena) {
        let moved = message.settled_in(&arena.freeze(), settled);
        moved.with_logged(|parts| assert_eq!(parts.concat(), octets));
    }
}

fuzz_target!(|octets: &[u8]| {
    message(octets);
    let header = bounded(0, 0, 1024, || ContentHeader::parse(octets, 60));
    let raw = octets.get(12..).unwrap_or_default();
    let raw = match header {
        Ok(header) => {
            let mut written = BytesMut::new();
            encode::content_header(&mut written, 1, header.body_size, header.properties);
            let written = written.freeze();
            let mut cursor = FrameCursor::new(&written);
            let frame = cursor.next_frame().ok().flatten().expect("a frame");
            assert_eq!(frame.payload, octets);
            header.properties
        }
        Err(_) => raw,
    };
    let raw = Bytes::copy_from_slice(raw);
    // What nobody checked gives absent values, never a panic.
    look(&Properties::trusted(raw.clone()));
    let read = bounded(0, 0, 1024, || Properties::new(raw.clone()));
    let Ok((properties, scan)) = read else {
        return;
    };
    let before = bounded(octets.len(), 64, 16384, || look(&properties));
    for (property, shown) in Property::ALL.into_iter().zip(&before) {
        assert_eq!(scan.has(property), shown != "None", "{property:?}");
    }
    assert_eq!(
        (scan.delivery_mode, scan.priority),
        (properties.delivery_mode(), properties.priority())
    );

    // One patch of each kind, and everything else as it was.
    let headers = RawTable::new(Bytes::from_static(b"\x01kV")).expect("a table");
    let patched = PropertyPatch::new()
        .remove(Property::Expiration)
        .text(Property::CorrelationId, b"patched")
        .headers(headers.view())
        .timestamp(9)
        .delivery_mode(1)
        .priority(7)
        .apply(&properties);
    let (again, _) = Properties::new(patched.raw().clone()).expect("a patch keeps the form");
    let after = look(&again);
    for (at, property) in Property::ALL.into_iter().enumerate() {
        let expected = match property {
            Property::Expiration => "None".to_owned(),
            Property::CorrelationId => format!("{:?}", Some(&b"patched"[..])),
            Property::Headers => format!("{:?}", Some(headers.view())),
            Property::Timestamp => "Some(9)".to_owned(),
            Property::DeliveryMode => "Some(1)".to_owned(),
            Property::Priority => "Some(7)".to_owned(),
            _ => before[at].clone(),
        };
        assert_eq!(after[at], expected, "{property:?}");
    }
    // The empty patch changes nothing but the two flags without a meaning.
    let same = PropertyPatch::new().apply(&properties);
    assert_eq!(same.raw()[2..], raw[2..]);
    let _ = parse_method(octets);
});
