//! `warrenperf churn`: connections, channels, queues or bindings made and undone over and over.

use crate::args::{ChurnArgs, What};
use crate::client::{CHANNEL, Client};
use crate::clock;
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::measure::{Gauges, Interval};
use crate::report::Report;
use crate::shared::{Control, Phase, Progress};
use crate::target::{Target, Targets};
use crate::topology;
use crate::watch::{Ending, Watch};
use amq_protocol::types::FieldTable;
use std::sync::Arc;
use std::thread;

/// What bindings go from and to.
const EXCHANGE: &str = "warrenperf-churn";
const QUEUE: &str = "warrenperf-churn";

/// A channel that is not used for anything else.
const SPARE_CHANNEL: u16 = CHANNEL + 1;

/// Runs it and prints the summary.
pub(crate) fn run(args: &ChurnArgs) -> Result<bool> {
    let targets = Targets::new(&args.broker)?;
    let control = Arc::new(Control::default());
    control.watch_interrupt();
    let mut client = Client::open(targets.of(0)?)?;
    let bindings = args.what == What::Bindings;
    if bindings {
        topology::declare_exchange(&mut client, EXCHANGE, &args.exchange_type, args.durable)?;
        topology::declare_queue(&mut client, QUEUE, args.durable, FieldTable::default())?;
    }
    let outcome = churn(args, &targets, &control);
    if bindings {
        let deleted = topology::delete_queue(&mut client, QUEUE)
            .and_then(|()| topology::delete_exchange(&mut client, EXCHANGE));
        if outcome.is_ok() {
            deleted?;
        }
    }
    client.close();
    outcome?.print(&args.output);
    Ok(true)
}

fn churn(args: &ChurnArgs, targets: &Targets, control: &Control) -> Result<Report> {
    let gauges = Gauges::of_workers(args.workers, args.broker.broker_pid);
    let workers: Vec<Worker<'_>> = (gauges.workers.iter().enumerate())
        .map(|(number, _)| Worker::new(args, targets.of(number)?, number))
        .collect::<Result<_>>()?;
    let ending = Ending {
        warmup: args.length.warmup_ns(true),
        time: args.length.time_ns(false),
        deliveries: None,
    };
    let mut watch = Watch::new(control, &gauges, ending, &args.output);
    watch.arm()?;
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .zip(&gauges.workers)
            .map(|(worker, progress)| {
                scope.spawn(move || {
                    let outcome = worker.work(args.length.count, control, progress);
                    if outcome.is_err() {
                        control.fail();
                    }
                    progress.finish();
                    outcome
                })
            })
            .collect();
        let watched = watch.measure();
        control.set(Phase::Stop);
        let mut latency = Latency::new()?;
        for thread in threads {
            latency.merge(thread.join().map_err(|_| Error::Worker)??);
        }
        let (from, to) = watched?;
        let window = Interval::between(&from, &to);
        let mut report = Report::new("churn", window).with_latency("round latency", latency);
        report.broker_rss = watch.broker_rss(&to);
        Ok(report)
    })
}

/// One that goes round.
struct Worker<'a> {
    args: &'a ChurnArgs,
    target: &'a Target,
    /// None if each round has a connection of its own.
    client: Option<Client>,
    number: usize,
}

impl<'a> Worker<'a> {
    fn new(args: &'a ChurnArgs, target: &'a Target, number: usize) -> Result<Self> {
        let client = match args.what {
            What::Connections => None,
            What::Channels | What::Queues | What::Bindings => Some(Client::open(target)?),
        };
        Ok(Self {
            args,
            target,
            client,
            number,
        })
    }

    fn work(
        mut self,
        limit: Option<u64>,
        control: &Control,
        progress: &Progress,
    ) -> Result<Latency> {
        let mut latency = Latency::new()?;
        for turn in 0..limit.unwrap_or(u64::MAX) {
            if control.phase() >= Phase::Drain {
                break;
            }
            let began = clock::now_ns();
            self.round(turn)?;
            let ended = clock::now_ns();
            if control.phase() == Phase::Measure {
                latency.record(ended - began);
            }
            progress.add(1, ended);
        }
        if let Some(client) = self.client {
            client.close();
        }
        Ok(latency)
    }

    fn round(&mut self, turn: u64) -> Result<()> {
        let number = self.number;
        let Some(client) = &mut self.client else {
            return Client::open(self.target)?.close_in_order();
        };
        match self.args.what {
            What::Channels => {
                client.open_channel(SPARE_CHANNEL)?;
                client.close_channel(SPARE_CHANNEL)
            }
            What::Bindings => {
                let key = format!("worker{number}.turn{turn}");
                topology::bind(client, QUEUE, EXCHANGE, &key)?;
                topology::unbind(client, QUEUE, EXCHANGE, &key)
            }
            What::Queues | What::Connections => {
                let name = format!("warrenperf-churn-{number}-{turn}");
                let durable = self.args.durable;
                topology::declare_queue(client, &name, durable, FieldTable::default())?;
                topology::delete_queue(client, &name)
            }
        }
    }
}
