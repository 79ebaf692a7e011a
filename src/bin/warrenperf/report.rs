//! The summary of a run, for people and as JSON.

use crate::args::OutputArgs;
use crate::check::Findings;
use crate::latency::{Latency, Summary};
use crate::measure::Interval;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// All that is reported.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which command.
    pub(crate) mode: &'static str,
    /// The measured window.
    pub(crate) window: Interval,
    /// How long things took: "latency" from publish to delivery, "confirm latency" from publish to
    /// confirm, "round latency", "sync latency".
    pub(crate) latencies: Vec<(&'static str, Option<Summary>)>,
    /// The broker's resident memory in KiB: at the end, and the most seen.
    pub(crate) broker_rss: Option<(u64, u64)>,
    /// Other figures.
    pub(crate) figures: Vec<Figure>,
    /// What the check found, if there was one.
    pub(crate) findings: Option<Findings>,
}

/// A figure that only some modes have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// What it is; with underscores it is the name in JSON.
    pub(crate) name: &'static str,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit, which ends the name in JSON.
    pub(crate) unit: &'static str,
}

impl Report {
    /// One that has only begun.
    pub(crate) fn new(mode: &'static str, window: Interval) -> Self {
        Self {
            mode,
            window,
            latencies: Vec::new(),
            broker_rss: None,
            figures: Vec::new(),
            findings: None,
        }
    }

    /// Adds how long things took, if they happened at all.
    pub(crate) fn with_latency(mut self, name: &'static str, mut latency: Latency) -> Self {
        self.latencies.push((name, latency.summary()));
        self
    }

    /// Prints it.
    pub(crate) fn print(&self, output: &OutputArgs) {
        if output.json {
            println!("{}", self.json());
        } else {
            print!("{}", self.text());
        }
    }

    fn text(&self) -> String {
        let window = &self.window;
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name:<16} {value}");
        };
        line("measured", format!("{:.2} s", window.seconds));
        for (name, count) in window.counts.named() {
            if count > 0 {
                let rate = window.rate(count);
                line(name, format!("{count} ({rate:.0}/s)"));
            }
        }
        for (name, summary) in &self.latencies {
            if let Some(summary) = summary {
                line(name, latency_text(summary));
            }
        }
        for figure in &self.figures {
            line(figure.name, format!("{:.1} {}", figure.value, figure.unit));
        }
        let cpu_text = |cpu: f64| {
            let cores = cpu / window.seconds;
            match window.per_op(cpu) {
                Some(per_op) => format!("{per_op:.3} µs/op ({cores:.3} cores)"),
                None => format!("{cores:.3} cores"),
            }
        };
        if let Some(cpu) = window.broker_cpu {
            line("broker cpu", cpu_text(cpu));
        }
        if let Some((end, peak)) = self.broker_rss {
            let mib = |kib: u64| kib as f64 / 1024.0;
            line(
                "broker memory",
                format!("{:.1} MiB (highest {:.1} MiB)", mib(end), mib(peak)),
            );
        }
        line("own cpu", cpu_text(window.own_cpu));
        if let Some(findings) = &self.findings {
            line("check", findings_text(findings));
        }
        out
    }

    fn json(&self) -> Value {
        let window = &self.window;
        let mut object = Map::new();
        let mut put = |name: String, value: Value| object.insert(name, value);
        put("mode".into(), json!(self.mode));
        put("seconds".into(), json!(window.seconds));
        for (name, count) in window.counts.named() {
            put(name.into(), json!(count));
            put(format!("{name}_per_s"), json!(window.rate(count)));
        }
        for (name, summary) in &self.latencies {
            if let Some(summary) = summary {
                put(format!("{}_us", key(name)), latency_json(summary));
            }
        }
        for figure in &self.figures {
            let name = format!("{}_{}", key(figure.name), key(figure.unit));
            put(name.to_lowercase(), json!(figure.value));
        }
        if let Some(cpu) = window.broker_cpu {
            put("broker_cpu_s".into(), json!(cpu));
            if let Some(per_op) = window.per_op(cpu) {
                put("broker_cpu_us_per_op".into(), json!(per_op));
            }
        }
        if let Some((end, peak)) = self.broker_rss {
            put("broker_rss_kib".into(), json!(end));
            put("broker_rss_peak_kib".into(), json!(peak));
        }
        put("own_cpu_s".into(), json!(window.own_cpu));
        if let Some(per_op) = window.per_op(window.own_cpu) {
            put("own_cpu_us_per_op".into(), json!(per_op));
        }
        if let Some(findings) = &self.findings {
            put("check".into(), findings_json(findings));
        }
        Value::Object(object)
    }
}

