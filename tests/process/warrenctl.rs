//! `warrenctl` against a broker on the same machine: let in by the access file, told apart by exit codes.

use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Broker, warren};

fn ctl(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warrenctl"));
    command.arg("--data-dir").arg(dir).args(arguments);
    // What the one who runs the tests has set for a broker of their own.
    for name in ["WARREN_URL", "WARREN_USER", "WARREN_PASSWORD"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// The output of a command that succeeds.
fn told(dir: &Path, arguments: &[&str]) -> String {
    let output = ctl(dir, arguments);
    let faults = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {faults}");
    String::from_utf8(output.stdout).unwrap()
}

fn code(dir: &Path, arguments: &[&str]) -> Option<i32> {
    ctl(dir, arguments).status.code()
}

fn broker(dir: &Path) -> Broker {
    let mut command = warren();
    command.args(["--listen", "127.0.0.1:0", "--management", "127.0.0.1:0"]);
    command.args(["--metrics", "off", "--data-dir"]).arg(dir);
    let broker = Broker::run(command);
    broker.wait_for("listening for HTTP");
    broker
}

#[test]
fn a13_the_operator_of_the_machine_needs_no_password() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    let broker = broker(at);
    assert_eq!(told(at, &["-q", "ping"]), "Ping succeeded\n");
    told(at, &["add_user", "app", "secret"]);
    told(at, &["set_user_tags", "app", "monitoring", "management"]);
    told(at, &["set_permissions", "app", "^app", ".*", "x$"]);
    told(at, &["add_vhost", "tenants", "--description", "of ours"]);
    told(at, &["set_policy", "short", "^q", r#"{"max-length": 5}"#]);
    told(at, &["set_vhost_limits", r#"{"max-queues": 7}"#]);
    assert_eq!(
        told(at, &["-q", "list_users"]),
        "user\ttags\napp\t[monitoring, management]\nguest\t[administrator]\n"
    );
    assert_eq!(
        told(at, &["-s", "list_user_permissions", "app"]),
        "/\t^app\t.*\tx$\n"
    );
    assert!(told(at, &["list_policies", "--formatter", "json"]).contains(r#""name":"short""#));
    assert!(told(at, &["list_vhost_limits"]).contains("max-queues: 7"));
    assert!(told(at, &["-s", "list_exchanges", "name", "type"]).contains("amq.topic\ttopic\n"));
    assert!(told(at, &["status"]).contains("product_name\tWarren"));
    told(at, &["check_alarms"]);
    let definitions = at.join("definitions.json");
    let file = definitions.to_str().unwrap();
    told(at, &["export_definitions", file]);
    told(at, &["delete_user", "app"]);
    told(at, &["import_definitions", file]);
    assert!(told(at, &["list_users"]).contains("app\t"));
    broker.signal(Signal::TERM);
    broker.ended();
    assert_eq!(code(at, &["ping"]), Some(69), "the access file is gone");
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    assert_eq!(code(at, &["no_such_command"]), Some(64));
    assert_eq!(code(at, &["ping"]), Some(69), "no broker");
    let broker = broker(at);
    assert_eq!(code(at, &["delete_user", "nobody"]), Some(70));
    assert_eq!(code(at, &["set_policy", "p", "^q", "no JSON"]), Some(65));
    assert_eq!(
        code(at, &["set_policy", "p", "(", r#"{"max-length": 5}"#]),
        Some(65)
    );
    assert_eq!(code(at, &["check_port_listener", "1"]), Some(69));
    assert_eq!(
        code(at, &["--user", "guest", "--password", "wrong", "ping"]),
        Some(77)
    );
    drop(broker);
}
