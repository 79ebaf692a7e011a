//! Metrics of queues, channels, connections and exchanges: each on its own, or their sums.

use std::fmt;
use std::ops::AddAssign;

use super::super::Context;
use super::super::resources::channel_name;
use super::families::Families;
use super::global::{CHURN, ChurnFigures};
use super::{Labels, Metric, Page};
use crate::broker::Vhost;
use crate::broker::stats::{
    ChannelCounts, ChannelStats, ConnectionStats, ExchangeCounts, QueueView, Traffic,
};
use crate::queue::QueueCounts;

/// Whether objects are shown each or in sum.
pub(super) enum Grouping {
    /// One sample over all.
    Sums,
    /// A sample for each object of these vhosts, or of all.
    Each {
        /// By name.
        vhosts: Option<Vec<String>>,
    },
}

impl Grouping {
    fn wants(&self, vhost: &str) -> bool {
        match self {
            Grouping::Each {
                vhosts: Some(names),
            } => names.iter().any(|name| name == vhost),
            _ => true,
        }
    }

    /// The rows as they are, or one that is their sum.
    fn group<T: Default + AddAssign>(&self, rows: Vec<(Labels, T)>) -> Vec<(Labels, T)> {
        match self {
            Grouping::Each { .. } => rows,
            Grouping::Sums => {
                let mut sum = T::default();
                rows.into_iter().for_each(|(_, row)| sum += row);
                vec![(Labels::new(), sum)]
            }
        }
    }
}

/// A queue's figures.
#[derive(Default)]
struct QueueFigures {
    ready: u64,
    unacked: u64,
    ready_bytes: u64,
    unacked_bytes: u64,
    consumers: u64,
    counts: QueueCounts,
}

impl From<QueueView> for QueueFigures {
    fn from(view: QueueView) -> Self {
        QueueFigures {
            ready: view.ready,
            unacked: view.unacked,
            ready_bytes: view.ready_bytes,
            unacked_bytes: view.unacked_bytes,
            consumers: view.consumers as u64,
            counts: view.counts,
        }
    }
}

impl AddAssign for QueueFigures {
    fn add_assign(&mut self, other: Self) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.ready_bytes += other.ready_bytes;
        self.unacked_bytes += other.unacked_bytes;
        self.consumers += other.consumers;
        self.counts += other.counts;
    }
}

const QUEUE_LENGTHS: &[Metric<QueueFigures>] = &[
    Metric::gauge("queue_messages_ready", "Messages that wait", |q| q.ready),
    Metric::gauge("queue_messages_unacked", "Messages that are out", |q| {
        q.unacked
    }),
    Metric::gauge("queue_messages", "Messages that wait or are out", |q| {
        q.ready + q.unacked
    }),
];

const QUEUES: &[Metric<QueueFigures>] = &[
    Metric::gauge(
        "queue_messages_ready_bytes",
        "Octets of bodies that wait",
        |q| q.ready_bytes,
    ),
    Metric::gauge(
        "queue_messages_unacked_bytes",
        "Octets of bodies that are out",
        |q| q.unacked_bytes,
    ),
    Metric::gauge(
        "queue_messages_bytes",
        "Octets of bodies that wait or are out",
        |q| q.ready_bytes + q.unacked_bytes,
    ),
    Metric::counter(
        "queue_messages_published",
        "Messages published into queues",
        |q| q.counts.published,
    ),
];

const QUEUE_CONSUMERS: &[Metric<QueueFigures>] = &[Metric::gauge(
    "queue_consumers",
    "Consumers of queues",
    |q| q.consumers,
)];

/// What has gone out to clients and come back, of queues or of channels.
macro_rules! deliveries {
    ($of:literal) => {
        &[
            Metric::counter(concat!($of, "_get_ack"), "Messages got to be acked", |x| {
                x.counts.got
            }),
            Metric::counter(concat!($of, "_get"), "Messages got without ack", |x| {
                x.counts.got_no_ack
            }),
            Metric::counter(
                concat!($of, "_get_empty"),
                "Gets that found no message",
                |x| x.counts.got_empty,
            ),
            Metric::counter(
                concat!($of, "_messages_delivered_ack"),
                "Messages delivered to be acked",
                |x| x.counts.delivered,
            ),
            Metric::counter(
                concat!($of, "_messages_delivered"),
                "Messages delivered without ack",
                |x| x.counts.delivered_no_ack,
            ),
            Metric::counter(
                concat!($of, "_messages_redelivered"),
                "Messages delivered again",
                |x| x.counts.redelivered,
            ),
            Metric::counter(concat!($of, "_messages_acked"), "Messages acked", |x| {
                x.counts.acked
            }),
        ]
    };
}

