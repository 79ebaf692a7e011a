//! Every method of AMQP 0-9-1 as RabbitMQ speaks it: its fields, and what answers it.
//!
//! Written out here and not taken from Warren: an oracle that shared its codec would share its
//! mistakes. Owns the table only.

use std::sync::LazyLock;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One octet.
    Octet,
    /// Two octets.
    Short,
    /// Four octets.
    Long,
    /// Eight octets.
    Longlong,
    /// One bit; neighbours share octets.
    Bit,
    /// A string of at most 255 octets.
    ShortStr,
    /// A string of any length.
    LongStr,
    /// Eight octets; seconds since 1970.
    Timestamp,
    /// A field table.
    Table,
}

/// A named field.
pub(crate) struct Field {
    /// With underscores, as scenarios write it.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// A method.
pub(crate) struct Method {
    /// Class and method.
    pub(crate) id: (u16, u16),
    /// `class.method`.
    pub(crate) name: &'static str,
    /// In the order they are sent.
    pub(crate) fields: Vec<Field>,
    /// Names of the methods that may answer it.
    pub(crate) replies: Vec<&'static str>,
}

impl Method {
    /// Whether a content header follows.
    pub(crate) fn has_content(&self) -> bool {
        matches!(self.id, (60, 40 | 50 | 60 | 71))
    }
}

/// Name, fields and `> replies` of each. `o` octet, `s` short, `l` long, `L` longlong, `b` bit,
/// `S` short string, `X` long string, `T` table. A field named `ticket` is never shown.
const TEXT: &str = "
10.10 connection.start version_major:o version_minor:o server_properties:T mechanisms:X locales:X
10.11 connection.start-ok client_properties:T mechanism:S response:X locale:S > tune secure
10.20 connection.secure challenge:X
10.21 connection.secure-ok response:X > tune secure
10.30 connection.tune channel_max:s frame_max:l heartbeat:s
10.31 connection.tune-ok channel_max:s frame_max:l heartbeat:s
10.40 connection.open virtual_host:S capabilities:S insist:b > open-ok
10.41 connection.open-ok known_hosts:S
10.50 connection.close reply_code:s reply_text:S class_id:s method_id:s > close-ok
10.51 connection.close-ok
10.60 connection.blocked reason:S
10.61 connection.unblocked
10.70 connection.update-secret new_secret:X reason:S > update-secret-ok
10.71 connection.update-secret-ok
20.10 channel.open out_of_band:S > open-ok
20.11 channel.open-ok channel_id:X
20.20 channel.flow active:b > flow-ok
20.21 channel.flow-ok active:b
20.40 channel.close reply_code:s reply_text:S class_id:s method_id:s > close-ok
20.41 channel.close-ok
30.10 access.request realm:S exclusive:b passive:b active:b write:b read:b > request-ok
30.11 access.request-ok ticket:s
40.10 exchange.declare ticket:s exchange:S type:S passive:b durable:b auto_delete:b internal:b nowait:b arguments:T > declare-ok
40.11 exchange.declare-ok
40.20 exchange.delete ticket:s exchange:S if_unused:b nowait:b > delete-ok
40.21 exchange.delete-ok
40.30 exchange.bind ticket:s destination:S source:S routing_key:S nowait:b arguments:T > bind-ok
40.31 exchange.bind-ok
40.40 exchange.unbind ticket:s destination:S source:S routing_key:S nowait:b arguments:T > unbind-ok
40.51 exchange.unbind-ok
50.10 queue.declare ticket:s queue:S passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:T > declare-ok
50.11 queue.declare-ok queue:S message_count:l consumer_count:l
50.20 queue.bind ticket:s queue:S exchange:S routing_key:S nowait:b arguments:T > bind-ok
50.21 queue.bind-ok
50.30 queue.purge ticket:s queue:S nowait:b > purge-ok
50.31 queue.purge-ok message_count:l
50.40 queue.delete ticket:s queue:S if_unused:b if_empty:b nowait:b > delete-ok
50.41 queue.delete-ok message_count:l
50.50 queue.unbind ticket:s queue:S exchange:S routing_key:S arguments:T > unbind-ok
50.51 queue.unbind-ok
60.10 basic.qos prefetch_size:l prefetch_count:s global:b > qos-ok
60.11 basic.qos-ok
60.20 basic.consume ticket:s queue:S consumer_tag:S no_local:b no_ack:b exclusive:b nowait:b arguments:T > consume-ok
60.21 basic.consume-ok consumer_tag:S
60.30 basic.cancel consumer_tag:S nowait:b > cancel-ok
60.31 basic.cancel-ok consumer_tag:S
60.40 basic.publish ticket:s exchange:S routing_key:S mandatory:b immediate:b
60.50 basic.return reply_code:s reply_text:S exchange:S routing_key:S
60.60 basic.deliver consumer_tag:S delivery_tag:L redelivered:b exchange:S routing_key:S
60.70 basic.get ticket:s queue:S no_ack:b > get-ok get-empty
60.71 basic.get-ok delivery_tag:L redelivered:b exchange:S routing_key:S message_count:l
60.72 basic.get-empty cluster_id:S
60.80 basic.ack delivery_tag:L multiple:b
60.90 basic.reject delivery_tag:L requeue:b
60.100 basic.recover-async requeue:b
60.110 basic.recover requeue:b > recover-ok
60.111 basic.recover-ok
60.120 basic.nack delivery_tag:L multiple:b requeue:b
85.10 confirm.select nowait:b > select-ok
85.11 confirm.select-ok
90.10 tx.select > select-ok
90.11 tx.select-ok
90.20 tx.commit > commit-ok
90.21 tx.commit-ok
90.30 tx.rollback > rollback-ok
90.31 tx.rollback-ok
";

/// The properties of a content header, from the highest flag down.
pub(crate) const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::ShortStr),
    ("content_encoding", Kind::ShortStr),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Octet),
    ("priority", Kind::Octet),
    ("correlation_id", Kind::ShortStr),
    ("reply_to", Kind::ShortStr),
    ("expiration", Kind::ShortStr),
    ("message_id", Kind::ShortStr),
    ("timestamp", Kind::Timestamp),
    ("type", Kind::ShortStr),
    ("user_id", Kind::ShortStr),
    ("app_id", Kind::ShortStr),
    ("cluster_id", Kind::ShortStr),
];

static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| TEXT.lines().filter_map(method).collect());

fn method(line: &'static str) -> Option<Method> {
    let (fields, replies) = line.split_once(" > ").unwrap_or((line, ""));
    let mut words = fields.split(' ');
    let (class, method) = words.next()?.split_once('.')?;
    let name = words.next()?;
    Some(Method {
        id: (class.parse().unwrap(), method.parse().unwrap()),
        name,
        fields: words.map(field).collect(),
        replies: replies.split_whitespace().collect(),
    })
}

fn field(text: &'static str) -> Field {
    let (name, kind) = text.split_once(':').unwrap();
    let kind = match kind {
        "o" => Kind::Octet,
        "s" => Kind::Short,
        "l" => Kind::Long,
        "L" => Kind::Longlong,
        "b" => Kind::Bit,
        "S" => Kind::ShortStr,
        "X" => Kind::LongStr,
        "T" => Kind::Table,
        other => panic!("no kind of field {other:?}"),
    };
    Field { name, kind }
}

/// Every method.
pub(crate) fn all() -> &'static [Method] {
    &METHODS
}

/// The method of a name.
pub(crate) fn by_name(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.name == name)
}

/// The method of an id.
pub(crate) fn by_id(id: (u16, u16)) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.id == id)
}
