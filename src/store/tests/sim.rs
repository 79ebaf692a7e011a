//! A disk made of memory that fails on command.
//!
//! Owns what is "on disk" and what is only "in the page cache" for each file. Everything that
//! happens follows from a seed.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::{Io, IoFile};

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The smallest piece that a power cut leaves whole or takes whole. Smaller than a real sector, so
/// that small tests have torn writes, too.
const SECTOR: usize = 64;

#[derive(Debug, Clone, Default)]
struct FileState {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Op>,
}

#[derive(Debug, Clone)]
enum Op {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

impl Op {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Op::Write(offset, data) => {
                let end = *offset as usize + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset as usize..end].copy_from_slice(data);
            }
            Op::Truncate(bytes) => content.resize(*bytes as usize, 0),
        }
    }
}

/// How long the disk is full.
const FULL_OPS: u64 = 3;

/// What goes wrong at a given operation, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine stops: the operation happens in part, no other happens at all.
    Crash,
    /// EIO; a sync loses what it should have written.
    Error,
    /// For some operations, whatever takes space gets ENOSPC.
    Full,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<u64, FileState>,
    names: BTreeMap<String, u64>,
    next_file: u64,
    ops: u64,
    fault: Option<(u64, Fault)>,
    full_ops: u64,
    /// Octets that all files may have together.
    room_bytes: usize,
    crashed: bool,
    random: Random,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct SimIo(Arc<Mutex<State>>);

struct SimFile {
    disk: SimIo,
    id: u64,
}

impl SimIo {
    pub(crate) fn new(seed: u64) -> SimIo {
        SimIo(Arc::new(Mutex::new(State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            next_file: 0,
            ops: 0,
            fault: None,
            full_ops: FULL_OPS,
            room_bytes: usize::MAX,
            crashed: false,
            random: Random(seed),
        })))
    }

    /// Lets the operation `after` operations from now fail.
    pub(crate) fn fail_after(&self, after: u64, fault: Fault) {
        let mut state = self.0.lock();
        state.fault = Some((state.ops + after, fault));
    }

    /// From now on the disk is full.
    pub(crate) fn fill(&self) {
        let mut state = self.0.lock();
        state.fault = Some((state.ops, Fault::Full));
        state.full_ops = u64::MAX >> 1;
    }

    /// From now on files may have so many octets together, which deleting gives back.
    pub(crate) fn limit(&self, bytes: usize) {
        self.0.lock().room_bytes = bytes;
    }

    /// Octets of all files together.
    pub(crate) fn used_bytes(&self) -> usize {
        self.0.lock().used_bytes()
    }

    pub(crate) fn crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// The process is started again. With `power_lost`, of what was not synced only a random part
    /// is left.
    pub(crate) fn restart(&self, power_lost: bool) {
        let mut state = self.0.lock();
        let mut random = state.random.clone();
        for file in state.files.values_mut() {
            if power_lost {
                let mut content = file.synced.clone();
                for op in &file.unsynced {
                    match op {
                        Op::Write(offset, data) => {
                            survive_in_part(&mut content, *offset, data, &mut random);
                        }
                        Op::Truncate(_) if random.one_in(2) => {}
                        op => op.apply(&mut content),
                    }
                }
                *file = FileState {
                    synced: content.clone(),
                    current: content,
                    unsynced: Vec::new(),
                };
            }
        }
        state.random = random;
        state.crashed = false;
        state.fault = None;
    }

    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock();
        state
            .names
            .iter()
            .map(|(name, id)| (name.clone(), state.files[id].current.clone()))
            .collect()
    }

    /// Replaces a file's content, as if it had always been so.
    pub(crate) fn put_file(&self, name: &str, content: Vec<u8>) {
        let mut state = self.0.lock();
        let id = state.new_file(name);
        let file = state.files.get_mut(&id).unwrap();
        *file = FileState {
            synced: content.clone(),
            current: content,
            unsynced: Vec::new(),
        };
    }

    pub(crate) fn remove_file(&self, name: &str) {
        self.0.lock().names.remove(name);
    }
}

fn survive_in_part(content: &mut Vec<u8>, offset: u64, data: &[u8], random: &mut Random) {
    let keep_mostly = random.one_in(2);
    for (index, sector) in data.chunks(SECTOR).enumerate() {
        let kept = if keep_mostly {
            !random.one_in(8)
        } else {
            random.one_in(3)
        };
        if kept {
            Op::Write(offset + (index * SECTOR) as u64, sector.to_vec()).apply(content);
        }
    }
}

impl State {
    fn used_bytes(&self) -> usize {
        self.names
            .values()
            .map(|id| self.files[id].current.len())
            .sum()
    }

    /// Whether so many octets more can be written.
    fn room_for(&self, bytes: usize) -> io::Result<()> {
        match self.used_bytes().saturating_add(bytes) > self.room_bytes {
            true => Err(errno(ENOSPC)),
            false => Ok(()),
        }
    }

