//! What the hot paths cost: `cargo test --profile quick --lib codec -- --ignored --nocapture costs`.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::codec::encode::{self, DeliverHead};
use crate::codec::properties::scan;
use crate::codec::{ContentHeader, FrameCursor, FrameKind, FrameSplitter, Method, parse_method};

const ROUNDS: u32 = 20_000;

fn time(what: &str, f: impl FnMut()) {
    time_of(what, 1, ROUNDS, f);
}

/// The best of many short runs, so that what else the machine does falls out.
fn time_of(what: &str, each: u32, rounds: u32, mut f: impl FnMut()) {
    let best = (0..200)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| f());
            start.elapsed()
        })
        .min()
        .unwrap();
    println!(
        "{what}: {:.1} ns",
        best.as_nanos() as f64 / f64::from(rounds * each)
    );
}

#[test]
#[ignore = "a measurement"]
fn costs() {
    let publish = b"\x00\x3c\x00\x28\x00\x00\x09amq.topic\x0bsome.longer\x01";
    time("nothing", || {
        black_box(black_box(publish));
    });
    time("parse publish", || {
        black_box(parse_method(black_box(publish))).unwrap();
    });
    time("scan no properties", || {
        black_box(scan(black_box(&[0, 0]))).unwrap();
    });
    let typical = b"\x90\x00\x0atext/plain\x02";
    time("scan content-type and delivery-mode", || {
        black_box(scan(black_box(typical))).unwrap();
    });
    let head = DeliverHead {
        consumer_tag: b"amq.ctag-0123456789abcdef",
        delivery_tag: 1,
        redelivered: false,
        exchange: b"amq.topic",
        routing_key: b"some.longer",
    };
    let mut out = BytesMut::with_capacity(1 << 16);
    let content = [7u8; 128];
    time("write deliver", || {
        encode::deliver(&mut out, 1, black_box(&head));
        out.clear();
    });
    time("write deliver, header and 128 octets of body", || {
        encode::deliver(&mut out, 1, black_box(&head));
        encode::content_header(&mut out, 1, 128, typical);
        encode::body(&mut out, 1, &content, 131_072);
        out.clear();
    });
    let mut stream = BytesMut::new();
    for _ in 0..100 {
        encode::frame_header(&mut stream, FrameKind::Method, 1, publish.len());
        stream.extend_from_slice(publish);
        encode::frame_end(&mut stream);
        encode::content_header(&mut stream, 1, 128, typical);
        encode::body(&mut stream, 1, &content, 131_072);
    }
    let stream: Bytes = stream.freeze();
    time_of(
        "a whole publish, split, parsed, scanned, body shared",
        100,
        200,
        || {
            walk(&stream);
        },
    );
}

/// What a connection does with a run of publishes.
fn walk(stream: &Bytes) {
    let found = FrameSplitter::new(131_072).scan(black_box(stream));
    assert_eq!(found.complete, stream.len());
    let mut cursor = FrameCursor::new(stream);
    while let Some(frame) = cursor.next_frame().unwrap() {
        match frame.kind {
            FrameKind::Method => {
                let method = parse_method(frame.payload).unwrap();
                assert!(matches!(black_box(method), Method::Publish(_)));
            }
            FrameKind::Header => {
                let header = ContentHeader::parse(frame.payload, 60).unwrap();
                black_box(scan(header.properties)).unwrap();
            }
            _ => drop(black_box(frame.share())),
        }
    }
}
