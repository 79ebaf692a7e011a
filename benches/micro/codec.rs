//! Splitting frames, decoding a publish, patching properties, encoding a delivery.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use warren::codec::encode::{self, DeliverHead};
use warren::codec::properties::scan;
use warren::codec::{
    ContentHeader, FrameCursor, FrameKind, FrameSplitter, Method, Properties, Property,
    PropertyPatch, parse_method,
};

/// As many publishes as one large read brings.
const RUN: usize = 500;

/// amq.topic, some.longer, mandatory.
const PUBLISH: &[u8] = b"\x00\x3c\x00\x28\x00\x00\x09amq.topic\x0bsome.longer\x01";

/// content-type and delivery-mode.
const PROPERTIES: &[u8] = b"\x90\x00\x0atext/plain\x02";

fn publishes() -> Bytes {
    let mut stream = BytesMut::new();
    for _ in 0..RUN {
        encode::frame_header(&mut stream, FrameKind::Method, 1, PUBLISH.len());
        stream.extend_from_slice(PUBLISH);
        encode::frame_end(&mut stream);
        encode::content_header(&mut stream, 1, 128, PROPERTIES);
        encode::body(&mut stream, 1, &[7; 128], 131_072);
    }
    stream.freeze()
}

/// What a connection does with a run of publishes before it routes them.
fn decode(stream: &Bytes) {
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

pub(crate) fn benches(criterion: &mut Criterion) {
    let stream = publishes();
    let mut group = criterion.benchmark_group("codec, each message");
    group.throughput(Throughput::Elements(RUN as u64));
    group.bench_function("split", |bench| {
        let splitter = FrameSplitter::new(131_072);
        bench.iter(|| assert_eq!(splitter.scan(black_box(&stream)).complete, stream.len()));
    });
    group.bench_function("publish decode", |bench| bench.iter(|| decode(&stream)));
    group.bench_function("deliver encode", |bench| {
        let head = DeliverHead {
            consumer_tag: b"amq.ctag-0123456789abcdef",
            delivery_tag: 1,
            redelivered: false,
            exchange: b"amq.topic",
            routing_key: b"some.longer",
        };
        let mut out = BytesMut::with_capacity(RUN * 400);
        bench.iter(|| {
            out.clear();
            for _ in 0..RUN {
                encode::deliver(&mut out, 1, black_box(&head));
                encode::content_header(&mut out, 1, 128, PROPERTIES);
                encode::body(&mut out, 1, &[7; 128], 131_072);
            }
        });
    });
    group.finish();

    criterion.bench_function("properties patch", |bench| {
        let raw = Bytes::from_static(PROPERTIES);
        let properties = Properties::trusted(raw);
        bench.iter_batched(
            || PropertyPatch::new().text(Property::ReplyTo, b"amq.rabbitmq.reply-to.g2"),
            |patch| black_box(patch.apply(&properties)),
            BatchSize::SmallInput,
        );
    });
}
