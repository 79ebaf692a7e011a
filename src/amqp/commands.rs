//! The methods of a channel that come seldom: topology, consuming, qos, modes.
//!
//! Owns the way from a method's fields to a call of the broker, and the answer. The channel has
//! been flushed before, so every method sees what came before it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, exchange, queue, tx};
use bytes::Bytes;

use super::channel::{After, Channel, Consumer, Held};
use super::confirms::Confirms;
use super::link::Link;
use super::outbox::Port;
use super::replies;
use crate::base::{Access, AmqpError, Name, Resource};
use crate::broker::queue_arguments::of_consumer;
use crate::broker::replies::REPLY_TO;
use crate::broker::{
    BindingSpec, DeleteIf, Durably, ExchangeDeclaration, INTERNAL_USER, QUEUE_PREFIX,
    QueueDeclaration, server_name,
};
use crate::codec::{Command, Method, RawTable};
use crate::queue::{ConsumerSpec, ConsumerToken, QueueRef};

type Done = Result<(), AmqpError>;

impl Channel {
    /// Does what a method asks, and answers it.
    pub(super) fn command(
        &mut self,
        method: &Method<'_>,
        link: &mut Link,
    ) -> Result<After, AmqpError> {
        let command = match method {
            Method::Qos {
                prefetch_size,
                prefetch_count,
                global,
            } => {
                return self
                    .qos(*prefetch_size, *prefetch_count, *global, link)
                    .map(|()| After::Nothing);
            }
            Method::Other(command) => command,
            // The frequent ones never come here.
            _ => return Ok(After::Nothing),
        };
        let Command { method, arguments } = command.as_ref();
        let done = match method {
            AMQPClass::Exchange(method) => self.exchange(method, arguments, link),
            AMQPClass::Queue(method) => self.queue(method, arguments, link),
            AMQPClass::Basic(basic::AMQPMethod::Cancel(method)) => {
                return self.cancel(method, link);
            }
            AMQPClass::Basic(method) => self.basic(method, arguments, link),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                if self.transaction.is_some() {
                    return Err(AmqpError::tx_to_confirm());
                }
                self.confirms.get_or_insert_with(Confirms::default);
                self.stats.confirms.store(true, Relaxed);
                link.reply(self.number, select.nowait, &replies::confirm_select_ok());
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) if flow.active => {
                link.send(self.number, &replies::flow_ok(true));
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(_)) => Err(AmqpError::flow_inactive()),
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => return Ok(After::Close),
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                Err(AmqpError::second_channel_open())
            }
            AMQPClass::Tx(tx::AMQPMethod::Select(_)) => self.select(link),
            AMQPClass::Tx(tx::AMQPMethod::Commit(_)) => self.commit(link),
            AMQPClass::Tx(tx::AMQPMethod::Rollback(_)) => self.rollback(link),
            AMQPClass::Access(_) => {
                link.send(self.number, &replies::access_request_ok());
                Ok(())
            }
            _ => Err(AmqpError::unimplemented_method()),
        };
        done.map(|()| After::Nothing)
    }

    fn exchange(
        &mut self,
        method: &exchange::AMQPMethod,
        arguments: &RawTable,
        link: &mut Link,
    ) -> Done {
        use exchange::AMQPMethod::{Bind, Declare, Delete, Unbind};
        let (nowait, answer) = match method {
            Declare(m) => {
                let name = stripped(m.exchange.as_str());
                let declared = if m.passive {
                    link.vhost.find_exchange(&name)
                } else {
                    let wanted = ExchangeDeclaration {
                        name,
                        kind: m.kind.as_str().to_owned(),
                        durable: m.durable,
                        auto_delete: m.auto_delete,
                        internal: m.internal,
                        arguments: arguments.clone(),
                    };
                    link.vhost.declare_exchange_as(&link.actor, &wanted)
                };
                link.once_durable(declared)?;
                (m.nowait, replies::exchange_declare_ok())
            }
            Delete(m) => {
                let name = stripped(m.exchange.as_str());
                link.vhost.check_deletable(&name)?;
                let at = Resource::exchange(&name, link.vhost.name());
                link.actor.may(Access::Configure, at)?;
                let deleted = link.vhost.delete_exchange(&name, m.if_unused, link.user());
                link.once_durable(deleted)?;
                (m.nowait, replies::exchange_delete_ok())
            }
            Bind(m) => {
                let spec = binding(m.source.as_str(), m.routing_key.as_str(), arguments);
                let to = stripped(m.destination.as_str());
                may_bind(link, Resource::exchange(&to, link.vhost.name()), &spec)?;
                let bound = link.vhost.bind_exchange(&to, &spec, link.user());
                link.once_durable(bound)?;
                (m.nowait, replies::exchange_bind_ok())
            }
            Unbind(m) => {
                let spec = binding(m.source.as_str(), m.routing_key.as_str(), arguments);
                let to = stripped(m.destination.as_str());
                may_bind(link, Resource::exchange(&to, link.vhost.name()), &spec)?;
                let unbound = link.vhost.unbind_exchange(&to, &spec, link.user());
                link.once_durable(unbound)?;
                (m.nowait, replies::exchange_unbind_ok())
            }
            _ => return Err(AmqpError::unimplemented_method()),
        };
        link.reply(self.number, nowait, &answer);
        Ok(())
    }

    fn queue(&mut self, method: &queue::AMQPMethod, arguments: &RawTable, link: &mut Link) -> Done {
        use queue::AMQPMethod::{Bind, Declare, Delete, Purge, Unbind};
        let (nowait, answer) = match method {
            Declare(m) => (m.nowait, self.declare_queue(m, arguments, link)?),
            Bind(m) => {
                let name = self.queue_name(&stripped(m.queue.as_str()))?;
                // An empty key with an empty queue name means the queue's own name (A3.16).
                let key = match m.queue.as_str().is_empty() && m.routing_key.as_str().is_empty() {
                    true => name.as_str(),
                    false => m.routing_key.as_str(),
                };
                let spec = binding(m.exchange.as_str(), key, arguments);
                may_bind(link, Resource::queue(&name, link.vhost.name()), &spec)?;
                // Of two missing ends the source is told.
                link.vhost
                    .find_exchange(&spec.source)
                    .map(|found| found.value)?;
                let queue = link.vhost.queue(&name, link.id())?;
                let bound = link.vhost.bind_queue(&queue, &spec, link.user());
                link.once_durable(bound)?;
                (m.nowait, replies::queue_bind_ok())
            }
            Unbind(m) => {
                self.unbind_queue(m, arguments, link)?;
                (false, replies::queue_unbind_ok())
            }
            Purge(m) => {
                let queue = self.readable_queue(m.queue.as_str(), link)?;
                let purged = link.vhost.purge_queue(&queue);
                let count = link.once_durable(purged)?;
                (m.nowait, replies::queue_purge_ok(count))
            }
            Delete(m) => {
                let name = self.queue_name(&stripped(m.queue.as_str()))?;
                let at = Resource::queue(&name, link.vhost.name());
                link.actor.may(Access::Configure, at)?;
                let conditions = DeleteIf {
                    unused: m.if_unused,
                    empty: m.if_empty,
                };
                let (id, user) = (link.id(), link.user());
                let deleted = link.vhost.delete_queue(&name, conditions, id, user);
                let count = link.once_durable(deleted)?;
                link.exclusive.retain(|queue| queue.name != name);
                (m.nowait, replies::queue_delete_ok(count))
            }
            _ => return Err(AmqpError::unimplemented_method()),
        };
        link.reply(self.number, nowait, &answer);
        Ok(())
    }

    fn declare_queue(
        &mut self,
        m: &queue::Declare,
        arguments: &RawTable,
        link: &mut Link,
    ) -> Result<AMQPClass, AmqpError> {
        let asked = Name::from(m.queue.as_str());
        if asked.as_str() == REPLY_TO || link.vhost.has_replies(&asked) {
            return Ok(replies::queue_declare_ok(&asked, 0, 1));
        }
        let declared = if m.passive {
            link.vhost
                .find_queue(&stripped(m.queue.as_str()), link.id())
        } else {
            let wanted = QueueDeclaration {
                name: stripped(m.queue.as_str()),
                durable: m.durable,
                exclusive: m.exclusive,
                auto_delete: m.auto_delete,
                arguments: arguments.clone(),
            };
            self.declare_permitted(&wanted, link)
        };
        let queue = link.once_durable(declared)?;
        if queue.exclusive_to.is_some() && !link.exclusive.contains(&queue) {
            link.exclusive.push(queue.clone());
        }
        self.last_queue = Some(queue.name.clone());
        let state = queue.lock();
        Ok(replies::queue_declare_ok(
            &queue.name,
            state.ready_len(),
            state.consumers_len(),
        ))
    }

    /// A name that is chosen for a queue stays until it is known whether the user may have it.
    fn declare_permitted(
        &mut self,
        wanted: &QueueDeclaration,
        link: &Link,
    ) -> Result<Durably<QueueRef>, AmqpError> {
        let chosen = match self.held.take().map(|held| *held) {
            Some(Held::QueueName(name)) => Some(name),
            _ if wanted.name.is_empty() => Some(server_name(QUEUE_PREFIX)),
            _ => None,
        };
        let by = &link.actor;
        let declared = link
            .vhost
            .declare_queue_as(by, wanted, chosen.as_ref(), link.id());
        if declared.is_err() && by.login().undecided().is_some() {
            self.held = chosen.map(|name| Box::new(Held::QueueName(name)));
        }
        declared
    }

    /// A queue or exchange that is not there is no error (A2).
    fn unbind_queue(&mut self, m: &queue::Unbind, arguments: &RawTable, link: &mut Link) -> Done {
        let name = self.queue_name(m.queue.as_str())?;
        let key = match m.queue.as_str().is_empty() && m.routing_key.as_str().is_empty() {
            true => name.as_str(),
            false => m.routing_key.as_str(),
        };
        let spec = binding(m.exchange.as_str(), key, arguments);
        may_bind(link, Resource::queue(&name, link.vhost.name()), &spec)?;
        let Some(queue) = link.vhost.topology().queues.get(&name).cloned() else {
            return Ok(());
        };
        let (id, user) = (link.id(), link.user());
        let unbound = link.vhost.unbind_queue(&queue, &spec, id, user);
        link.once_durable(unbound)
    }

    fn basic(&mut self, method: &basic::AMQPMethod, arguments: &RawTable, link: &mut Link) -> Done {
        use basic::AMQPMethod::{Consume, Get, Recover, RecoverAsync};
        match method {
            Consume(m) => self.consume(m, arguments, link),
            Get(m) => {
                let queue = self.readable_queue(m.queue.as_str(), link)?;
                match link.vhost.get(&queue, m.no_ack)? {
                    Some(got) => self.got(&queue, &got, link),
                    None => {
                        self.stats.got_empty.add(1);
                        link.send(self.number, &replies::get_empty());
                    }
                }
                Ok(())
            }
            Recover(m) => {
                self.recover(m.requeue, link)?;
                link.send(self.number, &replies::recover_ok());
                Ok(())
            }
            RecoverAsync(m) => self.recover(m.requeue, link),
            _ => Err(AmqpError::unimplemented_method()),
        }
    }

    fn recover(&mut self, requeue: bool, link: &mut Link) -> Done {
        if !requeue {
            return Err(AmqpError::requeue_false());
        }
        let mut back = Vec::new();
        self.ledger.take(0, true, &mut back);
        self.requeue(back, link)
    }

    fn consume(&mut self, m: &basic::Consume, arguments: &RawTable, link: &mut Link) -> Done {
        let count = self.consumers.len() + usize::from(self.reply_consumer.is_some());
        if let Some(max) = link.settings.consumers_per_channel
            && count as u64 >= max
        {
            return Err(AmqpError::consumer_limit(max));
        }
        let tag = match m.consumer_tag.as_str() {
            "" => server_name("amq.ctag"),
            tag => Name::from(tag),
        };
        let replies = self
            .reply_consumer
            .as_ref()
            .is_some_and(|consumer| consumer.tag == tag);
        let mut tags = self.consumers.iter().map(|(_, consumer)| &consumer.tag);
        if replies || tags.any(|other| *other == tag) {
            return Err(AmqpError::consumer_tag_reuse(&tag));
        }
        if m.queue.as_str() == REPLY_TO {
            return self.consume_replies(tag, m.no_ack, m.nowait, link);
        }
        let queue = self.readable_queue(m.queue.as_str(), link)?;
        let at = Resource::queue(&queue.name, &queue.vhost);
        let asked = of_consumer(arguments, at)?;
        let patience = match m.no_ack {
            true => None,
            false => link.patience(&queue, asked.timeout_ms),
        };
        self.last_serial += 1;
        let serial = self.last_serial;
        let source = self.ledger.source(&queue);
        let place = self.consumers.vacant_entry();
        let token = ConsumerToken {
            channel: self.number,
            number: place.key() as u32,
        };
        let port = Port::new(Arc::clone(&link.outbox), Arc::clone(&self.credit), token);
        let spec = ConsumerSpec {
            tag: tag.clone(),
            connection: link.id(),
            arguments: arguments.octets().clone(),
            token,
            no_ack: m.no_ack,
            exclusive: m.exclusive,
            prefetch: self.prefetch,
            priority: asked.priority,
            port: Arc::new(port),
        };
        let key = link.vhost.subscribe(&queue, spec, link.user())?;
        place.insert(Consumer {
            tag: tag.clone(),
            queue: queue.clone(),
            key,
            source,
            serial,
            patience,
        });
        self.stats.consumers.set(self.consumers.len() as u64);
        link.reply(self.number, m.nowait, &replies::consume_ok(&tag));
        link.vhost.resume(&queue, key)
    }

    fn cancel(&mut self, m: &basic::Cancel, link: &mut Link) -> Result<After, AmqpError> {
        let tag = Name::from(m.consumer_tag.as_str());
        match self
            .consumers
            .iter()
            .find(|(_, consumer)| consumer.tag == tag)
        {
            Some((number, consumer)) => {
                let gone = link
                    .vhost
                    .unsubscribe(&consumer.queue, consumer.key, link.user());
                link.once_durable(gone)?;
                Ok(After::Cancel {
                    number,
                    tag,
                    nowait: m.nowait,
                })
            }
            None => {
                if self
                    .reply_consumer
                    .as_ref()
                    .is_some_and(|consumer| consumer.tag == tag)
                {
                    self.stop_replies(link);
                }
                link.reply(self.number, m.nowait, &replies::cancel_ok(&tag));
                Ok(After::Nothing)
            }
        }
    }

    /// Answers basic.cancel, once all that was handed over to the consumer has been sent. It may be
    /// gone already, with its queue.
    pub(super) fn finish_cancel(
        &mut self,
        number: usize,
        tag: &Name,
        nowait: bool,
        link: &mut Link,
    ) {
        self.consumers.try_remove(number);
        self.stats.consumers.set(self.consumers.len() as u64);
        link.reply(self.number, nowait, &replies::cancel_ok(tag));
    }

    /// Takes consumers off queues that the user may no longer read. Their numbers.
    pub(super) fn stop_forbidden(&self, link: &mut Link) -> Result<Vec<u32>, AmqpError> {
        let mut stopped = Vec::new();
        for (number, consumer) in &self.consumers {
            let queue = &consumer.queue;
            let at = Resource::queue(&queue.name, &queue.vhost);
            if link.actor.may(Access::Read, at).is_err() {
                let gone = link.vhost.unsubscribe(queue, consumer.key, INTERNAL_USER);
                link.once_durable(gone)?;
                stopped.push(number as u32);
            }
        }
        Ok(stopped)
    }

    /// The queue of a consumer is gone (A6.7).
    pub(super) fn cancelled(&mut self, number: u32, link: &mut Link) {
        let gone = self.consumers.try_remove(number as usize);
        self.stats.consumers.set(self.consumers.len() as u64);
        if let Some(consumer) = gone
            && link.capabilities.consumer_cancel_notify
        {
            link.send(self.number, &replies::cancel(&consumer.tag));
        }
    }

    fn qos(&mut self, size: u32, count: u16, global: bool, link: &mut Link) -> Done {
        if size != 0 {
            return Err(AmqpError::prefetch_size(size));
        }
        let mut waiting = false;
        match global {
            true => {
                self.stats.prefetch_global.set(count.into());
                waiting = self.credit.set_limit(count.into());
            }
            false => {
                self.stats.prefetch.set(count.into());
                self.prefetch = count.into();
            }
        }
        link.send(self.number, &replies::qos_ok());
        if waiting {
            self.resume_all(link)
        } else {
            Ok(())
        }
    }

    /// An empty name stands for the queue last declared on this channel (A2: 404 if none was).
    fn queue_name(&self, name: &str) -> Result<Name, AmqpError> {
        match name {
            "" => self
                .last_queue
                .clone()
                .ok_or_else(AmqpError::no_previously_declared_queue),
            name => Ok(Name::from(name)),
        }
    }

    /// A queue to consume from, get from or purge (A10).
    fn readable_queue(&self, name: &str, link: &Link) -> Result<QueueRef, AmqpError> {
        let name = self.queue_name(name)?;
        let at = Resource::queue(&name, link.vhost.name());
        link.actor.may(Access::Read, at)?;
        link.vhost.queue(&name, link.id())
    }
}

fn may_bind(link: &Link, to: Resource<'_>, spec: &BindingSpec) -> Done {
    link.vhost
        .may_bind(&link.actor, to, &spec.source, &spec.key)
}

fn binding(source: &str, key: &str, arguments: &RawTable) -> BindingSpec {
    BindingSpec {
        source: stripped(source),
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments: arguments.clone(),
    }
}

/// CR and LF are taken out of names (A1.9).
fn stripped(name: &str) -> Name {
    match name.contains(['\r', '\n']) {
        true => Name::from(name.replace(['\r', '\n'], "")),
        false => Name::from(name),
    }
}
