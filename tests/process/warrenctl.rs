//! `warrenctl` against a broker on the same machine: let in by the access file, told apart by exit codes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::raw::RawClient;
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
    told(at, &["set_cluster_name", "hutch"]);
    assert!(told(at, &["status"]).contains("cluster_name\thutch"));
    assert!(told(at, &["environment"]).contains("amqp.channel_max\t2047\n"));
    told(at, &["authenticate_user", "app", "secret"]);
    told(at, &["add_user", "plain", "pass"]);
    told(at, &["authenticate_user", "plain", "pass"]);
    assert_eq!(code(at, &["authenticate_user", "app", "guess"]), Some(77));
    told(at, &["check_certificate_expiration", "--within", "2"]);
    let definitions = at.join("definitions.json");
    let file = definitions.to_str().unwrap();
    told(at, &["export_definitions", file]);
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = definitions.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "there are hashes in it");
    }
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
    let port = broker.address().port();
    for (arguments, ends_with, says) in [
        (
            &["purge_queue", "none"][..],
            70,
            "queue \"none\" in vhost \"/\"",
        ),
        (&["list_queues", "-p", "none"], 70, "vhost \"none\""),
        (&["delete_user", "nobody"], 70, "user \"nobody\""),
        (
            &["set_permissions", "nobody", ".*", ".*", ".*"],
            65,
            "no user \"nobody\"",
        ),
        (
            &["set_queue_argument", "q", "max-length", "5"],
            64,
            "x-max-length",
        ),
        (&["add_user", "", "x"], 64, "NAME"),
        (&["--url", "127.0.0.1:1", "ping"], 64, "http://HOST:PORT"),
        (
            &["--url", "http://nowhere.invalid:1", "ping"],
            69,
            "host is unknown",
        ),
        (
            &["--url", "http://127.0.0.1:1", "ping"],
            69,
            "nothing listens there",
        ),
        (
            &["--url", &format!("https://127.0.0.1:{port}"), "ping"],
            69,
            "no TLS",
        ),
    ] {
        let output = ctl(at, arguments);
        let faults = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(ends_with),
            "{arguments:?}: {faults}"
        );
        assert!(faults.contains(says), "{arguments:?}: {faults}");
    }
    assert_eq!(told(at, &["alarms", "--formatter", "json"]), "[]\n");
    assert_eq!(
        code(at, &["--user", "guest", "--password", "wrong", "ping"]),
        Some(77)
    );
    drop(broker);
}

/// Runs a command whose output nobody reads.
fn unread(dir: &Path, arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_warrenctl"));
    command.arg("--data-dir").arg(dir).args(arguments);
    command.stdout(writer).output().unwrap()
}

#[test]
fn a_closed_pipe_is_no_fault() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    let broker = broker(at);
    for arguments in [
        &["completion", "bash"][..],
        &["man_page"],
        &["list_exchanges"],
        &["list_exchanges", "--formatter", "csv"],
        &["list_users", "--formatter", "json"],
        &["export_definitions", "-"],
        &["top", "--count", "1"],
    ] {
        let output = unread(at, arguments);
        let faults = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {faults}");
        assert!(faults.is_empty(), "{arguments:?}: {faults}");
    }
    drop(broker);
}

