//! `warrenperf connections`: many that do nothing, and what they cost the broker.

use crate::args::ConnectionsArgs;
use crate::client::{CHANNEL, Client};
use crate::clock;
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::live::Live;
use crate::measure::{Gauges, Interval, Moment};
use crate::report::{Figure, Report};
use crate::shared::Control;
use crate::target::{Target, Targets};
use std::sync::Arc;
use std::thread;

/// Threads that open connections.
const OPENERS: usize = 8;

const SECOND: u64 = 1_000_000_000;

/// Runs it and prints the summary.
pub(crate) fn run(args: &ConnectionsArgs) -> Result<bool> {
    let targets = Targets::new(&args.broker)?;
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let gauges = Gauges::of_workers(1, args.broker.broker_pid);
    let before = gauges.read()?;
    let (clients, latency) = open(args.connections.into(), &targets, |client| {
        // The first is open.
        (CHANNEL + 1..=args.channels).try_for_each(|number| client.open_channel(number))
    })?;
    let opened = gauges.read()?;
    let ended = hold(args, &gauges, &control, opened)?;
    let window = Interval::between(&opened, &ended);
    let mut report = Report::new("connections", window).with_latency("open latency", latency);
    let opening = Interval::between(&before, &opened);
    let count = clients.len();
    report.figures.push(Figure {
        name: "opened",
        value: opening.rate(count as u64),
        unit: "per_s",
    });
    if let (Some(before), Some(opened), Some(ended)) = (before.broker, opened.broker, ended.broker)
    {
        let each = |rss_kib: u64| rss_kib.saturating_sub(before.rss_kib) as f64 / count as f64;
        for (name, value) in [
            ("each when new", each(opened.rss_kib)),
            ("each when idle", each(ended.rss_kib)),
        ] {
            let unit = "KiB";
            report.figures.push(Figure { name, value, unit });
        }
        let peak = opened.rss_kib.max(ended.rss_kib);
        report.broker_rss = Some((ended.rss_kib, peak));
    }
    close(clients);
    report.print(&args.output);
    Ok(true)
}

/// Opens so many connections with their channel, several at a time; gives how long each took, too.
pub(crate) fn open(
    count: usize,
    targets: &Targets,
    prepare: impl Fn(&mut Client) -> Result<()> + Sync,
) -> Result<(Vec<Client>, Latency)> {
    raise_file_limit();
    let one = |target: &Target, latency: &mut Latency| {
        let began = clock::now_ns();
        let mut client = Client::open(target)?;
        prepare(&mut client)?;
        latency.record(clock::now_ns() - began);
        Ok(client)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..OPENERS)
            .map(|opener| {
                scope.spawn(move || {
                    let mut latency = Latency::new()?;
                    let clients = (opener..count)
                        .step_by(OPENERS)
                        .map(|number| one(targets.of(number)?, &mut latency))
                        .collect::<Result<Vec<_>>>()?;
                    Ok((clients, latency))
                })
            })
            .collect();
        let mut all = (Vec::with_capacity(count), Latency::new()?);
        for thread in threads {
            let done: Result<_> = thread.join().map_err(|_| Error::Worker)?;
            let (clients, latency) = done?;
            all.0.extend(clients);
            all.1.merge(latency);
        }
        Ok(all)
    })
}

/// Closes them, several at a time.
pub(crate) fn close(mut clients: Vec<Client>) {
    let share = clients.len().div_ceil(OPENERS).max(1);
    thread::scope(|scope| {
        while !clients.is_empty() {
            let some = clients.split_off(clients.len().saturating_sub(share));
            scope.spawn(move || some.into_iter().for_each(Client::close));
        }
    });
}

fn hold(
    args: &ConnectionsArgs,
    gauges: &Gauges,
    control: &Control,
    opened: Moment,
) -> Result<Moment> {
    let live = Live::new(&args.output, Some(args.time as u64));
    let end = opened.time + (args.time * 1e9) as u64;
    let mut shown = opened;
    for second in 1.. {
        clock::sleep_until(end.min(opened.time + second * SECOND));
        let moment = gauges.read()?;
        if moment.time >= end || control.interrupted() {
            live.end();
            return Ok(moment);
        }
        live.show(second, true, &shown, &moment);
        shown = moment;
    }
    Ok(shown)
}

/// Each connection is a file; the soft limit of many systems is 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        eprintln!("note: cannot raise the limit of open files");
    }
}
