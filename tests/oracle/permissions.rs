//! The table in docs/SECURITY.md of what each operation says to a user without one of the permissions: it is what
//! the scenarios of `a10_permissions.txt` say, with the differences that are listed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::folder;
use super::script::{File, Scenario};

const BEGIN: &str = "<!-- permissions: begin -->\n";
const END: &str = "<!-- permissions: end -->";
const MISSING: [&str; 3] = ["noconfigure", "nowrite", "noread"];

/// What an operation comes to: code and text of the close, or nothing.
fn outcome(scenario: &Scenario, user: &str) -> String {
    let said = scenario.steps().flat_map(|(_, said)| said);
    let closes = said.filter(|line| line.contains(".close reply_code="));
    let Some(close) = closes.last() else {
        return "allowed".to_owned();
    };
    let (_, rest) = close.split_once("reply_code=").unwrap();
    let (code, rest) = rest.split_once(" reply_text=\"").unwrap();
    let (text, _) = rest.rsplit_once("\" class_id=").unwrap();
    let text = text.split_once(" - ").map_or(text, |(_, text)| text);
    let place = format!(" in vhost '/' refused for user '{user}'");
    let text = text.strip_suffix(&place).unwrap_or(text);
    format!("{code} {}", text.replace(" in vhost '/'", ""))
}

fn table() -> String {
    let recorded = File::read(&folder().join("scenarios/a10_permissions.txt"));
    let differences = File::read(&folder().join("differences.txt"));
    let ours: BTreeMap<&str, &Scenario> = differences
        .scenarios
        .iter()
        .map(|scenario| (scenario.name.as_str(), scenario))
        .collect();
    let mut operations: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for scenario in &recorded.scenarios {
        let name = scenario.name.strip_prefix("A10.").unwrap();
        let (user, operation) = name.split_once('-').unwrap();
        let said = ours.get(scenario.name.as_str()).unwrap_or(&scenario);
        if !operations.contains(&operation) {
            operations.push(operation);
        }
        cells.insert((operation, user), outcome(said, user));
    }
    let mut table =
        "| operation | without configure | without write | without read |\n|---|---|---|---|\n"
            .to_owned();
    for operation in operations {
        let [configure, write, read] = MISSING.map(|user| &cells[&(operation, user)]);
        let operation = operation.replace('-', " ");
        writeln!(table, "| {operation} | {configure} | {write} | {read} |").unwrap();
    }
    table
}

#[test]
fn a10_the_documented_table_of_permissions_is_what_was_recorded() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SECURITY.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once(BEGIN).unwrap();
    let (documented, _) = rest.split_once(END).unwrap();
    let table = table();
    assert!(
        documented == table,
        "docs/SECURITY.md should have:\n{table}"
    );
}
