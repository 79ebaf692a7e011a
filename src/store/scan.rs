//! Reading a segment file: headers, batches, records, each verified.
//!
//! Owns the read window. Never decides what a flaw means: `recovery.rs` does.

use std::io;
use std::sync::Arc;

use crate::base::LogPos;

use super::format::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, Cursor, FILE_HEADER_BYTES, FileHeader,
    HeaderFlaw, RECORD_HEADER_BYTES, nonce_of,
};
use super::io::IoFile;
use super::options::READ_WINDOW_BYTES;

/// Reads one segment front to back.
pub(crate) struct SegmentReader {
    file: Arc<dyn IoFile>,
    segment: u32,
    /// Known once the file header has been read.
    nonce: u32,
    file_bytes: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl SegmentReader {
    pub(crate) fn new(file: Arc<dyn IoFile>, segment: u32) -> io::Result<SegmentReader> {
        let file_bytes = file.len_bytes()?;
        Ok(SegmentReader {
            file,
            segment,
            nonce: 0,
            file_bytes,
            window: Vec::new(),
            window_start: 0,
        })
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Reads the file header; to be called first.
    pub(crate) fn file_header(&mut self) -> io::Result<Result<FileHeader, HeaderFlaw>> {
        let segment = self.segment;
        let bytes = self.bytes(0, FILE_HEADER_BYTES as usize)?;
        let header = match bytes.and_then(<[u8]>::first_chunk) {
            Some(header) => FileHeader::decode(header, segment),
            None => Err(HeaderFlaw::Invalid("the file ends within its header")),
        };
        if let Ok(header) = header {
            self.nonce = header.nonce;
        }
        Ok(header)
    }

    /// After a file header that is damaged: learns from the first batch what it said of the checksums. False
    /// if that cannot be read either.
    pub(crate) fn guess_nonce(&mut self) -> io::Result<bool> {
        let (segment, first) = (self.segment, u64::from(FILE_HEADER_BYTES));
        let bytes = self.bytes(first, BATCH_HEADER_BYTES as usize)?;
        let Some(header) = bytes.and_then(<[u8]>::first_chunk) else {
            return Ok(false);
        };
        let nonce = nonce_of(header);
        let position = LogPos::new(segment, FILE_HEADER_BYTES);
        if BatchHeader::decode(header, position, nonce).is_err() {
            return Ok(false);
        }
        self.nonce = nonce;
        Ok(true)
    }

    /// The records of the batch at `offset`, all of them verified.
    pub(crate) fn batch(&mut self, offset: u32) -> io::Result<Result<&[u8], HeaderFlaw>> {
        let position = LogPos::new(self.segment, offset);
        let start = u64::from(offset);
        let header = match self.header_at(start, position)? {
            Ok(header) => header,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let total = BATCH_HEADER_BYTES as usize + header.payload_bytes as usize;
        let Some(bytes) = self.bytes(start, total)? else {
            return Ok(Err(HeaderFlaw::Invalid("the file ends within the batch")));
        };
        let payload = bytes.get(BATCH_HEADER_BYTES as usize..).unwrap_or_default();
        Ok(match verify(payload, header.records_crc) {
            Ok(()) => Ok(payload),
            Err(reason) => Err(HeaderFlaw::Invalid(reason)),
        })
    }

    fn header_at(
        &mut self,
        start: u64,
        position: LogPos,
    ) -> io::Result<Result<BatchHeader, HeaderFlaw>> {
        let nonce = self.nonce;
        let bytes = self.bytes(start, BATCH_HEADER_BYTES as usize)?;
        Ok(match bytes.and_then(<[u8]>::first_chunk) {
            Some(header) => BatchHeader::decode(header, position, nonce),
            None => Err(HeaderFlaw::Invalid("the file ends within a batch header")),
        })
    }

    /// Looks behind `flawed` for a batch that was written after everything at `flawed` had been
    /// synced, and returns its offset: the proof that the flaw is damage and not a torn tail.
    pub(crate) fn proof_of_damage(&mut self, flawed: u32) -> io::Result<Option<u32>> {
        let position = LogPos::new(self.segment, flawed);
        self.find_batch(flawed, |batch| batch.synced > position)
    }

    /// Offset of the next batch behind `offset`, if there is one; it may be damaged as well.
    pub(crate) fn next_batch(&mut self, offset: u32) -> io::Result<Option<u32>> {
        self.find_batch(offset, |_| true)
    }

    /// Offset of the first batch behind `behind` whose header is whole and accepted.
    fn find_batch(
        &mut self,
        behind: u32,
        accepts: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<u32>> {
        let (segment, nonce) = (self.segment, self.nonce);
        let mut offset = u64::from(behind) + 1;
        while offset + u64::from(BATCH_HEADER_BYTES) <= self.file_bytes {
            let wanted = (self.file_bytes - offset).min(READ_WINDOW_BYTES as u64) as usize;
            let Some(bytes) = self.bytes(offset, wanted)? else {
                return Ok(None);
            };
            // A header may lie across two windows: the next one begins before this one's end.
            let last = wanted - BATCH_HEADER_BYTES as usize;
            for (index, candidate) in bytes
                .windows(BATCH_HEADER_BYTES as usize)
                .enumerate()
                .take(last + 1)
            {
                let Some(header) = candidate.first_chunk() else {
                    continue;
                };
                if !candidate.starts_with(&BATCH_MAGIC) {
                    continue;
                }
                let Ok(found) = u32::try_from(offset + index as u64) else {
                    return Ok(None);
                };
                if let Ok(batch) = BatchHeader::decode(header, LogPos::new(segment, found), nonce)
                    && accepts(&batch)
                {
                    return Ok(Some(found));
                }
            }
            offset += last as u64 + 1;
        }
        Ok(None)
    }

    /// What is left of the batch at `offset`, which is damaged and ends at `end` at the latest.
    pub(crate) fn pieces(&mut self, offset: u32, end: u32) -> io::Result<Vec<Piece<'_>>> {
        let position = LogPos::new(self.segment, offset);
        let start = u64::from(offset) + u64::from(BATCH_HEADER_BYTES);
        let header = self.header_at(offset.into(), position)?.ok();
        let end = match header {
            Some(header) => u64::from(end).min(start + u64::from(header.payload_bytes)),
            None => end.into(),
        };
        let bytes = end.min(self.file_bytes).saturating_sub(start) as usize;
        let payload = self.bytes(start, bytes)?.unwrap_or_default();
        let crc = header
            .filter(|header| header.payload_bytes as usize == bytes)
            .map(|header| header.records_crc);
        Ok(pieces(position, payload, crc))
    }

    /// `n` octets from `offset` on, or `None` if the file ends before. Never allocates for more
    /// than the file has.
    fn bytes(&mut self, offset: u64, n: usize) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset
            .checked_add(n as u64)
            .filter(|end| *end <= self.file_bytes)
        else {
            return Ok(None);
        };
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || end > window_end {
            self.fill(offset, n)?;
        }
        let start = (offset - self.window_start) as usize;
        Ok(self.window.get(start..start + n))
    }

    fn fill(&mut self, offset: u64, n: usize) -> io::Result<()> {
        let available = self.file_bytes - offset;
        let wanted = available.min(READ_WINDOW_BYTES.max(n) as u64) as usize;
        self.window.clear();
        // One huge batch should not keep its memory for the rest of the scan.
        self.window.shrink_to(READ_WINDOW_BYTES.max(n));
        self.window.resize(wanted, 0);
        self.window_start = offset;
        let mut filled = 0;
        while let Some(rest) = self
            .window
            .get_mut(filled..)
            .filter(|rest| !rest.is_empty())
        {
            let read = self.file.read_at(rest, offset + filled as u64)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
        }
        Ok(())
    }
}

/// Checks each record of a batch, and that they are those the header was written for.
fn verify(payload: &[u8], records_crc: u32) -> Result<(), &'static str> {
    let mut cursor = Cursor(payload);
    let mut crc_of_crcs = 0;
    while !cursor.0.is_empty() {
        let Some(fields) = cursor.take(RECORD_HEADER_BYTES - 1) else {
            return Err("a record header is cut short");
        };
        let mut field = Cursor(fields);
        let (Some(bytes), Some(crc)) = (field.u32(), field.u32()) else {
            return Err("a record header is cut short");
        };
        let Some(body) = cursor.take(bytes as usize).filter(|body| !body.is_empty()) else {
            return Err("a record's length is wrong");
        };
        if crc32c::crc32c(body) != crc {
            return Err("a record's checksum is wrong");
        }
        crc_of_crcs = crc32c::crc32c_append(crc_of_crcs, fields);
    }
    if crc_of_crcs != records_crc {
        Err("the batch's checksum is wrong")
    } else {
        Ok(())
    }
}

/// A record of a damaged batch.
pub(crate) struct Piece<'a> {
    pub(crate) position: LogPos,
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
    /// Its checksum is right.
    pub(crate) sound: bool,
}

