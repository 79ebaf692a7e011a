//! From the frames of a publish to a message.
//!
//! Owns the order in which method, header and body may come (A1.8). Nearly all publishes lie in one
//! read: those become one slice of it, by [`whole`], and nothing is kept between frames. The others
//! are gathered in an [`Assembly`], their bodies still as slices, unless those are so small that
//! they would hold far more than they are: a slice keeps all that was read with it.

use bytes::{Bytes, BytesMut};

use crate::base::AmqpError;
use crate::base::limits::BODY_BY_REFERENCE_BYTES;
use crate::codec::properties::{PropertyScan, scan};
use crate::codec::{ContentHeader, Frame, FrameCursor, FrameKind, Property, Publish};
use crate::message::{Facts, Layout, Message};

/// Class basic, the only one with content.
const BASIC: u16 = 60;

/// A message, and what its properties were found to hold.
pub(super) struct Assembled {
    pub(super) message: Message,
    pub(super) scan: PropertyScan,
    pub(super) mandatory: bool,
}

/// The message whose method frame was `publish`, if its header and body follow in `cursor` without
/// a gap; the cursor is then behind them. `None`, with the cursor as it was, if not: also for what
/// is wrong, which [`Assembly`] will find and name.
pub(super) fn whole<'b>(
    frames: &Bytes,
    publish: &Publish<'b>,
    channel: u16,
    max_message_bytes: u64,
    cursor: &mut FrameCursor<'b>,
) -> Option<Assembled> {
    let mut ahead = cursor.clone();
    let header_frame = ahead.next_frame().ok()??;
    if header_frame.kind != FrameKind::Header || header_frame.channel != channel {
        return None;
    }
    let header = ContentHeader::parse(header_frame.payload, BASIC).ok()?;
    let body = match header.body_size {
        0 => &[],
        size if size > max_message_bytes => return None,
        size => {
            let frame = ahead.next_frame().ok()??;
            let complete = frame.payload.len() as u64 == size;
            if frame.kind != FrameKind::Body || frame.channel != channel || !complete {
                return None;
            }
            frame.payload
        }
    };
    let scan = scan(header.properties).ok()?;
    let start = offset_in(frames, publish.exchange)?;
    let at = |part: &[u8]| offset_in(frames, part).and_then(|at| at.checked_sub(start));
    let properties_at = at(header.properties)?;
    let body_at = if body.is_empty() {
        properties_at + header.properties.len()
    } else {
        at(body)?
    };
    let layout = Layout {
        exchange_len: publish.exchange.len() as u8,
        key_at: at(publish.routing_key)? as u16,
        key_len: publish.routing_key.len() as u8,
        properties_at: u16::try_from(properties_at).ok()?,
        properties_len: header.properties.len() as u32,
        body_at: body_at as u32,
        body_len: body.len() as u32,
    };
    let octets = frames.slice(start..start + body_at + body.len());
    *cursor = ahead;
    let message = Message::contiguous(octets, layout, facts(&scan));
    Some(Assembled {
        message,
        scan,
        mandatory: publish.mandatory,
    })
}

/// A publish whose header or body is still to come.
#[derive(Debug)]
pub(super) struct Assembly {
    exchange: Box<[u8]>,
    routing_key: Box<[u8]>,
    mandatory: bool,
    header: Option<Header>,
    pieces: Vec<Bytes>,
    /// Small parts of the body, behind `pieces`.
    gathered: BytesMut,
    received: u64,
}

/// What small parts are gathered up to.
const GATHERED_BYTES: usize = 64 * 1024;

#[derive(Debug)]
struct Header {
    properties: Bytes,
    body_size: u64,
    scan: PropertyScan,
}

impl Assembly {
    /// After the method frame.
    pub(super) fn new(publish: &Publish<'_>) -> Self {
        Assembly {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            mandatory: publish.mandatory,
            header: None,
            pieces: Vec::new(),
            gathered: BytesMut::new(),
            received: 0,
        }
    }

    /// Takes the next frame. Whether the message is complete.
    ///
    /// # Errors
    /// 505 for a frame that is not due, 501 for more body than announced, 502 for malformed
    /// properties, 406 for a body of more than `max_message_bytes`.
    pub(super) fn take(
        &mut self,
        frame: &Frame<'_>,
        max_message_bytes: u64,
    ) -> Result<bool, AmqpError> {
        match (&self.header, frame.kind) {
            (None, FrameKind::Header) => {
                let header = ContentHeader::parse(frame.payload, BASIC)?;
                let scan = scan(header.properties)?;
                if header.body_size > max_message_bytes {
                    let size = header.body_size;
                    return Err(AmqpError::message_too_large(size, max_message_bytes));
                }
                self.header = Some(Header {
                    properties: Bytes::copy_from_slice(header.properties),
                    body_size: header.body_size,
                    scan,
                });
            }
            (Some(_), FrameKind::Body) => {
                self.received += frame.payload.len() as u64;
                self.keep(frame);
            }
            (None, _) => return Err(AmqpError::expected_content_header(BASIC)),
            (Some(_), _) => return Err(AmqpError::expected_content_body()),
        }
        let due = self
            .header
            .as_ref()
            .map_or(u64::MAX, |header| header.body_size);
        match self.received.cmp(&due) {
            std::cmp::Ordering::Greater => Err(AmqpError::body_exceeds_header()),
            reached => Ok(reached.is_eq()),
        }
    }

    fn keep(&mut self, frame: &Frame<'_>) {
        let part = frame.payload;
        let small = part.len() < BODY_BY_REFERENCE_BYTES;
        if !small || self.gathered.len() + part.len() > GATHERED_BYTES {
            self.end_gathering();
        }
        if small {
            self.gathered.extend_from_slice(part);
        } else {
            self.pieces.push(frame.share());
        }
    }

    fn end_gathering(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces
                .push(std::mem::take(&mut self.gathered).freeze());
        }
    }

    /// The message, once [`Self::take`] has said that it is complete.
    pub(super) fn finish(mut self) -> Assembled {
        self.end_gathering();
        let (properties, scan) = match self.header {
            Some(header) => (header.properties, header.scan),
            None => (Bytes::new(), PropertyScan::default()),
        };
        let message = Message::from_parts(
            &self.exchange,
            &self.routing_key,
            &properties,
            self.pieces,
            facts(&scan),
        );
        Assembled {
            message,
            scan,
            mandatory: self.mandatory,
        }
    }
}

pub(super) fn facts(scan: &PropertyScan) -> Facts {
    let expires = scan.has(Property::Expiration);
    Facts::new(scan.is_persistent(), scan.priority.unwrap_or(0), expires)
}

/// Where `part` starts in `whole`, of which it is a slice.
pub(super) fn offset_in(whole: &[u8], part: &[u8]) -> Option<usize> {
    let at = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (at + part.len() <= whole.len()).then_some(at)
}
