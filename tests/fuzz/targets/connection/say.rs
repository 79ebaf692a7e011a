//! What a client may say, as octets.
//!
//! Owns the steps and their encoding, which is written out here so that it is not the broker's own.

use arbitrary::Arbitrary;
use bytes::BytesMut;

/// What a client does next.
#[derive(Debug, Arbitrary)]
pub enum Step<'a> {
    /// Any octets at all.
    Octets(&'a [u8]),
    /// A frame with a payload of any kind.
    Frame {
        kind: u8,
        channel: u8,
        payload: &'a [u8],
    },
    /// A method with fields of any kind.
    Method {
        channel: u8,
        class: u8,
        method: u8,
        fields: &'a [u8],
    },
    OpenChannel(u8),
    CloseChannel(u8),
    DeclareQueue {
        channel: u8,
        queue: u8,
        flags: u8,
        arguments: Vec<(Argument, Number)>,
    },
    DeclareExchange {
        channel: u8,
        exchange: u8,
        kind: u8,
        flags: u8,
        arguments: Vec<(Argument, Number)>,
    },
    Bind {
        channel: u8,
        queue: u8,
        exchange: u8,
        key: u8,
    },
    BindExchange {
        channel: u8,
        to: u8,
        from: u8,
        key: u8,
    },
    Unbind {
        channel: u8,
        queue: u8,
        exchange: u8,
        key: u8,
    },
    Delete {
        channel: u8,
        queue: u8,
    },
    DeleteExchange {
        channel: u8,
        exchange: u8,
        flags: u8,
    },
    Purge {
        channel: u8,
        queue: u8,
    },
    Publish {
        channel: u8,
        exchange: u8,
        key: u8,
        flags: u8,
        size: u16,
        has: Vec<Has>,
    },
    PublishAny {
        channel: u8,
        exchange: u8,
        key: u8,
        properties: &'a [u8],
    },
    Consume {
        channel: u8,
        queue: u8,
        tag: u8,
        flags: u8,
    },
    ConsumeReplies {
        channel: u8,
        flags: u8,
    },
    Cancel {
        channel: u8,
        tag: u8,
    },
    Get {
        channel: u8,
        queue: u8,
        no_ack: bool,
    },
    Ack {
        channel: u8,
        tag: u8,
        multiple: bool,
    },
    Nack {
        channel: u8,
        tag: u8,
        flags: u8,
    },
    Reject {
        channel: u8,
        tag: u8,
        requeue: bool,
    },
    Recover {
        channel: u8,
        requeue: bool,
    },
    Qos {
        channel: u8,
        count: u8,
        global: bool,
    },
    Flow {
        channel: u8,
        active: bool,
    },
    Confirm(u8),
    Tx {
        channel: u8,
        method: u8,
    },
    /// What comes next is said on the other connection.
    Turn,
    /// What was said so far is one read.
    Read,
}

#[derive(Debug, Arbitrary, Clone, Copy)]
pub enum Argument {
    MaxLength,
    MaxLengthBytes,
    MaxPriority,
    MessageTtl,
    Expires,
    DeliveryLimit,
    SingleActiveConsumer,
    DeadLetterExchange,
    DeadLetterRoutingKey,
    Overflow,
    QueueType,
    AlternateExchange,
    Deduplication,
    CacheSize,
    CacheTtl,
    DelayedType,
    RecentHistory,
}

#[derive(Debug, Arbitrary, Clone, Copy)]
pub enum Number {
    Small(u8),
    Large(i64),
    Yes(bool),
    Text(u8),
}

/// A property, and of what kind.
#[derive(Debug, Arbitrary, Clone, Copy)]
pub enum Has {
    Persistent,
    Priority(u8),
    ReplyTo(u8),
    Expiration(u8),
    UserId(bool),
    MessageId(u8),
    DeduplicationHeader(u8),
    Cc(u8),
    Bcc(u8),
    Delay(u8),
}

