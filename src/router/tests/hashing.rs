//! The kinds that pick one binding: by a hash, or by chance.

use std::collections::BTreeMap;

use super::*;

const CONSISTENT: &str = "x-consistent-hash";
const MODULUS: &str = "x-modulus-hash";
const RANDOM: &str = "x-random";
const LOCAL: &str = "x-local-random";
const KEYS: usize = 100_000;

fn one(graph: &Graph<u32>, exchange: &str, key: &str) -> u32 {
    match route(graph, exchange, key)[..] {
        [queue] => queue,
        ref other => panic!("{key} went to {other:?}"),
    }
}

/// Where each of many keys goes.
fn spread(graph: &Graph<u32>, exchange: &str) -> Vec<u32> {
    (0..KEYS)
        .map(|n| one(graph, exchange, &format!("key-{n}")))
        .collect()
}

fn counts(spread: &[u32]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for queue in spread {
        *counts.entry(*queue).or_default() += 1;
    }
    counts
}

fn weighted(weights: &[(u32, &str)]) -> Graph<u32> {
    let mut graph = graph();
    for (queue, weight) in weights {
        bind(&mut graph, CONSISTENT, *queue, weight);
    }
    graph
}

fn hashing_on(hash_on: HashOn) -> Graph<u32> {
    let mut graph = Graph::new();
    graph.insert(ExchangeSpec {
        hash_on,
        ..spec("x", ExchangeKind::ConsistentHash)
    });
    for queue in 0..20 {
        bind(&mut graph, "x", queue, "1");
    }
    graph
}

#[test]
fn a3_7_weights_share_the_keys() {
    let found = counts(&spread(
        &weighted(&[(1, "1"), (2, "2"), (3, "5")]),
        CONSISTENT,
    ));
    println!("weights 1, 2, 5: {found:?}");
    for (queue, weight) in [(1, 1), (2, 2), (3, 5)] {
        let expected = (KEYS * weight / 8) as f64;
        let off = (found[&queue] as f64 - expected).abs() / expected;
        assert!(off < 0.03, "queue {queue} is off by {off}");
    }
    // Chi-square of equal weights, 19 degrees of freedom: 43.8 is p = 0.001.
    let equal: Vec<_> = (0..20).map(|queue| (queue, "3")).collect();
    let expected = KEYS as f64 / 20.0;
    let chi: f64 = counts(&spread(&weighted(&equal), CONSISTENT))
        .values()
        .map(|found| (*found as f64 - expected).powi(2) / expected)
        .sum();
    println!("20 equal weights: chi-square {chi:.1}");
    assert!(chi < 43.8, "{chi}");
}

#[test]
fn a3_7_a_destination_that_comes_or_goes_moves_its_share_and_nothing_else() {
    let weights: Vec<_> = (0..10).map(|queue| (queue, "2")).collect();
    let mut graph = weighted(&weights);
    let before = spread(&graph, CONSISTENT);
    for gone in [0, 5, 9] {
        assert!(unbind(&mut graph, CONSISTENT, gone, "2").existed);
        let without = spread(&graph, CONSISTENT);
        let moved = before.iter().zip(&without).filter(|(a, b)| a != b).count();
        println!("without queue {gone} of 10: {moved} of {KEYS} moved");
        assert!(
            before
                .iter()
                .zip(&without)
                .all(|(a, b)| a == b || *a == gone)
        );
        assert!((KEYS / 11..KEYS / 9).contains(&moved), "{moved}");
        bind(&mut graph, CONSISTENT, gone, "2");
        assert_eq!(spread(&graph, CONSISTENT), before, "back where it was");
    }
    bind(&mut graph, CONSISTENT, 10, "2");
    let with = spread(&graph, CONSISTENT);
    assert!(before.iter().zip(&with).all(|(a, b)| a == b || *b == 10));
}

#[test]
fn a3_7_the_order_of_binding_does_not_matter() {
    let weights = [(1, "1"), (2, "2"), (3, "5"), (4, "1")];
    let mut reversed = weights;
    reversed.reverse();
    assert_eq!(
        spread(&weighted(&weights), CONSISTENT),
        spread(&weighted(&reversed), CONSISTENT)
    );
}

