//! What the hot paths cost: `cargo test --profile quick --lib codec -- --ignored --nocapture costs`.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::codec::encode::{self, DeliverHead};
use crate::codec::properties::scan;
use crate::codec::{ContentHeader, FrameCursor, FrameSplitter, Method, parse_method};

const ROUNDS: u32 = 2_000_000;

fn time(what: &str, mut f: impl FnMut()) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..ROUNDS).for_each(|_| f());
            start.elapsed()
        })
        .min()
        .unwrap();
    println!(
        "{what}: {:.1} ns",
        best.as_nanos() as f64 / f64::from(ROUNDS)
    );
}

#[test]
#[ignore = "a measurement"]
fn costs() {
    let publish = b"\x00\x3c\x00\x28\x00\x00\x09amq.topic\x0bsome.longer\x01";
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
        encode::frame_header(
            &mut stream,
            crate::codec::FrameKind::Method,
            1,
            publish.len(),
        );
        stream.extend_from_slice(publish);
        encode::frame_end(&mut stream);
        encode::content_header(&mut stream, 1, 128, typical);
        encode::body(&mut stream, 1, &content, 131_072);
    }
    let stream: Bytes = stream.freeze();
    let splitter = FrameSplitter::new(131_072);
    let started = Instant::now();
    let rounds = 20_000;
    for _ in 0..rounds {
        let found = splitter.scan(black_box(&stream));
        assert_eq!(found.complete, stream.len());
        let mut cursor = FrameCursor::new(&stream);
        while let Some(frame) = cursor.next_frame().unwrap() {
            match frame.kind {
                crate::codec::FrameKind::Method => {
                    let method = parse_method(frame.payload).unwrap();
                    assert!(matches!(black_box(method), Method::Publish(_)));
                }
                crate::codec::FrameKind::Header => {
                    let header = ContentHeader::parse(frame.payload, 60).unwrap();
                    black_box(scan(header.properties)).unwrap();
                }
                _ => drop(black_box(frame.share())),
            }
        }
    }
    let each = started.elapsed().as_nanos() as f64 / f64::from(rounds * 100);
    println!("a whole publish, split, parsed, scanned, body shared: {each:.1} ns");
}
