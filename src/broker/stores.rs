//! What exchanges keep: messages whose delay is not over (A3.11), and the last ones of a history (A3.10).
//!
//! Owns the store of such an exchange: a queue that no client sees, durable with its exchange and deleted with
//! it, so that delays and histories rest on the log, the timers and the recovery of every other queue. The
//! router decides what goes into a store; what comes out of it is decided here.

use bytes::Bytes;
use smallvec::SmallVec;
use tracing::warn;

use super::aftermath::Posted;
use super::letters::extra_keys;
use super::rows::QueueRow;
use super::vhost::{Change, Topology, Vhost};
use crate::base::{AmqpError, LogPos, Name};
use crate::message::Message;
use crate::queue::{DeadLetter, QueueKind, QueueOptions, QueueRef, QueueSpec, Settings};
use crate::router::{Destination, ExchangeKind, ExchangeSpec, Graph, Routes};
use crate::store::Table;

/// What the store of an exchange is like, if it has one.
pub(super) fn options(exchange: &ExchangeSpec) -> Option<QueueOptions> {
    if exchange.delayed {
        return Some(QueueOptions {
            delays: true,
            // What expires here is not dead: see `Vhost::address`.
            dead_letter: Some(DeadLetter {
                exchange: exchange.name.clone(),
                routing_key: None,
            }),
            ..QueueOptions::default()
        });
    }
    (exchange.kind == ExchangeKind::RecentHistory).then(|| QueueOptions {
        max_len: Some(exchange.history_len),
        ..QueueOptions::default()
    })
}

/// The store of a row. Without its exchange, which must be there already, it has no meaning.
pub(super) fn restore(graph: &mut Graph<QueueRef>, row: QueueRow) -> Option<QueueRef> {
    let exchange = graph.get(row.name.as_bytes());
    let Some(options) = exchange.and_then(|exchange| options(exchange.spec())) else {
        warn!(exchange = %row.name, "what it kept is left out: no such exchange");
        return None;
    };
    let spec = QueueSpec {
        id: row.id,
        vhost: row.vhost,
        name: row.name,
        durable: true,
        exclusive_to: None,
        auto_delete: false,
        kind: QueueKind::Classic,
        is_store: true,
    };
    let store = QueueRef::new(spec, settings(options));
    graph.set_store(store.name.as_bytes(), store.clone());
    Some(store)
}

/// No policy applies to a store.
fn settings(options: QueueOptions) -> Settings {
    Settings {
        options,
        ..Settings::default()
    }
}

impl Change<'_> {
    /// Gives an exchange that has just been added its store.
    pub(super) fn add_store(&mut self, exchange: &Name, durable: bool, options: QueueOptions) {
        let spec = QueueSpec {
            id: self.vhost.next_queue_id(),
            vhost: self.vhost.name().clone(),
            name: exchange.clone(),
            durable,
            exclusive_to: None,
            auto_delete: false,
            kind: QueueKind::Classic,
            is_store: true,
        };
        let store = QueueRef::new(spec, settings(options));
        if durable {
            self.put(Table::Queues, &QueueRow::of(&store, Bytes::new()));
        }
        self.topology.graph.set_store(exchange.as_bytes(), store);
    }
}

impl Topology {
    /// What becomes of a message whose delay at an exchange is over: it goes on from there.
    pub(super) fn release(
        &self,
        exchange: &Name,
        message: &Message,
        routes: &mut Routes<QueueRef>,
    ) -> (Message, SmallVec<[QueueRef; 2]>) {
        let message = message.after_delay();
        let keys = extra_keys(&message);
        let found = self.route_from(exchange.as_bytes(), &message, &keys, routes);
        (message, found)
    }
}

impl Vhost {
    /// Gives a destination that was just bound to an exchange what the exchange remembers, oldest first. The
    /// log position that makes it last.
    pub(super) fn tell_history(
        &self,
        exchange: &Name,
        to: &Destination<QueueRef>,
    ) -> Result<LogPos, AmqpError> {
        let topology = self.topology();
        let source = topology.graph.get(exchange.as_bytes());
        let remembers = |spec: &ExchangeSpec| spec.kind == ExchangeKind::RecentHistory;
        let Some(store) = source
            .filter(|exchange| remembers(exchange.spec()))
            .and_then(|exchange| exchange.store())
        else {
            return Ok(LogPos::NONE);
        };
        let mut batch = self.log.batch();
        let mut routes = Routes::new();
        let mut posted = Vec::new();
        for message in store.lock().peek_all() {
            let targets = match to {
                Destination::Queue(queue) => SmallVec::from_elem(queue.clone(), 1),
                Destination::Exchange(name) => {
                    let keys = extra_keys(&message);
                    topology.route_from(name.as_bytes(), &message, &keys, &mut routes)
                }
            };
            let record = self.record(&message, &targets, &mut batch);
            posted.extend(Posted::to_each(targets, &message, record));
        }
        self.post_all(batch, posted)
    }
}
