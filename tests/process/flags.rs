//! `--help`, `--version`, and flags that are wrong.

use tempfile::TempDir;

use crate::support::{AMQP_ONLY, Broker, LISTENING, address, warren};
use crate::{complaint, run};

#[test]
fn help_mentions_every_flag() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for flag in [
        "--config",
        "--data-dir",
        "--listen",
        "--management",
        "--metrics",
        "--tls-listen",
        "--tls-cert",
        "--tls-key",
        "--log",
        "--help",
        "--version",
    ] {
        assert!(text.contains(flag), "{flag} is missing:\n{text}");
    }
    for default in [
        "127.0.0.1:5672",
        "127.0.0.1:15672",
        "127.0.0.1:15692",
        "warren-data",
    ] {
        assert!(text.contains(default), "{default} is missing:\n{text}");
    }
}

#[test]
fn version_is_the_packages() {
    let output = run(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, format!("warren {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_flag_is_named_and_ends_with_2() {
    for (flags, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--listen", "127.0.0.1"], "127.0.0.1"),
        (&["--listen"], "--listen"),
        (&["stray"], "stray"),
    ] {
        let output = run(flags);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {text}");
        assert!(text.contains(named), "{flags:?}: {text}");
    }
}

#[test]
fn a_bad_log_filter_ends_with_2() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().to_str().unwrap();
    let line = complaint(&["--log", "warren=loud", "--data-dir", data], 2);
    assert!(line.contains("log = \"warren=loud\""), "{line}");
    let line = complaint(&["--log", "warning", "--data-dir", data], 2);
    assert!(line.contains("\"warning\" is no level"), "{line}");
    assert!(line.contains("error, warn, info"), "{line}");
}

#[test]
fn the_data_directory_may_come_from_the_environment() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("far/below/data");
    let mut command = warren();
    command.env("WARREN_DATA_DIR", &data);
    command.args(AMQP_ONLY);
    let broker = Broker::run(command);
    broker.stop();
    assert!(data.join("FORMAT").is_file());
}

/// Bodies and password hashes are nobody else's, whatever the umask.
#[test]
fn what_the_broker_makes_is_for_its_own_user() {
    use std::os::unix::fs::PermissionsExt as _;
    fn check(path: &std::path::Path) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
        if path.is_dir() && !path.ends_with("catalogue") {
            for entry in std::fs::read_dir(path).unwrap() {
                check(&entry.unwrap().path());
            }
        }
    }
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("below/data");
    Broker::start(&data).stop();
    check(&dir.path().join("below"));

    let there = dir.path().join("there");
    std::fs::create_dir(&there).unwrap();
    std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o750)).unwrap();
    Broker::start(&there).stop();
    let mode = there.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o750, "one that is there is left as it is");
}

#[test]
fn listen_may_be_given_several_times() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(dir.path(), &["--listen", "127.0.0.1:0"]);
    // Both are said before anything else can be: the second right after the first.
    broker.wait_for(&format!("{LISTENING}{}", broker.address()));
    broker.signal(rustix::process::Signal::TERM);
    let (status, log) = broker.ended();
    assert!(status.success());
    let mut ports: Vec<_> = log
        .iter()
        .filter(|line| line.contains(LISTENING))
        .map(|line| address(line).port())
        .collect();
    ports.dedup();
    assert_eq!(ports.len(), 2, "{log:?}");
}

#[test]
fn the_log_has_no_colours_when_it_is_no_terminal() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(dir.path());
    broker.signal(rustix::process::Signal::TERM);
    let (_, log) = broker.ended();
    assert!(log.len() > 2);
    assert!(log.iter().all(|line| !line.contains('\u{1b}')), "{log:?}");
}

#[test]
fn log_chooses_what_is_logged() {
    let dir = TempDir::new().unwrap();
    let mut command = warren();
    command.args([
        "--log",
        "error",
        "--listen",
        "127.0.0.1:0",
        "--management",
        "off",
        "--metrics",
        "off",
        "--data-dir",
    ]);
    // Below a file there can be no directory: the broker ends by itself.
    command.arg("/dev/null/data");
    let (status, log) = Broker::spawn(command).ended();
    assert_eq!(status.code(), Some(1));
    assert_eq!(log.len(), 1, "{log:?}");

    let broker = Broker::start_with(dir.path(), &["--log", "warren=debug"]);
    let client = crate::support::raw::RawClient::open(broker.address());
    broker.wait_for("connection open");
    drop(client);
    broker.stop();
}
