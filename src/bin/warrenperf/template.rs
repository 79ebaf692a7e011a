//! One message encoded once and repeated through a large buffer, so that a write carries many.

use crate::stamp::{STAMP_LEN, Stamp};
use crate::wire;

/// About how many bytes go into one write.
const BATCH_BYTES: usize = 64 * 1024;

/// What the messages of a publisher look like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Where to.
    pub(crate) exchange: String,
    /// With which key.
    pub(crate) routing_key: String,
    /// Body bytes.
    pub(crate) size: usize,
    /// Delivery mode 2.
    pub(crate) persistent: bool,
}

/// A buffer of identical messages whose stamps are filled in before each write.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    message_len: usize,
    /// Where the stamp stands in a message, if its body is long enough for one.
    stamp_at: Option<usize>,
    capacity: usize,
}

impl Batch {
    /// Encodes `shape` for `channel`, cutting bodies at `frame_max` (0: no limit), and repeats it.
    pub(crate) fn new(shape: &Shape, channel: u16, frame_max: u32) -> Self {
        let message = encode_message(shape, channel, frame_max);
        let head = encode_head(shape, channel).len();
        let capacity = (BATCH_BYTES / message.len()).max(1);
        Self {
            bytes: message.repeat(capacity),
            message_len: message.len(),
            // The body's first frame begins with type, channel and size: 7 bytes.
            stamp_at: (shape.size >= STAMP_LEN).then_some(head + 7),
            capacity,
        }
    }

    /// How many messages one write can carry.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Stamps the first `count` messages with numbers from `seq` and what `time` says, and gives
    /// their bytes.
    pub(crate) fn fill(
        &mut self,
        publisher: u16,
        seq: u64,
        count: usize,
        mut time: impl FnMut(u64) -> u64,
    ) -> &[u8] {
        if let Some(at) = self.stamp_at {
            let messages = self.bytes.chunks_exact_mut(self.message_len).take(count);
            for (message, seq) in messages.zip(seq..) {
                let place = message.get_mut(at..).and_then(|b| b.first_chunk_mut());
                if let Some(place) = place {
                    let time = time(seq);
                    *place = Stamp {
                        publisher,
                        seq,
                        time,
                    }
                    .encode();
                }
            }
        }
        let len = count.min(self.capacity) * self.message_len;
        self.bytes.get(..len).unwrap_or(&self.bytes)
    }
}

/// basic.publish and the content header.
fn encode_head(shape: &Shape, channel: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let mut payload = wire::BASIC_PUBLISH.to_be_bytes().to_vec();
    payload.extend_from_slice(&[0, 0]);
    wire::put_short(&mut payload, &shape.exchange);
    wire::put_short(&mut payload, &shape.routing_key);
    payload.push(0);
    wire::put_frame(&mut out, wire::METHOD, channel, &payload);

    payload.clear();
    payload.extend_from_slice(&wire::BASIC_CLASS.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(&(shape.size as u64).to_be_bytes());
    if shape.persistent {
        // The flag of delivery-mode, then the mode.
        payload.extend_from_slice(&[0x10, 0x00, 2]);
    } else {
        payload.extend_from_slice(&[0, 0]);
    }
    wire::put_frame(&mut out, wire::HEADER, channel, &payload);
    out
}

/// The whole message, its body in as many frames as the limit asks for.
fn encode_message(shape: &Shape, channel: u16, frame_max: u32) -> Vec<u8> {
    let mut out = encode_head(shape, channel);
    let limit = match frame_max as usize {
        0 => usize::MAX,
        max => max.saturating_sub(wire::FRAME_OVERHEAD).max(1),
    };
    for piece in vec![b'w'; shape.size].chunks(limit) {
        wire::put_frame(&mut out, wire::BODY, channel, piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::frame::{AMQPFrame, parse_frame};
    use amq_protocol::protocol::{AMQPClass, basic};

    fn shape(size: usize) -> Shape {
        Shape {
            exchange: "ex".into(),
            routing_key: "key".into(),
            size,
            persistent: true,
        }
    }

    fn parse_all(mut bytes: &[u8]) -> Vec<AMQPFrame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (rest, frame) = parse_frame(bytes).unwrap();
            frames.push(frame);
            bytes = rest;
        }
        frames
    }

    #[test]
    fn another_implementation_reads_what_is_written() {
        let mut batch = Batch::new(&shape(16), 1, 131_072);
        assert!(batch.capacity() > 100);
        let bytes = batch.fill(3, 40, 2, |seq| seq * 10);
        let frames = parse_all(bytes);
        assert_eq!(frames.len(), 6);
        let AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) =
            &frames[0]
        else {
            panic!("{:?}", frames[0]);
        };
        assert_eq!(publish.exchange.as_str(), "ex");
        assert_eq!(publish.routing_key.as_str(), "key");
        let AMQPFrame::Header(1, header) = &frames[1] else {
            panic!("{:?}", frames[1]);
        };
        assert_eq!(header.body_size, 16);
        assert_eq!(*header.properties.delivery_mode(), Some(2));
        for (frame, seq) in [(&frames[2], 40), (&frames[5], 41)] {
            let AMQPFrame::Body(1, body) = frame else {
                panic!("{frame:?}");
            };
            let stamp = Stamp::decode(body.as_slice().try_into().unwrap());
            let want = Stamp {
                publisher: 3,
                seq,
                time: seq * 10,
            };
            assert_eq!(stamp, want);
        }
    }

    #[test]
    fn cuts_bodies_at_frame_max() {
        let mut batch = Batch::new(&shape(10_000), 1, 4096);
        let frames = parse_all(batch.fill(0, 0, 1, |_| 0));
        let sizes: Vec<usize> = frames
            .iter()
            .filter_map(|frame| match frame {
                AMQPFrame::Body(_, body) => Some(body.len()),
                _ => None,
            })
            .collect();
        assert_eq!(sizes, [4088, 4088, 1824]);
    }

    #[test]
    fn small_and_empty_bodies_carry_no_stamp() {
        let mut batch = Batch::new(&shape(0), 1, 0);
        assert_eq!(parse_all(batch.fill(0, 0, 1, |_| 0)).len(), 2);
        let mut batch = Batch::new(&shape(15), 1, 0);
        let frames = parse_all(batch.fill(9, 9, 1, |_| 9));
        assert!(matches!(&frames[2], AMQPFrame::Body(_, body) if body == &[b'w'; 15]));
    }
}
