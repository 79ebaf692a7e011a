//! The order of the layers: a module imports only from those above it in `src/lib.rs`'s list.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what failed by panicking"
)]

use std::fs;
use std::path::Path;

/// The modules in the order of `src/lib.rs`, read from there so that the list has one home.
fn layers() -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let module = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    lib.lines().filter_map(module).collect()
}

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

/// The modules that a line imports from: `use crate::a::b`, `use crate::{a, b::c}`, `crate::a::f()`.
fn imported(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        if at > 0 && line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &line[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split(',').collect(),
            None => vec![rest],
        };
        let name = |text: &'_ str| -> usize {
            text.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(text.len())
        };
        for text in names.into_iter().map(str::trim) {
            found.push(&text[..name(text)]);
        }
    }
    found
}

#[test]
fn no_module_imports_from_a_layer_above_it() {
    let layers = layers();
    assert!(
        layers.len() >= 8,
        "the list of modules was not found: {layers:?}"
    );
    let mut faults = Vec::new();
    let mut arrows = 0;
    for (at, layer) in layers.iter().enumerate() {
        let mut files = Vec::new();
        let (dir, file) = (format!("src/{layer}"), format!("src/{layer}.rs"));
        if Path::new(&dir).is_dir() {
            sources(Path::new(&dir), &mut files);
        }
        if let Ok(text) = fs::read_to_string(&file) {
            files.push((file, text));
        }
        assert!(!files.is_empty(), "module {layer} has no source");
        for (path, text) in files {
            for (number, line) in text.lines().enumerate() {
                for name in imported(line) {
                    arrows += 1;
                    if layers
                        .iter()
                        .position(|l| l == name)
                        .is_some_and(|to| to > at)
                    {
                        faults.push(format!("{path}:{}: {layer} imports {name}", number + 1));
                    }
                }
            }
        }
    }
    assert!(arrows > 50, "only {arrows} imports were found");
    assert!(
        faults.is_empty(),
        "arrows that run back up:\n{}",
        faults.join("\n")
    );
}

#[test]
fn imports_are_found_in_every_form() {
    assert_eq!(imported("use crate::base::{Name, LogPos};"), ["base"]);
    assert_eq!(
        imported("use crate::{amqp, net::Listeners};"),
        ["amqp", "net"]
    );
    assert_eq!(
        imported("    crate::store::open(); crate::queue::x()"),
        ["store", "queue"]
    );
    assert_eq!(imported("use supercrate::base;"), Vec::<&str>::new());
}
