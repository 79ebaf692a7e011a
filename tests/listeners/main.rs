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

fn command(dir: &TempDir, config: &str) -> std::process::Command {
    let path = dir.path().join("warren.toml");
    let there = dir.path().display().to_string();
    fs::write(&path, config.replace("{dir}", &there)).unwrap();
    let mut command = warren();
    command.arg("--config").arg(path);
    // Tests run side by side, and none of these speaks HTTP.
    command.args(["--management", "off", "--metrics", "off"]);
    command.arg("--data-dir").arg(dir.path().join("data"));
    command
}
