//! The summary of a run, for people and as JSON.

use crate::check::Findings;
use crate::latency::Summary;
use crate::measure::{Interval, Moment};
use std::fmt::Write;

/// All that is reported.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which command.
    pub(crate) mode: &'static str,
    /// The measured window.
    pub(crate) window: Interval,
    /// From publish to delivery.
    pub(crate) latency: Option<Summary>,
    /// From publish to confirm.
    pub(crate) confirm_latency: Option<Summary>,
    /// The broker's resident memory in KiB: at the end, and the most seen.
    pub(crate) broker_rss: Option<(u64, u64)>,
    /// What the check found, if there was one.
    pub(crate) findings: Option<Findings>,
}

impl Report {
    /// Prints it.
    pub(crate) fn print(&self, json: bool) {
        if json {
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
        for (name, count) in [
            ("published", window.published),
            ("delivered", window.delivered),
            ("confirmed", window.confirmed),
            ("refused", window.nacked),
        ] {
            if count > 0 {
                let rate = window.rate(count);
                line(name, format!("{count} ({rate:.0}/s)"));
            }
        }
        for (name, summary) in [
            ("latency", &self.latency),
            ("confirm latency", &self.confirm_latency),
        ] {
            if let Some(summary) = summary {
                line(name, latency_text(summary));
            }
        }
        let per_op = |cpu: f64| window.per_op(cpu).unwrap_or(0.0);
        if let Some(cpu) = window.broker_cpu {
            let cores = cpu / window.seconds;
            line(
                "broker cpu",
                format!("{:.3} µs/op ({cores:.2} cores)", per_op(cpu)),
            );
        }
        if let Some((end, peak)) = self.broker_rss {
            let mib = |kib: u64| kib as f64 / 1024.0;
            line(
                "broker memory",
                format!("{:.1} MiB (highest {:.1} MiB)", mib(end), mib(peak)),
            );
        }
        let cores = window.own_cpu / window.seconds;
        line(
            "own cpu",
            format!("{:.3} µs/op ({cores:.2} cores)", per_op(window.own_cpu)),
        );
        if let Some(findings) = &self.findings {
            line("check", findings_text(findings));
        }
        out
    }

    fn json(&self) -> String {
        let window = &self.window;
        let mut object = Object::default();
        object.raw("mode", &format!("\"{}\"", self.mode));
        object.number("seconds", window.seconds);
        for (name, count) in [
            ("published", window.published),
            ("delivered", window.delivered),
            ("confirmed", window.confirmed),
            ("nacked", window.nacked),
        ] {
            object.raw(name, &count.to_string());
            object.number(&format!("{name}_per_s"), window.rate(count));
        }
        for (name, summary) in [
            ("latency_us", &self.latency),
            ("confirm_latency_us", &self.confirm_latency),
        ] {
            if let Some(summary) = summary {
                object.raw(name, &latency_json(summary));
            }
        }
        if let Some(cpu) = window.broker_cpu {
            object.number("broker_cpu_s", cpu);
            if let Some(per_op) = window.per_op(cpu) {
                object.number("broker_cpu_us_per_op", per_op);
            }
        }
        if let Some((end, peak)) = self.broker_rss {
            object.raw("broker_rss_kib", &end.to_string());
            object.raw("broker_rss_peak_kib", &peak.to_string());
        }
        object.number("own_cpu_s", window.own_cpu);
        if let Some(per_op) = window.per_op(window.own_cpu) {
            object.number("own_cpu_us_per_op", per_op);
        }
        if let Some(findings) = &self.findings {
            object.raw("check", &findings_json(findings));
        }
        object.finish()
    }
}

fn latency_text(summary: &Summary) -> String {
    let mut out = String::new();
    for (name, value) in summary.percentiles {
        // Writing to a string cannot fail.
        let _ = write!(out, "{name} {value:.1}  ");
    }
    let _ = write!(out, "max {:.1} µs", summary.max);
    out
}

fn latency_json(summary: &Summary) -> String {
    let mut object = Object::default();
    for (name, value) in summary.percentiles {
        object.number(name, value);
    }
    object.number("max", summary.max);
    object.number("mean", summary.mean);
    object.raw("samples", &summary.samples.to_string());
    object.finish()
}

fn findings_text(findings: &Findings) -> String {
    let Findings {
        lost,
        duplicates,
        disordered,
        redelivered,
        foreign,
    } = findings;
    let verdict = if findings.clean() { "clean" } else { "FAILED" };
    format!(
        "{verdict}: {lost} lost, {duplicates} duplicated, {disordered} out of order, \
         {foreign} foreign ({redelivered} redelivered)"
    )
}

fn findings_json(findings: &Findings) -> String {
    let mut object = Object::default();
    object.raw("clean", &findings.clean().to_string());
    for (name, count) in [
        ("lost", findings.lost),
        ("duplicates", findings.duplicates),
        ("disordered", findings.disordered),
        ("redelivered", findings.redelivered),
        ("foreign", findings.foreign),
    ] {
        object.raw(name, &count.to_string());
    }
    object.finish()
}

/// A JSON object whose names need no escapes.
#[derive(Default)]
struct Object {
    members: Vec<String>,
}

impl Object {
    fn raw(&mut self, name: &str, value: &str) {
        self.members.push(format!("\"{name}\":{value}"));
    }

    fn number(&mut self, name: &str, value: f64) {
        self.raw(name, &format!("{value:.4}"));
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.members.join(","))
    }
}

/// One second's progress.
pub(crate) fn progress_line(second: u64, measured: bool, from: &Moment, to: &Moment) -> String {
    let interval = Interval::between(from, to);
    let mut out = format!("{second:>4} s{} ", if measured { " " } else { "*" });
    for (name, count) in [
        ("published", interval.published),
        ("delivered", interval.delivered),
        ("confirmed", interval.confirmed),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(out, " {name} {:>9.0}/s ", interval.rate(count));
    }
    if let (Some(cpu), Some(usage)) = (interval.broker_cpu, to.broker) {
        let cores = cpu / interval.seconds;
        let mib = usage.rss_kib / 1024;
        let _ = write!(out, " broker {cores:.2} cores {mib} MiB");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;

    fn report() -> Report {
        let mut latency = Latency::new().unwrap();
        latency.record(2_000);
        Report {
            mode: "run",
            window: Interval {
                seconds: 2.0,
                published: 100,
                delivered: 100,
                broker_cpu: Some(0.001),
                own_cpu: 0.0001,
                ..Interval::default()
            },
            latency: latency.summary(),
            confirm_latency: None,
            broker_rss: Some((2048, 4096)),
            findings: Some(Findings {
                lost: 1,
                ..Findings::default()
            }),
        }
    }

    #[test]
    fn json_has_the_numbers() {
        let json = report().json();
        for part in [
            "\"mode\":\"run\"",
            "\"published\":100",
            "\"published_per_s\":50.0000",
            "\"latency_us\":{\"p50\":2.0",
            "\"broker_cpu_us_per_op\":5.0000",
            "\"broker_rss_peak_kib\":4096",
            "\"check\":{\"clean\":false,\"lost\":1",
        ] {
            assert!(json.contains(part), "{part} in {json}");
        }
        assert_eq!(json.matches('{').count(), json.matches('}').count());
    }

    #[test]
    fn text_leaves_out_what_did_not_happen() {
        let text = report().text();
        assert!(text.contains("FAILED: 1 lost"), "{text}");
        assert!(!text.contains("confirm"), "{text}");
    }
}
