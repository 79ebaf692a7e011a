//! Content headers: reading, scanning and changing properties.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::BasicProperties;
use amq_protocol::protocol::basic::gen_properties;
use bytes::{Bytes, BytesMut};
use proptest::option;
use proptest::prelude::*;

use super::tables::same_table;
use super::{peer, short, table};
use crate::base::ReplyCode;
use crate::codec::{
    ContentHeader, Properties, Property, PropertyPatch, TableBuilder, Value, encode,
};

fn some_properties() -> impl Strategy<Value = BasicProperties> {
    let texts = proptest::array::uniform10(option::of(short()));
    let rest = (
        option::of(any::<u8>()),
        option::of(any::<u8>()),
        option::of(any::<u64>()),
    );
    (texts, option::of(table()), rest).prop_map(|(texts, headers, (mode, priority, time))| {
        let mut p = BasicProperties::default();
        let [a, b, c, d, e, f, g, h, i, j] = texts;
        if let Some(v) = a {
            p = p.with_content_type(v)
        }
        if let Some(v) = b {
            p = p.with_content_encoding(v)
        }
        if let Some(v) = c {
            p = p.with_correlation_id(v)
        }
        if let Some(v) = d {
            p = p.with_reply_to(v)
        }
        if let Some(v) = e {
            p = p.with_expiration(v)
        }
        if let Some(v) = f {
            p = p.with_message_id(v)
        }
        if let Some(v) = g {
            p = p.with_type(v)
        }
        if let Some(v) = h {
            p = p.with_user_id(v)
        }
        if let Some(v) = i {
            p = p.with_app_id(v)
        }
        if let Some(v) = j {
            p = p.with_cluster_id(v)
        }
        if let Some(v) = headers {
            p = p.with_headers(v)
        }
        if let Some(v) = mode {
            p = p.with_delivery_mode(v)
        }
        if let Some(v) = priority {
            p = p.with_priority(v)
        }
        if let Some(v) = time {
            p = p.with_timestamp(v)
        }
        p
    })
}

fn raw(p: &BasicProperties) -> Bytes {
    peer(gen_properties(p)).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn reads_what_the_peer_writes(p in some_properties()) {
        let (ours, scan) = Properties::new(raw(&p)).unwrap();
        let texts = [
            (Property::ContentType, p.content_type()),
            (Property::ContentEncoding, p.content_encoding()),
            (Property::CorrelationId, p.correlation_id()),
            (Property::ReplyTo, p.reply_to()),
            (Property::Expiration, p.expiration()),
            (Property::MessageId, p.message_id()),
            (Property::Type, p.kind()),
            (Property::UserId, p.user_id()),
            (Property::AppId, p.app_id()),
            (Property::ClusterId, p.cluster_id()),
        ];
        for (property, theirs) in texts {
            prop_assert_eq!(ours.text(property), theirs.as_ref().map(|s| s.as_str().as_bytes()));
            prop_assert_eq!(scan.has(property), theirs.is_some());
        }
        prop_assert_eq!(scan.delivery_mode, *p.delivery_mode());
        prop_assert_eq!(ours.delivery_mode(), *p.delivery_mode());
        prop_assert_eq!(scan.priority, *p.priority());
        prop_assert_eq!(ours.priority(), *p.priority());
        prop_assert_eq!(ours.timestamp(), *p.timestamp());
        prop_assert_eq!(ours.headers().is_some(), p.headers().is_some());
        if let (Some(a), Some(b)) = (ours.headers(), p.headers()) {
            prop_assert!(same_table(a, b));
        }
    }

    #[test]
    fn a7_5_a_patch_changes_only_what_it_says(p in some_properties(), time in any::<u64>()) {
        let (ours, _) = Properties::new(raw(&p)).unwrap();
        prop_assert_eq!(PropertyPatch::new().apply(&ours), ours.clone());
        let mut headers = TableBuilder::new();
        headers.insert("x-death", Value::I64(1));
        let headers = headers.finish();
        let patched = PropertyPatch::new()
            .headers(headers.view())
            .remove(Property::Expiration)
            .timestamp(time)
            .text(Property::ReplyTo, b"there")
            .apply(&ours);
        let (patched, scan) = Properties::new(patched.raw().clone()).unwrap();
        prop_assert_eq!(patched.headers(), Some(headers.view()));
        prop_assert!(!scan.has(Property::Expiration));
        prop_assert_eq!(patched.timestamp(), Some(time));
        prop_assert_eq!(patched.reply_to(), Some(&b"there"[..]));
        for kept in [Property::ContentType, Property::Type, Property::ClusterId, Property::UserId] {
            prop_assert_eq!(patched.text(kept), ours.text(kept));
        }
        prop_assert_eq!(patched.priority(), ours.priority());
    }

    #[test]
    fn the_peer_reads_a_content_header(p in some_properties(), size in 0u64..=1 << 29) {
        let mut out = BytesMut::new();
        encode::content_header(&mut out, 9, size, &raw(&p));
        let header = ContentHeader::parse(&out[7..out.len() - 1], 60).unwrap();
        prop_assert_eq!((header.body_size, header.properties), (size, &raw(&p)[..]));
        let (rest, frame) = parse_frame(&out[..]).unwrap();
        prop_assert!(rest.is_empty());
        let AMQPFrame::Header(9, theirs) = frame else { panic!("{frame:?}") };
        prop_assert_eq!((theirs.body_size, theirs.properties), (size, p));
    }

    #[test]
    fn properties_cut_short_or_too_long_are_502(p in some_properties()) {
        let whole = raw(&p);
        for cut in 0..whole.len() {
            let fault = Properties::new(whole.slice(..cut)).unwrap_err();
            prop_assert_eq!(fault.code, ReplyCode::SyntaxError);
        }
        let longer = [&whole[..], &[0]].concat();
        prop_assert!(Properties::new(longer.into()).is_err());
    }
}

#[test]
fn a1_8_content_headers_that_do_not_fit() {
    let header = |class: u16, weight: u16, size: u64| {
        let mut out = class.to_be_bytes().to_vec();
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        ContentHeader::parse(&out, 60)
            .map(|h| h.body_size)
            .map_err(|e| e.text)
    };
    assert_eq!(header(60, 0, 1 << 29), Ok(1 << 29));
    assert_eq!(
        header(60, 0, (1 << 29) + 1).unwrap_err(),
        "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912"
    );
    assert_eq!(
        header(50, 0, 1).unwrap_err(),
        "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead"
    );
    assert_eq!(
        header(60, 1, 1).unwrap_err(),
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame \
         instead"
    );
}

#[test]
fn the_two_low_flags_are_ignored() {
    let (_, scan) = Properties::new(Bytes::from_static(&[0x10, 3, 2])).unwrap();
    assert!(scan.is_persistent());
}

#[test]
fn built_from_nothing() {
    let built = PropertyPatch::new()
        .delivery_mode(2)
        .text(Property::ContentType, b"a/b")
        .build();
    assert_eq!(built.raw()[..], [0x90, 0, 3, b'a', b'/', b'b', 2]);
    assert_eq!(PropertyPatch::new().build(), Properties::default());
}
