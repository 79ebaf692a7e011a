//! What exchanges keep: messages whose delay is not over (A3.11), and the last ones of a history (A3.10).
//!
//! Owns the store of such an exchange: a queue that no client sees, durable with its exchange and deleted with
//! it, so that delays and histories rest on the log, the timers and the recovery of every other queue. The
//! router decides what goes into a store; what comes out of it is decided here.

use smallvec::SmallVec;
use tracing::warn;

use super::aftermath::Posted;
use super::dedup::{self, Window, WindowOf};
use super::letters::extra_keys;
use super::rows::{QueueRow, RoleRow};
use super::vhost::{Change, Topology, Vhost};
use crate::base::{AmqpError, LogPos, Name, QueueId};
use crate::message::{Dedup, Message};
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
    let store = hidden(row.id, row.vhost, row.name, true, options);
    graph.set_store(store.name.as_bytes(), store.clone());
    Some(store)
}

/// A queue that no client sees and no policy applies to.
pub(super) fn hidden(
    id: QueueId,
    vhost: Name,
    name: Name,
    durable: bool,
    options: QueueOptions,
) -> QueueRef {
    let spec = QueueSpec {
        id,
        vhost,
        name,
        durable,
        exclusive_to: None,
        auto_delete: false,
        kind: QueueKind::Classic,
        is_store: true,
    };
    let settings = Settings {
        options: options.into(),
        ..Settings::default()
    };
    QueueRef::new(spec, settings)
}

/// The window of a row. Without its exchange or queue, which must be there already, it has no meaning.
pub(super) fn restore_window(topology: &mut Topology, row: QueueRow) -> Option<QueueRef> {
    let of_queue = row.role == RoleRow::QueueWindow;
    let rule = match of_queue {
        true => {
            let queue = topology.queues.get(&row.name);
            let rule = queue.and_then(|queue| queue.settings().options.dedup.clone());
            rule.filter(|rule| !rule.while_there)
        }
        false => {
            let exchange = topology.graph.get(row.name.as_bytes());
            exchange.and_then(|exchange| exchange.spec().dedup.clone())
        }
    };
    let Some(rule) = rule else {
        warn!(of = %row.name, "what it had seen is left out: it is not there");
        return None;
    };
    let queue = hidden(
        row.id,
        row.vhost,
        row.name.clone(),
        true,
        dedup::options(&rule),
    );
    let window = Window {
        rule,
        queue: queue.clone(),
    };
    match of_queue {
        true => topology.queue_windows.insert(row.name, window),
        false => topology.exchange_windows.insert(row.name, window),
    };
    Some(queue)
}

impl Change<'_> {
    /// Gives an exchange that has just been added its store.
    pub(super) fn add_store(&mut self, exchange: &Name, durable: bool, options: QueueOptions) {
        let store = self.add_hidden(exchange, durable, options, RoleRow::Store);
        self.topology.graph.set_store(exchange.as_bytes(), store);
    }

    /// Gives an exchange or queue that has just been added its window.
    pub(super) fn add_window(&mut self, of: WindowOf, rule: Dedup, durable: bool) {
        let (WindowOf::Exchange(name) | WindowOf::Queue(name)) = &of;
        let queue = self.add_hidden(name, durable, dedup::options(&rule), role(&of));
        let window = Window { rule, queue };
        match of {
            WindowOf::Exchange(name) => self.topology.exchange_windows.insert(name, window),
            WindowOf::Queue(name) => self.topology.queue_windows.insert(name, window),
        };
    }

    /// Takes the window of what is deleted away, if it has one.
    pub(super) fn remove_window(&mut self, of: &WindowOf) {
        let gone = match of {
            WindowOf::Exchange(name) => self.topology.exchange_windows.remove(name),
            WindowOf::Queue(name) => self.topology.queue_windows.remove(name),
        };
        if let Some(window) = gone {
            self.drop_hidden(&window.queue, role(of));
        }
    }

    fn add_hidden(
        &mut self,
        name: &Name,
        durable: bool,
        options: QueueOptions,
        role: RoleRow,
    ) -> QueueRef {
        let (id, vhost) = (self.vhost.next_queue_id(), self.vhost.name().clone());
        let queue = hidden(id, vhost, name.clone(), durable, options);
        if durable {
            self.put(Table::Queues, &QueueRow::of_hidden(&queue, role));
        }
        queue
    }

    /// A queue that no client sees goes with what it belongs to.
    pub(super) fn drop_hidden(&mut self, queue: &QueueRef, role: RoleRow) {
        if queue.durable {
            self.delete(Table::Queues, &QueueRow::of_hidden(queue, role));
        }
        self.closed.push(queue.clone());
    }
}

fn role(of: &WindowOf) -> RoleRow {
    match of {
        WindowOf::Exchange(_) => RoleRow::ExchangeWindow,
        WindowOf::Queue(_) => RoleRow::QueueWindow,
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
