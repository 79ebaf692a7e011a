//! Raw AMQP 0-9-1 frames: finding them in a buffer without copying, and writing the few we send.

use crate::error::{Error, Result};

/// Frame type: a method.
pub(crate) const METHOD: u8 = 1;
/// Frame type: a content header.
pub(crate) const HEADER: u8 = 2;
/// Frame type: a piece of a body.
pub(crate) const BODY: u8 = 3;

/// Type, channel and size before the payload, and the end mark after it.
pub(crate) const FRAME_OVERHEAD: usize = 8;

const HEAD_LEN: usize = 7;
const FRAME_END: u8 = 0xCE;

/// The class of basic.* methods and of contents.
pub(crate) const BASIC_CLASS: u16 = 60;

/// basic.publish as class and method id.
pub(crate) const BASIC_PUBLISH: u32 = (60 << 16) | 40;
/// basic.deliver.
pub(crate) const BASIC_DELIVER: u32 = (60 << 16) | 60;
/// basic.ack.
pub(crate) const BASIC_ACK: u32 = (60 << 16) | 80;
/// basic.nack.
pub(crate) const BASIC_NACK: u32 = (60 << 16) | 120;
/// basic.cancel.
pub(crate) const BASIC_CANCEL: u32 = (60 << 16) | 30;
/// channel.close.
pub(crate) const CHANNEL_CLOSE: u32 = (20 << 16) | 40;
/// connection.close.
pub(crate) const CONNECTION_CLOSE: u32 = (10 << 16) | 50;

/// One frame, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// METHOD, HEADER, BODY or another.
    pub(crate) kind: u8,
    /// Between the head and the end mark.
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Class and method id, if this is a method.
    #[inline]
    pub(crate) fn method(&self) -> Option<(u32, &'a [u8])> {
        if self.kind != METHOD {
            return None;
        }
        let (id, arguments) = self.payload.split_first_chunk::<4>()?;
        Some((u32::from_be_bytes(*id), arguments))
    }
}

/// The first frame in `bytes` and its length there, or None when more bytes are needed.
#[inline]
pub(crate) fn next_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Some((&[kind, _, _, a, b, c, d], rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    let Some((payload, tail)) = rest.split_at_checked(size) else {
        return Ok(None);
    };
    match tail.first() {
        None => Ok(None),
        Some(&FRAME_END) => Ok(Some((Frame { kind, payload }, size + FRAME_OVERHEAD))),
        Some(other) => Err(Error::Protocol(format!(
            "a frame ends with {other:#04x} instead of 0xce"
        ))),
    }
}

/// Appends one frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// Appends a short string; what exceeds 255 bytes is cut (options are checked before).
pub(crate) fn put_short(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes().get(..255).unwrap_or(text.as_bytes());
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

/// Appends basic.ack.
#[inline]
pub(crate) fn put_ack(out: &mut Vec<u8>, channel: u16, tag: u64, multiple: bool) {
    let [c1, c2] = channel.to_be_bytes();
    out.extend_from_slice(&[METHOD, c1, c2, 0, 0, 0, 13, 0, 60, 0, 80]);
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&[u8::from(multiple), FRAME_END]);
}

/// The delivery tag and the byte after it, as basic.ack, basic.nack begin.
#[inline]
pub(crate) fn tag_and_flag(arguments: &[u8]) -> Option<(u64, bool)> {
    let (tag, rest) = arguments.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*tag), rest.first()? & 1 != 0))
}

/// The error that a channel.close or connection.close stands for.
pub(crate) fn close_error(method: u32, arguments: &[u8]) -> Error {
    let scope = if method == CHANNEL_CLOSE {
        "channel"
    } else {
        "connection"
    };
    let (code, rest) = match arguments.split_first_chunk::<2>() {
        Some((code, rest)) => (u16::from_be_bytes(*code), rest),
        None => (0, arguments),
    };
    let text = match rest.split_first() {
        Some((&len, rest)) => rest.get(..usize::from(len)).unwrap_or(rest),
        None => rest,
    };
    Error::Closed {
        scope,
        code,
        text: String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_whole_frames_and_waits_for_the_rest() {
        let mut bytes = Vec::new();
        put_ack(&mut bytes, 1, 7, true);
        let first = bytes.len();
        put_frame(&mut bytes, BODY, 1, b"hello");
        for cut in 0..first {
            assert_eq!(next_frame(&bytes[..cut]).unwrap(), None, "{cut}");
        }
        let (frame, used) = next_frame(&bytes).unwrap().unwrap();
        assert_eq!(used, first);
        let (method, arguments) = frame.method().unwrap();
        assert_eq!(method, BASIC_ACK);
        assert_eq!(tag_and_flag(arguments), Some((7, true)));
        let (frame, used) = next_frame(&bytes[first..]).unwrap().unwrap();
        assert_eq!((frame.kind, frame.payload), (BODY, b"hello".as_slice()));
        assert_eq!(first + used, bytes.len());
        assert!(frame.method().is_none());
    }

    #[test]
    fn refuses_a_wrong_end_mark() {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, 8, 0, b"");
        *bytes.last_mut().unwrap() = 0;
        assert!(matches!(next_frame(&bytes), Err(Error::Protocol(_))));
    }

    #[test]
    fn names_the_reason_of_a_close() {
        let mut arguments = 404u16.to_be_bytes().to_vec();
        put_short(&mut arguments, "NOT_FOUND");
        arguments.extend_from_slice(&[0, 60, 0, 40]);
        let error = close_error(CHANNEL_CLOSE, &arguments);
        assert_eq!(
            error.to_string(),
            "the broker closed the channel: 404 NOT_FOUND"
        );
        // A cut-off one still gives an error and no panic.
        assert!(matches!(
            close_error(CONNECTION_CLOSE, &[1]),
            Error::Closed { code: 0, .. }
        ));
    }
}
