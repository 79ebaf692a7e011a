//! From a message to the queues it goes to, in batches.
//!
//! Owns a channel's view of the topology, its memory of the last route, and the messages gathered
//! for each queue until [`Publisher::flush`]: one record batch for the log and one lock of each
//! queue, however many messages there are. The log comes first: a message is in the log's order
//! before any consumer can see and ack it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::dedup::{Fresh, Look};
use super::firehose::Party;
use super::grants::Grants;
use super::pause::{Pause, QuotaOf};
use super::spans::{Destinations, Parent};
use super::stats::{ConnectionStats, ExchangeTally};
use super::vhost::{Topology, Vhost};
use crate::auth::Actor;
use crate::base::{AmqpError, LogPos, Name, QueueId, Quota, clock};
use crate::message::Message;
use crate::queue::{Admission, Effects, QueueRef, Slot};
use crate::router::Routes;
use crate::store::{Batch, Durability, RecordOffset};

/// Most queues whose buffers a publisher keeps between batches.
const TARGETS_KEPT_MAX: usize = 1024;

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// To at least one queue.
    ToQueues,
    /// To none, or to none yet (A3.11): return it if mandatory (A2, 312).
    Nowhere,
}

/// A channel's way into its vhost.
pub struct Publisher {
    vhost: Arc<Vhost>,
    topology: Arc<Topology>,
    /// When what goes to a queue that does not say is safe enough.
    setting: Durability,
    /// When the batch began.
    stamped_ms: u64,
    routes: Routes<QueueRef>,
    last: LastRoute,
    targets: Vec<Target>,
    by_queue: HashMap<QueueId, u32>,
    /// Targets with messages, in the order they got their first.
    touched: Vec<u32>,
    records: Batch,
    /// Records in the spill, if there are any.
    spill: Option<Batch>,
    /// Ids of the durable queues of the message at hand; kept for its allocation.
    durable: Vec<QueueId>,
    effects: Effects,
    /// Messages published in this batch.
    published: u32,
    refused: Vec<u32>,
    /// From the first on that a window must look at: what follows stays behind it.
    held: Vec<Held>,
    /// Acked within this batch.
    acked: Vec<(QueueRef, Vec<Slot>)>,
    tally: ExchangeTally,
    /// What its user may do; it may do all if there is none.
    grants: Option<Grants>,
    /// The rates that its user is held to.
    user_quota: Option<Arc<Quota>>,
    /// Octets of bodies published in this batch.
    bytes: u64,
    /// That the last batch has passed a quota.
    pause: Option<Pause>,
    /// The connection and channel it publishes for.
    origin: Option<(Arc<ConnectionStats>, u16)>,
    /// Copies are made of this batch.
    tracing: bool,
    copies: Vec<Message>,
}

/// A queue, and what was gathered for it.
struct Target {
    queue: QueueRef,
    messages: Vec<Gathered>,
    /// The message at hand has a record in the spill for it.
    spills: bool,
}

/// A message on its way into one queue.
struct Gathered {
    record: Record,
    message: Message,
    /// Which of the batch's messages it is.
    number: u32,
}

/// Where the record is that a queue has of a message.
#[derive(Clone, Copy)]
enum Record {
    None,
    Log(RecordOffset),
    Spill(RecordOffset),
}

/// The records of a message.
#[derive(Clone, Copy, Default)]
struct Records {
    log: Option<RecordOffset>,
    spill: Option<RecordOffset>,
}

/// A message that is given to queues, or dropped, at the flush.
struct Held {
    message: Message,
    extra_keys: Vec<Bytes>,
    number: u32,
}

/// The route of the last message: most publishers send many messages the same way.
#[derive(Default)]
struct LastRoute {
    known: bool,
    exchange: Vec<u8>,
    key: Vec<u8>,
    /// Numbers in `Publisher::targets`.
    targets: Vec<u32>,
    any_durable: bool,
    /// Any of them wants what it does not keep to be spilled.
    any_spills: bool,
    /// Any of them is a client's queue, and not an exchange's store.
    arrives: bool,
    /// The exchange or a queue drops what it has seen (A3.21).
    watched: bool,
}

