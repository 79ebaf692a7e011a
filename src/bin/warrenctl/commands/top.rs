//! Live rates, for a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::Context;
use crate::fault::Fault;

const COLUMNS: &str = "vhost,name,messages_ready,messages_unacknowledged,consumers,\
    message_stats.publish_details.rate,message_stats.deliver_get_details.rate,message_stats.ack_details.rate";

/// Shows the busiest queues every `interval_s` seconds, `count` times or for ever.
pub(super) async fn run(
    context: &Context<'_>,
    interval_s: u64,
    count: u64,
    rows: usize,
) -> Result<(), Fault> {
    let mut looked = 0;
    loop {
        let shown = look(context, rows).await?;
        let mut out = std::io::stdout().lock();
        if out.is_terminal() {
            // Home, and clear what is below.
            write!(out, "\x1b[H\x1b[2J")?;
        }
        writeln!(out, "{shown}")?;
        out.flush()?;
        drop(out);
        looked += 1;
        if count > 0 && looked >= count {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(interval_s.max(1))).await;
    }
}

async fn look(context: &Context<'_>, rows: usize) -> Result<String, Fault> {
    let overview = context.client.get("overview").await?;
    let path = format!(
        "queues?page=1&page_size={rows}&sort=message_stats.publish_details.rate&sort_reverse=true&columns={COLUMNS}"
    );
    let page = context.client.get(&path).await?;
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "VHOST",
        "QUEUE",
        "READY",
        "UNACKED",
        "CONSUMERS",
        "IN/s",
        "OUT/s",
        "ACK/s",
    ]);
    for queue in page
        .get("items")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |field| {
            queue
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let number = |field| {
            queue
                .get(field)
                .and_then(Value::as_u64)
                .unwrap_or_default()
                .to_string()
        };
        table.add_row([
            text("vhost"),
            text("name"),
            number("messages_ready"),
            number("messages_unacknowledged"),
            number("consumers"),
            rate(queue, "publish"),
            rate(queue, "deliver_get"),
            rate(queue, "ack"),
        ]);
    }
    let total = |group: &str, field: &str| {
        overview
            .pointer(&format!("/{group}/{field}"))
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    Ok(format!(
        "{} connections, {} channels, {} queues, {} messages; in {}/s, out {}/s, acked {}/s\n\n{table}",
        total("object_totals", "connections"),
        total("object_totals", "channels"),
        total("object_totals", "queues"),
        total("queue_totals", "messages"),
        rate(&overview, "publish"),
        rate(&overview, "deliver_get"),
        rate(&overview, "ack"),
    ))
}

fn rate(of: &Value, what: &str) -> String {
    let rate = of.pointer(&format!("/message_stats/{what}_details/rate"));
    format!("{:.0}", rate.and_then(Value::as_f64).unwrap_or_default())
}