const QUEUE_DELIVERIES: &[Metric<QueueFigures>] = deliveries!("queue");
const CHANNEL_DELIVERIES: &[Metric<ChannelFigures>] = deliveries!("channel");

/// A channel's figures.
#[derive(Default)]
struct ChannelFigures {
    counts: ChannelCounts,
    consumers: u64,
    unacked: u64,
    unconfirmed: u64,
    uncommitted: u64,
    acks_uncommitted: u64,
    prefetch: u64,
}

impl From<&ChannelStats> for ChannelFigures {
    fn from(channel: &ChannelStats) -> Self {
        ChannelFigures {
            counts: channel.counts(),
            consumers: channel.consumers.get(),
            unacked: channel.unacked.get(),
            unconfirmed: channel.unconfirmed.get(),
            uncommitted: channel.uncommitted.get(),
            acks_uncommitted: channel.acks_uncommitted.get(),
            prefetch: channel.prefetch_global.get(),
        }
    }
}

impl AddAssign for ChannelFigures {
    fn add_assign(&mut self, other: Self) {
        self.counts += other.counts;
        self.consumers += other.consumers;
        self.unacked += other.unacked;
        self.unconfirmed += other.unconfirmed;
        self.uncommitted += other.uncommitted;
        self.acks_uncommitted += other.acks_uncommitted;
        self.prefetch += other.prefetch;
    }
}

const CHANNELS: &[Metric<ChannelFigures>] = &[
    Metric::gauge("channel_consumers", "Consumers of channels", |c| {
        c.consumers
    }),
    Metric::gauge(
        "channel_messages_unacked",
        "Deliveries that wait for an ack",
        |c| c.unacked,
    ),
    Metric::gauge(
        "channel_messages_unconfirmed",
        "Messages that wait for a confirm",
        |c| c.unconfirmed,
    ),
    Metric::gauge(
        "channel_messages_uncommitted",
        "Messages in open transactions",
        |c| c.uncommitted,
    ),
    Metric::gauge(
        "channel_acks_uncommitted",
        "Acks in open transactions",
        |c| c.acks_uncommitted,
    ),
    Metric::gauge(
        "channel_prefetch",
        "Limit of unacked messages of whole channels",
        |c| c.prefetch,
    ),
    Metric::counter("channel_messages_published", "Messages published", |c| {
        c.counts.published
    }),
    Metric::counter("channel_messages_confirmed", "Messages confirmed", |c| {
        c.counts.confirmed
    }),
    Metric::counter(
        "channel_messages_unroutable_returned",
        "Messages that reached no queue and were returned",
        |c| c.counts.returned,
    ),
    Metric::counter(
        "channel_messages_unroutable_dropped",
        "Messages that reached no queue and were dropped",
        |c| c.counts.dropped,
    ),
];

/// A connection's figures.
#[derive(Default)]
struct ConnectionFigures {
    traffic: Traffic,
    channels: u64,
}

impl AddAssign for ConnectionFigures {
    fn add_assign(&mut self, other: Self) {
        self.traffic += other.traffic;
        self.channels += other.channels;
    }
}

const CONNECTIONS: &[Metric<ConnectionFigures>] = &[
    Metric::gauge("connection_channels", "Channels of connections", |c| {
        c.channels
    }),
    Metric::counter(
        "connection_incoming_packets",
        "Reads that brought something",
        |c| c.traffic.reads,
    ),
    Metric::counter("connection_outgoing_packets", "Writes", |c| {
        c.traffic.writes
    }),
];

const CONNECTION_TRAFFIC: &[Metric<ConnectionFigures>] = &[
    Metric::counter("connection_incoming_bytes", "Octets read", |c| {
        c.traffic.received_bytes
    }),
    Metric::counter("connection_outgoing_bytes", "Octets written", |c| {
        c.traffic.sent_bytes
    }),
];

