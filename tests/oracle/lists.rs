//! The two lists of scenarios that Warren does not play as RabbitMQ does.
//!
//! `differences.txt`: differences we chose, each with its reason and with what Warren says instead.
//! `missing.txt`: what is not built yet, and faults that are known. Either list may only hold what
//! still differs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::script::{File, Line, Scenario};

/// Both lists.
pub(crate) struct Lists {
    differences: BTreeMap<String, Scenario>,
    missing: BTreeMap<String, String>,
}

/// How a scenario went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// As RabbitMQ.
    Same,
    /// As the list of differences says.
    Differs,
    /// Not as RabbitMQ, and listed as missing.
    Missing,
    /// Not as RabbitMQ, and listed as a fault.
    Bug,
    /// As RabbitMQ, though it is listed as missing or a fault.
    Found,
    /// None of these: the test fails.
    Failed,
}

impl Lists {
    /// Reads both from the oracle's folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut differences = BTreeMap::new();
        for scenario in File::read(&folder.join("differences.txt")).scenarios {
            let reason = |line: &Line| matches!(line, Line::Other(t) if t.len() > 10);
            let name = scenario.name.clone();
            assert!(
                scenario.lines.iter().any(reason),
                "{name} differs without a reason"
            );
            let old = differences.insert(name.clone(), scenario);
            assert!(old.is_none(), "{name} is in differences.txt twice");
        }
        let mut missing = BTreeMap::new();
        let mut section = String::new();
        for line in fs::read_to_string(folder.join("missing.txt"))
            .unwrap()
            .lines()
        {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if !line.is_empty() {
                let old = missing.insert(line.to_owned(), section.clone());
                assert!(old.is_none(), "{line} is in missing.txt twice");
            }
        }
        let both: Vec<_> = missing
            .keys()
            .filter(|n| differences.contains_key(*n))
            .collect();
        assert!(both.is_empty(), "in both lists: {both:?}");
        Lists {
            differences,
            missing,
        }
    }

    /// Names in a list that no scenario has.
    pub(crate) fn unknown<'a>(&'a self, known: &[&str]) -> Vec<&'a str> {
        let names = self.differences.keys().chain(self.missing.keys());
        names
            .map(String::as_str)
            .filter(|name| !known.contains(name))
            .collect()
    }

    /// Whether it is expected to fail.
    pub(crate) fn is_missing(&self, name: &str) -> bool {
        self.missing.contains_key(name)
    }

    /// Judges what Warren said, and why it does not do.
    pub(crate) fn judge(&self, recorded: &Scenario, actual: &Scenario) -> (Outcome, String) {
        let (expected, got) = (recorded.transcript(), actual.transcript());
        let same = expected == got;
        let name = recorded.name.as_str();
        if let Some(chosen) = self.differences.get(name) {
            return match (same, chosen.transcript() == got) {
                (true, _) => (
                    Outcome::Failed,
                    "does not differ: remove it from differences.txt".into(),
                ),
                (false, true) => (Outcome::Differs, String::new()),
                (false, false) => (Outcome::Failed, diff(&chosen.transcript(), &got)),
            };
        }
        match (same, self.missing.get(name).map(String::as_str)) {
            (true, None) => (Outcome::Same, String::new()),
            (true, Some(_)) => (Outcome::Found, String::new()),
            (false, Some("bugs")) => (Outcome::Bug, diff(&expected, &got)),
            (false, Some(_)) => (Outcome::Missing, diff(&expected, &got)),
            (false, None) => (Outcome::Failed, diff(&expected, &got)),
        }
    }
}

/// Takes names off `missing.txt`.
pub(crate) fn shrink(folder: &Path, found: &[&str]) {
    let path = folder.join("missing.txt");
    let text = fs::read_to_string(&path).unwrap();
    let name = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let kept = text
        .lines()
        .filter(|line| !found.contains(&name(line).as_str()));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    fs::write(&path, kept).unwrap();
}

/// Lines of two transcripts, with `-` what was expected and `+` what came instead.
fn diff(expected: &str, got: &str) -> String {
    let expected: Vec<&str> = expected.lines().collect();
    let got: Vec<&str> = got.lines().collect();
    let mut common = vec![vec![0_usize; got.len() + 1]; expected.len() + 1];
    for i in (0..expected.len()).rev() {
        for j in (0..got.len()).rev() {
            common[i][j] = match expected[i] == got[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < expected.len() || j < got.len() {
        if i < expected.len() && j < got.len() && expected[i] == got[j] {
            out.push(format!("  {}", expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < expected.len() && (j == got.len() || common[i + 1][j] >= common[i][j + 1]) {
            out.push(format!("- {}", expected[i]));
            i += 1;
        } else {
            out.push(format!("+ {}", got[j]));
            j += 1;
        }
    }
    out.join("\n")
}
