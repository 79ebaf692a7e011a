//! The broker as a process: flags, configuration, signals, exit codes, and what it says when it
//! can't start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod config;
mod definitions;
mod disk;
mod fixture;
mod flags;
mod formats;
mod management;
mod repair;
mod signals;
mod spans;
mod spill;
mod start;
#[path = "../support/mod.rs"]
mod support;
mod warrenctl;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Broker, warren};

/// Runs the broker to its end, which a wrong flag brings at once.
fn run(flags: &[&str]) -> Output {
    let mut command = warren();
    command.args(flags).stdin(Stdio::null());
    command.output().unwrap()
}

/// Exit code and standard error of a broker that can't start.
fn refused(command: Command) -> (Option<i32>, Vec<String>) {
    let (status, log) = Broker::spawn(command).ended();
    (status.code(), log)
}

/// The one line of a broker that can't start, without the log's lines before it.
fn complaint(flags: &[&str], code: i32) -> String {
    let mut command = warren();
    command.args(flags);
    let (status, log) = refused(command);
    assert_eq!(status, Some(code), "{log:?}");
    let lines: Vec<_> = log.iter().filter(|l| l.starts_with("warren: ")).collect();
    assert_eq!(lines.len(), 1, "{log:?}");
    assert_eq!(log.last(), lines.first().copied(), "nothing follows it");
    lines[0].clone()
}

/// The same of a broker that would run on a data directory, with exit code 1.
fn complaint_of(data: &Path, more: &[&str]) -> String {
    let own = ["--listen", "127.0.0.1:0", "--management", "off"];
    let rest = ["--metrics", "off", "--data-dir", data.to_str().unwrap()];
    complaint(&[&own, &rest, more].concat(), 1)
}
