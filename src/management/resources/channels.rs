//! Channels.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::Context;
use super::super::access::{Access, Management, Within};
use super::super::list::{Item, list};
use super::super::node::Node;
use super::super::object::Object;
use super::super::query::{self, ListQuery, Params};
use super::super::rates::{Course, Windows};
use super::connections::{self, is_listed};
use super::consumers::ConsumerItem;
use super::figures::CHANNEL_STATS;
use super::timestamp;
use crate::base::reply::ApiError;
use crate::broker::stats::{ChannelStats, ConnectionStats};

/// RabbitMQ's name of a channel.
pub(in super::super) fn name_of(connection: &ConnectionStats, number: u16) -> String {
    format!("{} ({number})", connection.name())
}

struct ChannelItem {
    name: String,
    connection: Arc<ConnectionStats>,
    channel: Arc<ChannelStats>,
    node: Arc<Node>,
    windows: Windows,
}

impl ChannelItem {
    fn new(
        context: &Context,
        (connection, channel): (Arc<ConnectionStats>, Arc<ChannelStats>),
        windows: Windows,
    ) -> Self {
        ChannelItem {
            name: name_of(&connection, channel.number()),
            connection,
            channel,
            node: Arc::clone(&context.node),
            windows,
        }
    }
}

impl Item for ChannelItem {
    fn name(&self) -> &str {
        &self.name
    }

    fn order(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }

    fn fill(&self, object: &mut Object<'_>) {
        let channel = &self.channel;
        object
            .put("name", self.name())
            .put("number", channel.number())
            .put("node", self.node.name())
            .put("state", "running")
            .put("connection_details", connections::brief(&self.connection))
            .put("confirm", channel.is_confirming())
            .put("transactional", channel.is_transactional())
            .put("consumer_count", channel.consumers.get())
            .put("prefetch_count", channel.prefetch.get())
            .put("global_prefetch_count", channel.prefetch_global.get())
            .put("messages_unacknowledged", channel.unacked.get())
            .put("messages_unconfirmed", channel.unconfirmed.get())
            .put("messages_uncommitted", channel.uncommitted.get())
            .put("acks_uncommitted", channel.acks_uncommitted.get())
            .put_with("idle_since", || timestamp(channel.idle_since_ms()).into());
        if let Some(details) = self.connection.details() {
            object
                .put("user", details.user.as_str())
                .put("user_who_performed_action", details.user.as_str())
                .put("vhost", details.vhost.as_str());
        }
        if object.wants_any(&["message_stats"]) {
            let course = Course::of(channel.history(), self.windows);
            course.put_stats(object, CHANNEL_STATS, &channel.counts());
        }
    }
}

fn listed(
    context: &Context,
    query: ListQuery,
    wanted: impl Fn(&ConnectionStats) -> bool,
) -> Result<Response, ApiError> {
    let windows = query.windows;
    let all = context.broker.channels().into_iter();
    let seen = all.filter(|(connection, _)| wanted(connection));
    let items = seen.map(|found| ChannelItem::new(context, found, windows));
    list(items.collect(), query)
}

/// GET /channels, /vhosts/:vhost/channels
pub(in super::super) async fn all(
    State(context): State<Context>,
    within: Within,
    query: ListQuery,
) -> Result<Response, ApiError> {
    listed(&context, query, |connection| is_listed(&within, connection))
}

/// GET /connections/:name/channels
pub(in super::super) async fn of_connection(
    State(context): State<Context>,
    access: Access<Management>,
    Path(name): Path<String>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let of = connections::find(&context, &access, &name)?.id();
    listed(&context, query, |connection| connection.id() == of)
}

/// GET /channels/:name
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let (connection, number) = split(&name).ok_or_else(ApiError::not_found)?;
    let connection = connections::find(&context, &access, connection)?;
    let mut channels = connection.channels().into_iter();
    let channel = channels
        .find(|channel| channel.number() == number)
        .ok_or_else(ApiError::not_found)?;
    let found = (Arc::clone(&connection), channel);
    let item = ChannelItem::new(&context, found, Windows::read(&params));
    let columns = query::columns(&params);
    let mut shown = item.json(&columns);
    if columns.wants("consumer_details")
        && let Some(fields) = shown.as_object_mut()
    {
        let consumers = consumers_of(&context, &connection, number);
        fields.insert("consumer_details".to_owned(), consumers);
    }
    Ok(Json(shown).into_response())
}

/// `connection (number)`
fn split(name: &str) -> Option<(&str, u16)> {
    let (connection, number) = name.strip_suffix(')')?.rsplit_once(" (")?;
    Some((connection, number.parse().ok()?))
}

fn consumers_of(context: &Context, connection: &ConnectionStats, number: u16) -> Value {
    let vhost = connection
        .details()
        .and_then(|details| context.broker.vhost(&details.vhost));
    let Some(vhost) = vhost else {
        return json!([]);
    };
    let items = ConsumerItem::of_vhost(context, &vhost).into_iter();
    items
        .filter(|item| item.is_on(connection.id(), number))
        .map(|item| item.json(&super::super::object::Columns::ALL))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a12_channels_are_named_by_connection_and_number() {
        let name = "127.0.0.1:1 -> 127.0.0.1:5672 (12)";
        assert_eq!(split(name), Some(("127.0.0.1:1 -> 127.0.0.1:5672", 12)));
        for wrong in ["", "none", "a (x)", "a (1", "(1)", "a (65536)"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
