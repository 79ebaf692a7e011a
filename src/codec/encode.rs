//! Writing frames.
//!
//! What is sent for each message is written by hand into one buffer, reserved once: deliver, get-ok
//! and return with their content header, ack, nack. All other methods are written by `amq-protocol`.
//!
//! A large body need not be copied into that buffer: [`body_frames`] gives its parts, and
//! [`frame_header`] and [`frame_end`] the octets around each, so that the parts can be sent from
//! where they are. Never sends, and never splits a method: one larger than `frame_max` is the
//! caller's to avoid.

use std::ops::Range;

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, channel, connection, gen_class};
use amq_protocol::types::ShortString;
use bytes::{BufMut, BytesMut};

use super::frame::FrameKind;
use super::method::BASIC;
use super::table::put_short;
use crate::base::AmqpError;
use crate::base::limits::{FRAME_END, FRAME_OVERHEAD, SHORTSTR_MAX};

/// Octets of a content header's payload before its properties.
const CONTENT_HEADER: usize = 12;

/// A heartbeat frame, whole.
pub const HEARTBEAT: [u8; FRAME_OVERHEAD] = [8, 0, 0, 0, 0, 0, 0, FRAME_END];

/// Seven octets: type, channel, size of the payload.
#[inline]
pub fn frame_header(out: &mut BytesMut, kind: FrameKind, channel: u16, payload_len: usize) {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = (payload_len as u32).to_be_bytes();
    out.extend_from_slice(&[kind as u8, c0, c1, s0, s1, s2, s3]);
}

/// The octet behind a payload.
#[inline]
pub fn frame_end(out: &mut BytesMut) {
    out.put_u8(FRAME_END);
}

/// A whole frame of a method that comes seldom.
pub fn write_method(out: &mut BytesMut, channel: u16, method: &AMQPClass) {
    // Writing into memory cannot fail: strings were bounded when the method was made.
    let written = gen_class(method)(WriteContext::from(Vec::with_capacity(64)));
    let payload = written.map(|context| context.write).unwrap_or_default();
    debug_assert!(!payload.is_empty(), "{method:?} could not be written");
    out.reserve(payload.len() + FRAME_OVERHEAD);
    frame_header(out, FrameKind::Method, channel, payload.len());
    out.extend_from_slice(&payload);
    frame_end(out);
}

/// A short string for a method's field: of longer text only 255 octets, cut between characters.
/// `ShortString::from` panics instead.
pub fn short_string(text: &str) -> ShortString {
    let text = text
        .get(..text.floor_char_boundary(SHORTSTR_MAX))
        .unwrap_or_default();
    ShortString::try_new(text).unwrap_or_default()
}

/// The close a fault leads to: connection.close on channel 0 if it is a hard one or arose on
/// channel 0, else channel.close. Gives whether it was connection.close (table A2).
pub fn write_close(out: &mut BytesMut, channel: u16, fault: &AmqpError) -> bool {
    let (reply_code, reply_text) = (fault.code.code(), short_string(&fault.text));
    let (class_id, method_id) = (fault.class_id, fault.method_id);
    let whole = channel == 0 || fault.is_hard();
    if whole {
        let close = connection::Close {
            reply_code,
            reply_text,
            class_id,
            method_id,
        };
        write_method(
            out,
            0,
            &AMQPClass::Connection(connection::AMQPMethod::Close(close)),
        );
    } else {
        let close = channel::Close {
            reply_code,
            reply_text,
            class_id,
            method_id,
        };
        write_method(
            out,
            channel,
            &AMQPClass::Channel(channel::AMQPMethod::Close(close)),
        );
    }
    whole
}

/// basic.deliver. Strings have at most 255 octets; longer ones are cut.
#[derive(Debug, Clone, Copy)]
pub struct DeliverHead<'a> {
    /// The consumer.
    pub consumer_tag: &'a [u8],
    /// The delivery on this channel.
    pub delivery_tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// Where it was published.
    pub exchange: &'a [u8],
    /// With which key.
    pub routing_key: &'a [u8],
}

/// basic.get-ok.
#[derive(Debug, Clone, Copy)]
pub struct GetOkHead<'a> {
    /// The delivery on this channel.
    pub delivery_tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// Where it was published.
    pub exchange: &'a [u8],
    /// With which key.
    pub routing_key: &'a [u8],
    /// Messages still ready in the queue.
    pub message_count: u32,
}

/// basic.return.
#[derive(Debug, Clone, Copy)]
pub struct ReturnHead<'a> {
    /// 312, or 313.
    pub reply_code: u16,
    /// `NO_ROUTE`: the name alone, without an explanation (row A2).
    pub reply_text: &'a [u8],
    /// Where it was published.
    pub exchange: &'a [u8],
    /// With which key.
    pub routing_key: &'a [u8],
}

