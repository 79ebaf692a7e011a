//! What keeps the broker from starting: one clear line each, and exit code 1.

use std::net::TcpListener;
use std::path::Path;

use tempfile::TempDir;

use crate::support::Broker;
use crate::{complaint, complaint_of};

#[test]
fn a_port_in_use_by_a_flag_of_its_own() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    for (flag, other) in [("--management", "--metrics"), ("--metrics", "--management")] {
        let own = ["--listen", "127.0.0.1:0", flag, &address, other, "off"];
        let line = complaint(&[&own[..], &["--data-dir", data]].concat(), 1);
        assert!(line.ends_with(&format!("with {flag})")), "{line}");
    }
}

#[test]
fn a_port_in_use() {
    let dir = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let flags = ["--listen", &address, "--data-dir", data.to_str().unwrap()];
    let line = complaint(&flags, 1);
    assert!(
        line.contains(&format!("cannot listen on {address}")),
        "{line}"
    );
    assert!(
        line.contains("in use") && line.contains("--listen"),
        "{line}"
    );
    assert!(!data.exists(), "nothing was created");
}

#[test]
fn an_address_that_is_not_this_machines() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().to_str().unwrap();
    let line = complaint(&["--listen", "203.0.113.1:5672", "--data-dir", data], 1);
    assert!(line.contains("cannot listen on 203.0.113.1:5672"), "{line}");
}

#[test]
fn a_data_directory_that_cannot_be() {
    let line = complaint_of(Path::new("/dev/null/data"), &[]);
    assert!(line.contains("/dev/null/data"), "{line}");
    assert!(line.contains("Not a directory"), "{line}");
}

#[test]
fn a_data_directory_that_is_a_file() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let line = complaint_of(&file, &[]);
    assert!(line.contains(file.to_str().unwrap()), "{line}");
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_data_directory_of_another_broker() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().to_str().unwrap();
    let broker = Broker::start(dir.path());
    let line = complaint(
        &[
            "--listen",
            "127.0.0.1:0",
            "--management",
            "off",
            "--metrics",
            "off",
            "--data-dir",
            data,
        ],
        1,
    );
    assert!(
        line.contains(data) && line.contains("in use by another broker"),
        "{line}"
    );
    // The first one is none the worse for it.
    broker.stop();
}

#[test]
fn a_data_directory_of_another_format() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().to_str().unwrap();
    std::fs::write(dir.path().join("FORMAT"), "warren 999\n").unwrap();
    let line = complaint(
        &[
            "--listen",
            "127.0.0.1:0",
            "--management",
            "off",
            "--metrics",
            "off",
            "--data-dir",
            data,
        ],
        1,
    );
    assert!(
        line.contains("FORMAT") && line.contains("warren 999"),
        "{line}"
    );
}
