//! Metrics of the node as a whole.

use std::fmt;

use super::super::Context;
use super::super::node::Process;
use super::super::version::{RABBITMQ, WARREN};
use super::{Kind, Labels, Metric, Page};
use crate::broker::spans::SpanCounts;
use crate::broker::stats::{BrokerCounters, ChannelCounts, ObjectTotals};
use crate::queue::{QueueCounts, QueueKind};

/// Which software this is, and which node.
pub(super) fn identity(page: &mut Page<'_>, context: &Context) -> fmt::Result {
    let versions = [
        ("rabbitmq_version", RABBITMQ),
        ("product_name", "Warren"),
        ("product_version", WARREN),
    ];
    page.info("build", "Product and version", &versions)?;
    let parameters = context.broker.parameters();
    let names = [
        ("rabbitmq_node", context.node.name()),
        ("rabbitmq_cluster", parameters.cluster_name()),
    ];
    page.info("identity", "Node and cluster", &names)
}

pub(super) const CHURN: &[Metric<ChurnFigures>] = &[
    Metric::counter("connections_opened", "Connections opened", |c| {
        c.connections_opened
    }),
    Metric::counter("connections_closed", "Connections closed", |c| {
        c.connections_closed
    }),
    Metric::counter("channels_opened", "Channels opened", |c| c.channels_opened),
    Metric::counter("channels_closed", "Channels closed", |c| c.channels_closed),
    Metric::counter("queues_declared", "Queues declared", |c| c.queues_declared),
    Metric::counter("queues_created", "Queues created", |c| c.queues_created),
    Metric::counter("queues_deleted", "Queues deleted", |c| c.queues_deleted),
];

/// What has come and gone.
pub(super) struct ChurnFigures {
    connections_opened: u64,
    connections_closed: u64,
    channels_opened: u64,
    channels_closed: u64,
    queues_declared: u64,
    queues_created: u64,
    queues_deleted: u64,
}

impl ChurnFigures {
    pub(super) fn of(counters: &BrokerCounters) -> Self {
        ChurnFigures {
            connections_opened: counters.connections_opened.get(),
            connections_closed: counters.connections_closed.get(),
            channels_opened: counters.channels_opened.get(),
            channels_closed: counters.channels_closed.get(),
            queues_declared: counters.queues_declared.get(),
            queues_created: counters.queues_created.get(),
            queues_deleted: counters.queues_deleted.get(),
        }
    }
}

const OBJECTS: &[Metric<ObjectTotals>] = &[
    Metric::gauge("connections", "Connections open", |t| t.connections as u64),
    Metric::gauge("channels", "Channels open", |t| t.channels as u64),
    Metric::gauge("consumers", "Consumers", |t| t.consumers as u64),
    Metric::gauge("queues", "Queues", |t| t.queues as u64),
    Metric::gauge("exchanges", "Exchanges", |t| t.exchanges as u64),
    Metric::gauge("bindings", "Bindings, without those by queue name", |t| {
        t.bindings as u64
    }),
];

const LOGINS: &[Metric<(u64, u64)>] = &[
    Metric::counter("auth_attempts", "Logins tried", |(good, bad)| good + bad),
    Metric::counter("auth_attempts_succeeded", "Logins let in", |(good, _)| {
        *good
    }),
    Metric::counter("auth_attempts_failed", "Logins refused", |(_, bad)| *bad),
];

/// How many there are, and have been.
pub(super) fn totals(page: &mut Page<'_>, context: &Context) -> fmt::Result {
    let counters = context.broker.counters();
    page.write(CHURN, &[(Labels::new(), ChurnFigures::of(counters))])?;
    page.write(
        OBJECTS,
        &[(Labels::new(), context.broker.overview().objects)],
    )?;
    let logins = (
        counters.logins_succeeded.get(),
        counters.logins_failed.get(),
    );
    page.write(LOGINS, &[(protocol(), logins)])
}

fn protocol() -> Labels {
    vec![("protocol", "amqp091".to_owned())]
}

const BY_PROTOCOL: &[Metric<ChannelCounts>] = &[
    Metric::counter("global_messages_received", "Messages published", |c| {
        c.published
    }),
    Metric::counter(
        "global_messages_received_confirm",
        "Messages published with confirms on",
        |c| c.published_confirm,
    ),
    Metric::counter("global_messages_confirmed", "Messages confirmed", |c| {
        c.confirmed
    }),
    Metric::counter(
        "global_messages_routed",
        "Messages that reached a queue",
        |c| c.published.saturating_sub(c.returned + c.dropped),
    ),
    Metric::counter(
        "global_messages_unroutable_dropped",
        "Messages that reached no queue and were dropped",
        |c| c.dropped,
    ),
    Metric::counter(
        "global_messages_unroutable_returned",
        "Messages that reached no queue and were returned",
        |c| c.returned,
    ),
];

const BY_QUEUE_TYPE: &[Metric<QueueCounts>] = &[
    Metric::counter(
        "global_messages_delivered",
        "Messages delivered or got",
        |c| c.delivered + c.delivered_no_ack + c.got + c.got_no_ack,
    ),
    Metric::counter(
        "global_messages_delivered_consume_auto_ack",
        "Messages delivered to consumers that do not ack",
        |c| c.delivered_no_ack,
    ),
    Metric::counter(
        "global_messages_delivered_consume_manual_ack",
        "Messages delivered to consumers that ack",
        |c| c.delivered,
    ),
    Metric::counter(
        "global_messages_delivered_get_auto_ack",
        "Messages got without ack",
        |c| c.got_no_ack,
    ),
    Metric::counter(
        "global_messages_delivered_get_manual_ack",
        "Messages got to be acked",
        |c| c.got,
    ),
    Metric::counter(
        "global_messages_get_empty",
        "Gets that found no message",
        |c| c.got_empty,
    ),
    Metric::counter(
        "global_messages_redelivered",
        "Messages delivered or got not for the first time",
        |c| c.redelivered,
    ),
    Metric::counter("global_messages_acknowledged", "Messages acked", |c| {
        c.acked
    }),
];

