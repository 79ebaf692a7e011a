//! Every method both ways, and what is refused.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic, channel, connection, gen_class};
use amq_protocol::types::ShortString;
use amq_protocol::types::generation::gen_field_table;
use bytes::BytesMut;
use proptest::prelude::*;

use super::tables::same_table;
use super::{peer, short, table};
use crate::base::{AmqpError, ReplyCode};
use crate::codec::encode::{self, DeliverHead, GetOkHead, ReturnHead};
use crate::codec::{Command, Method, Publish, parse_method};

/// All methods with their fields, as the protocol's definition lists them: `s` short string, `l`
/// long string, `t` table, `o h w q` integers of 1, 2, 4, 8 octets, digits an octet of so many bits,
/// capitals the same but reserved
/// (`T` is the ticket, always 1).
const SIGNATURES: &[(u16, u16, &str)] = &[
    (10, 10, "ootll"),
    (10, 11, "tsls"),
    (10, 20, "l"),
    (10, 21, "l"),
    (10, 30, "hwh"),
    (10, 31, "hwh"),
    (10, 40, "sSO"),
    (10, 41, "S"),
    (10, 50, "hshh"),
    (10, 51, ""),
    (10, 60, "s"),
    (10, 61, ""),
    (10, 70, "ls"),
    (10, 71, ""),
    (20, 10, "S"),
    (20, 11, "L"),
    (20, 20, "1"),
    (20, 21, "1"),
    (20, 40, "hshh"),
    (20, 41, ""),
    (30, 10, "s5"),
    (30, 11, "T"),
    (40, 10, "Hss5t"),
    (40, 11, ""),
    (40, 20, "Hs2"),
    (40, 21, ""),
    (40, 30, "Hsss1t"),
    (40, 31, ""),
    (40, 40, "Hsss1t"),
    (40, 51, ""),
    (50, 10, "Hs5t"),
    (50, 11, "sww"),
    (50, 20, "Hsss1t"),
    (50, 21, ""),
    (50, 30, "Hs1"),
    (50, 31, "w"),
    (50, 40, "Hs3"),
    (50, 41, "w"),
    (50, 50, "Hssst"),
    (50, 51, ""),
    (60, 10, "wh1"),
    (60, 11, ""),
    (60, 20, "Hss4t"),
    (60, 21, "s"),
    (60, 30, "s1"),
    (60, 31, "s"),
    (60, 40, "Hss2"),
    (60, 50, "hsss"),
    (60, 60, "sq1ss"),
    (60, 70, "Hs1"),
    (60, 71, "q1ssw"),
    (60, 72, "S"),
    (60, 80, "q1"),
    (60, 90, "q1"),
    (60, 100, "1"),
    (60, 110, "1"),
    (60, 111, ""),
    (60, 120, "q2"),
    (85, 10, "1"),
    (85, 11, ""),
    (90, 10, ""),
    (90, 11, ""),
    (90, 20, ""),
    (90, 21, ""),
    (90, 30, ""),
    (90, 31, ""),
];

/// Writes fields by a signature. `table` goes where one is.
fn fields(signature: &str, string: &str, number: u64, table: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in signature.chars() {
        let octets = number.to_be_bytes();
        match field {
            's' => {
                out.push(string.len() as u8);
                out.extend_from_slice(string.as_bytes());
            }
            'l' => {
                out.extend_from_slice(&(string.len() as u32).to_be_bytes());
                out.extend_from_slice(string.as_bytes());
            }
            't' => out.extend_from_slice(table),
            'o' => out.extend_from_slice(&octets[7..]),
            'h' => out.extend_from_slice(&octets[6..]),
            'w' => out.extend_from_slice(&octets[4..]),
            'q' => out.extend_from_slice(&octets),
            'S' | 'O' => out.push(0),
            'H' => out.extend_from_slice(&[0; 2]),
            'L' => out.extend_from_slice(&[0; 4]),
            'T' => out.extend_from_slice(&[0, 1]),
            bits => out.push(octets[7] & ((1 << bits.to_digit(10).unwrap()) - 1)),
        }
    }
    out
}

fn payload(class_id: u16, method_id: u16, fields: &[u8]) -> Vec<u8> {
    [
        &class_id.to_be_bytes()[..],
        &method_id.to_be_bytes(),
        fields,
    ]
    .concat()
}

