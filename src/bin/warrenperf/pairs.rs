//! `warrenperf pairs`: many queues, each with a publisher and a consumer of its own, at a low rate.
//!
//! One thread serves all connections: it sends what is due, and reads where something came.

use crate::args::PairsArgs;
use crate::client::{CHANNEL, Client};
use crate::clock;
use crate::connections;
use crate::consumer;
use crate::delivery::{Assembler, Event};
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::link::Fill;
use crate::measure::{Gauges, Interval};
use crate::pacer::Pacer;
use crate::report::Report;
use crate::shared::{Control, Phase, Progress};
use crate::target::Targets;
use crate::template::{Batch, Shape};
use crate::topology::Topology;
use crate::watch::{Ending, Watch};
use crate::wire;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How many times a tenth of a second a write may take.
const PATIENCE_TRIES: u32 = 100;

/// The longest wait before the thread looks around: 10 ms.
const LOOK: u64 = 10_000_000;

/// Most sockets looked at after one wait.
const EVENTS: usize = 256;

/// Runs it and prints the summary.
pub(crate) fn run(args: &PairsArgs) -> Result<bool> {
    args.verify()?;
    let topology = args.topology();
    let targets = Targets::new(&args.broker)?;
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let mut client = Client::open(targets.of(0)?)?;
    let ready: u64 = topology.declare(&mut client)?.iter().sum();
    let outcome = match ready {
        0 => work(args, &topology, &targets, &control),
        ready => Err(Error::Usage(format!(
            "pairs needs empty queues, and there are {ready} messages in them"
        ))),
    };
    // Queues that held someone's messages are not ours to delete.
    if !args.queues.keep && ready == 0 {
        let deleted = topology.delete(&mut client);
        if outcome.is_ok() {
            deleted?;
        }
    }
    client.close();
    outcome?.print(&args.output);
    Ok(true)
}

fn work(
    args: &PairsArgs,
    topology: &Topology,
    targets: &Targets,
    control: &Control,
) -> Result<Report> {
    let gauges = Gauges::new(1, 1, args.broker.broker_pid);
    let (Some(sent), Some(received)) = (gauges.publishers.first(), gauges.consumers.first()) else {
        return Err(Error::Worker);
    };
    let crowd = Crowd::new(args, topology, targets)?;
    let ending = Ending {
        warmup: args.length.warmup_ns(true),
        time: args.length.time_ns(false),
        deliveries: (args.length.count).map(|count| count * u64::from(args.pairs)),
    };
    let mut watch = Watch::new(control, &gauges, ending, &args.output);
    watch.arm()?;
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            let outcome = crowd.serve(args, control, sent, received);
            if outcome.is_err() {
                control.fail();
            }
            sent.finish();
            outcome
        });
        let watched = watch.measure();
        control.set(Phase::Stop);
        let latency = serving.join().map_err(|_| Error::Worker)??;
        let (from, to) = watched?;
        let window = Interval::between(&from, &to);
        let mut report = Report::new("pairs", window).with_latency("latency", latency);
        report.broker_rss = watch.broker_rss(&to);
        Ok(report)
    })
}

/// All publishers and consumers.
struct Crowd {
    publishers: Vec<(Client, Batch)>,
    consumers: Vec<(Client, Assembler)>,
    /// Tells which consumers have something.
    epoll: OwnedFd,
}

impl Crowd {
    fn new(args: &PairsArgs, topology: &Topology, targets: &Targets) -> Result<Self> {
        let count = args.pairs.into();
        let (consumers, _) = connections::open(count, targets, |_| Ok(()))?;
        let (publishers, _) = connections::open(count, targets, |_| Ok(()))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let batch = |(at, client): (usize, Client)| {
            let (exchange, routing_keys) = topology.route(at);
            let shape = Shape::new(&args.message, exchange, routing_keys);
            let batch = Batch::single(&shape, CHANNEL, client.frame_max);
            (client, batch)
        };
        let mut crowd = Self {
            publishers: publishers.into_iter().enumerate().map(batch).collect(),
            consumers: Vec::with_capacity(count),
            epoll,
        };
        for (at, (mut client, queue)) in consumers.into_iter().zip(&topology.queues).enumerate() {
            consumer::consume(&mut client, queue, !args.ack)?;
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(
                &crowd.epoll,
                client.link.socket(),
                data,
                epoll::EventFlags::IN,
            )
            .map_err(std::io::Error::from)?;
            crowd.consumers.push((client, Assembler::default()));
        }
        Ok(crowd)
    }

