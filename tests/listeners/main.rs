//! The ways in, against the real executable: TLS, Unix sockets, the PROXY protocol, networks that may
//! connect, access tokens, users of an HTTP server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod authority;
mod client;
mod http_users;
mod plain;
#[path = "../support/mod.rs"]
mod support;
mod throttle;
mod tls;
mod tokens;

use std::fs;

use support::{Broker, warren};
use tempfile::TempDir;

/// A broker with the lines of a configuration file, which may use `{dir}` for its directory.
fn broker(dir: &TempDir, config: &str) -> Broker {
    Broker::run(command(dir, config))
}

/// Writes the file; where it is.
fn write(dir: &TempDir, config: &str) -> std::path::PathBuf {
    let path = dir.path().join("warren.toml");
    let there = dir.path().display().to_string();
    fs::write(&path, config.replace("{dir}", &there)).unwrap();
    path
}

/// Has the broker read another file, and waits for a line of the log.
fn reload(broker: &Broker, dir: &TempDir, config: &str, line: &str) {
    write(dir, config);
    broker.signal(rustix::process::Signal::HUP);
    broker.wait_for(line);
}

fn command(dir: &TempDir, config: &str) -> std::process::Command {
    let path = write(dir, config);
    let mut command = warren();
    command.arg("--config").arg(path);
    // Tests run side by side, and none of these speaks HTTP.
    command.args(["--management", "off", "--metrics", "off"]);
    command.arg("--data-dir").arg(dir.path().join("data"));
    command
}
