//! A disk in memory: files, and rows of a catalogue.
//!
//! Owns how files are damaged.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use warren::base::LogPos;
use warren::store::{Change, Io, IoFile, Row, Rows, StoreError, Table};

use super::{Damage, How};

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<BTreeMap<String, Arc<File>>>>, Arc<Mutex<Saved>>);

/// Rows as they were flushed, and up to where.
#[derive(Clone, Default)]
struct Saved {
    applied: LogPos,
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

#[derive(Default)]
struct File(Mutex<Vec<u8>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// Octets in all files.
    pub fn len(&self) -> usize {
        lock(&self.0).values().map(|file| lock(&file.0).len()).sum()
    }

    pub fn put(&self, name: String, content: Vec<u8>) {
        lock(&self.0).insert(name, Arc::new(File(Mutex::new(content))));
    }

    pub fn damage(&self, damage: &[Damage]) {
        let mut files = lock(&self.0);
        for Damage { file, how } in damage.iter().take(8) {
            // The last one is hit most often: that is where a crash leaves traces.
            let at = files.len().saturating_sub(1 + usize::from(file / 64));
            let Some((name, file)) = files
                .iter()
                .nth(at)
                .map(|(name, file)| (name.clone(), file.clone()))
            else {
                return;
            };
            let mut content = lock(&file.0);
            let len = content.len().max(1);
            match *how {
                How::Flip { at, mask } => {
                    if let Some(octet) = content.get_mut(usize::from(at) % len) {
                        *octet ^= mask;
                    }
                }
                How::Cut(at) => content.truncate(usize::from(at) % len),
                How::Append(octet) => content.push(octet),
                How::Zero { at, len: count } => {
                    let at = usize::from(at) % len;
                    let end = (at + usize::from(count)).min(content.len());
                    if let Some(octets) = content.get_mut(at..end) {
                        octets.fill(0);
                    }
                }
                How::Lose => {
                    files.remove(&name);
                }
            }
        }
    }
}

fn missing() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Io for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<Arc<dyn IoFile>> {
        let file = Arc::new(File(Mutex::new(content.to_vec())));
        match lock(&self.0).insert(name.to_owned(), Arc::clone(&file)) {
            None => Ok(file),
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.put(name.to_owned(), content.to_vec());
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = lock(&self.0).get(name).cloned().ok_or_else(missing)?;
        let content = lock(&file.0).clone();
        Ok(content)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn IoFile>> {
        let file = lock(&self.0).get(name).cloned().ok_or_else(missing)?;
        Ok(file)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        lock(&self.0).remove(name).map(drop).ok_or_else(missing)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = lock(&self.0);
        if files.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn reserve(&self, _: &str, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

impl IoFile for File {
    fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut content = lock(&self.0);
        let mut at = offset as usize;
        for slice in slices {
            let end = at + slice.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(slice);
            at = end;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.0);
        let there = content.get(offset as usize..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        lock(&self.0).truncate(len_bytes as usize);
        Ok(())
    }
}

/// A catalogue of which a crash leaves what was flushed.
pub struct MemoryRows {
    saved: Arc<Mutex<Saved>>,
    now: Saved,
}

impl MemoryRows {
    pub fn new(disk: &Disk) -> Self {
        let saved = Arc::clone(&disk.1);
        let now = lock(&saved).clone();
        MemoryRows { saved, now }
    }
}

impl Rows for MemoryRows {
    fn applied(&self) -> LogPos {
        self.now.applied
    }

    fn load(&self) -> Result<Vec<(Table, Row)>, StoreError> {
        let rows = self.now.rows.iter().map(|((table, key), value)| {
            let row = Row {
                key: key.clone(),
                value: value.clone(),
            };
            (*table, row)
        });
        Ok(rows.collect())
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        let key = (change.table, change.key.clone());
        match &change.value {
            Some(value) => self.now.rows.insert(key, value.clone()),
            None => self.now.rows.remove(&key),
        };
        Ok(())
    }

    fn flush(&mut self, applied: LogPos) -> Result<(), StoreError> {
        self.now.applied = applied;
        *lock(&self.saved) = self.now.clone();
        Ok(())
    }

    fn abandon(self: Box<Self>) {}
}
