//! A client over any stream: logs in, sends a message to itself, and sees how it ends.

use std::io::{self, Read, Write};

const FRAME_END: u8 = 0xCE;

/// Class and method ids.
pub(crate) const START: (u16, u16) = (10, 10);
pub(crate) const TUNE: (u16, u16) = (10, 30);
pub(crate) const OPEN_OK: (u16, u16) = (10, 41);
pub(crate) const CLOSE: (u16, u16) = (10, 50);

/// See the module.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Client { stream }
    }

    /// Sends the protocol header; the mechanisms that are offered.
    pub(crate) fn start(&mut self) -> String {
        self.stream.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        let start = self.expect(START);
        // Versions, server-properties, then two long strings.
        let table = u32::from_be_bytes(start[2..6].try_into().unwrap()) as usize;
        let rest = &start[6 + table..];
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        String::from_utf8(rest[4..4 + len].to_vec()).unwrap()
    }

    /// Answers with a mechanism; wants connection.close when it is refused.
    pub(crate) fn start_ok(&mut self, mechanism: &str, response: &[u8]) {
        let capabilities = b"\x1cauthentication_failure_closet\x01\x16consumer_cancel_notifyt\x01";
        let mut properties = b"\x0ccapabilitiesF".to_vec();
        properties.extend((capabilities.len() as u32).to_be_bytes());
        properties.extend(capabilities);
        let mut start_ok = (properties.len() as u32).to_be_bytes().to_vec();
        start_ok.extend(properties);
        start_ok.push(mechanism.len() as u8);
        start_ok.extend(mechanism.as_bytes());
        start_ok.extend((response.len() as u32).to_be_bytes());
        start_ok.extend(response);
        start_ok.extend(b"\x05en_US");
        self.send(0, (10, 11), &start_ok);
    }

    /// Logs in and opens the default vhost.
    pub(crate) fn open(&mut self, mechanism: &str, response: &[u8]) {
        self.start();
        self.start_ok(mechanism, response);
        let tune = self.expect(TUNE);
        self.send(0, (10, 31), &[&tune[..6], &[0, 0]].concat());
        self.send(0, (10, 40), b"\x01/\x00\x00");
        self.expect(OPEN_OK);
    }

    /// The same as guest.
    pub(crate) fn open_as_guest(&mut self) {
        self.open("PLAIN", b"\x00guest\x00guest");
    }

    /// Waits for connection.close: its code and text.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let close = self.expect(CLOSE);
        let text = &close[3..3 + usize::from(close[2])];
        let code = u16::from_be_bytes([close[0], close[1]]);
        (code, String::from_utf8(text.to_vec()).unwrap())
    }

    /// Sends bodies of these sizes through a queue of its own, all before it reads the first.
    pub(crate) fn echo(&mut self, sizes: &[usize]) {
        self.echo_on(1, sizes);
    }

    /// The same on a channel that is not open yet.
    pub(crate) fn echo_on(&mut self, channel: u8, sizes: &[usize]) {
        self.send(channel, (20, 10), &[0]);
        self.expect((20, 11));
        // Server-named and exclusive.
        self.send(channel, (50, 10), &[0, 0, 0, 0b0100, 0, 0, 0, 0]);
        let declared = self.expect((50, 11));
        let name = declared[1..1 + usize::from(declared[0])].to_vec();
        let mut consume = [&[0, 0, name.len() as u8][..], &name].concat();
        consume.extend([0, 0b0010, 0, 0, 0, 0]);
        self.send(channel, (60, 20), &consume);
        self.expect((60, 21));
        for (number, &size) in sizes.iter().enumerate() {
            let publish = [&[0, 0, 0, name.len() as u8][..], &name, &[0]].concat();
            self.send(channel, (60, 40), &publish);
            let mut header = vec![0, 60, 0, 0];
            header.extend((size as u64).to_be_bytes());
            header.extend([0, 0]);
            self.frame(2, channel, &header);
            for piece in body(number, size).chunks(100_000) {
                self.frame(3, channel, piece);
            }
        }
        for (number, &size) in sizes.iter().enumerate() {
            self.expect((60, 60));
            assert_eq!(self.next_frame().0, 2);
            let mut got = Vec::new();
            while got.len() < size {
                let (kind, piece) = self.next_frame();
                assert_eq!(kind, 3);
                got.extend(piece);
            }
            assert!(got == body(number, size), "body {number} of {size} octets");
        }
    }

    /// Publishes an empty message by the default exchange.
    pub(crate) fn publish(&mut self, channel: u8, key: &str) {
        let fields = [&[0, 0, 0, key.len() as u8][..], key.as_bytes(), &[0]].concat();
        self.send(channel, (60, 40), &fields);
        self.frame(2, channel, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Closes in good order.
    pub(crate) fn close(&mut self) {
        self.send(0, (10, 50), &[0, 200, 0, 0, 0, 0, 0]);
        self.expect((10, 51));
    }

    /// What the broker sends until the stream ends, or why it broke.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(|_| rest)
    }

    pub(crate) fn send(&mut self, channel: u8, (class, method): (u16, u16), arguments: &[u8]) {
        let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(1, channel, &[&ids, arguments].concat());
    }

    pub(crate) fn frame(&mut self, kind: u8, channel: u8, payload: &[u8]) {
        let mut frame = vec![kind, 0, channel];
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(FRAME_END);
        self.stream.write_all(&frame).unwrap();
    }

    pub(crate) fn expect(&mut self, (class, method): (u16, u16)) -> Vec<u8> {
        let (kind, mut payload) = self.next_frame();
        let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
        let seen = (kind, &payload[..4]);
        assert_eq!(seen, (1, &ids[..]), "another frame came: {payload:?}");
        payload.split_off(4)
    }

    pub(crate) fn next_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 7];
        self.stream.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = vec![0; len + 1];
        self.stream.read_exact(&mut payload).unwrap();
        assert_eq!(payload.pop(), Some(FRAME_END));
        (head[0], payload)
    }
}

/// Octets that differ from one message and place to the next.
fn body(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 7 + number) as u8).collect()
}
