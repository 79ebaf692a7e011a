//! What a well-behaved client says: methods by name, with the fields tests vary.

use crate::octets::{BODY, Fields, HEADER, Id, frame, method};

pub(crate) const AMQP_0_9_1: &[u8] = b"AMQP\x00\x00\x09\x01";

pub(crate) const START: Id = (10, 10);
pub(crate) const TUNE: Id = (10, 30);
pub(crate) const OPEN_OK: Id = (10, 41);
pub(crate) const CLOSE: Id = (10, 50);
pub(crate) const CLOSE_OK: Id = (10, 51);
pub(crate) const CHANNEL_OPEN_OK: Id = (20, 11);
pub(crate) const FLOW_OK: Id = (20, 21);
pub(crate) const CHANNEL_CLOSE: Id = (20, 40);
pub(crate) const CHANNEL_CLOSE_OK: Id = (20, 41);
pub(crate) const EXCHANGE_DECLARE_OK: Id = (40, 11);
pub(crate) const QUEUE_DECLARE_OK: Id = (50, 11);
pub(crate) const QOS_OK: Id = (60, 11);
pub(crate) const CONSUME_OK: Id = (60, 21);
pub(crate) const CANCEL: Id = (60, 30);
pub(crate) const CANCEL_OK: Id = (60, 31);
pub(crate) const RETURN: Id = (60, 50);
pub(crate) const DELIVER: Id = (60, 60);
pub(crate) const GET_OK: Id = (60, 71);
pub(crate) const GET_EMPTY: Id = (60, 72);
pub(crate) const ACK: Id = (60, 80);
pub(crate) const RECOVER_OK: Id = (60, 111);
pub(crate) const SELECT_OK: Id = (85, 11);

/// Bits of queue.declare.
pub(crate) const PASSIVE: u8 = 1;
pub(crate) const DURABLE: u8 = 2;
pub(crate) const EXCLUSIVE: u8 = 4;

/// What a client chooses while it connects.
pub(crate) struct Options {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    pub(crate) capabilities: &'static [&'static str],
    pub(crate) vhost: &'static str,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat_s: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            user: "guest",
            password: "guest",
            capabilities: &["consumer_cancel_notify", "authentication_failure_close"],
            vhost: "/",
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 0,
        }
    }
}

pub(crate) fn start_ok(options: &Options) -> Fields {
    let flags = options.capabilities.iter();
    let flags = flags.fold(Fields(vec![]), |all, name| all.short(name).raw(b"t\x01"));
    let properties = Fields(vec![]).short("capabilities").raw(b"F").long(flags.0);
    start_ok_of(&properties.0, options.user, options.password)
}

pub(crate) fn start_ok_with(properties: &[u8], password: &str) -> Fields {
    start_ok_of(properties, "guest", password)
}

fn start_ok_of(properties: &[u8], user: &str, password: &str) -> Fields {
    method((10, 11))
        .long(properties)
        .short("PLAIN")
        .long(format!("\0{user}\0{password}"))
        .short("en_US")
}

pub(crate) fn tune_ok(options: &Options) -> Fields {
    method((10, 31))
        .u16(options.channel_max)
        .u32(options.frame_max)
        .u16(options.heartbeat_s)
}

pub(crate) fn open(vhost: &str) -> Fields {
    method((10, 40)).short(vhost).short("").u8(0)
}

pub(crate) fn close() -> Fields {
    method(CLOSE).u16(200).short("bye").u16(0).u16(0)
}

pub(crate) fn close_ok() -> Fields {
    method(CLOSE_OK)
}

pub(crate) fn channel_open() -> Fields {
    method((20, 10)).short("")
}

pub(crate) fn channel_close() -> Fields {
    method(CHANNEL_CLOSE).u16(200).short("bye").u16(0).u16(0)
}

pub(crate) fn channel_close_ok() -> Fields {
    method(CHANNEL_CLOSE_OK)
}

pub(crate) fn flow(active: bool) -> Fields {
    method((20, 20)).u8(active.into())
}

pub(crate) fn exchange_declare(name: impl AsRef<[u8]>, kind: &str, bits: u8) -> Fields {
    method((40, 10))
        .u16(0)
        .short(name)
        .short(kind)
        .u8(bits)
        .u32(0)
}

