//! SIGHUP: what of a changed file a running broker takes up, and what it says of the rest.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;

use super::server::Server;
use crate::support::{Broker, LIMIT};

/// A broker with a file of settings, and where that is.
fn start(text: &str) -> (Server, PathBuf) {
    let mut file = PathBuf::new();
    let server = Server::start_with(|dir| {
        file = dir.join("w.toml");
        fs::write(&file, text).unwrap();
        vec!["--config".to_owned(), file.display().to_string()]
    });
    (server, file)
}

fn reload(broker: &Broker, file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    broker.signal(Signal::HUP);
}

/// What the log says of a setting.
fn told(broker: &Broker, setting: &str) -> Vec<String> {
    let mut found = broker.log();
    found.retain(|line| line.contains(&format!("setting={setting} ")));
    found
}

#[tokio::test]
async fn a_changed_file_is_taken_up_setting_by_setting() {
    let (server, file) = start("[amqp]\nchannel_max = 100\n");
    let text = "[amqp]\nchannel_max = 50\n[limits]\nqueues = 1\n[storage]\ndurability = \"os\"\n\
                [auth]\ndefault_password = \"s3cret\"\n";
    reload(&server.broker, &file, text);
    server.broker.wait_for("the settings were read again");
    let changed = told(&server.broker, "amqp.channel_max");
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(
        changed[0].contains("changed") && changed[0].contains("before=100 now=50"),
        "{changed:?}"
    );
    let waiting = told(&server.broker, "storage.durability");
    assert!(
        waiting[0].contains("WARN") && waiting[0].contains("next start"),
        "{waiting:?}"
    );
    assert!(!server.broker.log().join("\n").contains("s3cret"));
    let in_force = server.get("/api/config/effective").await;
    assert_eq!(in_force["amqp"]["channel_max"], 50);
    assert_eq!(in_force["storage"]["durability"], "fsync");
    assert_eq!(server.put("/api/queues/%2F/a", json!({})).await, 201);
    assert_eq!(server.put("/api/queues/%2F/b", json!({})).await, 400);

    // A bad file changes nothing.
    reload(
        &server.broker,
        &file,
        "[amqp]\nchannel_max = 0\nheartbeat_s = 7\n",
    );
    let line = server.broker.wait_for("the settings stay as they are");
    assert!(line.contains("w.toml:2: amqp.channel_max = 0"), "{line}");
    assert_eq!(server.get("/api/config/effective").await, in_force);
    server.broker.stop();
}

#[tokio::test]
async fn the_log_follows_its_filter() {
    let (server, file) = start("");
    reload(
        &server.broker,
        &file,
        "log = \"error\"\n[amqp]\nchannel_max = 5\n",
    );
    let deadline = std::time::Instant::now() + LIMIT;
    while server.get("/api/config/effective").await["log"] != "error" {
        assert!(std::time::Instant::now() < deadline, "nothing has changed");
    }
    reload(
        &server.broker,
        &file,
        "log = \"info\"\n[amqp]\nchannel_max = 6\n",
    );
    server.broker.wait_for("before=\"error\" now=\"info\"");
    server.broker.wait_for("the settings were read again");
    let seen = told(&server.broker, "amqp.channel_max");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].contains("before=5 now=6"), "{seen:?}");
    reload(&server.broker, &file, "log = \"no=such=filter\"\n");
    server.broker.wait_for("the settings stay as they are");
    server.broker.stop();
}
