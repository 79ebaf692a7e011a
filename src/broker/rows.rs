//! How vhosts, exchanges, queues and bindings stand in the catalogue.
//!
//! Owns keys and values of the rows. Values are MessagePack maps by field name, so that a later
//! version can add fields and still read the rows of an earlier one.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::vhost::VhostSettings;
use crate::base::{Name, QueueId};
use crate::queue::{QueueKind, QueueRef};
use crate::router::{Binding, Destination, ExchangeSpec};

/// A vhost.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VhostRow {
    pub(super) name: Name,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) tags: Vec<Name>,
    #[serde(default)]
    pub(super) default_queue_type: Option<String>,
    #[serde(default)]
    pub(super) protected: bool,
}

/// A durable exchange that a client declared.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExchangeRow {
    pub(super) vhost: Name,
    pub(super) name: Name,
    pub(super) kind: String,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: Bytes,
}

/// A durable queue.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct QueueRow {
    pub(super) id: QueueId,
    pub(super) vhost: Name,
    pub(super) name: Name,
    pub(super) auto_delete: bool,
    pub(super) arguments: Bytes,
    /// Whose it is.
    #[serde(default)]
    pub(super) role: RoleRow,
}

/// What a queue is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RoleRow {
    /// For clients.
    #[default]
    Client,
    /// The store of the durable exchange of its name.
    Store,
    /// The window of the durable exchange of its name.
    ExchangeWindow,
    /// The window of the durable queue of its name.
    QueueWindow,
}

/// A binding between durable ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BindingRow {
    pub(super) vhost: Name,
    pub(super) source: Name,
    pub(super) destination: DestinationRow,
    pub(super) key: Bytes,
    pub(super) arguments: Bytes,
}

/// Where a binding ends, by name.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum DestinationRow {
    Queue(Name),
    Exchange(Name),
}

/// A row that cannot be read: the catalogue is damaged or of a later version.
#[derive(Debug, thiserror::Error)]
#[error("unreadable {table} row in the catalogue: {reason}")]
pub struct RowError {
    table: &'static str,
    reason: String,
}

/// A row with its key.
pub(super) trait Row: Serialize + DeserializeOwned {
    const NAME: &'static str;

    fn key(&self) -> Vec<u8>;

    fn value(&self) -> Vec<u8> {
        // Only a type that MessagePack cannot express makes it fail; a test writes every row.
        rmp_serde::to_vec_named(self).unwrap_or_default()
    }

    fn read(value: &[u8]) -> Result<Self, RowError> {
        rmp_serde::from_slice(value).map_err(|e| RowError {
            table: Self::NAME,
            reason: e.to_string(),
        })
    }
}

impl Row for VhostRow {
    const NAME: &'static str = "vhost";

    fn key(&self) -> Vec<u8> {
        key(&[self.name.as_bytes()])
    }
}

impl Row for ExchangeRow {
    const NAME: &'static str = "exchange";

    fn key(&self) -> Vec<u8> {
        key(&[self.vhost.as_bytes(), self.name.as_bytes()])
    }
}

impl Row for QueueRow {
    const NAME: &'static str = "queue";

    /// Queues of different roles may have the same name.
    fn key(&self) -> Vec<u8> {
        let (vhost, name) = (self.vhost.as_bytes(), self.name.as_bytes());
        match self.role {
            RoleRow::Client => key(&[vhost, name]),
            RoleRow::Store => key(&[vhost, name, b"store"]),
            RoleRow::ExchangeWindow => key(&[vhost, name, b"exchange window"]),
            RoleRow::QueueWindow => key(&[vhost, name, b"queue window"]),
        }
    }
}

impl Row for BindingRow {
    const NAME: &'static str = "binding";

    fn key(&self) -> Vec<u8> {
        let (kind, name): (&[u8], _) = match &self.destination {
            DestinationRow::Queue(name) => (b"q", name),
            DestinationRow::Exchange(name) => (b"e", name),
        };
        let (vhost, source) = (self.vhost.as_bytes(), self.source.as_bytes());
        key(&[
            vhost,
            source,
            kind,
            name.as_bytes(),
            &self.key,
            &self.arguments,
        ])
    }
}

impl VhostRow {
    pub(super) fn of(name: &Name, settings: &VhostSettings) -> Self {
        VhostRow {
            name: name.clone(),
            description: settings.description.clone(),
            tags: settings.tags.clone(),
            default_queue_type: settings
                .default_queue_type
                .map(|kind| kind.name().to_owned()),
            protected: settings.protected,
        }
    }

