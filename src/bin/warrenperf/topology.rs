//! The exchange and the queues of a run: declared before, deleted after.

use crate::client::{CHANNEL, Client};
use crate::error::{Error, Result};
use amq_protocol::protocol::{AMQPClass, exchange, queue};
use amq_protocol::types::FieldTable;

/// What is declared and how messages get from publishers to queues.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// Name and type; None for the default exchange.
    pub(crate) exchange: Option<(String, String)>,
    /// Routing key, when there is an exchange.
    pub(crate) routing_key: String,
    /// The key the queues are bound with.
    pub(crate) binding_key: String,
    /// The queues.
    pub(crate) queues: Vec<String>,
    /// Whether both survive a restart.
    pub(crate) durable: bool,
}

impl Topology {
    /// Queue names from a base: itself for one, base-1 to base-N for more.
    pub(crate) fn queue_names(base: &str, count: usize) -> Vec<String> {
        if count == 1 {
            return vec![base.to_owned()];
        }
        (1..=count).map(|n| format!("{base}-{n}")).collect()
    }

    /// Exchange and routing key for a publisher.
    pub(crate) fn route(&self, publisher: usize) -> (String, String) {
        match &self.exchange {
            Some((name, _)) => (name.clone(), self.routing_key.clone()),
            None => {
                let at = publisher % self.queues.len().max(1);
                let queue = self.queues.get(at).cloned();
                (String::new(), queue.unwrap_or_default())
            }
        }
    }

    /// Whether that publisher's messages go to the queue at `at`.
    pub(crate) fn reaches(&self, publisher: usize, at: usize) -> bool {
        self.exchange.is_some() || publisher % self.queues.len().max(1) == at
    }

    /// The name and type of the exchange if it is ours to declare: amq.* ones exist.
    fn own_exchange(&self) -> Option<(&str, &str)> {
        let (name, kind) = self.exchange.as_ref()?;
        (!name.starts_with("amq.")).then_some((name, kind))
    }

    /// Declares all of it; gives the number of messages already in each queue.
    pub(crate) fn declare(&self, client: &mut Client) -> Result<Vec<u64>> {
        if let Some((name, kind)) = self.own_exchange() {
            let declare = exchange::AMQPMethod::Declare(exchange::Declare {
                exchange: name.into(),
                kind: kind.into(),
                passive: false,
                durable: self.durable,
                auto_delete: false,
                internal: false,
                nowait: false,
                arguments: FieldTable::default(),
            });
            client.call(CHANNEL, AMQPClass::Exchange(declare), "exchange.declare")?;
        }
        self.queues
            .iter()
            .map(|name| {
                let ready = self.declare_queue(client, name)?;
                self.bind(client, name)?;
                Ok(ready)
            })
            .collect()
    }

    fn declare_queue(&self, client: &mut Client, name: &str) -> Result<u64> {
        let declare = queue::AMQPMethod::Declare(queue::Declare {
            queue: name.into(),
            passive: false,
            durable: self.durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        });
        match client.call(CHANNEL, AMQPClass::Queue(declare), "queue.declare")? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => Ok(ok.message_count.into()),
            other => Err(Error::Protocol(format!("{other:?} instead of declare-ok"))),
        }
    }

    fn bind(&self, client: &mut Client, name: &str) -> Result<()> {
        let Some((exchange, _)) = &self.exchange else {
            return Ok(());
        };
        let bind = queue::AMQPMethod::Bind(queue::Bind {
            queue: name.into(),
            exchange: exchange.as_str().into(),
            routing_key: self.binding_key.as_str().into(),
            nowait: false,
            arguments: FieldTable::default(),
        });
        client.call(CHANNEL, AMQPClass::Queue(bind), "queue.bind")?;
        Ok(())
    }

    /// Deletes all of it.
    pub(crate) fn delete(&self, client: &mut Client) -> Result<()> {
        for name in &self.queues {
            let delete = queue::AMQPMethod::Delete(queue::Delete {
                queue: name.as_str().into(),
                if_unused: false,
                if_empty: false,
                nowait: false,
            });
            client.call(CHANNEL, AMQPClass::Queue(delete), "queue.delete")?;
        }
        if let Some((name, _)) = self.own_exchange() {
            let delete = exchange::AMQPMethod::Delete(exchange::Delete {
                exchange: name.into(),
                if_unused: false,
                nowait: false,
            });
            client.call(CHANNEL, AMQPClass::Exchange(delete), "exchange.delete")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(exchange: bool) -> Topology {
        Topology {
            exchange: exchange.then(|| ("ex".to_owned(), "fanout".to_owned())),
            routing_key: "key".into(),
            binding_key: "key".into(),
            queues: Topology::queue_names("q", 2),
            durable: false,
        }
    }

    #[test]
    fn publishers_spread_over_queues_of_the_default_exchange() {
        let direct = topology(false);
        assert_eq!(direct.route(0), (String::new(), "q-1".to_owned()));
        assert_eq!(direct.route(3), (String::new(), "q-2".to_owned()));
        assert!(direct.reaches(3, 1) && !direct.reaches(3, 0));
        let fanout = topology(true);
        assert_eq!(fanout.route(3), ("ex".to_owned(), "key".to_owned()));
        assert!(fanout.reaches(3, 1) && fanout.reaches(3, 0));
        assert_eq!(Topology::queue_names("q", 1), ["q"]);
    }
}
