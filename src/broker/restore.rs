//! From a data directory to a broker with the queues and messages it had.
//!
//! Owns the order: users, vhosts, exchanges, queues, bindings from the catalogue, then the messages from
//! the log into their queues.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::access_rows::{
    PermissionRow, TopicPermissionRow, UserLimitsRow, UserRow, VhostLimitsRow,
};
use super::alarms::{Alarms, SystemProbe};
use super::arguments;
use super::census::{Census, Node};
use super::checkpoints::Checkpoints;
use super::dedup;
use super::events::Events;
use super::exchanges::ExchangeDeclaration;
use super::pager::{self, Line, Pager};
use super::parameters::Parameters;
use super::policies::{Policies, PolicyKind, PolicyRow};
use super::queue_arguments;
use super::rows::{
    BindingRow, DestinationRow, ExchangeRow, QueueRow, RoleRow, Row, RowError, VhostRow,
};
use super::spans::Spans;
use super::stats::{BrokerCounters, Course};
use super::stores;
use super::timers::Timers;
use super::vhost::{Errands, Topology, Vhost};
use super::{Broker, DEFAULT_VHOST, LogWatch};
use crate::auth::{Backend, Directory, FailureRules, HashError, HttpAuth, HttpAuthError, Logins};
use crate::base::index::QueueState;
use crate::base::{LogPos, Name, QueueId, Resource, clock};
use crate::config::{Config, Durability};
use crate::message::Message;
use crate::queue::{Queue, QueueRef, QueueSpec};
use crate::router::Destination;
use crate::store::{self, Log, Reader, Recovered, Store, StoreError, Table};

