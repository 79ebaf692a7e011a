//! Progress while a run lasts: a bar on a terminal, a line a second elsewhere.

use crate::args::OutputArgs;
use crate::measure::{Interval, Moment};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;

/// Where progress goes.
#[derive(Debug)]
pub(crate) enum Live {
    /// Nowhere.
    Quiet,
    /// Line by line to stderr.
    Lines,
    /// To a bar that is drawn over and over.
    Bar(ProgressBar),
}

impl Live {
    /// As the options and the terminal have it. `seconds` is how long it will take, if that is known.
    pub(crate) fn new(output: &OutputArgs, seconds: Option<u64>) -> Self {
        if output.quiet {
            return Self::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let (bar, template) = match seconds {
            Some(seconds) => (
                ProgressBar::new(seconds),
                "{bar:20} {pos}/{len} s {wide_msg}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {elapsed} {wide_msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// Shows what happened in the last second.
    pub(crate) fn show(&self, second: u64, measured: bool, from: &Moment, to: &Moment) {
        let text = || rates(&Interval::between(from, to), to);
        match self {
            Self::Quiet => {}
            Self::Lines => eprintln!(
                "{second:>4} s{} {}",
                if measured { " " } else { "*" },
                text()
            ),
            Self::Bar(bar) => {
                bar.set_position(second);
                let warming = if measured { "" } else { "(warming up) " };
                bar.set_message(format!("{warming}{}", text()));
            }
        }
    }

    /// Makes way for the results.
    pub(crate) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn rates(interval: &Interval, to: &Moment) -> String {
    let mut out = String::new();
    for (name, count) in interval.counts.named() {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(out, " {name} {:.0}/s ", interval.rate(count));
        }
    }
    if let (Some(cpu), Some(usage)) = (interval.broker_cpu, to.broker) {
        let cores = cpu / interval.seconds;
        let mib = usage.rss_kib / 1024;
        let _ = write!(out, " broker {cores:.2} cores {mib} MiB");
    }
    out
}
