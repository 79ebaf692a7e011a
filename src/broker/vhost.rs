//! A virtual host: its exchanges, queues and bindings, and how they change.
//!
//! Owns the current [`Topology`], an immutable snapshot that publishes read without a lock. A change
//! clones it, changes the clone, appends the catalogue records to the log and only then shows the
//! new snapshot: whatever follows from the change stands behind it in the log.
//! Lock order: `changes`, then a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::arguments::PropertiesView;
use super::census::Node;
use super::dedup::{Seen, Window, WindowOf};
use super::events::{self, Events, Headers, INTERNAL_USER};
use super::firehose;
use super::pager::Line;
use super::policies::Policies;
use super::queue_set::QueueSet;
use super::replies::ReplyPort;
use super::rows::{ExchangeRow, RoleRow, Row};
use super::spans::Spans;
use super::stats::{BrokerCounters, Ended, ExchangeStats};
use super::timers::Timers;
use crate::auth::{Limit, Limits};
use crate::base::{AmqpError, LogPos, Name, QueueId, Quota};
use crate::codec::Properties;
use crate::message::Message;
use crate::queue::{Effects, QueueKind, QueueRef};
use crate::router::{ExchangeKind, ExchangeSpec, Graph, HashOn, Routes};
use crate::store::{Batch, Log, Table};

/// Everything a vhost routes by.
#[derive(Clone, Default)]
pub struct Topology {
    /// Exchanges and bindings, without the default exchange.
    pub graph: Graph<QueueRef>,
    /// Queues by name; the default exchange routes by this (A3.6).
    pub queues: QueueSet,
    /// The windows of exchanges that drop what they have seen (A3.21).
    pub(super) exchange_windows: imbl::HashMap<Name, Window>,
    /// The same of queues.
    pub(super) queue_windows: imbl::HashMap<Name, Window>,
    /// Where the last durable change ends in the log.
    end: LogPos,
}

impl Topology {
    /// Every queue there is: the clients', and the stores and windows that none of them sees.
    pub fn every_queue(&self) -> impl Iterator<Item = &QueueRef> {
        let stores = self
            .graph
            .exchanges()
            .filter_map(|exchange| exchange.store());
        let windows = self
            .exchange_windows
            .values()
            .chain(self.queue_windows.values());
        let windows = windows.map(|window| &window.queue);
        self.queues.values().chain(stores).chain(windows)
    }

    /// The queues that a message goes to, each once: by its exchange, its key and `extra_keys`
    /// (A3.18). Whether that may be remembered, `routes` says after.
    pub fn route(
        &self,
        message: &Message,
        extra_keys: &[Bytes],
        routes: &mut Routes<QueueRef>,
    ) -> SmallVec<[QueueRef; 2]> {
        self.route_from(message.exchange(), message, extra_keys, routes)
    }

    /// The same for a message that stands at an exchange which it need not have been published to.
    pub(super) fn route_from(
        &self,
        exchange: &[u8],
        message: &Message,
        extra_keys: &[Bytes],
        routes: &mut Routes<QueueRef>,
    ) -> SmallVec<[QueueRef; 2]> {
        let mut keys = SmallVec::<[&[u8]; 4]>::from_slice(&[message.routing_key()]);
        keys.extend(extra_keys.iter().map(Bytes::as_ref));
        routes.clear();
        if exchange.is_empty() {
            let mut found = SmallVec::<[QueueRef; 2]>::new();
            for queue in keys.iter().filter_map(|&key| self.queues.get(key)) {
                if !found.contains(queue) {
                    found.push(queue.clone());
                }
            }
            return found;
        }
        let Some(exchange) = self.graph.get(exchange) else {
            return SmallVec::new();
        };
        let view = PropertiesView(Properties::trusted(message.properties_bytes()));
        self.graph.route_keys(exchange, &keys, &view, routes);
        routes.drain().collect()
    }
}

/// A result, and the log position from which on a crash cannot undo it.
#[must_use = "the reply must wait for the disk"]
#[derive(Debug, Clone, Copy)]
pub struct Durably<T> {
    /// The result.
    pub value: T,
    /// [`LogPos::NONE`] if there is nothing to wait for.
    pub end: LogPos,
}

