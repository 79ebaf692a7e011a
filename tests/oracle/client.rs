//! One connection to a broker: writes octets, reads frames, and tells them as lines of text.
//!
//! Knows no scenario. Does what every client does unasked: answers a close, ignores heartbeats.
//! An ack that covers several publishes is told as one for each: how a broker bundles them is not
//! promised. Frames are told in the order they came on their channel; between channels there is
//! none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::spec;
use super::value::{Octets, digits, shown};
use super::wire::{FRAME_END, Item, frame, head, item, method_text, properties_text, word};

/// When a wait is over.
pub(crate) enum Until<'a> {
    /// So many items came.
    Count(usize),
    /// One of these methods came.
    Methods(&'a [String]),
    /// This method came.
    Method(&'static str),
    /// The broker closed the socket.
    End,
    /// A heartbeat came.
    Heartbeat,
}

struct Content {
    text: String,
    name: String,
    properties: Option<String>,
    size: u64,
    body: Vec<u8>,
    frames: Vec<usize>,
}

/// Publishes in confirm mode that have no answer yet.
#[derive(Default)]
struct Confirms {
    published: u64,
    open: BTreeSet<u64>,
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
    items: VecDeque<Item>,
    contents: BTreeMap<u16, Content>,
    confirms: BTreeMap<u16, Confirms>,
    heartbeats: usize,
    ended: bool,
    told_end: bool,
    /// Whether a close is answered unasked.
    pub(crate) answers: bool,
    /// Whether the handshake came to its end.
    pub(crate) opened: bool,
    /// Channels opened and not closed since.
    pub(crate) channels: BTreeSet<u16>,
}

impl Client {
    /// Connects the socket, and sends nothing.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker accepts connections");
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            unread: Vec::new(),
            items: VecDeque::new(),
            contents: BTreeMap::new(),
            confirms: BTreeMap::new(),
            heartbeats: 0,
            ended: false,
            told_end: false,
            answers: true,
            opened: false,
            channels: BTreeSet::new(),
        }
    }

    /// Writes octets. A socket the broker has closed swallows them.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets);
    }

    /// Writes a frame.
    pub(crate) fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.write(&frame(kind, channel, payload));
    }

    /// Counts a publish, if its channel confirms them.
    pub(crate) fn published(&mut self, channel: u16) {
        if let Some(confirms) = self.confirms.get_mut(&channel) {
            confirms.published += 1;
            confirms.open.insert(confirms.published);
        }
    }

    /// Closes the socket without a word.
    pub(crate) fn drop_socket(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.ended = true;
        self.told_end = true;
    }

    /// Whether the socket is closed and everything was told.
    pub(crate) fn is_over(&self) -> bool {
        self.told_end
    }

    /// What came on a channel until a condition holds, a close came, or the socket ended. A line
    /// `timeout` says that it did not in time.
    pub(crate) fn wait(&mut self, channel: u16, until: &Until<'_>, limit: Duration) -> Vec<Item> {
        let deadline = Instant::now() + limit;
        let mut out: Vec<Item> = Vec::new();
        loop {
            while let Some(item) = self.next_of(channel) {
                let closed = item.name == "connection.close";
                let stop = closed
                    || match until {
                        Until::Count(n) => out.len() + 1 >= *n,
                        Until::Methods(names) => {
                            names.contains(&item.name) || item.name == "channel.close"
                        }
                        Until::Method(name) => item.name == *name || item.name == "channel.close",
                        Until::End | Until::Heartbeat => false,
                    };
                out.push(item);
                if closed && self.answers {
                    self.await_end(deadline, &mut out);
                    return out;
                }
                if stop {
                    return out;
                }
            }
            if matches!(until, Until::Heartbeat) && self.heartbeats > 0 {
                self.heartbeats = 0;
                out.push(word(0, "heartbeat"));
                return out;
            }
            if self.ended {
                self.told_end = true;
                out.push(word(0, "eof"));
                return out;
            }
            if !self.read(deadline) {
                out.push(word(channel, "timeout"));
                return out;
            }
        }
    }

    /// Everything that came so far, on all channels.
    pub(crate) fn rest(&mut self) -> Vec<Item> {
        self.items.drain(..).collect()
    }

    fn await_end(&mut self, deadline: Instant, out: &mut Vec<Item>) {
        self.told_end = true;
        while !self.ended {
            if !self.read(deadline) {
                out.push(word(0, "timeout"));
                return;
            }
        }
    }

    /// A close of the connection goes before what other channels still have to say.
    fn next_of(&mut self, channel: u16) -> Option<Item> {
        let mine = |i: &Item| i.channel == channel || i.name == "connection.close";
        let at = self.items.iter().position(mine)?;
        self.items.remove(at)
    }

    /// Reads once. `false` means that nothing came in time.
    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 16384];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(n) => self.unread.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.ended = true,
        }
        while self.take_frame() {}
        true
    }

    fn take_frame(&mut self) -> bool {
        if self.unread.starts_with(b"AMQP") {
            if self.unread.len() < 8 {
                return false;
            }
            let header: Vec<u8> = self.unread.drain(..8).collect();
            let text = format!("protocol-header {}", digits(&header[4..]));
            self.items.push_back(item(0, "protocol-header", text));
            return true;
        }
        let mut from = Octets(&self.unread);
        let Some((kind, channel, size)) = head(&mut from) else {
            return false;
        };
        let Some(payload) = from.take(size).map(<[u8]>::to_vec) else {
            return false;
        };
        let Some(end) = from.take(1) else {
            return false;
        };
        if end != [FRAME_END] {
            let text = format!("a frame that ends in {}", digits(end));
            self.items.push_back(item(channel, "fault", text));
        }
        self.unread.drain(..size + 8);
        self.take(kind, channel, &payload);
        true
    }

    fn take(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let fault = || {
            let text = format!("frame {kind} {}", digits(payload));
            item(channel, "frame", text)
        };
        match kind {
            1 => match self.method(channel, payload) {
                Some(()) => {}
                None => self.items.push_back(fault()),
            },
            2 | 3 => match self.content(kind, channel, payload) {
                Some(()) => {}
                None => self.items.push_back(fault()),
            },
            8 if payload.is_empty() && channel == 0 => self.heartbeats += 1,
            _ => self.items.push_back(fault()),
        }
    }

    fn method(&mut self, channel: u16, payload: &[u8]) -> Option<()> {
        let mut from = Octets(payload);
        let id = (from.number(2)? as u16, from.number(2)? as u16);
        let method = spec::by_id(id)?;
        let text = method_text(method, &mut from)?;
        if method.has_content() {
            let content = Content {
                text,
                name: method.name.to_owned(),
                properties: None,
                size: 0,
                body: Vec::new(),
                frames: Vec::new(),
            };
            self.contents.insert(channel, content);
            return Some(());
        }
        match method.name {
            "basic.ack" | "basic.nack" if self.confirms.contains_key(&channel) => {
                let mut fields = Octets(&payload[4..]);
                let (tag, bits) = (fields.number(8)?, fields.number(1)?);
                self.confirmed(channel, method.name, tag, bits & 1 != 0);
                return Some(());
            }
            "confirm.select-ok" => {
                self.confirms.entry(channel).or_default();
            }
            "channel.open-ok" => {
                self.channels.insert(channel);
            }
            "channel.close" | "channel.close-ok" => {
                self.channels.remove(&channel);
                self.confirms.remove(&channel);
                if self.answers && method.name == "channel.close" {
                    self.frame(1, channel, &[0, 20, 0, 41]);
                }
            }
            "connection.open-ok" => self.opened = true,
            // Whether the broker or the client then closes the socket first does not matter.
            "connection.close-ok" if self.answers => self.told_end = true,
            "connection.close" if self.answers => self.frame(1, 0, &[0, 10, 0, 51]),
            _ => {}
        }
        self.items.push_back(item(channel, method.name, text));
        Some(())
    }

    fn confirmed(&mut self, channel: u16, name: &str, tag: u64, multiple: bool) {
        let open = &mut self.confirms.get_mut(&channel).unwrap().open;
        let tags: Vec<u64> = match multiple {
            true => open.range(..=tag).copied().collect(),
            false => vec![tag],
        };
        for tag in tags {
            let known = match open.remove(&tag) {
                true => "",
                false => " (not awaited)",
            };
            let text = format!("{name} delivery_tag={tag}{known}");
            self.items.push_back(item(channel, name, text));
        }
    }

    fn content(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Option<()> {
        let content = self.contents.get_mut(&channel)?;
        if kind == 2 {
            let mut from = Octets(payload);
            from.take(4)?;
            content.size = from.number(8)?;
            content.properties = Some(properties_text(&mut from)?);
        } else {
            content.properties.as_ref()?;
            content.body.extend_from_slice(payload);
            content.frames.push(payload.len());
        }
        if content.body.len() as u64 >= content.size {
            let content = self.contents.remove(&channel)?;
            let mut text = content.text + &content.properties?;
            text += &format!(" body={}", shown(&content.body));
            if content.frames.len() > 1 {
                text += &format!(" frames={:?}", content.frames);
            }
            self.items.push_back(item(channel, &content.name, text));
        }
        Some(())
    }
}
