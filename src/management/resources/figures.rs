//! The figures of each kind of thing, by their names in JSON.

use super::super::rates::Field;
use crate::broker::stats::{ChannelCounts, ExchangeCounts, OverviewSample, Traffic};
use crate::queue::{QueueCounts, QueueSample};

/// How long a queue is.
pub(super) const QUEUE_LENGTHS: &[Field<QueueSample>] = &[
    Field::new("messages", |s| s.ready + s.unacked),
    Field::new("messages_ready", |s| s.ready),
    Field::new("messages_unacknowledged", |s| s.unacked),
];

/// What was done to a queue.
pub(super) const QUEUE_STATS: &[Field<QueueSample>] = &[
    Field::new("publish", |s| s.counts.published),
    Field::new("deliver", |s| s.counts.delivered),
    Field::new("deliver_no_ack", |s| s.counts.delivered_no_ack),
    Field::new("deliver_get", |s| delivered_of_queue(&s.counts)),
    Field::new("get", |s| s.counts.got),
    Field::new("get_no_ack", |s| s.counts.got_no_ack),
    Field::new("get_empty", |s| s.counts.got_empty),
    Field::new("ack", |s| s.counts.acked),
    Field::new("redeliver", |s| s.counts.redelivered),
];

fn delivered_of_queue(counts: &QueueCounts) -> u64 {
    counts.delivered + counts.delivered_no_ack + counts.got + counts.got_no_ack
}

/// What a channel did.
pub(super) const CHANNEL_STATS: &[Field<ChannelCounts>] = &[
    Field::new("publish", |c| c.published),
    Field::new("confirm", |c| c.confirmed),
    Field::new("return_unroutable", |c| c.returned),
    Field::new("drop_unroutable", |c| c.dropped),
    Field::new("deliver", |c| c.delivered),
    Field::new("deliver_no_ack", |c| c.delivered_no_ack),
    Field::new("deliver_get", delivered_of_channel),
    Field::new("get", |c| c.got),
    Field::new("get_no_ack", |c| c.got_no_ack),
    Field::new("get_empty", |c| c.got_empty),
    Field::new("ack", |c| c.acked),
    Field::new("redeliver", |c| c.redelivered),
];

fn delivered_of_channel(counts: &ChannelCounts) -> u64 {
    counts.delivered + counts.delivered_no_ack + counts.got + counts.got_no_ack
}

/// What went through an exchange.
pub(super) const EXCHANGE_STATS: &[Field<ExchangeCounts>] = &[
    Field::new("publish_in", |c| c.published_in),
    Field::new("publish_out", |c| c.published_out),
];

/// What went over a connection.
pub(super) const TRAFFIC: &[Field<Traffic>] = &[
    Field::new("recv_oct", |t| t.received_bytes),
    Field::new("send_oct", |t| t.sent_bytes),
];

/// How long all queues are.
pub(super) const LENGTHS: &[Field<OverviewSample>] = &[
    Field::new("messages", |s| s.ready + s.unacked),
    Field::new("messages_ready", |s| s.ready),
    Field::new("messages_unacknowledged", |s| s.unacked),
];

/// What all channels did.
pub(super) const STATS: &[Field<OverviewSample>] = &[
    Field::new("publish", |s| s.channels.published),
    Field::new("confirm", |s| s.channels.confirmed),
    Field::new("return_unroutable", |s| s.channels.returned),
    Field::new("drop_unroutable", |s| s.channels.dropped),
    Field::new("deliver", |s| s.channels.delivered),
    Field::new("deliver_no_ack", |s| s.channels.delivered_no_ack),
    Field::new("deliver_get", |s| delivered_of_channel(&s.channels)),
    Field::new("get", |s| s.channels.got),
    Field::new("get_no_ack", |s| s.channels.got_no_ack),
    Field::new("get_empty", |s| s.channels.got_empty),
    Field::new("ack", |s| s.channels.acked),
    Field::new("redeliver", |s| s.channels.redelivered),
];

/// What went over all connections.
pub(super) const ALL_TRAFFIC: &[Field<OverviewSample>] = &[
    Field::new("recv_oct", |s| s.traffic.received_bytes),
    Field::new("send_oct", |s| s.traffic.sent_bytes),
];
