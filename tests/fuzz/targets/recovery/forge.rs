//! Files of a log with any records in them, headers and checksums right.
//!
//! Owns the layout as docs/STORAGE.md and the store's own pages give it, written out once more: what the
//! store reads here it has not written.

use arbitrary::Arbitrary;

use super::disk::Disk;

#[derive(Debug, Arbitrary)]
pub struct Forged<'a> {
    /// For each segment its batches, for each batch its records: type and payload.
    segments: Vec<Vec<Vec<(u8, &'a [u8])>>>,
    /// `below`, and all that follows it.
    checkpoint: Option<(u8, u16, &'a [u8])>,
}

const HEADER: usize = 32;

pub fn forge(disk: &Disk, forged: &Forged<'_>) {
    let mut previous_end = 0;
    for (number, batches) in forged.segments.iter().take(4).enumerate() {
        let segment = number as u32 + 1;
        let content = file(segment, previous_end, batches);
        previous_end = content.len() as u32;
        disk.put(format!("{segment:08}.wal"), content);
    }
    if let Some((segment, offset, rest)) = forged.checkpoint {
        let below = u64::from(segment % 5) << 32 | u64::from(offset);
        let mut content = b"WCKP\x02\x01".to_vec();
        content.extend(below.to_le_bytes());
        content.extend(rest);
        content.extend(crc32c::crc32c(&content).to_le_bytes());
        disk.put("checkpoint".to_owned(), content);
    }
}

fn sealed(mut header: Vec<u8>, nonce: u32) -> Vec<u8> {
    header.resize(HEADER - 4, 0);
    header.extend(crc32c::crc32c_append(nonce, &header).to_le_bytes());
    header
}

fn file(segment: u32, previous_end: u32, batches: &[Vec<(u8, &[u8])>]) -> Vec<u8> {
    let nonce = 7_u32;
    let mut header = b"WLOG\x01\0\0\0".to_vec();
    header.extend(
        [segment, previous_end, nonce]
            .map(u32::to_le_bytes)
            .concat(),
    );
    let mut out = sealed(header, 0);
    for records in batches.iter().take(8) {
        let (mut payload, mut crcs) = (Vec::new(), 0);
        for (kind, body) in records.iter().take(16) {
            // Mostly a type that there is.
            let kind = if *kind < 250 { 1 + kind % 9 } else { *kind };
            let body = [&[kind][..], body].concat();
            let head = [body.len() as u32, crc32c::crc32c(&body)]
                .map(u32::to_le_bytes)
                .concat();
            crcs = crc32c::crc32c_append(crcs, &head);
            payload.extend([head, body].concat());
        }
        let mut header = 0xB47C_u16.to_le_bytes().to_vec();
        header.extend([1, 0]);
        header.extend((payload.len() as u32).to_le_bytes());
        let position = u64::from(segment) << 32 | out.len() as u64;
        header.extend(position.to_le_bytes());
        header.extend(position.to_le_bytes());
        header.extend(crcs.to_le_bytes());
        if !payload.is_empty() {
            out.extend(sealed(header, nonce));
            out.extend(payload);
        }
    }
    out
}