    fn refusal(&self) -> io::Error {
        match self.fault {
            Some((_, Fault::Full)) => errno(ENOSPC),
            _ => errno(EIO),
        }
    }

    fn new_file(&mut self, name: &str) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, FileState::default());
        self.names.insert(name.to_owned(), id);
        id
    }

    /// Counts an operation; says what goes wrong with it.
    fn op(&mut self) -> io::Result<Option<Fault>> {
        if self.crashed {
            return Err(io::Error::other("the machine is off"));
        }
        let this = self.ops;
        self.ops += 1;
        match self.fault {
            Some((at, Fault::Full)) if (at..at + self.full_ops).contains(&this) => {
                Ok(Some(Fault::Full))
            }
            Some((at, fault)) if at == this => {
                self.crashed = fault == Fault::Crash;
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Io for SimIo {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<Arc<dyn IoFile>> {
        let mut state = self.0.lock();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fault = state.op()?;
        if let Some(Fault::Error | Fault::Full) = fault {
            return Err(state.refusal());
        }
        state.room_for(content.len())?;
        if fault == Some(Fault::Crash) && state.random.one_in(2) {
            return Err(io::Error::other("crash before the directory was synced"));
        }
        let id = state.new_file(name);
        let (synced, current) = (content.to_vec(), content.to_vec());
        state.files.insert(
            id,
            FileState {
                synced,
                current,
                unsynced: Vec::new(),
            },
        );
        if fault.is_some() {
            return Err(io::Error::other("crash after the directory was synced"));
        }
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let fault = state.op()?;
        if let Some(Fault::Error | Fault::Full) = fault {
            return Err(state.refusal());
        }
        state.room_for(content.len())?;
        if fault.is_none() || state.random.one_in(2) {
            // Open handles keep what they had.
            let id = state.new_file(name);
            let (synced, current) = (content.to_vec(), content.to_vec());
            let unsynced = Vec::new();
            state.files.insert(
                id,
                FileState {
                    synced,
                    current,
                    unsynced,
                },
            );
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(io::Error::other("crash around the renaming")),
        }
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        let id = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.files[id].current.clone())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn IoFile>> {
        let state = self.0.lock();
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            id,
        }))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let fault = state.op()?;
        let fault = fault.filter(|fault| *fault != Fault::Full);
        if fault.is_none() || (fault == Some(Fault::Crash) && state.random.one_in(2)) {
            state.names.remove(name);
        }
        if fault.is_some() {
            Err(errno(EIO))
        } else {
            Ok(())
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let fault = state.op()?;
        let fault = fault.filter(|fault| *fault != Fault::Full);
        if (fault.is_none() || (fault == Some(Fault::Crash) && state.random.one_in(2)))
            && let Some(id) = state.names.remove(from)
        {
            state.names.insert(to.to_owned(), id);
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(errno(EIO)),
        }
    }

    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.remove_file(name);
        self.0.lock().room_for(bytes as usize)?;
        self.put_file(name, vec![0; bytes as usize]);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl IoFile for SimFile {
    fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let mut data = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect::<Vec<u8>>();
        let fault = state.op()?;
        if fault.is_some() {
            let kept = state.random.below(data.len() as u64 + 1) as usize;
            data.truncate(kept);
        }
        let has = state.files[&self.id].current.len();
        state.room_for((offset as usize + data.len()).saturating_sub(has))?;
        let file = state.files.get_mut(&self.id).unwrap();
        let op = Op::Write(offset, data);
        op.apply(&mut file.current);
        file.unsynced.push(op);
        match fault {
            None => Ok(()),
            Some(_) => Err(state.refusal()),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        let content = &state.files[&self.id].current;
        let rest = content.get(offset as usize..).unwrap_or_default();
        // Short reads are allowed, so there are some.
        let n = rest.len().min(buffer.len()).min(4099);
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let fault = state.op()?;
        let mut random = state.random.clone();
        let file = state.files.get_mut(&self.id).unwrap();
        match fault {
            None | Some(Fault::Full) => {
                file.synced = file.current.clone();
                file.unsynced.clear();
                Ok(())
            }
            Some(Fault::Crash) => Err(errno(EIO)),
            Some(Fault::Error) => {
                // As Linux does: the pages are marked clean, whatever became of them.
                file.unsynced.retain(|_| random.one_in(2));
                state.random = random;
                Err(errno(EIO))
            }
        }
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files[&self.id].current.len() as u64)
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let fault = state.op()?;
        if fault.is_some_and(|fault| fault != Fault::Full) {
            return Err(errno(EIO));
        }
        let file = state.files.get_mut(&self.id).unwrap();
        let op = Op::Truncate(len_bytes);
        op.apply(&mut file.current);
        file.unsynced.push(op);
        Ok(())
    }
}
