//! The command line.

use crate::client::Target;
use crate::error::{Error, Result};
use crate::stamp::STAMP_LEN;
use crate::topology::Topology;
use clap::{Args, Parser, Subcommand};

const RUN_EXAMPLES: &str = "\
Examples:
  One publisher, one consumer, 16-byte transient messages, for ten seconds:
    warrenperf run
  Safe publishing of 1 KiB messages with at most 200 unconfirmed:
    warrenperf run --size 1024 --durable --persistent --confirm 200 --prefetch 100 --ack-every 1
  Fanout to five queues, with a check for loss, duplicates and order:
    warrenperf run --exchange fan --exchange-type fanout --queues 5 --consumers 5 --check
  Latency at 5000 messages a second:
    warrenperf run --rate 5000 --time 30
  Fill a queue, then drain it:
    warrenperf run --consumers 0 --queue backlog --durable --persistent --keep --count 1000000
    warrenperf run --publishers 0 --queue backlog --durable --ack-every 1 --prefetch 100";

const PINGPONG_EXAMPLES: &str = "\
Examples:
  The time from a publish to its delivery, one at a time:
    warrenperf pingpong
  The time from a durable publish to its confirm:
    warrenperf pingpong --confirm --size 1024 --durable --persistent";

/// Load generator for AMQP 0-9-1 brokers.
#[derive(Debug, Parser)]
#[command(name = "warrenperf", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publishers against consumers, as fast as they go or at a set rate.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// One message at a time, each waiting for the one before.
    #[command(after_help = PINGPONG_EXAMPLES)]
    Pingpong(PingpongArgs),
}

/// Options of every mode.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// The broker
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub(crate) uri: Target,
    /// Queue name
    #[arg(long, value_name = "NAME", default_value = "warrenperf")]
    pub(crate) queue: String,
    /// Body size in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    pub(crate) size: usize,
    /// Publish persistent messages
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Declare a durable queue (and exchange)
    #[arg(long)]
    pub(crate) durable: bool,
    /// Measure for this long; by default 10, or without end with --count, or until the queue is
    /// empty without publishers
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) time: Option<f64>,
    /// End after this many messages of each publisher (of each consumer without publishers)
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Load before measuring; 1 by default, 0 with --count or without publishers
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) warmup: Option<f64>,
    /// Report the processor time and memory of this process
    #[arg(long, value_name = "PID")]
    pub(crate) broker_pid: Option<u32>,
    /// Do not delete the queue (and exchange) at the end
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Number of publishers, each with its own connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) publishers: u16,
    /// Number of consumers, each with its own connection; they spread over the queues
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) consumers: u16,
    /// Number of queues, named NAME-1 to NAME-N when more than one
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queues: u16,
    /// Publish to this exchange, with every queue bound to it, instead of straight to the queues
    #[arg(long, value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// Type of the exchange
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "direct",
        requires = "exchange"
    )]
    pub(crate) exchange_type: String,
    /// Routing key
    #[arg(long, value_name = "KEY", default_value = "key", requires = "exchange")]
    pub(crate) routing_key: String,
    /// Key to bind the queues with; the routing key by default
    #[arg(long, value_name = "KEY", requires = "exchange")]
    pub(crate) binding_key: Option<String>,
    /// Use publisher confirms, with at most this many unconfirmed per publisher
    #[arg(long, value_name = "WINDOW", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) confirm: Option<u32>,
    /// At most this many unacknowledged per consumer; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) prefetch: u16,
    /// Acknowledge every Nth message and all before it; 1: each by itself; 0: automatic
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) ack_every: u32,
    /// Let the broker take deliveries as acknowledged, as by default and with --ack-every 0.
    /// If there is neither --rate nor --confirm, consumers then let deliveries gather for up to
    /// a millisecond to save wake-ups
    #[arg(long, conflicts_with = "ack_every")]
    pub(crate) auto_ack: bool,
    /// Messages per second of each publisher
    #[arg(long, value_name = "MSGS_PER_S", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Check for loss, duplicates and order; exit with 1 if there is any
    #[arg(long)]
    pub(crate) check: bool,
    /// After the publishers stop, wait this long without progress for what --check misses
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(crate) drain_timeout: f64,
}

