//! Messages encoded once and repeated through a large buffer, so that a write carries many.

use crate::args::MessageArgs;
use crate::cycle::Cycle;
use crate::stamp::{STAMP_LEN, Stamp};
use crate::wire;

/// About how many bytes go into one write.
const BATCH_BYTES: usize = 64 * 1024;

/// Messages that differ are repeated up to this size, so that few writes are cut by its end.
const VARIED_BYTES: usize = 4 * BATCH_BYTES;

/// What the messages of a publisher look like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    exchange: String,
    /// In turn; at least one.
    routing_keys: Vec<String>,
    /// Body bytes.
    size: Cycle,
    priority: Option<Cycle>,
    /// Delivery mode 2.
    persistent: bool,
}

impl Shape {
    /// What the options say, for an exchange and keys taken in turn.
    pub(crate) fn new(args: &MessageArgs, exchange: String, routing_keys: Vec<String>) -> Self {
        Self {
            exchange,
            routing_keys,
            size: args.size.clone(),
            priority: args.priority.clone(),
            persistent: args.persistent,
        }
    }

    /// After how many messages they repeat: whole rounds of the keys, which must come up equally
    /// often.
    fn period(&self) -> usize {
        let priorities = self.priority.as_ref().map_or(1, Cycle::len);
        let keys = self.routing_keys.len().max(1);
        self.size.len().max(priorities).next_multiple_of(keys)
    }
}

/// Where a message ends, and where its stamp stands if its body is long enough for one.
#[derive(Clone, Copy, Debug)]
struct Place {
    end: usize,
    stamp: Option<usize>,
}

/// A buffer of messages whose stamps are filled in before each write.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// The next message. Always the first if all are alike.
    next: usize,
    alike: bool,
}

impl Batch {
    /// Encodes `shape` for `channel`, cutting bodies at `frame_max` (0: no limit), and repeats it.
    pub(crate) fn new(shape: &Shape, channel: u16, frame_max: u32) -> Self {
        let mut batch = Self::single(shape, channel, frame_max);
        let (once, places) = (batch.bytes.len().max(1), batch.places.clone());
        let full = if batch.alike {
            BATCH_BYTES
        } else {
            VARIED_BYTES
        };
        for round in 1..full / once {
            let moved = |at| at + round * once;
            batch.bytes.extend_from_within(..once);
            batch.places.extend(places.iter().map(|place| Place {
                end: moved(place.end),
                stamp: place.stamp.map(moved),
            }));
        }
        batch
    }

    /// The same without the repetition, for who sends one at a time.
    pub(crate) fn single(shape: &Shape, channel: u16, frame_max: u32) -> Self {
        let period = shape.period();
        let alike = period == 1;
        let mut batch = Self {
            bytes: Vec::new(),
            places: Vec::new(),
            next: 0,
            alike,
        };
        for turn in 0..period {
            batch.push(shape, turn, channel, frame_max);
        }
        batch
    }

    fn push(&mut self, shape: &Shape, turn: usize, channel: u16, frame_max: u32) {
        let size = shape.size.at(turn) as usize;
        put_head(&mut self.bytes, shape, turn, channel);
        // The body's first frame begins with type, channel and size: 7 bytes.
        let stamp = (size >= STAMP_LEN).then_some(self.bytes.len() + 7);
        let limit = match frame_max as usize {
            0 => usize::MAX,
            max => max.saturating_sub(wire::FRAME_OVERHEAD).max(1),
        };
        for piece in vec![b'w'; size].chunks(limit) {
            wire::put_frame(&mut self.bytes, wire::BODY, channel, piece);
        }
        let end = self.bytes.len();
        self.places.push(Place { end, stamp });
    }

    fn start(&self) -> usize {
        let before = self.next.checked_sub(1).and_then(|at| self.places.get(at));
        before.map_or(0, |place| place.end)
    }

    /// How many messages the next write can carry.
    pub(crate) fn room(&self) -> usize {
        if self.alike {
            return self.places.len();
        }
        let full = self.start() + BATCH_BYTES;
        let left = self.places.get(self.next..).unwrap_or_default();
        left.partition_point(|place| place.end <= full).max(1)
    }

    /// Stamps the next `count` messages, of at most [`Self::room`], with numbers from `seq` and what
    /// `time` says, and gives their bytes.
    pub(crate) fn fill(
        &mut self,
        publisher: u16,
        seq: u64,
        count: usize,
        mut time: impl FnMut(u64) -> u64,
    ) -> &[u8] {
        let start = self.start();
        let places = self.places.get(self.next..).unwrap_or_default();
        let mut end = start;
        for (place, seq) in places.iter().take(count).zip(seq..) {
            end = place.end;
            let stamp = place.stamp.and_then(|at| self.bytes.get_mut(at..));
            if let Some(place) = stamp.and_then(|bytes| bytes.first_chunk_mut()) {
                let time = time(seq);
                *place = Stamp {
                    publisher,
                    seq,
                    time,
                }
                .encode();
            }
        }
        if !self.alike {
            self.next = (self.next + count) % self.places.len().max(1);
        }
        self.bytes.get(start..end).unwrap_or_default()
    }
}

