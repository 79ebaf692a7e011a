//! Puts method, header and body frames together into deliveries, keeping only what is measured.

use crate::error::{Error, Result};
use crate::stamp::Stamp;
use crate::wire::{self, Frame};

/// One message that has fully arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// To acknowledge it with.
    pub(crate) tag: u64,
    /// The broker says it may have been delivered before.
    pub(crate) redelivered: bool,
    /// What the body begins with, if it is long enough.
    pub(crate) stamp: Option<Stamp>,
}

/// What a frame meant to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Part of something that is not complete yet, or of no interest.
    Nothing,
    /// A message is complete.
    Delivered(Delivery),
    /// The broker cancelled the consumer: the queue is gone.
    Cancelled,
}

/// Where in a content the next frame is.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    tag: u64,
    redelivered: bool,
    stamp: Option<Stamp>,
    /// Body bytes still to come.
    left: u64,
    /// The next body frame is the first.
    first: bool,
}

impl Assembler {
    /// Takes one frame.
    #[inline]
    pub(crate) fn take(&mut self, frame: Frame<'_>) -> Result<Event> {
        match frame.kind {
            wire::BODY => {
                if self.first {
                    self.first = false;
                    self.stamp = frame.payload.first_chunk().map(|b| Stamp::decode(*b));
                }
                self.left = self.left.saturating_sub(frame.payload.len() as u64);
                Ok(self.complete())
            }
            wire::HEADER => {
                let size = frame.payload.get(4..).and_then(|b| b.first_chunk::<8>());
                let size = size.ok_or_else(|| Error::Protocol("a short content header".into()))?;
                self.left = u64::from_be_bytes(*size);
                self.first = true;
                self.stamp = None;
                Ok(self.complete())
            }
            wire::METHOD => self.take_method(frame),
            _ => Ok(Event::Nothing),
        }
    }

    #[inline]
    fn complete(&self) -> Event {
        if self.left > 0 {
            return Event::Nothing;
        }
        Event::Delivered(Delivery {
            tag: self.tag,
            redelivered: self.redelivered,
            stamp: self.stamp,
        })
    }

    #[inline]
    fn take_method(&mut self, frame: Frame<'_>) -> Result<Event> {
        let short = || Error::Protocol("a short method".into());
        let (method, arguments) = frame.method().ok_or_else(short)?;
        match method {
            wire::BASIC_DELIVER => {
                let (&len, rest) = arguments.split_first().ok_or_else(short)?;
                let rest = rest.get(usize::from(len)..).ok_or_else(short)?;
                (self.tag, self.redelivered) = wire::tag_and_flag(rest).ok_or_else(short)?;
                Ok(Event::Nothing)
            }
            wire::BASIC_CANCEL => Ok(Event::Cancelled),
            wire::CHANNEL_CLOSE | wire::CONNECTION_CLOSE => {
                Err(wire::close_error(method, arguments))
            }
            _ => Ok(Event::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(tag: u64, redelivered: bool) -> Vec<u8> {
        let mut payload = wire::BASIC_DELIVER.to_be_bytes().to_vec();
        wire::put_short(&mut payload, "the-tag");
        payload.extend_from_slice(&tag.to_be_bytes());
        payload.push(u8::from(redelivered));
        wire::put_short(&mut payload, "");
        wire::put_short(&mut payload, "queue");
        payload
    }

    fn header(size: u64) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend_from_slice(&size.to_be_bytes());
        payload.extend_from_slice(&[0, 0]);
        payload
    }

    fn feed(assembler: &mut Assembler, kind: u8, payload: &[u8]) -> Event {
        assembler.take(Frame { kind, payload }).unwrap()
    }

    #[test]
    fn one_body_in_two_frames_is_one_delivery() {
        let stamp = Stamp {
            publisher: 2,
            seq: 5,
            time: 9,
        };
        let mut assembler = Assembler::default();
        let got = feed(&mut assembler, wire::METHOD, &deliver(8, true));
        assert_eq!(got, Event::Nothing);
        assert_eq!(
            feed(&mut assembler, wire::HEADER, &header(20)),
            Event::Nothing
        );
        assert_eq!(
            feed(&mut assembler, wire::BODY, &stamp.encode()),
            Event::Nothing
        );
        let whole = Delivery {
            tag: 8,
            redelivered: true,
            stamp: Some(stamp),
        };
        assert_eq!(
            feed(&mut assembler, wire::BODY, b"rest"),
            Event::Delivered(whole)
        );
    }

    #[test]
    fn an_empty_body_is_complete_with_its_header() {
        let mut assembler = Assembler::default();
        feed(&mut assembler, wire::METHOD, &deliver(1, false));
        let got = feed(&mut assembler, wire::HEADER, &header(0));
        let whole = Delivery {
            tag: 1,
            redelivered: false,
            stamp: None,
        };
        assert_eq!(got, Event::Delivered(whole));
    }

    #[test]
    fn short_frames_are_errors() {
        let mut assembler = Assembler::default();
        for (kind, payload) in [
            (wire::METHOD, &[0u8, 60, 0][..]),
            (wire::METHOD, &[0, 60, 0, 60, 9, b'x'][..]),
            (wire::HEADER, &[0, 60][..]),
        ] {
            assert!(assembler.take(Frame { kind, payload }).is_err());
        }
    }
}
