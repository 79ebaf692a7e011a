//! Reading messages and pages back from the log while it is being written.
//!
//! Owns a few open files. Verifies every record by its own checksum. Never reads a batch as a whole
//! and never decides what becomes of a message that cannot be read.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::LogPos;
use crate::base::index::IndexEntry;

use super::error::ReadError;
use super::format::{Cursor, RECORD_HEADER_BYTES, file_name};
use super::health::Health;
use super::io::{Io, IoFile};
use super::options::{READ_SLACK_BYTES, READ_WINDOW_BYTES, READER_FILES_MAX};
use super::record::{self, Record};
use super::spill::{Place, Spill};

/// Reads records whose positions are below [`Log::durable`](super::Log::durable), or in the spill, on any thread.
/// Cheap to make; one that is kept has its files open already.
pub struct Reader {
    io: Arc<dyn Io>,
    health: Arc<Health>,
    /// The last used one at the front.
    files: VecDeque<(u32, Arc<dyn IoFile>)>,
    /// Where positions in the spill are read.
    spill: Option<Arc<Spill>>,
}

impl Reader {
    pub(crate) fn new(io: Arc<dyn Io>, health: Arc<Health>) -> Reader {
        Reader {
            io,
            health,
            files: VecDeque::new(),
            spill: None,
        }
    }

    /// The same that also reads what is in the spill.
    pub(crate) fn with_spill(self, spill: Arc<Spill>) -> Reader {
        Reader {
            spill: Some(spill),
            ..self
        }
    }

    /// The entries of the page whose record is at `pos`, gone or not.
    ///
    /// # Errors
    ///
    /// [`ReadError`], which names file and offset.
    pub fn page(&mut self, pos: LogPos) -> Result<Vec<IndexEntry>, ReadError> {
        self.health.page_read();
        let window = self.window(pos, PAGE_READ_BYTES)?;
        let (kind, payload) = self.record(&window, pos)?;
        match record::decode(kind, &payload) {
            Ok(Record::Page(page)) => Ok(page.entries),
            _ => Err(ReadError::damaged(pos, "it is not a page")),
        }
    }

    /// Calls `visit` for each of `positions`, with its index, in turn. What it gets is the message as
    /// given to [`Batch::publish`](super::Batch::publish), a slice of what was read with one call
    /// for many: cheapest when the positions are in order.
    pub fn messages(
        &mut self,
        positions: &[LogPos],
        visit: &mut dyn FnMut(usize, Result<Bytes, ReadError>),
    ) {
        self.health.messages_read(positions.len());
        self.published(positions, &mut |index, found| {
            visit(index, found.map(|(_, message)| message));
        });
    }

    /// As [`Reader::messages`], with the time when each was accepted.
    pub(crate) fn published(
        &mut self,
        positions: &[LogPos],
        visit: &mut dyn FnMut(usize, Result<(u64, Bytes), ReadError>),
    ) {
        let mut index = 0;
        while let Some(rest) = positions.get(index..).filter(|rest| !rest.is_empty()) {
            let (len, bytes) = neighbours(rest);
            let first = rest.first().copied().unwrap_or_default();
            let window = self.window(first, bytes);
            for (at, pos) in rest.iter().take(len).enumerate() {
                let message = match &window {
                    // Of the spill, what is written and what is not are read apart.
                    Ok(window) if at > 0 && !window.reaches(*pos) => break,
                    Ok(window) => self.message(window, *pos),
                    Err(error) => Err(error.at(*pos)),
                };
                visit(index, message);
                index += 1;
            }
        }
    }

    fn message(&mut self, window: &Window, pos: LogPos) -> Result<(u64, Bytes), ReadError> {
        let (kind, payload) = self.record(window, pos)?;
        match record::decode(kind, &payload) {
            Ok(Record::Publish(publish) | Record::Move { publish, .. }) => {
                // The message is what a record ends with.
                let start = payload.len() - publish.message.len();
                Ok((publish.stamped_ms, payload.slice(start..)))
            }
            _ => Err(ReadError::damaged(pos, "it is not a message")),
        }
    }

    /// Type and payload of the record at `pos`, which begins in `window`.
    fn record(&mut self, window: &Window, pos: LogPos) -> Result<(u8, Bytes), ReadError> {
        let cut = || ReadError::damaged(pos, "the file ends within the record");
        let at = pos.offset().wrapping_sub(window.offset) as usize;
        let head = window.octets.get(at..).ok_or_else(cut)?;
        let mut cursor = Cursor(head);
        let (Some(bytes), Some(crc)) = (cursor.u32(), cursor.u32()) else {
            return Err(cut());
        };
        let body_at = at + RECORD_HEADER_BYTES - 1;
        let body_end = body_at.saturating_add(bytes as usize);
        let body = if body_end <= window.octets.len() {
            window.octets.slice(body_at..body_end)
        } else {
            self.rest(pos, bytes)?
        };
        if crc32c::crc32c(&body) != crc {
            return Err(ReadError::damaged(pos, "the record's checksum is wrong"));
        }
        let kind = body
            .first()
            .copied()
            .ok_or_else(|| ReadError::damaged(pos, "the record is empty"))?;
        Ok((kind, body.slice(1..)))
    }

