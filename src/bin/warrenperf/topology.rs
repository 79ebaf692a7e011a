//! The exchanges and queues of a run: declared before, deleted after.

use crate::args::QueueArgs;
use crate::client::{CHANNEL, Client};
use crate::error::{Error, Result};
use crate::pattern::Pattern;
use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::{AMQPValue, FieldTable};

/// What is declared and how messages get from publishers to queues.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// None for the default exchange.
    pub(crate) exchanges: Option<Exchanges>,
    /// Routing keys, when there is an exchange.
    pub(crate) routing_keys: Vec<String>,
    /// The queues.
    pub(crate) queues: Vec<String>,
    /// Whether all survive a restart.
    pub(crate) durable: bool,
    /// Arguments of the queues.
    pub(crate) arguments: Vec<(String, String)>,
}

/// Exchanges that publishers and queues spread over in turn.
#[derive(Clone, Debug)]
pub(crate) struct Exchanges {
    /// At least one.
    pub(crate) names: Vec<String>,
    /// The type of each.
    pub(crate) kind: String,
    /// The key a queue is bound with, by its number.
    pub(crate) binding_key: Pattern,
}

impl Exchanges {
    fn of(&self, number: usize) -> Option<&String> {
        self.names.get(number % self.names.len().max(1))
    }

    /// Those that are ours to declare: the amq.* ones exist.
    fn own(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| !name.starts_with("amq."))
    }
}

impl Topology {
    /// Queues without an exchange.
    pub(crate) fn of_queues(args: &QueueArgs, count: usize) -> Self {
        Self {
            exchanges: None,
            routing_keys: Vec::new(),
            queues: args.queue.names(count),
            durable: args.durable,
            arguments: args.queue_arg.clone(),
        }
    }

    /// Exchange and routing keys for a publisher.
    pub(crate) fn route(&self, publisher: usize) -> (String, Vec<String>) {
        match &self.exchanges {
            Some(exchanges) => {
                let exchange = exchanges.of(publisher).cloned();
                (exchange.unwrap_or_default(), self.routing_keys.clone())
            }
            None => {
                let at = publisher % self.queues.len().max(1);
                let queue = self.queues.get(at).cloned();
                (String::new(), vec![queue.unwrap_or_default()])
            }
        }
    }

    /// Whether that publisher's messages go to the queue at `at`, if all keys fit all bindings.
    pub(crate) fn reaches(&self, publisher: usize, at: usize) -> bool {
        let parts = match &self.exchanges {
            Some(exchanges) => exchanges.names.len(),
            None => self.queues.len(),
        };
        publisher % parts.max(1) == at % parts.max(1)
    }

    /// Declares all of it; gives the number of messages already in each queue.
    pub(crate) fn declare(&self, client: &mut Client) -> Result<Vec<u64>> {
        for name in self.exchanges.iter().flat_map(Exchanges::own) {
            let kind = self.exchanges.as_ref().map_or("", |e| &e.kind);
            declare_exchange(client, name, kind, self.durable)?;
        }
        let arguments = table(&self.arguments);
        (0..)
            .zip(&self.queues)
            .map(|(at, name)| {
                let ready = declare_queue(client, name, self.durable, arguments.clone())?;
                if let Some(exchanges) = &self.exchanges
                    && let Some(exchange) = exchanges.of(at)
                {
                    bind(client, name, exchange, &exchanges.binding_key.name(at + 1))?;
                }
                Ok(ready)
            })
            .collect()
    }

    /// Deletes all of it.
    pub(crate) fn delete(&self, client: &mut Client) -> Result<()> {
        for name in &self.queues {
            delete_queue(client, name)?;
        }
        for name in self.exchanges.iter().flat_map(Exchanges::own) {
            delete_exchange(client, name)?;
        }
        Ok(())
    }
}

/// Numbers and truth values as such, anything else as a string.
fn table(arguments: &[(String, String)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match (value.parse(), value.parse()) {
            (Ok(number), _) => AMQPValue::LongLongInt(number),
            (_, Ok(truth)) => AMQPValue::Boolean(truth),
            _ => AMQPValue::LongString(value.as_str().into()),
        };
        table.insert(name.as_str().into(), value);
    }
    table
}

