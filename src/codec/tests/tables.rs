//! Tables and arrays: every type, order, duplicates, depth.

use amq_protocol::types::generation::gen_field_table;
use amq_protocol::types::parsing::parse_field_table;
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable};
use bytes::Bytes;
use proptest::prelude::*;

use super::{peer, table};
use crate::base::limits::TABLE_DEPTH_MAX;
use crate::codec::{ArrayBuilder, RawTable, TableBuilder, TableRef, Value};

fn same(ours: Value<'_>, theirs: &AMQPValue) -> bool {
    match (ours, theirs) {
        (Value::Bool(a), AMQPValue::Boolean(b)) => a == *b,
        (Value::I8(a), AMQPValue::ShortShortInt(b)) => a == *b,
        (Value::U8(a), AMQPValue::ShortShortUInt(b)) => a == *b,
        (Value::I16(a), AMQPValue::ShortInt(b)) => a == *b,
        (Value::U16(a), AMQPValue::ShortUInt(b)) => a == *b,
        (Value::I32(a), AMQPValue::LongInt(b)) => a == *b,
        (Value::U32(a), AMQPValue::LongUInt(b)) => a == *b,
        (Value::I64(a), AMQPValue::LongLongInt(b)) => a == *b,
        (Value::F32(a), AMQPValue::Float(b)) => a == *b,
        (Value::F64(a), AMQPValue::Double(b)) => a == *b,
        (Value::Decimal(s, n), AMQPValue::DecimalValue(d)) => s == d.scale && n == d.value,
        (Value::LongStr(a), AMQPValue::LongString(b)) => a == b.as_bytes(),
        (Value::Binary(a), AMQPValue::ByteArray(b)) => a == b.as_slice(),
        (Value::Timestamp(a), AMQPValue::Timestamp(b)) => a == *b,
        (Value::Void, AMQPValue::Void) => true,
        (Value::Array(a), AMQPValue::FieldArray(b)) => {
            a.iter().count() == b.as_slice().len()
                && a.iter().zip(b.as_slice()).all(|(a, b)| same(a, b))
        }
        (Value::Table(a), AMQPValue::FieldTable(b)) => same_table(a, b),
        _ => false,
    }
}

pub(super) fn same_table(ours: TableRef<'_>, theirs: &FieldTable) -> bool {
    ours.iter().count() == theirs.inner().len()
        && ours
            .iter()
            .zip(theirs)
            .all(|((k, v), (key, value))| k == key.as_str().as_bytes() && same(v, value))
}

/// Builds it again with our own builders.
fn rebuild(table: &FieldTable) -> RawTable {
    fn put(value: &AMQPValue, with: &mut dyn FnMut(Value<'_>)) {
        match value {
            AMQPValue::FieldTable(table) => with(Value::Table(rebuild(table).view())),
            AMQPValue::FieldArray(array) => {
                let mut built = ArrayBuilder::new();
                for value in array.as_slice() {
                    put(value, &mut |v| {
                        built.push(v);
                    });
                }
                with(Value::Array(built.view()));
            }
            leaf => {
                let one = FieldArray::from(vec![leaf.clone()]);
                let mut holder = FieldTable::default();
                holder.insert("k".into(), AMQPValue::FieldArray(one));
                let octets = peer(gen_field_table(&holder));
                let raw = RawTable::new(Bytes::copy_from_slice(&octets[4..])).unwrap();
                let Some(Value::Array(array)) = raw.get("k") else {
                    panic!("no array")
                };
                with(array.iter().next().unwrap());
            }
        }
    }
    let mut built = TableBuilder::new();
    for (key, value) in table {
        put(value, &mut |v| {
            built.insert(key.as_str(), v);
        });
    }
    built.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a1_10_reads_what_the_peer_writes(table in table()) {
        let octets = peer(gen_field_table(&table));
        let raw = RawTable::new(Bytes::copy_from_slice(&octets[4..])).unwrap();
        prop_assert!(same_table(raw.view(), &table));
    }

    #[test]
    fn a1_10_the_peer_reads_what_we_write(table in table()) {
        let raw = rebuild(&table);
        let mut octets = (raw.octets().len() as u32).to_be_bytes().to_vec();
        octets.extend_from_slice(raw.octets());
        let (rest, read) = parse_field_table(&octets[..]).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read, table);
    }
}