/// basic.publish and the content header.
fn put_head(out: &mut Vec<u8>, shape: &Shape, turn: usize, channel: u16) {
    let key = shape
        .routing_keys
        .get(turn % shape.routing_keys.len().max(1));
    let mut payload = wire::BASIC_PUBLISH.to_be_bytes().to_vec();
    payload.extend_from_slice(&[0, 0]);
    wire::put_short(&mut payload, &shape.exchange);
    wire::put_short(&mut payload, key.map_or("", String::as_str));
    payload.push(0);
    wire::put_frame(out, wire::METHOD, channel, &payload);

    payload.clear();
    payload.extend_from_slice(&wire::BASIC_CLASS.to_be_bytes());
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(&shape.size.at(turn).to_be_bytes());
    let (mut flags, mut values) = (0u16, Vec::new());
    if shape.persistent {
        flags |= 0x1000;
        values.push(2);
    }
    if let Some(priority) = &shape.priority {
        flags |= 0x0800;
        values.push(priority.at(turn) as u8);
    }
    payload.extend_from_slice(&flags.to_be_bytes());
    payload.extend_from_slice(&values);
    wire::put_frame(out, wire::HEADER, channel, &payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::frame::{AMQPFrame, parse_frame};
    use amq_protocol::protocol::{AMQPClass, basic};

    fn shape(size: &str) -> Shape {
        Shape {
            exchange: "ex".into(),
            routing_keys: vec!["key".into()],
            size: size.parse().unwrap(),
            priority: None,
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

    fn keys_priorities_sizes(frames: &[AMQPFrame]) -> Vec<(String, Option<u8>, u64)> {
        let mut seen = Vec::new();
        for frame in frames {
            match frame {
                AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) => {
                    seen.push((publish.routing_key.to_string(), None, 0));
                }
                AMQPFrame::Header(_, header) => {
                    let last = seen.last_mut().unwrap();
                    (last.1, last.2) = (*header.properties.priority(), header.body_size);
                }
                _ => {}
            }
        }
        seen
    }

    #[test]
    fn another_implementation_reads_what_is_written() {
        let mut batch = Batch::new(&shape("16"), 1, 131_072);
        assert!(batch.room() > 100);
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
        assert_eq!(*header.properties.priority(), None);
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
    fn keys_sizes_and_priorities_take_turns_across_writes() {
        let mut shape = shape("16,20,0");
        shape.routing_keys = vec!["a".into(), "b".into()];
        shape.priority = Some("4..5".parse().unwrap());
        let mut batch = Batch::new(&shape, 1, 0);
        let mut seen = Vec::new();
        let mut seq = 0;
        while seq < 10_000 {
            let count = batch.room().min(77);
            seen.extend(keys_priorities_sizes(&parse_all(batch.fill(
                0,
                seq,
                count,
                |_| 0,
            ))));
            seq += count as u64;
        }
        // Sizes begin again with the keys: after 4 messages.
        let want = [("a", 4, 16), ("b", 5, 20), ("a", 4, 0), ("b", 5, 16)];
        for (at, (key, priority, size)) in seen.into_iter().enumerate() {
            let (want_key, want_priority, want_size) = want[at % 4];
            assert_eq!(
                (key.as_str(), priority, size),
                (want_key, Some(want_priority), want_size)
            );
        }
    }

    #[test]
    fn a_write_is_not_much_longer_than_it_should() {
        let mut batch = Batch::new(&shape("0..3000"), 1, 0);
        for _ in 0..1000 {
            let room = batch.room();
            let len = batch.fill(0, 0, room, |_| 0).len();
            assert!(0 < len && len <= BATCH_BYTES, "{len}");
        }
    }

    #[test]
    fn cuts_bodies_at_frame_max() {
        let mut batch = Batch::new(&shape("10000"), 1, 4096);
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
        let mut batch = Batch::new(&shape("0"), 1, 0);
        assert_eq!(parse_all(batch.fill(0, 0, 1, |_| 0)).len(), 2);
        let mut batch = Batch::new(&shape("15"), 1, 0);
        let frames = parse_all(batch.fill(9, 9, 1, |_| 9));
        assert!(matches!(&frames[2], AMQPFrame::Body(_, body) if body == &[b'w'; 15]));
    }
}
