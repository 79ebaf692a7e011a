//! Methods: what is read and written again is read as the same, and what `amq-protocol` reads is read here.
//!
//! Input: the payload of a method frame.
#![no_main]

use amq_protocol::protocol::{AMQPClass, parse_class};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use warren::base::ReplyCode;
use warren::codec::{FrameCursor, FrameKind, Method, Publish, encode, parse_method};
use warren_fuzz::bounded;

fuzz_target!(|payload: &[u8]| {
    let read = bounded(payload.len(), 16, 4096, || parse_method(payload));
    let theirs = match parse_class(payload) {
        Ok((rest, class)) if rest.is_empty() => Some(class),
        _ => None,
    };
    let method = match read {
        Ok(method) => method,
        Err(fault) => {
            // A table too deep, or with what it takes for a value and RabbitMQ does not.
            let table = fault.code == ReplyCode::SyntaxError;
            assert!(theirs.is_none() || table, "{fault:?} of {theirs:?}");
            return;
        }
    };
    assert_eq!(
        &payload[..4],
        [id(method.id().0), id(method.id().1)].concat()
    );
    match &method {
        Method::Other(command) => {
            let octets = write(&command.method);
            let again = parse(&octets);
            let Method::Other(again) = &again else {
                panic!("{method:?} became {again:?}");
            };
            assert_eq!(again.method, command.method);
            assert!(again.arguments.is_empty());
            // The table is octets of the payload as they came.
            let table = command.arguments.octets();
            let there = payload
                .windows(table.len().max(1))
                .any(|octets| octets == table);
            assert!(table.is_empty() || there);
            if table.is_empty() {
                assert_eq!(theirs.as_ref(), Some(&command.method));
            }
        }
        borrowed => {
            let Some(theirs) = theirs else {
                // They want names in UTF-8 and know no size of a prefetch.
                assert!(matches!(borrowed, Method::Publish(_) | Method::Qos { .. }));
                return;
            };
            let octets = write(&theirs);
            let again = parse(&octets);
            match (borrowed, again) {
                (Method::Publish(Publish { .. }), again) => assert_eq!(&again, borrowed),
                (
                    Method::Qos {
                        prefetch_count,
                        global,
                        ..
                    },
                    Method::Qos {
                        prefetch_count: c,
                        global: g,
                        ..
                    },
                ) => {
                    assert_eq!((*prefetch_count, *global), (c, g));
                }
                (borrowed, again) => assert_eq!(&again, borrowed),
            }
        }
    }
});

fn id(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

fn write(method: &AMQPClass) -> Bytes {
    let mut octets = BytesMut::new();
    encode::write_method(&mut octets, 7, method);
    octets.freeze()
}

fn parse(octets: &Bytes) -> Method<'_> {
    let mut cursor = FrameCursor::new(octets);
    let frame = cursor.next_frame().ok().flatten().expect("a whole frame");
    assert_eq!((frame.kind, frame.channel), (FrameKind::Method, 7));
    assert!(cursor.rest().is_empty());
    parse_method(frame.payload).expect("what was written is well formed")
}
