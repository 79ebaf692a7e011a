//! A tour of the broker with lapin: the same program runs against Warren and against RabbitMQ.
//!
//!     cargo run --example tour [URI]
//!     cargo run --example tour URI read QUEUE COUNT
//!
//! The first form declares, binds with all four exchange types, publishes with confirms, consumes with
//! prefetch and ack, requeues, and reads back. The second consumes COUNT messages with numbers as their
//! bodies from a durable queue and says whether they came in order.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "an example says what failed by panicking"
)]

use futures_lite::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

#[tokio::main]
async fn main() -> lapin::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let uri = arguments
        .next()
        .unwrap_or("amqp://guest:guest@127.0.0.1:5672/%2f".into());
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    match (
        arguments.next().as_deref(),
        arguments.next(),
        arguments.next(),
    ) {
        (None, ..) => tour(&channel).await?,
        (Some("read"), Some(queue), Some(count)) => {
            read(&channel, &queue, count.parse().unwrap()).await?;
        }
        _ => panic!("usage: tour [URI [read QUEUE COUNT]]"),
    }
    connection.close(200, "done".into()).await
}

async fn tour(channel: &Channel) -> lapin::Result<()> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    for kind in [
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
    ] {
        through(channel, kind).await?;
    }
    requeue(channel).await
}

/// One message by way of an exchange into a queue and back.
async fn through(channel: &Channel, kind: ExchangeKind) -> lapin::Result<()> {
    let name = format!("tour-{kind:?}").to_lowercase();
    let exchange = ExchangeDeclareOptions::default();
    channel
        .exchange_declare(
            name.as_str().into(),
            kind.clone(),
            exchange,
            FieldTable::default(),
        )
        .await?;
    let queue = exclusive_queue(channel).await?;
    let mut headers = FieldTable::default();
    headers.insert("colour".into(), AMQPValue::LongString("red".into()));
    let (key, arguments) = match kind {
        ExchangeKind::Topic => ("warren.*.#", FieldTable::default()),
        ExchangeKind::Headers => ("", headers.clone()),
        _ => ("warren.main.shaft", FieldTable::default()),
    };
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.as_str().into(),
            name.as_str().into(),
            key.into(),
            bind,
            arguments,
        )
        .await?;
    publish(channel, &name, "warren.main.shaft", b"hello", headers).await?;
    let got = channel
        .basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true })
        .await?;
    assert_eq!(got.unwrap().delivery.data, b"hello");
    let delete = ExchangeDeleteOptions::default();
    channel
        .exchange_delete(name.as_str().into(), delete)
        .await?;
    println!("{kind:?}: published, confirmed, routed, read back");
    Ok(())
}

/// Messages that are returned come again, in their order, and say so.
async fn requeue(channel: &Channel) -> lapin::Result<()> {
    let queue = exclusive_queue(channel).await?;
    for number in 0..5u8 {
        publish(channel, "", &queue, &[number], FieldTable::default()).await?;
    }
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let tag = "tour".into();
    let consumed =
        channel.basic_consume(queue.as_str().into(), tag, options, FieldTable::default());
    let mut consumer = consumed.await?;
    let mut seen = Vec::new();
    let mut returned = false;
    while seen.len() < 5 {
        let delivery = consumer.next().await.unwrap()?;
        let number = delivery.data.first().copied().unwrap();
        if number == 1 && !returned {
            returned = true;
            delivery
                .nack(BasicNackOptions {
                    requeue: true,
                    multiple: false,
                })
                .await?;
            continue;
        }
        seen.push((number, delivery.redelivered));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        [(0, false), (1, true), (2, false), (3, false), (4, false)]
    );
    println!("consumed 5 with prefetch 3 and acks; the one returned came again, redelivered");
    Ok(())
}

async fn read(channel: &Channel, queue: &str, count: u64) -> lapin::Result<()> {
    channel.basic_qos(100, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let tag = "tour".into();
    let mut consumer = channel
        .basic_consume(queue.into(), tag, options, FieldTable::default())
        .await?;
    for expected in 0..count {
        let delivery = consumer.next().await.unwrap()?;
        let number: u64 = std::str::from_utf8(&delivery.data)
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!((number, delivery.redelivered), (expected, false));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    println!("{count} messages from {queue}, in order, none redelivered");
    Ok(())
}

async fn exclusive_queue(channel: &Channel) -> lapin::Result<String> {
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await?;
    Ok(queue.name().to_string())
}

async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    headers: FieldTable,
) -> lapin::Result<()> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_headers(headers);
    let confirm = channel
        .basic_publish(exchange.into(), key.into(), options, body, properties)
        .await?
        .await?;
    assert!(confirm.is_ack(), "{confirm:?}");
    Ok(())
}
