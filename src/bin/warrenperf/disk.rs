//! `warrenperf disk`: appends and `fdatasync` without a broker.

use crate::args::DiskArgs;
use crate::clock;
use crate::error::Result;
use crate::latency::Latency;
use crate::measure::{Gauges, Interval};
use crate::report::Report;
use crate::shared::Control;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;

/// Runs it and prints the summary.
pub(crate) fn run(args: &DiskArgs) -> Result<bool> {
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let path = args
        .dir
        .join(format!("warrenperf-disk-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let outcome = appends(args, &mut file, &control);
    let removed = fs::remove_file(&path);
    let report = outcome?;
    removed?;
    report.print(&args.output);
    Ok(true)
}

fn appends(args: &DiskArgs, file: &mut fs::File, control: &Control) -> Result<Report> {
    let gauges = Gauges::of_workers(1, None);
    let bytes = vec![b'w'; args.size as usize * args.batch as usize];
    let mut latency = Latency::new()?;
    let from = gauges.read()?;
    let end = from.time + (args.time * 1e9) as u64;
    let mut began = from.time;
    while began < end && !control.interrupted() {
        file.write_all(&bytes)?;
        file.sync_data()?;
        let ended = clock::now_ns();
        latency.record(ended - began);
        if let Some(worker) = gauges.workers.first() {
            worker.add(1, ended);
        }
        began = ended;
    }
    let window = Interval::between(&from, &gauges.read()?);
    Ok(Report::new("disk", window).with_latency("sync latency", latency))
}