/// What an operator sets of a vhost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VhostSettings {
    /// For people.
    pub description: String,
    /// For people, too.
    pub tags: Vec<Name>,
    /// The type of a queue whose declaration names none (A4.7).
    pub default_queue_type: Option<QueueKind>,
    /// It cannot be deleted until this is unset.
    pub protected: bool,
}

/// Where queues leave what is to be done for them later.
pub(super) struct Errands {
    pub(super) timers: Arc<Timers>,
    pub(super) pages: Arc<Line>,
    pub(super) events: Arc<Events>,
    pub(super) spans: Option<Arc<Spans>>,
    /// It has the exchange for events.
    pub(super) event_exchange: bool,
}

/// A virtual host.
pub struct Vhost {
    name: Name,
    settings: ArcSwap<VhostSettings>,
    limits: ArcSwap<Limits>,
    /// The rates among them.
    pub(super) quota: Arc<Quota>,
    node: Arc<Node>,
    /// It is deleted: nothing may change any more.
    deleted: AtomicBool,
    /// Copies are made of what goes in and out.
    pub(super) tracing: AtomicBool,
    topology: ArcSwap<Topology>,
    changes: Mutex<()>,
    pub(super) log: Log,
    pub(super) timers: Arc<Timers>,
    /// Queues that want something read.
    pub(super) pages: Arc<Line>,
    /// The ids that windows have seen. Taken before any queue's lock.
    pub(super) seen: Mutex<Seen>,
    /// Who takes replies, by name.
    pub(super) replies: DashMap<Name, ReplyPort>,
    queue_ids: Arc<AtomicU64>,
    /// Exchanges that it has by itself.
    predeclared: usize,
    /// Counts of exchanges, by name.
    pub(super) exchange_stats: DashMap<Name, Arc<ExchangeStats>>,
    pub(super) ended: Arc<Ended>,
    spans: Option<Arc<Spans>>,
    pub(super) policies: ArcSwap<Policies>,
    /// One change of policies or of a queue's arguments at a time, until it is applied.
    pub(super) policy_changes: Mutex<()>,
}

