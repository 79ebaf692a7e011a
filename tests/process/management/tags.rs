//! Who may GET what: the table in docs/HTTP-API.md.

use reqwest::Method;
use serde_json::json;

use super::server::Server;

const TAGS: [&str; 5] = [
    "administrator",
    "monitoring",
    "policymaker",
    "management",
    "",
];

/// The rows of the table: path, and a status for each of [`TAGS`].
fn table() -> Vec<(String, Vec<u16>)> {
    let doc = std::fs::read_to_string("docs/HTTP-API.md").unwrap();
    let rows = doc.lines().filter(|line| line.starts_with("| `/"));
    rows.filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let path = cells.next()?.trim_matches('`').to_owned();
        let statuses = cells
            .map(str::parse)
            .collect::<Result<Vec<u16>, _>>()
            .ok()?;
        (statuses.len() == TAGS.len()).then_some((path, statuses))
    })
    .collect()
}

#[tokio::test]
async fn a12_each_path_by_a_user_of_each_tag() {
    let server = Server::start();
    for tag in TAGS {
        server.user(&format!("user-{tag}"), tag).await;
    }
    assert_eq!(server.put("/api/queues/%2F/q", json!({})).await, 201);
    assert_eq!(server.put("/api/exchanges/%2F/x", json!({})).await, 201);
    let binding = json!({ "routing_key": "k" });
    let (bound, _) = server.post("/api/bindings/%2F/e/x/q/q", binding).await;
    assert_eq!(bound, 201);
    let policy = json!({ "pattern": "^none$", "definition": { "max-length": 1 } });
    assert_eq!(server.put("/api/policies/%2F/p", policy).await, 201);
    let overview = server.get("/api/overview").await;
    let values = [
        ("{vhost}", "%2F".to_owned()),
        ("{queue}", "q".to_owned()),
        ("{exchange}", "x".to_owned()),
        ("{properties_key}", "k".to_owned()),
        ("{policy}", "p".to_owned()),
        ("{user}", "guest".to_owned()),
        ("{password}", "secret".to_owned()),
        ("{node}", overview["node"].as_str().unwrap().to_owned()),
        ("{port}", server.broker.address().port().to_string()),
    ];
    let table = table();
    assert!(table.len() > 60, "the table was not found");
    let mut faults = Vec::new();
    for (path, expected) in &table {
        let mut asked = format!("/api{path}");
        for (name, value) in &values {
            asked = asked.replace(name, value);
        }
        for (tag, expected) in TAGS.iter().zip(expected) {
            let user = format!("user-{tag}");
            let (status, _) = server.ask(&user, Method::GET, &asked, None).await;
            if status.as_u16() != *expected {
                faults.push(format!("{path} by {tag:?}: {status}, not {expected}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    server.broker.stop();
}
