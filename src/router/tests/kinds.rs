//! How each kind of exchange picks among its bindings.

use std::cell::Cell;

use super::*;

const ALL: (&[u8], HeaderValue<'_>) = (b"x-match", HeaderValue::LongString(b"all"));
const ANY: (&[u8], HeaderValue<'_>) = (b"x-match", HeaderValue::LongString(b"any"));
const ALL_X: (&[u8], HeaderValue<'_>) = (b"x-match", HeaderValue::LongString(b"all-with-x"));
const ANY_X: (&[u8], HeaderValue<'_>) = (b"x-match", HeaderValue::LongString(b"any-with-x"));

#[test]
fn a3_2_direct_takes_equal_keys_and_no_queue_twice() {
    let mut graph = graph();
    bind(&mut graph, "direct", 2, "k");
    bind(&mut graph, "direct", 1, "k");
    bind(&mut graph, "direct", 3, "other");
    bind_with(&mut graph, "direct", 1, "k", &[(b"a", HeaderValue::Int(1))]).unwrap();
    assert_eq!(route(&graph, "direct", "k"), [1, 2]);
    assert_eq!(route(&graph, "direct", ""), Vec::<u32>::new());
    assert!(routes(&graph, "direct", "k", &[]).cacheable());
}

#[test]
fn a3_3_fanout_ignores_the_key() {
    let mut graph = graph();
    bind(&mut graph, "fanout", 2, "a");
    bind(&mut graph, "fanout", 2, "b");
    bind(&mut graph, "fanout", 1, "");
    assert_eq!(route(&graph, "fanout", "whatever"), [1, 2]);
}

#[test]
fn a3_4_wildcards_stand_for_whole_words() {
    for (pattern, key, expected) in [
        ("a.b", "a.b", true),
        ("a.b", "a.b.c", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("a.*", "a.", true),
        ("*", "a", true),
        ("a.#", "a", true),
        ("a.#", "a.b.c", true),
        ("a.#", "ab", false),
        ("#.b", "b", true),
        ("#.b", "a.a.b", true),
        ("#.b", "b.a", false),
        ("#.a.#", "b.a.b", true),
        ("#.*", "a", true),
        ("*.#", "a.b", true),
        ("a*", "ab", false),
        ("a*", "a*", true),
        ("a.##", "a.b", false),
        ("a.b", "*.b", false),
        ("*.b", "*.b", true),
        ("a..b", "a..b", true),
        ("a.*.b", "a..b", true),
        (".", ".", true),
        ("*.*", ".", true),
    ] {
        assert_eq!(
            topic_matches(pattern, key),
            expected,
            "{pattern} against {key}"
        );
    }
}

#[test]
fn a3_4_empty_key_matches_only_hash() {
    assert!(topic_matches("#", ""));
    assert!(topic_matches("#.#", ""));
    assert!(topic_matches("", ""));
    assert!(!topic_matches("*", ""));
    assert!(!topic_matches("#.*", ""));
    assert!(!topic_matches("", "a"));
    assert!(!topic_matches("", "."));
}

#[test]
fn a3_4_a_queue_of_several_patterns_is_listed_once() {
    let mut graph = graph();
    for pattern in ["a.b", "a.*", "#", "a.#", "#.b", "*.b"] {
        bind(&mut graph, "topic", 7, pattern);
        bind(&mut graph, "topic", 3, pattern);
    }
    assert_eq!(route(&graph, "topic", "a.b"), [3, 7]);
}

#[test]
fn a3_4_more_shapes_of_patterns_than_are_looked_up() {
    let mut graph = graph();
    // Every choice of `*` among five words: 32 shapes.
    let pattern = |number: u32| {
        let word = |at: u32| if number >> at & 1 == 1 { "*" } else { "a" };
        (0..5).map(word).collect::<Vec<_>>().join(".")
    };
    let expect = |graph: &Graph<u32>, bound: &[u32]| {
        for key in 0..32_u32 {
            let word = |at: u32| if key >> at & 1 == 1 { "b" } else { "a" };
            let text = (0..5).map(word).collect::<Vec<_>>().join(".");
            // A `b` needs a `*`.
            let all = bound.iter().filter(|number| key & !(*number % 32) == 0);
            let all = all.copied().collect::<Vec<_>>();
            assert_eq!(route(graph, "topic", &text), all, "{text}");
        }
    };
    for number in 0..32 {
        bind(&mut graph, "topic", number, &pattern(number));
    }
    expect(&graph, &(0..32).collect::<Vec<_>>());
    // Those that came first go, which makes room for the shapes of others, and those stay where they are.
    for number in 0..20 {
        unbind(&mut graph, "topic", number, &pattern(number));
    }
    bind(&mut graph, "topic", 32 + 25, &pattern(25));
    expect(
        &graph,
        &[20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 57],
    );
    for number in 20..32 {
        unbind(&mut graph, "topic", number, &pattern(number));
    }
    expect(&graph, &[57]);
    unbind(&mut graph, "topic", 57, &pattern(25));
    assert!(graph.is_bare());
}

#[test]
fn a3_4_many_hashes_cost_no_more_than_nodes_times_words() {
    let mut graph = graph();
    // Naively each `#` multiplies the work by the number of words: 126 of them over 126 words would not end.
    let hashes = ["#"; 126].join(".");
    bind(&mut graph, "topic", 1, &format!("{hashes}.x"));
    let alternating = ["#.a"; 63].join(".");
    bind(&mut graph, "topic", 2, &format!("{alternating}.x"));
    bind(&mut graph, "topic", 3, &["#.*"; 63].join("."));
    let key = ["a"; 126].join(".");
    assert_eq!(route(&graph, "topic", &key), [3]);
    assert_eq!(route(&graph, "topic", &format!("{key}.x")), [1, 2, 3]);
}

#[test]
fn a3_4_a_node_of_many_words_finds_and_loses_each() {
    let mut graph = graph();
    for queue in 0..100 {
        bind(&mut graph, "topic", queue, &format!("a.w{queue}.z"));
    }
    for queue in 0..100 {
        assert_eq!(route(&graph, "topic", &format!("a.w{queue}.z")), [queue]);
    }
    for queue in 0..100 {
        assert!(unbind(&mut graph, "topic", queue, &format!("a.w{queue}.z")).existed);
        assert_eq!(
            route(&graph, "topic", &format!("a.w{queue}.z")),
            Vec::<u32>::new()
        );
    }
    assert!(graph.is_bare());
}

#[test]
fn a3_4_words_of_every_length() {
    let mut graph = graph();
    for length in 1..60 {
        bind(
            &mut graph,
            "topic",
            length,
            &format!("a.{}.z", "w".repeat(length as usize)),
        );
    }
    for length in 1..60 {
        let key = format!("a.{}.z", "w".repeat(length as usize));
        assert_eq!(route(&graph, "topic", &key), [length]);
        assert!(unbind(&mut graph, "topic", length, &key).existed);
        assert_eq!(route(&graph, "topic", &key), Vec::<u32>::new());
    }
    assert!(graph.is_bare());
}

#[test]
fn a3_5_modes_and_empty_matchers() {
    use HeaderValue::{Int, LongString};
    let (one, two): (Fields<'_>, Fields<'_>) = (
        &[(b"a", Int(1))],
        &[(b"a", Int(1)), (b"b", LongString(b"x"))],
    );
    assert!(matches(&[], &[]));
    assert!(matches(&[ALL], one));
    assert!(!matches(&[ANY], one));
    assert!(!matches(&[ANY_X], one));
    assert!(matches(
        &[ALL, (b"a", Int(1)), (b"b", LongString(b"x"))],
        two
    ));
    assert!(!matches(
        &[ALL, (b"a", Int(1)), (b"b", LongString(b"x"))],
        one
    ));
    assert!(matches(&[(b"a", Int(1))], two), "all is the default");
    assert!(matches(
        &[ANY, (b"a", Int(2)), (b"b", LongString(b"x"))],
        two
    ));
    assert!(!matches(
        &[ANY, (b"a", Int(2)), (b"c", LongString(b"x"))],
        two
    ));
}

#[test]
fn a3_5_names_with_x_count_only_when_asked() {
    use HeaderValue::Int;
    let headers: Fields<'_> = &[(b"a", Int(1)), (b"x-b", Int(1))];
    assert!(matches(&[ALL, (b"a", Int(1)), (b"x-b", Int(2))], headers));
    assert!(!matches(
        &[ALL_X, (b"a", Int(1)), (b"x-b", Int(2))],
        headers
    ));
    assert!(matches(&[ALL_X, (b"a", Int(1)), (b"x-b", Int(1))], headers));
    assert!(!matches(&[ANY, (b"x-b", Int(1))], headers));
    assert!(matches(&[ANY_X, (b"a", Int(2)), (b"x-b", Int(1))], headers));
}

#[test]
fn a3_5_values_compare_by_what_they_are_not_by_their_width() {
    use HeaderValue::*;
    let equal = |binding, message| matches(&[(b"a", binding)], &[(b"a", message)]);
    assert!(equal(LongString(b"v"), ByteArray(b"v")));
    assert!(!equal(LongString(b"1"), Int(1)));
    assert!(!equal(Int(1), Float(1.0)));
    assert!(!equal(Int(1), Bool(true)));
    assert!(equal(Float(0.5), Float(0.5)));
    assert!(equal(
        Decimal { scale: 2, value: 5 },
        Decimal { scale: 2, value: 5 }
    ));
    assert!(!equal(
        Decimal { scale: 1, value: 5 },
        Decimal {
            scale: 2,
            value: 50
        }
    ));
    assert!(equal(Table(b"t"), Table(b"t")));
    assert!(!equal(Table(b"t"), Array(b"t")));
    assert!(
        equal(Void, Array(b"t")) && equal(Void, Void),
        "void asks for presence only"
    );
    assert!(!equal(Int(0), Void));
    assert!(!matches(&[(b"a", Void)], &[(b"b", Void)]));
    // A message's timestamp counts as milliseconds, a binding's as seconds.
    assert!(!equal(Timestamp(5), Timestamp(5)));
    assert!(equal(Timestamp(5000), Timestamp(5)) && equal(Int(5000), Timestamp(5)));
}

#[test]
fn a3_5_the_last_of_equal_headers_counts() {
    use HeaderValue::Int;
    assert!(matches(
        &[(b"a", Int(2))],
        &[(b"a", Int(1)), (b"a", Int(2))]
    ));
    assert!(!matches(
        &[(b"a", Int(1))],
        &[(b"a", Int(1)), (b"a", Int(2))]
    ));
    assert!(!matches(
        &[(b"a", Int(1)), (b"a", Int(2))],
        &[(b"a", Int(1)), (b"a", Int(2))]
    ));
}

#[test]
fn a3_5_a_bad_x_match_is_refused_by_headers_exchanges_only() {
    let mut graph = graph();
    let bogus: Fields<'_> = &[(b"x-match", HeaderValue::LongString(b"bogus"))];
    let bytes: Fields<'_> = &[(b"x-match", HeaderValue::ByteArray(b"all"))];
    let unknown = XMatchError::UnknownMode(Bytes::from_static(b"bogus"));
    assert_eq!(
        bind_with(&mut graph, "headers", 1, "", bogus),
        Err(BindError::XMatch(unknown))
    );
    let not_string = Err(BindError::XMatch(XMatchError::NotLongString));
    assert_eq!(bind_with(&mut graph, "headers", 1, "", bytes), not_string);
    assert!(graph.is_bare());
    assert_eq!(
        bind_with(&mut graph, "topic", 1, "#", bogus),
        Ok(Bound::New)
    );
}

#[test]
fn a3_5_headers_are_read_once_and_only_when_needed() {
    let mut graph = graph();
    graph.insert(spec("more", ExchangeKind::Headers));
    bind_exchange(&mut graph, "fanout", "headers", "");
    bind_exchange(&mut graph, "fanout", "more", "");
    bind(&mut graph, "headers", 1, "");
    assert!(
        routes(&graph, "fanout", "", &[]).cacheable(),
        "an empty matcher asks nothing"
    );
    bind_with(&mut graph, "headers", 2, "", &[(b"a", HeaderValue::Int(1))]).unwrap();
    bind_with(
        &mut graph,
        "more",
        3,
        "",
        &[ANY, (b"a", HeaderValue::Int(1))],
    )
    .unwrap();
    let asked = Asked(Cell::new(0));
    let out = routes_of(&graph, "fanout", "", &asked);
    assert_eq!(
        (out.queues(), out.cacheable(), asked.0.get()),
        (&[1, 2, 3][..], false, 1)
    );
    let out = routes_of(&graph, "direct", "", &asked);
    assert_eq!(
        (out.queues(), out.cacheable(), asked.0.get()),
        (&[][..], true, 1)
    );
}

/// Counts how often its headers are asked for.
struct Asked(Cell<u32>);

impl MessageView for Asked {
    fn headers(&self) -> impl Iterator<Item = (&[u8], HeaderValue<'_>)> {
        self.0.set(self.0.get() + 1);
        [(&b"a"[..], HeaderValue::Int(1))].into_iter()
    }

    fn property(&self, _: HashProperty) -> Option<HeaderValue<'_>> {
        unreachable!()
    }

    fn random(&self) -> u64 {
        unreachable!()
    }
}
