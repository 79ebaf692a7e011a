//! `warrenperf pingpong`: one message at a time, each waiting for the one before.

use crate::args::PingpongArgs;
use crate::client::{CHANNEL, Client};
use crate::clock;
use crate::consumer;
use crate::delivery::{Assembler, Event};
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::link::Fill;
use crate::measure::{Gauges, Interval};
use crate::report::Report;
use crate::shared::{Control, Progress};
use crate::target::Targets;
use crate::template::{Batch, Shape};
use crate::topology::Topology;
use crate::wire;
use amq_protocol::protocol::{AMQPClass, confirm};
use std::sync::Arc;

/// How many times a tenth of a second an answer may take.
const PATIENCE_TRIES: u32 = 300;

/// Runs it and prints the summary.
pub(crate) fn run(args: &PingpongArgs) -> Result<bool> {
    args.verify()?;
    let topology = args.topology();
    let targets = Targets::new(&args.broker)?;
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let mut client = Client::open(targets.of(0)?)?;
    let ready: u64 = topology.declare(&mut client)?.iter().sum();
    let outcome = if ready > 0 && !args.confirm {
        Err(Error::Usage(format!(
            "pingpong needs an empty queue, and there are {ready} messages in it"
        )))
    } else {
        Game::new(args, &topology, &targets).and_then(|game| game.play(args, &control))
    };
    // A queue that held someone's messages is not ours to delete.
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

/// Who waits for whom.
struct Game {
    batch: Batch,
    publisher: Client,
    /// None: the publisher waits for its confirm.
    consumer: Option<Client>,
    assembler: Assembler,
    gauges: Gauges,
}

impl Game {
    fn new(args: &PingpongArgs, topology: &Topology, targets: &Targets) -> Result<Self> {
        let mut publisher = Client::open(targets.of(0)?)?;
        let (exchange, routing_keys) = topology.route(0);
        let consumer = if args.confirm {
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
            publisher.call(CHANNEL, AMQPClass::Confirm(select), "confirm.select")?;
            None
        } else {
            let mut consumer = Client::open(targets.of(1)?)?;
            for queue in &topology.queues {
                consumer::consume(&mut consumer, queue, true)?;
            }
            Some(consumer)
        };
        let shape = Shape::new(&args.message, exchange, routing_keys);
        Ok(Self {
            batch: Batch::new(&shape, CHANNEL, publisher.frame_max),
            publisher,
            consumer,
            assembler: Assembler::default(),
            gauges: Gauges::new(1, 1, args.broker.broker_pid),
        })
    }

    /// Warm-up and measured window.
    fn play(mut self, args: &PingpongArgs, control: &Control) -> Result<Report> {
        let mut latency = Latency::new()?;
        let warmup = args.length.warmup_ns(true);
        if warmup > 0 {
            self.rounds(control, clock::now_ns() + warmup, u64::MAX, &mut latency)?;
            latency = Latency::new()?;
        }
        let from = self.gauges.read()?;
        let end = (args.length.time_ns(false)).map_or(u64::MAX, |time| from.time + time);
        let count = args.length.count.unwrap_or(u64::MAX);
        self.rounds(control, end, count, &mut latency)?;
        let to = self.gauges.read()?;
        self.publisher.close_channel(CHANNEL)?;
        self.publisher.close();
        if let Some(consumer) = self.consumer {
            consumer.close();
        }
        let name = match args.confirm {
            true => "confirm latency",
            false => "latency",
        };
        let window = Interval::between(&from, &to);
        let mut report = Report::new("pingpong", window).with_latency(name, latency);
        report.broker_rss = to.broker.map(|usage| (usage.rss_kib, usage.rss_kib));
        Ok(report)
    }

    fn rounds(
        &mut self,
        control: &Control,
        end: u64,
        count: u64,
        latency: &mut Latency,
    ) -> Result<()> {
        for seq in 0..count {
            let sent = clock::now_ns();
            if sent >= end || control.interrupted() {
                break;
            }
            let bytes = self.batch.fill(0, seq, 1, |_| sent);
            self.publisher.link.write_all(bytes, PATIENCE_TRIES)?;
            count_one(self.gauges.publishers.first(), sent);
            self.await_answer()?;
            latency.record(clock::now_ns() - sent);
        }
        Ok(())
    }

    /// Waits for the delivery or the confirm.
    fn await_answer(&mut self) -> Result<()> {
        let mut tries = PATIENCE_TRIES;
        let waiting = self.consumer.as_mut().unwrap_or(&mut self.publisher);
        loop {
            while let Some(frame) = waiting.link.next_frame()? {
                if let Some((wire::BASIC_ACK, _)) = frame.method() {
                    if let Some(progress) = self.gauges.publishers.first() {
                        progress.add_confirms(1, 0, 0);
                    }
                    return Ok(());
                }
                if let Some((wire::BASIC_NACK, _)) = frame.method() {
                    return Err(Error::Protocol("the broker refused a message".into()));
                }
                if let Event::Delivered(_) = self.assembler.take(frame)? {
                    count_one(self.gauges.consumers.first(), 0);
                    return Ok(());
                }
            }
            if waiting.link.fill()? == Fill::Idle {
                tries = tries.checked_sub(1).ok_or(Error::Timeout("a message"))?;
            }
        }
    }
}

fn count_one(progress: Option<&Progress>, now: u64) {
    if let Some(progress) = progress {
        progress.add(1, now);
    }
}