/// Names are few, so that steps meet each other.
const NAMES: u8 = 4;

fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8][..], text].concat()
}

fn long(octets: &[u8]) -> Vec<u8> {
    [&(octets.len() as u32).to_be_bytes()[..], octets].concat()
}

fn name(kind: u8, number: u8) -> Vec<u8> {
    short(&[kind, b'0' + number % NAMES])
}

/// Exchanges that are there from the start, and the client's own.
fn exchange(number: u8) -> Vec<u8> {
    let there = ["", "amq.topic", "amq.fanout", "amq.headers", "amq.direct"];
    match there.get(usize::from(number % 9)) {
        Some(there) => short(there.as_bytes()),
        None => name(b'x', number),
    }
}

/// A key is mostly the name of a queue.
fn key(number: u8) -> Vec<u8> {
    match number % 8 {
        5 => short(b"#"),
        6 => short(b"*"),
        7 => short(b"amq.rabbitmq.reply-to"),
        _ => name(b'q', number),
    }
}

/// Mostly a channel that is open from the start.
fn channel(number: u8) -> u8 {
    match number {
        0..8 => number,
        _ => 1 + number % 2,
    }
}

pub fn frame(kind: u8, number: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, channel(number)];
    frame.extend(long(payload));
    frame.push(0xCE);
    frame
}

pub fn method(channel: u8, class: u8, method: u8, fields: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, class, 0, method];
    payload.extend(fields);
    frame(1, channel, &payload)
}

fn field(key: &str, kind: u8, value: &[u8]) -> Vec<u8> {
    [&short(key.as_bytes())[..], &[kind], value].concat()
}

fn arguments(arguments: &[(Argument, Number)]) -> Vec<u8> {
    let mut table = Vec::new();
    for &(argument, number) in arguments.iter().take(8) {
        let key = match argument {
            Argument::MaxLength => "x-max-length",
            Argument::MaxLengthBytes => "x-max-length-bytes",
            Argument::MaxPriority => "x-max-priority",
            Argument::MessageTtl => "x-message-ttl",
            Argument::Expires => "x-expires",
            Argument::DeliveryLimit => "x-delivery-limit",
            Argument::SingleActiveConsumer => "x-single-active-consumer",
            Argument::DeadLetterExchange => "x-dead-letter-exchange",
            Argument::DeadLetterRoutingKey => "x-dead-letter-routing-key",
            Argument::Overflow => "x-overflow",
            Argument::QueueType => "x-queue-type",
            Argument::AlternateExchange => "alternate-exchange",
            Argument::Deduplication => "x-message-deduplication",
            Argument::CacheSize => "x-cache-size",
            Argument::CacheTtl => "x-cache-ttl",
            Argument::DelayedType => "x-delayed-type",
            Argument::RecentHistory => "x-recent-history-length",
        };
        table.extend(match number {
            Number::Small(value) => field(key, b'B', &[value]),
            Number::Large(value) => field(key, b'l', &value.to_be_bytes()),
            Number::Yes(value) => field(key, b't', &[value.into()]),
            Number::Text(number) => {
                let texts = [
                    "drop-head",
                    "reject-publish",
                    "reject-publish-dlx",
                    "quorum",
                    "classic",
                    "",
                    "x1",
                    "q1",
                    "fanout",
                ];
                field(
                    key,
                    b'S',
                    &long(texts[usize::from(number) % texts.len()].as_bytes()),
                )
            }
        });
    }
    long(&table)
}