const EXCHANGES: &[Metric<ExchangeCounts>] = &[
    Metric::counter(
        "exchange_messages_published_in",
        "Messages published to exchanges",
        |e| e.published_in,
    ),
    Metric::counter(
        "exchange_messages_published_out",
        "Messages out of exchanges",
        |e| e.published_out,
    ),
];

/// Writes the families that are wanted.
pub(super) fn write(
    page: &mut Page<'_>,
    context: &Context,
    families: Families,
    grouping: &Grouping,
) -> fmt::Result {
    if families.churn {
        let churn = ChurnFigures::of(context.broker.counters());
        page.write(CHURN, &[(Labels::new(), churn)])?;
    }
    if families.queue_lengths
        || families.queues
        || families.queue_consumers
        || families.queue_deliveries
    {
        let rows = grouping.group(queues(context, grouping));
        let wanted = [
            (families.queue_lengths, QUEUE_LENGTHS),
            (families.queues, QUEUES),
            (families.queue_consumers, QUEUE_CONSUMERS),
            (families.queue_deliveries, QUEUE_DELIVERIES),
        ];
        for (_, metrics) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
            page.write(metrics, &rows)?;
        }
    }
    if families.channels {
        let mut rows = grouping.group(channels(context, grouping));
        if let (Grouping::Sums, Some((_, sum))) = (grouping, rows.first_mut()) {
            // With those of channels that are closed: a counter must not fall.
            sum.counts = context.broker.overview().now.channels;
        }
        page.write(CHANNELS, &rows)?;
        page.write(CHANNEL_DELIVERIES, &rows)?;
    }
    if families.connections || families.connection_traffic {
        let mut rows = grouping.group(connections(context, grouping));
        if let (Grouping::Sums, Some((_, sum))) = (grouping, rows.first_mut()) {
            sum.traffic = context.broker.overview().now.traffic;
        }
        if families.connections {
            page.write(CONNECTIONS, &rows)?;
        }
        if families.connection_traffic {
            page.write(CONNECTION_TRAFFIC, &rows)?;
        }
    }
    if families.exchanges {
        page.write(EXCHANGES, &grouping.group(exchanges(context, grouping)))?;
    }
    Ok(())
}

fn vhosts<'g>(
    context: &Context,
    grouping: &'g Grouping,
) -> impl Iterator<Item = std::sync::Arc<Vhost>> + use<'g> {
    let all = context.broker.vhosts().into_iter();
    all.filter(|vhost| grouping.wants(vhost.name()))
}

fn queues(context: &Context, grouping: &Grouping) -> Vec<(Labels, QueueFigures)> {
    let mut rows = Vec::new();
    for vhost in vhosts(context, grouping) {
        for queue in vhost.queues() {
            let labels = vec![
                ("vhost", queue.vhost.to_string()),
                ("queue", queue.name.to_string()),
            ];
            rows.push((labels, QueueView::of(&queue).into()));
        }
    }
    rows
}

fn is_in(connection: &ConnectionStats, grouping: &Grouping) -> bool {
    let details = connection.details();
    details.is_some_and(|details| grouping.wants(&details.vhost))
}

fn channels(context: &Context, grouping: &Grouping) -> Vec<(Labels, ChannelFigures)> {
    let all = context.broker.channels().into_iter();
    let wanted = all.filter(|(connection, _)| is_in(connection, grouping));
    wanted
        .map(|(connection, channel)| {
            let name = channel_name(&connection, channel.number());
            (vec![("channel", name)], ChannelFigures::from(&*channel))
        })
        .collect()
}

fn connections(context: &Context, grouping: &Grouping) -> Vec<(Labels, ConnectionFigures)> {
    let all = context.broker.connections().into_iter();
    let wanted = all.filter(|connection| is_in(connection, grouping));
    wanted
        .map(|connection| {
            let figures = ConnectionFigures {
                traffic: connection.traffic(),
                channels: connection.channels_len() as u64,
            };
            (vec![("connection", connection.name())], figures)
        })
        .collect()
}

fn exchanges(context: &Context, grouping: &Grouping) -> Vec<(Labels, ExchangeCounts)> {
    let mut rows = Vec::new();
    for vhost in vhosts(context, grouping) {
        for exchange in vhost.topology().graph.exchanges() {
            let name = exchange.name();
            let labels = vec![
                ("vhost", vhost.name().to_string()),
                ("exchange", name.to_string()),
            ];
            rows.push((labels, vhost.exchange_stats(name).counts()));
        }
    }
    rows
}
