//! OpenTelemetry spans: what a collector gets of a message that its publisher has sampled.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{Broker, LIMIT, warren};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that takes OTLP over HTTP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    /// Starts it. Where it is.
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let take = async |State(Collector(taken)): State<Collector>, Json(body): Json<Value>| {
            taken.lock().unwrap().push(body);
            (StatusCode::OK, Json(json!({})))
        };
        let app = Router::new().route("/otlp/v1/traces", post(take));
        let app = app.with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/otlp/")
    }

    fn spans(&self) -> Vec<Value> {
        let taken = self.0.lock().unwrap();
        let spans = taken.iter().map(|body| {
            let from = &body["resourceSpans"][0];
            let service = &from["resource"]["attributes"][0];
            assert_eq!(service["value"]["stringValue"], "warren");
            from["scopeSpans"][0]["spans"].as_array().unwrap().clone()
        });
        spans.flatten().collect()
    }

    /// The spans, once there are `count`, in the order of their beginning.
    async fn wait(&self, count: usize) -> Vec<Value> {
        let until = Instant::now() + LIMIT;
        loop {
            let spans = self.spans();
            if spans.len() >= count {
                return spans;
            }
            assert!(Instant::now() < until, "{spans:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|found| found["key"] == key);
    found.map_or(Value::Null, |found| found["value"].clone())
}

fn text(span: &Value, key: &str) -> String {
    let value = attribute(span, key);
    value["stringValue"].as_str().unwrap_or_default().to_owned()
}

fn start(dir: &TempDir, collector: &str) -> Broker {
    let file = dir.path().join("w.toml");
    fs::write(&file, format!("[tracing]\notlp_endpoint = {collector:?}\n")).unwrap();
    let mut command = warren();
    command.args(["--listen", "127.0.0.1:0", "--management", "off"]);
    command
        .args(["--metrics", "127.0.0.1:0", "--config"])
        .arg(file);
    command.arg("--data-dir").arg(dir.path().join("data"));
    Broker::run(command)
}

/// A channel with a queue `q` that is bound to an exchange `x`.
async fn channel(broker: &Broker) -> (Connection, Channel) {
    let uri = broker.uri("");
    let connection = Connection::connect(&uri, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let confirm = ConfirmSelectOptions::default();
    channel.confirm_select(confirm).await.unwrap();
    let none = FieldTable::default;
    let options = ExchangeDeclareOptions::default();
    let exchange = channel.exchange_declare("x".into(), ExchangeKind::Fanout, options, none());
    exchange.await.unwrap();
    for queue in ["q", "other"] {
        let options = QueueDeclareOptions::default();
        let declared = channel.queue_declare(queue.into(), options, none());
        declared.await.unwrap();
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(queue.into(), "x".into(), "".into(), options, none());
        bound.await.unwrap();
    }
    (connection, channel)
}

async fn publish(channel: &Channel, exchange: &str, parent: Option<String>) {
    let mut headers = FieldTable::default();
    if let Some(parent) = parent {
        headers.insert("traceparent".into(), AMQPValue::LongString(parent.into()));
    }
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("m-1".into());
    let (exchange, key) = (exchange.into(), "key".into());
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish(exchange, key, options, b"body", properties);
    confirm.await.unwrap().await.unwrap();
}

fn sampled() -> Option<String> {
    Some(format!("00-{TRACE}-{PARENT}-01"))
}

#[tokio::test]
async fn a_collector_gets_the_hops_of_a_sampled_message() {
    let (collector, dir) = (Collector::default(), TempDir::new().unwrap());
    let broker = start(&dir, &collector.start().await);
    let (_connection, channel) = channel(&broker).await;
    let options = BasicConsumeOptions::default();
    let none = FieldTable::default();
    let consumer = channel.basic_consume("q".into(), "".into(), options, none);
    let mut consumer = consumer.await.unwrap();
    let not_sampled = Some(format!("00-{TRACE}-{PARENT}-00"));
    for parent in [None, not_sampled, sampled()] {
        publish(&channel, "x", parent).await;
        let delivery = consumer.next().await.unwrap().unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
    }
    publish(&channel, "", sampled()).await;

    let spans = collector.wait(4).await;
    let of = |name: &str| {
        let mut found = spans.iter().filter(|span| span["name"] == name);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("no {name}: {spans:#?}"));
        assert!(found.next().is_none(), "twice {name}");
        assert_eq!(span["traceId"], TRACE);
        assert_eq!(text(span, "messaging.system"), "rabbitmq");
        let time = |at: &str| span[at].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
        span
    };
    let routed = of("x publish");
    assert_eq!(
        (&routed["parentSpanId"], &routed["kind"]),
        (&json!(PARENT), &json!(2))
    );
    assert_eq!(text(routed, "messaging.destination.name"), "x");
    assert_eq!(text(routed, "messaging.operation.type"), "send");
    assert_eq!(
        text(routed, "messaging.rabbitmq.destination.routing_key"),
        "key"
    );
    assert_eq!(text(routed, "messaging.message.id"), "m-1");
    assert_eq!(text(routed, "network.peer.address"), "127.0.0.1");
    assert_eq!(text(routed, "warren.vhost"), "/");
    let size = attribute(routed, "messaging.message.body.size");
    assert_eq!(size, json!({ "intValue": "4" }));
    let queues = attribute(routed, "warren.routed_queues");
    let queues = queues["arrayValue"]["values"].as_array().unwrap();
    let mut queues: Vec<_> = queues.iter().map(|queue| &queue["stringValue"]).collect();
    queues.sort_by_key(|queue| queue.to_string());
    assert_eq!(queues, [&json!("other"), &json!("q")]);

    let count = attribute(routed, "warren.routed_queues.count");
    assert_eq!(count, json!({ "intValue": "2" }));

    let delivered = of("q deliver");
    assert_eq!(delivered["parentSpanId"], PARENT);
    assert_eq!(delivered["kind"], 4);
    let tag = attribute(delivered, "messaging.rabbitmq.message.delivery_tag");
    assert_eq!(tag, json!({ "intValue": "3" }));
    let acked = of("q ack");
    assert_eq!(acked["parentSpanId"], delivered["spanId"]);
    assert_eq!(text(acked, "messaging.operation.type"), "settle");

    let nowhere = of("amq.default publish");
    let queues = attribute(nowhere, "warren.routed_queues");
    assert_eq!(queues, json!({ "arrayValue": { "values": [] } }));
    assert_eq!(spans.len(), 4, "{spans:#?}");
    broker.stop();
}

#[tokio::test]
async fn what_waits_is_exported_before_the_end_and_a_get_is_a_delivery() {
    let (collector, dir) = (Collector::default(), TempDir::new().unwrap());
    let broker = start(&dir, &collector.start().await);
    let (connection, channel) = channel(&broker).await;
    publish(&channel, "x", sampled()).await;
    let get = channel.basic_get("q".into(), BasicGetOptions::default());
    get.await.unwrap().unwrap();
    // Its end gives the message back.
    connection.close(200, "bye".into()).await.unwrap();
    let stopped = tokio::task::spawn_blocking(move || broker.stop());
    stopped.await.unwrap();
    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|span| &span["name"]).collect();
    assert_eq!(names, ["x publish", "q deliver", "q requeue"]);
}

#[tokio::test]
async fn without_a_collector_spans_are_lost_and_counted() {
    let dir = TempDir::new().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let broker = start(&dir, &address);
    let (_connection, channel) = channel(&broker).await;
    publish(&channel, "x", sampled()).await;
    publish(&channel, "x", sampled()).await;
    let line = broker.wait_for("listening for Prometheus");
    let metrics = format!("http://{}/metrics", line.rsplit('=').next().unwrap().trim());
    let until = Instant::now() + LIMIT;
    loop {
        let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        if text.contains("warren_spans_dropped_total 2") {
            assert!(text.contains("warren_spans_exported_total 0"), "{text}");
            break;
        }
        assert!(Instant::now() < until, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    broker.wait_for("spans are not taken, and lost");
    broker.stop();
}