/// Flags and values, in the order of the flags.
fn properties(has: &[Has]) -> Vec<u8> {
    let mut values: [Option<Vec<u8>>; 14] = Default::default();
    let mut headers = Vec::new();
    let list = |number: u8| {
        let one = [&[b'S'][..], &long(&[b'q', b'0' + number % NAMES])].concat();
        long(&one)
    };
    for has in has.iter().take(8) {
        match *has {
            Has::Persistent => values[3] = Some(vec![2]),
            Has::Priority(priority) => values[4] = Some(vec![priority]),
            Has::ReplyTo(number) => values[6] = Some(key(number)),
            Has::Expiration(ms) => values[7] = Some(short(ms.to_string().as_bytes())),
            Has::UserId(own) => values[11] = Some(short(if own { b"guest" } else { b"other" })),
            Has::MessageId(id) => values[8] = Some(short(&[id])),
            Has::DeduplicationHeader(id) => {
                headers.extend(field("x-deduplication-header", b'B', &[id % 4]))
            }
            Has::Cc(number) => headers.extend(field("CC", b'A', &list(number))),
            Has::Bcc(number) => headers.extend(field("BCC", b'A', &list(number))),
            Has::Delay(ms) => headers.extend(field("x-delay", b'B', &[ms])),
        }
    }
    if !headers.is_empty() {
        values[2] = Some(long(&headers));
    }
    let mut flags = 0_u16;
    for (at, value) in values.iter().enumerate() {
        flags |= u16::from(value.is_some()) << (15 - at);
    }
    [
        &flags.to_be_bytes()[..],
        &values.into_iter().flatten().flatten().collect::<Vec<u8>>(),
    ]
    .concat()
}

fn publish(channel: u8, to: u8, with: u8, flags: u8, size: usize, properties: &[u8]) -> Vec<u8> {
    let fields = [&[0, 0][..], &exchange(to), &key(with), &[flags]].concat();
    let mut header = vec![0, 60, 0, 0];
    header.extend((size as u64).to_be_bytes());
    header.extend(properties);
    let mut octets = method(channel, 60, 40, &fields);
    octets.extend(frame(2, channel, &header));
    if size > 0 {
        octets.extend(frame(3, channel, &vec![b'x'; size]));
    }
    octets
}