/// What writes a method again, whichever way it was read.
fn again(method: &Method<'_>) -> Vec<u8> {
    let text = |octets: &[u8]| ShortString::from(std::str::from_utf8(octets).unwrap());
    let class = match method {
        Method::Publish(p) => basic::AMQPMethod::Publish(basic::Publish {
            exchange: text(p.exchange),
            routing_key: text(p.routing_key),
            mandatory: p.mandatory,
            immediate: p.immediate,
        }),
        Method::Ack { tag, multiple } => basic::AMQPMethod::Ack(basic::Ack {
            delivery_tag: *tag,
            multiple: *multiple,
        }),
        Method::Nack {
            tag,
            multiple,
            requeue,
        } => basic::AMQPMethod::Nack(basic::Nack {
            delivery_tag: *tag,
            multiple: *multiple,
            requeue: *requeue,
        }),
        Method::Reject { tag, requeue } => basic::AMQPMethod::Reject(basic::Reject {
            delivery_tag: *tag,
            requeue: *requeue,
        }),
        Method::Qos {
            prefetch_size,
            prefetch_count,
            global,
        } => {
            let mut out = vec![0, 60, 0, 10];
            out.extend_from_slice(&prefetch_size.to_be_bytes());
            out.extend_from_slice(&prefetch_count.to_be_bytes());
            out.push((*global).into());
            return out;
        }
        Method::Other(command) => {
            let mut out = BytesMut::new();
            encode::write_method(&mut out, 3, &command.method);
            assert_eq!(out[..3], [1, 0, 3]);
            return out[7..out.len() - 1].to_vec();
        }
    };
    peer(gen_class(&AMQPClass::Basic(class)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_method_both_ways(string in short(), number in any::<u64>(), table in table()) {
        let octets = peer(gen_field_table(&table));
        for (class, method, signature) in SIGNATURES {
            let sent = payload(*class, *method, &fields(signature, string.as_str(), number, &octets));
            let read = parse_method(&sent).unwrap();
            prop_assert_eq!(read.id(), (*class, *method));
            // The table went its own way; the method itself has an empty one.
            let bare = fields(signature, string.as_str(), number, &[0; 4]);
            prop_assert_eq!(again(&read), payload(*class, *method, &bare), "{}.{}", class, method);
            if let Method::Other(command) = &read && signature.contains('t') {
                prop_assert!(same_table(command.arguments.view(), &table));
            }
        }
    }

    #[test]
    fn no_method_is_read_from_fewer_or_more_octets(string in short(), number in any::<u64>()) {
        for (class, method, signature) in SIGNATURES {
            let sent = payload(*class, *method, &fields(signature, string.as_str(), number, &[0; 4]));
            for cut in 4..sent.len() {
                let fault = parse_method(&sent[..cut]).unwrap_err();
                // A string cut within a character is seen as such only if its length is cut too.
                prop_assert_eq!(fault.code, ReplyCode::FrameError, "{}.{}", class, method);
                prop_assert_eq!((fault.class_id, fault.method_id), (*class, *method));
            }
            let longer = [&sent[..], &[0]].concat();
            prop_assert!(parse_method(&longer).is_err(), "{}.{}", class, method);
        }
    }

    #[test]
    fn the_peer_reads_deliver_get_ok_return_ack_nack(
        tag in short(), exchange in short(), key in short(), n in any::<u64>(), flag in any::<bool>(),
    ) {
        let (t, x, k) = (tag.as_str(), exchange.as_str(), key.as_str());
        let mut out = BytesMut::new();
        encode::deliver(&mut out, 1, &DeliverHead {
            consumer_tag: t.as_bytes(), delivery_tag: n, redelivered: flag,
            exchange: x.as_bytes(), routing_key: k.as_bytes(),
        });
        encode::get_ok(&mut out, 1, &GetOkHead {
            delivery_tag: n, redelivered: flag, exchange: x.as_bytes(),
            routing_key: k.as_bytes(), message_count: n as u32,
        });
        encode::basic_return(&mut out, 1, &ReturnHead {
            reply_code: 312, reply_text: b"NO_ROUTE", exchange: x.as_bytes(),
            routing_key: k.as_bytes(),
        });
        encode::ack(&mut out, 1, n, flag);
        encode::nack(&mut out, 1, n, flag);
        let expected = [
            basic::AMQPMethod::Deliver(basic::Deliver {
                consumer_tag: tag.clone(), delivery_tag: n, redelivered: flag,
                exchange: exchange.clone(), routing_key: key.clone(),
            }),
            basic::AMQPMethod::GetOk(basic::GetOk {
                delivery_tag: n, redelivered: flag, exchange: exchange.clone(),
                routing_key: key.clone(), message_count: n as u32,
            }),
            basic::AMQPMethod::Return(basic::Return {
                reply_code: 312, reply_text: "NO_ROUTE".into(), exchange, routing_key: key,
            }),
            basic::AMQPMethod::Ack(basic::Ack { delivery_tag: n, multiple: flag }),
            basic::AMQPMethod::Nack(basic::Nack {
                delivery_tag: n, multiple: flag, requeue: false,
            }),
        ];
        let mut rest = &out[..];
        for method in expected {
            let (after, frame) = parse_frame(rest).unwrap();
            prop_assert_eq!(frame, AMQPFrame::Method(1, AMQPClass::Basic(method)));
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn unknown_methods_are_named() {
    for (class, method) in [
        (60, 41),
        (10, 99),
        (7, 1),
        (0, 0),
        (65_535, 65_535),
        (40, 41),
    ] {
        let fault = parse_method(&payload(class, method, &[])).unwrap_err();
        assert_eq!(
            fault.text,
            format!("COMMAND_INVALID - unknown method {class}.{method}")
        );
        assert_eq!((fault.class_id, fault.method_id), (class, method));
    }
}

#[test]
fn a1_9_strings_are_utf8_but_not_those_of_publish() {
    let declare = [0, 0, 2, 0xFF, 0xFE, 0, 0, 0, 0, 0];
    let fault = parse_method(&payload(50, 10, &declare)).unwrap_err();
    assert_eq!(fault.text, "FRAME_ERROR - Malformed UTF-8 in shortstr");
    // Noticed before the method is known.
    assert_eq!((fault.class_id, fault.method_id), (0, 0));
    let publish = payload(60, 40, &[0, 0, 1, 0xFF, 1, 0xFE, 3]);
    assert_eq!(
        parse_method(&publish).unwrap(),
        Method::Publish(Publish {
            exchange: &[0xFF],
            routing_key: &[0xFE],
            mandatory: true,
            immediate: true
        })
    );
}

#[test]
fn a1_10_arguments_keep_order_and_duplicates() {
    let table = [1, b'z', b't', 1, 1, b'a', b't', 0, 1, b'z', b't', 0];
    let mut fields = vec![0, 0, 1, b'q', 0, 0, 0, 0, table.len() as u8];
    fields.extend_from_slice(&table);
    let sent = payload(50, 10, &fields);
    let Method::Other(command) = parse_method(&sent).unwrap() else {
        panic!("not a command")
    };
    let Command { arguments, .. } = *command;
    assert_eq!(arguments.octets()[..], table);
}

#[test]
fn a_bad_table_in_a_method_is_502_at_that_method() {
    let sent = payload(50, 10, &[0, 0, 0, 0, 0, 0, 0, 3, 1, b'k', b'?']);
    let fault = parse_method(&sent).unwrap_err();
    assert_eq!(
        (fault.code, fault.class_id, fault.method_id),
        (ReplyCode::SyntaxError, 50, 10)
    );
}

#[test]
fn a2_what_a_fault_closes() {
    let close = |channel, fault: AmqpError| {
        let mut out = BytesMut::new();
        let whole = encode::write_close(&mut out, channel, &fault);
        let (_, frame) = parse_frame(&out[..]).unwrap();
        (whole, frame)
    };
    let missing = || AmqpError::no_queue(&"é".repeat(127), "/").at(50, 10);
    let (whole, AMQPFrame::Method(3, AMQPClass::Channel(channel::AMQPMethod::Close(soft)))) =
        close(3, missing())
    else {
        panic!("not a channel.close")
    };
    assert!(!whole);
    assert_eq!(
        (soft.reply_code, soft.class_id, soft.method_id),
        (404, 50, 10)
    );
    assert!(soft.reply_text.as_str().starts_with("NOT_FOUND - no queue"));
    for (at, fault) in [
        (0, missing()),
        (3, AmqpError::immediate_unsupported().at(60, 40)),
    ] {
        let (whole, frame) = close(at, fault);
        assert!(whole);
        assert!(matches!(
            frame,
            AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(_)))
        ));
    }
    assert_eq!(encode::short_string(&"é".repeat(200)).as_str().len(), 254);
}