    /// A type of queue that this version does not know is as none.
    pub(super) fn settings(&self) -> VhostSettings {
        VhostSettings {
            description: self.description.clone(),
            tags: self.tags.clone(),
            default_queue_type: self
                .default_queue_type
                .as_deref()
                .and_then(QueueKind::from_name),
            protected: self.protected,
        }
    }
}

impl ExchangeRow {
    pub(super) fn of(vhost: &Name, spec: &ExchangeSpec) -> Self {
        ExchangeRow {
            vhost: vhost.clone(),
            name: spec.name.clone(),
            kind: spec.type_name().to_owned(),
            auto_delete: spec.auto_delete,
            internal: spec.internal,
            arguments: spec.arguments.clone(),
        }
    }
}

impl QueueRow {
    pub(super) fn of(queue: &QueueRef, arguments: Bytes) -> Self {
        QueueRow {
            id: queue.id,
            vhost: queue.vhost.clone(),
            name: queue.name.clone(),
            auto_delete: queue.auto_delete,
            arguments,
            role: RoleRow::Client,
        }
    }

    /// Of a queue that no client sees.
    pub(super) fn of_hidden(queue: &QueueRef, role: RoleRow) -> Self {
        QueueRow {
            role,
            ..QueueRow::of(queue, Bytes::new())
        }
    }
}

impl BindingRow {
    pub(super) fn of(vhost: &Name, binding: &Binding<QueueRef>) -> Self {
        BindingRow {
            vhost: vhost.clone(),
            source: binding.source.clone(),
            destination: match &binding.destination {
                Destination::Queue(queue) => DestinationRow::Queue(queue.name.clone()),
                Destination::Exchange(name) => DestinationRow::Exchange(name.clone()),
            },
            key: binding.key.clone(),
            arguments: binding.arguments.encoded().clone(),
        }
    }
}

/// Parts with their lengths before them, so that no two lists of parts make the same key.
pub(super) fn key(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().map(|p| p.len() + 4).sum());
    for part in parts {
        key.extend_from_slice(&(part.len() as u32).to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_back<R: Row + std::fmt::Debug>(row: &R) {
        let back = R::read(&row.value()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{row:?}"));
        assert_eq!(back.key(), row.key());
    }

    #[test]
    fn every_row_reads_back() {
        let (vhost, name) = (Name::from("/"), Name::from("näme"));
        let arguments = Bytes::from_static(b"\x01aS\0\0\0\x01\xff");
        let settings = VhostSettings {
            description: "a vhost".into(),
            tags: vec!["t".into()],
            default_queue_type: Some(QueueKind::Quorum),
            protected: true,
        };
        let row = VhostRow::of(&vhost, &settings);
        reads_back(&row);
        assert_eq!(VhostRow::read(&row.value()).unwrap().settings(), settings);
        reads_back(&ExchangeRow {
            vhost: vhost.clone(),
            name: name.clone(),
            kind: "topic".into(),
            auto_delete: true,
            internal: false,
            arguments: arguments.clone(),
        });
        reads_back(&QueueRow {
            id: QueueId(7),
            vhost: vhost.clone(),
            name: name.clone(),
            auto_delete: false,
            arguments: arguments.clone(),
            role: RoleRow::QueueWindow,
        });
        for destination in [
            DestinationRow::Queue(name.clone()),
            DestinationRow::Exchange(name),
        ] {
            reads_back(&BindingRow {
                vhost: vhost.clone(),
                source: "x".into(),
                destination,
                key: Bytes::from_static(b"\xff\0key"),
                arguments: arguments.clone(),
            });
        }
    }

    #[test]
    fn a_row_of_a_version_with_fewer_fields_is_read() {
        #[derive(Serialize)]
        struct Earlier {
            name: Name,
        }
        let value = rmp_serde::to_vec_named(&Earlier { name: "v".into() }).unwrap();
        let row = VhostRow::read(&value).unwrap();
        assert_eq!(row.settings(), VhostSettings::default());
    }

    #[test]
    fn keys_of_different_parts_differ() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
    }

    #[test]
    fn a_damaged_row_says_which_table() {
        let fault = QueueRow::read(b"\xc1").unwrap_err().to_string();
        assert!(fault.starts_with("unreadable queue row"), "{fault}");
    }
}