/// Why a data directory can't be used, or can't be closed in order.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that this version cannot read.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The log holds messages, and the catalogue that names their queues is not the one it belongs
    /// to.
    #[error(
        "the log holds messages, but the catalogue beside it is empty: it was lost or replaced; \
         put the data directory back as a whole from a backup"
    )]
    CatalogueLost,
    /// The first user's password cannot be hashed.
    #[error(transparent)]
    Password(#[from] HashError),
    /// The HTTP server that knows users cannot be asked.
    #[error(transparent)]
    HttpAuth(#[from] HttpAuthError),
    /// The thread that takes checkpoints cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

impl Broker {
    /// Opens the data directory, creating it if there is none, and restores what it holds. Blocks
    /// for as long as the log takes to read.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let began = Instant::now();
        let (store, mut recovered) =
            Store::open(&config.data_dir, options(config), Message::describe_logged)?;
        let log = store.log().clone();
        let timers = Arc::new(Timers::default());
        let clean = recovered.clean;
        Broker::first_start(&mut recovered, &log, &config.auth)?;
        let directory = directory(&recovered)?;
        let queue_ids = Arc::new(AtomicU64::new(0));
        let counters = Arc::new(BrokerCounters::default());
        let events = Arc::new(Events::default());
        let spans = Spans::to(&config.tracing.otlp_endpoint).map(Arc::new);
        let pages = Arc::new(Line::default());
        let parameters = Parameters::restore(
            rows(&recovered, Table::Parameters)?,
            rows(&recovered, Table::GlobalParameters)?,
        );
        let policies = policies(&recovered, config.policies.stacking)?;
        let node = Arc::new(Node {
            limits: ArcSwap::from_pointee(config.limits.of_node()),
            ..Node::default()
        });
        let new_vhost = |name: Name| {
            let errands = Errands {
                timers: Arc::clone(&timers),
                pages: Arc::clone(&pages),
                events: Arc::clone(&events),
                spans: spans.clone(),
                event_exchange: config.events.exchange && name.as_str() == DEFAULT_VHOST,
            };
            let (queue_ids, counters) = (Arc::clone(&queue_ids), Arc::clone(&counters));
            let (log, node, policies) = (log.clone(), Arc::clone(&node), policies(&name));
            Vhost::new(name, log, errands, queue_ids, counters, policies, node)
        };
        let (vhosts, queues) = topology(&recovered, &queue_ids, new_vhost)?;
        let restored = messages(recovered, &log, &queues);
        info!(
            queues = queues.len(),
            messages = restored.messages,
            dropped = restored.dropped,
            clean_stop = clean,
            took_ms = began.elapsed().as_millis() as u64,
            "data directory opened"
        );
        vhosts.values().for_each(|vhost| vhost.restore_windows());
        let failure = Arc::new(LogWatch::default());
        // Nothing ever ends so far out: the call comes when the log fails.
        log.notify_when_durable(LogPos(u64::MAX), failure.clone());
        let vhosts = Arc::new(ArcSwap::from_pointee(vhosts));
        let probe = SystemProbe::new(&config.data_dir, log.clone());
        let pager = Pager::start(pages, log.clone(), Arc::clone(&vhosts));
        let pager = pager.map_err(OpenError::Thread)?;
        let checkpoints =
            Checkpoints::start(log, Arc::clone(&vhosts)).map_err(OpenError::Thread)?;
        let broker = Broker {
            store,
            pager,
            checkpoints,
            logins: logins(config)?,
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            vhosts,
            access_changes: Mutex::new(LogPos::NONE),
            parameters: ArcSwap::from_pointee(parameters),
            parameter_changes: Mutex::new(()),
            census: Arc::new(Census::new(Arc::clone(&node))),
            node,
            quotas: DashMap::new(),
            connections: DashMap::new(),
            next_connection: AtomicU64::new(1),
            closing: OnceLock::new(),
            failure,
            timers,
            alarms: Arc::new(Alarms::new(&config.alarms, Box::new(probe))),
            queue_ids,
            stack_policies: config.policies.stacking,
            events,
            event_exchange: config.events.exchange,
            spans,
            counters,
            course: Course::default(),
        };
        for queue in queues.values() {
            broker.begin(queue);
        }
        Ok(broker)
    }
}

impl Broker {
    /// What became due while the broker was down happens now, and the rest goes on the agenda.
    fn begin(&self, queue: &QueueRef) {
        if let Some(vhost) = self.vhost(&queue.vhost) {
            queue.lock().touch(clock::now_ms());
            // Only a failed log can make it fail, and that is seen by all.
            let _ = vhost.on_timer(queue);
        }
    }
}

fn options(config: &Config) -> store::Options {
    store::Options {
        segment_bytes: config.storage.segment_bytes,
        durability: match config.storage.durability {
            Durability::Fsync => store::Durability::Fsync,
            Durability::Interval => store::Durability::Interval,
            Durability::Os => store::Durability::Os,
        },
        sync_interval: Duration::from_millis(config.storage.sync_interval_ms),
        ..store::Options::default()
    }
}

type Vhosts = HashMap<Name, Arc<Vhost>>;
type Queues = HashMap<QueueId, QueueRef>;

/// Builds vhosts, exchanges, queues and bindings from the catalogue.
fn topology(
    recovered: &Recovered,
    queue_ids: &AtomicU64,
    new_vhost: impl Fn(Name) -> Vhost,
) -> Result<(Vhosts, Queues), OpenError> {
    let mut highest = recovered.highest_queue_id;
    let mut queue_rows = rows::<QueueRow>(recovered, Table::Queues)?;
    highest = queue_rows
        .iter()
        .map(|row| row.id)
        .max()
        .unwrap_or_default()
        .max(highest);
    queue_ids.store(highest.0 + 1, Ordering::Relaxed);

    let mut vhosts = Vhosts::new();
    for row in rows::<VhostRow>(recovered, Table::Vhosts)? {
        let vhost = new_vhost(row.name.clone());
        vhost.set_settings(row.settings());
        vhosts.insert(row.name, Arc::new(vhost));
    }
    for row in rows::<VhostLimitsRow>(recovered, Table::VhostLimits)? {
        if let Some(vhost) = vhosts.get(&row.vhost) {
            vhost.set_limits(row.limits);
        }
    }

    let mut drafts: HashMap<Name, Topology> = HashMap::new();
    for (name, vhost) in &vhosts {
        drafts.insert(name.clone(), Topology::clone(&vhost.topology()));
    }
    for row in rows::<ExchangeRow>(recovered, Table::Exchanges)? {
        if let (Some(draft), Some(vhost)) = (drafts.get_mut(&row.vhost), vhosts.get(&row.vhost)) {
            restore_exchange(vhost, draft, row);
        }
    }
    let mut queues = Queues::new();
    // What clients see first: the others belong to it.
    queue_rows.sort_by_key(|row| row.role != RoleRow::Client);
    for row in queue_rows {
        if let (Some(draft), Some(vhost)) = (drafts.get_mut(&row.vhost), vhosts.get(&row.vhost)) {
            let queue = match row.role {
                RoleRow::Client => {
                    let queue = restore_queue(vhost, row);
                    draft.queues.insert(queue.clone());
                    Some(queue)
                }
                RoleRow::Store => stores::restore(&mut draft.graph, row),
                RoleRow::ExchangeWindow | RoleRow::QueueWindow => {
                    stores::restore_window(draft, row)
                }
            };
            queues.extend(queue.map(|queue| (queue.id, queue)));
        }
    }
    for row in rows::<BindingRow>(recovered, Table::Bindings)? {
        if let Some(draft) = drafts.get_mut(&row.vhost) {
            restore_binding(draft, row);
        }
    }
    for (name, draft) in drafts {
        if let Some(vhost) = vhosts.get(&name) {
            vhost.restore(draft);
        }
    }
    Ok((vhosts, queues))
}

/// Builds users, permissions and limits from the catalogue.
fn directory(recovered: &Recovered) -> Result<Directory, RowError> {
    let mut directory = Directory::default();
    for row in rows::<UserRow>(recovered, Table::Users)? {
        directory.put_user(row.into());
    }
    for row in rows::<PermissionRow>(recovered, Table::Permissions)? {
        directory.put_permission(row.restore());
    }
    for row in rows::<TopicPermissionRow>(recovered, Table::TopicPermissions)? {
        directory.put_topic_permission(row.restore());
    }
    for row in rows::<UserLimitsRow>(recovered, Table::UserLimits)? {
        directory.put_user_limits(&row.user, row.limits);
    }
    Ok(directory)
}

fn rows<R: Row>(recovered: &Recovered, table: Table) -> Result<Vec<R>, RowError> {
    let rows = recovered
        .rows
        .get(&table)
        .map(Vec::as_slice)
        .unwrap_or_default();
    rows.iter().map(|row| R::read(&row.value)).collect()
}

fn restore_exchange(vhost: &Vhost, draft: &mut Topology, row: ExchangeRow) {
    let declared = ExchangeDeclaration {
        name: row.name,
        kind: row.kind,
        durable: true,
        auto_delete: row.auto_delete,
        internal: row.internal,
        arguments: arguments::stored(&row.arguments),
    };
    match declared.spec(&row.vhost) {
        Ok(mut spec) => {
            spec.alternate = vhost.alternate_of(&spec.name, spec.alternate);
            draft.graph.insert(spec);
        }
        Err(fault) => warn!(exchange = %declared.name, %fault, "exchange left out"),
    }
}

fn restore_queue(vhost: &Vhost, row: QueueRow) -> QueueRef {
    let table = arguments::stored(&row.arguments);
    let at = Resource::queue(&row.name, &row.vhost);
    let kind = queue_arguments::kind(&table, at).unwrap_or_default();
    let settings = vhost.settings_for(&row.name, kind, &table);
    let spec = QueueSpec {
        id: row.id,
        vhost: row.vhost,
        name: row.name,
        durable: true,
        exclusive_to: None,
        auto_delete: row.auto_delete,
        kind,
        is_store: false,
    };
    QueueRef::new(spec, settings)
}

/// The policies of each vhost. One that this version does not accept any more is left out.
fn policies(
    recovered: &Recovered,
    stacking: bool,
) -> Result<impl Fn(&Name) -> Policies + use<>, RowError> {
    let mut all: HashMap<Name, Policies> = HashMap::new();
    for (table, kind) in [
        (Table::Policies, PolicyKind::User),
        (Table::OperatorPolicies, PolicyKind::Operator),
    ] {
        for row in rows::<PolicyRow>(recovered, table)? {
            let of_vhost = all.entry(row.vhost.clone());
            match row.policy(kind) {
                Ok(policy) => of_vhost
                    .or_insert_with(|| Policies::new(stacking))
                    .set(kind, policy),
                Err(fault) => warn!(vhost = %row.vhost, policy = %row.name(), %fault, "left out"),
            }
        }
    }
    Ok(move |vhost: &Name| match all.get(vhost) {
        Some(policies) => policies.clone(),
        None => Policies::new(stacking),
    })
}

fn restore_binding(draft: &mut Topology, row: BindingRow) {
    let destination = match &row.destination {
        DestinationRow::Exchange(name) => Destination::Exchange(name.clone()),
        DestinationRow::Queue(name) => match draft.queues.get(name) {
            Some(queue) => Destination::Queue(queue.clone()),
            None => return warn!(queue = %name, "binding left out: no such queue"),
        },
    };
    let arguments = arguments::of_binding(&arguments::stored(&row.arguments));
    let bound = draft
        .graph
        .bind(row.source.as_bytes(), destination, &row.key, arguments);
    if let Err(fault) = bound {
        warn!(source = %row.source, %fault, "binding left out");
    }
}

fn messages(recovered: Recovered, log: &Log, queues: &Queues) -> store::Restored {
    let mut reader = log.reader();
    let max_priority = |id| {
        let queue = queues.get(&id)?;
        Some(queue.settings().options.max_priority)
    };
    recovered.restore(max_priority, |state| {
        if let Some(queue) = queues.get(&state.queue) {
            let mut held = queue.lock();
            let mut state = match held.options().delays {
                true => with_delays(state, &mut reader),
                false => state,
            };
            let rule = held.options().dedup.clone();
            let ids = match rule.filter(|rule| rule.while_there) {
                Some(rule) => dedup::ids_there(&mut state, &rule.header, &mut reader, log),
                None => Vec::new(),
            };
            held.restore(state);
            for (level, seq, id) in ids {
                held.note_present(level, seq, id);
            }
            note_expiries(queue, &mut held, &mut reader);
            if held.keeps_whole() {
                pager::read_all(queue, &mut held, log, &mut reader);
            }
        }
    })
}

/// What an exchange holds back, with the delays of the messages for their time to live. Pages have them
/// already. One that cannot be read keeps what it has; it is found out when it is wanted.
fn with_delays(mut state: QueueState, reader: &mut Reader) -> QueueState {
    for lane in &mut state.lanes {
        let positions: Vec<LogPos> = lane.loose.iter().map(|(_, entry)| entry.pos).collect();
        let loose = &mut lane.loose;
        reader.messages(&positions, &mut |index, octets| {
            let message = octets.ok().and_then(Message::from_logged);
            if let (Some((_, entry)), Some(message)) = (loose.get_mut(index), message) {
                entry.ttl_ms = message.delay_ms();
            }
        });
    }
    state
}

/// Reads the pages that must be known, since messages in them expire on their own.
fn note_expiries(queue: &QueueRef, held: &mut Queue, reader: &mut Reader) {
    for (lane, pos) in held.pages_with_ttl() {
        match pager::page_at_start(reader, pos) {
            Ok(entries) => held.note_page(lane, pos, &entries),
            Err(fault) => {
                error!(queue = %queue.name, %fault, "messages cannot be read and are set aside; stop the broker and see what `warren repair` can save");
                held.page_unreadable(pos);
            }
        }
    }
}

fn logins(config: &Config) -> Result<Logins, OpenError> {
    let backends = &config.auth.backends;
    let oauth2 = backends
        .contains(&Backend::OAuth2)
        .then(|| Arc::new(config.oauth2.build()));
    let asks_http = backends.iter().any(|backend| backend.is_http());
    let http = match asks_http {
        true => Some(Arc::new(HttpAuth::new(config.auth.http.rules())?)),
        false => None,
    };
    let logins = Logins::new(config.auth.loopback_users.clone())
        .asking(backends.clone(), oauth2, http)
        .slowing(failure_rules(config));
    Ok(logins)
}

pub(super) fn failure_rules(config: &Config) -> FailureRules {
    let throttle = &config.throttle;
    FailureRules {
        exempt: throttle.exempt.clone(),
        free: throttle.failed_logins_free,
        delay_max: Duration::from_millis(throttle.failed_login_delay_max_ms),
    }
}