fn publish(dir: &Path, broker: &Broker, queue: &str, bodies: &[&str]) {
    let line = broker.wait_for("listening for HTTP");
    let address = line.rsplit('=').next().unwrap().trim();
    for body in bodies {
        let body = format!(
            r#"{{"properties":{{"delivery_mode":2}},"routing_key":"{queue}","payload":"{body}","payload_encoding":"string"}}"#
        );
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /api/exchanges/%2F/amq.default/publish HTTP/1.1\r\nhost: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(r#""routed":true"#), "{answer}");
    }
    assert!(told(dir, &["list_queues"]).contains(queue));
}

#[test]
fn messages_are_seen_and_moved_without_a_consumer() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    let broker = broker(at);
    let definitions = at.join("definitions.json");
    let queue = |name: &str| {
        format!(
            r#"{{"name":"{name}","vhost":"/","durable":true,"auto_delete":false,"arguments":{{}}}}"#
        )
    };
    let text = format!(r#"{{"queues":[{},{}]}}"#, queue("orders"), queue("dead"));
    std::fs::write(&definitions, text).unwrap();
    told(at, &["import_definitions", definitions.to_str().unwrap()]);
    publish(at, &broker, "orders", &["one", "two", "three"]);
    let rows = told(at, &["-s", "peek", "orders", "--skip", "1"]);
    let payloads: Vec<&str> = rows
        .lines()
        .filter_map(|row| row.rsplit('\t').next())
        .collect();
    assert_eq!(payloads, ["two", "three"]);
    let found = told(at, &["-s", "search", "orders", "TWO"]);
    assert_eq!(found.lines().count(), 1);
    let id = found.split('\t').next().unwrap();
    told(at, &["delete-message", "orders", id]);
    assert_eq!(code(at, &["delete-message", "orders", id]), Some(70));
    let moved = told(
        at,
        &[
            "-s",
            "move",
            "orders",
            "--to-queue",
            "dead",
            "--search",
            "thr",
        ],
    );
    assert!(moved.contains("moved\t1\n"), "{moved}");
    let copied = [
        "move",
        "orders",
        "--to-exchange",
        "amq.default",
        "--routing-key",
        "dead",
        "--copy",
    ];
    assert!(told(at, &copied).contains("moved\t1\n"));
    assert_eq!(told(at, &["-s", "list_queues"]), "dead\t2\norders\t1\n");
    assert_eq!(code(at, &["move", "orders"]), Some(64));
    assert_eq!(
        code(at, &["move", "orders", "--to-queue", "none"]),
        Some(70)
    );
    let route = told(at, &["-q", "route", "explain", "amq.default", "dead"]);
    assert_eq!(route, "It reaches: dead\n");
    let route = told(
        at,
        &[
            "route",
            "explain",
            "amq.topic",
            "x",
            "--headers",
            r#"{"a":1}"#,
        ],
    );
    assert!(
        route.contains("exchange amq.topic (topic), by publish: 0 of 0 bindings"),
        "{route}"
    );
    assert!(route.ends_with("It reaches no queue.\n"));
    told(at, &["set_queue_argument", "dead", "x-max-length", "1"]);
    assert!(told(at, &["explain", "dead"]).contains("max-length\t1\targument x-max-length"));
    assert_eq!(told(at, &["-s", "list_queues"]), "dead\t1\norders\t1\n");
    told(at, &["clear_queue_argument", "dead", "x-max-length"]);
    assert_eq!(told(at, &["-s", "explain", "dead"]), "");
    told(at, &["explain", "amq.topic", "--exchange"]);
    broker.stop();
}

/// Each once, in an order in which each can succeed.
const COMMANDS: &[&[&str]] = &[
    &["add_user", "app", "secret"],
    &["list_users"],
    &["authenticate_user", "app", "secret"],
    &["change_password", "app", "other"],
    &["authenticate_user", "app", "other"],
    &["hash_password", "secret"],
    &["set_user_tags", "app", "management"],
    &["set_permissions", "app", ".*", ".*", ".*"],
    &["list_permissions"],
    &["list_user_permissions", "app"],
    &["set_topic_permissions", "app", "amq.topic", "^a", "^b"],
    &["list_topic_permissions"],
    &["list_user_topic_permissions", "app"],
    &["clear_topic_permissions", "app", "amq.topic"],
    &["clear_permissions", "app"],
    &["set_user_limits", "app", r#"{"max-channels": 5}"#],
    &["list_user_limits"],
    &["clear_user_limits", "app", "max-channels"],
    &["clear_password", "app"],
    &["close_all_user_connections", "app", "a test"],
    &["delete_user", "app"],
    &[
        "add_vhost",
        "v",
        "--tags",
        "a,b",
        "--default-queue-type",
        "quorum",
    ],
    &["update_vhost_metadata", "v", "--description", "changed"],
    &["list_vhosts", "name", "tags"],
    &["set_vhost_limits", "-p", "v", r#"{"max-queues": 5}"#],
    &["list_vhost_limits"],
    &["clear_vhost_limits", "-p", "v"],
    &["trace_on", "-p", "v"],
    &["trace_off", "-p", "v"],
    &["delete_vhost", "v"],
    &[
        "set_policy",
        "p",
        "^q",
        r#"{"max-length": 5}"#,
        "--priority",
        "-1",
        "--apply-to",
        "queues",
    ],
    &["list_policies"],
    &["set_operator_policy", "o", "^q", r#"{"max-length": 9}"#],
    &["list_operator_policies"],
    &["explain", "q"],
    &["clear_policy", "p"],
    &["clear_operator_policy", "o"],
    &["set_queue_argument", "q", "x-max-length", "7"],
    &["clear_queue_argument", "q", "x-max-length"],
    &["set_parameter", "shovel", "s", r#"{"src-uri": "amqp://"}"#],
    &["list_parameters"],
    &["clear_parameter", "shovel", "s"],
    &["set_global_parameter", "g", r#"{"a": 1}"#],
    &["list_global_parameters"],
    &["clear_global_parameter", "g"],
    &[
        "list_queues",
        "name",
        "messages",
        "consumers",
        "--formatter",
        "pretty_table",
    ],
    &["list_exchanges", "--formatter", "csv"],
    &["list_bindings", "--formatter", "json_stream"],
    &["list_connections", "user", "peer_host", "state"],
    &["list_channels"],
    &["list_consumers"],
    &["peek", "q"],
    &["search", "q", "x", "--regex"],
    &["move", "q", "--to-queue", "q", "--count", "1"],
    &["route", "explain", "amq.direct", "k"],
    &["purge_queue", "q"],
    &["export_definitions", "-"],
    &["status", "--formatter", "json"],
    &["top", "--count", "1", "--rows", "3"],
    &["environment"],
    &["ping"],
    &["version"],
    &["set_cluster_name", "hutch"],
    &["await_startup"],
    &["alarms"],
    &["listeners"],
    &["check_alarms"],
    &["check_running"],
    &["check_protocol_listener", "amqp"],
    &["check_port_connectivity"],
    &["check_virtual_hosts"],
    &[
        "check_certificate_expiration",
        "--within",
        "1",
        "--unit",
        "months",
    ],
    &["close_all_connections", "a test", "--only-vhost"],
    &["delete_queue", "q", "--if-empty", "--if-unused"],
    &["completion", "bash"],
    &["completion", "fish"],
    &["man_page"],
    &["help"],
];

/// Those that need something of the broker at hand, which the tests here give them.
const ELSEWHERE: [&str; 4] = [
    "check_port_listener",
    "close_connection",
    "delete-message",
    "import_definitions",
];

#[test]
fn a13_every_command_does_its_work_once() {
    let dir = TempDir::new().unwrap();
    let at = dir.path();
    let broker = broker(at);
    let definitions = at.join("definitions.json");
    let text = r#"{"queues":[{"name":"q","vhost":"/","durable":true,"auto_delete":false,"arguments":{}}]}"#;
    std::fs::write(&definitions, text).unwrap();
    told(at, &["import_definitions", definitions.to_str().unwrap()]);
    let port = broker.address().port().to_string();
    told(at, &["check_port_listener", &port]);
    let mut client = RawClient::open(broker.address());
    let name = told(at, &["-s", "list_connections", "pid"]);
    told(at, &["close_connection", name.trim(), "a test"]);
    let (code, text) = client.closed();
    assert_eq!((code, text.contains("a test")), (320, true), "{text}");
    for command in COMMANDS {
        told(at, command);
    }
    let help = told(at, &["help"]);
    let listed = help.split("Commands:\n").nth(1).unwrap();
    let listed = listed.split("\n\n").next().unwrap().lines();
    let names: Vec<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 70, "{help}");
    for name in names {
        let is_run = COMMANDS.iter().any(|command| command[0] == name);
        assert!(
            is_run || ELSEWHERE.contains(&name),
            "{name} is run by no test"
        );
    }
    broker.stop();
}
