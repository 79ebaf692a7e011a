//! The HTTP API and the metrics of a broker's process, asked over HTTP.

mod api;
mod metrics;
mod server;
mod tags;
