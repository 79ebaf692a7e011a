//! A client that sends what it is told, octet by octet, and waits for what should come.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::octets::{END, Fields, Frame, HEADER, HEARTBEAT, Id, Reader};
use crate::say;

/// How long anything is waited for: far longer than it takes, so that time decides no test.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    /// Lives as long as its clients.
    _broker: Arc<Broker>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, broker: Arc<Broker>) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream.set_write_timeout(Some(WAIT)).unwrap();
        Client {
            stream,
            read: Vec::new(),
            _broker: broker,
        }
    }

    // Sending.

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).expect("cannot send");
    }

    /// Sends as much as the broker takes before it closes; says whether it took all.
    pub(crate) fn try_send(&mut self, octets: &[u8]) -> bool {
        self.stream.write_all(octets).is_ok()
    }

    pub(crate) fn method(&mut self, channel: u16, method: Fields) {
        self.send(&method.on(channel));
    }

    /// Ends the sending half.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends both halves, for all handles on the socket.
    pub(crate) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// A second handle on the socket, for another thread to write to.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    // Receiving.

    /// Fills `self.read` up to `count` octets; `false` if the socket closes before.
    fn fill(&mut self, count: usize) -> bool {
        let mut chunk = [0; 16 * 1024];
        while self.read.len() < count {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => self.read.extend_from_slice(&chunk[..n]),
                // Closed while something of ours was still unread there.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!(
                    "nothing came in {WAIT:?} ({e}); read so far: {:?}",
                    self.read
                ),
            }
        }
        true
    }

    /// The next frame; `None` once the socket is closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        if !self.fill(7) {
            assert!(
                self.read.is_empty(),
                "closed within a frame: {:?}",
                self.read
            );
            return None;
        }
        let size = u32::from_be_bytes(self.read[3..7].try_into().unwrap()) as usize;
        assert!(
            self.fill(size + 8),
            "closed within a frame: {:?}",
            self.read
        );
        let rest = self.read.split_off(size + 8);
        let octets = std::mem::replace(&mut self.read, rest);
        assert_eq!(octets[size + 7], END, "the end octet of {octets:?}");
        Some(Frame {
            kind: octets[0],
            channel: u16::from_be_bytes([octets[1], octets[2]]),
            payload: octets[7..size + 7].to_vec(),
        })
    }

    pub(crate) fn frame(&mut self) -> Frame {
        self.next().expect("the socket was closed")
    }

    /// So many octets, whatever they are.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        assert!(self.fill(count), "closed after {:?}", self.read);
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    /// The fields of the next frame, which must be this method.
    #[track_caller]
    pub(crate) fn expect(&mut self, channel: u16, id: Id) -> Reader {
        let frame = self.frame();
        assert_eq!((frame.channel, frame.id()), (channel, id), "{frame:?}");
        frame.fields()
    }

    /// A method with content: its fields, and the body.
    #[track_caller]
    pub(crate) fn content(&mut self, channel: u16, id: Id) -> (Reader, Vec<u8>) {
        let (fields, _, body) = self.content_with_properties(channel, id);
        (fields, body)
    }

    #[track_caller]
    pub(crate) fn content_with_properties(
        &mut self,
        channel: u16,
        id: Id,
    ) -> (Reader, Vec<u8>, Vec<u8>) {
        let fields = self.expect(channel, id);
        let header = self.frame();
        assert_eq!(
            (header.kind, header.channel),
            (HEADER, channel),
            "{header:?}"
        );
        let mut reader = header.reader();
        assert_eq!((reader.u16(), reader.u16()), (60, 0), "{header:?}");
        let size = reader.u64() as usize;
        let mut body = Vec::new();
        while body.len() < size {
            let frame = self.frame();
            let due = (crate::octets::BODY, channel);
            assert_eq!((frame.kind, frame.channel), due, "{frame:?}");
            body.extend(frame.payload);
        }
        assert_eq!(body.len(), size);
        (fields, reader.rest(), body)
    }

    /// That the socket closes without another frame but heartbeats.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        while let Some(frame) = self.next() {
            assert_eq!(
                frame.kind, HEARTBEAT,
                "nothing was due but the end: {frame:?}"
            );
        }
    }

    /// Reads to the end of the connection, whatever comes.
    pub(crate) fn drain(&mut self) {
        while self.next().is_some() {}
    }

    /// That the channel is closed with this; leaves the answer to the caller.
    #[track_caller]
    pub(crate) fn expect_channel_close(&mut self, channel: u16, code: u16, text: &str, id: Id) {
        let mut close = self.expect(channel, say::CHANNEL_CLOSE);
        let got = (close.u16(), close.short(), (close.u16(), close.u16()));
        assert_eq!(got, (code, text.to_owned(), id));
    }

    /// That the connection is closed with this; then answers, and sees the socket close.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16, text: &str, id: Id) {
        let mut close = self.expect(0, say::CLOSE);
        let got = (close.u16(), close.short(), (close.u16(), close.u16()));
        assert_eq!(got, (code, text.to_owned(), id));
        let _ = self.try_send(&say::close_ok().on(0));
        self.expect_end();
    }

    // What most tests begin and end with.

    pub(crate) fn open(&mut self, options: &say::Options) {
        self.send(say::AMQP_0_9_1);
        self.expect(0, say::START);
        self.method(0, say::start_ok(options));
        self.expect(0, say::TUNE);
        self.method(0, say::tune_ok(options));
        self.method(0, say::open(options.vhost));
        self.expect(0, say::OPEN_OK);
    }

    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.method(channel, say::channel_open());
        self.expect(channel, say::CHANNEL_OPEN_OK);
    }

    /// The queue's name, which is the broker's if `name` is empty.
    pub(crate) fn declare_queue(&mut self, channel: u16, name: &str, bits: u8) -> String {
        self.method(channel, say::queue_declare(name, bits));
        self.expect(channel, say::QUEUE_DECLARE_OK).short()
    }

    /// That everything sent so far on the channel was taken and nothing was said about it.
    #[track_caller]
    pub(crate) fn check_quiet(&mut self, channel: u16) {
        self.method(channel, say::flow(true));
        self.expect(channel, say::FLOW_OK);
    }

    /// Closes in good order.
    #[track_caller]
    pub(crate) fn close(mut self) {
        self.method(0, say::close());
        self.expect(0, say::CLOSE_OK);
        self.expect_end();
    }
}