pub(crate) fn queue_declare(name: impl AsRef<[u8]>, bits: u8) -> Fields {
    queue_declare_with(name, bits, &[])
}

/// With arguments: the entries of a table.
pub(crate) fn queue_declare_with(name: impl AsRef<[u8]>, bits: u8, arguments: &[u8]) -> Fields {
    method((50, 10)).u16(0).short(name).u8(bits).long(arguments)
}

pub(crate) fn queue_bind(queue: &str, exchange: &str, key: impl AsRef<[u8]>) -> Fields {
    let bind = method((50, 20)).u16(0).short(queue).short(exchange);
    bind.short(key).u8(0).u32(0)
}

pub(crate) fn queue_purge(name: &str) -> Fields {
    method((50, 30)).u16(0).short(name).u8(0)
}

pub(crate) fn queue_delete(name: &str) -> Fields {
    method((50, 40)).u16(0).short(name).u8(0)
}

pub(crate) fn confirm_select() -> Fields {
    method((85, 10)).u8(0)
}

pub(crate) fn qos(size: u32, count: u16, global: bool) -> Fields {
    method((60, 10)).u32(size).u16(count).u8(global.into())
}

pub(crate) fn consume(queue: &str, tag: &str, no_ack: bool) -> Fields {
    let consume = method((60, 20)).u16(0).short(queue).short(tag);
    consume.u8(u8::from(no_ack) << 1).u32(0)
}

/// With arguments: the entries of a table.
pub(crate) fn consume_with(queue: &str, tag: &str, arguments: &[u8]) -> Fields {
    let consume = method((60, 20)).u16(0).short(queue).short(tag);
    consume.u8(0).long(arguments)
}

pub(crate) fn cancel(tag: &str) -> Fields {
    method((60, 30)).short(tag).u8(0)
}

pub(crate) fn get(queue: &str, no_ack: bool) -> Fields {
    method((60, 70)).u16(0).short(queue).u8(no_ack.into())
}

pub(crate) fn ack(tag: u64, multiple: bool) -> Fields {
    method(ACK).u64(tag).u8(multiple.into())
}

pub(crate) fn reject(tag: u64, requeue: bool) -> Fields {
    method((60, 90)).u64(tag).u8(requeue.into())
}

pub(crate) fn nack(tag: u64, multiple: bool, requeue: bool) -> Fields {
    let bits = u8::from(multiple) | u8::from(requeue) << 1;
    method((60, 120)).u64(tag).u8(bits)
}

pub(crate) fn recover(requeue: bool) -> Fields {
    method((60, 110)).u8(requeue.into())
}

pub(crate) const MANDATORY: u8 = 1;
pub(crate) const IMMEDIATE: u8 = 2;

/// The method of basic.publish, its content to follow.
pub(crate) fn publish_method(exchange: &str, key: impl AsRef<[u8]>, bits: u8) -> Fields {
    let publish = method((60, 40)).u16(0).short(exchange);
    publish.short(key).u8(bits)
}

/// A content header frame; `properties` are flags and values.
pub(crate) fn header(channel: u16, body_size: u64, properties: &[u8]) -> Vec<u8> {
    let fields = Fields(vec![]).u16(60).u16(0).u64(body_size);
    frame(HEADER, channel, &fields.raw(properties).0)
}

/// No properties at all.
pub(crate) const PLAIN: &[u8] = &[0, 0];
/// delivery-mode 2.
pub(crate) const PERSISTENT: &[u8] = &[0x10, 0, 2];

pub(crate) fn body(channel: u16, octets: &[u8]) -> Vec<u8> {
    frame(BODY, channel, octets)
}

/// A whole publish: method, header and, unless it is empty, one frame of body.
pub(crate) fn publish(channel: u16, exchange: &str, key: &str, content: &[u8]) -> Vec<u8> {
    publish_as(channel, exchange, key, 0, PLAIN, content)
}

pub(crate) fn publish_as(
    channel: u16,
    exchange: &str,
    key: &str,
    bits: u8,
    properties: &[u8],
    content: &[u8],
) -> Vec<u8> {
    let mut octets = publish_method(exchange, key, bits).on(channel);
    octets.extend(header(channel, content.len() as u64, properties));
    if !content.is_empty() {
        octets.extend(body(channel, content));
    }
    octets
}