#[test]
fn a1_10_order_and_duplicates_stay() {
    let mut b = TableBuilder::new();
    b.insert("z", Value::I32(1))
        .insert("a", Value::I32(2))
        .insert("z", Value::I32(3));
    let table = b.finish();
    let keys: Vec<_> = table.iter().map(|(k, _)| k.to_vec()).collect();
    assert_eq!(keys, [b"z", b"a", b"z"]);
    assert_eq!(table.get("z"), Some(Value::I32(1)), "the first counts");
    let sorted = table.sorted();
    assert_eq!(
        format!("{:?}", sorted.view()),
        "[{<<\"a\">>,signedint,2},{<<\"z\">>,signedint,1},{<<\"z\">>,signedint,3}]"
    );
    assert_eq!(sorted.sorted(), sorted);
}

#[test]
fn a1_10_both_l_are_signed() {
    for kind in [b'l', b'L'] {
        let mut octets = vec![1, b'k', kind];
        octets.extend_from_slice(&(-5i64).to_be_bytes());
        let raw = RawTable::new(octets.into()).unwrap();
        assert_eq!(raw.get("k"), Some(Value::I64(-5)));
    }
}

#[test]
fn a1_10_unknown_types_are_refused() {
    for kind in [b'U', b'Z', 0, 255] {
        let octets = vec![1, b'k', kind, 0, 0, 0, 0, 0, 0, 0, 0];
        let fault = RawTable::new(octets.into()).unwrap_err();
        assert_eq!(fault.text, "SYNTAX_ERROR - malformed field table");
    }
}

#[test]
fn a1_10_keys_need_not_be_utf8() {
    let raw = RawTable::new(Bytes::from_static(&[2, 0xFF, 0xFE, b't', 1])).unwrap();
    assert_eq!(
        raw.iter().next(),
        Some((&[0xFF, 0xFE][..], Value::Bool(true)))
    );
}

/// `levels` tables in each other.
fn nested(levels: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 1..levels {
        let mut outer = vec![0, b'F'];
        outer.extend_from_slice(&(octets.len() as u32).to_be_bytes());
        outer.extend_from_slice(&octets);
        octets = outer;
    }
    octets
}

#[test]
fn a1_10_depth_is_limited() {
    assert!(RawTable::new(nested(TABLE_DEPTH_MAX).into()).is_ok());
    let fault = RawTable::new(nested(TABLE_DEPTH_MAX + 1).into()).unwrap_err();
    assert_eq!(
        fault.text,
        "SYNTAX_ERROR - field table nested deeper than 64 levels"
    );
    assert!(RawTable::new(nested(5_000).into()).is_err());
}

#[test]
fn a2_values_as_texts_show_them() {
    let shown = |v: Value<'_>| (v.to_string(), v.type_name());
    assert_eq!(shown(Value::LongStr(b"a")), ("a".into(), "longstr"));
    assert_eq!(shown(Value::I32(10)), ("10".into(), "signedint"));
    assert_eq!(shown(Value::Bool(true)), ("true".into(), "bool"));
    assert_eq!(shown(Value::F64(1.0)), ("1.0".into(), "double"));
    assert_eq!(shown(Value::Void), ("undefined".into(), "void"));
}

#[test]
fn a2_equivalence_of_arguments() {
    assert!(Value::I32(10).equivalent(&Value::I64(10)));
    assert!(Value::U8(10).equivalent(&Value::I8(10)));
    assert!(!Value::I32(10).equivalent(&Value::F64(10.0)));
    assert!(!Value::I32(10).equivalent(&Value::Timestamp(10)));
    assert!(Value::F32(0.5).equivalent(&Value::F64(0.5)));
    assert!(!Value::LongStr(b"a").equivalent(&Value::Binary(b"a")));
}

#[test]
fn tables_in_stored_records() {
    let mut b = TableBuilder::new();
    b.insert("x-max-length", Value::I32(7))
        .insert("x-max-length", Value::Void);
    let table = b.finish();
    let stored = rmp_serde::to_vec(&table).unwrap();
    assert_eq!(rmp_serde::from_slice::<RawTable>(&stored).unwrap(), table);
    let bad = rmp_serde::to_vec(&vec![1u8, b'k', b'?']).unwrap();
    assert!(rmp_serde::from_slice::<RawTable>(&bad).is_err());
}
