//! The load: one publisher with a window of confirms, one consumer that acks in batches, and one that comes
//! and goes.
//!
//! Both run until the connection breaks, and then say what they know.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ExchangeKind, PublisherConfirm};
use tokio::sync::watch;

use crate::book::{Acked, BACKLOG, Consumed, Published, QUEUES};

pub(crate) const EXCHANGE: &str = "load";

/// Publishes without a confirm at any time.
const WINDOW: usize = 200;

/// Messages the consumer holds at most, and acks at once.
const PREFETCH: u16 = 300;
const BATCH: usize = 50;

/// Most octets behind a message's number.
const PADDING_MAX: u64 = 600;

/// The highest number that may have been sent.
#[derive(Clone)]
pub(crate) struct Shared(Arc<AtomicU64>);

impl Shared {
    pub(crate) fn new(published: u64) -> Shared {
        Shared(Arc::new(published.into()))
    }

    fn published(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The queues, durable and bound.
pub(crate) async fn declare(connection: &Connection) {
    let channel = connection.create_channel().await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default();
    let fanout = ExchangeKind::Fanout;
    let declared = channel.exchange_declare(EXCHANGE.into(), fanout, durable, none.clone());
    declared.await.unwrap();
    for queue in QUEUES {
        let options = QueueDeclareOptions::durable();
        let declared = channel.queue_declare(queue.into(), options, none.clone());
        declared.await.unwrap();
        let (options, key) = (QueueBindOptions::default(), "".into());
        let bound = channel.queue_bind(queue.into(), EXCHANGE.into(), key, options, none.clone());
        bound.await.unwrap();
    }
}

/// The number, and a padding that follows from it.
fn body(number: u64) -> Vec<u8> {
    let padding = (number * 7919 % PADDING_MAX) as usize;
    let mut body = format!("{number} ").into_bytes();
    body.extend((0..padding).map(|at| b'a' + ((number as usize + at) % 26) as u8));
    body
}

/// The number of a message, whose body must be whole.
pub(crate) fn number(delivery: &Delivery) -> u64 {
    let text = std::str::from_utf8(&delivery.data).unwrap();
    let (number, _) = text.split_once(' ').expect("a number first");
    let number = number.parse().unwrap();
    assert!(
        delivery.data == body(number),
        "{number} came back different"
    );
    number
}

/// Publishes until the connection breaks.
pub(crate) async fn publish(
    connection: Connection,
    shared: Shared,
    progress: watch::Sender<u64>,
) -> Published {
    let mut confirmed = BTreeSet::new();
    // Ends with the kill; whatever error that is.
    let _ = publish_on(&connection, &shared, &progress, &mut confirmed).await;
    Published {
        last: shared.published(),
        confirmed,
    }
}

async fn publish_on(
    connection: &Connection,
    shared: &Shared,
    progress: &watch::Sender<u64>,
    confirmed: &mut BTreeSet<u64>,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut window = VecDeque::new();
    loop {
        let number = shared.0.fetch_add(1, Ordering::SeqCst) + 1;
        let sent = send(&channel, number).await;
        let lost = sent.is_err();
        window.extend(sent.map(|confirm| (number, confirm)));
        while window.len() >= WINDOW || (lost && !window.is_empty()) {
            let Some((number, confirm)) = window.pop_front() else {
                break;
            };
            // After the kill: what had been confirmed before it still counts.
            let Ok(confirm) = confirm.await else {
                continue;
            };
            assert!(confirm.is_ack(), "{number}: {confirm:?}");
            confirmed.insert(number);
            progress.send_modify(|count| *count += 1);
        }
        if lost {
            return Ok(());
        }
    }
}

async fn send(channel: &Channel, number: u64) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let (exchange, key) = (EXCHANGE.into(), "".into());
    channel
        .basic_publish(exchange, key, options, &body(number), properties)
        .await
}

/// Consumes the first queue until the connection breaks.
pub(crate) async fn consume(connection: Connection, shared: Shared) -> Consumed {
    let mut consumed = Consumed::default();
    let _ = consume_on(&connection, &shared, &mut consumed).await;
    consumed
}

async fn consume_on(
    connection: &Connection,
    shared: &Shared,
    consumed: &mut Consumed,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consuming = channel.basic_consume(QUEUES[0].into(), "".into(), options, none);
    let mut consumer = consuming.await?;
    let mut last = 0;
    let mut held = Vec::new();
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let number = number(&delivery);
        assert!(
            number > last,
            "{number} after {last}, though nothing was requeued"
        );
        last = number;
        consumed.seen.insert(number);
        held.push(number);
        if held.len() >= BATCH {
            consumed.acked.push(Acked {
                numbers: std::mem::take(&mut held),
                done_at: None,
            });
            let options = BasicAckOptions { multiple: true };
            channel.basic_ack(delivery.delivery_tag, options).await?;
            // Its answer comes behind the acks.
            channel
                .basic_qos(PREFETCH, BasicQosOptions::default())
                .await?;
            let done = consumed.acked.last_mut().unwrap();
            done.done_at = Some(shared.published());
        }
    }
    Ok(())
}

/// Messages that a visitor of the backlog looks at.
const VISIT: usize = 700;

/// The longest time for a visit.
const VISIT_LIMIT: Duration = Duration::from_secs(15);

/// What visitors of the backlog have seen.
pub(crate) type Seen = BTreeSet<u64>;

/// Consumes the last queue, which has a backlog, from its beginning again and again, and acks nothing, until
/// the connection breaks.
pub(crate) async fn visit(connection: Connection) -> Seen {
    let mut seen = Seen::new();
    loop {
        match tokio::time::timeout(VISIT_LIMIT, visit_once(&connection, &mut seen)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return seen,
            // A client whose connection breaks while it closes a channel may wait for ever.
            Err(_) => {
                assert!(!connection.status().connected(), "{BACKLOG}: a visit hangs");
                return seen;
            }
        }
    }
}

async fn visit_once(connection: &Connection, seen: &mut Seen) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions::durable().passive();
    let none = FieldTable::default();
    let declared = channel.queue_declare(BACKLOG.into(), passive, none.clone());
    let count = declared.await?.message_count() as usize;
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(BACKLOG.into(), "".into(), options, none);
    let mut consumer = consuming.await?;
    let mut last = 0;
    for at in 0..count.min(VISIT) {
        let Some(delivery) = consumer.next().await else {
            break;
        };
        let delivery = delivery?;
        let number = number(&delivery);
        assert!(number > last, "{BACKLOG}: {number} after {last}");
        let is_first = at == 0;
        let first = seen.first().copied();
        assert!(
            !is_first || first.is_none_or(|first| number == first),
            "{BACKLOG} begins with {number}, and before with {first:?}"
        );
        assert!(
            delivery.redelivered || !seen.contains(&number),
            "{BACKLOG}: {number} comes again, and is not marked"
        );
        last = number;
        seen.insert(number);
    }
    channel.close(200, "OK".into()).await?;
    drop(consumer);
    // The requeue of a channel that is closed is done when the next method is answered.
    Ok(())
}