#[test]
fn a3_7_choices_that_were_made_stay() {
    let equal: Vec<_> = (0..10).map(|queue| (queue, "3")).collect();
    let graph = weighted(&equal);
    let keys = [
        "", "a", "b", "c", "order.1", "order.2", "order.3", "order.4",
    ];
    let found = keys.map(|key| one(&graph, CONSISTENT, key));
    assert_eq!(found, [7, 8, 0, 5, 2, 1, 9, 4]);
}

#[test]
fn a3_7_of_a_destination_bound_twice_the_first_counts() {
    let mut graph = weighted(&[(1, "1"), (2, "1")]);
    let before = spread(&graph, CONSISTENT);
    bind(&mut graph, CONSISTENT, 1, "9");
    assert_eq!(spread(&graph, CONSISTENT), before);
    assert!(unbind(&mut graph, CONSISTENT, 1, "1").existed);
    assert!(counts(&spread(&graph, CONSISTENT))[&1] > KEYS * 8 / 10);
}

#[test]
fn a3_7_keys_that_are_no_weights_are_refused() {
    let mut graph = graph();
    let mut tried = |key| bind_with(&mut graph, CONSISTENT, 1, key, &[]);
    for key in ["", "a", "1.5", "1 ", " 1", "-", "+", "--1", "0x1", "１"] {
        let fault = BindError::Weight(WeightError::NotInteger);
        assert_eq!(tried(key), Err(fault), "{key}");
    }
    for key in ["0", "-0", "-1", "000", "-99999999999999999999999"] {
        let fault = BindError::Weight(WeightError::NotPositive);
        assert_eq!(tried(key), Err(fault), "{key}");
    }
    for key in ["10001", "99999999999999999999999"] {
        let fault = BindError::Weight(WeightError::TooLarge(10_000));
        assert_eq!(tried(key), Err(fault), "{key}");
    }
    for key in ["1", "+1", "007", "10000"] {
        assert_eq!(tried(key), Ok(Bound::New), "{key}");
    }
}

#[test]
fn a3_7_headers_and_properties_are_hashed() {
    use HeaderValue::{ByteArray, Int, LongString, Timestamp, Void};
    let graph = hashing_on(HashOn::Header(Bytes::from_static(b"x-id")));
    fn at(graph: &Graph<u32>, key: &str, headers: Fields<'_>) -> Vec<u32> {
        let out = routes(graph, "x", key, headers);
        assert!(!out.cacheable());
        out.queues().to_vec()
    }
    let mut hit: Vec<_> = (0..200)
        .flat_map(|n| at(&graph, "k", &[(b"x-id", Int(n))]))
        .collect();
    hit.sort_unstable();
    hit.dedup();
    assert_eq!(hit.len(), 20);
    assert_eq!(
        at(&graph, "k", &[(b"x-id", LongString(b"a"))]),
        at(
            &graph,
            "other",
            &[(b"b", Int(1)), (b"x-id", ByteArray(b"a"))]
        )
    );
    assert_eq!(at(&graph, "k", &[]), at(&graph, "l", &[(b"x-id", Void)]));
    for (property, value) in [
        (HashProperty::CorrelationId, LongString(b"c")),
        (HashProperty::MessageId, LongString(b"m")),
        (HashProperty::Timestamp, Timestamp(5)),
    ] {
        let graph = hashing_on(HashOn::Property(property));
        let at = |key: &str, property| {
            let out = routes_of(&graph, "x", key, &Message { property, ..NONE });
            assert!(!out.cacheable());
            out.queues().to_vec()
        };
        assert_eq!(
            at("k", Some((property, value))),
            at("l", Some((property, value)))
        );
        assert_ne!(at("k", Some((property, value))), at("k", None));
    }
}

#[test]
fn a3_7_a_route_by_the_key_can_be_remembered() {
    let graph = weighted(&[(1, "1"), (2, "2")]);
    assert!(routes(&graph, CONSISTENT, "k", &[]).cacheable());
    assert_eq!(route(&weighted(&[]), CONSISTENT, "k"), Vec::<u32>::new());
}

