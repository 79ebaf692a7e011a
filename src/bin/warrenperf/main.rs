//! warrenperf: a load generator for AMQP 0-9-1 brokers.
//!
//! It uses no client library: publishers repeat a message encoded once, consumers walk frames in the
//! buffer they were read into, so that what is measured is the broker.

mod args;
mod check;
mod churn;
mod client;
mod clock;
mod confirm;
mod connections;
mod consumer;
mod cycle;
mod delivery;
mod disk;
mod error;
mod gather;
mod latency;
mod link;
mod live;
mod measure;
mod pacer;
mod pairs;
mod pattern;
mod pingpong;
mod proc_stat;
mod publisher;
mod report;
mod run;
mod shared;
mod stamp;
mod stream;
mod target;
mod template;
mod topology;
mod trust;
mod watch;
mod wire;

use args::{Cli, Command};
use clap::Parser;
use error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Pingpong(args) => pingpong::run(args),
        Command::Pairs(args) => pairs::run(args),
        Command::Connections(args) => connections::run(args),
        Command::Churn(args) => churn::run(args),
        Command::Disk(args) => disk::run(args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
