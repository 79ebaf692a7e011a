//! The codec against `amq-protocol` as an independent peer, and against hostile octets.

mod frames;
mod hostile;
mod methods;
mod properties;
mod tables;

use amq_protocol::frame::WriteContext;
use amq_protocol::types::generation::SerializeFn;
use amq_protocol::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use proptest::prelude::*;

/// What `amq-protocol` writes.
fn peer(write: impl SerializeFn<Vec<u8>>) -> Vec<u8> {
    write(WriteContext::from(Vec::new())).unwrap().write
}

/// A short string, sometimes empty, sometimes of full length.
fn short() -> impl Strategy<Value = ShortString> {
    prop_oneof![
        Just(ShortString::default()),
        "[ -~é]{0,20}".prop_map(ShortString::from),
        Just(ShortString::from("x".repeat(255))),
    ]
}

fn leaf() -> impl Strategy<Value = AMQPValue> {
    prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        (-1e9f32..1e9).prop_map(AMQPValue::Float),
        (-1e9f64..1e9).prop_map(AMQPValue::Double),
        (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|octets| AMQPValue::LongString(octets.into())),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|octets| AMQPValue::ByteArray(octets.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        Just(AMQPValue::Void),
    ]
}

fn value() -> impl Strategy<Value = AMQPValue> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            fields(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

fn fields(value: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    proptest::collection::btree_map(short(), value, 0..5).prop_map(FieldTable::from)
}

/// A table as `amq-protocol` has it.
fn table() -> impl Strategy<Value = FieldTable> {
    fields(value())
}
