//! Metrics of the commit log: what a confirm waits for, and how much of the files is in use.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::super::Context;
use super::{Labels, Metric, Page};
use crate::store::{LogFigures, SYNC_BOUNDS_US};

const LOG: &[Metric<LogFigures>] = &[
    Metric::gauge(
        "spill_segments",
        "Files of transient messages that do not fit in memory",
        |f| f.spill_segments,
    ),
    Metric::gauge("spill_bytes", "Octets in them", |f| f.spill_bytes),
    Metric::gauge("log_segments", "Segment files of the commit log", |f| {
        f.segments
    }),
    Metric::gauge("log_bytes", "Octets of them that are written", |f| f.bytes),
    Metric::gauge(
        "log_messages",
        "Messages and pages in the commit log that some queue holds, once for each queue",
        |f| f.live,
    ),
    Metric::gauge(
        "log_messages_written",
        "Messages and pages that those segments ever held; log_messages over this is the live ratio",
        |f| f.total,
    ),
    Metric::counter("log_groups", "Group commits", |f| f.groups),
    Metric::counter("log_group_batches", "Batches in them", |f| f.group_batches),
    Metric::counter("log_group_records", "Records in them", |f| f.group_records),
    Metric::counter("log_group_bytes", "Octets in them", |f| f.group_bytes),
    Metric::counter(
        "log_segments_retired",
        "Segments that nobody needed any more",
        |f| f.segments_retired,
    ),
    Metric::counter(
        "log_segments_reused",
        "Segments written over an earlier one",
        |f| f.segments_reused,
    ),
    Metric::counter(
        "log_messages_compacted",
        "Messages written again to free the segment they stood in",
        |f| f.compacted,
    ),
    Metric::counter("log_compacted_bytes", "Octets of them", |f| {
        f.compacted_bytes
    }),
    Metric::counter("log_checkpoints", "Checkpoints taken", |f| f.checkpoints),
    Metric::counter("page_ins", "Pages of queues read back", |f| f.pages_read),
    Metric::counter("page_in_messages", "Messages read back", |f| {
        f.messages_read
    }),
    Metric::counter("page_in_bytes", "Octets read for pages and messages", |f| {
        f.read_bytes
    }),
];

pub(super) fn write(page: &mut Page<'_>, context: &Context) -> fmt::Result {
    let log = context.broker.log();
    let figures = log.figures();
    page.own(LOG, &[(Labels::new(), figures)])?;
    const PENDING: &[Metric<u64>] = &[Metric::gauge(
        "log_pending_bytes",
        "Octets given to the log and not on disk",
        |bytes| *bytes,
    )];
    page.own(PENDING, &[(Labels::new(), log.pending_bytes() as u64)])?;
    syncs(page, &figures)
}

fn syncs(page: &mut Page<'_>, figures: &LogFigures) -> fmt::Result {
    let bounds = SYNC_BOUNDS_US.iter().map(|bound_us| *bound_us as f64 / 1e6);
    let bounds = bounds.chain([f64::INFINITY]);
    let classes: Vec<(f64, u64)> = bounds.zip(figures.syncs).collect();
    let name = "warren_log_sync_seconds";
    let help = "How long the log's fdatasync took";
    let mut metric = page
        .encoder
        .encode_descriptor(name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(
        figures.syncs_us as f64 / 1e6,
        figures.syncs.iter().sum(),
        &classes,
        None,
    )
}
