//! A broker with a connection to it, and short words for what the tests do most.

use std::future::Future;
use std::ops::Deref;

use futures_lite::StreamExt;
use futures_lite::future::poll_once;
use lapin::message::{BasicGetMessage, Delivery};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
    ExchangeKind, Queue,
};
use tempfile::TempDir;

use crate::support::{Broker, LIMIT};

/// Runs a test to its end, or gives up on it.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(2 * LIMIT, test).await })
        .expect("the test hangs");
}

/// A broker of its own for each test.
pub(crate) struct Rig {
    pub(crate) connection: Connection,
    pub(crate) broker: Broker,
    dir: TempDir,
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::over(TempDir::new().unwrap()).await
    }

    async fn over(dir: TempDir) -> Rig {
        let broker = Broker::start(dir.path());
        let connection = connect(&broker, "").await;
        Rig {
            connection,
            broker,
            dir,
        }
    }

    /// Another connection to the same broker.
    pub(crate) async fn connect(&self) -> Connection {
        connect(&self.broker, "").await
    }

    /// A new channel on the first connection.
    pub(crate) async fn channel(&self) -> Chan {
        Chan::open(&self.connection).await
    }

    /// Stops the broker with SIGTERM while the connection is open, and starts it again.
    pub(crate) async fn restart(self) -> Rig {
        self.stop_with(|broker| broker.stop()).await
    }

    /// The same with SIGKILL.
    pub(crate) async fn crash(self) -> Rig {
        self.stop_with(|broker| broker.kill()).await
    }

    async fn stop_with(self, stop: impl FnOnce(Broker)) -> Rig {
        // The client must be able to answer the close meanwhile.
        tokio::task::block_in_place(|| stop(self.broker));
        Rig::over(self.dir).await
    }
}

/// `query` is empty or begins with a question mark.
pub(crate) async fn connect(broker: &Broker, query: &str) -> Connection {
    Connection::connect(&broker.uri(query), ConnectionProperties::default())
        .await
        .unwrap()
}

/// A channel.
pub(crate) struct Chan(Channel);

impl Deref for Chan {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.0
    }
}

impl Chan {
    pub(crate) async fn open(connection: &Connection) -> Chan {
        Chan(connection.create_channel().await.unwrap())
    }

    /// A channel with confirms.
    pub(crate) async fn confirming(connection: &Connection) -> Chan {
        let channel = Chan::open(connection).await;
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await.unwrap();
        channel
    }

    /// A transient queue.
    pub(crate) async fn queue(&self, name: &str) -> Queue {
        self.queue_with(name, QueueDeclareOptions::default(), &[])
            .await
            .unwrap()
    }

    /// A durable queue.
    pub(crate) async fn durable(&self, name: &str) -> Queue {
        self.queue_with(name, QueueDeclareOptions::durable(), &[])
            .await
            .unwrap()
    }

    pub(crate) async fn queue_with(
        &self,
        name: &str,
        options: QueueDeclareOptions,
        arguments: &[(&str, AMQPValue)],
    ) -> lapin::Result<Queue> {
        self.queue_declare(name.into(), options, table(arguments))
            .await
    }

    /// A passive declare.
    pub(crate) async fn find(&self, name: &str) -> lapin::Result<Queue> {
        let options = QueueDeclareOptions::default().passive();
        self.queue_with(name, options, &[]).await
    }

    /// Ready messages and consumers.
    pub(crate) async fn counts(&self, name: &str) -> (u32, u32) {
        let queue = self.find(name).await.unwrap();
        (queue.message_count(), queue.consumer_count())
    }

