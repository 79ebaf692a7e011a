//! Bindings, those of the default exchange included, which exist by rule only (A3.6).

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::super::Context;
use super::super::access::{Access, Management, Within};
use super::super::body::Fields;
use super::super::list::{Item, list};
use super::super::object::Object;
use super::super::query::ListQuery;
use super::super::tables;
use super::exchanges::name_of;
use super::queues;
use crate::base::reply::ApiError;
use crate::base::{ConnectionId, Name, Resource};
use crate::broker::{BindingSpec, Topology, Vhost};
use crate::codec::RawTable;
use crate::queue::QueueRef;
use crate::router::{Binding, Destination};

struct BindingItem {
    vhost: Name,
    source: Name,
    destination: Destination<QueueRef>,
    key: Bytes,
    arguments: Bytes,
}

impl BindingItem {
    fn of(vhost: &Vhost, binding: &Binding<QueueRef>) -> Self {
        BindingItem {
            vhost: vhost.name().clone(),
            source: binding.source.clone(),
            destination: binding.destination.clone(),
            key: binding.key.clone(),
            arguments: binding.arguments.encoded().clone(),
        }
    }

    /// The default exchange's binding to a queue.
    fn implicit(queue: &QueueRef) -> Self {
        BindingItem {
            vhost: queue.vhost.clone(),
            source: Name::default(),
            destination: Destination::Queue(queue.clone()),
            key: Bytes::copy_from_slice(queue.name.as_bytes()),
            arguments: Bytes::new(),
        }
    }

    fn destination(&self) -> (&'static str, &str) {
        match &self.destination {
            Destination::Queue(queue) => ("queue", &queue.name),
            Destination::Exchange(name) => ("exchange", name),
        }
    }

    /// What tells it from others between the same two ends: `key~hash`, `key` alone without
    /// arguments, `~` if there is neither (A3.15). Only whoever gave it can read the hash.
    fn properties_key(&self) -> String {
        let key = quote(&self.key);
        match (key.is_empty(), self.arguments.is_empty()) {
            (true, true) => "~".to_owned(),
            (false, true) => key,
            (_, false) => {
                let hash = crc32c::crc32c(&self.arguments).to_be_bytes();
                format!("{key}~{}", BASE64_URL_SAFE_NO_PAD.encode(hash))
            }
        }
    }

    /// Whether `given` is its properties key, as it is or with the routing key in plain.
    fn is_called(&self, given: &str) -> bool {
        let own = self.properties_key();
        if own == given {
            return true;
        }
        let (own_key, own_hash) = own.split_once('~').unwrap_or((&own, ""));
        let (key, hash) = match self.arguments.is_empty() {
            true => (given, ""),
            false => given.rsplit_once('~').unwrap_or((given, "")),
        };
        !own_key.is_empty() && own_hash == hash && key.as_bytes() == self.key
    }
}

/// Letters, digits and `-._` as they are, a space as `+`, all else as `%XX`.
fn quote(key: &[u8]) -> String {
    let mut quoted = String::with_capacity(key.len());
    for &octet in key {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                quoted.push(octet.into());
            }
            b' ' => quoted.push('+'),
            _ => quoted.push_str(&format!("%{octet:02X}")),
        }
    }
    quoted
}

impl Item for BindingItem {
    fn name(&self) -> &str {
        &self.source
    }

    fn order(&self, other: &Self) -> Ordering {
        let by_vhost = self.vhost.cmp(&other.vhost);
        by_vhost
            .then_with(|| self.source.cmp(&other.source))
            .then_with(|| self.destination().cmp(&other.destination()))
            .then_with(|| self.key.cmp(&other.key))
            .then_with(|| self.arguments.cmp(&other.arguments))
    }

    fn fill(&self, object: &mut Object<'_>) {
        let (kind, destination) = self.destination();
        object
            .put("source", self.source.as_str())
            .put("vhost", self.vhost.as_str())
            .put("destination", destination)
            .put("destination_type", kind)
            .put_with("routing_key", || tables::text(&self.key).into())
            .put_with("arguments", || tables::stored_to_json(&self.arguments))
            .put_with("properties_key", || self.properties_key().into());
    }
}

fn items(vhosts: Vec<Arc<Vhost>>) -> Vec<BindingItem> {
    let mut items = Vec::new();
    for vhost in vhosts {
        let topology = vhost.topology();
        items.extend(from(&vhost, &topology, &Name::default()));
        for exchange in topology.graph.exchanges() {
            items.extend(from(&vhost, &topology, exchange.name()));
        }
    }
    items
}

