//! Faults of frames and of what is in them: nothing that follows can be trusted.
//!
//! Owns the texts. All close the connection.

use std::fmt;

use super::erlang::{BinaryTerm, Octets};
use super::{AmqpError, ReplyCode};
use crate::base::limits::MAX_MESSAGE_BYTES_HARD;

/// How much of a payload is shown.
const SNIPPET: usize = 16;

fn frame_error(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::FrameError, text)
}

fn unexpected(text: fmt::Arguments<'_>) -> AmqpError {
    AmqpError::new(ReplyCode::UnexpectedFrame, text)
}

/// `type 1, all octets = <<>>`: a frame as RabbitMQ's texts show it.
struct Snippet<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (amount, shown) = match self.payload.get(..SNIPPET) {
            Some(head) if self.payload.len() > SNIPPET => ("first 16", head),
            _ => ("all", self.payload),
        };
        write!(
            f,
            "type {}, {amount} octets = {}",
            self.kind,
            BinaryTerm(shown)
        )
    }
}

/// Frames that are wrong in themselves (row A1.8).
impl AmqpError {
    /// 501: a frame announces `size` octets of payload where `max` are allowed.
    pub fn frame_too_large(kind: u8, size: u32, max: u32) -> Self {
        let frame = Snippet { kind, payload: &[] };
        frame_error(format_args!("{frame}: {{frame_too_large,{size},{max}}}"))
    }

    /// 501: the octet after the payload is not 0xCE.
    pub fn invalid_frame_end(kind: u8, payload: &[u8], end: u8) -> Self {
        let frame = Snippet { kind, payload };
        frame_error(format_args!("{frame}: {{invalid_frame_end_marker,{end}}}"))
    }

    /// 501: unknown type, a heartbeat with a payload, or too short for its type.
    pub fn unknown_frame(kind: u8, payload: &[u8]) -> Self {
        let frame = Snippet { kind, payload };
        frame_error(format_args!("{frame}: unknown_frame"))
    }

    /// 505: a frame that cannot be on this channel: a heartbeat on another than 0, content on 0,
    /// anything but class connection before the connection is open.
    pub fn unexpected_frame(kind: u8, payload: &[u8]) -> Self {
        unexpected(format_args!("{}", Snippet { kind, payload }))
    }
}

/// Frames in the wrong order (`rabbit_command_assembler`).
impl AmqpError {
    /// 505: content where a method is due.
    pub fn expected_method_frame() -> Self {
        unexpected(format_args!(
            "expected method frame, got non method frame instead"
        ))
    }

    /// 505: another frame where a content header is due.
    pub fn expected_content_header(class_id: u16) -> Self {
        unexpected(format_args!(
            "expected content header for class {class_id}, got non content header frame instead"
        ))
    }

    /// 505: a content header of another class than the method's.
    pub fn content_header_class(class_id: u16, got: u16) -> Self {
        unexpected(format_args!(
            "expected content header for class {class_id}, got one for class {got} instead"
        ))
    }

    /// 505: another frame where a body is due.
    pub fn expected_content_body() -> Self {
        unexpected(format_args!(
            "expected content body, got non content body frame instead"
        ))
    }

    /// 501: more body than the content header announced.
    pub fn body_exceeds_header() -> Self {
        frame_error(format_args!(
            "content body frame exceeds remaining content size"
        ))
    }

    /// 501: a content header announces more than any message may have.
    pub fn body_size_exceeds_max(size: u64) -> Self {
        frame_error(format_args!(
            "content body size {size} exceeds maximum allowed size {MAX_MESSAGE_BYTES_HARD}"
        ))
    }
}

/// What is in a frame cannot be read.
impl AmqpError {
    /// 501: the fields of a method are too short, too long, or make no sense.
    pub fn undecodable_method(fields: &[u8]) -> Self {
        frame_error(format_args!("cannot decode {}", Octets(fields)))
    }

    /// 501: a short string of a method without content is not UTF-8 (row A1.9).
    pub fn malformed_utf8() -> Self {
        frame_error(format_args!("Malformed UTF-8 in shortstr"))
    }

    /// 503: no such class or method. RabbitMQ ends the connection without a word (Corrections).
    pub fn unknown_method(class_id: u16, method_id: u16) -> Self {
        let text = format_args!("unknown method {class_id}.{method_id}");
        AmqpError::new(ReplyCode::CommandInvalid, text).at(class_id, method_id)
    }

    /// 502: a field table with an unknown type, or one that ends within a value. RabbitMQ ends the
    /// connection without a word (Corrections).
    pub fn malformed_table() -> Self {
        AmqpError::new(
            ReplyCode::SyntaxError,
            format_args!("malformed field table"),
        )
    }

    /// 502: tables and arrays nested deeper than Warren follows.
    pub fn table_too_deep(max: usize) -> Self {
        let text = format_args!("field table nested deeper than {max} levels");
        AmqpError::new(ReplyCode::SyntaxError, text)
    }

    /// 502: property flags and values that do not fit each other. RabbitMQ answers 541 or ends the
    /// connection, depending on where it notices.
    pub fn malformed_properties() -> Self {
        AmqpError::new(
            ReplyCode::SyntaxError,
            format_args!("malformed content header properties"),
        )
    }
}