/// Messages that died: dropped, or dead-lettered.
#[derive(Clone, Copy)]
struct Deaths {
    rejected: u64,
    expired: u64,
    maxlen: u64,
    delivery_limit: u64,
}

const DEATHS: &[Metric<Deaths>] = &[
    Metric::counter(
        "global_messages_dead_lettered_rejected",
        "Messages that died rejected",
        |d| d.rejected,
    ),
    Metric::counter(
        "global_messages_dead_lettered_expired",
        "Messages that died of age",
        |d| d.expired,
    ),
    Metric::counter(
        "global_messages_dead_lettered_maxlen",
        "Messages that died as their queue was full",
        |d| d.maxlen,
    ),
    Metric::counter(
        "global_messages_dead_lettered_delivery_limit",
        "Messages that died as they were delivered too often",
        |d| d.delivery_limit,
    ),
];

/// What has happened to messages since the start.
pub(super) fn messages(page: &mut Page<'_>, context: &Context) -> fmt::Result {
    let sum = context.broker.overview().now;
    page.write(BY_PROTOCOL, &[(protocol(), sum.channels)])?;
    let channels = context.broker.channels();
    let publishers = channels
        .iter()
        .filter(|(_, c)| c.published.get() > 0)
        .count();
    let consumers = channels.iter().map(|(_, c)| c.consumers.get()).sum();
    const CLIENTS: &[Metric<(u64, u64)>] = &[
        Metric::gauge("global_publishers", "Channels that have published", |c| c.0),
        Metric::gauge("global_consumers", "Consumers", |c| c.1),
    ];
    page.write(CLIENTS, &[(protocol(), (publishers as u64, consumers))])?;
    let by_type = |kind: &str| {
        let mut labels = protocol();
        labels.push(("queue_type", format!("rabbit_{kind}_queue")));
        labels
    };
    let types = [
        (
            by_type("classic"),
            context.broker.queue_counts(QueueKind::Classic),
        ),
        (
            by_type("quorum"),
            context.broker.queue_counts(QueueKind::Quorum),
        ),
    ];
    page.write(BY_QUEUE_TYPE, &types)?;
    let mut deaths = Vec::new();
    for (labels, counts) in &types {
        let with = |strategy: &str| {
            let of_type = labels.iter().filter(|(name, _)| *name == "queue_type");
            let mut labels: Labels = of_type.cloned().collect();
            labels.push(("dead_letter_strategy", strategy.to_owned()));
            labels
        };
        deaths.push((
            with("disabled"),
            Deaths {
                rejected: counts.dropped_rejected,
                expired: counts.dropped_expired,
                maxlen: counts.dropped_maxlen,
                delivery_limit: counts.dropped_delivery_limit,
            },
        ));
        deaths.push((
            with("at_most_once"),
            Deaths {
                rejected: counts.lettered_rejected,
                expired: counts.lettered_expired,
                maxlen: counts.lettered_maxlen,
                delivery_limit: counts.lettered_delivery_limit,
            },
        ));
    }
    page.write(DEATHS, &deaths)
}

/// The process and the machine.
pub(super) fn node(page: &mut Page<'_>, context: &Context) -> fmt::Result {
    let process = Process::now();
    let alarms = context.broker.alarms().view();
    let known = [
        (
            "process_open_fds",
            "Open files, sockets included",
            process.open_files,
        ),
        (
            "process_max_fds",
            "Most files that may be open",
            process.files_max,
        ),
        (
            "process_open_tcp_sockets",
            "Open sockets",
            process.open_sockets,
        ),
        (
            "process_resident_memory_bytes",
            "Octets of memory that are resident",
            Some(alarms.memory_used_bytes),
        ),
        (
            "resident_memory_limit_bytes",
            "Octets of memory from which on publishers are stopped",
            Some(alarms.memory_limit_bytes),
        ),
        (
            "disk_space_available_bytes",
            "Octets free on the disk of the data directory",
            Some(alarms.disk_free_bytes),
        ),
        (
            "disk_space_available_limit_bytes",
            "Octets of free disk below which publishers are stopped",
            Some(alarms.disk_limit_bytes),
        ),
        (
            "alarms_memory_used_watermark",
            "1 if publishers are stopped as memory is low",
            Some(alarms.memory_alarm.into()),
        ),
        (
            "alarms_free_disk_space_watermark",
            "1 if publishers are stopped as the disk is full",
            Some(alarms.disk_alarm.into()),
        ),
        (
            "erlang_uptime_seconds",
            "Seconds since the start; RabbitMQ's name, there is no Erlang here",
            Some(context.node.uptime_ms() / 1000),
        ),
    ];
    for (name, help, value) in known {
        if let Some(value) = value {
            page.one(&format!("rabbitmq_{name}"), help, Kind::Gauge, value)?;
        }
    }
    Ok(())
}

/// How spans of sampled messages fare, if any are told.
pub(super) fn spans(page: &mut Page<'_>, context: &Context) -> fmt::Result {
    const SPANS: &[Metric<SpanCounts>] = &[
        Metric::counter(
            "spans_exported",
            "Spans that the collector has taken",
            |c| c.exported,
        ),
        Metric::counter(
            "spans_dropped",
            "Spans lost, as too many waited or the collector did not take them",
            |c| c.dropped,
        ),
    ];
    match context.broker.span_counts() {
        Some(counts) => page.own(SPANS, &[(Labels::new(), counts)]),
        None => Ok(()),
    }
}
