//! `warrenperf run`: sets the workers up, watches them, sums up.

use crate::args::RunArgs;
use crate::check::{Findings, QueueCheck};
use crate::client::Client;
use crate::consumer::{self, Consumer, Received};
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::measure::{Gauges, Interval};
use crate::publisher::{self, Publisher, Sent};
use crate::report::Report;
use crate::shared::{Control, Phase, Progress};
use crate::stamp::STAMP_LEN;
use crate::target::Targets;
use crate::topology::Topology;
use crate::watch::{Ending, Watch};
use std::sync::{Arc, Barrier};
use std::thread::{self, ScopedJoinHandle};

/// Runs it all and prints the summary; false if the check found something.
pub(crate) fn run(args: &RunArgs) -> Result<bool> {
    args.verify()?;
    let topology = args.topology();
    let targets = Targets::new(&args.broker)?;
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let mut client = Client::open(targets.of(0)?)?;
    let backlog = topology.declare(&mut client)?;
    let outcome = work(args, &topology, &targets, &backlog, &control);
    // What someone else put there is not thrown away for an error of ours.
    let ours = outcome.is_ok() || backlog.iter().all(|count| *count == 0);
    if ours && !args.queues.keep {
        let deleted = topology.delete(&mut client);
        if outcome.is_ok() {
            deleted?;
        }
    }
    client.close();
    let report = outcome?;
    report.print(&args.output);
    Ok(report.findings.is_none_or(|findings| findings.clean()))
}

/// Refuses or mentions messages from before.
fn look_at_backlog(args: &RunArgs, backlog: u64) -> Result<()> {
    if backlog == 0 || args.load.publishers == 0 {
        return Ok(());
    }
    if args.load.check {
        return Err(Error::Usage(format!(
            "--check needs empty queues, and there are {backlog} messages in them"
        )));
    }
    eprintln!("note: there are {backlog} messages in the queues from before");
    Ok(())
}

fn work(
    args: &RunArgs,
    topology: &Topology,
    targets: &Targets,
    backlog: &[u64],
    control: &Control,
) -> Result<Report> {
    look_at_backlog(args, backlog.iter().sum())?;
    let gauges = Gauges::new(
        args.load.publishers,
        args.load.consumers,
        args.broker.broker_pid,
    );
    let queues: Vec<QueueCheck> = topology
        .queues
        .iter()
        .map(|_| QueueCheck::default())
        .collect();
    let publishers = publishers(args, topology, targets, control, &gauges)?;
    let consumers = consumers(args, topology, targets, &queues, control, &gauges)?;
    let gate = Barrier::new(publishers.len() + consumers.len() + 1);
    let ending = ending(args, topology, backlog);
    let mut watch = Watch::new(control, &gauges, ending, &args.output);
    watch.arm()?;

    thread::scope(|scope| {
        let sending: Vec<_> = publishers
            .into_iter()
            .zip(&gauges.publishers)
            .map(|(one, progress)| {
                let job = || one.work();
                let gate = &gate;
                scope.spawn(move || guarded(gate, control, progress, job))
            })
            .collect();
        let receiving: Vec<_> = consumers
            .into_iter()
            .zip(&gauges.consumers)
            .map(|(one, progress)| {
                let job = || one.work();
                let gate = &gate;
                scope.spawn(move || guarded(gate, control, progress, job))
            })
            .collect();
        gate.wait();
        let watched = watch.measure();
        control.set(Phase::Drain);
        if args.load.check && watched.is_ok() {
            watch.await_publishers();
        } else {
            control.set(Phase::Stop);
        }
        let sent = join(sending);
        if let (true, Ok(sent)) = (args.load.check, &sent) {
            watch.drain(expected(args, topology, sent), args.load.drain_timeout);
        }
        control.set(Phase::Stop);
        let received = join(receiving);
        // What stopped a worker tells more than what the watch saw of it.
        let (sent, received) = (sent?, received?);
        let (from, to) = watched?;
        let mut report = report(args, topology, &queues, sent, received)?;
        report.window = Interval::between(&from, &to);
        report.broker_rss = watch.broker_rss(&to);
        Ok(report)
    })
}

/// Runs a worker once all are ready, and tells when it is through or has failed.
fn guarded<T>(
    gate: &Barrier,
    control: &Control,
    progress: &Progress,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    gate.wait();
    let outcome = work();
    if outcome.is_err() {
        control.fail();
    }
    progress.finish();
    outcome
}

fn join<T>(handles: Vec<ScopedJoinHandle<'_, Result<T>>>) -> Result<Vec<T>> {
    handles
        .into_iter()
        .map(|handle| handle.join().map_err(|_| Error::Worker)?)
        .collect()
}

