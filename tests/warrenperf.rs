//! The load generator against the broker: each of its commands does what it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what failed by panicking"
)]

mod support;

use std::process::{Command, Output};

use serde_json::Value;
use support::Broker;

struct Bench {
    broker: Broker,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(&dir.path().join("data"));
        Bench { broker, _dir: dir }
    }

    fn start(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warrenperf"));
        command.args(line.split_whitespace());
        if !line.starts_with("disk") {
            let pid = self.broker.pid().as_raw_nonzero().to_string();
            command.args(["--uri", &self.broker.uri(""), "--broker-pid", &pid]);
        }
        command.args(["--json", "--quiet"]).output().unwrap()
    }

    /// Its results, after an end in order.
    fn results(&self, line: &str) -> Value {
        let Output {
            status,
            stdout,
            stderr,
        } = self.start(line);
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{line}: {status}: {said}");
        serde_json::from_slice(&stdout).unwrap()
    }
}

fn number(results: &Value, pointer: &str) -> f64 {
    let value = results.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {pointer} in {results}"))
}

#[test]
fn run_delivers_and_confirms_each_message_once() {
    let bench = Bench::new();
    let safe = "--durable --persistent --confirm 100 --prefetch 50 --ack-every 5";
    let many = "--queue q-%d --queues 3 --publishers 3 --consumers 6 --size 16..900";
    for options in [String::new(), safe.to_owned(), format!("{safe} {many}")] {
        let results = bench.results(&format!("run --count 3000 --check {options}"));
        let publishers = if options.contains("publishers") {
            3.0
        } else {
            1.0
        };
        assert_eq!(
            number(&results, "/published"),
            3000.0 * publishers,
            "{options}"
        );
        assert_eq!(
            number(&results, "/delivered"),
            3000.0 * publishers,
            "{options}"
        );
        assert_eq!(results["check"]["clean"], Value::Bool(true), "{options}");
        if options.contains("confirm") {
            assert_eq!(number(&results, "/confirmed"), 3000.0 * publishers);
            assert!(number(&results, "/confirm_latency_us/p99.99") > 0.0);
        }
        assert!(number(&results, "/broker_cpu_s") >= 0.0);
    }
}

#[test]
fn run_spreads_keys_over_bound_queues() {
    let bench = Bench::new();
    // Each of 4 queues takes a quarter of the keys; what goes to none of them is dropped.
    let results = bench.results(
        "run --count 8000 --queue q-%d --queues 4 --consumers 4 --exchange x --exchange-type topic \
         --binding-key k.%d.# --routing-key k.%d.end --keys 8",
    );
    assert_eq!(number(&results, "/published"), 8000.0);
    assert_eq!(number(&results, "/delivered"), 4000.0);
}

#[test]
fn run_keeps_to_a_rate_and_names_a_queue_that_is_gone() {
    let bench = Bench::new();
    let results = bench.results("run --rate 500 --count 250");
    // At least as long as the timetable has it.
    assert!(number(&results, "/seconds") > 0.45, "{results}");
    assert_eq!(number(&results, "/latency_us/samples"), 250.0);

    let refused = bench.start("run --count 5 --queue-arg x-max-priority=nine");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("406 PRECONDITION_FAILED"), "{said}");
}

#[test]
fn pingpong_pairs_churn_and_connections_count_what_they_do() {
    let bench = Bench::new();
    let results = bench.results("pingpong --count 50");
    assert_eq!(number(&results, "/latency_us/samples"), 50.0);
    let results = bench.results("pingpong --confirm --durable --persistent --count 20");
    assert_eq!(number(&results, "/confirm_latency_us/samples"), 20.0);

    for ack in ["", "--ack"] {
        let results = bench.results(&format!("pairs --pairs 20 --rate 100 --count 10 {ack}"));
        assert_eq!(number(&results, "/published"), 200.0);
        assert_eq!(number(&results, "/delivered"), 200.0);
    }

    for what in ["connections", "channels", "queues --durable", "bindings"] {
        let results = bench.results(&format!("churn {what} --workers 2 --count 15"));
        assert_eq!(number(&results, "/rounds"), 30.0, "{what}");
        assert_eq!(
            number(&results, "/round_latency_us/samples"),
            30.0,
            "{what}"
        );
    }

    let results = bench.results("connections --connections 30 --channels 2 --time 0.1");
    assert_eq!(number(&results, "/open_latency_us/samples"), 30.0);
    // What it is depends on what the allocator had at hand.
    assert!(number(&results, "/each_when_new_kib") >= 0.0);
}

#[test]
fn disk_appends_and_leaves_nothing() {
    let bench = Bench::new();
    let dir = tempfile::tempdir().unwrap();
    let line = format!("disk --dir {} --batch 3 --time 0.05", dir.path().display());
    let results = bench.results(&line);
    assert!(number(&results, "/rounds") >= 1.0);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
