//! The `list_…` commands: which columns there are, by rabbitmqctl's names, and where each value stands
//! in the HTTP API's answer.

use serde_json::{Map, Value};

use crate::client::{Client, part};
use crate::fault::Fault;
use crate::output::Output;

/// A kind of thing that can be listed.
pub(crate) struct Listing {
    /// For people.
    pub(crate) title: &'static str,
    /// Columns without any being asked for.
    pub(crate) default: &'static [&'static str],
    /// Columns whose name differs from the API's field; dots lead inside.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
}

pub(crate) const QUEUES: Listing = Listing {
    title: "Listing queues for vhost",
    default: &["name", "messages"],
    renamed: &[("owner_pid", "owner_pid_details.name")],
};

pub(crate) const EXCHANGES: Listing = Listing {
    title: "Listing exchanges for vhost",
    default: &["name", "type"],
    renamed: &[],
};

pub(crate) const BINDINGS: Listing = Listing {
    title: "Listing bindings for vhost",
    default: &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ],
    renamed: &[
        ("source_name", "source"),
        ("source_kind", "=exchange"),
        ("destination_name", "destination"),
        ("destination_kind", "destination_type"),
    ],
};

pub(crate) const CONNECTIONS: Listing = Listing {
    title: "Listing connections",
    default: &["user", "peer_host", "peer_port", "state"],
    renamed: &[("pid", "name")],
};

pub(crate) const CHANNELS: Listing = Listing {
    title: "Listing channels",
    default: &["pid", "user", "consumer_count", "messages_unacknowledged"],
    renamed: &[("pid", "name"), ("connection", "connection_details.name")],
};

pub(crate) const CONSUMERS: Listing = Listing {
    title: "Listing consumers in vhost",
    default: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ],
    renamed: &[
        ("queue_name", "queue.name"),
        ("channel_pid", "channel_details.name"),
    ],
};

pub(crate) const VHOSTS: Listing = Listing {
    title: "Listing vhosts",
    default: &["name"],
    renamed: &[],
};

impl Listing {
    /// Asks for `path` and prints `columns` of it.
    pub(crate) async fn run(
        &self,
        client: &Client,
        output: Output,
        path: &str,
        columns: &[String],
    ) -> Result<(), Fault> {
        let columns: Vec<String> = match columns.is_empty() {
            true => self.default.iter().map(|&name| name.to_owned()).collect(),
            false => columns
                .iter()
                .flat_map(|given| given.split(','))
                .map(str::to_owned)
                .collect(),
        };
        let items = client.list(path).await?;
        if let Some(unknown) = self.unknown(&columns, &items) {
            return Err(Fault::Usage(format!("there is no column {unknown}")));
        }
        let rows = items.iter().map(|item| self.row(item, &columns)).collect();
        Ok(output.rows(&columns, rows)?)
    }

    /// As [`Self::run`], within a vhost.
    pub(crate) async fn run_in(
        &self,
        client: &Client,
        output: Output,
        (what, vhost): (&str, &str),
        columns: &[String],
    ) -> Result<(), Fault> {
        output.intro(&format!("{} {vhost}", self.title));
        self.run(client, output, &format!("{what}/{}", part(vhost)), columns)
            .await
    }

    fn row(&self, item: &Value, columns: &[String]) -> Map<String, Value> {
        columns
            .iter()
            .map(|column| (column.clone(), self.value(item, column)))
            .collect()
    }

    fn value(&self, item: &Value, column: &str) -> Value {
        let field = self.field(column);
        match field.strip_prefix('=') {
            Some(constant) => Value::String(constant.to_owned()),
            None => inside(item, field).cloned().unwrap_or(Value::Null),
        }
    }

    fn field<'a>(&self, column: &'a str) -> &'a str {
        let renamed = self.renamed.iter().find(|(name, _)| *name == column);
        renamed.map_or(column, |&(_, field)| field)
    }

    /// A column that no row has is a typing error; without rows nobody knows.
    fn unknown<'c>(&self, columns: &'c [String], items: &[Value]) -> Option<&'c String> {
        if items.is_empty() {
            return None;
        }
        columns.iter().find(|column| {
            let known = self.default.contains(&column.as_str())
                || self.renamed.iter().any(|(name, _)| name == column);
            !known && items.iter().all(|item| inside(item, column).is_none())
        })
    }
}

/// `a.b` is field `b` of field `a`.
fn inside<'v>(item: &'v Value, field: &str) -> Option<&'v Value> {
    field
        .split('.')
        .try_fold(item, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn columns_have_rabbitmqctls_names() {
        let consumer = json!({"queue": {"name": "q", "vhost": "/"}, "consumer_tag": "t", "ack_required": true});
        let row = CONSUMERS.row(&consumer, &columns(&["queue_name", "consumer_tag"]));
        assert_eq!(
            Value::Object(row),
            json!({"queue_name": "q", "consumer_tag": "t"})
        );
        let binding = json!({"source": "x", "destination": "q", "destination_type": "queue"});
        let row = BINDINGS.row(&binding, &columns(&["source_kind", "destination_kind"]));
        assert_eq!(
            Value::Object(row),
            json!({"source_kind": "exchange", "destination_kind": "queue"})
        );
    }

    #[test]
    fn a_misspelt_column_is_told() {
        let queues = [json!({"name": "q", "messages": 1})];
        let wanted = columns(&["name", "mesages"]);
        assert_eq!(QUEUES.unknown(&wanted, &queues), wanted.get(1));
        assert_eq!(
            QUEUES.unknown(&columns(&["name", "messages"]), &queues),
            None
        );
        assert_eq!(QUEUES.unknown(&wanted, &[]), None);
    }
}
