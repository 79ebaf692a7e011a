//! Frames in a stream of octets (spec 4.2.3, row A1.8).
//!
//! Two steps. [`FrameSplitter::scan`] says how many octets of a read buffer are whole frames; the
//! connection splits those off and freezes them, without copying. [`FrameCursor`] then walks them,
//! and a body becomes a slice of the very octets that were read.
//!
//! Never holds octets, and knows nothing of channels' states: which frame may follow which is
//! decided above.

use bytes::Bytes;

use crate::base::AmqpError;
use crate::base::limits::{FRAME_END, FRAME_HEADER, FRAME_OVERHEAD, FRAME_SLACK};

/// The shortest payload of a method frame: class and method.
const METHOD_MIN: usize = 4;

/// The shortest payload of a content header: class, weight and body size.
const HEADER_MIN: usize = 12;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A method and its fields.
    Method = 1,
    /// A content header: body size and properties.
    Header = 2,
    /// A part of a body.
    Body = 3,
    /// A sign of life, on channel 0 and without payload.
    Heartbeat = 8,
}

impl FrameKind {
    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(FrameKind::Method),
            2 => Some(FrameKind::Header),
            3 => Some(FrameKind::Body),
            8 => Some(FrameKind::Heartbeat),
            _ => None,
        }
    }
}

/// What a buffer starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// So many octets are whole frames.
    pub complete: usize,
    /// At least so many octets more are needed to make the next frame whole.
    pub missing: usize,
    /// What follows the whole frames can never become one: serve those first, then end the
    /// connection with this. 501.
    pub fault: Option<AmqpError>,
}

/// The fixed octets in front of a payload.
struct Head {
    kind: u8,
    channel: u16,
    size: u32,
}

#[inline]
fn head(octets: &[u8]) -> Option<Head> {
    let &[kind, c0, c1, s0, s1, s2, s3] = octets.first_chunk::<FRAME_HEADER>()?;
    Some(Head {
        kind,
        channel: u16::from_be_bytes([c0, c1]),
        size: u32::from_be_bytes([s0, s1, s2, s3]),
    })
}

/// Finds whole frames, and refuses those larger than what was negotiated.
#[derive(Debug, Clone, Copy)]
pub struct FrameSplitter {
    frame_max: u32,
}

impl FrameSplitter {
    /// `frame_max` counts the overhead in. `limits::FRAME_MIN` until the client has chosen.
    pub const fn new(frame_max: u32) -> Self {
        FrameSplitter { frame_max }
    }

    /// The limit from the next frame on.
    pub const fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }

    /// All whole frames of `buf`.
    pub fn scan(&self, buf: &[u8]) -> Scan {
        self.scan_up_to(buf, usize::MAX)
    }

    /// The first frame only: for the handshake, where a tune-ok changes the limit of the frames
    /// behind it.
    pub fn scan_first(&self, buf: &[u8]) -> Scan {
        self.scan_up_to(buf, 1)
    }

    fn scan_up_to(&self, buf: &[u8], frames: usize) -> Scan {
        let payload_max = self.frame_max.saturating_sub(FRAME_OVERHEAD as u32);
        let mut scan = Scan {
            complete: 0,
            missing: 0,
            fault: None,
        };
        for _ in 0..frames {
            let Some(rest) = buf.get(scan.complete..) else {
                break;
            };
            let Some(head) = head(rest) else {
                scan.missing = FRAME_HEADER + 1 - rest.len();
                break;
            };
            let size = head.size as usize;
            if size > payload_max as usize + FRAME_SLACK {
                let fault = AmqpError::frame_too_large(head.kind, head.size, payload_max);
                scan.fault = Some(fault);
                break;
            }
            let total = size + FRAME_OVERHEAD;
            let Some(&end) = rest.get(total - 1) else {
                scan.missing = total - rest.len();
                break;
            };
            if end != FRAME_END {
                let payload = rest.get(FRAME_HEADER..total - 1).unwrap_or_default();
                scan.fault = Some(AmqpError::invalid_frame_end(head.kind, payload, end));
                break;
            }
            scan.complete += total;
        }
        scan
    }
}

/// One frame of a run of octets. Lives as long as those.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'b> {
    /// What it carries.
    pub kind: FrameKind,
    /// Its channel; 0 is the connection itself.
    pub channel: u16,
    /// Its payload.
    pub payload: &'b [u8],
    source: &'b Bytes,
}

impl Frame<'_> {
    /// The payload as a share of the octets it was read in: counted, not copied.
    pub fn share(&self) -> Bytes {
        self.share_part(self.payload)
    }

    /// A part of the payload in the same way. A slice from elsewhere is copied.
    pub fn share_part(&self, part: &[u8]) -> Bytes {
        let start = (part.as_ptr() as usize).checked_sub(self.source.as_ptr() as usize);
        match start {
            Some(start) if start.saturating_add(part.len()) <= self.source.len() => {
                self.source.slice(start..start + part.len())
            }
            _ => Bytes::copy_from_slice(part),
        }
    }
}

/// Walks the frames of octets that [`FrameSplitter::scan`] found whole.
#[derive(Debug, Clone)]
pub struct FrameCursor<'b> {
    source: &'b Bytes,
    at: usize,
}

impl<'b> FrameCursor<'b> {
    /// Starts at the first frame.
    pub const fn new(frames: &'b Bytes) -> Self {
        FrameCursor {
            source: frames,
            at: 0,
        }
    }

    /// The octets not walked yet: what is kept when serving stops in between.
    pub fn rest(&self) -> Bytes {
        self.source
            .get(self.at..)
            .map_or_else(Bytes::new, |_| self.source.slice(self.at..))
    }

    /// The next frame, `None` behind the last.
    ///
    /// # Errors
    /// 501 for an unknown type, a heartbeat with a payload, a method or header too short to be one;
    /// 505 for a heartbeat on a channel. The frame is then skipped.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'b>>, AmqpError> {
        let Some(rest) = self.source.get(self.at..) else {
            return Ok(None);
        };
        let Some(head) = head(rest) else {
            return Ok(None);
        };
        let end = FRAME_HEADER + head.size as usize;
        let Some(payload) = rest.get(FRAME_HEADER..end) else {
            return Ok(None);
        };
        self.at += end + 1;
        let kind = match FrameKind::from_octet(head.kind) {
            Some(FrameKind::Method) if payload.len() < METHOD_MIN => None,
            Some(FrameKind::Header) if payload.len() < HEADER_MIN => None,
            Some(FrameKind::Heartbeat) if !payload.is_empty() => None,
            Some(FrameKind::Heartbeat) if head.channel != 0 => {
                return Err(AmqpError::unexpected_frame(head.kind, payload));
            }
            kind => kind,
        };
        let Some(kind) = kind else {
            return Err(AmqpError::unknown_frame(head.kind, payload));
        };
        Ok(Some(Frame {
            kind,
            channel: head.channel,
            payload,
            source: self.source,
        }))
    }
}
