//! Random steps and messages, over names and words so few that they often meet.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

pub(super) fn key(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(select(parts), 0..6).prop_map(|words| words.join("."))
}

pub(super) fn arrow() -> impl Strategy<Value = Arrow> {
    let destination = prop_oneof![
        3 => (0..QUEUES).prop_map(Destination::Queue),
        1 => select(&NAMES[..]).prop_map(|name| Destination::Exchange(Name::from(name))),
    ];
    let fields = prop::collection::vec(select(&FIELDS[..]), 0..4);
    (
        select(&NAMES[..]),
        destination,
        prop_oneof![
            6 => key(&["a", "b", "", "*", "#", "#"]),
            2 => select(&["1", "2", "5", "10000", "0", "-1", "10001"][..]).prop_map(String::from),
            1 => Just(String::new()),
        ],
        fields,
    )
        .prop_map(|(source, destination, key, mut fields)| {
            fields.sort_by_key(|(name, _)| *name);
            Arrow {
                source,
                destination,
                key,
                fields,
            }
        })
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let alternate = || prop::option::of(select(&NAMES[..]));
    let declare = (
        select(&NAMES[..]),
        select(&ExchangeKind::ALL[..]),
        alternate(),
    )
        .prop_map(|(name, kind, alternate)| Op::Declare {
            name,
            kind,
            alternate,
        });
    prop_oneof![
        4 => declare,
        1 => (select(&NAMES[..]), alternate())
            .prop_map(|(name, alternate)| Op::Alternate { name, alternate }),
        14 => arrow().prop_map(Op::Bind),
        4 => (arrow(), prop::option::weighted(0.9, any::<usize>()))
            .prop_map(|(arrow, choice)| Op::Unbind(arrow, choice)),
        1 => select(&NAMES[..]).prop_map(Op::RemoveExchange),
        1 => (0..QUEUES).prop_map(Op::RemoveQueue),
        1 => Just(Op::Keep),
    ]
}

pub(super) fn message() -> impl Strategy<Value = Message> {
    let keys = prop::collection::vec(key(&["a", "b", "", "*"]), 1..3);
    let headers = prop::collection::vec(select(&FIELDS[4..]), 0..4);
    (select(&NAMES[..]), keys, headers, any::<u64>()).prop_map(
        |(exchange, keys, headers, random)| Message {
            exchange,
            keys,
            headers,
            random,
        },
    )
}