/// Declares an exchange.
pub(crate) fn declare_exchange(
    client: &mut Client,
    name: &str,
    kind: &str,
    durable: bool,
) -> Result<()> {
    let declare = exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive: false,
        durable,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    });
    client.call(CHANNEL, AMQPClass::Exchange(declare), "exchange.declare")?;
    Ok(())
}

/// Declares a queue; gives the number of messages in it.
pub(crate) fn declare_queue(
    client: &mut Client,
    name: &str,
    durable: bool,
    arguments: FieldTable,
) -> Result<u64> {
    let declare = queue::AMQPMethod::Declare(queue::Declare {
        queue: name.into(),
        passive: false,
        durable,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments,
    });
    match client.call(CHANNEL, AMQPClass::Queue(declare), "queue.declare")? {
        AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Ok(ok.message_count.into()),
        other => Err(Error::Protocol(format!("{other:?} instead of declare-ok"))),
    }
}

/// Binds a queue.
pub(crate) fn bind(client: &mut Client, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let bind = queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        nowait: false,
        arguments: FieldTable::default(),
    });
    client.call(CHANNEL, AMQPClass::Queue(bind), "queue.bind")?;
    Ok(())
}

/// Undoes [`bind`].
pub(crate) fn unbind(client: &mut Client, queue: &str, exchange: &str, key: &str) -> Result<()> {
    let unbind = queue::AMQPMethod::Unbind(queue::Unbind {
        queue: queue.into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        arguments: FieldTable::default(),
    });
    client.call(CHANNEL, AMQPClass::Queue(unbind), "queue.unbind")?;
    Ok(())
}

/// Deletes a queue with all in it.
pub(crate) fn delete_queue(client: &mut Client, name: &str) -> Result<()> {
    let delete = queue::AMQPMethod::Delete(queue::Delete {
        queue: name.into(),
        if_unused: false,
        if_empty: false,
        nowait: false,
    });
    client.call(CHANNEL, AMQPClass::Queue(delete), "queue.delete")?;
    Ok(())
}

/// Deletes an exchange.
pub(crate) fn delete_exchange(client: &mut Client, name: &str) -> Result<()> {
    let delete = exchange::AMQPMethod::Delete(exchange::Delete {
        exchange: name.into(),
        if_unused: false,
        nowait: false,
    });
    client.call(CHANNEL, AMQPClass::Exchange(delete), "exchange.delete")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(exchanges: usize) -> Topology {
        let pattern: Pattern = "x-%d".parse().unwrap();
        Topology {
            exchanges: (exchanges > 0).then(|| Exchanges {
                names: pattern.names(exchanges),
                kind: "fanout".into(),
                binding_key: "key".parse().unwrap(),
            }),
            routing_keys: vec!["key".into()],
            queues: vec!["q-1".into(), "q-2".into()],
            durable: false,
            arguments: Vec::new(),
        }
    }

    #[test]
    fn publishers_spread_over_queues_of_the_default_exchange() {
        let direct = topology(0);
        assert_eq!(direct.route(0), (String::new(), vec!["q-1".to_owned()]));
        assert_eq!(direct.route(3), (String::new(), vec!["q-2".to_owned()]));
        assert!(direct.reaches(3, 1) && !direct.reaches(3, 0));
    }

    #[test]
    fn one_exchange_reaches_every_queue_and_several_share_them() {
        let fanout = topology(1);
        assert_eq!(fanout.route(3), ("x-1".to_owned(), vec!["key".to_owned()]));
        assert!(fanout.reaches(3, 1) && fanout.reaches(3, 0));
        let two = topology(2);
        assert_eq!(two.route(3).0, "x-2");
        assert!(two.reaches(3, 1) && !two.reaches(3, 0));
    }

    #[test]
    fn arguments_have_the_type_they_look_like() {
        let pairs = [("n", "-5"), ("t", "true"), ("s", "lazy")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let table = table(&pairs);
        let value = |name: &str| table.inner().get(name).cloned();
        assert_eq!(value("n"), Some(AMQPValue::LongLongInt(-5)));
        assert_eq!(value("t"), Some(AMQPValue::Boolean(true)));
        assert_eq!(value("s"), Some(AMQPValue::LongString("lazy".into())));
    }
}