/// The exchanges that every vhost has (A3.1).
const PREDECLARED: [(&str, ExchangeKind, bool); 6] = [
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    (firehose::EXCHANGE, ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

impl Vhost {
    /// A vhost with the predeclared exchanges.
    pub(super) fn new(
        name: Name,
        log: Log,
        errands: Errands,
        queue_ids: Arc<AtomicU64>,
        counters: Arc<BrokerCounters>,
        policies: Policies,
        node: Arc<Node>,
    ) -> Self {
        let mut topology = Topology::default();
        let events = (events::EXCHANGE, ExchangeKind::Topic, true);
        let events = errands.event_exchange.then_some(events);
        for (name, kind, internal) in PREDECLARED.into_iter().chain(events) {
            topology.graph.insert(ExchangeSpec {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: bytes::Bytes::new(),
                alternate: None,
                hash_on: HashOn::default(),
                dedup: None,
                history_len: 0,
                delayed: false,
            });
        }
        let topology_len = topology.graph.exchange_count();
        let topology = ArcSwap::from_pointee(topology);
        Vhost {
            name,
            settings: ArcSwap::default(),
            limits: ArcSwap::default(),
            quota: Arc::default(),
            node,
            deleted: AtomicBool::new(false),
            tracing: AtomicBool::new(false),
            topology,
            changes: Mutex::new(()),
            log,
            timers: errands.timers,
            pages: errands.pages,
            seen: Mutex::default(),
            replies: DashMap::new(),
            queue_ids,
            exchange_stats: DashMap::new(),
            ended: Arc::new(Ended::new(counters, errands.events)),
            spans: errands.spans,
            predeclared: topology_len,
            policies: ArcSwap::from_pointee(policies),
            policy_changes: Mutex::new(()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Where spans of sampled messages are told, if they are.
    pub fn spans(&self) -> Option<&Spans> {
        self.spans.as_deref()
    }

    /// What an operator has set of it.
    pub fn settings(&self) -> Arc<VhostSettings> {
        self.settings.load_full()
    }

    pub(super) fn set_settings(&self, settings: VhostSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// What there may be in it at most.
    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        limits.set_rates(&self.quota);
        self.limits.store(Arc::new(limits));
    }

    /// The rates that its publishers are held to.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The topology as it is now.
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Whether `topology` is still the current one.
    pub(super) fn is_current(&self, topology: &Arc<Topology>) -> bool {
        Arc::ptr_eq(&self.topology.load(), topology)
    }

    pub(super) fn next_queue_id(&self) -> QueueId {
        QueueId(self.queue_ids.fetch_add(1, Ordering::Relaxed))
    }

    /// What a change of the topology would come to. Nothing of it stays.
    pub(super) fn rehearse<T>(&self, change: impl FnOnce(&mut Change<'_>) -> T) -> T {
        let _one_at_a_time = self.changes.lock();
        change(&mut self.draft(INTERNAL_USER))
    }

    fn draft<'v>(&'v self, by: &'v str) -> Change<'v> {
        Change {
            vhost: self,
            by,
            topology: Topology::clone(&self.topology.load()),
            records: self.log.batch(),
            changed: false,
            closed: Vec::new(),
            policies: None,
            events: Vec::new(),
        }
    }

    /// Changes the topology, for a user. If `change` fails, nothing has changed.
    pub(super) fn change<T>(
        &self,
        by: &str,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, AmqpError>,
    ) -> Result<Durably<T>, AmqpError> {
        let _one_at_a_time = self.changes.lock();
        if self.deleted.load(Ordering::Relaxed) {
            return Err(AmqpError::vhost_not_found(&self.name));
        }
        let mut draft = self.draft(by);
        let value = change(&mut draft)?;
        let Change {
            mut topology,
            records,
            changed,
            closed,
            policies,
            events,
            ..
        } = draft;
        if !changed {
            return Ok(Durably {
                value,
                end: topology.end,
            });
        }
        let appended = match records.is_empty() {
            true => None,
            false => Some(
                self.log
                    .append(records)
                    .map_err(|_| AmqpError::internal())?,
            ),
        };
        topology.end = appended.as_ref().map_or(topology.end, |a| a.end());
        let end = topology.end;
        self.show(topology);
        for Told { event, by, fill } in events {
            self.ended.events.tell(event, |headers| {
                fill(headers);
                headers.by(by);
            });
        }
        if let Some(policies) = policies {
            self.policies.store(policies);
        }
        for store in closed {
            // Its id is no more, so what it held needs no records.
            let mut effects = Effects::default();
            store.lock().close(&mut effects);
            self.release(&mut effects);
            self.seen.lock().remove(&store.id);
        }
        Ok(Durably { value, end })
    }

    /// From now on nothing in it changes. For a change that takes all out of it.
    pub(super) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Relaxed);
    }

    /// Sets the topology at start, from what is in the catalogue already.
    pub(super) fn restore(&self, topology: Topology) {
        self.show(topology);
    }

    fn show(&self, topology: Topology) {
        if let Some(exchange) = topology.graph.get(events::EXCHANGE.as_bytes()) {
            self.ended.events.want(!exchange.is_unused());
        }
        let size = |t: &Topology| (t.queues.len(), t.graph.exchange_count());
        let now = size(&topology);
        let before = size(&self.topology.swap(Arc::new(topology)));
        Node::recount(&self.node.queues, before.0, now.0);
        Node::recount(&self.node.exchanges, before.1, now.1);
    }

    /// Whether there may be one more queue (A13), by the vhost's limits as they are or are to be.
    pub(super) fn check_queue_limit(
        &self,
        limits: &Limits,
        name: &Name,
        count: usize,
    ) -> Result<(), AmqpError> {
        if let Some(limit) = limits.reached(Limit::Queues, count as u64) {
            return Err(AmqpError::queue_limit(name, &self.name, limit));
        }
        let all = self.node.queues.load(Ordering::Relaxed);
        match self.node.reached(Limit::Queues, all) {
            Some(limit) => Err(AmqpError::cluster_queue_limit(name, limit)),
            None => Ok(()),
        }
    }

    /// The same of exchanges. Those that every vhost has do not count.
    pub(super) fn check_exchange_limit(
        &self,
        limits: &Limits,
        name: &Name,
        count: usize,
    ) -> Result<(), AmqpError> {
        let declared = count.saturating_sub(self.predeclared) as u64;
        let all = self.node.exchanges.load(Ordering::Relaxed);
        let reached = limits.reached(Limit::Exchanges, declared);
        match reached.or_else(|| self.node.reached(Limit::Exchanges, all)) {
            Some(limit) => Err(AmqpError::exchange_limit(name, &self.name, limit)),
            None => Ok(()),
        }
    }

    /// `value`, which rests on the topology as it is now.
    pub(super) fn unchanged<T>(&self, value: T) -> Durably<T> {
        Durably {
            value,
            end: self.topology.load().end,
        }
    }
}

/// A change in the making.
pub(super) struct Change<'v> {
    pub(super) vhost: &'v Vhost,
    /// Whose doing what is done next is.
    by: &'v str,
    pub(super) topology: Topology,
    pub(super) records: Batch,
    pub(super) changed: bool,
    /// Stores and windows of what is deleted.
    pub(super) closed: Vec<QueueRef>,
    /// What the policies become.
    pub(super) policies: Option<Arc<Policies>>,
    /// What it comes to, to be told once it is so.
    events: Vec<Told<'v>>,
}

/// An event that is told once the change is made.
struct Told<'v> {
    event: &'static str,
    by: &'v str,
    /// Writes its headers.
    fill: Box<dyn FnOnce(&mut Headers)>,
}

impl Change<'_> {
    /// Whether anybody wants to know of events.
    pub(super) fn are_events_wanted(&self) -> bool {
        self.vhost.ended.events.are_wanted()
    }

    /// Tells of an event and whose doing it is, if the change comes to be.
    pub(super) fn tell(&mut self, event: &'static str, fill: impl FnOnce(&mut Headers) + 'static) {
        if self.are_events_wanted() {
            self.events.push(Told {
                event,
                by: self.by,
                fill: Box::new(fill),
            });
        }
    }

    /// Does what follows from something else, and so is nobody's doing but the broker's.
    pub(super) fn internally<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let by = std::mem::replace(&mut self.by, INTERNAL_USER);
        let done = act(self);
        self.by = by;
        done
    }

    pub(super) fn put(&mut self, table: Table, row: &impl Row) {
        self.records.put(table, &row.key(), &row.value());
    }

    pub(super) fn delete(&mut self, table: Table, row: &impl Row) {
        self.records.delete(table, &row.key());
    }

    /// Takes an exchange out, and then the auto-delete exchanges that this leaves unused (A3.14).
    pub(super) fn remove_exchange(&mut self, name: &Name) {
        let mut doomed = vec![name.clone()];
        while let Some(name) = doomed.pop() {
            let Some(gone) = self.topology.graph.remove(name.as_bytes()) else {
                continue;
            };
            self.changed = true;
            self.vhost.exchange_stats.remove(&name);
            let (told, vhost) = (name.clone(), self.vhost.name().clone());
            self.tell("exchange.deleted", move |headers| {
                headers.text("name", &told).text("vhost", &vhost);
            });
            if let Some(store) = gone.exchange.store() {
                self.drop_hidden(store, RoleRow::Store);
            }
            self.remove_window(&WindowOf::Exchange(name.clone()));
            if gone.exchange.spec().durable {
                let row = ExchangeRow::of(self.vhost.name(), gone.exchange.spec());
                self.delete(Table::Exchanges, &row);
            }
            self.forget_bindings(&gone.removed.bindings);
            doomed.extend(self.auto_deleted(&gone.removed.unused_sources));
        }
    }

    /// Those of `unused` exchanges that go because they are unused.
    pub(super) fn auto_deleted(&self, unused: &[Name]) -> Vec<Name> {
        let graph = &self.topology.graph;
        let auto_delete = |name: &&Name| {
            graph
                .get(name.as_bytes())
                .is_some_and(|exchange| exchange.spec().auto_delete)
        };
        unused.iter().filter(auto_delete).cloned().collect()
    }
}
