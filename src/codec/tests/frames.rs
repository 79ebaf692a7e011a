//! Splitting, walking and writing frames.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::base::ReplyCode;
use crate::codec::encode::{self, HEARTBEAT};
use crate::codec::{FrameCursor, FrameKind, FrameSplitter, ProtocolHeader, protocol_header};

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0xCE);
    out
}

fn some_frame() -> impl Strategy<Value = (u8, u16, Vec<u8>)> {
    let payload = |min| proptest::collection::vec(any::<u8>(), min..60);
    prop_oneof![
        (Just(1), any::<u16>(), payload(4)),
        (Just(2), any::<u16>(), payload(12)),
        (Just(3), any::<u16>(), payload(0)),
        Just((8, 0, vec![])),
    ]
}

/// Feeds octets in pieces cut at `cuts`, as a connection does.
fn feed(stream: &[u8], cuts: &[usize]) -> Vec<(u8, u16, Vec<u8>)> {
    let splitter = FrameSplitter::new(8_192);
    let (mut buf, mut seen, mut at) = (BytesMut::new(), Vec::new(), 0);
    for cut in cuts.iter().copied().chain([stream.len()]) {
        buf.extend_from_slice(&stream[at..cut]);
        at = cut;
        let scan = splitter.scan(&buf);
        assert_eq!(scan.fault, None);
        assert!(scan.missing > 0 || scan.complete == buf.len());
        let whole = buf.split_to(scan.complete).freeze();
        let mut cursor = FrameCursor::new(&whole);
        while let Some(f) = cursor.next_frame().unwrap() {
            assert_eq!(f.share(), f.payload);
            seen.push((f.kind as u8, f.channel, f.payload.to_vec()));
        }
        assert!(cursor.rest().is_empty());
    }
    assert!(buf.is_empty());
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a1_8_cut_anywhere_gives_the_same_frames(
        frames in proptest::collection::vec(some_frame(), 1..5),
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|(k, c, p)| frame(*k, *c, p)).collect();
        for cut in 0..=stream.len() {
            prop_assert_eq!(&feed(&stream, &[cut]), &frames);
        }
        let every: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&feed(&stream, &every), &frames);
    }

    #[test]
    fn a1_8_a_body_is_split_at_frame_max(len in 0usize..5_000, max in 9u32..700) {
        let content: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut copied = BytesMut::new();
        encode::body(&mut copied, 7, &content, max);
        let mut pieced = BytesMut::new();
        for part in encode::body_frames(len, max) {
            encode::frame_header(&mut pieced, FrameKind::Body, 7, part.len());
            pieced.extend_from_slice(&content[part]);
            encode::frame_end(&mut pieced);
        }
        prop_assert_eq!(&copied, &pieced);
        let scan = FrameSplitter::new(max).scan(&copied);
        prop_assert_eq!((scan.complete, scan.fault), (copied.len(), None));
        let whole = copied.freeze();
        let (mut cursor, mut read) = (FrameCursor::new(&whole), Vec::new());
        while let Some(f) = cursor.next_frame().unwrap() {
            prop_assert!(f.payload.len() + 8 <= max as usize);
            prop_assert_eq!(f.channel, 7);
            read.extend_from_slice(f.payload);
        }
        prop_assert_eq!(read, content);
    }
}

#[test]
fn a1_8_the_size_is_checked_before_the_payload_is_there() {
    let head = |size: u32| {
        let [a, b, c, d] = size.to_be_bytes();
        [3, 0, 1, a, b, c, d]
    };
    let splitter = FrameSplitter::new(131_072);
    // Up to 8 octets above frame_max pass (Corrections).
    assert_eq!(splitter.scan(&head(131_072)).fault, None);
    assert_eq!(splitter.scan(&head(131_072)).missing, 131_073);
    let fault = splitter.scan(&head(131_073)).fault.unwrap();
    assert_eq!(
        fault.text,
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}"
    );
    assert!(splitter.scan(&head(u32::MAX)).fault.is_some());
}

#[test]
fn a1_8_whole_frames_before_a_fault_are_served() {
    let mut stream = frame(1, 1, b"abcd");
    let good = stream.len();
    let mut bad = frame(3, 1, b"xyz");
    *bad.last_mut().unwrap() = b'A';
    stream.extend_from_slice(&bad);
    let scan = FrameSplitter::new(4_096).scan(&stream);
    assert_eq!(scan.complete, good);
    assert_eq!(
        scan.fault.unwrap().text,
        "FRAME_ERROR - type 3, all octets = <<\"xyz\">>: {invalid_frame_end_marker,65}"
    );
}

#[test]
fn a1_8_the_handshake_scans_one_frame() {
    let stream = [frame(1, 0, b"abcd"), frame(1, 0, b"efgh")].concat();
    assert_eq!(FrameSplitter::new(4_096).scan_first(&stream).complete, 12);
}

#[test]
fn a1_8_frames_that_cannot_be() {
    let fault = |kind, channel, payload: &[u8]| {
        let whole = Bytes::from(frame(kind, channel, payload));
        FrameCursor::new(&whole).next_frame().unwrap_err()
    };
    assert_eq!(fault(8, 1, b"").code, ReplyCode::UnexpectedFrame);
    assert_eq!(
        fault(8, 0, b"x").text,
        "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame"
    );
    assert_eq!(
        fault(4, 0, b"").text,
        "FRAME_ERROR - type 4, all octets = <<>>: unknown_frame"
    );
    assert_eq!(fault(1, 1, b"abc").code, ReplyCode::FrameError);
    assert_eq!(fault(2, 1, b"too short..").code, ReplyCode::FrameError);
}

#[test]
fn a1_12_heartbeat() {
    assert_eq!(HEARTBEAT.to_vec(), frame(8, 0, b""));
}

#[test]
fn shares_point_into_the_read_octets() {
    let whole = Bytes::from(frame(3, 1, b"hello"));
    let f = FrameCursor::new(&whole).next_frame().unwrap().unwrap();
    let part = f.share_part(&f.payload[1..3]);
    assert_eq!(part, "el");
    assert_eq!(part.as_ptr(), whole[8..].as_ptr());
    assert_eq!(f.share_part(b"elsewhere"), "elsewhere");
}

#[test]
fn a1_1_protocol_headers() {
    for ok in [b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"] {
        assert_eq!(protocol_header(ok), ProtocolHeader::Accepted);
        assert_eq!(protocol_header(&ok[..7]), ProtocolHeader::Incomplete);
    }
    for other in [
        &b"AMQP\x03\x01\x00\x00"[..],
        b"AMQP\x00\x01\x00\x00",
        b"AMQP\x00\x00\x0a\x00",
        b"AMQP\x01\x01\x08\x00",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ] {
        let answer = *b"AMQP\x00\x00\x09\x01";
        assert_eq!(protocol_header(other), ProtocolHeader::Refused(answer));
    }
    assert_eq!(protocol_header(b"GET "), ProtocolHeader::Incomplete);
}
