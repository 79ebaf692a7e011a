//! The protocol header and the splitter: the same frames however the octets come, and the same as a loop
//! over the layout of the specification finds.
//!
//! Input: 2 octets of frame_max, 1 octet from which the sizes of the pieces come, then what a client sends.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use warren::base::AmqpError;
use warren::base::limits::FRAME_SLACK;
use warren::codec::{FrameCursor, FrameSplitter, protocol_header};
use warren_fuzz::bounded;

/// A frame as it lies there: type, channel, payload.
type Found = (u8, u16, Vec<u8>);

/// Frames of a stream that comes in pieces, and what is wrong behind them.
fn split(
    octets: &[u8],
    frame_max: u32,
    mut piece: impl FnMut() -> usize,
) -> (Vec<Found>, Option<AmqpError>) {
    let splitter = FrameSplitter::new(frame_max);
    let (mut buf, mut frames, mut rest) = (BytesMut::new(), Vec::new(), octets);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(piece().clamp(1, rest.len()));
        rest = behind;
        buf.extend_from_slice(chunk);
        let scan = splitter.scan(&buf);
        let first = splitter.scan_first(&buf);
        assert!(first.complete <= scan.complete && scan.complete <= buf.len());
        let whole = buf.split_to(scan.complete).freeze();
        let before = frames.len();
        walk(&whole, &mut frames);
        assert_eq!(first.complete > 0, frames.len() > before);
        if scan.fault.is_some() {
            return (frames, scan.fault);
        }
        // With one octet less than is said to be missing there is no further frame, whatever they are.
        assert!(scan.missing > 0);
        if scan.missing <= 4096 {
            let mut longer = buf.to_vec();
            longer.resize(buf.len() + scan.missing - 1, 0xCE);
            assert_eq!(splitter.scan(&longer).complete, 0);
        }
    }
    (frames, None)
}

/// The octets of frames as they lie there, also of those that the cursor refuses.
fn walk(whole: &Bytes, frames: &mut Vec<Found>) {
    let mut cursor = FrameCursor::new(whole);
    loop {
        let rest = cursor.rest();
        let (kind, channel, payload) = match naive(&rest, u32::MAX) {
            Naive::Frame(frame) => frame,
            Naive::Short => break,
            Naive::Fault => panic!("a whole frame was promised"),
        };
        match cursor.next_frame() {
            Ok(Some(frame)) => {
                assert_eq!((frame.kind as u8, frame.channel), (kind, channel));
                assert_eq!(
                    (frame.payload, &frame.share()[..]),
                    (&payload[..], &payload[..])
                );
            }
            Ok(None) => panic!("the cursor ends before the frames do"),
            Err(_) => assert!(kind == 0 || kind > 3 || payload.len() < 12),
        }
        assert_eq!(cursor.rest().len(), rest.len() - payload.len() - 8);
        frames.push((kind, channel, payload));
    }
    assert!(matches!(cursor.next_frame(), Ok(None)));
}

enum Naive {
    Frame(Found),
    Short,
    Fault,
}

/// What the specification says of the next frame.
fn naive(octets: &[u8], frame_max: u32) -> Naive {
    if octets.len() < 7 {
        return Naive::Short;
    }
    let channel = u16::from_be_bytes([octets[1], octets[2]]);
    let size = u32::from_be_bytes([octets[3], octets[4], octets[5], octets[6]]) as usize;
    if size > (frame_max as usize).saturating_sub(8) + FRAME_SLACK {
        return Naive::Fault;
    }
    if octets.len() < size + 8 {
        return Naive::Short;
    }
    match octets[size + 7] {
        0xCE => Naive::Frame((octets[0], channel, octets[7..size + 7].to_vec())),
        _ => Naive::Fault,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[high, low, seed], octets)) = input.split_first_chunk::<3>() else {
        return;
    };
    let _ = protocol_header(octets);
    let frame_max = u32::from(u16::from_be_bytes([high, low]));
    // The scan itself allocates the text of a fault, and nothing else.
    bounded(octets.len(), 8, 4096, || {
        FrameSplitter::new(frame_max).scan(octets)
    });

    let at_once = split(octets, frame_max, || usize::MAX);
    let mut state = u32::from(seed);
    let pieces = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as usize % (usize::from(seed) + 2)
    };
    assert_eq!(split(octets, frame_max, pieces), at_once);

    let (mut frames, mut rest) = (Vec::new(), octets);
    let fault = loop {
        match naive(rest, frame_max) {
            Naive::Frame(frame) => {
                rest = &rest[frame.2.len() + 8..];
                frames.push(frame);
            }
            Naive::Short => break false,
            Naive::Fault => break true,
        }
    };
    assert_eq!((at_once.0, at_once.1.is_some()), (frames, fault));

    // What nobody scanned does no harm either.
    let raw = Bytes::copy_from_slice(octets);
    let mut cursor = FrameCursor::new(&raw);
    while !matches!(cursor.next_frame(), Ok(None)) {}
});
