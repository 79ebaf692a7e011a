//! Publishes read whole and in pieces: the same messages come of both.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::assembly::{Assembled, Assembly, whole};
use crate::base::{AmqpError, ReplyCode};
use crate::codec::encode::{self, short_string};
use crate::codec::{Frame, FrameCursor, FrameKind, Method, parse_method};
use amq_protocol::protocol::{AMQPClass, basic};

const MAX: u64 = 1000;

#[derive(Debug, Clone)]
struct Sent {
    exchange: String,
    key: String,
    mandatory: bool,
    priority: Option<u8>,
    persistent: bool,
    /// The body, cut as it is sent: frames may be empty.
    body: Vec<Vec<u8>>,
}

impl Sent {
    fn properties(&self) -> Vec<u8> {
        let flags = 0x1000 | self.priority.map_or(0, |_| 0x0800u16);
        let mut octets = flags.to_be_bytes().to_vec();
        octets.push(if self.persistent { 2 } else { 1 });
        octets.extend(self.priority);
        octets
    }

    /// One buffer a frame.
    fn frames(&self, channel: u16) -> Vec<Bytes> {
        let mut method = BytesMut::new();
        let publish = basic::Publish {
            exchange: short_string(&self.exchange),
            routing_key: short_string(&self.key),
            mandatory: self.mandatory,
            immediate: false,
        };
        let publish = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        encode::write_method(&mut method, channel, &publish);
        let mut header = BytesMut::new();
        let size = self.body.concat().len() as u64;
        encode::content_header(&mut header, channel, size, &self.properties());
        let mut frames = vec![method.freeze(), header.freeze()];
        frames.extend(self.body.iter().map(|part| body_frame(channel, part)));
        frames
    }

    fn check(&self, got: &Assembled) -> Result<(), TestCaseError> {
        let message = &got.message;
        prop_assert_eq!(message.exchange(), self.exchange.as_bytes());
        prop_assert_eq!(message.routing_key(), self.key.as_bytes());
        prop_assert_eq!(message.properties(), &self.properties()[..]);
        let body = message.body_parts().collect::<Vec<_>>().concat();
        prop_assert_eq!(body, self.body.concat());
        prop_assert_eq!(message.body_len(), self.body.concat().len());
        prop_assert_eq!(message.persistent(), self.persistent);
        prop_assert_eq!(message.priority(), self.priority.unwrap_or(0));
        prop_assert_eq!(got.mandatory, self.mandatory);
        Ok(())
    }
}

fn body_frame(channel: u16, part: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    encode::frame_header(&mut frame, FrameKind::Body, channel, part.len());
    frame.extend_from_slice(part);
    encode::frame_end(&mut frame);
    frame.freeze()
}

/// Does with frames what channels do: one assembly each.
#[derive(Default)]
struct Reader {
    open: [Option<Assembly>; 2],
    done: [Vec<Assembled>; 2],
    read_whole: usize,
}

impl Reader {
    /// Takes one read.
    fn read(&mut self, frames: &Bytes) -> Result<(), AmqpError> {
        let mut cursor = FrameCursor::new(frames);
        while let Some(frame) = cursor.next_frame()? {
            if frame.kind != FrameKind::Heartbeat {
                self.frame(&frame, frames, &mut cursor)?;
            }
        }
        Ok(())
    }

