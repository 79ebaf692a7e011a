//! `warrenperf run`: sets the workers up, watches them, sums up.

use crate::args::RunArgs;
use crate::check::{Findings, QueueCheck};
use crate::client::Client;
use crate::consumer::{self, Consumer, Received};
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::measure::{Gauges, Interval, Moment};
use crate::publisher::{self, Publisher, Sent};
use crate::report::Report;
use crate::shared::{Control, Phase, Progress};
use crate::stamp::STAMP_LEN;
use crate::template::Shape;
use crate::topology::Topology;
use crate::watch::{Ending, Watch};
use std::sync::{Arc, Barrier};
use std::thread::{self, ScopedJoinHandle};

/// Runs it all and prints the summary; false if the check found something.
pub(crate) fn run(args: &RunArgs) -> Result<bool> {
    args.verify()?;
    let topology = args.topology();
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let mut client = Client::open(&args.common.uri)?;
    let backlog = topology.declare(&mut client)?;
    let outcome = work(args, &topology, &backlog, &control);
    // What someone else put there is not thrown away for an error of ours.
    let ours = outcome.is_ok() || backlog.iter().all(|count| *count == 0);
    if ours && !args.common.keep {
        let deleted = topology.delete(&mut client);
        if outcome.is_ok() {
            deleted?;
        }
    }
    client.close();
    let report = outcome?;
    report.print(args.common.json);
    Ok(report.findings.is_none_or(|findings| findings.clean()))
}

/// Refuses or mentions messages from before.
fn look_at_backlog(args: &RunArgs, backlog: u64) -> Result<()> {
    if backlog == 0 || args.publishers == 0 {
        return Ok(());
    }
    if args.check {
        return Err(Error::Usage(format!(
            "--check needs empty queues, and there are {backlog} messages in them"
        )));
    }
    eprintln!("note: there are {backlog} messages in the queues from before");
    Ok(())
}

fn work(args: &RunArgs, topology: &Topology, backlog: &[u64], control: &Control) -> Result<Report> {
    look_at_backlog(args, backlog.iter().sum())?;
    let gauges = Gauges::new(args.publishers, args.consumers, args.common.broker_pid);
    let queues: Vec<QueueCheck> = topology
        .queues
        .iter()
        .map(|_| QueueCheck::default())
        .collect();
    let publishers = publishers(args, topology, control, &gauges)?;
    let consumers = consumers(args, topology, &queues, control, &gauges)?;
    let gate = Barrier::new(publishers.len() + consumers.len() + 1);
    let ending = ending(args, topology, backlog);
    let mut watch = Watch::new(control, &gauges, ending, &args.common);
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
        if args.check && watched.is_ok() {
            watch.await_publishers();
        } else {
            control.set(Phase::Stop);
        }
        let sent = join(sending);
        if let (true, Ok(sent)) = (args.check, &sent) {
            watch.drain(expected(args, topology, sent), args.drain_timeout);
        }
        control.set(Phase::Stop);
        let received = join(receiving);
        // What stopped a worker tells more than what the watch saw of it.
        let (sent, received) = (sent?, received?);
        let (from, to) = watched?;
        let bounds = (from, to, watch.peak_rss());
        report(args, topology, &queues, bounds, sent, received)
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
    control: &'a Control,
    gauges: &'a Gauges,
) -> Result<Vec<Publisher<'a>>> {
    let one = |(id, progress): (u16, &'a Progress)| {
        let (exchange, routing_key) = topology.route(id.into());
        let job = publisher::Job {
            id,
            shape: Shape {
                exchange,
                routing_key,
                size: args.common.size,
                persistent: args.common.persistent,
            },
            window: args.confirm.map(|window| window as usize),
            rate: args.rate,
            limit: args.common.count.unwrap_or(u64::MAX),
        };
        Publisher::new(Client::open(&args.common.uri)?, job, control, progress)
    };
    (0..).zip(&gauges.publishers).map(one).collect()
}

fn consumers<'a>(
    args: &RunArgs,
    topology: &Topology,
    checks: &'a [QueueCheck],
    control: &'a Control,
    gauges: &'a Gauges,
) -> Result<Vec<Consumer<'a>>> {
    let queues = topology.queues.iter().zip(checks).cycle();
    let one = |((queue, check), progress): ((&String, &'a QueueCheck), &'a Progress)| {
        let drain = args.publishers == 0;
        let job = consumer::Job {
            queue: queue.clone(),
            prefetch: args.prefetch,
            ack_every: args.ack_every,
            timed: !drain && args.common.size >= STAMP_LEN,
            publishers: args.publishers,
            relaxed: args.ack_every == 0 && args.rate.is_none() && args.confirm.is_none(),
            limit: args.common.count.filter(|_| drain).unwrap_or(u64::MAX),
        };
        let check = args.check.then_some(check);
        Consumer::new(
            Client::open(&args.common.uri)?,
            job,
            check,
            control,
            progress,
        )
    };
    queues.zip(&gauges.consumers).map(one).collect()
}

/// Whether any consumer takes from the queue at `at`.
fn consumed(args: &RunArgs, at: usize) -> bool {
    at < usize::from(args.consumers)
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
    let drain = args.publishers == 0;
    let waiting: u64 = (backlog.iter().enumerate())
        .filter(|(at, _)| consumed(args, *at))
        .map(|(_, count)| count)
        .sum();
    let sent = |count| {
        (0..args.publishers)
            .map(|id| (id, count))
            .collect::<Vec<_>>()
    };
    let deliveries = match args.common.count {
        _ if drain => Some(waiting),
        Some(count) => Some(waiting + deliveries(args, topology, &sent(count))),
        None => None,
    };
    Ending {
        warmup: args.common.warmup_ns(!drain),
        time: args.common.time_ns(drain),
        deliveries,
    }
}

fn report(
    args: &RunArgs,
    topology: &Topology,
    queues: &[QueueCheck],
    (from, to, peak): (Moment, Moment, u64),
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
    Ok(Report {
        mode: "run",
        window: Interval::between(&from, &to),
        latency: latency.summary(),
        confirm_latency: confirm_latency.summary(),
        broker_rss: to
            .broker
            .map(|usage| (usage.rss_kib, peak.max(usage.rss_kib))),
        findings: args.check.then_some(findings),
    })
}