/// Whether two names are equal, also where one is empty, as the default exchange's. An empty `Vec` points to no memory, and
/// glibc's `memcmp` for AVX-512 reads there under an empty mask all the same: the processor needs some 70 ns to find out
/// that nothing was wrong, for each comparison of each message.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

impl Publisher {
    /// A publisher into `vhost`.
    pub fn new(vhost: Arc<Vhost>) -> Self {
        Publisher {
            topology: vhost.topology(),
            records: vhost.log.batch(),
            spill: None,
            setting: vhost.log.durability(),
            vhost,
            stamped_ms: 0,
            routes: Routes::new(),
            last: LastRoute::default(),
            targets: Vec::new(),
            by_queue: HashMap::new(),
            touched: Vec::new(),
            durable: Vec::new(),
            effects: Effects::default(),
            published: 0,
            refused: Vec::new(),
            held: Vec::new(),
            acked: Vec::new(),
            tally: ExchangeTally::default(),
            grants: None,
            user_quota: None,
            bytes: 0,
            pause: None,
            origin: None,
            tracing: false,
            copies: Vec::new(),
        }
    }

    /// The same held to what a user may do (A10).
    pub fn held_to(mut self, actor: Actor) -> Self {
        self.grants = Some(Grants::new(actor));
        self
    }

    /// The same held to a user's rates; those of the vhost hold for all.
    pub fn metered(mut self, quota: Arc<Quota>) -> Self {
        self.user_quota = Some(quota);
        self
    }

    /// The same for a channel of a connection, which copies of what it publishes name.
    pub fn of_channel(mut self, connection: Arc<ConnectionStats>, channel: u16) -> Self {
        self.origin = Some((connection, channel));
        self
    }

    /// Whether what was flushed has passed a quota, so that its publisher is to be quiet.
    pub fn take_pause(&mut self) -> Option<Pause> {
        self.pause.take()
    }

    /// Holds the batch against the quotas of vhost and user.
    fn charge(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let messages = self.published.into();
        let quotas = [
            (Some(&self.vhost.quota), QuotaOf::Vhost),
            (self.user_quota.as_ref(), QuotaOf::User),
        ];
        for (quota, of) in quotas {
            if let Some(quota) = quota.filter(|quota| quota.is_set()) {
                hold(&mut self.pause, quota, (messages, bytes), of);
            }
        }
    }