/// Starts a method frame of class basic: frame header, class and method in one piece.
#[inline]
fn basic(out: &mut BytesMut, channel: u16, method_id: u16, fields_len: usize) {
    let payload_len = fields_len + 4;
    out.reserve(payload_len + FRAME_OVERHEAD);
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = (payload_len as u32).to_be_bytes();
    let [m0, m1] = method_id.to_be_bytes();
    let kind = FrameKind::Method as u8;
    out.extend_from_slice(&[kind, c0, c1, s0, s1, s2, s3, 0, BASIC as u8, m0, m1]);
}

#[inline]
fn short_len(octets: &[u8]) -> usize {
    1 + octets.len().min(SHORTSTR_MAX)
}

/// Writes a basic.deliver frame.
pub fn deliver(out: &mut BytesMut, channel: u16, head: &DeliverHead<'_>) {
    let len = short_len(head.consumer_tag) + short_len(head.exchange) + short_len(head.routing_key);
    basic(out, channel, 60, len + 9);
    put_short(out, head.consumer_tag);
    put_tag(out, head.delivery_tag, head.redelivered.into());
    put_short(out, head.exchange);
    put_short(out, head.routing_key);
    frame_end(out);
}

/// Writes a basic.get-ok frame.
pub fn get_ok(out: &mut BytesMut, channel: u16, head: &GetOkHead<'_>) {
    let len = short_len(head.exchange) + short_len(head.routing_key);
    basic(out, channel, 71, len + 13);
    put_tag(out, head.delivery_tag, head.redelivered.into());
    put_short(out, head.exchange);
    put_short(out, head.routing_key);
    out.put_u32(head.message_count);
    frame_end(out);
}

/// Writes a basic.return frame.
pub fn basic_return(out: &mut BytesMut, channel: u16, head: &ReturnHead<'_>) {
    let len = short_len(head.reply_text) + short_len(head.exchange) + short_len(head.routing_key);
    basic(out, channel, 50, len + 2);
    out.put_u16(head.reply_code);
    put_short(out, head.reply_text);
    put_short(out, head.exchange);
    put_short(out, head.routing_key);
    frame_end(out);
}

/// Writes a basic.ack frame: a confirm.
pub fn ack(out: &mut BytesMut, channel: u16, tag: u64, multiple: bool) {
    basic(out, channel, 80, 9);
    put_tag(out, tag, multiple.into());
    frame_end(out);
}

/// Writes a basic.nack frame: a confirm that failed. The server never sets requeue.
pub fn nack(out: &mut BytesMut, channel: u16, tag: u64, multiple: bool) {
    basic(out, channel, 120, 9);
    put_tag(out, tag, multiple.into());
    frame_end(out);
}

/// A delivery tag and an octet of bits.
#[inline]
fn put_tag(out: &mut BytesMut, tag: u64, bits: u8) {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = tag.to_be_bytes();
    out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, bits]);
}

/// Writes a content header frame of class basic, its properties as raw octets: flags and values. How many octets the
/// frame has: the protocol knows no way to split it.
pub fn content_header(
    out: &mut BytesMut,
    channel: u16,
    body_size: u64,
    properties: &[u8],
) -> usize {
    let payload_len = CONTENT_HEADER + properties.len();
    let frame_len = payload_len + FRAME_OVERHEAD;
    out.reserve(frame_len);
    frame_header(out, FrameKind::Header, channel, payload_len);
    out.extend_from_slice(&[0, BASIC as u8, 0, 0]);
    out.put_u64(body_size);
    out.extend_from_slice(properties);
    frame_end(out);
    frame_len
}

/// The parts of a body, one for each body frame: none for an empty body, which has no frames.
pub fn body_frames(body_len: usize, frame_max: u32) -> impl Iterator<Item = Range<usize>> {
    let step = part_len(frame_max);
    (0..body_len)
        .step_by(step)
        .map(move |start| start..body_len.min(start + step))
}

/// Writes a body as frames, copying it: right for small ones.
pub fn body(out: &mut BytesMut, channel: u16, body: &[u8], frame_max: u32) {
    out.reserve(body.len() + body.len().div_ceil(part_len(frame_max)) * FRAME_OVERHEAD);
    for part in body.chunks(part_len(frame_max)) {
        frame_header(out, FrameKind::Body, channel, part.len());
        out.extend_from_slice(part);
        frame_end(out);
    }
}

/// The most octets of body in a frame; at least one, whatever `frame_max` is.
#[inline]
fn part_len(frame_max: u32) -> usize {
    (frame_max as usize).saturating_sub(FRAME_OVERHEAD).max(1)
}
