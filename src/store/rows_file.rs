//! The catalogue's rows in one file, written whole and replaced at once.
//!
//! Owns what makes the catalogue survive a kill: sled 1.0-alpha.124 does not always open again after one
//! in the middle of its own opening or flush. So after an unclean stop sled is built anew from this
//! file, and the log behind its position; only a sled that was closed in order is opened.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::io;

const MAGIC: &[u8; 8] = b"WARRENC1";

/// All rows by their keys; one of them says how far the log is in them.
pub(super) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the file of a catalogue in `path` is.
pub(super) fn file(path: &Path) -> PathBuf {
    path.with_extension("rows")
}

/// What says that sled in `path` was closed in order.
pub(super) fn mark(path: &Path) -> PathBuf {
    path.with_extension("clean")
}

/// Writes the file such that it is there as a whole, or as it was.
pub(super) fn write<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    path: &Path,
    rows: impl Iterator<Item = std::io::Result<(K, V)>>,
) -> Result<(), StoreError> {
    let file = file(path);
    let failed = |error| StoreError::io("write", &file, error);
    let mut octets = MAGIC.to_vec();
    for row in rows {
        let (key, value) = row.map_err(|error| StoreError::catalogue("read", error))?;
        for part in [key.as_ref(), value.as_ref()] {
            octets.extend_from_slice(&(part.len() as u32).to_le_bytes());
            octets.extend_from_slice(part);
        }
    }
    octets.extend_from_slice(&crc32c::crc32c(&octets).to_le_bytes());
    let draft = path.with_extension("draft");
    let mut new = File::create(&draft).map_err(failed)?;
    new.write_all(&octets)
        .and_then(|()| new.sync_all())
        .map_err(failed)?;
    std::fs::rename(&draft, &file).map_err(failed)?;
    sync_parent(path)
}

/// Reads the file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Rows>, StoreError> {
    let file = file(path);
    let octets = match std::fs::read(&file) {
        Ok(octets) => octets,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", &file, error)),
    };
    match parse(&octets) {
        Some(rows) => Ok(Some(rows)),
        None => Err(StoreError::catalogue(
            "read",
            format!("{} is damaged", file.display()),
        )),
    }
}

fn parse(octets: &[u8]) -> Option<Rows> {
    let (body, checksum) = octets.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let (key, behind) = part(rest)?;
        let (value, behind) = part(behind)?;
        rows.push((key.to_vec(), value.to_vec()));
        rest = behind;
    }
    Some(rows)
}

fn part(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// Makes a creation, renaming or deletion beside `path` last.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    io::sync_parent(path).map_err(|error| StoreError::io("sync beside", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalogue");
        assert!(read(&path).unwrap().is_none());
        let rows = [
            (b"a".to_vec(), b"1".to_vec()),
            (b"".to_vec(), vec![0xFF; 300]),
        ];
        write(&path, rows.iter().cloned().map(Ok)).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), rows);
        let whole = std::fs::read(file(&path)).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(file(&path), damaged).unwrap();
            assert!(read(&path).is_err(), "octet {at}");
        }
    }
}
