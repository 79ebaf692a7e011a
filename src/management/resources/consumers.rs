//! Consumers.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::super::Context;
use super::super::access::{Monitor, Within};
use super::super::list::{Item, list};
use super::super::node::Node;
use super::super::object::Object;
use super::super::query::ListQuery;
use super::super::tables;
use super::channels;
use super::connections::sees;
use crate::base::ConnectionId;
use crate::base::reply::ApiError;
use crate::broker::Vhost;
use crate::broker::stats::ConnectionStats;
use crate::queue::{ConsumerInfo, QueueRef};

pub(super) struct ConsumerItem {
    queue: QueueRef,
    consumer: ConsumerInfo,
    /// None if it has just ended.
    connection: Option<Arc<ConnectionStats>>,
    node: Arc<Node>,
}

impl ConsumerItem {
    /// All of a queue.
    pub(super) fn of_queue(context: &Context, vhost: &Vhost, queue: &QueueRef) -> Vec<Self> {
        let consumers = vhost.consumers(queue).into_iter();
        let item = |consumer: ConsumerInfo| ConsumerItem {
            connection: context.broker.connection(consumer.connection),
            queue: queue.clone(),
            consumer,
            node: Arc::clone(&context.node),
        };
        consumers.map(item).collect()
    }

    /// All of a vhost.
    pub(super) fn of_vhost(context: &Context, vhost: &Vhost) -> Vec<Self> {
        let queues = vhost.queues().into_iter();
        let items = queues.flat_map(|queue| Self::of_queue(context, vhost, &queue));
        items.collect()
    }

    /// Whether it came by a channel.
    pub(super) fn is_on(&self, connection: ConnectionId, channel: u16) -> bool {
        self.consumer.connection == connection && self.consumer.channel == channel
    }
}

impl Item for ConsumerItem {
    fn name(&self) -> &str {
        &self.consumer.tag
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_vhost = self.queue.vhost.cmp(&other.queue.vhost);
        by_vhost
            .then_with(|| self.queue.name.cmp(&other.queue.name))
            .then_with(|| self.consumer.tag.cmp(&other.consumer.tag))
            .then_with(|| self.consumer.connection.cmp(&other.consumer.connection))
    }

    fn fill(&self, object: &mut Object<'_>) {
        let (queue, consumer) = (&self.queue, &self.consumer);
        object
            .put("consumer_tag", consumer.tag.as_str())
            .put("queue", json!({ "name": queue.name, "vhost": queue.vhost }))
            .put("ack_required", !consumer.no_ack)
            .put("exclusive", consumer.exclusive)
            .put("prefetch_count", consumer.prefetch)
            .put("priority", consumer.priority)
            .put("unacked", consumer.unacked)
            .put("active", consumer.active)
            .put(
                "activity_status",
                match (consumer.active, queue.settings().options.single_active) {
                    (true, true) => "single_active",
                    (true, false) => "up",
                    (false, _) => "waiting",
                },
            )
            // Of the queue; 0 is none.
            .put_with("consumer_timeout", || {
                let of_queue = queue.settings().options.consumer_timeout_ms;
                of_queue.unwrap_or(0).into()
            })
            .put_with("arguments", || tables::stored_to_json(&consumer.arguments))
            .put_with("channel_details", || match &self.connection {
                None => json!({}),
                Some(connection) => json!({
                    "name": channels::name_of(connection, consumer.channel),
                    "number": consumer.channel,
                    "user": connection.details().map(|d| d.user.as_str()),
                    "connection_name": connection.name(),
                    "peer_host": connection.peer().ip().to_string(),
                    "peer_port": connection.peer().port(),
                    "node": self.node.name(),
                }),
            });
    }
}

/// GET /consumers, /consumers/:vhost: those that the user sees, its own, or as a monitor all.
pub(in super::super) async fn all(
    State(context): State<Context>,
    Within { access, vhosts, .. }: Within,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let items = vhosts
        .iter()
        .flat_map(|vhost| ConsumerItem::of_vhost(&context, vhost));
    let is_own = |item: &ConsumerItem| {
        let connection = item.connection.as_ref();
        connection.is_some_and(|connection| sees(&access, connection))
    };
    let seen = items.filter(|item| access.is::<Monitor>() || is_own(item));
    list(seen.collect(), query)
}