/// Those that start at an exchange.
fn from(vhost: &Vhost, topology: &Topology, source: &Name) -> Vec<BindingItem> {
    if source.is_empty() {
        return topology
            .queues
            .values()
            .map(BindingItem::implicit)
            .collect();
    }
    let bindings = topology.graph.bindings_of_source(source.as_bytes());
    bindings
        .map(|binding| BindingItem::of(vhost, binding))
        .collect()
}

/// Those that end at a queue or an exchange.
fn to(vhost: &Vhost, topology: &Topology, end: &Destination<QueueRef>) -> Vec<BindingItem> {
    let bindings = topology.graph.bindings_of_destination(end);
    let mut items: Vec<_> = bindings.map(|b| BindingItem::of(vhost, b)).collect();
    if let Destination::Queue(queue) = end {
        items.push(BindingItem::implicit(queue));
    }
    items
}

/// GET /bindings, /bindings/:vhost
pub(in super::super) async fn all(within: Within, query: ListQuery) -> Result<Response, ApiError> {
    list(items(within.vhosts), query)
}

/// GET /queues/:vhost/:name/bindings
pub(in super::super) async fn of_queue(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let end = Destination::Queue(queues::find(&vhost, &name)?);
    list(to(&vhost, &vhost.topology(), &end), query)
}

/// GET /exchanges/:vhost/:name/bindings/source
pub(in super::super) async fn of_source(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let name = existing_exchange(&vhost, &name)?;
    list(from(&vhost, &vhost.topology(), &name), query)
}

/// GET /exchanges/:vhost/:name/bindings/destination
pub(in super::super) async fn of_destination(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, name)): Path<(String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let vhost = access.look(&context, &vhost)?;
    let end = Destination::Exchange(existing_exchange(&vhost, &name)?);
    list(to(&vhost, &vhost.topology(), &end), query)
}

fn existing_exchange(vhost: &Vhost, part: &str) -> Result<Name, ApiError> {
    let name = name_of(part);
    match name.is_empty() || vhost.topology().graph.get(name.as_bytes()).is_some() {
        true => Ok(name),
        false => Err(ApiError::not_found()),
    }
}

/// The two ends that a path names: `:source/q/:queue` or `:source/e/:exchange`.
struct Ends {
    vhost: Arc<Vhost>,
    source: Name,
    /// None if there is no such queue.
    destination: Option<Destination<QueueRef>>,
    destination_name: Name,
    is_queue: bool,
}

impl Ends {
    fn of(vhost: Arc<Vhost>, source: &str, kind: &str, name: &str) -> Result<Self, ApiError> {
        let is_queue = match kind {
            "q" => true,
            "e" => false,
            _ => return Err(ApiError::not_found()),
        };
        let destination = match is_queue {
            true => queues::find(&vhost, name).ok().map(Destination::Queue),
            false => Some(Destination::Exchange(name_of(name))),
        };
        Ok(Ends {
            vhost,
            source: name_of(source),
            destination,
            destination_name: match is_queue {
                true => Name::from(name),
                false => name_of(name),
            },
            is_queue,
        })
    }

    /// What it ends at, as permissions name it.
    fn resource(&self) -> Resource<'_> {
        match self.is_queue {
            true => Resource::queue(&self.destination_name, self.vhost.name()),
            false => Resource::exchange(&self.destination_name, self.vhost.name()),
        }
    }

    fn bindings(&self) -> Vec<BindingItem> {
        let Some(end) = &self.destination else {
            return Vec::new();
        };
        let mut found = to(&self.vhost, &self.vhost.topology(), end);
        found.retain(|binding| binding.source == self.source);
        found
    }

    fn called(&self, properties_key: &str) -> Result<BindingItem, ApiError> {
        let mut found = self.bindings().into_iter();
        found
            .find(|binding| binding.is_called(properties_key))
            .ok_or_else(ApiError::not_found)
    }
}

/// GET /bindings/:vhost/e/:source/(q|e)/:destination
pub(in super::super) async fn between(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, source, kind, name)): Path<(String, String, String, String)>,
    query: ListQuery,
) -> Result<Response, ApiError> {
    let ends = Ends::of(access.look(&context, &vhost)?, &source, &kind, &name)?;
    list(ends.bindings(), query)
}

