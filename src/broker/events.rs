//! Lifecycle events: what begins, changes and ends in the broker, as messages on
//! `amq.rabbitmq.event` in the first vhost, as RabbitMQ's event exchange plugin has them.
//!
//! Owns what an event tells, and the line in which events wait to be published: they are told under
//! locks, and published by a task. Nobody is held up: what does not fit the line is lost, and that is
//! said in the log. While nothing is bound to the exchange an event costs one look at a flag.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::Value as Json;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::{debug, warn};

use super::Broker;
use super::DEFAULT_VHOST;
use super::arguments;
use super::stats::ConnectionStats;
use crate::auth::{Limit, Limits};
use crate::base::counter::SharedCounter;
use crate::base::limits::EVENTS_WAITING_MAX;
use crate::base::{Name, clock};
use crate::codec::{ArrayBuilder, Null, PropertyPatch, RawTable, TableBuilder, Value};
use crate::message::{Facts, Message};
use crate::queue::QueueRef;
use crate::router::ExchangeSpec;

/// The exchange, if the configuration has it.
pub(super) const EXCHANGE: &str = "amq.rabbitmq.event";

/// Who does what no client and no operator has asked for, in RabbitMQ's words.
pub const INTERNAL_USER: &str = "rmq-internal";

/// Events published at once.
const BATCH: usize = 256;

/// What has happened.
struct Event {
    /// RabbitMQ's name of it, such as `queue.created`.
    name: &'static str,
    headers: TableBuilder,
    at_ms: u64,
}

/// Where events are told.
pub(super) struct Events {
    wanted: AtomicBool,
    line: Sender<Event>,
    lost: SharedCounter,
    waiting: Mutex<Option<Receiver<Event>>>,
}

impl Default for Events {
    fn default() -> Self {
        let (line, waiting) = channel(EVENTS_WAITING_MAX);
        Events {
            wanted: AtomicBool::new(false),
            line,
            lost: SharedCounter::default(),
            waiting: Mutex::new(Some(waiting)),
        }
    }
}

impl Events {
    /// Whether anybody wants to know.
    pub(super) fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Something is bound to the exchange, or nothing.
    pub(super) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Tells of an event; `fill` writes its headers, if anybody wants to know.
    pub(super) fn tell(&self, name: &'static str, fill: impl FnOnce(&mut Headers)) {
        if !self.are_wanted() {
            return;
        }
        let mut headers = Headers(TableBuilder::new());
        fill(&mut headers);
        let event = Event {
            name,
            headers: headers.0,
            at_ms: clock::now_ms(),
        };
        if self.line.try_send(event).is_err() {
            self.lost.add(1);
        }
    }
}

/// The headers of an event in the making.
pub(super) struct Headers(TableBuilder);

impl Headers {
    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.octets(name, text.as_bytes())
    }

    pub(super) fn octets(&mut self, name: &str, octets: &[u8]) -> &mut Self {
        self.0.insert(name, Value::LongStr(octets));
        self
    }

    pub(super) fn flag(&mut self, name: &str, is: bool) -> &mut Self {
        self.0.insert(name, Value::Bool(is));
        self
    }

    pub(super) fn number(&mut self, name: &str, number: impl Into<i64>) -> &mut Self {
        self.0.insert(name, Value::I64(number.into()));
        self
    }

    pub(super) fn table(&mut self, name: &str, table: &RawTable) -> &mut Self {
        self.0.insert(name, Value::Table(table.view()));
        self
    }

    pub(super) fn texts(&mut self, name: &str, texts: &[Name]) -> &mut Self {
        let mut array = ArrayBuilder::new();
        for text in texts {
            array.push(Value::LongStr(text.as_bytes()));
        }
        self.0.insert(name, Value::Array(array.view()));
        self
    }

    /// A value of any kind: as the same in AMQP, or if there is no such, as text.
    pub(super) fn json(&mut self, name: &str, value: &Json) -> &mut Self {
        if self.0.insert_json(name, value, Null::Void).is_err() {
            self.text(name, &value.to_string());
        }
        self
    }

    /// Those limits that are set.
    pub(super) fn limits(&mut self, among: &[Limit], limits: &Limits) -> &mut Self {
        for limit in among {
            if let Some(most) = limits.get(*limit) {
                self.number(limit.name(), i64::try_from(most).unwrap_or(i64::MAX));
            }
        }
        self
    }

    /// Who did it.
    pub(super) fn by(&mut self, user: &str) -> &mut Self {
        self.text("user_who_performed_action", user)
    }

    /// What an exchange is.
    pub(super) fn exchange(&mut self, spec: &ExchangeSpec, vhost: &Name) -> &mut Self {
        self.text("name", &spec.name)
            .text("vhost", vhost)
            .text("type", spec.kind.name())
            .flag("durable", spec.durable)
            .flag("auto_delete", spec.auto_delete)
            .flag("internal", spec.internal)
            .table("arguments", &arguments::stored(&spec.arguments))
    }

    /// Which consumer of which queue.
    pub(super) fn consumer(&mut self, queue: &QueueRef, tag: &str) -> &mut Self {
        self.text("queue", &queue.name)
            .text("vhost", &queue.vhost)
            .text("consumer_tag", tag)
    }

    /// The two ends of a connection.
    pub(super) fn ends(&mut self, stats: &ConnectionStats) -> &mut Self {
        self.text("name", &stats.name())
            .text("host", &stats.local().ip().to_string())
            .number("port", stats.local().port())
            .text("peer_host", &stats.peer().ip().to_string())
            .number("peer_port", stats.peer().port())
    }
}

impl Broker {
    /// Publishes events, for ever. One task runs it.
    pub async fn publish_events(&self) {
        let waiting = self.events.waiting.lock().take();
        let Some(mut waiting) = waiting else {
            return;
        };
        let mut events = Vec::new();
        let mut lost_before = 0;
        while waiting.recv_many(&mut events, BATCH).await > 0 {
            let messages = events.drain(..).map(message).collect();
            let Some(vhost) = self.vhost(DEFAULT_VHOST) else {
                continue;
            };
            if let Err(fault) = vhost.post_copies(messages) {
                debug!(%fault, "events");
            }
            let lost = self.events.lost.get();
            if lost > lost_before {
                warn!(
                    lost = lost - lost_before,
                    "events came too fast and are lost"
                );
                lost_before = lost;
            }
        }
    }
}

fn message(event: Event) -> Message {
    let mut headers = event.headers;
    let at_ms = i64::try_from(event.at_ms).unwrap_or(i64::MAX);
    headers.insert("timestamp_in_ms", Value::I64(at_ms));
    let properties = PropertyPatch::new()
        .headers(headers.view())
        .delivery_mode(2)
        .timestamp(event.at_ms / 1000)
        .build();
    let facts = Facts::new(true, 0, false);
    let (exchange, key) = (EXCHANGE.as_bytes(), event.name.as_bytes());
    Message::from_parts(exchange, key, properties.raw(), Vec::new(), facts)
}
