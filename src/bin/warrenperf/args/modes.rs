//! Options of the commands beside `run`.

use super::{
    BrokerArgs, LengthArgs, MessageArgs, OutputArgs, QueueArgs, parse_rate, parse_seconds, refuse,
};
use crate::error::Result;
use crate::stamp::STAMP_LEN;
use crate::topology::Topology;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

pub(super) const PINGPONG_EXAMPLES: &str = "\
Examples:
  The time from a publish to its delivery, one at a time:
    warrenperf pingpong
  The time from a durable publish to its confirm:
    warrenperf pingpong --confirm --size 1024 --durable --persistent

Nothing is sent while an answer is waited for, so a stall counts once here however long it is. For what
users would feel at a given rate: run --rate.";

pub(super) const PAIRS_EXAMPLES: &str = "\
Examples:
  A thousand queues, each with a publisher and a consumer, 20 messages a second each:
    warrenperf pairs --pairs 1000 --rate 20 --broker-pid $(pidof warren)
  Durable and persistent, one message a second each:
    warrenperf pairs --pairs 5000 --rate 1 --durable --persistent --size 1024

One thread serves them all. Due times are spread evenly over the pairs.";

pub(super) const CONNECTIONS_EXAMPLES: &str = "\
Examples:
  What do 5,000 idle connections with a channel each take?
    warrenperf connections --connections 5000 --time 35 --broker-pid $(pidof warren)";

pub(super) const CHURN_EXAMPLES: &str = "\
Examples:
  Connections opened, given a channel, and closed, by four workers:
    warrenperf churn connections --workers 4
  Durable queues declared and deleted:
    warrenperf churn queues --durable
  Bindings to a topic exchange made and undone, 100,000 times:
    warrenperf churn bindings --exchange-type topic --count 100000
  Channels opened and closed:
    warrenperf churn channels";

pub(super) const DISK_EXAMPLES: &str = "\
Examples:
  What a confirm of one 1 KiB message cannot be faster than:
    warrenperf disk --dir /var/lib/warren --size 1024
  The same for groups of 200:
    warrenperf disk --dir /var/lib/warren --size 1024 --batch 200";

/// Options of `pingpong`.
#[derive(Debug, Args)]
pub(crate) struct PingpongArgs {
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    #[command(flatten)]
    pub(crate) queues: QueueArgs,
    /// Wait for the confirm of each message instead of its delivery
    #[arg(long)]
    pub(crate) confirm: bool,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Options of `pairs`.
#[derive(Debug, Args)]
pub(crate) struct PairsArgs {
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    #[command(flatten)]
    pub(crate) queues: QueueArgs,
    /// Number of queues, and of publishers and consumers
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) pairs: u16,
    /// Messages per second of each publisher
    #[arg(long, value_name = "MSGS_PER_S", default_value = "20", value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// Acknowledge each delivery; by default the broker takes it as acknowledged
    #[arg(long)]
    pub(crate) ack: bool,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Options of `connections`.
#[derive(Debug, Args)]
pub(crate) struct ConnectionsArgs {
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Channels of each
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) channels: u16,
    /// How long they stay
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) time: f64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What `churn` makes and undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Connect, log in, open a channel, close the connection
    Connections,
    /// channel.open, channel.close
    Channels,
    /// queue.declare, queue.delete
    Queues,
    /// queue.bind, queue.unbind
    Bindings,
}

/// Options of `churn`.
#[derive(Debug, Args)]
pub(crate) struct ChurnArgs {
    /// What is made and undone in each round
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    /// Workers that do it at the same time, each a thread
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) workers: u16,
    /// Queues (and the exchange) are durable
    #[arg(long)]
    pub(crate) durable: bool,
    /// Type of the exchange that bindings are of
    #[arg(long, value_name = "TYPE", default_value = "topic")]
    pub(crate) exchange_type: String,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Options of `disk`.
#[derive(Debug, Args)]
pub(crate) struct DiskArgs {
    /// Directory for the file, which is removed at the end
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Bytes of each append
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) size: u32,
    /// Appends before each fdatasync, in one write
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,
    /// For how long
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(crate) time: f64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl PingpongArgs {
    /// Refuses options that do not fit together.
    pub(crate) fn verify(&self) -> Result<()> {
        self.message.verify()
    }

    /// What to declare.
    pub(crate) fn topology(&self) -> Topology {
        Topology::of_queues(&self.queues, 1)
    }
}

impl PairsArgs {
    /// Refuses options that do not fit together.
    pub(crate) fn verify(&self) -> Result<()> {
        self.message.verify()?;
        if self.message.size.min() < STAMP_LEN as u64 {
            return refuse("pairs needs --size 16 or more");
        }
        Ok(())
    }

    /// What to declare.
    pub(crate) fn topology(&self) -> Topology {
        Topology::of_queues(&self.queues, self.pairs.into())
    }
}
