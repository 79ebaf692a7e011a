//! Prometheus: what a scrape shows, under RabbitMQ's names where the meaning is the same (A14).
//!
//! Owns names and help texts; every figure is a statistic of the broker's or of the system's. One
//! scrape looks at each object once.

mod families;
mod global;
mod log;
mod objects;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Context;
use super::query::Params;
use crate::base::reply::ApiError;
use families::Families;
use objects::Grouping;

/// The endpoints of the metrics' own port. They ask for no password.
pub(super) fn routes(context: Context) -> Router {
    Router::new()
        .route("/metrics", get(aggregated))
        .route("/metrics/per-object", get(per_object))
        .route("/metrics/detailed", get(detailed))
        .with_state(context)
}

async fn aggregated(State(context): State<Context>) -> Result<Response, ApiError> {
    scrape(context, "", Families::ALL, Grouping::Sums)
}

async fn per_object(State(context): State<Context>) -> Result<Response, ApiError> {
    scrape(context, "", Families::ALL, Grouping::Each { vhosts: None })
}

/// GET /metrics/detailed?family=…&vhost=…, either several times
async fn detailed(State(context): State<Context>, params: Params) -> Result<Response, ApiError> {
    let vhosts: Vec<String> = params.all("vhost").map(str::to_owned).collect();
    let grouping = Grouping::Each {
        vhosts: (!vhosts.is_empty()).then_some(vhosts),
    };
    scrape(
        context,
        "detailed_",
        Families::named(params.all("family")),
        grouping,
    )
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn scrape(
    context: Context,
    infix: &'static str,
    families: Families,
    grouping: Grouping,
) -> Result<Response, ApiError> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        context,
        infix,
        families,
        grouping: Arc::new(grouping),
    }));
    let mut text = String::new();
    // Only a writer that fails makes it fail, and a string does not.
    encode(&mut text, &registry).map_err(|_| ApiError::not_found())?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// One scrape.
struct Scrape {
    context: Context,
    infix: &'static str,
    families: Families,
    grouping: Arc<Grouping>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page {
            encoder,
            infix: self.infix,
        };
        global::identity(&mut page, &self.context)?;
        if self.infix.is_empty() {
            global::totals(&mut page, &self.context)?;
            global::messages(&mut page, &self.context)?;
            global::node(&mut page, &self.context)?;
            log::write(&mut page, &self.context)?;
            global::spans(&mut page, &self.context)?;
        }
        objects::write(&mut page, &self.context, self.families, &self.grouping)
    }
}

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A metric of things of one kind.
struct Metric<T> {
    /// Without `rabbitmq_` or `warren_`, and without `_total`.
    name: &'static str,
    help: &'static str,
    kind: Kind,
    of: fn(&T) -> u64,
}

impl<T> Metric<T> {
    const fn counter(name: &'static str, help: &'static str, of: fn(&T) -> u64) -> Self {
        Metric {
            name,
            help,
            kind: Kind::Counter,
            of,
        }
    }

    const fn gauge(name: &'static str, help: &'static str, of: fn(&T) -> u64) -> Self {
        Metric {
            name,
            help,
            kind: Kind::Gauge,
            of,
        }
    }
}

/// The labels of a sample.
type Labels = Vec<(&'static str, String)>;

/// Where the metrics are written.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    infix: &'static str,
}

impl Page<'_> {
    /// Writes metrics with a sample for each row.
    fn write<T>(&mut self, metrics: &[Metric<T>], rows: &[(Labels, T)]) -> fmt::Result {
        self.named(&format!("rabbitmq_{}", self.infix), metrics, rows)
    }

    /// Writes metrics that RabbitMQ does not have.
    fn own<T>(&mut self, metrics: &[Metric<T>], rows: &[(Labels, T)]) -> fmt::Result {
        self.named("warren_", metrics, rows)
    }

    fn named<T>(
        &mut self,
        prefix: &str,
        metrics: &[Metric<T>],
        rows: &[(Labels, T)],
    ) -> fmt::Result {
        for metric in metrics {
            let name = format!("{prefix}{}", metric.name);
            let samples = rows.iter().map(|(labels, row)| (labels, (metric.of)(row)));
            self.samples(&name, metric.help, metric.kind, samples)?;
        }
        Ok(())
    }

    /// Writes one metric without labels.
    fn one(&mut self, name: &str, help: &str, kind: Kind, value: u64) -> fmt::Result {
        let none = Labels::new();
        self.samples(name, help, kind, std::iter::once((&none, value)))
    }

    fn samples<'l>(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        samples: impl Iterator<Item = (&'l Labels, u64)>,
    ) -> fmt::Result {
        let of = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut metric = self.encoder.encode_descriptor(name, help, None, of)?;
        for (labels, value) in samples {
            let mut sample = metric.encode_family(labels)?;
            match kind {
                Kind::Counter => sample.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                Kind::Gauge => sample.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// Writes what there is one of, as labels.
    fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        let name = format!("rabbitmq_{name}");
        let mut metric = self
            .encoder
            .encode_descriptor(&name, help, None, MetricType::Info)?;
        metric.encode_info(labels)
    }
}
