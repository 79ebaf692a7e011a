//! The broker: the only place that joins router, queue, store and auth.
//!
//! Owns the vhosts, the rules of the topology, publishing, settling, users and permissions, and what
//! is restored at start and written at the end. Never sees a frame or a socket: the protocol calls it with
//! declarations and messages, and gets results, faults and log positions to wait for.

mod access;
mod access_rows;
mod aftermath;
pub mod alarms;
mod arguments;
mod browse;
mod census;
mod checkpoints;
mod compaction;
mod consume;
mod dedup;
pub mod definitions;
mod events;
mod exchanges;
mod firehose;
mod first_start;
mod grants;
#[cfg(test)]
mod kind_tests;
mod letters;
mod moving;
mod pager;
pub mod parameters;
mod pause;
pub mod policies;
mod publish;
pub mod queue_arguments;
mod queue_set;
mod queues;
mod repair;
pub mod replies;
mod restore;
mod routing;
mod rows;
pub mod spans;
pub mod stats;
mod stores;
#[cfg(test)]
mod tests;
mod timers;
mod vhost;
mod vhosts;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info};

pub use access::ChangeError;
pub use browse::{Bounds, Browsed};
pub use census::Seat;
pub use consume::Settle;
pub use events::INTERNAL_USER;
pub use exchanges::{BindingSpec, ExchangeDeclaration};
pub use firehose::Party;
pub use moving::{Move, MoveTo, Moved};
pub use pause::Pause;
pub use publish::{Publisher, Routed};
pub use queues::{DeleteIf, QUEUE_PREFIX, QueueDeclaration, server_name};
pub use repair::repair;
pub use restore::OpenError;
pub use routing::RouteAccount;
pub use rows::RowError;
pub use vhost::{Durably, Topology, Vhost, VhostSettings};
pub use vhosts::Entered;

use alarms::{Alarms, MEASURE_EVERY};
use census::{Census, Node};
use checkpoints::Checkpoints;
use events::Events;
use pager::{Pager, Vhosts};
use parameters::Parameters;
use policies::Policies;
use spans::Spans;
use stats::{BrokerCounters, ConnectionDetails, ConnectionStats, Course};
use timers::Timers;
use vhost::Errands;

use crate::auth::{Logins, SharedDirectory};
use crate::base::{AmqpError, ConnectionId, LogPos, Name, Quota, host};
use crate::config::{Config, Limit};
use crate::store::{Durable, Log, Store, StoreError};

/// The vhost that a new data directory has.
pub const DEFAULT_VHOST: &str = "/";

/// What the broker may ask of a connection.
pub trait ConnectionHandle: Send + Sync {
    /// Has the connection close with a reason.
    fn close(&self, reason: AmqpError);

    /// Publishers need not be stopped any more (A1.15).
    fn alarms_over(&self);
}

/// Everything that outlives a connection.
pub struct Broker {
    /// These two before the store, which they use.
    pager: Pager,
    checkpoints: Checkpoints,
    store: Store,
    logins: Logins,
    directory: SharedDirectory,
    vhosts: Vhosts,
    /// One change of users, permissions, limits or vhosts at a time; where the last one ends.
    access_changes: Mutex<LogPos>,
    parameters: ArcSwap<Parameters>,
    /// One change of them at a time.
    parameter_changes: Mutex<()>,
    census: Arc<Census>,
    node: Arc<Node>,
    /// Rates that users are held to, by name.
    quotas: DashMap<Name, Arc<Quota>>,
    connections: DashMap<ConnectionId, Connected>,
    next_connection: AtomicU64,
    /// Why no connection may go on, once that is so.
    closing: OnceLock<AmqpError>,
    failure: Arc<LogWatch>,
    timers: Arc<Timers>,
    alarms: Arc<Alarms>,
    queue_ids: Arc<AtomicU64>,
    /// Of several policies that match all count.
    stack_policies: bool,
    counters: Arc<BrokerCounters>,
    events: Arc<Events>,
    /// The first vhost has the exchange for them.
    event_exchange: bool,
    spans: Option<Arc<Spans>>,
    course: Course,
}

/// A connection, from accept to its end.
struct Connected {
    handle: Arc<dyn ConnectionHandle>,
    stats: Arc<ConnectionStats>,
}

/// A task's way to wait for the log.
#[derive(Default)]
struct LogWatch(Notify);

impl Durable for LogWatch {
    fn durable(&self) {
        self.0.notify_one();
    }
}

impl Broker {
    /// A vhost that is new.
    fn new_vhost(&self, name: Name) -> Vhost {
        let (timers, queue_ids) = (Arc::clone(&self.timers), Arc::clone(&self.queue_ids));
        let (pages, counters) = (self.pager.line(), Arc::clone(&self.counters));
        let policies = Policies::new(self.stack_policies);
        let (log, node) = (self.log().clone(), Arc::clone(&self.node));
        let errands = Errands {
            timers,
            pages,
            events: Arc::clone(&self.events),
            spans: self.spans.clone(),
            event_exchange: self.event_exchange && name.as_str() == DEFAULT_VHOST,
        };
        Vhost::new(name, log, errands, queue_ids, counters, policies, node)
    }

    /// The commit log.
    pub fn log(&self) -> &Log {
        self.store.log()
    }

    /// What the broker counts.
    pub fn counters(&self) -> &BrokerCounters {
        &self.counters
    }