    /// Whether its user may publish to an exchange, and there is such (A5.1): what is wrong must be
    /// said before the content is looked at.
    pub fn check_exchange(&mut self, exchange: &[u8]) -> Result<(), AmqpError> {
        if self.touched.is_empty() && self.held.is_empty() {
            self.begin_batch();
        }
        if self.last.known && same(&self.last.exchange, exchange) {
            return Ok(());
        }
        if let Some(grants) = &mut self.grants {
            grants.may_write(exchange, self.vhost.name())?;
        }
        if exchange.is_empty() {
            return Ok(());
        }
        let shown = || Name::from(String::from_utf8_lossy(exchange).as_ref());
        match self.topology.graph.get(exchange) {
            None => Err(AmqpError::no_exchange(&shown(), self.vhost.name())),
            Some(found) if found.spec().internal => {
                Err(AmqpError::internal_exchange(&shown(), self.vhost.name()))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether its user may publish a message with its key and `extra_keys` (A10): after
    /// [`Self::check_exchange`].
    pub fn check_keys(&self, message: &Message, extra_keys: &[Bytes]) -> Result<(), AmqpError> {
        match &self.grants {
            Some(grants) if !self.is_like_last(message, extra_keys) => {
                let extra = extra_keys.iter().map(Bytes::as_ref);
                let keys = [message.routing_key()].into_iter().chain(extra);
                grants.may_use_keys(&self.topology, message.exchange(), keys)
            }
            _ => Ok(()),
        }
    }

    /// Whether it goes where the last message went, by the same key.
    fn is_like_last(&self, message: &Message, extra_keys: &[Bytes]) -> bool {
        self.last.known
            && extra_keys.is_empty()
            && same(&self.last.key, message.routing_key())
            && same(&self.last.exchange, message.exchange())
    }

    /// Routes a message, by its key and by `extra_keys` (A3.18), and keeps it for the next
    /// [`Self::flush`]. Call [`Self::check_exchange`] before.
    pub fn publish(&mut self, message: Message, extra_keys: &[Bytes]) -> Routed {
        if !self.is_like_last(&message, extra_keys) {
            self.route(&message, extra_keys);
            // No route is remembered while copies are made, so that each message comes here.
            if self.tracing {
                self.copy_routed(&message, extra_keys);
            }
        }
        self.published += 1;
        self.bytes += message.body_len() as u64;
        self.tally.count(self.last.targets.len());
        if self.last.targets.is_empty() {
            self.tell_published(&message, Destinations::default());
            return Routed::Nowhere;
        }
        let number = self.published - 1;
        if self.last.watched || !self.held.is_empty() {
            self.held.push(Held {
                message,
                extra_keys: extra_keys.to_vec(),
                number,
            });
        } else {
            self.keep(message, number);
        }
        match self.last.arrives {
            true => Routed::ToQueues,
            false => Routed::Nowhere,
        }
    }

    /// Who publishes, for the firehose.
    fn party(&self) -> Party {
        let (connection, channel) = self.origin.clone().unzip();
        Party {
            connection,
            channel: channel.unwrap_or(0),
            user: self
                .grants
                .as_ref()
                .map_or_else(Name::default, |grants| grants.user().clone()),
        }
    }

    /// Keeps a copy of what has just been routed, for the firehose.
    fn copy_routed(&mut self, message: &Message, extra_keys: &[Bytes]) {
        let party = self.party();
        let targets = self.last.targets.iter();
        let targets = targets.filter_map(|&number| self.targets.get(number as usize));
        let queues = targets.map(|target| &target.queue.name);
        let copy = self.vhost.trace_in(&party, message, extra_keys, queues);
        self.copies.extend(copy);
    }

    /// Tells the spans of those messages of the batch that are sampled.
    #[cold]
    fn tell_routed(&self) {
        let mut sampled: BTreeMap<u32, (&Message, Destinations)> = BTreeMap::new();
        let targets = self.touched.iter();
        for target in targets.filter_map(|&number| self.targets.get(number as usize)) {
            for gathered in &target.messages {
                if Parent::of(&gathered.message).is_none() {
                    continue;
                }
                let (_, routed) = sampled
                    .entry(gathered.number)
                    .or_insert_with(|| (&gathered.message, Destinations::default()));
                // Nobody but the broker knows of an exchange's store.
                if !target.queue.is_store {
                    routed.add(&target.queue.name);
                }
            }
        }
        for (message, routed) in sampled.into_values() {
            self.tell_published(message, routed);
        }
    }

    /// Tells the span of a message that was routed, if it is sampled.
    #[cold]
    fn tell_published(&self, message: &Message, routed: Destinations) {
        let Some(spans) = self.vhost.spans() else {
            return;
        };
        let Some(parent) = Parent::of(message) else {
            return;
        };
        let began_ns = self.stamped_ms.saturating_mul(1_000_000);
        let by = self.origin.as_ref().map(|(connection, _)| &**connection);
        spans.published(parent, began_ns, self.vhost.name(), message, routed, by);
    }

    /// Writes the record of a message that goes the last route, and gathers it.
    fn keep(&mut self, message: Message, number: u32) {
        let records = match self.last.any_durable || self.last.any_spills {
            true => self.records_of(&message),
            false => Records::default(),
        };
        self.gather(records, message, number);
    }

    fn records_of(&mut self, message: &Message) -> Records {
        Records {
            log: match self.last.any_durable && self.is_kept(message) {
                true => Some(self.record(message)),
                false => None,
            },
            spill: match self.last.any_spills {
                true => self.spill(message),
                false => None,
            },
        }
    }

    /// Keeps what was held, but for what a window has seen.
    fn keep_held(&mut self, look: &mut Look<'_>) {
        for held in std::mem::take(&mut self.held) {
            let Held {
                message,
                extra_keys,
                number,
            } = held;
            self.route(&message, &extra_keys);
            let first = look.fresh_len();
            let topology = Arc::clone(&self.topology);
            let window = topology.exchange_windows.get(message.exchange());
            if window.is_some_and(|window| !look.admits(window, &message, number, None)) {
                continue;
            }
            let targets = &self.targets;
            self.last.targets.retain(|&target| {
                let queue = targets.get(target as usize).map(|target| &target.queue);
                let window = queue.and_then(|queue| topology.queue_windows.get(&queue.name));
                window.is_none_or(|window| {
                    look.admits(window, &message, number, queue.map(|queue| queue.id))
                })
            });
            // What is left of the route is this message's alone.
            self.last.known = false;
            if !self.last.targets.is_empty() {
                self.keep(message, number);
            }
            for fresh in look.fresh_from(first) {
                let window = self.number_of(&fresh.window);
                self.last.targets.clear();
                self.last.targets.push(window);
                self.last.any_durable = fresh.window.durable;
                self.last.any_spills = fresh.window.spills();
                self.keep(fresh.mark.to_message(), number);
            }
        }
    }

    /// The number of a queue among the targets.
    fn number_of(&mut self, queue: &QueueRef) -> u32 {
        *self.by_queue.entry(queue.id).or_insert_with(|| {
            self.targets.push(Target {
                queue: queue.clone(),
                messages: Vec::new(),
                spills: false,
            });
            (self.targets.len() - 1) as u32
        })
    }

    /// A direct reply (A7.12): it goes by no queue, but has a number in the batch all the same.
    pub fn reply(&mut self, message: &Message) {
        self.published += 1;
        let taken = self.vhost.reply(message);
        if self.vhost.spans().is_some() {
            let mut routed = Destinations::default();
            if taken {
                routed.add(&String::from_utf8_lossy(message.routing_key()));
            }
            self.tell_published(message, routed);
        }
        if self.tracing {
            let to = Name::from(String::from_utf8_lossy(message.routing_key()).as_ref());
            let to = taken.then_some(&to).into_iter();
            let copy = self.vhost.trace_in(&self.party(), message, &[], to);
            self.copies.extend(copy);
        }
    }

    /// Gives what was gathered to the log and then to the queues. The log position from which on
    /// all of it is safe; [`LogPos::NONE`] if nothing of it needs to be.
    ///
    /// # Errors
    /// 541 if the log has failed: nothing was published.
    pub fn flush(&mut self) -> Result<LogPos, AmqpError> {
        let end = self.flush_batch()?;
        if !self.copies.is_empty() {
            let copies = std::mem::take(&mut self.copies);
            self.vhost.post_copies(copies)?;
        }
        Ok(end)
    }

    fn flush_batch(&mut self) -> Result<LogPos, AmqpError> {
        // Of an earlier batch, before anybody wanted to know.
        self.refused.clear();
        self.tally.flush();
        self.charge();
        if self.touched.is_empty() && self.acked.is_empty() && self.held.is_empty() {
            self.published = 0;
            return Ok(LogPos::NONE);
        }
        let vhost = Arc::clone(&self.vhost);
        // Until all has its place in the log.
        let mut look = (!self.held.is_empty()).then(|| vhost.look(self.stamped_ms));
        if let Some(look) = &mut look {
            self.keep_held(look);
        }
        let appended = match self.records.is_empty() {
            true => None,
            false => {
                let records = std::mem::replace(&mut self.records, self.vhost.log.batch());
                let appended = self
                    .vhost
                    .log
                    .append(records)
                    .map_err(|_| AmqpError::internal());
                Some(appended.inspect_err(|_| self.drop_gathered())?)
            }
        };
        // If the disk takes no more, all of it stays in memory.
        let spilled = self.spill.take().and_then(|spill| vhost.log.spill(spill));
        let end = appended.as_ref().map_or(LogPos::NONE, |a| a.end());
        if vhost.spans().is_some() {
            self.tell_routed();
        }
        let (waits_for, fresh) = look.map(|look| look.end(end)).unwrap_or_default();
        let mut refusals = Vec::new();
        self.settle_acked();
        for number in self.touched.drain(..) {
            let Some(target) = self.targets.get_mut(number as usize) else {
                continue;
            };
            let quota = target.queue.quota();
            if quota.is_set() {
                let bodies = target.messages.iter().map(|g| g.message.body_len() as u64);
                let amount = (bodies.len() as u64, bodies.sum());
                let of = QuotaOf::Queue(target.queue.downgrade());
                hold(&mut self.pause, quota, amount, of);
            }
            let mut queue = target.queue.lock();
            for gathered in target.messages.drain(..) {
                let pos = match (gathered.record, &appended, spilled) {
                    (Record::Log(record), Some(appended), _) => appended.position(record),
                    (Record::Spill(record), _, Some(spilled)) => spilled.position(record),
                    _ => LogPos::NONE,
                };
                let now_ms = self.stamped_ms;
                let admission = queue.publish(pos, gathered.message, now_ms, &mut self.effects);
                if admission == Admission::Refused {
                    self.refused.push(gathered.number);
                    refusals.push((gathered.number, target.queue.id));
                }
            }
            queue.dispatch(&mut self.effects);
            queue.wake(self.stamped_ms, &mut self.effects);
            self.vhost.page_out(&target.queue, &mut queue)?;
            drop(queue);
            self.vhost.follow_up(&target.queue, &mut self.effects)?;
        }
        for (queue, _) in std::mem::take(&mut self.acked) {
            self.vhost
                .change_queue(&queue, &mut self.effects, |_, _, _| ())?;
        }
        self.refused.sort_unstable();
        self.refused.dedup();
        let refused: Vec<Fresh> = fresh
            .into_iter()
            .filter(|fresh| {
                refusals.iter().any(|&(number, queue)| {
                    number == fresh.number && fresh.queue.is_none_or(|own| own == queue)
                })
            })
            .collect();
        self.vhost.forget_seen(&refused)?;
        self.published = 0;
        self.forget_excess();
        Ok(end.max(waits_for))
    }

    /// Acks a message as a part of the next batch in the log, which is whole or not there after a
    /// crash: for a transaction (A5.5). It leaves its queue when that batch is in the log, so that no
    /// checkpoint can be without it before.
    pub fn ack(&mut self, queue: &QueueRef, slot: Slot) {
        self.records.ack(queue.id, queue.lock().record(slot));
        // Of a transaction as a whole.
        self.records
            .wants(queue.durability().unwrap_or(self.setting));
        match self.acked.iter_mut().find(|(other, _)| other == queue) {
            Some((_, slots)) => slots.push(slot),
            None => self.acked.push((queue.clone(), vec![slot])),
        }
    }

    /// The acked leave their queues; their records are in the log.
    fn settle_acked(&mut self) {
        for (queue, slots) in &mut self.acked {
            queue.lock().settle(slots.drain(..), &mut self.effects);
            self.vhost.release(&mut self.effects);
        }
    }

    /// Numbers of the messages, within the batch just flushed, that a queue refused: to be nacked
    /// (A5.2). Ascending.
    pub fn take_refused(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.refused)
    }

    fn drop_gathered(&mut self) {
        self.spill = None;
        for number in self.touched.drain(..) {
            if let Some(target) = self.targets.get_mut(number as usize) {
                target.messages.clear();
            }
        }
    }

    /// Follows the topology, and looks at the clock, once for a batch.
    fn begin_batch(&mut self) {
        self.stamped_ms = clock::now_ms();
        self.tracing = self.vhost.is_tracing();
        if self.tracing {
            self.last.known = false;
        }
        if self.grants.as_mut().is_some_and(Grants::refresh) {
            self.last.known = false;
        }
        if !self.vhost.is_current(&self.topology) {
            self.topology = self.vhost.topology();
            self.tally.forget();
            // Not kept longer than needed: some of these queues may be gone.
            self.targets.clear();
            self.by_queue.clear();
            self.last.known = false;
        }
        if self.last.known {
            let targets = self.last.targets.iter();
            let mut targets = targets.filter_map(|&number| self.targets.get(number as usize));
            self.last.any_spills = targets.any(|target| target.queue.spills());
        }
    }

    fn route(&mut self, message: &Message, extra_keys: &[Bytes]) {
        self.tally.turn_to(&self.vhost, message.exchange());
        let queues = self.topology.route(message, extra_keys, &mut self.routes);
        self.last.targets.clear();
        self.last.any_durable = false;
        self.last.any_spills = false;
        self.last.arrives = false;
        let topology = Arc::clone(&self.topology);
        let queues_watch = &topology.queue_windows;
        self.last.watched = topology.exchange_windows.contains_key(message.exchange());
        for queue in queues {
            self.last.any_durable |= queue.durable;
            self.last.any_spills |= queue.spills();
            self.last.arrives |= !queue.is_store;
            self.last.watched |= !queue.is_store && queues_watch.contains_key(&queue.name);
            let number = self.number_of(&queue);
            self.last.targets.push(number);
        }
        self.last.known = extra_keys.is_empty() && self.routes.cacheable() && !self.tracing;
        if self.last.known {
            self.last.exchange.clear();
            self.last.exchange.extend_from_slice(message.exchange());
            self.last.key.clear();
            self.last.key.extend_from_slice(message.routing_key());
        }
    }

    /// Whether any of the queues it goes to keeps it on disk.
    fn is_kept(&self, message: &Message) -> bool {
        let targets = self.last.targets.iter();
        let mut queues = targets.filter_map(|&number| self.targets.get(number as usize));
        queues.any(|target| target.queue.keeps(message))
    }

    /// One record, whatever the number of queues.
    fn record(&mut self, message: &Message) -> RecordOffset {
        self.durable.clear();
        for &number in &self.last.targets {
            if let Some(target) = self.targets.get(number as usize)
                && target.queue.keeps(message)
            {
                self.durable.push(target.queue.id);
                let durability = target.queue.durability();
                self.records.wants(durability.unwrap_or(self.setting));
            }
        }
        let (records, durable) = (&mut self.records, &self.durable);
        let stamped_ms = self.stamped_ms;
        message.with_logged(|parts| records.publish(stamped_ms, durable, parts))
    }

    /// One record in the spill, whatever the number of queues that want one and do not keep the message.
    fn spill(&mut self, message: &Message) -> Option<RecordOffset> {
        // Gathered for nothing, if the disk takes no more.
        if !self.vhost.log.takes_spill() {
            return None;
        }
        let mut count = 0;
        for &number in &self.last.targets {
            if let Some(target) = self.targets.get_mut(number as usize) {
                target.spills = target.queue.spills() && !target.queue.keeps(message);
                count += u32::from(target.spills);
            }
        }
        if count == 0 {
            return None;
        }
        let (spill, stamped_ms) = (&mut self.spill, self.stamped_ms);
        let batch = spill.get_or_insert_with(|| self.vhost.log.batch());
        Some(message.with_logged(|parts| batch.spill(stamped_ms, count, parts)))
    }

    fn gather(&mut self, records: Records, message: Message, batch_number: u32) {
        let mut message = Some(message);
        let (last, rest) = match self.last.targets.split_last() {
            Some(split) => split,
            None => return,
        };
        for &number in rest.iter().chain([last]) {
            let Some(target) = self.targets.get_mut(number as usize) else {
                continue;
            };
            if target.messages.is_empty() {
                self.touched.push(number);
            }
            let record = match (records.log, records.spill) {
                (None, None) => Record::None,
                (_, Some(record)) if target.spills => Record::Spill(record),
                (Some(record), _) => match &message {
                    Some(message) if target.queue.keeps(message) => Record::Log(record),
                    _ => Record::None,
                },
                _ => Record::None,
            };
            // The last queue gets the message itself, the others a clone.
            let share = match number == *last {
                true => message.take(),
                false => message.clone(),
            };
            target.messages.extend(share.map(|message| Gathered {
                record,
                message,
                number: batch_number,
            }));
        }
    }

    /// Keeps no more buffers than a busy channel needs.
    fn forget_excess(&mut self) {
        if self.targets.len() > TARGETS_KEPT_MAX {
            self.targets.clear();
            self.by_queue.clear();
            self.last.known = false;
        }
    }
}

/// Charges a quota for messages and octets, and keeps the longer pause.
fn hold(pause: &mut Option<Pause>, quota: &Quota, (messages, bytes): (u64, u64), of: QuotaOf) {
    let now = clock::monotonic();
    if let Some(excess) = quota.charge(messages, bytes, now) {
        *pause = Pause::longer(pause.take(), Some(Pause::new(of, excess, now)));
    }
}
