//! The command line: the commands, and the options that several of them share.

mod modes;
mod run;

pub(crate) use modes::{ChurnArgs, ConnectionsArgs, DiskArgs, PairsArgs, PingpongArgs, What};
pub(crate) use run::RunArgs;

use crate::cycle::Cycle;
use crate::error::{Error, Result};
use crate::pattern::Pattern;
use amq_protocol::uri::AMQPUri;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const OVERVIEW: &str = "\
Load generator for AMQP 0-9-1 brokers

It publishes, consumes and churns as cheaply as it can, so that what is measured is the broker: below
0.25 µs of processor time for each message in bulk. With --broker-pid it tells what the broker used.";

const EXAMPLES: &str = "\
Start here:
  How many small messages a second, and what does each cost?
    warrenperf run --broker-pid $(pidof warren)
  How long does a message take when the broker is not busy?
    warrenperf run --rate 1000 --time 30
  What does safety cost? Persistent, confirmed, acknowledged one by one:
    warrenperf run --size 1024 --durable --persistent --confirm 200 --prefetch 100 --ack-every 1
  Does anything get lost, doubled or out of order?
    warrenperf run --publishers 4 --consumers 4 --check
  How fast do clients come and go?
    warrenperf churn connections --workers 4
  How does it carry many small users?
    warrenperf pairs --pairs 1000 --rate 20

Each command has its own --help with examples.

Reading the results:
  An op is one publish or one delivery (in churn: one round). 'broker cpu' is its user and system time
  in the measured window divided by the ops: on a shared machine the steadiest figure there is.
  Latencies run from the moment a message was due to its delivery. With --rate that is its place in the
  timetable, so a stall of the broker shows in every message that was due in it (no coordinated
  omission). Without --rate the queue's length decides, and latency says little.
  Exit code: 0 fine; 1 the broker failed, or --check found something; 2 options that do not fit.";

/// Load generator for AMQP 0-9-1 brokers.
#[derive(Debug, Parser)]
#[command(name = "warrenperf", version, arg_required_else_help = true,
          about = OVERVIEW, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publishers against consumers, as fast as they go or at a set rate
    #[command(after_help = run::EXAMPLES)]
    Run(RunArgs),
    /// One message at a time, each waiting for the one before
    #[command(after_help = modes::PINGPONG_EXAMPLES)]
    Pingpong(PingpongArgs),
    /// Many queues, each with a publisher and a consumer of its own, at a low rate
    #[command(after_help = modes::PAIRS_EXAMPLES)]
    Pairs(PairsArgs),
    /// Many connections that do nothing: what they cost
    #[command(after_help = modes::CONNECTIONS_EXAMPLES)]
    Connections(ConnectionsArgs),
    /// Connections, channels, queues or bindings made and undone over and over
    #[command(after_help = modes::CHURN_EXAMPLES)]
    Churn(ChurnArgs),
    /// No broker: bare appends and fdatasync, what no confirm that means "on disk" can beat
    #[command(after_help = modes::DISK_EXAMPLES)]
    Disk(DiskArgs),
}

/// Where the broker is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct BrokerArgs {
    /// The broker, amqp:// or amqps://. Several times: connections go to them in turn
    #[arg(
        long,
        value_name = "URI",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f"
    )]
    pub(crate) uri: Vec<AMQPUri>,
    /// Virtual host, instead of the URI's
    #[arg(long, value_name = "NAME")]
    pub(crate) vhost: Option<String>,
    /// User, instead of the URI's
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Password, instead of the URI's
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Trust the certificates in this PEM file (amqps://)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Trust any certificate (amqps://)
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) tls_insecure: bool,
    /// Report the processor time and memory of this process
    #[arg(long, value_name = "PID")]
    pub(crate) broker_pid: Option<u32>,
}

/// What messages are like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct MessageArgs {
    /// Body size in bytes: a number, a range (100..2000), or a list (16,1024,100..200) taken in turn
    #[arg(long, value_name = "BYTES", default_value = "16")]
    pub(crate) size: Cycle,
    /// Publish persistent messages
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Priority: a number, a range or a list taken in turn, up to 255
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<Cycle>,
}

/// What ends a run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Length")]
pub(crate) struct LengthArgs {
    /// Measure for this long; by default 10, or without end with --count, or until the queues are
    /// empty without publishers
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) time: Option<f64>,
    /// End after this many messages of each publisher (of each consumer without publishers), or
    /// rounds of each worker
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Load before measuring; 1 by default, 0 with --count or without publishers
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) warmup: Option<f64>,
}