    /// The body of a record that is longer than what was read of it.
    fn rest(&mut self, pos: LogPos, bytes: u32) -> Result<Bytes, ReadError> {
        let start = u64::from(pos.offset()) + RECORD_HEADER_BYTES as u64 - 1;
        let file = self.file(pos)?;
        let file_bytes = file
            .len_bytes()
            .map_err(|error| ReadError::io(pos, error))?;
        if start + u64::from(bytes) > file_bytes {
            return Err(ReadError::damaged(pos, "the record's length is wrong"));
        }
        read(&*file, start, bytes as usize).map_err(|error| ReadError::io(pos, error))
    }

    /// Up to `bytes` octets from `pos` on.
    fn window(&mut self, pos: LogPos, mut bytes: usize) -> Result<Window, ReadError> {
        if let Some(spill) = self.spill.as_ref().filter(|_| pos.is_spilled()) {
            match spill.find(pos, bytes) {
                Place::Memory(octets) => {
                    let offset = pos.offset();
                    return Ok(Window { offset, octets });
                }
                Place::Gone => return Err(ReadError::io(pos, io::ErrorKind::NotFound.into())),
                Place::File(end) => bytes = bytes.min(end.saturating_sub(pos.offset()) as usize),
            }
        }
        let file = self.file(pos)?;
        let octets = read(&*file, u64::from(pos.offset()), bytes);
        let octets = octets.map_err(|error| ReadError::io(pos, error))?;
        self.health.read(octets.len());
        Ok(Window {
            offset: pos.offset(),
            octets,
        })
    }

    fn file(&mut self, pos: LogPos) -> Result<Arc<dyn IoFile>, ReadError> {
        let segment = pos.segment();
        if pos.is_spilled() {
            // None is kept open: one that is deleted gives its space back at once.
            let opened = match &self.spill {
                Some(spill) => spill.open(segment),
                None => Err(io::ErrorKind::NotFound.into()),
            };
            return opened.map_err(|error| ReadError::io(pos, error));
        }
        if let Some(at) = self.files.iter().position(|(id, _)| *id == segment) {
            if at > 0
                && let Some(used) = self.files.remove(at)
            {
                self.files.push_front(used);
            }
        } else {
            let opened = self.io.open(&file_name(segment));
            let file = opened.map_err(|error| ReadError::io(pos, error))?;
            self.files.push_front((segment, file));
            self.files.truncate(READER_FILES_MAX);
        }
        let front = self.files.front().map(|(_, file)| file.clone());
        front.ok_or_else(|| ReadError::io(pos, io::ErrorKind::NotFound.into()))
    }
}

/// Most pages are shorter.
const PAGE_READ_BYTES: usize = 8 << 10;

/// What one call has read.
struct Window {
    offset: u32,
    octets: Bytes,
}

impl Window {
    /// Whether a record at `pos` begins in it.
    fn reaches(&self, pos: LogPos) -> bool {
        (pos.offset().wrapping_sub(self.offset) as usize) < self.octets.len()
    }
}

/// How many of `positions` one read is good for, and how many octets it asks for.
fn neighbours(positions: &[LogPos]) -> (usize, usize) {
    let Some(first) = positions.first() else {
        return (0, 0);
    };
    let (mut len, mut last) = (1, *first);
    for pos in positions.iter().skip(1) {
        let near = pos.segment() == first.segment()
            && *pos > last
            && pos.0 - last.0 <= GAP_MAX_BYTES
            && (pos.0 - first.0) as usize + READ_SLACK_BYTES <= READ_WINDOW_BYTES;
        if !near {
            break;
        }
        (len, last) = (len + 1, *pos);
    }
    (len, (last.0 - first.0) as usize + READ_SLACK_BYTES)
}

/// Reading over more octets than this costs more than another call.
const GAP_MAX_BYTES: u64 = 64 << 10;

/// Reads up to `bytes` octets; fewer only at the end of the file.
fn read(file: &dyn IoFile, offset: u64, bytes: usize) -> io::Result<Bytes> {
    let mut octets = vec![0; bytes];
    let mut filled = 0;
    while let Some(rest) = octets.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    octets.truncate(filled);
    Ok(octets.into())
}
