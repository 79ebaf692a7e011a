//! What is in the queues after a crash, against the book.

use std::collections::BTreeMap;
use std::fmt;

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, Consumer};
use rand::Rng;
use rand::rngs::StdRng;

use crate::book::{BACKLOG, Book, Entries, Known, QUEUES};
use crate::load::number;

/// Queue that takes the message behind the acks; it is emptied with the check.
const LAST: &str = "load-last";

/// Messages left in the backlog: some pages beyond the window of a queue.
const BACKLOG_MAX: usize = 8_000;

/// What a check has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Messages found, each held against the book.
    pub(crate) checked: u64,
    required: u64,
    possible: u64,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found {
            checked,
            required,
            possible,
        } = self;
        write!(
            f,
            "{checked} found of {required} required and {possible} more possible"
        )
    }
}

/// Reads every queue to its end, acks a random part of it, and brings the book up to date.
pub(crate) async fn queues(connection: &Connection, book: &mut Book, rng: &mut StdRng) -> Found {
    let mut total = Found::default();
    for (name, entries) in QUEUES.iter().zip(&mut book.queues) {
        let channel = connection.create_channel().await.unwrap();
        let (found, consumer) = read(&channel, name).await;
        compare(name, entries, &found, &mut total);
        entries.seen.extend(found.keys());
        entries.known = found.keys().map(|&number| (number, Known::Must)).collect();
        // None, all, or up to one of them; what is left is there in the next round. The backlog is
        // to grow beyond what is in memory.
        let part = match rng.random_range(0..4) {
            _ if *name == BACKLOG => found.len().saturating_sub(BACKLOG_MAX),
            0 => 0,
            1 => rng.random_range(0..=found.len()),
            _ => found.len(),
        };
        if let Some((number, &(_, tag))) = found.iter().take(part).next_back() {
            let options = BasicAckOptions { multiple: true };
            channel.basic_ack(tag, options).await.unwrap();
            entries.known = entries.known.split_off(&(number + 1));
        }
        channel.close(200, "OK".into()).await.unwrap();
        // Not sooner: lapin's own cancel would meet a channel that is closing.
        drop(consumer);
    }
    make_durable(connection).await;
    total
}

/// What is in a queue, by number: whether it was marked, and its tag.
type InQueue = BTreeMap<u64, (bool, u64)>;

/// Takes everything in a queue, and acks nothing.
async fn read(channel: &Channel, queue: &str) -> (InQueue, Consumer) {
    let passive = QueueDeclareOptions::durable().passive();
    let none = FieldTable::default();
    let declared = channel.queue_declare(queue.into(), passive, none.clone());
    let count = declared.await.unwrap().message_count();
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(queue.into(), "".into(), options, none);
    let mut consumer = consuming.await.unwrap();
    let mut found = InQueue::new();
    let mut last = 0;
    for _ in 0..count {
        let delivery = consumer.next().await.unwrap().unwrap();
        let number = number(&delivery);
        assert!(
            number > last,
            "{queue}: {number} after {last}: doubled, or out of order"
        );
        last = number;
        found.insert(number, (delivery.redelivered, delivery.delivery_tag));
    }
    (found, consumer)
}

fn compare(queue: &str, entries: &Entries, found: &InQueue, total: &mut Found) {
    let must = |known: &Known| *known == Known::Must;
    let lost: Vec<_> = entries
        .known
        .iter()
        .filter(|(number, known)| must(known) && !found.contains_key(number))
        .map(|(number, _)| number)
        .collect();
    assert!(
        lost.is_empty(),
        "{queue}: {} confirmed messages lost: {lost:?}",
        lost.len()
    );
    for (number, (redelivered, _)) in found {
        let known = entries.known.contains_key(number);
        assert!(
            known,
            "{queue}: {number} came back, though it was acked, or never was"
        );
        let seen = entries.seen.contains(number);
        assert!(
            *redelivered || !seen,
            "{queue}: {number} comes again, and is not marked"
        );
    }
    let required = entries.known.values().filter(|known| must(known)).count();
    total.checked += found.len() as u64;
    total.required += required as u64;
    total.possible += (entries.known.len() - required) as u64;
}

/// A confirm of a message behind the acks says that these are on disk, too.
async fn make_durable(connection: &Connection) {
    let channel = connection.create_channel().await.unwrap();
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    let declared = channel.queue_declare(
        LAST.into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    declared.await.unwrap();
    let (exchange, key, options) = ("".into(), LAST.into(), BasicPublishOptions::default());
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel.basic_publish(exchange, key, options, b"last", properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
    channel
        .queue_purge(LAST.into(), Default::default())
        .await
        .unwrap();
}