    fn serve(
        mut self,
        args: &PairsArgs,
        control: &Control,
        sent: &Progress,
        received: &Progress,
    ) -> Result<Latency> {
        clock::tighten_sleep();
        let mut latency = Latency::new()?;
        let pairs = u64::from(args.pairs);
        let limit = args.length.count.map_or(u64::MAX, |count| count * pairs);
        let pacer = Pacer::new(clock::now_ns(), args.rate * pairs as f64);
        let mut events = Vec::with_capacity(EVENTS);
        let mut seq = 0;
        while control.phase() < Phase::Stop {
            let now = clock::now_ns();
            let due = match control.phase() < Phase::Drain {
                true => pacer.ready(seq, now).min(limit - seq),
                false => 0,
            };
            for seq in seq..seq + due {
                self.publish(seq, &pacer)?;
            }
            if due > 0 {
                seq += due;
                sent.add(due, now);
            }
            if seq == limit {
                sent.finish();
            }
            let next = pacer.due(seq).saturating_sub(clock::now_ns()).min(LOOK);
            self.wait(&mut events, next)?;
            let timed = control.phase() == Phase::Measure;
            for event in events.drain(..) {
                self.receive(
                    event.data.u64(),
                    args.ack,
                    timed.then_some(&mut latency),
                    received,
                )?;
            }
        }
        let publishers = self.publishers.into_iter().map(|(client, _)| client);
        let consumers = self.consumers.into_iter().map(|(client, _)| client);
        connections::close(publishers.chain(consumers).collect());
        Ok(latency)
    }

    /// The pairs take turns.
    fn publish(&mut self, seq: u64, pacer: &Pacer) -> Result<()> {
        let pairs = self.publishers.len().max(1) as u64;
        if let Some((client, batch)) = self.publishers.get_mut((seq % pairs) as usize) {
            let bytes = batch.fill(0, seq, 1, |seq| pacer.due(seq));
            client.link.write_all(bytes, PATIENCE_TRIES)?;
        }
        Ok(())
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, nanos: u64) -> Result<()> {
        let timeout = Timespec::try_from(Duration::from_nanos(nanos)).ok();
        match epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Error::Io(error.into())),
        }
    }

    fn receive(
        &mut self,
        at: u64,
        ack: bool,
        mut latency: Option<&mut Latency>,
        progress: &Progress,
    ) -> Result<()> {
        let Some((client, assembler)) = self.consumers.get_mut(at as usize) else {
            return Ok(());
        };
        let mut acks = Vec::new();
        while client.link.fill_now()? == Fill::More {
            let now = clock::now_ns();
            let mut count = 0;
            while let Some(frame) = client.link.next_frame()? {
                match assembler.take(frame)? {
                    Event::Nothing => continue,
                    Event::Delivered(delivery) => {
                        count += 1;
                        if let (Some(latency), Some(stamp)) = (&mut latency, delivery.stamp) {
                            latency.record(now.saturating_sub(stamp.time));
                        }
                        if ack {
                            wire::put_ack(&mut acks, CHANNEL, delivery.tag, false);
                        }
                    }
                    Event::Cancelled => {
                        return Err(Error::Protocol("the queue is gone: basic.cancel".into()));
                    }
                }
            }
            progress.add(count, now);
        }
        client.link.write_all(&acks, PATIENCE_TRIES)
    }
}
