//! Spans on their way to a collector: OTLP over HTTP, as JSON.
//!
//! Owns the form, and when spans are given up: at once, if the collector does not take them.

use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::Broker;
use super::{Attribute, Span};
use crate::base::host;
use crate::base::limits::{SPANS_AT_ONCE, SPANS_EXPORT_TIMEOUT};

/// Why spans are not exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("it answers {0}")]
    Refused(StatusCode),
    #[error("the address cannot have a path")]
    Address,
}

impl Broker {
    /// Exports spans until it is to stop and none waits any more. One task runs it.
    pub async fn export_spans(&self, stop: CancellationToken) {
        let Some(spans) = &self.spans else { return };
        let Some(mut waiting) = spans.waiting.lock().take() else {
            return;
        };
        let collector = Collector::at(&spans.endpoint);
        if let Err(fault) = &collector {
            warn!(collector = spans.endpoint, %fault, "spans cannot be exported");
        }
        let mut failing = false;
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                count = waiting.recv_many(&mut batch, SPANS_AT_ONCE) => count as u64,
                () = stop.cancelled() => return,
            };
            let Ok(collector) = &collector else {
                batch.clear();
                spans.dropped.add(count);
                continue;
            };
            let exported = collector.take(&batch).await;
            batch.clear();
            match &exported {
                Ok(()) => spans.exported.add(count),
                Err(_) => spans.dropped.add(count),
            }
            match exported {
                Ok(()) if failing => {
                    info!(collector = spans.endpoint, "spans are exported again");
                }
                Err(fault) if !failing => {
                    warn!(collector = spans.endpoint, %fault, "spans are not taken, and lost");
                }
                _ => continue,
            }
            failing = !failing;
        }
    }
}

/// Who takes spans.
struct Collector {
    client: Client,
    url: Url,
    /// Who we are.
    resource: Json,
}

impl Collector {
    fn at(endpoint: &str) -> Result<Self, ExportError> {
        let mut url = Url::parse(endpoint).map_err(|_| ExportError::Address)?;
        url.path_segments_mut()
            .map_err(|()| ExportError::Address)?
            .pop_if_empty()
            .extend(["v1", "traces"]);
        let mut client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(SPANS_EXPORT_TIMEOUT);
        if url.scheme() == "http" {
            // Not those of the system, which a machine may lack.
            client = client.tls_certs_only([]);
        }
        let about = [
            ("service.name", "warren".to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", host::node_name()),
        ];
        let about = about.map(|(key, value)| attribute(key, &Attribute::Text(value)));
        Ok(Collector {
            client: client.build()?,
            url,
            resource: json!({ "attributes": about }),
        })
    }

    async fn take(&self, spans: &[Span]) -> Result<(), ExportError> {
        let spans: Vec<Json> = spans.iter().map(to_json).collect();
        let body = json!({ "resourceSpans": [{
            "resource": self.resource,
            "scopeSpans": [{ "scope": { "name": "warren" }, "spans": spans }],
        }] });
        let request = self.client.post(self.url.clone()).json(&body);
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(ExportError::Refused(status)),
        }
    }
}

/// A span in OTLP's JSON: ids in hexadecimal, 64-bit numbers as texts.
fn to_json(span: &Span) -> Json {
    let attributes = span.attributes.iter();
    let attributes: Vec<Json> = attributes
        .map(|(key, value)| attribute(key, value))
        .collect();
    json!({
        "traceId": hex(&span.parent.trace),
        "spanId": hex(&span.id),
        "parentSpanId": hex(&span.parent.span),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.began_ns.to_string(),
        "endTimeUnixNano": span.ended_ns.to_string(),
        "attributes": attributes,
    })
}

fn attribute(key: &str, value: &Attribute) -> Json {
    let text = |text: &String| json!({ "stringValue": text });
    let value = match value {
        Attribute::Text(value) => text(value),
        Attribute::Texts(values) => {
            json!({ "arrayValue": { "values": values.iter().map(text).collect::<Vec<_>>() } })
        }
        Attribute::Number(number) => json!({ "intValue": number.to_string() }),
        Attribute::Flag(is) => json!({ "boolValue": is }),
    };
    json!({ "key": key, "value": value })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
