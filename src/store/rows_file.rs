//! The catalogue's rows in one file: all of them, and behind that what changed since, flush by flush.
//!
//! Owns what makes the catalogue survive a kill: sled 1.0-alpha.124 does not always open again after one
//! in the middle of its own opening or flush. So after an unclean stop sled is built anew from this
//! file, and the log behind its position; only a sled that was closed in order is opened.
//!
//! ```text
//! "WARRENC2"
//! group*    length u32, CRC-32C of the rows u32, CRC-32C of the group's offset u64 and the eight octets before u32, rows
//! row       length of the key u32, length of the value u32 (all ones: the row is removed), key, value
//! ```
//!
//! The first group has all rows; the file is written with it and replaced as a whole. A flush is another
//! group, written and synced. When those are longer than the first, or since the broker started none was
//! written, the file is replaced. So a flush costs what has changed, and twice the rows is the most the
//! file takes. A group that is not whole at the end is one whose flush did not return: the log still has
//! what was in it.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use super::error::StoreError;
use super::format::Cursor;
use super::io::{Io, IoFile};

/// Its name in its directory.
pub(super) const NAME: &str = "catalogue.rows";

const MAGIC: &[u8; 8] = b"WARRENC2";

/// The first version: all rows and one checksum, replaced at each flush.
const MAGIC_OLDER: &[u8; 8] = b"WARRENC1";

const GROUP_HEADER: usize = 12;

/// In the place of a value's length: the row is removed.
const REMOVED: u32 = u32::MAX;

/// Groups may be as long as this together before the first one is, so that a small catalogue is not
/// replaced time and again.
const SLACK_BYTES: u64 = 256 << 10;

/// All rows by their keys; one of them says how far the log is in them.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The file while it is written.
pub(super) struct RowsFile {
    io: Arc<dyn Io>,
    /// None until it was replaced: what a stop left at its end is not written behind.
    tail: Option<Tail>,
    /// Rows changed since the last flush, as they will stand in a group.
    changed: Vec<u8>,
    slack_bytes: u64,
}

struct Tail {
    file: Arc<dyn IoFile>,
    end: u64,
    /// Where it is long enough to be replaced.
    replace_at: u64,
}

impl RowsFile {
    pub(super) fn new(io: Arc<dyn Io>) -> RowsFile {
        RowsFile {
            io,
            tail: None,
            changed: Vec::new(),
            slack_bytes: SLACK_BYTES,
        }
    }

    /// As [`Self::new`], replaced sooner.
    #[cfg(test)]
    pub(super) fn with_slack(io: Arc<dyn Io>, slack_bytes: u64) -> RowsFile {
        RowsFile {
            slack_bytes,
            ..RowsFile::new(io)
        }
    }

    /// A row is another one, or none, from the next flush on.
    pub(super) fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        put_row(&mut self.changed, key, value);
    }

    /// Makes all changes last: after a crash all of them are there, or none of this flush. `rows` gives
    /// all that there is with them. After an error other than of a full disk there must be no other flush.
    pub(super) fn flush<K: AsRef<[u8]>, V: AsRef<[u8]>, R>(
        &mut self,
        rows: impl FnOnce() -> R,
    ) -> Result<(), StoreError>
    where
        R: Iterator<Item = std::io::Result<(K, V)>>,
    {
        let failed = |error| StoreError::io("write", NAME, error);
        match &mut self.tail {
            Some(tail) if tail.end < tail.replace_at => {
                let header = header(tail.end, &self.changed);
                let slices = [IoSlice::new(&header), IoSlice::new(&self.changed)];
                tail.file
                    .write_all_at(&slices, tail.end)
                    .and_then(|()| tail.file.sync_data())
                    .map_err(failed)?;
                tail.end += (GROUP_HEADER + self.changed.len()) as u64;
            }
            _ => self.tail = Some(self.replace(rows())?),
        }
        self.changed = Vec::new();
        Ok(())
    }

    /// All that there is, also what was changed since the last flush; `None` if none was made.
    pub(super) fn rows(&self) -> Result<Option<Rows>, StoreError> {
        let rows = read(&*self.io)?;
        Ok(rows.and_then(|mut rows| read_rows(&self.changed, &mut rows).map(|()| rows)))
    }

    fn replace<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        rows: impl Iterator<Item = std::io::Result<(K, V)>>,
    ) -> Result<Tail, StoreError> {
        let failed = |error| StoreError::io("write", NAME, error);
        let mut body = Vec::new();
        for row in rows {
            let (key, value) = row.map_err(|error| StoreError::catalogue("read", error))?;
            put_row(&mut body, key.as_ref(), Some(value.as_ref()));
        }
        let mut octets = Vec::with_capacity(MAGIC.len() + GROUP_HEADER + body.len());
        octets.extend_from_slice(MAGIC);
        octets.extend_from_slice(&header(MAGIC.len() as u64, &body));
        octets.append(&mut body);
        self.io.replace(NAME, &octets).map_err(failed)?;
        let end = octets.len() as u64;
        Ok(Tail {
            file: self.io.open(NAME).map_err(failed)?,
            end,
            replace_at: end * 2 + self.slack_bytes,
        })
    }
}

