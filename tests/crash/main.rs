//! SIGKILL under load, again and again over one data directory: what was confirmed is there.
//!
//! Each round a publisher with confirms, a consumer and a task that changes the topology run at
//! full speed; the broker is killed at a random moment, sometimes once more while it recovers, and
//! what it has after the restart is held against what it had promised. `WARREN_CRASH_ROUNDS` sets
//! the number of rounds, `WARREN_CRASH_SEED` repeats one run's choices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod book;
mod check;
mod load;
#[path = "../support/mod.rs"]
mod support;
mod topology;

use std::process::Command;
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::sync::watch;

use book::{Book, QUEUES};
use support::{AMQP_ONLY, Broker, LIMIT, warren};
use topology::Churn;

const ROUNDS: u64 = 8;

/// The load runs until this many messages are confirmed, and then a moment longer.
const CONFIRMED_BEFORE_KILL: std::ops::Range<u64> = 1..4_000;
const MOMENT_US: std::ops::Range<u64> = 0..20_000;

/// When a recovering broker is killed: most are done before the end of it.
const RECOVERY_US: std::ops::Range<u64> = 0..150_000;

#[test]
fn what_was_confirmed_outlives_sigkill() {
    let rounds = from_environment("WARREN_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = from_environment("WARREN_CRASH_SEED").unwrap_or_else(rand::random);
    println!("WARREN_CRASH_SEED={seed} WARREN_CRASH_ROUNDS={rounds}");
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(all(rounds, StdRng::seed_from_u64(seed)));
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

async fn all(rounds: u64, mut rng: StdRng) {
    let home = Home::new();
    let mut book = Book::default();
    let mut churn = Churn::default();
    let mut checked = 0;
    let mut killed_recovering = 0;
    let broker = Broker::run(home.command());
    load::declare(&connect(&broker).await).await;
    broker.stop();
    for round in 1..=rounds {
        let broker = Broker::run(home.command());
        let work = one_round(broker, &mut book, &mut churn, &mut rng);
        within(work, "the load").await;
        while rng.random_ratio(1, 3) {
            killed_recovering += 1;
            kill_recovering(home.command(), &mut rng).await;
        }
        let broker = Broker::run(home.command());
        let connection = connect(&broker).await;
        let found = within(check::queues(&connection, &mut book, &mut rng), "the check").await;
        let durables = within(churn.check(&connection), "the topology's check").await;
        println!("round {round}: {found}, {durables}");
        checked += found.checked;
        // Every other time what is checked next has gone through a clean stop as well.
        match rng.random_bool(0.5) {
            true => tokio::task::block_in_place(|| broker.stop()),
            false => broker.kill(),
        }
    }
    println!(
        "{rounds} rounds, {killed_recovering} kills more during recovery: {} messages published, \
         {checked} found and checked in {} queues; {} durable queues declared",
        book.published,
        QUEUES.len(),
        churn.declared(),
    );
    assert!(checked > 0);
    let segments = std::fs::read_dir(home.0.path().join("data/log")).unwrap();
    println!("{} segments at the end", segments.count());
}

/// The data directory, and a configuration with the smallest segments, so that the log goes on to
/// the next one, and drops old ones, in every round.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        let dir = TempDir::new().unwrap();
        let text = "[storage]\nsegment_bytes = 1048576\n";
        std::fs::write(dir.path().join("warren.toml"), text).unwrap();
        Home(dir)
    }

    fn command(&self) -> Command {
        let mut command = warren();
        command.args(AMQP_ONLY);
        command
            .arg("--config")
            .arg(self.0.path().join("warren.toml"));
        command.arg("--data-dir").arg(self.0.path().join("data"));
        command
    }
}

/// Load until the kill, and until everyone has noticed.
async fn one_round(broker: Broker, book: &mut Book, churn: &mut Churn, rng: &mut StdRng) {
    book.begin();
    let (confirmed, mut watched) = watch::channel(book.confirmed);
    let target = book.confirmed + rng.random_range(CONFIRMED_BEFORE_KILL);
    let moment = Duration::from_micros(rng.random_range(MOMENT_US));
    let (publishing, consuming, visiting, changing) = (
        connect(&broker).await,
        connect(&broker).await,
        connect(&broker).await,
        connect(&broker).await,
    );
    let shared = load::Shared::new(book.published);
    // Sometimes a stop in good order, for comparison: it promises no less.
    let gently = rng.random_ratio(1, 5);
    let kill = async {
        watched.wait_for(|&count| count >= target).await.unwrap();
        tokio::time::sleep(moment).await;
        match gently {
            true => tokio::task::block_in_place(|| broker.stop()),
            false => broker.kill(),
        }
    };
    let (published, consumed, visited, (), ()) = tokio::join!(
        tokio::spawn(load::publish(publishing, shared.clone(), confirmed)),
        tokio::spawn(load::consume(consuming, shared.clone())),
        tokio::spawn(load::visit(visiting)),
        churn.change(changing),
        kill,
    );
    book.enter(published.unwrap(), consumed.unwrap(), visited.unwrap());
}

/// Starts the broker and kills it at a random moment of its recovery.
async fn kill_recovering(command: Command, rng: &mut StdRng) {
    let broker = Broker::spawn(command);
    tokio::time::sleep(Duration::from_micros(rng.random_range(RECOVERY_US))).await;
    broker.kill();
}

async fn connect(broker: &Broker) -> Connection {
    let properties = ConnectionProperties::default();
    Connection::connect(&broker.uri(""), properties)
        .await
        .unwrap()
}

async fn within<T>(work: impl Future<Output = T>, what: &str) -> T {
    match tokio::time::timeout(2 * LIMIT, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} hangs"),
    }
}
