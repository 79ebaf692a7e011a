//! What a process has used of the machine, as /proc tells it.

use crate::error::{Error, Result};
use std::fs;

/// Processor time and memory of one process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// User and system time of all its threads, in seconds.
    pub(crate) cpu: f64,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
}

/// Reads the usage of process `pid`.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let wrap = |reason: String| Error::Process { pid, reason };
    let read = |file: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(|error| wrap(error.to_string()))
    };
    let ticks = parse_ticks(&read("stat")?).ok_or_else(|| wrap("odd stat file".into()))?;
    let rss_kib = parse_rss(&read("status")?).ok_or_else(|| wrap("it has ended".into()))?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Usage {
        cpu: ticks as f64 / per_second as f64,
        rss_kib,
    })
}

/// utime + stime: the 14th and 15th fields, counted after the name, which may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.rss_kib > 100);
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse_it() {
        let stat = "7 (odd) name) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(parse_ticks(stat), Some(300));
        assert_eq!(parse_ticks("7 (x) S 1"), None);
        assert_eq!(
            parse_rss("Name:\tx\nVmRSS:\t  1234 kB\nVmSize:\t9 kB\n"),
            Some(1234)
        );
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(matches!(usage(u32::MAX), Err(Error::Process { .. })));
    }
}