#[test]
fn a3_8_local_random_takes_queues_by_the_empty_key_only() {
    let mut graph = graph();
    assert_eq!(
        bind_with(&mut graph, LOCAL, 1, "k", &[]),
        Err(BindError::KeyNotEmpty)
    );
    let to_exchange = |graph: &mut Graph<u32>, key: &[u8]| {
        let fanout = Destination::Exchange(Name::from("fanout"));
        graph.bind(LOCAL.as_bytes(), fanout, key, BindingArguments::default())
    };
    assert_eq!(to_exchange(&mut graph, b""), Err(BindError::NotAQueue));
    assert_eq!(to_exchange(&mut graph, b"k"), Err(BindError::KeyNotEmpty));
    assert_eq!(bind_with(&mut graph, LOCAL, 1, "", &[]), Ok(Bound::New));
    assert_eq!(route(&graph, LOCAL, "any key"), [1]);
}

#[test]
fn a3_8_a3_10_random_follows_the_number_it_is_given() {
    for exchange in [LOCAL, RANDOM] {
        let mut graph = graph();
        assert_eq!(route(&graph, exchange, "k"), Vec::<u32>::new());
        bind(&mut graph, exchange, 0, "");
        assert!(routes(&graph, exchange, "k", &[]).cacheable());
        for queue in 1..4 {
            bind(&mut graph, exchange, queue, "");
        }
        let mut hits = [0; 4];
        for number in 0..1000_u64 {
            let random = number << 54;
            let out = routes_of(&graph, exchange, "k", &Message { random, ..NONE });
            assert!(!out.cacheable());
            match out.queues() {
                [queue] => hits[*queue as usize] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(
            hits.iter().all(|hits| (230..=256).contains(hits)),
            "{hits:?}"
        );
        let last = Message {
            random: u64::MAX,
            ..NONE
        };
        assert_eq!(routes_of(&graph, exchange, "k", &last).queues(), [3]);
    }
}

#[test]
fn a3_9_modulus_counts_bindings_in_the_order_of_names() {
    let mut graph = graph();
    assert_eq!(route(&graph, MODULUS, "k"), Vec::<u32>::new());
    // phash2(["abc"]) is 63525141, 1 modulo 5; phash2([""]) is 38220213, 3 modulo 5.
    for queue in [4, 0, 3, 1, 2] {
        bind(&mut graph, MODULUS, queue, "whatever");
    }
    assert_eq!(route(&graph, MODULUS, "abc"), [1]);
    assert_eq!(route(&graph, MODULUS, ""), [3]);
    assert!(routes(&graph, MODULUS, "abc", &[]).cacheable());
    // Exchanges stand before queues: 3 and 3 modulo 6.
    bind_exchange(&mut graph, MODULUS, "fanout", "");
    assert_eq!(route(&graph, MODULUS, "abc"), [2]);
}

#[test]
fn a3_9_modulus_gives_a_destination_a_share_for_each_binding() {
    let mut graph = graph();
    for (queue, key) in [(1, ""), (2, "a"), (2, "b"), (3, "a"), (3, "b"), (3, "c")] {
        bind(&mut graph, MODULUS, queue, key);
    }
    let found = counts(&spread(&graph, MODULUS));
    println!("modulus, bound 1, 2 and 3 times: {found:?}");
    for (queue, share) in [(1, 1), (2, 2), (3, 3)] {
        let expected = KEYS * share / 6;
        assert!(found[&queue].abs_diff(expected) < expected / 30);
    }
}

#[test]
fn a3_12_the_alternate_is_for_those_without_bindings() {
    for exchange in [CONSISTENT, MODULUS, RANDOM, LOCAL] {
        let mut graph = graph();
        graph.set_alternate(exchange.as_bytes(), Some(Name::from("fanout")));
        bind(&mut graph, "fanout", 9, "");
        assert_eq!(route(&graph, exchange, "k"), [9]);
        let key = if exchange == CONSISTENT { "1" } else { "" };
        bind(&mut graph, exchange, 1, key);
        assert_eq!(route(&graph, exchange, "k"), [1]);
    }
}
