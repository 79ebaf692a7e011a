//! How much memory and disk there is, and how much is used.
//!
//! Owns where Linux says so. What can't be read counts as no shortage: an alarm that nothing raised would stop
//! every publisher.

use std::fs;
use std::path::{Path, PathBuf};

use crate::store::Log;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Octets of this process that are resident.
    pub memory_used_bytes: u64,
    /// Octets that it may use: the machine's, or its control group's if that has fewer.
    pub memory_total_bytes: u64,
    /// Octets that it may still write where the data directory is.
    pub disk_free_bytes: u64,
    /// The log finds no room, or has used what it keeps for that.
    pub disk_full: bool,
}

/// Measures; tests have one of their own.
pub trait Probe: Send + Sync {
    /// Measures now.
    fn read(&self) -> Reading;
}

/// Measures this process on this machine.
pub struct SystemProbe {
    data_dir: PathBuf,
    log: Log,
}

impl SystemProbe {
    /// For a broker with its data in `data_dir`.
    pub(in crate::broker) fn new(data_dir: &Path, log: Log) -> Self {
        SystemProbe {
            data_dir: data_dir.to_owned(),
            log,
        }
    }
}

impl Probe for SystemProbe {
    fn read(&self) -> Reading {
        Reading {
            memory_used_bytes: kib("/proc/self/status", "VmRSS:").unwrap_or(0),
            memory_total_bytes: memory_total_bytes(),
            // Whatever the file system says, a quota too: if the log finds no space there is none.
            disk_free_bytes: match self.log.is_full() {
                true => 0,
                false => rustix::fs::statvfs(&self.data_dir)
                    .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            },
            disk_full: self.log.is_out_of_room(),
        }
    }
}

fn memory_total_bytes() -> u64 {
    let machine = kib("/proc/meminfo", "MemTotal:").unwrap_or(u64::MAX);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(control_group_limit);
    limits.fold(machine, u64::min)
}

/// What one line of /proc/self/cgroup allows: the least of the group and those around it.
fn control_group_limit(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (root, file) = match controllers {
        // Version 2 has one hierarchy for all.
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = Path::new(root).join(path.trim_start_matches('/'));
    // Within a container the path may be the host's, of which only the root is seen.
    let around = group.ancestors().take_while(|dir| dir.starts_with(root));
    around
        .filter_map(|dir| fs::read_to_string(dir.join(file)).ok())
        .filter_map(|text| text.trim().parse().ok())
        .min()
}

/// The octets in a line `key 123 kB`.
fn kib(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = value.trim().trim_end_matches(" kB").parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_some_of_what_there_is() {
        let used = kib("/proc/self/status", "VmRSS:").unwrap();
        assert!(
            (1024 * 1024..memory_total_bytes()).contains(&used),
            "{used}"
        );
        assert_eq!(kib("/proc/self/status", "NoSuchKey:"), None);
        assert_eq!(kib("/no/such/file", "VmRSS:"), None);
    }

    #[test]
    fn a_control_group_without_a_limit_has_none() {
        assert_eq!(control_group_limit("5:cpu,cpuacct:/somewhere"), None);
        assert_eq!(control_group_limit("nonsense"), None);
        assert_eq!(
            control_group_limit("7:memory:/no/such/group"),
            kib_of_root()
        );
    }

    /// The root of version 1, if this machine has it, says for itself that it has no limit.
    fn kib_of_root() -> Option<u64> {
        let text = fs::read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes").ok()?;
        text.trim().parse().ok()
    }
}
