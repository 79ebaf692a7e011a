//! The oracle: plays the scenarios of `compliance/oracle/` and compares what Warren says with what
//! a RabbitMQ said when they were recorded. `compliance/oracle/README.md` explains the files.
//!
//! - `WARREN_ORACLE_ONLY=A2.` plays only scenarios whose names begin so.
//! - `WARREN_ORACLE_SHOW=1` shows how listed scenarios differ, too.
//! - `WARREN_ORACLE_SHRINK=1` takes the names that play the same off `missing.txt`.
//! - `compliance/oracle/record` records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what failed by panicking"
)]

mod broker;
mod client;
mod handshake;
mod lists;
mod names;
mod peer;
mod people;
mod permissions;
mod play;
mod rows;
mod script;
mod spec;
mod step;
mod tests;
mod value;
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use broker::Broker;
use lists::{Lists, Outcome};
use peer::{Peer, RabbitMq};
use script::Scenario;

/// Scenarios played at once. They mostly wait.
const THREADS: usize = 16;
/// How long a broker may take to answer.
const LIMIT: Duration = Duration::from_secs(15);
/// The same where no answer is expected.
const LIMIT_MISSING: Duration = Duration::from_secs(4);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compliance/oracle")
}

/// Plays scenarios on several threads; gives what the broker said, in the order given.
fn play_all(
    scenarios: &[&Scenario],
    peer: &dyn Peer,
    limit: impl Fn(&str) -> Duration + Sync,
) -> Vec<Scenario> {
    let next = AtomicUsize::new(0);
    let all = 0..scenarios.len();
    // An alarm is everybody's: who raises it plays alone, behind all others.
    let (alone, mut order): (Vec<usize>, Vec<usize>) =
        all.partition(|at| scenarios[*at].raises_alarms());
    // Those that wait for a broker's own timeouts first, so that nothing waits for them at the end.
    order.sort_by_key(|at| !scenarios[*at].waits_long());
    let play = |at: usize| {
        let scenario = scenarios[at];
        (at, play::play(scenario, peer, limit(&scenario.name)))
    };
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (tell, next, play, order) = (tell.clone(), &next, &play, &order);
            scope.spawn(move || {
                while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    tell.send(play(at)).unwrap();
                }
            });
        }
        drop(tell);
    });
    let alone = alone.into_iter().map(play);
    let played: BTreeMap<usize, Scenario> = told.into_iter().chain(alone).collect();
    assert_eq!(
        played.len(),
        scenarios.len(),
        "every scenario came to its end"
    );
    played.into_values().collect()
}

/// Past the test harness, which hides what a test that passes prints.
fn print(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn chosen(name: &str) -> bool {
    std::env::var("WARREN_ORACLE_ONLY").map_or(true, |only| name.starts_with(&only))
}

#[test]
fn warren_says_what_rabbitmq_said() {
    let files = script::files(&folder().join("scenarios"));
    let all: Vec<&Scenario> = files.iter().flat_map(|file| &file.scenarios).collect();
    let mut names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
    let lists = Lists::read(&folder());
    let mut failures: Vec<String> = Vec::new();
    for name in lists.unknown(&names) {
        failures.push(format!("{name}: listed, but there is no such scenario"));
    }
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        failures.push(format!("{}: two scenarios have this name", pair[0]));
    }

    let scenarios: Vec<&Scenario> = all.into_iter().filter(|s| chosen(&s.name)).collect();
    let broker = Broker::start(&folder().join("definitions.json"));
    let began = Instant::now();
    let limit = |name: &str| match lists.is_missing(name) {
        true => LIMIT_MISSING,
        false => LIMIT,
    };
    let played = play_all(&scenarios, &broker, limit);
    let took = began.elapsed();

    let mut rows: BTreeMap<(usize, String), BTreeMap<Outcome, usize>> = BTreeMap::new();
    let mut total: BTreeMap<Outcome, usize> = BTreeMap::new();
    let show = std::env::var("WARREN_ORACLE_SHOW").is_ok();
    let mut actual = String::new();
    let mut found = Vec::new();
    for (scenario, played) in scenarios.iter().zip(&played) {
        let (outcome, why) = lists.judge(scenario, played);
        let row = scenario.row();
        let number = row.trim_start_matches('A').parse().unwrap_or_default();
        let counts = rows.entry((number, row.to_owned())).or_default();
        *counts.entry(outcome).or_default() += 1;
        *total.entry(outcome).or_default() += 1;
        if outcome != Outcome::Same {
            actual += &format!("== {}\n{}\n", scenario.name, played.transcript());
        }
        if outcome == Outcome::Found {
            found.push(scenario.name.as_str());
        } else if outcome == Outcome::Failed {
            failures.push(format!("{}:\n{why}", scenario.name));
        } else if show && !why.is_empty() {
            print(&format!("== {} {outcome:?}\n{why}\n\n", scenario.name));
        }
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("oracle.txt");
    fs::write(&path, actual).unwrap();
    if std::env::var("WARREN_ORACLE_SHRINK").is_ok() {
        lists::shrink(&folder(), &found);
    } else if !found.is_empty() {
        let names = found.join("\n");
        failures.push(format!(
            "do not differ, remove them from missing.txt:\n{names}"
        ));
    }

    let mut table = String::from("\nrow    same  differ  missing  bugs  found  failed\n");
    let last = ((0, "all".to_owned()), total);
    for ((_, row), counts) in rows.into_iter().chain([last]) {
        let count = |outcome| counts.get(&outcome).copied().unwrap_or_default();
        table += &format!(
            "{row:<6} {:>4}  {:>6}  {:>7}  {:>4}  {:>5}  {:>6}\n",
            count(Outcome::Same),
            count(Outcome::Differs),
            count(Outcome::Missing),
            count(Outcome::Bug),
            count(Outcome::Found),
            count(Outcome::Failed)
        );
    }
    print(&format!(
        "{table}{} scenarios in {took:.1?}\n",
        scenarios.len()
    ));
    print(&format!(
        "what Warren said where it differs: {}\n",
        path.display()
    ));
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

/// Writes what the broker at `WARREN_ORACLE_RECORD` says into the files of scenarios; its alarms are raised by
/// the command in `WARREN_ORACLE_RABBITMQCTL`.
#[test]
#[ignore = "rewrites the scenarios' files; compliance/oracle/record calls it"]
fn record() {
    let address = std::env::var("WARREN_ORACLE_RECORD").expect("an address to record from");
    let peer = RabbitMq {
        address: address.parse().unwrap(),
        tool: std::env::var("WARREN_ORACLE_RABBITMQCTL").unwrap_or("rabbitmqctl".to_owned()),
    };
    let mut lost = Vec::new();
    for mut file in script::files(&folder().join("scenarios")) {
        let (at, scenarios): (Vec<usize>, Vec<&Scenario>) = file
            .scenarios
            .iter()
            .enumerate()
            .filter(|(_, s)| chosen(&s.name))
            .unzip();
        let played = play_all(&scenarios, &peer, |_| LIMIT);
        for (at, played) in at.into_iter().zip(played) {
            if played.transcript().contains("timeout\n") {
                lost.push(played.name.clone());
            }
            file.scenarios[at] = played;
        }
        fs::write(&file.path, file.text()).unwrap();
    }
    assert!(
        lost.is_empty(),
        "what these waited for did not come: {lost:?}"
    );
}
