//! The octets around the records: file headers, batch headers, variable-length numbers.
//!
//! Owns the layout below; never reads or writes a file. All numbers are little-endian.
//!
//! A segment file `log/00000001.wal` is a file header, then batches without gaps:
//!
//! | file header, 32 octets | |
//! |---|---|
//! | magic `WLOG` | 4 |
//! | version, 1 | u16 |
//! | flags, 0 | u16 |
//! | segment id | u32 |
//! | where the previous segment's last batch ended, 0 if there is none | u32 |
//! | nonce, random | u32 |
//! | zeros | 8 |
//! | crc32c of the 28 octets before | u32 |
//!
//! | batch header, 32 octets | |
//! |---|---|
//! | magic 0xB47C | u16 |
//! | version, 1 | u8 |
//! | flags, 0 | u8 |
//! | length of the records in octets, not 0 | u32 |
//! | position: segment (high 32 bits) and offset of this header | u64 |
//! | synced: everything that ends at or before this position was on disk when this was written | u64 |
//! | crc32c over length and crc of each record in turn | u32 |
//! | crc32c of the 28 octets before, continued from the segment's nonce | u32 |
//!
//! Then the records: `{length u32, crc32c u32, type u8, payload}`; length and crc cover the type
//! and the payload. `record.rs` has the types.
//!
//! What each field is for:
//!
//! * The *position* makes what an earlier life of a reused file left behind recognisable as stale,
//!   and the *crc over the record crcs* does so for a batch of which only the header reached the
//!   disk over old records of the same size. So files can be recycled or written with zeros ahead
//!   without a change of format: a batch ends the log when nothing valid follows, not when the
//!   file ends.
//! * *synced* tells a crash from damage. One write may carry many batches, and a power cut may keep
//!   a later one and lose an earlier one; that tail was never promised to anyone. But an invalid
//!   batch before a valid one that was written *after the invalid one had been synced* is damage.
//! * *previous end*: a segment is begun only after the one before it was synced, so anything but
//!   whole batches up to exactly this offset in the earlier file is damage, too.
//! * The *nonce* keeps clients out: a message may contain octets that look like a batch header, and
//!   recovery looks for headers behind a torn place. Only who can read the file can make one that
//!   passes.
//! * A segment's file gets its name when its header is on disk, so a bad file header is damage.
//! * The crc of each record lets a single message be read and verified on its own.

use crate::base::LogPos;

pub(crate) const FILE_HEADER_BYTES: u32 = 32;
pub(crate) const BATCH_HEADER_BYTES: u32 = 32;
/// Length, crc and type.
pub(crate) const RECORD_HEADER_BYTES: usize = 9;

const FILE_MAGIC: [u8; 4] = *b"WLOG";
const FILE_VERSION: u16 = 1;
pub(crate) const BATCH_MAGIC: [u8; 2] = 0xB47C_u16.to_le_bytes();
const BATCH_VERSION: u8 = 1;

/// The name of segment `segment`'s file.
pub(crate) fn file_name(segment: u32) -> String {
    format!("{segment:08}.wal")
}

/// The segment whose file has this name, if it is one.
pub(crate) fn segment_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".wal")?;
    let segment = digits.parse().ok()?;
    // Only our own spelling: "+1.wal" or "1.wal" would otherwise stand for the same segment.
    (segment > 0 && file_name(segment) == name).then_some(segment)
}

/// What a segment file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) segment: u32,
    /// Offset at which the previous segment ended; 0 if there is none.
    pub(crate) previous_end: u32,
    /// What the checksums of the segment's batch headers start from.
    pub(crate) nonce: u32,
}

/// Why a header is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    /// Not written, torn or damaged.
    Invalid(&'static str),
    /// Whole, but of a version this broker does not know.
    Version(u16),
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out[0..4].copy_from_slice(&FILE_MAGIC);
        out[4..6].copy_from_slice(&FILE_VERSION.to_le_bytes());
        out[8..12].copy_from_slice(&self.segment.to_le_bytes());
        out[12..16].copy_from_slice(&self.previous_end.to_le_bytes());
        out[16..20].copy_from_slice(&self.nonce.to_le_bytes());
        seal(&mut out, 0);
        out
    }

    pub(crate) fn decode(bytes: &[u8; 32], segment: u32) -> Result<FileHeader, HeaderFlaw> {
        check_seal(bytes, 0)?;
        let mut cursor = Cursor(bytes);
        let fields = (|| Some((cursor.take(4)?, cursor.u16()?, cursor.u16()?, cursor.u32()?)))();
        let Some((magic, version, _flags, found)) = fields else {
            return Err(HeaderFlaw::Invalid("the file header is too short"));
        };
        if magic != FILE_MAGIC {
            return Err(HeaderFlaw::Invalid("this is not a log segment"));
        }
        if version != FILE_VERSION {
            return Err(HeaderFlaw::Version(version));
        }
        if found != segment {
            return Err(HeaderFlaw::Invalid("the file header names another segment"));
        }
        let (Some(previous_end), Some(nonce)) = (cursor.u32(), cursor.u32()) else {
            return Err(HeaderFlaw::Invalid("the file header is too short"));
        };
        Ok(FileHeader {
            segment,
            previous_end,
            nonce,
        })
    }
}