    fn frame<'b>(
        &mut self,
        frame: &Frame<'b>,
        frames: &Bytes,
        cursor: &mut FrameCursor<'b>,
    ) -> Result<(), AmqpError> {
        let at = usize::from(frame.channel - 1);
        if let Some(assembly) = &mut self.open[at] {
            if assembly.take(frame, MAX)? {
                let assembly = self.open[at].take().unwrap();
                self.done[at].push(assembly.finish());
            }
            return Ok(());
        }
        let Method::Publish(publish) = parse_method(frame.payload)? else {
            panic!("not a publish");
        };
        match whole(frames, &publish, frame.channel, MAX, cursor) {
            Some(assembled) => {
                self.read_whole += 1;
                self.done[at].push(assembled);
            }
            None => self.open[at] = Some(Assembly::new(&publish)),
        }
        Ok(())
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let part = || proptest::collection::vec(any::<u8>(), 0..20);
    let body = prop_oneof![
        Just(vec![]),
        part().prop_map(|part| vec![[part, vec![1]].concat()]),
        proptest::collection::vec(part(), 0..5).prop_map(|mut parts| {
            // The last frame completes it, so it is not empty.
            parts.push(vec![7; 3]);
            parts
        }),
    ];
    (
        "[a-zé]{0,9}",
        "[a-z.]{0,9}",
        any::<bool>(),
        any::<Option<u8>>(),
        any::<bool>(),
        body,
    )
        .prop_map(
            |(exchange, key, mandatory, priority, persistent, body)| Sent {
                exchange,
                key,
                mandatory,
                priority,
                persistent,
                body,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Frames of two channels and heartbeats in any order, and the reads cut at every frame in turn.
    #[test]
    fn a1_8_messages_are_the_same_however_they_arrive(
        one in proptest::collection::vec(sent(), 0..4),
        two in proptest::collection::vec(sent(), 0..4),
        order in proptest::collection::vec(0..7u8, 0..60),
    ) {
        let frames = |sent: &[Sent], channel| -> Vec<Bytes> {
            sent.iter().flat_map(|s| s.frames(channel)).collect()
        };
        let (mut a, mut b) = (frames(&one, 1).into_iter(), frames(&two, 2).into_iter());
        let mut all: Vec<Bytes> = Vec::new();
        for pick in order {
            match pick {
                0..3 => all.extend(a.next()),
                3..6 => all.extend(b.next()),
                _ => all.push(Bytes::from_static(&encode::HEARTBEAT)),
            }
        }
        all.extend(a.chain(b));
        for split in 0..=all.len() {
            let mut reader = Reader::default();
            let (first, second) = all.split_at(split);
            for read in [first.concat(), second.concat()] {
                prop_assert_eq!(reader.read(&Bytes::from(read)), Ok(()));
            }
            for (done, sent) in reader.done.iter().zip([&one, &two]) {
                prop_assert_eq!(done.len(), sent.len());
                for (done, sent) in done.iter().zip(sent) {
                    sent.check(done)?;
                }
            }
        }
    }
}

fn plain(body: &[&[u8]]) -> Sent {
    Sent {
        exchange: "x".into(),
        key: "key".into(),
        mandatory: false,
        priority: None,
        persistent: true,
        body: body.iter().map(|part| part.to_vec()).collect(),
    }
}

/// What becomes of the frames, each read alone and all at once.
fn fault(frames: &[Bytes]) -> ReplyCode {
    let mut reader = Reader::default();
    let apart: Result<(), AmqpError> = frames.iter().try_for_each(|frame| reader.read(frame));
    let together = Reader::default().read(&Bytes::from(frames.concat()));
    assert_eq!(apart, together);
    together.unwrap_err().code
}

#[test]
fn one_read_makes_a_slice_of_it() {
    for body in [&[][..], &[&b"all of it"[..]]] {
        let sent = plain(body);
        let octets = Bytes::from(sent.frames(1).concat());
        let mut reader = Reader::default();
        reader.read(&octets).unwrap();
        assert_eq!(reader.read_whole, 1);
        let exchange = reader.done[0][0].message.exchange().as_ptr() as usize;
        assert!((octets.as_ptr() as usize..).contains(&exchange));
        sent.check(&reader.done[0][0]).unwrap();
    }
}

#[test]
fn a1_8_frames_out_of_order_are_faults() {
    let frames = plain(&[b"body"]).frames(1);
    let [method, header, body] = &frames[..] else {
        panic!("three frames");
    };
    let two_headers = [method.clone(), header.clone(), header.clone()];
    assert_eq!(fault(&two_headers), ReplyCode::UnexpectedFrame);
    let no_header = [method.clone(), body.clone()];
    assert_eq!(fault(&no_header), ReplyCode::UnexpectedFrame);
    let two_methods = [method.clone(), method.clone()];
    assert_eq!(fault(&two_methods), ReplyCode::UnexpectedFrame);
}

#[test]
fn a1_8_more_body_than_announced_is_a_fault() {
    let mut frames = plain(&[b"abc"]).frames(1);
    frames[2] = body_frame(1, b"abcd");
    assert_eq!(fault(&frames), ReplyCode::FrameError);
}

#[test]
fn a1_11_a_body_too_large_is_refused_at_its_header() {
    let just = vec![0; MAX as usize];
    let over = vec![0; MAX as usize + 1];
    let mut reader = Reader::default();
    let octets = plain(&[&just]).frames(1).concat();
    reader.read(&Bytes::from(octets)).unwrap();
    assert_eq!(reader.done[0].len(), 1);
    let frames = plain(&[&over]).frames(1);
    assert_eq!(fault(&frames[..2]), ReplyCode::PreconditionFailed);
    assert_eq!(fault(&frames), ReplyCode::PreconditionFailed);
}

#[test]
fn malformed_properties_are_a_fault_either_way() {
    let mut frames = plain(&[b"abc"]).frames(1);
    let mut header = BytesMut::new();
    // Announces a priority, and ends.
    encode::content_header(&mut header, 1, 3, &[0x08, 0]);
    frames[1] = header.freeze();
    assert!(fault(&frames) as u16 >= 500);
}
