//! Every row of behaviour is held to: by scenarios, or by a test that is named here; and
//! docs/COMPATIBILITY.md says of each how Warren does.
//!
//! Owns the reading of `rows.txt`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::{folder, script};

/// How many rows each part of the reference has; what is in A2 goes by its codes.
const PARTS: [(&str, usize); 6] = [
    ("A1", 22),
    ("A3", 21),
    ("A4", 14),
    ("A5", 9),
    ("A6", 19),
    ("A7", 12),
];

/// Rows and what is said of them.
fn rows() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("rows.txt")).unwrap();
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (row, held) = line.split_once(' ').unwrap_or((line, ""));
            (row.to_owned(), held.trim().to_owned())
        })
        .collect()
}

fn source(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_row_is_held_to() {
    let files = script::files(&folder().join("scenarios"));
    let scenarios: Vec<&str> = files
        .iter()
        .flat_map(|file| &file.scenarios)
        .map(|scenario| scenario.name.as_str())
        .collect();
    let rows = rows();
    let known: BTreeSet<&str> = rows.iter().map(|(row, _)| row.as_str()).collect();
    assert_eq!(known.len(), rows.len(), "a row is listed twice");
    for (part, count) in PARTS {
        for number in 1..=count {
            let row = format!("{part}.{number}");
            assert!(known.contains(row.as_str()), "{row} is not listed");
        }
    }
    for (row, held) in &rows {
        let has = |prefix: &str| scenarios.iter().any(|name| name.starts_with(prefix));
        match held.split(' ').collect::<Vec<_>>()[..] {
            [""] => assert!(has(&format!("{row}-")), "{row} has no scenario"),
            ["=", prefix] => assert!(has(prefix), "{row} has no scenario {prefix}…"),
            ["test", file, name] => {
                let declared = format!("fn {name}(");
                assert!(
                    source(file).contains(&declared),
                    "{row}: no {name} in {file}"
                );
            }
            ["none", _, ..] => {}
            _ => panic!("{row}: {held}"),
        }
    }
}

#[test]
fn every_row_is_in_the_table() {
    let text = source("docs/COMPATIBILITY.md");
    let verdicts = ["same", "better", "different", "not yet", "not there"];
    for (part, count) in PARTS {
        for number in 1..=count {
            let start = format!("| {part}.{number} ");
            let lines: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with(&start))
                .collect();
            assert_eq!(lines.len(), 1, "{part}.{number} is there once: {lines:?}");
            let verdict = lines[0].split('|').nth(2).unwrap().trim();
            assert!(
                verdicts.iter().any(|known| verdict.starts_with(known)),
                "{part}.{number} is {verdict}"
            );
        }
    }
}
