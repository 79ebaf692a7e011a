//! The files of scenarios: steps, and under each what the broker said to it.
//!
//! ```text
//! == A2.missing-queue
//! c1.1 queue.declare queue=$q passive=true
//!   c1.1 channel.close reply_code=404 ...
//! ```
//!
//! Lines that begin with `#` are comments and stay where they are, as do blank lines. What a broker
//! said is indented by two blanks; recording replaces these lines and no others.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of a scenario that is not what a broker said.
pub(crate) enum Line {
    /// A comment or a blank line.
    Other(String),
    /// A step, and what came after it.
    Step(String, Vec<String>),
}

/// A scenario.
pub(crate) struct Scenario {
    /// Row and what it shows: `A2.missing-queue`.
    pub(crate) name: String,
    /// In order.
    pub(crate) lines: Vec<Line>,
}

impl Scenario {
    /// Its steps and what the broker said.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.lines.iter().filter_map(|line| match line {
            Line::Step(step, said) => Some((step.as_str(), said.as_slice())),
            Line::Other(_) => None,
        })
    }

    /// The row of behaviour it belongs to.
    pub(crate) fn row(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// Whether it waits until the broker closes a socket.
    pub(crate) fn waits_long(&self) -> bool {
        self.steps().any(|(step, _)| step.ends_with(" expect eof"))
    }

    /// Whether it raises an alarm, which stops the publishers of all others.
    pub(crate) fn raises_alarms(&self) -> bool {
        self.steps().any(|(step, _)| step.starts_with("alarm "))
    }

    /// Everything the broker said, with the steps.
    pub(crate) fn transcript(&self) -> String {
        let mut out = String::new();
        for (step, said) in self.steps() {
            out += &format!("{step}\n");
            for line in said {
                out += &format!("  {line}\n");
            }
        }
        out
    }
}

/// A file of scenarios.
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Lines before the first scenario.
    pub(crate) preface: Vec<String>,
    /// In order.
    pub(crate) scenarios: Vec<Scenario>,
}

impl File {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut file = File {
            path: path.to_owned(),
            preface: Vec::new(),
            scenarios: Vec::new(),
        };
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                file.scenarios.push(Scenario {
                    name: name.to_owned(),
                    lines: Vec::new(),
                });
                continue;
            }
            let Some(scenario) = file.scenarios.last_mut() else {
                file.preface.push(line.to_owned());
                continue;
            };
            if let Some(said) = line.strip_prefix("  ") {
                match scenario.lines.last_mut() {
                    Some(Line::Step(_, lines)) => lines.push(said.to_owned()),
                    _ => panic!("{}: said to no step: {line}", path.display()),
                }
            } else if line.is_empty() || line.starts_with('#') {
                scenario.lines.push(Line::Other(line.to_owned()));
            } else {
                scenario.lines.push(Line::Step(line.to_owned(), Vec::new()));
            }
        }
        file
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for line in &self.preface {
            out += &format!("{line}\n");
        }
        for scenario in &self.scenarios {
            out += &format!("== {}\n", scenario.name);
            for line in &scenario.lines {
                match line {
                    Line::Other(text) => out += &format!("{text}\n"),
                    Line::Step(step, said) => {
                        out += &format!("{step}\n");
                        for line in said {
                            out += &format!("  {line}\n");
                        }
                    }
                }
            }
        }
        out
    }
}

/// All files of a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<File> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    paths.iter().map(|path| File::read(path)).collect()
}
