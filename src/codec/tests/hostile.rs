//! Arbitrary octets: nothing panics, and nothing is allocated by an announced length.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::codec::{
    ContentHeader, FrameCursor, FrameSplitter, Properties, Property, PropertyPatch, RawTable,
    parse_method, protocol_header,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn streams(octets in proptest::collection::vec(any::<u8>(), 0..300), max in any::<u32>()) {
        let _ = protocol_header(&octets);
        let scan = FrameSplitter::new(max).scan(&octets);
        prop_assert!(scan.complete <= octets.len());
        let mut buf = BytesMut::from(&octets[..]);
        let whole = buf.split_to(scan.complete).freeze();
        let mut cursor = FrameCursor::new(&whole);
        while !matches!(cursor.next_frame(), Ok(None)) {}
        // Octets that were never scanned are harmless too.
        let raw = Bytes::from(octets);
        let mut cursor = FrameCursor::new(&raw);
        while !matches!(cursor.next_frame(), Ok(None)) {}
        let _ = cursor.rest();
    }

    #[test]
    fn method_payloads(
        class in prop_oneof![Just(10u16), Just(20), Just(30), Just(40), Just(50), Just(60), Just(85), Just(90)],
        method in 0u16..130,
        fields in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), &fields].concat();
        let _ = parse_method(&payload);
        let _ = parse_method(&fields);
    }

    #[test]
    fn tables(octets in proptest::collection::vec(
        prop_oneof![any::<u8>(), 0u8..4, proptest::sample::select(b"StTbBsuIidflLDFAxV".to_vec())],
        0..120,
    )) {
        if let Ok(table) = RawTable::new(octets.clone().into()) {
            let _ = format!("{:?}", table.view());
            let _ = table.sorted();
            prop_assert_eq!(table.iter().map(|(k, _)| k.len() + 2).sum::<usize>() > 0, !octets.is_empty());
        }
    }

    #[test]
    fn properties(octets in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = ContentHeader::parse(&octets, 60);
        let raw = Bytes::from(octets);
        let _ = Properties::new(raw.clone());
        // What nobody scanned gives absent values, never a panic.
        let trusted = Properties::trusted(raw);
        for property in Property::ALL {
            let _ = trusted.text(property);
        }
        let _ = (trusted.headers().map(|h| format!("{h:?}")), trusted.timestamp());
        let _ = (trusted.delivery_mode(), trusted.priority());
        let patched = PropertyPatch::new().remove(Property::Headers).apply(&trusted);
        prop_assert!(patched.headers().is_none());
    }
}
