//! Management over HTTP: the API under `/api`, the pages at `/`, and Prometheus on a port of its own.
//!
//! Owns what an HTTP client sees: paths, verbs, JSON fields, status codes (A12, A14). It decides
//! nothing about queues or users; the broker does. It runs on threads of its own, so that a long
//! listing never keeps a worker from its connections.

mod access;
mod body;
mod fault;
mod list;
mod local;
mod metrics;
mod node;
mod object;
mod pages;
mod paths;
mod query;
mod rates;
mod resources;
mod routes;
mod server;
mod servers;
mod tables;
mod version;

use std::sync::Arc;

pub use servers::{HttpServers, Running};

use local::LocalAccess;
use node::Node;

use crate::base::reply::ApiError;
use crate::broker::{Broker, Durably};
use crate::config::InForce;

/// What every request works on.
#[derive(Clone)]
struct Context {
    broker: Arc<Broker>,
    node: Arc<Node>,
    config: InForce,
    /// There while the API serves.
    local: Option<Arc<LocalAccess>>,
}

impl Context {
    /// The value of a change, once it is on disk.
    async fn durably<T, E>(&self, done: Result<Durably<T>, E>) -> Result<T, ApiError>
    where
        ApiError: From<E>,
    {
        let Durably { value, end } = done?;
        self.broker.durable(end).await?;
        Ok(value)
    }
}