    /// Enters a connection, which is told when it must close. What it is to count in.
    pub fn connect(
        &self,
        handle: Arc<dyn ConnectionHandle>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Arc<ConnectionStats> {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let stats = Arc::new(ConnectionStats::new(id, peer, local));
        let connected = Connected {
            handle: Arc::clone(&handle),
            stats: Arc::clone(&stats),
        };
        self.connections.insert(id, connected);
        // One that begins while the others are closed is missed by them, or sees the reason here.
        if let Some(reason) = self.closing.get() {
            handle.close(reason.clone());
        }
        stats
    }

    /// A connection has logged in and opened its vhost: from now on it is listed.
    pub fn opened(&self, stats: &ConnectionStats, vhost: &Vhost, details: ConnectionDetails) {
        self.counters.connections_opened.add(1);
        self.events.tell("connection.created", |headers| {
            headers
                .ends(stats)
                .text("user", &details.user)
                .text("vhost", &details.vhost)
                .text("type", "network")
                .text("protocol", "{0,9,1}")
                .text("auth_mechanism", &details.mechanism)
                .number("channel_max", details.channel_max)
                .number("frame_max", details.frame_max)
                .number("timeout", details.heartbeat_s)
                .number(
                    "connected_at",
                    i64::try_from(details.connected_at_ms).unwrap_or(i64::MAX),
                )
                .table("client_properties", &details.client_properties)
                .by(&details.user);
        });
        stats.open(details, Arc::clone(&vhost.ended));
    }

    /// Takes a connection out that has ended.
    pub fn disconnect(&self, id: ConnectionId) {
        if let Some((_, ended)) = self.connections.remove(&id) {
            ended.stats.close();
        }
    }

    /// Has all connections close, also those that are still to begin.
    pub fn close_connections(&self, reason: &AmqpError) {
        self.closing.get_or_init(|| reason.clone());
        for connection in &self.connections {
            connection.handle.close(reason.clone());
        }
    }

    /// Returns when the store has failed, with the reason; else never.
    pub async fn failed(&self) -> StoreError {
        loop {
            if let Some(failure) = self.store.failure() {
                return failure;
            }
            self.failure.0.notified().await;
        }
    }

    /// Returns when what ends at `end` in the log is on disk.
    ///
    /// # Errors
    /// 541 if the log failed before.
    pub async fn durable(&self, end: LogPos) -> Result<(), AmqpError> {
        let reached = Arc::new(LogWatch::default());
        while self.log().durable() < end {
            if self.log().failure().is_some() {
                return Err(AmqpError::internal());
            }
            let waiter: Arc<dyn Durable> = Arc::clone(&reached) as _;
            self.log().notify_when_durable(end, waiter);
            reached.0.notified().await;
        }
        Ok(())
    }

    /// The alarms, to be read.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Goes by other settings from now on: alarms, limits, and how logins are slowed down.
    pub fn follow(&self, config: &Config) {
        self.set_memory_watermark(config.alarms.memory_watermark);
        self.set_disk_free_limit(config.alarms.disk_free_limit);
        self.node.limits.store(Arc::new(config.limits.of_node()));
        let rules = restore::failure_rules(config);
        self.logins
            .follow(config.auth.loopback_users.clone(), rules);
    }

    /// Changes above how much resident memory publishers are stopped.
    pub fn set_memory_watermark(&self, watermark: Limit) {
        let over = self.alarms.set_memory_watermark(watermark);
        self.tell_alarms(over);
    }

    /// Changes below how much room on the disk publishers are stopped.
    pub fn set_disk_free_limit(&self, limit: Limit) {
        let over = self.alarms.set_disk_free_limit(limit);
        self.tell_alarms(over);
    }

    /// Measures memory and disk once a second and when the log wants it, for ever. One task runs it.
    pub async fn watch_resources(&self) {
        let mut ticks = tokio::time::interval(MEASURE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Memory, disk.
        let mut raised = (false, false);
        let short = Arc::new(LogWatch::default());
        self.log().notify_when_short(Arc::clone(&short) as _);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = short.0.notified() => {}
            }
            let (alarms, log) = (Arc::clone(&self.alarms), self.log().clone());
            let measure = move || {
                let over = alarms.measure();
                let now = alarms.view();
                log.room_measured(now.disk_free_bytes, now.disk_limit_bytes, now.disk_alarm);
                over
            };
            // A disk that hangs must not hold up a worker.
            if let Ok(over) = tokio::task::spawn_blocking(measure).await {
                self.tell_alarms(over);
            }
            let now = self.alarms.view();
            for (resource, before, now) in [
                ("memory", &mut raised.0, now.memory_alarm),
                ("disk", &mut raised.1, now.disk_alarm),
            ] {
                let event = match (std::mem::replace(before, now), now) {
                    (false, true) => "alarm.set",
                    (true, false) => "alarm.cleared",
                    _ => continue,
                };
                self.events.tell(event, |headers| {
                    headers
                        .text("name", resource)
                        .text("node", &host::node_name());
                });
            }
        }
    }

    fn tell_alarms(&self, over: bool) {
        if over {
            for connection in &self.connections {
                connection.handle.alarms_over();
            }
        }
    }

    /// Wakes queues when their time has come, for ever. One task runs it.
    pub async fn keep_time(&self) {
        loop {
            let queue = self.timers.next().await;
            if let Some(vhost) = self.vhost(&queue.vhost)
                && let Err(fault) = vhost.on_timer(&queue)
            {
                debug!(queue = %queue.name, %fault, "timer");
            }
        }
    }

    /// Writes what is left to write, and a last checkpoint that says that all was in order. All
    /// connections must have ended. Blocks until everything is on disk.
    pub fn close(&self) -> Result<(), OpenError> {
        self.pager.stop();
        self.checkpoints.stop();
        self.store.close(checkpoints::states(&self.vhosts))?;
        info!("the log is closed");
        Ok(())
    }
}