/// The records of the damaged batch at `batch` that can be told apart. `records_crc` is what a whole header
/// says of their lengths and checksums: if it is right, only what is between them is damaged. Otherwise
/// nothing is believed from the first unsound one on: what follows it may be a client's octets.
fn pieces(batch: LogPos, payload: &[u8], records_crc: Option<u32>) -> Vec<Piece<'_>> {
    let (mut found, mut crc_of_crcs) = (Vec::new(), 0);
    let mut cursor = Cursor(payload);
    loop {
        let offset = BATCH_HEADER_BYTES as usize + payload.len() - cursor.0.len();
        let Some(fields) = cursor.take(RECORD_HEADER_BYTES - 1) else {
            break;
        };
        let mut field = Cursor(fields);
        let (bytes, crc) = (field.u32().unwrap_or(0), field.u32());
        let body = cursor.take(bytes as usize);
        let Some((body, (kind, rest))) = body.and_then(|body| Some((body, body.split_first()?)))
        else {
            break;
        };
        crc_of_crcs = crc32c::crc32c_append(crc_of_crcs, fields);
        found.push(Piece {
            position: LogPos(batch.0 + offset as u64),
            kind: *kind,
            body: rest,
            sound: crc == Some(crc32c::crc32c(body)),
        });
    }
    if records_crc != Some(crc_of_crcs) || !cursor.0.is_empty() {
        let sound = found.iter().take_while(|piece| piece.sound).count();
        found.truncate(sound);
    }
    found
}

/// Position, type and payload of each record of a verified batch that starts at `batch`.
pub(crate) fn records(batch: LogPos, payload: &[u8]) -> impl Iterator<Item = (LogPos, u8, &[u8])> {
    let total = payload.len();
    let mut cursor = Cursor(payload);
    std::iter::from_fn(move || {
        let offset = BATCH_HEADER_BYTES as usize + total - cursor.0.len();
        let bytes = cursor.u32()?;
        let _crc = cursor.u32()?;
        let (kind, body) = cursor.take(bytes as usize)?.split_first()?;
        Some((LogPos(batch.0 + offset as u64), *kind, body))
    })
}