/// Options of `pingpong`.
#[derive(Debug, Args)]
pub(crate) struct PingpongArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Wait for the confirm of each message instead of its delivery
    #[arg(long)]
    pub(crate) confirm: bool,
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

impl CommonArgs {
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

    fn verify(&self) -> Result<()> {
        check_name("--queue", &self.queue, 240)
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn check_name(option: &str, name: &str, longest: usize) -> Result<()> {
    if name.len() > longest {
        return Err(Error::Usage(format!(
            "{option} is longer than {longest} bytes"
        )));
    }
    Ok(())
}

impl RunArgs {
    /// Refuses options that do not fit together.
    pub(crate) fn verify(&self) -> Result<()> {
        self.common.verify()?;
        for (option, name) in [
            ("--exchange", self.exchange.as_deref()),
            ("--routing-key", Some(self.routing_key.as_str())),
            ("--binding-key", self.binding_key.as_deref()),
        ] {
            check_name(option, name.unwrap_or_default(), 255)?;
        }
        let refuse = |reason: &str| Err(Error::Usage(reason.to_owned()));
        if self.publishers == 0 && self.consumers == 0 {
            return refuse("there is nothing to do with no publishers and no consumers");
        }
        if self.common.queue.is_empty() || self.exchange.as_deref() == Some("") {
            return refuse("--queue and --exchange need a name");
        }
        if self.prefetch > 0 && self.ack_every > u32::from(self.prefetch) {
            return refuse("with --ack-every above --prefetch, deliveries would stop");
        }
        if self.check && self.common.size < STAMP_LEN {
            return refuse("--check needs --size 16 or more");
        }
        if self.check && self.consumers == 0 {
            return refuse("--check needs consumers");
        }
        if self.publishers == 0 && (self.confirm.is_some() || self.rate.is_some()) {
            return refuse("--confirm and --rate need publishers");
        }
        Ok(())
    }

    /// What to declare.
    pub(crate) fn topology(&self) -> Topology {
        let exchange = self.exchange.clone();
        let binding_key = self.binding_key.as_ref().unwrap_or(&self.routing_key);
        Topology {
            exchange: exchange.map(|name| (name, self.exchange_type.clone())),
            routing_key: self.routing_key.clone(),
            binding_key: binding_key.clone(),
            queues: Topology::queue_names(&self.common.queue, self.queues.into()),
            durable: self.common.durable,
        }
    }
}

impl PingpongArgs {
    /// Refuses options that do not fit together.
    pub(crate) fn verify(&self) -> Result<()> {
        self.common.verify()
    }

    /// What to declare.
    pub(crate) fn topology(&self) -> Topology {
        Topology {
            exchange: None,
            routing_key: String::new(),
            binding_key: String::new(),
            queues: vec![self.common.queue.clone()],
            durable: self.common.durable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(line: &str) -> Result<RunArgs> {
        let words = line.split_whitespace();
        let cli = Cli::try_parse_from(["warrenperf", "run"].into_iter().chain(words))
            .map_err(|error| Error::Usage(error.to_string()))?;
        match cli.command {
            Command::Run(args) => args.verify().map(|()| args),
            Command::Pingpong(_) => panic!("not asked for"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for line in [
            "--publishers 0 --consumers 0",
            "--ack-every 20 --prefetch 10",
            "--check --size 8",
            "--check --consumers 0",
            "--publishers 0 --rate 5",
            "--queues 0",
            "--routing-key x",
            "--rate 0",
            "--time -1",
            "--auto-ack --ack-every 1",
            "--uri http://x",
        ] {
            assert!(matches!(run(line), Err(Error::Usage(_))), "{line}");
        }
    }

    #[test]
    fn defaults_depend_on_what_ends_the_run() {
        let args = run("").unwrap();
        assert_eq!(args.common.time_ns(false), Some(10_000_000_000));
        assert_eq!(args.common.warmup_ns(true), 1_000_000_000);
        assert_eq!(args.common.time_ns(true), None);
        let args = run("--count 5").unwrap();
        assert_eq!(args.common.time_ns(false), None);
        assert_eq!(args.common.warmup_ns(true), 0);
        let args = run("--count 5 --time 2.5 --warmup 0.5").unwrap();
        assert_eq!(args.common.time_ns(false), Some(2_500_000_000));
        assert_eq!(args.common.warmup_ns(false), 500_000_000);
    }
}
