//! What a client may expect of everything the broker says.
//!
//! Owns a client's view of one connection: which channels are open, what content is still to come. Fails
//! when something could not be understood by a client that goes by the specification.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use warren::codec::{
    AMQPClass, ContentHeader, Frame, FrameCursor, FrameKind, FrameSplitter, Method, Properties,
    parse_method,
};

/// What was negotiated in `World::dial`.
const FRAME_MAX: u32 = 131_072;

#[derive(Default)]
pub struct Judge {
    heard: BytesMut,
    open: bool,
    /// connection.close or close-ok was said.
    closed: bool,
    channels: HashMap<u16, Channel>,
}

#[derive(Default)]
struct Channel {
    /// channel.close was said: no more, but for close-ok and what opens it again.
    closed: bool,
    /// Octets of body that are due; none yet if the header is.
    due: Option<Option<u64>>,
    delivered: u64,
    confirmed: u64,
}

impl Judge {
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The next octets, which need not end with a frame.
    pub fn hear(&mut self, octets: &[u8]) {
        self.heard.extend_from_slice(octets);
        // The answer to a bad protocol header.
        if self.heard.starts_with(b"AMQP") {
            self.heard.clear();
            return;
        }
        let scan = FrameSplitter::new(FRAME_MAX).scan(&self.heard);
        assert!(scan.fault.is_none(), "{:?}", scan.fault);
        let frames: Bytes = self.heard.split_to(scan.complete).freeze();
        let mut cursor = FrameCursor::new(&frames);
        while let Some(frame) = cursor.next_frame().expect("a frame of a known type") {
            self.frame(frame);
        }
    }

    fn frame(&mut self, frame: Frame<'_>) {
        match frame.kind {
            FrameKind::Heartbeat => {}
            FrameKind::Method => self.method(frame.channel, frame.payload),
            FrameKind::Header => {
                let channel = self
                    .channels
                    .get_mut(&frame.channel)
                    .expect("an open channel");
                assert_eq!(channel.due, Some(None), "a header that is not due");
                let header = ContentHeader::parse(frame.payload, 60).expect("a content header");
                Properties::new(Bytes::copy_from_slice(header.properties)).expect("properties");
                channel.due = (header.body_size > 0).then_some(Some(header.body_size));
            }
            FrameKind::Body => {
                let channel = self
                    .channels
                    .get_mut(&frame.channel)
                    .expect("an open channel");
                let Some(Some(due)) = channel.due else {
                    panic!("a body that is not due");
                };
                let left = due
                    .checked_sub(frame.payload.len() as u64)
                    .expect("no more than was said");
                channel.due = (left > 0).then_some(Some(left));
            }
        }
    }

    fn method(&mut self, number: u16, payload: &[u8]) {
        let method = parse_method(payload).expect("a method");
        let id = method.id();
        assert_eq!(number == 0, id.0 == 10, "{method:?} on channel {number}");
        if number == 0 {
            assert!(
                !self.closed || matches!(id, (10, 50 | 51)),
                "{method:?} after the close"
            );
            match id {
                (10, 41) => self.open = true,
                (10, 50 | 51) => self.closed = true,
                (10, 10 | 20 | 30 | 60 | 61 | 71) => {}
                other => panic!("{other:?} to a client"),
            }
            return;
        }
        assert!(!self.closed, "{method:?} after the close of the connection");
        if id == (20, 11) {
            self.channels.insert(number, Channel::default());
            return;
        }
        if id == (20, 41) {
            let channel = self.channels.get(&number).expect("an open channel");
            // One that the broker has closed stays, and may be closed again, until the client has answered.
            if !channel.closed {
                self.channels.remove(&number);
            }
            return;
        }
        let channel = self.channels.get_mut(&number).expect("an open channel");
        assert!(!channel.closed, "{method:?} after the close of the channel");
        assert_eq!(channel.due, None, "{method:?} within a content");
        match method {
            Method::Ack { tag, .. } | Method::Nack { tag, .. } => {
                assert!(tag > channel.confirmed, "confirmed twice: {tag}");
                channel.confirmed = tag;
            }
            Method::Other(command) => match command.method {
                AMQPClass::Basic(basic) => {
                    use amq_protocol::protocol::basic::AMQPMethod as Basic;
                    let tag = match basic {
                        Basic::Deliver(deliver) => Some(deliver.delivery_tag),
                        Basic::GetOk(get_ok) => Some(get_ok.delivery_tag),
                        Basic::Return(_) => None,
                        _ => return check(id),
                    };
                    if let Some(tag) = tag {
                        assert_eq!(tag, channel.delivered + 1, "a delivery's number");
                        channel.delivered = tag;
                    }
                    channel.due = Some(None);
                }
                _ => {
                    channel.closed = id == (20, 40);
                    check(id);
                }
            },
            other => panic!("{other:?} to a client"),
        }
    }
}

/// Whether a method without content is one that goes to a client.
fn check(id: (u16, u16)) {
    let to_client = matches!(
        id,
        (20, 20 | 21 | 40)
            | (30, 11)
            | (40, 11 | 21 | 31 | 51)
            | (50, 11 | 21 | 31 | 41 | 51)
            | (60, 11 | 21 | 30 | 31 | 72 | 111)
            | (85, 11)
            | (90, 11 | 21 | 31)
    );
    assert!(to_client, "{id:?} to a client");
}
