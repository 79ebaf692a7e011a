//! The JSON of definitions, part by part, as RabbitMQ writes and reads it (A11).
//!
//! Owns the shape: what a part must have, and what may be left out.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use crate::base::Name;

#[derive(Debug, Deserialize)]
pub(super) struct UserDef {
    pub(super) name: Name,
    #[serde(default)]
    pub(super) password_hash: Option<String>,
    #[serde(default)]
    pub(super) password: Option<String>,
    #[serde(default)]
    pub(super) hashing_algorithm: Option<String>,
    #[serde(default, deserialize_with = "tags")]
    pub(super) tags: Vec<Name>,
    #[serde(default, deserialize_with = "limits")]
    pub(super) limits: Vec<(String, i64)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct VhostDef {
    pub(super) name: Name,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "some_tags")]
    pub(super) tags: Option<Vec<Name>>,
    #[serde(default)]
    pub(super) default_queue_type: Option<String>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

/// What some versions have beside the name and others in here.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "some_tags")]
    pub(super) tags: Option<Vec<Name>>,
    #[serde(default)]
    pub(super) default_queue_type: Option<String>,
    #[serde(default)]
    pub(super) protected_from_deletion: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct PermissionDef {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) configure: String,
    pub(super) write: String,
    pub(super) read: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TopicPermissionDef {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) exchange: Name,
    pub(super) write: String,
    pub(super) read: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ParameterDef {
    pub(super) vhost: Name,
    pub(super) component: String,
    pub(super) name: Name,
    pub(super) value: Json,
}

#[derive(Debug, Deserialize)]
pub(super) struct GlobalParameterDef {
    pub(super) name: Name,
    pub(super) value: Json,
}

#[derive(Debug, Deserialize)]
pub(super) struct QueueDef {
    pub(super) name: Name,
    pub(super) vhost: Name,
    #[serde(default = "yes")]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) arguments: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExchangeDef {
    pub(super) name: Name,
    pub(super) vhost: Name,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default = "yes")]
    pub(super) durable: bool,
    #[serde(default)]
    pub(super) auto_delete: bool,
    #[serde(default)]
    pub(super) internal: bool,
    #[serde(default)]
    pub(super) arguments: Map<String, Json>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BindingDef {
    pub(super) source: Name,
    pub(super) vhost: Name,
    pub(super) destination: Name,
    pub(super) destination_type: String,
    #[serde(default)]
    pub(super) routing_key: String,
    #[serde(default)]
    pub(super) arguments: Map<String, Json>,
}

fn yes() -> bool {
    true
}

/// A list, or a text with commas as older versions have it.
fn tags<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Name>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Tags {
        List(Vec<Name>),
        Text(String),
    }
    Ok(match Tags::deserialize(from)? {
        Tags::List(tags) => tags,
        Tags::Text(text) => {
            let tags = text.split(',').map(str::trim);
            tags.filter(|tag| !tag.is_empty()).map(Name::from).collect()
        }
    })
}

fn some_tags<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Name>>, D::Error> {
    tags(from).map(Some)
}

/// An object, or the empty list that RabbitMQ writes for an empty one.
fn limits<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, i64)>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Limits {
        Object(std::collections::BTreeMap<String, i64>),
        Pairs(Vec<(String, i64)>),
    }
    Ok(match Limits::deserialize(from)? {
        Limits::Object(fields) => fields.into_iter().collect(),
        Limits::Pairs(pairs) => pairs,
    })
}
