//! Which queues a message would reach, and why.
//!
//! Owns the account of a route in a vhost, the default exchange's included. Publishes nothing.

use bytes::Bytes;

use super::arguments::PropertiesView;
use super::vhost::Vhost;
use crate::base::Name;
use crate::codec::Properties;
use crate::message::Message;
use crate::queue::QueueRef;
use crate::router::{ExchangeKind, Routes, Step};

/// See the module.
#[derive(Debug)]
pub struct RouteAccount {
    /// The queues it would reach, in the order of their names.
    pub queues: Vec<Name>,
    /// The exchanges it would come to; none if it is published to the default exchange, which sends it
    /// to the queues of its keys' names.
    pub steps: Vec<(ExchangeKind, Step<QueueRef>)>,
}

impl Vhost {
    /// Where a message would go by its exchange, its key and `extra_keys` (A3.18); `None` if there is no
    /// such exchange.
    pub fn explain_route(&self, message: &Message, extra_keys: &[Bytes]) -> Option<RouteAccount> {
        let topology = self.topology();
        let mut routes = Routes::new();
        let found = topology.route(message, extra_keys, &mut routes);
        let arrived = found.iter().filter(|queue| !queue.is_store);
        let mut queues: Vec<Name> = arrived.map(|queue| queue.name.clone()).collect();
        queues.sort_unstable();
        if message.exchange().is_empty() {
            return Some(RouteAccount {
                queues,
                steps: Vec::new(),
            });
        }
        let exchange = topology.graph.get(message.exchange())?;
        let keys = [message.routing_key()].into_iter();
        let keys: Vec<&[u8]> = keys.chain(extra_keys.iter().map(Bytes::as_ref)).collect();
        let view = PropertiesView(Properties::trusted(message.properties_bytes()));
        let steps = topology.graph.explain(exchange, &keys, &view).into_iter();
        let with_kind = steps.filter_map(|step| {
            let exchange = topology.graph.get(step.exchange.as_bytes())?;
            Some((exchange.spec().kind, step))
        });
        Some(RouteAccount {
            queues,
            steps: with_kind.collect(),
        })
    }
}