fn put_row(octets: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    octets.extend_from_slice(&(key.len() as u32).to_le_bytes());
    let len = value.map_or(REMOVED, |value| value.len() as u32);
    octets.extend_from_slice(&len.to_le_bytes());
    octets.extend_from_slice(key);
    octets.extend_from_slice(value.unwrap_or_default());
}

fn header(offset: u64, body: &[u8]) -> [u8; GROUP_HEADER] {
    let (len, checksum) = (body.len() as u32, crc32c::crc32c(body));
    let mut header = [0; GROUP_HEADER];
    let words = [len, checksum, header_checksum(offset, len, checksum)];
    for (place, word) in header.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    header
}

fn header_checksum(offset: u64, len: u32, checksum: u32) -> u32 {
    let own = crc32c::crc32c(&offset.to_le_bytes());
    let own = crc32c::crc32c_append(own, &len.to_le_bytes());
    crc32c::crc32c_append(own, &checksum.to_le_bytes())
}

/// Reads the file; `None` if there is none.
pub(super) fn read(io: &dyn Io) -> Result<Option<Rows>, StoreError> {
    let octets = match io.read(NAME) {
        Ok(octets) => octets,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", NAME, error)),
    };
    let damaged = |at| StoreError::catalogue("read", format!("{NAME} is damaged at offset {at}"));
    if octets.starts_with(MAGIC_OLDER) {
        return match read_older(&octets) {
            Some(rows) => Ok(Some(rows)),
            None => Err(damaged(0)),
        };
    }
    if !octets.starts_with(MAGIC) {
        return Err(damaged(0));
    }
    let (mut rows, mut at) = (Rows::new(), MAGIC.len());
    while at < octets.len() {
        match group(&octets, at) {
            Some(body) => {
                read_rows(body, &mut rows).ok_or_else(|| damaged(at))?;
                at += GROUP_HEADER + body.len();
            }
            // The first one was there as a whole before the file had its name, and each was synced before the
            // next was written.
            None if at == MAGIC.len() || goes_on(&octets, at) => return Err(damaged(at)),
            None => {
                let octets = octets.len() - at;
                tracing::warn!(file = NAME, offset = at, octets, "cutting a torn tail");
                break;
            }
        }
    }
    match at == MAGIC.len() {
        true => Err(damaged(at)),
        false => Ok(Some(rows)),
    }
}

