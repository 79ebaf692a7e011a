//! From a message to the queues it goes to, in batches.
//!
//! Owns a channel's view of the topology, its memory of the last route, and the messages gathered
//! for each queue until [`Publisher::flush`]: one record batch for the log and one lock of each
//! queue, however many messages there are. The log comes first: a message is in the log's order
//! before any consumer can see and ack it.

use std::collections::HashMap;
use std::sync::Arc;

use super::arguments::header_value;
use super::vhost::{Topology, Vhost};
use crate::base::{AmqpError, LogPos, Name, QueueId, clock};
use crate::codec::Properties;
use crate::message::Message;
use crate::queue::{Effects, QueueRef};
use crate::router::Routes;
use crate::store::{Batch, RecordOffset};

/// Most queues whose buffers a publisher keeps between batches.
const TARGETS_KEPT_MAX: usize = 1024;

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    /// To at least one queue.
    ToQueues,
    /// To none: return it if mandatory (A2, 312).
    Nowhere,
}

/// A channel's way into its vhost.
pub struct Publisher {
    vhost: Arc<Vhost>,
    topology: Arc<Topology>,
    routes: Routes<QueueRef>,
    last: LastRoute,
    targets: Vec<Target>,
    by_queue: HashMap<QueueId, u32>,
    /// Targets with messages, in the order they got their first.
    touched: Vec<u32>,
    records: Batch,
    /// Ids of the durable queues of the message at hand; kept for its allocation.
    durable: Vec<QueueId>,
    effects: Effects,
}

/// A queue, and what was gathered for it.
struct Target {
    queue: QueueRef,
    messages: Vec<(Option<RecordOffset>, Message)>,
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
}

impl Publisher {
    /// A publisher into `vhost`.
    pub fn new(vhost: Arc<Vhost>) -> Self {
        Publisher {
            topology: vhost.topology(),
            records: vhost.log.batch(),
            vhost,
            routes: Routes::new(),
            last: LastRoute::default(),
            targets: Vec::new(),
            by_queue: HashMap::new(),
            touched: Vec::new(),
            durable: Vec::new(),
            effects: Effects::default(),
        }
    }

    /// Whether there is such an exchange and clients may publish to it (A5.1): what is wrong must be
    /// said before the content is looked at.
    pub fn check_exchange(&mut self, exchange: &[u8]) -> Result<(), AmqpError> {
        self.refresh();
        if exchange.is_empty() || (self.last.known && self.last.exchange == exchange) {
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

    /// Routes a message and keeps it for the next [`Self::flush`]. Call [`Self::check_exchange`]
    /// before.
    pub fn publish(&mut self, message: Message) -> Routed {
        let last = &self.last;
        let same =
            last.known && last.key == message.routing_key() && last.exchange == message.exchange();
        if !same {
            self.route(&message);
        }
        if self.last.targets.is_empty() {
            return Routed::Nowhere;
        }
        let record = match message.persistent() && self.last.any_durable {
            true => Some(self.record(&message)),
            false => None,
        };
        self.gather(record, message);
        Routed::ToQueues
    }

    /// Whether nothing waits for [`Self::flush`].
    pub fn is_flushed(&self) -> bool {
        self.touched.is_empty()
    }

    /// Gives what was gathered to the log and then to the queues. The log position from which on
    /// all of it is safe; [`LogPos::NONE`] if nothing of it needs to be.
    ///
    /// # Errors
    /// 541 if the log has failed: nothing was published.
    pub fn flush(&mut self) -> Result<LogPos, AmqpError> {
        if self.touched.is_empty() {
            return Ok(LogPos::NONE);
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
        let mut consumed = self.vhost.log.batch();
        for number in self.touched.drain(..) {
            let Some(target) = self.targets.get_mut(number as usize) else {
                continue;
            };
            let before = self.effects.consumed.len();
            let mut queue = target.queue.lock();
            for (record, message) in target.messages.drain(..) {
                let pos = match (&appended, record) {
                    (Some(appended), Some(record)) => appended.position(record),
                    _ => LogPos::NONE,
                };
                queue.publish(pos, message, &mut self.effects);
            }
            queue.dispatch(&mut self.effects);
            drop(queue);
            let of_queue = self.effects.consumed.iter().skip(before);
            consumed.ack(target.queue.id, of_queue.copied());
        }
        let end = appended.as_ref().map_or(LogPos::NONE, |a| a.end());
        drop(appended);
        if !consumed.is_empty() {
            drop(
                self.vhost
                    .log
                    .append(consumed)
                    .map_err(|_| AmqpError::internal())?,
            );
            // Not before the record that takes them away was appended.
            self.vhost.log.release_all(self.effects.consumed.drain(..));
        }
        self.forget_excess();
        Ok(end)
    }

    fn drop_gathered(&mut self) {
        for number in self.touched.drain(..) {
            if let Some(target) = self.targets.get_mut(number as usize) {
                target.messages.clear();
            }
        }
    }

    /// Follows the topology, between messages. What was routed before it changed was routed right.
    fn refresh(&mut self) {
        if !self.vhost.is_current(&self.topology) {
            self.topology = self.vhost.topology();
            self.last.known = false;
        }
    }

    fn route(&mut self, message: &Message) {
        let (exchange, key) = (message.exchange(), message.routing_key());
        let mut cacheable = true;
        let last = &mut self.last;
        last.targets.clear();
        last.any_durable = false;
        let one;
        let queues = if exchange.is_empty() {
            one = self.topology.queues.get(key).cloned();
            one.as_slice()
        } else if let Some(exchange) = self.topology.graph.get(exchange) {
            let properties = Properties::trusted(message.properties_bytes());
            let headers = || {
                let table = properties.headers().unwrap_or_default();
                table
                    .iter()
                    .map(|(name, value)| (name, header_value(value)))
            };
            self.topology
                .graph
                .route(exchange, key, headers, &mut self.routes);
            cacheable = !self.routes.headers_read();
            self.routes.queues()
        } else {
            &[]
        };
        for queue in queues {
            last.any_durable |= queue.durable;
            let number = *self.by_queue.entry(queue.id).or_insert_with(|| {
                self.targets.push(Target {
                    queue: queue.clone(),
                    messages: Vec::new(),
                });
                (self.targets.len() - 1) as u32
            });
            last.targets.push(number);
        }
        last.known = cacheable;
        if cacheable {
            last.exchange.clear();
            last.exchange.extend_from_slice(exchange);
            last.key.clear();
            last.key.extend_from_slice(key);
        }
    }

    /// One record, whatever the number of queues.
    fn record(&mut self, message: &Message) -> RecordOffset {
        self.durable.clear();
        for &number in &self.last.targets {
            if let Some(target) = self.targets.get(number as usize)
                && target.queue.durable
            {
                self.durable.push(target.queue.id);
            }
        }
        let (records, durable) = (&mut self.records, &self.durable);
        message.with_logged(|parts| records.publish(clock::now_ms(), durable, parts))
    }

    fn gather(&mut self, record: Option<RecordOffset>, message: Message) {
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
            let record = record.filter(|_| target.queue.durable);
            // The last queue gets the message itself, the others a clone.
            let share = match number == *last {
                true => message.take(),
                false => message.clone(),
            };
            target
                .messages
                .extend(share.map(|message| (record, message)));
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
