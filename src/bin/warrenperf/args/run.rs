//! Options of `warrenperf run`.

use super::{BrokerArgs, LengthArgs, MessageArgs, OutputArgs, QueueArgs, parse_rate, refuse};
use crate::error::Result;
use crate::pattern::Pattern;
use crate::stamp::STAMP_LEN;
use crate::template::Shape;
use crate::topology::{Exchanges, Topology};
use clap::Args;

pub(super) const EXAMPLES: &str = "\
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
    warrenperf run --publishers 0 --queue backlog --durable --ack-every 1 --prefetch 100
  A hundred queues q-1 to q-100, bound to a topic exchange with a pattern each, a thousand keys:
    warrenperf run --queue q-%d --queues 100 --consumers 10 --exchange t --exchange-type topic --binding-key order.%d.# --routing-key order.%d.new --keys 1000
  Sizes and priorities that vary:
    warrenperf run --size 100..2000 --priority 0..9 --queue-arg x-max-priority=9
  Over TLS, to two nodes, as another user:
    warrenperf run --uri amqps://one.example --uri amqps://two.example --user app --password secret --tls-insecure

Publishers and consumers are threads with a connection each. For thousands of them use pairs.";

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) broker: BrokerArgs,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    #[command(flatten)]
    pub(crate) queues: QueueArgs,
    /// Number of queues
    #[arg(long = "queues", value_name = "N", default_value_t = 1, help_heading = "Queues",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queue_count: u16,
    #[command(flatten)]
    pub(crate) exchange: ExchangeArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How messages get to the queues.
#[derive(Debug, Args)]
#[command(next_help_heading = "Exchanges")]
pub(crate) struct ExchangeArgs {
    /// Publish to this exchange, with every queue bound to it, instead of straight to the queues; %d
    /// as in --queue
    #[arg(long, value_name = "NAME")]
    pub(crate) exchange: Option<Pattern>,
    /// Number of exchanges: publishers and queues spread over them in turn
    #[arg(long, value_name = "N", default_value_t = 1, requires = "exchange",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) exchanges: u16,
    /// Type of the exchanges
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "direct",
        requires = "exchange"
    )]
    pub(crate) exchange_type: String,
    /// Routing key; %d stands for numbers from 1 to --keys, in turn
    #[arg(long, value_name = "KEY", default_value = "key", requires = "exchange")]
    pub(crate) routing_key: Pattern,
    /// Number of routing keys
    #[arg(long, value_name = "N", default_value_t = 1, requires = "routing_key",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) keys: u32,
    /// Key to bind the queues with, by default the routing key; %d stands for the queue's number
    #[arg(long, value_name = "KEY", requires = "exchange")]
    pub(crate) binding_key: Option<Pattern>,
}

/// Who publishes and consumes, and how hard.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Number of publishers, each with its own connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) publishers: u16,
    /// Number of consumers, each with its own connection; they spread over the queues
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) consumers: u16,
    /// Messages per second of each publisher; by default as fast as they go
    #[arg(long, value_name = "MSGS_PER_S", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
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
    /// Check for loss, duplicates and order; exit with 1 if there is any
    #[arg(long)]
    pub(crate) check: bool,
    /// After the publishers stop, wait this long without progress for what --check misses
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = super::parse_seconds)]
    pub(crate) drain_timeout: f64,
}

impl RunArgs {
    /// Refuses options that do not fit together.
    pub(crate) fn verify(&self) -> Result<()> {
        self.message.verify()?;
        let load = &self.load;
        if load.publishers == 0 && load.consumers == 0 {
            return refuse("there is nothing to do with no publishers and no consumers");
        }
        if load.prefetch > 0 && load.ack_every > u32::from(load.prefetch) {
            return refuse("with --ack-every above --prefetch, deliveries would stop");
        }
        if load.publishers == 0 && (load.confirm.is_some() || load.rate.is_some()) {
            return refuse("--confirm and --rate need publishers");
        }
        if self.exchange.keys > 1 && !self.exchange.routing_key.varies() {
            return refuse("--keys needs a %d in --routing-key");
        }
        match load.check {
            true => self.verify_check(),
            false => Ok(()),
        }
    }

    fn verify_check(&self) -> Result<()> {
        if self.message.size.min() < STAMP_LEN as u64 {
            return refuse("--check needs --size 16 or more");
        }
        if self.load.consumers == 0 {
            return refuse("--check needs consumers");
        }
        if self.message.priority.as_ref().is_some_and(|p| p.len() > 1) {
            return refuse("--check cannot tell the order of several priorities");
        }
        if self.exchange.keys > 1 {
            return refuse("--check cannot tell which queue should get which of several keys");
        }
        Ok(())
    }

    /// What to declare.
    pub(crate) fn topology(&self) -> Topology {
        let exchange = &self.exchange;
        let binding_key = exchange
            .binding_key
            .as_ref()
            .unwrap_or(&exchange.routing_key);
        let exchanges = exchange.exchange.as_ref().map(|name| Exchanges {
            names: name.names(exchange.exchanges.into()),
            kind: exchange.exchange_type.clone(),
            binding_key: binding_key.clone(),
        });
        Topology {
            exchanges,
            routing_keys: (1..=exchange.keys as usize)
                .map(|number| exchange.routing_key.name(number))
                .collect(),
            queues: self.queues.queue.names(self.queue_count.into()),
            durable: self.queues.durable,
            arguments: self.queues.queue_arg.clone(),
        }
    }

    /// What a publisher's messages are like.
    pub(crate) fn shape(&self, topology: &Topology, publisher: usize) -> Shape {
        let (exchange, routing_keys) = topology.route(publisher);
        Shape::new(&self.message, exchange, routing_keys)
    }
}