/// What can be read of a damaged file: the rows of all groups that are whole, and of the others those that can
/// be told apart, unverified. With the places of the damaged groups and where each ends.
pub(super) fn salvage(octets: &[u8]) -> (Rows, Vec<(usize, usize)>) {
    let (mut rows, mut damaged) = (Rows::new(), Vec::new());
    let mut at = MAGIC.len().min(octets.len());
    while at < octets.len() {
        if let Some(body) = group(octets, at) {
            // What was whole when it was written.
            let _ = read_rows(body, &mut rows);
            at += GROUP_HEADER + body.len();
            continue;
        }
        let whole = |at: &usize| group(octets, *at).is_some();
        let next = (at + 1..octets.len()).find(whole);
        let next = next.unwrap_or(octets.len());
        let body = octets.get(at + GROUP_HEADER..next).unwrap_or_default();
        let _ = read_rows(body, &mut rows);
        damaged.push((at, next));
        at = next;
    }
    (rows, damaged)
}

/// The rows of the group at `at`, if it is whole.
fn group(octets: &[u8], at: usize) -> Option<&[u8]> {
    let (len, checksum) = group_header(octets, at)?;
    let body = octets.get(at + GROUP_HEADER..)?.get(..len as usize)?;
    (crc32c::crc32c(body) == checksum).then_some(body)
}

fn group_header(octets: &[u8], at: usize) -> Option<(u32, u32)> {
    let mut header = Cursor(octets.get(at..)?);
    let (len, checksum) = (header.u32()?, header.u32()?);
    let own = header.u32()?;
    (own == header_checksum(at as u64, len, checksum)).then_some((len, checksum))
}

/// Whether a group was written behind the one at `at`, which is not whole.
fn goes_on(octets: &[u8], at: usize) -> bool {
    match group_header(octets, at) {
        Some((len, _)) => at + GROUP_HEADER + (len as usize) < octets.len(),
        None => (at + 1..octets.len()).any(|at| group(octets, at).is_some()),
    }
}

fn read_rows(mut body: &[u8], rows: &mut Rows) -> Option<()> {
    while !body.is_empty() {
        let mut cursor = Cursor(body);
        let (key_len, value_len) = (cursor.u32()?, cursor.u32()?);
        let (key, rest) = cursor.0.split_at_checked(key_len as usize)?;
        if value_len == REMOVED {
            rows.remove(key);
            body = rest;
        } else {
            let (value, rest) = rest.split_at_checked(value_len as usize)?;
            rows.insert(key.to_vec(), value.to_vec());
            body = rest;
        }
    }
    Some(())
}

fn read_older(octets: &[u8]) -> Option<Rows> {
    let (body, checksum) = octets.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC_OLDER)?;
    let mut rows = Rows::new();
    while !rest.is_empty() {
        let (key, behind) = part(rest)?;
        let (value, behind) = part(behind)?;
        rows.insert(key.to_vec(), value.to_vec());
        rest = behind;
    }
    Some(rows)
}