fn key(name: &str) -> String {
    name.replace([' ', '/'], "_")
}

fn latency_text(summary: &Summary) -> String {
    let mut out = String::new();
    for (name, micros) in summary.percentiles {
        // Writing to a string cannot fail.
        let _ = write!(out, "{name} {micros:.1}  ");
    }
    let (max, mean, samples) = (summary.max, summary.mean, summary.samples);
    let _ = write!(out, "max {max:.1}  mean {mean:.1} µs, {samples} samples");
    out
}

fn latency_json(summary: &Summary) -> Value {
    let mut object = Map::new();
    for (name, micros) in summary.percentiles {
        object.insert(name.into(), json!(micros));
    }
    object.insert("max".into(), json!(summary.max));
    object.insert("mean".into(), json!(summary.mean));
    object.insert("samples".into(), json!(summary.samples));
    Value::Object(object)
}

fn findings_named(findings: &Findings) -> [(&'static str, u64); 5] {
    [
        ("lost", findings.lost),
        ("duplicates", findings.duplicates),
        ("disordered", findings.disordered),
        ("redelivered", findings.redelivered),
        ("foreign", findings.foreign),
    ]
}

fn findings_text(findings: &Findings) -> String {
    let verdict = if findings.clean() { "clean" } else { "FAILED" };
    let parts: Vec<_> = findings_named(findings)
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    format!("{verdict}: {}", parts.join(", "))
}

fn findings_json(findings: &Findings) -> Value {
    let mut object = Map::new();
    object.insert("clean".into(), json!(findings.clean()));
    for (name, count) in findings_named(findings) {
        object.insert(name.into(), json!(count));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Counts;

    fn report() -> Report {
        let mut latency = Latency::new().unwrap();
        latency.record(2_000);
        let window = Interval {
            seconds: 2.0,
            counts: Counts {
                published: 100,
                delivered: 100,
                ..Counts::default()
            },
            broker_cpu: Some(0.001),
            own_cpu: 0.0001,
        };
        let mut report = Report::new("run", window)
            .with_latency("latency", latency)
            .with_latency("confirm latency", Latency::new().unwrap());
        report.broker_rss = Some((2048, 4096));
        report.figures.push(Figure {
            name: "each connection",
            value: 1.5,
            unit: "KiB",
        });
        report.findings = Some(Findings {
            lost: 1,
            ..Findings::default()
        });
        report
    }

    #[test]
    fn json_has_the_numbers() {
        let json = report().json();
        for (pointer, want) in [
            ("/mode", json!("run")),
            ("/published", json!(100)),
            ("/published_per_s", json!(50.0)),
            ("/latency_us/samples", json!(1)),
            ("/each_connection_kib", json!(1.5)),
            ("/broker_cpu_us_per_op", json!(5.0)),
            ("/broker_rss_peak_kib", json!(4096)),
            ("/check/clean", json!(false)),
            ("/check/lost", json!(1)),
        ] {
            assert_eq!(json.pointer(pointer), Some(&want), "{pointer} in {json}");
        }
        assert!(json.get("confirm_latency_us").is_none());
    }

    #[test]
    fn text_leaves_out_what_did_not_happen() {
        let text = report().text();
        assert!(text.contains("FAILED: 1 lost"), "{text}");
        assert!(text.contains("each connection  1.5 KiB"), "{text}");
        assert!(!text.contains("confirm"), "{text}");
    }
}
