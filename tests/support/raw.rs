//! A client of a few octets, for what a proper client never does: ignoring a close, for one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::LIMIT;

const FRAME_END: u8 = 0xCE;

/// Class and method ids.
const START: (u16, u16) = (10, 10);
const TUNE: (u16, u16) = (10, 30);
const OPEN_OK: (u16, u16) = (10, 41);
const CLOSE: (u16, u16) = (10, 50);
const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const CONSUME: (u16, u16) = (60, 20);
const CONSUME_OK: (u16, u16) = (60, 21);

/// Frame types.
const METHOD: u8 = 1;
const BODY: u8 = 3;

/// An open connection that answers nothing by itself.
pub(crate) struct RawClient(TcpStream);

impl RawClient {
    /// Logs in as guest and opens the default vhost, without heartbeats.
    pub(crate) fn open(address: SocketAddr) -> RawClient {
        RawClient::open_with(address, 0)
    }

    /// The same with an interval of heartbeats, which it never sends.
    pub(crate) fn open_with(address: SocketAddr, heartbeat_s: u8) -> RawClient {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = RawClient(stream);
        client.0.write_all(b"AMQP\x00\x00\x09\x01").unwrap();
        client.expect(START);
        let mut start_ok = vec![0, 0, 0, 0];
        start_ok.extend(b"\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US");
        client.send((10, 11), &start_ok);
        let tune = client.expect(TUNE);
        let mut tune_ok = tune[..6].to_vec();
        tune_ok.extend([0, heartbeat_s]);
        client.send((10, 31), &tune_ok);
        client.send((10, 40), b"\x01/\x00\x00");
        client.expect(OPEN_OK);
        client
    }

    /// Waits for connection.close: its code and text.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        let close = self.expect(CLOSE);
        let text = &close[3..3 + usize::from(close[2])];
        let code = u16::from_be_bytes([close[0], close[1]]);
        (code, String::from_utf8(text.to_vec()).unwrap())
    }

    /// Consumes from a queue on channel 1 until `count` messages with a body have come.
    pub(crate) fn take_from(&mut self, queue: &str, count: usize) {
        self.send_on(1, CHANNEL_OPEN, &[0]);
        self.expect(CHANNEL_OPEN_OK);
        let mut consume = vec![0, 0, queue.len() as u8];
        consume.extend(queue.as_bytes());
        consume.extend([0; 6]);
        self.send_on(1, CONSUME, &consume);
        self.expect(CONSUME_OK);
        let mut bodies = 0;
        while bodies < count {
            bodies += usize::from(self.frame().0 == BODY);
        }
    }

    /// Waits until the broker has closed the socket, whatever it sends before.
    pub(crate) fn gone(&mut self) {
        let mut octets = [0; 1024];
        while self.0.read(&mut octets).unwrap() > 0 {}
    }

    fn send(&mut self, method: (u16, u16), arguments: &[u8]) {
        self.send_on(0, method, arguments);
    }

    fn send_on(&mut self, channel: u8, (class_id, method_id): (u16, u16), arguments: &[u8]) {
        let mut frame = vec![METHOD, 0, channel];
        frame.extend((arguments.len() as u32 + 4).to_be_bytes());
        frame.extend(class_id.to_be_bytes());
        frame.extend(method_id.to_be_bytes());
        frame.extend(arguments);
        frame.push(FRAME_END);
        self.0.write_all(&frame).unwrap();
    }

    fn expect(&mut self, (class_id, method_id): (u16, u16)) -> Vec<u8> {
        let (kind, mut payload) = self.frame();
        let ids = [class_id.to_be_bytes(), method_id.to_be_bytes()].concat();
        assert_eq!(
            (kind, &payload[..4]),
            (METHOD, &ids[..]),
            "another method came"
        );
        payload.split_off(4)
    }

    /// Type and payload of the next frame.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut payload = vec![0; len + 1];
        self.0.read_exact(&mut payload).unwrap();
        assert_eq!(payload.pop(), Some(FRAME_END));
        (head[0], payload)
    }
}
