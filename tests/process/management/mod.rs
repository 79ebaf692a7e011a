//! The HTTP API and the metrics of a broker's process, asked over HTTP.

mod api;
mod events;
mod firehose;
mod metrics;
mod reload;
mod server;
mod tags;
