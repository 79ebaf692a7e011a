//! What several fuzz targets use.
//!
//! Owns the bound on memory and a directory for a broker's data; checks nothing of Warren itself.

use std::path::PathBuf;

use warren::config::{Config, Durability};

/// Does `work` and fails if it had, at any time, more than `factor` octets allocated for each octet of
/// input, and `slack` more. What other threads allocate is not counted.
pub fn bounded<R>(input_bytes: usize, factor: usize, slack: usize, work: impl FnOnce() -> R) -> R {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(work()));
    let bound = (factor * input_bytes + slack) as u64;
    assert!(
        info.bytes_max <= bound,
        "{} octets allocated for {input_bytes} octets of input",
        info.bytes_max
    );
    result.expect("it was done")
}

/// A broker's settings with a new directory, in memory where there is such a thing: the disk is not what
/// is fuzzed.
pub fn config() -> (Config, tempfile::TempDir) {
    let parent = PathBuf::from("/dev/shm");
    let directory = match parent.is_dir() {
        true => tempfile::tempdir_in(parent),
        false => tempfile::tempdir(),
    };
    let directory = directory.expect("a directory");
    let mut config = Config {
        data_dir: directory.path().join("data"),
        ..Config::default()
    };
    config.storage.durability = Durability::Os;
    (config, directory)
}