/// What a batch begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) payload_bytes: u32,
    pub(crate) position: LogPos,
    pub(crate) synced: LogPos,
    pub(crate) records_crc: u32,
}

impl BatchHeader {
    pub(crate) fn encode(&self, nonce: u32) -> [u8; 32] {
        let mut out = [0; 32];
        out[0..2].copy_from_slice(&BATCH_MAGIC);
        out[2] = BATCH_VERSION;
        out[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.position.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.synced.0.to_le_bytes());
        out[24..28].copy_from_slice(&self.records_crc.to_le_bytes());
        seal(&mut out, nonce);
        out
    }

    /// Decodes the header found at `position`.
    pub(crate) fn decode(
        bytes: &[u8; 32],
        position: LogPos,
        nonce: u32,
    ) -> Result<BatchHeader, HeaderFlaw> {
        check_seal(bytes, nonce)?;
        let mut cursor = Cursor(bytes);
        let fields = (|| {
            let prefix = (cursor.take(2)?, cursor.u8()?, cursor.u8()?);
            let header = BatchHeader {
                payload_bytes: cursor.u32()?,
                position: LogPos(cursor.u64()?),
                synced: LogPos(cursor.u64()?),
                records_crc: cursor.u32()?,
            };
            Some((prefix, header))
        })();
        let Some(((magic, version, flags), header)) = fields else {
            return Err(HeaderFlaw::Invalid("the batch header is too short"));
        };
        if magic != BATCH_MAGIC {
            return Err(HeaderFlaw::Invalid("no batch starts here"));
        }
        if header.position != position {
            return Err(HeaderFlaw::Invalid(
                "the batch was written for another place",
            ));
        }
        if version != BATCH_VERSION || flags != 0 {
            return Err(HeaderFlaw::Version(u16::from_le_bytes([version, flags])));
        }
        if header.payload_bytes == 0 {
            return Err(HeaderFlaw::Invalid("the batch is empty"));
        }
        Ok(header)
    }
}

/// Puts the crc of the first 28 octets into the last four.
fn seal(header: &mut [u8; 32], nonce: u32) {
    let crc = crc32c::crc32c_append(nonce, &header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
}

/// What the checksum of a header that is whole started from. Each number leads to another checksum, so
/// there is just one.
pub(crate) fn nonce_of(header: &[u8; 32]) -> u32 {
    let (body, crc) = header.split_at(28);
    let of = |nonce: u32| crc32c::crc32c_append(nonce, body);
    let wanted = crc
        .first_chunk()
        .map_or(0, |crc| u32::from_le_bytes(*crc) ^ of(0));
    // A checksum is linear in what it starts from: what each bit does to it, by the highest bit of that.
    let mut basis = [(0_u32, 0_u32); 32];
    let reduce = |basis: &[(u32, u32); 32], mut sum: u32, mut nonce: u32| {
        while let Some((by, bits)) = basis
            .get(31_usize.wrapping_sub(sum.leading_zeros() as usize))
            .filter(|(by, _)| *by != 0)
        {
            sum ^= by;
            nonce ^= bits;
        }
        (sum, nonce)
    };
    for bit in 0..32 {
        let (sum, nonce) = reduce(&basis, of(1 << bit) ^ of(0), 1 << bit);
        if let Some(place) = basis.get_mut(31_usize.wrapping_sub(sum.leading_zeros() as usize)) {
            *place = (sum, nonce);
        }
    }
    reduce(&basis, wanted, 0).1
}

fn check_seal(header: &[u8; 32], nonce: u32) -> Result<(), HeaderFlaw> {
    if crc32c::crc32c_append(nonce, &header[..28]).to_le_bytes() != header[28..] {
        return Err(HeaderFlaw::Invalid("the header's checksum is wrong"));
    }
    Ok(())
}

/// Reads little-endian numbers off the front of a slice; `None` when it is too short.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of 1 to 10 octets, seven bits each, the lowest first.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let octet = self.u8()?;
            let bits = u64::from(octet & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if octet & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Writes what [`Cursor::varint`] reads.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes `value` as its distance from `previous`, so that near numbers take one or two octets in
/// either direction. Any two numbers are fine: the distance wraps.
pub(crate) fn put_delta(out: &mut Vec<u8>, previous: u64, value: u64) {
    let distance = value.wrapping_sub(previous) as i64;
    put_varint(out, ((distance << 1) ^ (distance >> 63)) as u64);
}

/// Reads what [`put_delta`] wrote.
pub(crate) fn take_delta(cursor: &mut Cursor<'_>, previous: u64) -> Option<u64> {
    let folded = cursor.varint()?;
    let distance = (folded >> 1) ^ (folded & 1).wrapping_neg();
    Some(previous.wrapping_add(distance))
}
