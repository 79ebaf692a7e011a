//! What Prometheus is told.

use serde_json::json;

use super::server::Server;

/// The value of a sample, named with its labels.
fn value(page: &str, sample: &str) -> Option<f64> {
    let of_it = |line: &'_ str| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok();
    page.lines().find_map(of_it)
}

#[tokio::test]
async fn a14_metrics_have_rabbitmqs_names() {
    let server = Server::start();
    assert_eq!(server.put("/api/queues/%2F/q", json!({})).await, 201);
    assert_eq!(server.put("/api/vhosts/v", json!({})).await, 201);
    assert_eq!(server.put("/api/queues/v/q", json!({})).await, 201);
    let message = json!({
        "properties": {}, "routing_key": "q", "payload": "four", "payload_encoding": "string",
    });
    server
        .post("/api/exchanges/%2F/amq.default/publish", message)
        .await;

    let sums = server.scrape("/metrics").await;
    assert_eq!(value(&sums, "rabbitmq_queues"), Some(2.0));
    assert_eq!(value(&sums, "rabbitmq_queue_messages_ready"), Some(1.0));
    assert_eq!(value(&sums, "rabbitmq_queue_messages_bytes"), Some(4.0));
    assert_eq!(value(&sums, "rabbitmq_queues_created_total"), Some(2.0));
    let received = "rabbitmq_global_messages_received_total{protocol=\"amqp091\"}";
    assert!(value(&sums, received).is_some(), "{sums}");
    assert!(value(&sums, "rabbitmq_process_resident_memory_bytes").unwrap() > 1e6);
    assert!(sums.contains("rabbitmq_build_info{rabbitmq_version="));
    // Declaring was synced; all figures are of one moment.
    let syncs = value(&sums, "warren_log_sync_seconds_count").unwrap();
    assert!(syncs >= 1.0, "{sums}");
    let all = value(&sums, "warren_log_sync_seconds_bucket{le=\"+Inf\"}");
    assert_eq!(all, Some(syncs));
    assert!(value(&sums, "warren_log_groups_total").unwrap() >= 1.0);
    assert_eq!(value(&sums, "warren_page_ins_total"), Some(0.0));
    assert!(sums.ends_with("# EOF\n"));

    let each = server.scrape("/metrics/per-object").await;
    let of_q = "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"}";
    assert_eq!(value(&each, of_q), Some(1.0));

    let none = server.scrape("/metrics/detailed").await;
    assert!(!none.contains("rabbitmq_detailed_"), "{none}");
    let path = "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&vhost=v";
    let some = server.scrape(path).await;
    let of_v = "rabbitmq_detailed_queue_messages_ready{vhost=\"v\",queue=\"q\"}";
    assert_eq!(value(&some, of_v), Some(0.0));
    assert!(
        !some.contains("vhost=\"/\"") && !some.contains("published"),
        "{some}"
    );
    assert!(some.contains("rabbitmq_detailed_queue_consumers{"));
    server.broker.stop();
}