fn part(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = octets.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sim::{Fault, Random, SimIo};
    use super::*;

    fn flush(file: &mut RowsFile, rows: &Rows) -> Result<(), StoreError> {
        file.flush(|| rows.iter().map(Ok))
    }

    fn key(number: u64) -> Vec<u8> {
        format!("key {number}").into_bytes()
    }

    /// What a file has after these flushes: the file, where each flush ended, and the rows then.
    fn written() -> (SimIo, Vec<(usize, Rows)>) {
        let disk = SimIo::new(1);
        let mut file = RowsFile::new(Arc::new(disk.clone()));
        let (mut rows, mut states) = (Rows::new(), Vec::new());
        for number in 0..6 {
            rows.insert(key(number), vec![number as u8; 40]);
            file.change(&key(number), Some(&[number as u8; 40]));
            if number == 4 {
                rows.remove(&key(1));
                file.change(&key(1), None);
            }
            flush(&mut file, &rows).unwrap();
            states.push((disk.files()[NAME].len(), rows.clone()));
        }
        (disk, states)
    }

    #[test]
    fn a_flush_writes_what_has_changed_only() {
        let disk = SimIo::new(1);
        let mut file = RowsFile::with_slack(Arc::new(disk.clone()), 0);
        assert!(read(&disk).unwrap().is_none());
        let mut rows: Rows = (0..1000)
            .map(|number| (key(number), vec![7; 100]))
            .collect();
        flush(&mut file, &rows).unwrap();
        let whole = disk.files()[NAME].len();
        let mut longest = 0;
        for round in 0..5000 {
            let (at, value) = (key(round % 1000), round.to_le_bytes());
            rows.insert(at.clone(), value.to_vec());
            file.change(&at, Some(&value));
            let before = disk.files()[NAME].len();
            flush(&mut file, &rows).unwrap();
            let now = disk.files()[NAME].len();
            assert!(now < before + 100, "{before} {now}");
            longest = longest.max(now);
        }
        assert!(longest < 2 * whole + 100, "{longest} {whole}");
        assert!(disk.files()[NAME].len() < whole, "it was replaced by less");
        assert_eq!(read(&disk).unwrap().unwrap(), rows);
    }

    #[test]
    fn a_torn_tail_is_cut_and_other_damage_is_refused() {
        let (disk, states) = written();
        let whole = disk.files()[NAME].clone();
        let (first, last) = (states[0].0, states[states.len() - 2].0);
        for len in 0..whole.len() {
            disk.put_file(NAME, whole[..len].to_vec());
            let at = states.iter().rposition(|(end, _)| *end <= len);
            match at {
                Some(at) => assert_eq!(read(&disk).unwrap().unwrap(), states[at].1, "{len}"),
                None => assert!(read(&disk).is_err(), "{len} of the first {first}"),
            }
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            disk.put_file(NAME, damaged);
            match at < last {
                true => assert!(read(&disk).is_err(), "octet {at}"),
                // The very last flush may have been torn.
                false => assert_eq!(read(&disk).unwrap().unwrap(), states[4].1, "octet {at}"),
            }
        }
    }

    #[test]
    fn a_file_of_the_first_version_is_read() {
        let mut octets = MAGIC_OLDER.to_vec();
        for part in [&b"a"[..], b"1", b"", &[0xFF; 300]] {
            octets.extend_from_slice(&(part.len() as u32).to_le_bytes());
            octets.extend_from_slice(part);
        }
        octets.extend_from_slice(&crc32c::crc32c(&octets).to_le_bytes());
        let disk = SimIo::new(1);
        disk.put_file(NAME, octets.clone());
        let rows = read(&disk).unwrap().unwrap();
        assert_eq!(rows[&b"a"[..]], b"1");
        assert_eq!(rows[&b""[..]], [0xFF; 300]);
        octets[20] ^= 1;
        disk.put_file(NAME, octets);
        assert!(read(&disk).is_err());
    }

    /// Changes and flushes with crashes at any operation, appending and replacing: what a flush had made
    /// last is there, and of the flush under way all or nothing.
    #[test]
    fn a_crash_takes_no_flushed_row() {
        for seed in 0..500 {
            let mut random = Random(seed);
            let disk = SimIo::new(seed);
            let (mut lasting, mut flushes) = (Rows::new(), 0);
            for _ in 0..8 {
                let mut file = RowsFile::with_slack(Arc::new(disk.clone()), 200);
                let mut rows = lasting.clone();
                disk.fail_after(random.below(60), Fault::Crash);
                loop {
                    for _ in 0..=random.below(4) {
                        let (at, value) = (key(random.below(12)), random.next().to_le_bytes());
                        match random.one_in(3) {
                            true => {
                                rows.remove(&at);
                                file.change(&at, None);
                            }
                            false => {
                                rows.insert(at.clone(), value.to_vec());
                                file.change(&at, Some(&value));
                            }
                        }
                    }
                    if flush(&mut file, &rows).is_err() {
                        break;
                    }
                    flushes += 1;
                    lasting = rows.clone();
                }
                disk.restart(random.one_in(2));
                let found = read(&disk).unwrap().unwrap_or_default();
                assert!(
                    found == lasting || found == rows,
                    "seed {seed}, flush {flushes}"
                );
                lasting = found;
            }
        }
    }
}
