//! Durable queues, exchanges and bindings that come and go while the broker is killed: what was
//! answered holds after the restart.

use std::collections::BTreeMap;
use std::fmt;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};

const MANDATORY: BasicPublishOptions = BasicPublishOptions {
    mandatory: true,
    immediate: false,
};

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    There,
    Gone,
    /// Asked for, and not answered.
    Either,
}

/// A queue, the exchange of its own, and the binding between them.
#[derive(Debug, Clone, Copy)]
struct Item {
    queue: Is,
    exchange: Is,
    binding: Is,
}

impl Item {
    const GONE: Item = Item {
        queue: Is::Gone,
        exchange: Is::Gone,
        binding: Is::Gone,
    };
}

/// What a look has shown.
fn is(there: bool) -> Is {
    match there {
        true => Is::There,
        false => Is::Gone,
    }
}

/// All that was ever declared.
#[derive(Debug, Default)]
pub(crate) struct Churn {
    items: BTreeMap<u64, Item>,
    next: u64,
}

/// What a check has looked at.
pub(crate) struct Durables {
    there: usize,
    gone: usize,
}

impl fmt::Display for Durables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} durables there, {} gone", self.there, self.gone)
    }
}

fn name(number: u64) -> String {
    format!("churn-{number}")
}

impl Churn {
    pub(crate) fn declared(&self) -> u64 {
        self.next
    }

    /// Declares and deletes until the connection breaks.
    pub(crate) async fn change(&mut self, connection: Connection) {
        let Ok(channel) = connection.create_channel().await else {
            return;
        };
        while self.step(&channel).await.is_ok() {}
    }

    async fn step(&mut self, channel: &Channel) -> lapin::Result<()> {
        let number = self.next;
        self.next += 1;
        let item = self.items.entry(number).or_insert(Item::GONE);
        let (name, none) = (name(number), FieldTable::default());
        item.queue = Is::Either;
        let options = QueueDeclareOptions::durable();
        channel
            .queue_declare(name.as_str().into(), options, none.clone())
            .await?;
        item.queue = Is::There;
        item.exchange = Is::Either;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let (exchange, kind) = (name.as_str().into(), ExchangeKind::Direct);
        channel
            .exchange_declare(exchange, kind, options, none.clone())
            .await?;
        item.exchange = Is::There;
        item.binding = Is::Either;
        let (queue, exchange, key) = (name.as_str().into(), name.as_str().into(), "k".into());
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue, exchange, key, options, none.clone())
            .await?;
        item.binding = Is::There;
        match number % 5 {
            0 => {
                item.binding = Is::Either;
                let (queue, exchange) = (name.as_str().into(), name.as_str().into());
                channel
                    .queue_unbind(queue, exchange, "k".into(), none)
                    .await?;
                item.binding = Is::Gone;
            }
            1 => {
                (item.queue, item.binding) = (Is::Either, Is::Either);
                let options = QueueDeleteOptions::default();
                channel.queue_delete(name.as_str().into(), options).await?;
                (item.queue, item.binding) = (Is::Gone, Is::Gone);
            }
            2 => {
                (item.exchange, item.binding) = (Is::Either, Is::Either);
                let options = ExchangeDeleteOptions::default();
                channel
                    .exchange_delete(name.as_str().into(), options)
                    .await?;
                (item.exchange, item.binding) = (Is::Gone, Is::Gone);
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks for everything, and deletes most of what is there.
    pub(crate) async fn check(&mut self, connection: &Connection) -> Durables {
        let mut durables = Durables { there: 0, gone: 0 };
        let channel = connection.create_channel().await.unwrap();
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await.unwrap();
        let newest = self.next.saturating_sub(500);
        for (&number, item) in &mut self.items {
            let name = name(number);
            let found = [
                ("queue", item.queue, find_queue(connection, &name).await),
                (
                    "exchange",
                    item.exchange,
                    find_exchange(connection, &name).await,
                ),
            ];
            for (what, is, there) in found {
                let wrong = match is {
                    Is::There => !there,
                    Is::Gone => there,
                    Is::Either => false,
                };
                assert!(!wrong, "{what} {name}: there is {there}, should be {is:?}");
                match there {
                    true => durables.there += 1,
                    false => durables.gone += 1,
                }
            }
            let [(.., queue), (.., exchange)] = found;
            if exchange {
                let routed = routes(&channel, &name).await;
                let wrong = match item.binding {
                    Is::There => !routed,
                    Is::Gone => routed,
                    Is::Either => false,
                };
                assert!(
                    !wrong,
                    "binding {name}: {routed}, should be {:?}",
                    item.binding
                );
                assert!(queue || !routed, "binding {name} without its queue");
                durables.there += usize::from(routed);
                item.binding = is(routed);
            }
            (item.queue, item.exchange) = (is(queue), is(exchange));
            // Some stay, with a message in them, for some rounds to come.
            if number % 10 != 3 || number < newest {
                let options = QueueDeleteOptions::default();
                channel
                    .queue_delete(name.as_str().into(), options)
                    .await
                    .unwrap();
                let options = ExchangeDeleteOptions::default();
                channel
                    .exchange_delete(name.as_str().into(), options)
                    .await
                    .unwrap();
                *item = Item::GONE;
            }
        }
        // What is known to be gone is looked for once more, and then no longer.
        let newest = self.next.saturating_sub(500);
        self.items
            .retain(|&number, item| item.queue != Is::Gone || number >= newest);
        durables
    }
}

async fn find_queue(connection: &Connection, name: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    let (options, none) = (
        QueueDeclareOptions::durable().passive(),
        FieldTable::default(),
    );
    let found = channel
        .queue_declare(name.into(), options, none)
        .await
        .is_ok();
    close(&channel, found).await
}

async fn find_exchange(connection: &Connection, name: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    let (kind, none) = (ExchangeKind::Direct, FieldTable::default());
    let found = channel
        .exchange_declare(name.into(), kind, options, none)
        .await
        .is_ok();
    close(&channel, found).await
}

/// A channel on which something was not found is closed already.
async fn close(channel: &Channel, found: bool) -> bool {
    if found {
        channel.close(200, "OK".into()).await.unwrap();
    }
    found
}

/// Whether a message to the exchange reaches the queue.
async fn routes(channel: &Channel, exchange: &str) -> bool {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish(exchange.into(), "k".into(), MANDATORY, b"kept", properties);
    let confirm = sent.await.unwrap().await.unwrap();
    assert!(confirm.is_ack());
    confirm.take_message().is_none()
}
