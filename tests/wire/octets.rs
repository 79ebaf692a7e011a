//! Frames and fields as octets, both ways, by hand: the tests share no code with the broker.

use std::fmt;

pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 8;
pub(crate) const END: u8 = 0xCE;

/// Class and method.
pub(crate) type Id = (u16, u16);

/// A frame's octets.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = head(kind, channel, payload.len() as u32);
    octets.extend_from_slice(payload);
    octets.push(END);
    octets
}

/// The seven octets in front of a payload.
pub(crate) fn head(kind: u8, channel: u16, size: u32) -> Vec<u8> {
    let mut octets = vec![kind];
    octets.extend_from_slice(&channel.to_be_bytes());
    octets.extend_from_slice(&size.to_be_bytes());
    octets
}

/// The payload of a method frame in the making.
#[derive(Clone)]
pub(crate) struct Fields(pub(crate) Vec<u8>);

/// A method without fields yet.
pub(crate) fn method((class, id): Id) -> Fields {
    Fields(Vec::new()).u16(class).u16(id)
}

impl Fields {
    pub(crate) fn raw(mut self, octets: &[u8]) -> Self {
        self.0.extend_from_slice(octets);
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn short(self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.u8(text.len() as u8).raw(text)
    }

    /// A long string, or a table given as its entries.
    pub(crate) fn long(self, octets: impl AsRef<[u8]>) -> Self {
        let octets = octets.as_ref();
        self.u32(octets.len() as u32).raw(octets)
    }

    /// Its frame.
    pub(crate) fn on(&self, channel: u16) -> Vec<u8> {
        frame(METHOD, channel, &self.0)
    }
}

/// The rest of a method's fields, read from the front.
pub(crate) struct Reader(Vec<u8>);

impl Reader {
    pub(crate) fn new(octets: &[u8]) -> Self {
        Reader(octets.to_vec())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        assert!(
            self.0.len() >= count,
            "{count} octets wanted of {:?}",
            self.0
        );
        let rest = self.0.split_off(count);
        std::mem::replace(&mut self.0, rest)
    }

    fn number(&mut self, octets: usize) -> u64 {
        let octets = self.take(octets);
        octets.iter().fold(0, |n, &o| n << 8 | u64::from(o))
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.number(1) as u8
    }

    pub(crate) fn u16(&mut self) -> u16 {
        self.number(2) as u16
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.number(4) as u32
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.number(8)
    }

    pub(crate) fn short(&mut self) -> String {
        let len = self.number(1) as usize;
        String::from_utf8(self.take(len)).unwrap()
    }

    pub(crate) fn long(&mut self) -> Vec<u8> {
        let len = self.number(4) as usize;
        self.take(len)
    }

    pub(crate) fn rest(self) -> Vec<u8> {
        self.0
    }
}

/// A frame that came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) channel: u16,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Which method it is; (0, 0) if none.
    pub(crate) fn id(&self) -> Id {
        match (self.kind, self.payload.first_chunk()) {
            (METHOD, Some(&[c0, c1, m0, m1])) => {
                (u16::from_be_bytes([c0, c1]), u16::from_be_bytes([m0, m1]))
            }
            _ => (0, 0),
        }
    }

    /// A method's fields.
    pub(crate) fn fields(&self) -> Reader {
        Reader::new(&self.payload[4..])
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::new(&self.payload)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.payload[..self.payload.len().min(300)];
        let (kind, channel, len) = (self.kind, self.channel, self.payload.len());
        write!(f, "frame type {kind} on channel {channel}, {len} octets")?;
        if kind == METHOD {
            write!(f, ", method {:?}", self.id())?;
        }
        write!(f, ": {}", shown.escape_ascii())
    }
}
