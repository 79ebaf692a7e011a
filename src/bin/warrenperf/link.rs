//! A connection's socket with a large read buffer over it.

use crate::error::{Error, Result};
use crate::stream::Stream;
use crate::wire::{self, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// The buffer grows up to this, and further only for a frame that does not fit.
const READ_BYTES: usize = 256 * 1024;

const FIRST_READ_BYTES: usize = 8 * 1024;

/// Small enough that what is written is soon with the broker and counts as published in earnest.
const SEND_BUFFER: usize = 256 * 1024;

/// How long a blocking read or write may last before the caller gets to look around.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// How a fill went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// There is more to walk.
    More,
    /// Nothing came in time.
    Idle,
}

/// The socket and what was read from it and not yet walked.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    last_read: usize,
}

impl Link {
    /// Takes over a connected socket.
    pub(crate) fn new(stream: Stream) -> Result<Self> {
        let socket = stream.socket();
        socket.set_nodelay(true)?;
        socket2::SockRef::from(socket).set_send_buffer_size(SEND_BUFFER)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            last_read: 0,
        })
    }

    /// The next whole frame in the buffer.
    #[inline]
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        let unread = self.buffer.get(self.begin..self.end).unwrap_or_default();
        match wire::next_frame(unread)? {
            Some((frame, used)) => {
                self.begin += used;
                Ok(Some(frame))
            }
            None => Ok(None),
        }
    }

    /// Waits for bytes, up to PATIENCE.
    pub(crate) fn fill(&mut self) -> Result<Fill> {
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.stream.read(room) {
            Ok(got) => self.filled(got),
            Err(error) => idle_or(error),
        }
    }

    /// How many bytes the last fill that got any brought.
    pub(crate) fn last_read(&self) -> usize {
        self.last_read
    }

    /// Takes what bytes are there.
    pub(crate) fn fill_now(&mut self) -> Result<Fill> {
        self.make_room();
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.stream.read_now(room) {
            Ok(got) => self.filled(got),
            Err(error) => idle_or(error),
        }
    }

    /// Waits for bytes for at most `nanos`; fractions of a millisecond count.
    pub(crate) fn wait(&mut self, nanos: u64) -> Result<()> {
        if self.stream.has_buffered() {
            return Ok(());
        }
        let timeout = Timespec::try_from(Duration::from_nanos(nanos)).ok();
        let mut fds = [PollFd::new(self.stream.socket(), PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Error::Io(error.into())),
        }
    }

    fn filled(&mut self, got: usize) -> Result<Fill> {
        if got == 0 {
            return Err(Error::HungUp);
        }
        self.end += got;
        self.last_read = got;
        Ok(Fill::More)
    }

    /// Moves an incomplete frame to the front, and grows the buffer when it fills it.
    fn make_room(&mut self) {
        if self.begin == self.end {
            self.begin = 0;
            self.end = 0;
        } else {
            self.buffer.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        // The first answers are short, and an idle connection gets no more than those.
        if self.end == self.buffer.len() || self.last_read == self.buffer.len() {
            let grown = (self.buffer.len() * 4).clamp(FIRST_READ_BYTES, READ_BYTES);
            self.buffer
                .resize(grown.max(self.end * 2).max(self.buffer.len()), 0);
        }
    }

    /// Writes as much as the peer takes, up to PATIENCE; 0 when it takes nothing.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.stream.write(bytes) {
            Ok(0) => Err(Error::HungUp),
            Ok(written) => Ok(written),
            Err(error) => {
                if idle(&error) {
                    return Ok(0);
                }
                // The peer may have said why before it hung up.
                Err(self.last_words().unwrap_or_else(|| hung_up(error)))
            }
        }
    }

    /// Writes all of it, or gives up after `tries` times PATIENCE without progress.
    pub(crate) fn write_all(&mut self, mut bytes: &[u8], mut tries: u32) -> Result<()> {
        while !bytes.is_empty() {
            let written = self.write_some(bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
            if written == 0 {
                tries = tries
                    .checked_sub(1)
                    .ok_or(Error::Timeout("what was sent"))?;
            }
        }
        Ok(())
    }

    /// The reason in a close frame that is waiting to be read.
    fn last_words(&mut self) -> Option<Error> {
        loop {
            while let Some(frame) = self.next_frame().ok()? {
                if let Some((method, arguments)) = frame.method()
                    && (method == wire::CHANNEL_CLOSE || method == wire::CONNECTION_CLOSE)
                {
                    return Some(wire::close_error(method, arguments));
                }
            }
            if self.fill_now().ok()? == Fill::Idle {
                return None;
            }
        }
    }

    /// The socket, for who waits for several.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Closes the socket.
    pub(crate) fn shutdown(&self) {
        // It may be closed already.
        let _ = self.stream.socket().shutdown(Shutdown::Both);
    }
}

fn idle(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn idle_or(error: std::io::Error) -> Result<Fill> {
    if idle(&error) {
        Ok(Fill::Idle)
    } else {
        Err(hung_up(error))
    }
}

fn hung_up(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Error::HungUp,
        _ => Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn frames_larger_than_the_buffer_and_cut_ones_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let mut link = Link::new(Stream::Plain(socket)).unwrap();
        assert_eq!(link.fill_now().unwrap(), Fill::Idle);

        let sizes = [3usize, 700_000, 0, 300_000];
        let writer = std::thread::spawn(move || {
            for size in sizes {
                let mut bytes = Vec::new();
                wire::put_frame(&mut bytes, wire::BODY, 1, &vec![7; size]);
                peer.write_all(&bytes).unwrap();
            }
        });
        let mut got = Vec::new();
        while got.len() < sizes.len() {
            link.fill().unwrap();
            while let Some(frame) = link.next_frame().unwrap() {
                assert!(frame.payload.iter().all(|byte| *byte == 7));
                got.push(frame.payload.len());
            }
        }
        writer.join().unwrap();
        assert_eq!(got, sizes);
        assert!(matches!(link.fill(), Err(Error::HungUp)));
    }
}
