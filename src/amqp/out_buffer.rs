//! Octets on their way to the socket.
//!
//! Owns what is encoded and not yet written, in order. Small pieces are gathered into one buffer;
//! large bodies are kept as the slices they are, for a vectored write. Parts can be gated: they
//! stay back until the log has reached the disk, so that a reply never promises what a crash could
//! take away.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::base::LogPos;
use crate::base::limits::{BODY_BY_REFERENCE_BYTES, IDLE_BUFFER_BYTES};

/// Most pieces given to one vectored write.
const IO_SLICES_MAX: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct OutBuffer {
    /// Before `tail`, in order.
    chunks: VecDeque<Bytes>,
    chunks_len: usize,
    tail: BytesMut,
    /// Octets taken by the socket since the connection began.
    sent_total: u64,
    /// From the stream offset on, octets wait for the log position. Both grow.
    gates: VecDeque<(u64, LogPos)>,
}

impl OutBuffer {
    /// Where frames are encoded.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends a piece of a body: by copy if small, else by reference.
    pub(super) fn put_body(&mut self, piece: Bytes) {
        if piece.len() < BODY_BY_REFERENCE_BYTES {
            self.tail.extend_from_slice(&piece);
        } else {
            self.flush_tail();
            self.chunks_len += piece.len();
            self.chunks.push_back(piece);
        }
    }

    /// Octets not yet taken by the socket.
    pub(super) fn len(&self) -> usize {
        self.chunks_len + self.tail.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is appended from now on stays back until `pos` is durable.
    pub(super) fn gate(&mut self, pos: LogPos) {
        let at = self.sent_total + self.len() as u64;
        match self.gates.back_mut() {
            Some(last) if last.0 == at => last.1 = last.1.max(pos),
            _ => self.gates.push_back((at, pos)),
        }
    }

    /// The log position the next gate waits for.
    pub(super) fn gated_by(&self) -> Option<LogPos> {
        self.gates.front().map(|&(_, pos)| pos)
    }

    /// Opens the gates up to what is durable.
    pub(super) fn open_gates(&mut self, durable: LogPos) {
        while self.gates.front().is_some_and(|&(_, pos)| pos <= durable) {
            self.gates.pop_front();
        }
    }

    /// Octets that may be written now.
    pub(super) fn sendable_len(&self) -> usize {
        let all = self.len();
        match self.gates.front() {
            None => all,
            Some(&(at, _)) => all.min((at - self.sent_total) as usize),
        }
    }

    /// Fills `slices` with what may be written now, and gives them to `write`.
    pub(super) fn write_with(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> std::io::Result<usize> {
        let mut left = self.sendable_len();
        let mut slices = [IoSlice::new(&[]); IO_SLICES_MAX];
        let mut used = 0;
        let pieces = self
            .chunks
            .iter()
            .map(Bytes::as_ref)
            .chain([self.tail.as_ref()]);
        for (slot, piece) in slices.iter_mut().zip(pieces.filter(|p| !p.is_empty())) {
            if left == 0 {
                break;
            }
            let piece = piece.get(..left).unwrap_or(piece);
            left -= piece.len();
            *slot = IoSlice::new(piece);
            used += 1;
        }
        let count = write(slices.get(..used).unwrap_or_default())?;
        self.advance(count);
        Ok(count)
    }

    fn advance(&mut self, mut count: usize) {
        self.sent_total += count as u64;
        while let Some(front) = self.chunks.front_mut()
            && count > 0
        {
            let step = front.len().min(count);
            front.advance(step);
            count -= step;
            self.chunks_len -= step;
            if front.is_empty() {
                self.chunks.pop_front();
            }
        }
        if count >= self.tail.len() {
            self.tail.clear();
            if self.tail.capacity() > IDLE_BUFFER_BYTES && self.chunks.is_empty() {
                self.shrink();
            }
        } else {
            self.tail.advance(count);
        }
    }

    /// Gives back what an unusual burst took.
    fn shrink(&mut self) {
        const KEEP: usize = 256 * 1024;
        if self.tail.capacity() > KEEP {
            self.tail = BytesMut::new();
        }
    }

    /// Gives the buffer back: the connection is idle.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            self.tail = BytesMut::new();
        }
    }

    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks_len += self.tail.len();
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(out: &mut OutBuffer, step: usize) -> Vec<u8> {
        let mut seen = Vec::new();
        loop {
            let count = out
                .write_with(|slices| {
                    let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
                    let count = all.len().min(step);
                    seen.extend_from_slice(&all[..count]);
                    Ok(count)
                })
                .unwrap();
            if count == 0 {
                return seen;
            }
        }
    }

    #[test]
    fn pieces_leave_in_order_whatever_the_socket_takes() {
        for step in [1, 3, 1000, usize::MAX] {
            let mut out = OutBuffer::default();
            let mut expected = Vec::new();
            for round in 0..5u8 {
                out.tail().extend_from_slice(&[round; 10]);
                expected.extend_from_slice(&[round; 10]);
                let len = if round % 2 == 0 {
                    BODY_BY_REFERENCE_BYTES
                } else {
                    5
                };
                out.put_body(Bytes::from(vec![100 + round; len]));
                expected.extend(vec![100 + round; len]);
            }
            assert_eq!(out.len(), expected.len());
            assert_eq!(drain(&mut out, step), expected);
            assert!(out.is_empty());
        }
    }

    #[test]
    fn a_gate_holds_back_what_comes_after_it() {
        let mut out = OutBuffer::default();
        out.tail().extend_from_slice(b"free ");
        out.gate(LogPos::new(1, 100));
        out.tail().extend_from_slice(b"first ");
        out.gate(LogPos::new(1, 200));
        out.tail().extend_from_slice(b"second");
        assert_eq!(drain(&mut out, 2), b"free ");
        out.open_gates(LogPos::new(1, 99));
        assert_eq!(drain(&mut out, 2), b"");
        out.open_gates(LogPos::new(1, 100));
        assert_eq!(drain(&mut out, 2), b"first ");
        assert_eq!(out.gated_by(), Some(LogPos::new(1, 200)));
        out.open_gates(LogPos::new(2, 0));
        assert_eq!(drain(&mut out, 2), b"second");
        assert_eq!(out.gated_by(), None);
    }
}