fn publishers<'a>(
    args: &RunArgs,
    topology: &Topology,
    targets: &Targets,
    control: &'a Control,
    gauges: &'a Gauges,
) -> Result<Vec<Publisher<'a>>> {
    let one = |(id, progress): (u16, &'a Progress)| {
        let job = publisher::Job {
            id,
            shape: args.shape(topology, id.into()),
            window: args.load.confirm.map(|window| window as usize),
            rate: args.load.rate,
            limit: args.length.count.unwrap_or(u64::MAX),
        };
        let client = Client::open(targets.of(id.into())?)?;
        Publisher::new(client, job, control, progress)
    };
    (0..).zip(&gauges.publishers).map(one).collect()
}

fn consumers<'a>(
    args: &RunArgs,
    topology: &Topology,
    targets: &Targets,
    checks: &'a [QueueCheck],
    control: &'a Control,
    gauges: &'a Gauges,
) -> Result<Vec<Consumer<'a>>> {
    let queues = topology.queues.iter().zip(checks).cycle();
    let one = |(number, ((queue, check), progress)): (
        usize,
        ((&String, &'a QueueCheck), &'a Progress),
    )| {
        let drain = args.load.publishers == 0;
        let job = consumer::Job {
            queue: queue.clone(),
            prefetch: args.load.prefetch,
            ack_every: args.load.ack_every,
            timed: !drain && args.message.size.min() >= STAMP_LEN as u64,
            publishers: args.load.publishers,
            relaxed: args.load.ack_every == 0
                && args.load.rate.is_none()
                && args.load.confirm.is_none(),
            limit: args.length.count.filter(|_| drain).unwrap_or(u64::MAX),
        };
        let check = args.load.check.then_some(check);
        let client = Client::open(targets.of(number)?)?;
        Consumer::new(client, job, check, control, progress)
    };
    let numbered = queues.zip(&gauges.consumers).enumerate();
    numbered.map(one).collect()
}

/// Whether any consumer takes from the queue at `at`.
fn consumed(args: &RunArgs, at: usize) -> bool {
    at < usize::from(args.load.consumers)
}

/// How many deliveries the messages `sent` lead to.
fn deliveries(args: &RunArgs, topology: &Topology, sent: &[(u16, u64)]) -> u64 {
    let queues = (0..topology.queues.len()).filter(|at| consumed(args, *at));
    queues
        .flat_map(|at| {
            let routed = sent.iter();
            routed.filter(move |(id, _)| topology.reaches((*id).into(), at))
        })
        .map(|(_, count)| count)
        .sum()
}

fn expected(args: &RunArgs, topology: &Topology, sent: &[Sent]) -> u64 {
    let sent: Vec<_> = sent.iter().map(|s| (s.id, s.messages)).collect();
    deliveries(args, topology, &sent)
}

/// What ends the measured window.
fn ending(args: &RunArgs, topology: &Topology, backlog: &[u64]) -> Ending {
    let drain = args.load.publishers == 0;
    let waiting: u64 = (backlog.iter().enumerate())
        .filter(|(at, _)| consumed(args, *at))
        .map(|(_, count)| count)
        .sum();
    let sent = |count| {
        (0..args.load.publishers)
            .map(|id| (id, count))
            .collect::<Vec<_>>()
    };
    let deliveries = match args.length.count {
        _ if drain => Some(waiting),
        Some(count) => Some(waiting + deliveries(args, topology, &sent(count))),
        None => None,
    };
    Ending {
        warmup: args.length.warmup_ns(!drain),
        time: args.length.time_ns(drain),
        deliveries,
    }
}

fn report(
    args: &RunArgs,
    topology: &Topology,
    queues: &[QueueCheck],
    sent: Vec<Sent>,
    received: Vec<Received>,
) -> Result<Report> {
    let mut findings = Findings::default();
    for (at, queue) in queues
        .iter()
        .enumerate()
        .filter(|(at, _)| consumed(args, *at))
    {
        let routed = sent.iter().filter(|s| topology.reaches(s.id.into(), at));
        let routed: Vec<_> = routed.map(|s| (s.id, s.messages)).collect();
        findings.lost += queue.lost(&routed);
    }
    let (mut latency, mut confirm_latency) = (Latency::new()?, Latency::new()?);
    sent.into_iter()
        .for_each(|s| confirm_latency.merge(s.latency));
    for one in received {
        findings.add(&one.findings);
        latency.merge(one.latency);
    }
    let mut report = Report::new("run", Interval::default())
        .with_latency("latency", latency)
        .with_latency("confirm latency", confirm_latency);
    report.findings = args.load.check.then_some(findings);
    Ok(report)
}