/// How results are told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// A queue's name, type and arguments.
#[derive(Debug, Args)]
#[command(next_help_heading = "Queues")]
pub(crate) struct QueueArgs {
    /// Queue name; %d stands for the queue's number, and is appended to several without it
    #[arg(long, value_name = "NAME", default_value = "warrenperf")]
    pub(crate) queue: Pattern,
    /// Declare durable queues (and exchanges)
    #[arg(long)]
    pub(crate) durable: bool,
    /// Argument of the queues, as x-max-priority=10; several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_argument)]
    pub(crate) queue_arg: Vec<(String, String)>,
    /// Do not delete the queues (and exchanges) at the end
    #[arg(long)]
    pub(crate) keep: bool,
}

impl LengthArgs {
    /// How long to measure, in nanoseconds, if time is what ends the run.
    pub(crate) fn time_ns(&self, endless_without: bool) -> Option<u64> {
        let default = (self.count.is_none() && !endless_without).then_some(10.0);
        self.time.or(default).map(nanos)
    }

    /// How long to warm up, in nanoseconds.
    pub(crate) fn warmup_ns(&self, publishers: bool) -> u64 {
        let default = if self.count.is_none() && publishers {
            1.0
        } else {
            0.0
        };
        nanos(self.warmup.unwrap_or(default))
    }
}

/// The largest body, and the most memory that the messages of one publisher may take encoded.
const SIZE_MAX: u64 = 128 << 20;

impl MessageArgs {
    fn verify(&self) -> Result<()> {
        if self.size.max().saturating_mul(self.size.len() as u64) > SIZE_MAX {
            return refuse("--size asks for more than 128 MiB of messages");
        }
        if self.priority.as_ref().is_some_and(|p| p.max() > 255) {
            return refuse("--priority goes up to 255");
        }
        Ok(())
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn refuse<T>(reason: &str) -> Result<T> {
    Err(Error::Usage(reason.to_owned()))
}

fn parse_seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=1e7).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds".into()),
    }
}

fn parse_rate(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("not a number of messages per second".into()),
    }
}

fn parse_argument(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if (1..=255).contains(&name.len()) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("not NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<()> {
        let words = line.split_whitespace();
        let cli = Cli::try_parse_from(["warrenperf"].into_iter().chain(words))
            .map_err(|error| Error::Usage(error.to_string()))?;
        match cli.command {
            Command::Run(args) => args.verify(),
            Command::Pingpong(args) => args.verify(),
            Command::Pairs(args) => args.verify(),
            Command::Churn(_) | Command::Connections(_) | Command::Disk(_) => Ok(()),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_of_the_help_are_commands() {
        let helps = [
            EXAMPLES,
            run::EXAMPLES,
            modes::PINGPONG_EXAMPLES,
            modes::PAIRS_EXAMPLES,
            modes::CONNECTIONS_EXAMPLES,
            modes::CHURN_EXAMPLES,
            modes::DISK_EXAMPLES,
        ];
        let mut seen = 0;
        for line in helps.iter().flat_map(|help| help.lines()) {
            if let Some(command) = line.trim().strip_prefix("warrenperf ") {
                let command = command.replace("$(pidof warren)", "1");
                parse(&command).unwrap_or_else(|error| panic!("{command}: {error}"));
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen}");
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for line in [
            "run --publishers 0 --consumers 0",
            "run --ack-every 20 --prefetch 10",
            "run --check --size 8..100",
            "run --check --consumers 0",
            "run --check --priority 0..9",
            "run --check --exchange x --routing-key k.%d --keys 2",
            "run --publishers 0 --rate 5",
            "run --queues 0",
            "run --routing-key x",
            "run --exchange x --keys 5",
            "run --rate 0",
            "run --time -1",
            "run --auto-ack --ack-every 1",
            "run --uri http://x",
            "run --priority 256",
            "run --size 1000000000",
            "run --queue-arg x",
            "pairs --pairs 0",
            "churn nothing",
        ] {
            assert!(matches!(parse(line), Err(Error::Usage(_))), "{line}");
        }
    }

    #[test]
    fn defaults_depend_on_what_ends_the_run() {
        let length = |time, count, warmup| LengthArgs {
            time,
            count,
            warmup,
        };
        let open = length(None, None, None);
        assert_eq!(open.time_ns(false), Some(10_000_000_000));
        assert_eq!(open.warmup_ns(true), 1_000_000_000);
        assert_eq!(open.time_ns(true), None);
        let counted = length(None, Some(5), None);
        assert_eq!(counted.time_ns(false), None);
        assert_eq!(counted.warmup_ns(true), 0);
        let both = length(Some(2.5), Some(5), Some(0.5));
        assert_eq!(both.time_ns(false), Some(2_500_000_000));
        assert_eq!(both.warmup_ns(false), 500_000_000);
    }
}