/// POST /bindings/:vhost/e/:source/(q|e)/:destination
pub(in super::super) async fn bind(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, source, kind, name)): Path<(String, String, String, String)>,
    body: Fields,
) -> Result<Response, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let ends = Ends::of(vhost, &source, &kind, &name)?;
    let spec = BindingSpec {
        source: ends.source.clone(),
        key: Bytes::from(body.text("routing_key")?.unwrap_or_default().to_owned()),
        arguments: body.arguments()?,
    };
    let vhost = &ends.vhost;
    vhost.may_bind(&actor, ends.resource(), &spec.source, &spec.key)?;
    let by = access.user();
    let bound = match ends.is_queue {
        true => {
            let queue = vhost.queue(&ends.destination_name, ConnectionId::NONE)?;
            vhost.bind_queue(&queue, &spec, by)
        }
        false => vhost.bind_exchange(&ends.destination_name, &spec, by),
    };
    context.durably(bound).await?;
    let arguments = spec.arguments.sorted().octets().clone();
    let mut created = ends.bindings().into_iter();
    let created = created.find(|b| b.key == spec.key && b.arguments == arguments);
    let mut response = StatusCode::CREATED.into_response();
    if let Some(binding) = created {
        let location = format!("{}/{}", quote(name.as_bytes()), binding.properties_key());
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    Ok(response)
}

/// GET /bindings/:vhost/e/:source/(q|e)/:destination/:properties_key
pub(in super::super) async fn get(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, source, kind, name, key)): Path<(String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let ends = Ends::of(access.look(&context, &vhost)?, &source, &kind, &name)?;
    let item = ends.called(&key)?;
    Ok(Json(item.json(&super::super::object::Columns::ALL)).into_response())
}

/// DELETE /bindings/:vhost/e/:source/(q|e)/:destination/:properties_key
pub(in super::super) async fn unbind(
    State(context): State<Context>,
    access: Access<Management>,
    Path((vhost, source, kind, name, key)): Path<(String, String, String, String, String)>,
) -> Result<StatusCode, ApiError> {
    let (vhost, actor) = access.enter(&context, &vhost)?;
    let ends = Ends::of(vhost, &source, &kind, &name)?;
    let found = ends.called(&key)?;
    let spec = BindingSpec {
        source: found.source,
        key: found.key,
        arguments: RawTable::new(found.arguments)?,
    };
    let vhost = &ends.vhost;
    vhost.may_bind(&actor, ends.resource(), &spec.source, &spec.key)?;
    let by = access.user();
    let unbound = match &found.destination {
        Destination::Queue(queue) => vhost.unbind_queue(queue, &spec, ConnectionId::NONE, by),
        Destination::Exchange(name) => vhost.unbind_exchange(name, &spec, by),
    };
    context.durably(unbound).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, arguments: &'static [u8]) -> BindingItem {
        BindingItem {
            vhost: "/".into(),
            source: "x".into(),
            destination: Destination::Exchange("y".into()),
            key: Bytes::copy_from_slice(key.as_bytes()),
            arguments: Bytes::from_static(arguments),
        }
    }

    #[test]
    fn a3_15_bindings_are_called_by_key_and_a_hash_of_their_arguments() {
        assert_eq!(item("", b"").properties_key(), "~");
        assert_eq!(item("a.#", b"").properties_key(), "a.%23");
        assert_eq!(item("a b~c/d", b"").properties_key(), "a+b%7Ec%2Fd");
        let one = item("k", b"\x01aI\0\0\0\x01").properties_key();
        let other = item("k", b"\x01aI\0\0\0\x02").properties_key();
        assert!(one.starts_with("k~") && one.len() == 8 && one != other);
    }

    #[test]
    fn a3_15_a_key_may_be_given_in_plain() {
        let plain = item("a.#", b"");
        assert!(plain.is_called("a.%23") && plain.is_called("a.#"));
        assert!(!plain.is_called("~") && !plain.is_called("b"));
        let with = item("a~#", b"\x01aI\0\0\0\x01");
        let hash = with.properties_key().rsplit_once('~').unwrap().1.to_owned();
        assert!(with.is_called(&format!("a~#~{hash}")));
        assert!(!with.is_called("a~#"));
        assert!(item("", b"").is_called("~"));
        assert!(!item("", b"").is_called(""));
    }
}