/// Appends what a step says; nothing for those that say nothing.
pub fn say(step: &Step<'_>, out: &mut BytesMut) {
    let tag = |tag: u8| u64::from(tag).to_be_bytes();
    let ticket = &[0, 0][..];
    let octets = match step {
        Step::Octets(octets) => octets.to_vec(),
        Step::Frame {
            kind,
            channel,
            payload,
        } => frame(*kind, *channel, payload),
        Step::Method {
            channel,
            class,
            method: number,
            fields,
        } => {
            let classes = [10, 20, 30, 40, 50, 60, 85, 90];
            let class = classes[usize::from(*class) % classes.len()];
            method(*channel, class, number % 130, fields)
        }
        Step::OpenChannel(channel) => method(*channel, 20, 10, &[0]),
        Step::CloseChannel(channel) => method(*channel, 20, 40, &[0, 200, 0, 0, 0, 0, 0]),
        Step::DeclareQueue {
            channel,
            queue,
            flags,
            arguments: with,
        } => {
            let fields = [ticket, &name(b'q', *queue), &[*flags], &arguments(with)].concat();
            method(*channel, 50, 10, &fields)
        }
        Step::DeclareExchange {
            channel,
            exchange: number,
            kind,
            flags,
            arguments: with,
        } => {
            let kinds = [
                "direct",
                "fanout",
                "topic",
                "headers",
                "x-consistent-hash",
                "x-random",
                "x-local-random",
                "x-modulus-hash",
                "x-recent-history",
                "x-delayed-message",
                "x-message-deduplication",
            ];
            let kind = short(kinds[usize::from(*kind) % kinds.len()].as_bytes());
            let fields = [
                ticket,
                &name(b'x', *number),
                &kind,
                &[*flags],
                &arguments(with),
            ]
            .concat();
            method(*channel, 40, 10, &fields)
        }
        Step::Bind {
            channel,
            queue,
            exchange: from,
            key: with,
        } => {
            let fields = [
                ticket,
                &name(b'q', *queue),
                &exchange(*from),
                &key(*with),
                &[0; 5],
            ]
            .concat();
            method(*channel, 50, 20, &fields)
        }
        Step::BindExchange {
            channel,
            to,
            from,
            key: with,
        } => {
            let fields = [
                ticket,
                &exchange(*to),
                &exchange(*from),
                &key(*with),
                &[0; 5],
            ]
            .concat();
            method(*channel, 40, 30, &fields)
        }
        Step::Unbind {
            channel,
            queue,
            exchange: from,
            key: with,
        } => {
            let fields = [
                ticket,
                &name(b'q', *queue),
                &exchange(*from),
                &key(*with),
                &[0; 4],
            ]
            .concat();
            method(*channel, 50, 50, &fields)
        }
        Step::Delete { channel, queue } => method(
            *channel,
            50,
            40,
            &[ticket, &name(b'q', *queue), &[0]].concat(),
        ),
        Step::DeleteExchange {
            channel,
            exchange: number,
            flags,
        } => method(
            *channel,
            40,
            20,
            &[ticket, &name(b'x', *number), &[*flags]].concat(),
        ),
        Step::Purge { channel, queue } => method(
            *channel,
            50,
            30,
            &[ticket, &name(b'q', *queue), &[0]].concat(),
        ),
        Step::Publish {
            channel,
            exchange: to,
            key: with,
            flags,
            size,
            has,
        } => publish(
            *channel,
            *to,
            *with,
            *flags,
            usize::from(size % 9000),
            &properties(has),
        ),
        Step::PublishAny {
            channel,
            exchange: to,
            key: with,
            properties,
        } => publish(*channel, *to, *with, 0, 0, properties),
        Step::Consume {
            channel,
            queue,
            tag,
            flags,
        } => {
            let fields = [
                ticket,
                &name(b'q', *queue),
                &name(b'c', *tag),
                &[*flags],
                &[0; 4],
            ]
            .concat();
            method(*channel, 60, 20, &fields)
        }
        Step::ConsumeReplies { channel, flags } => {
            let fields = [ticket, &key(7), &name(b'c', *channel), &[*flags], &[0; 4]].concat();
            method(*channel, 60, 20, &fields)
        }
        Step::Cancel { channel, tag } => {
            method(*channel, 60, 30, &[&name(b'c', *tag)[..], &[0]].concat())
        }
        Step::Get {
            channel,
            queue,
            no_ack,
        } => {
            let fields = [ticket, &name(b'q', *queue), &[u8::from(*no_ack)]].concat();
            method(*channel, 60, 70, &fields)
        }
        Step::Ack {
            channel,
            tag: number,
            multiple,
        } => method(
            *channel,
            60,
            80,
            &[&tag(*number)[..], &[u8::from(*multiple)]].concat(),
        ),
        Step::Nack {
            channel,
            tag: number,
            flags,
        } => method(*channel, 60, 120, &[&tag(*number)[..], &[*flags]].concat()),
        Step::Reject {
            channel,
            tag: number,
            requeue,
        } => method(
            *channel,
            60,
            90,
            &[&tag(*number)[..], &[u8::from(*requeue)]].concat(),
        ),
        Step::Recover { channel, requeue } => method(*channel, 60, 110, &[u8::from(*requeue)]),
        Step::Qos {
            channel,
            count,
            global,
        } => method(
            *channel,
            60,
            10,
            &[0, 0, 0, 0, 0, *count, u8::from(*global)],
        ),
        Step::Flow { channel, active } => method(*channel, 20, 20, &[u8::from(*active)]),
        Step::Confirm(channel) => method(*channel, 85, 10, &[0]),
        Step::Tx {
            channel,
            method: number,
        } => method(*channel, 90, [10, 20, 30][usize::from(number % 3)], &[]),
        Step::Turn | Step::Read => Vec::new(),
    };
    out.extend_from_slice(&octets);
}