    /// A transient exchange.
    pub(crate) async fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions::default();
        self.exchange_with(name, kind, options, &[]).await.unwrap();
    }

    pub(crate) async fn exchange_with(
        &self,
        name: &str,
        kind: ExchangeKind,
        options: ExchangeDeclareOptions,
        arguments: &[(&str, AMQPValue)],
    ) -> lapin::Result<()> {
        self.exchange_declare(name.into(), kind, options, table(arguments))
            .await
    }

    pub(crate) async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        self.bind_with(queue, exchange, key, &[]).await.unwrap();
    }

    pub(crate) async fn bind_with(
        &self,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: &[(&str, AMQPValue)],
    ) -> lapin::Result<()> {
        let options = QueueBindOptions::default();
        let (queue, exchange, key) = (queue.into(), exchange.into(), key.into());
        self.queue_bind(queue, exchange, key, options, table(arguments))
            .await
    }

    /// Publishes and, on a channel with confirms, waits for the ack.
    pub(crate) async fn publish(&self, exchange: &str, key: &str, body: &str) {
        let properties = BasicProperties::default();
        self.publish_with(exchange, key, body, properties).await;
    }

    pub(crate) async fn publish_with(
        &self,
        exchange: &str,
        key: &str,
        body: &str,
        properties: BasicProperties,
    ) {
        let confirm = self.send(exchange, key, body, properties).await;
        assert!(!confirm.unwrap().is_nack());
    }

    /// Publishes, and says how it went.
    pub(crate) async fn send(
        &self,
        exchange: &str,
        key: &str,
        body: &str,
        properties: BasicProperties,
    ) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions::default();
        let (exchange, key) = (exchange.into(), key.into());
        self.basic_publish(exchange, key, options, body.as_bytes(), properties)
            .await?
            .await
    }

    pub(crate) async fn consume(&self, queue: &str) -> Consumer {
        self.consume_with(queue, BasicConsumeOptions::default(), &[])
            .await
            .unwrap()
    }

    pub(crate) async fn consume_with(
        &self,
        queue: &str,
        options: BasicConsumeOptions,
        arguments: &[(&str, AMQPValue)],
    ) -> lapin::Result<Consumer> {
        self.basic_consume(queue.into(), "".into(), options, table(arguments))
            .await
    }

    /// For the consumers to come.
    pub(crate) async fn prefetch(&self, count: u16) {
        let options = BasicQosOptions::default();
        self.basic_qos(count, options).await.unwrap();
    }

    /// basic.get, to be acked.
    pub(crate) async fn get(&self, queue: &str) -> Option<BasicGetMessage> {
        let options = BasicGetOptions::default();
        self.basic_get(queue.into(), options).await.unwrap()
    }

    /// Takes everything that is ready.
    pub(crate) async fn take_all(&self, queue: &str) -> Vec<String> {
        let options = BasicGetOptions { no_ack: true };
        let mut taken = Vec::new();
        while let Some(got) = self.basic_get(queue.into(), options).await.unwrap() {
            taken.push(text(&got));
        }
        taken
    }

    /// Whatever the broker had for this connection when it was called has arrived. The first answer
    /// may be written before what other connections have left; the second comes behind it.
    pub(crate) async fn settle(&self) {
        for _ in 0..2 {
            self.basic_get_from_nowhere().await;
        }
    }

    async fn basic_get_from_nowhere(&self) {
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let found = self.exchange_with("amq.direct", ExchangeKind::Direct, options, &[]);
        found.await.unwrap();
    }
}

/// The next delivery.
pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    consumer.next().await.expect("no cancel").unwrap()
}

/// The next `count` deliveries' bodies; nothing is acked.
pub(crate) async fn next_texts(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(text(&next(consumer).await));
    }
    texts
}

/// A delivery that has arrived already.
pub(crate) async fn arrived(consumer: &mut Consumer) -> Option<String> {
    let delivery = poll_once(consumer.next()).await?;
    Some(text(&delivery.expect("no cancel").unwrap()))
}

pub(crate) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).unwrap()
}

pub(crate) fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn string(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub(crate) fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

pub(crate) fn ok() -> ShortString {
    "OK".into()
}

/// Has a new channel do something that must fail with this code and text.
pub(crate) async fn refused<T>(
    connection: &Connection,
    code: u16,
    text: &str,
    attempt: impl AsyncFnOnce(&Chan) -> lapin::Result<T>,
) {
    let channel = Chan::open(connection).await;
    match attempt(&channel).await {
        Ok(_) => panic!("not refused, though it should be: {text}"),
        Err(error) => assert_eq!(fault(&error), (code, text.to_owned())),
    }
}

/// Code and text of what the broker said.
pub(crate) fn fault(error: &lapin::Error) -> (u16, String) {
    match error.kind() {
        ErrorKind::ProtocolError(fault) => (fault.get_id(), fault.get_message().to_string()),
        other => panic!("no fault of the protocol: {other:?}"),
    }
}
