//! Files as the log sees them: a flat directory of segment files.
//!
//! Owns the two traits and their real implementation. Everything the log does to a disk goes
//! through here, so that a test can tear a write, fail a sync or cut the power (`sim.rs`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of files. Creation and deletion are durable when they return.
pub trait Io: Send + Sync {
    /// Names of all files in the directory, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates a file with this content, durably: after a crash it is there with all of the content
    /// or not at all. An error if it exists.
    fn create(&self, name: &str, content: &[u8]) -> io::Result<Arc<dyn IoFile>>;
    /// Gives a file this content, durably: after a crash it is there with all of it, or as it was.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// All of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn IoFile>>;
    /// Deletes a file and syncs the directory. Open handles stay readable.
    fn delete(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, which no file has, durably. Open handles are of the same file still.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Sees to it that a file of this name takes so much of the disk. What it holds does not matter, nor whether
    /// it is there after a crash. After an error it is not there.
    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()>;
    /// Octets that an unprivileged process can still write to this file system.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// One file of an [`Io`] directory.
pub trait IoFile: Send + Sync {
    /// Writes all slices, one after the other, from `offset` on. After an error any part of them
    /// may have been written.
    fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Reads up to `buffer.len()` octets from `offset` on; 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Returns when everything written is on the disk (`fdatasync`). An error is final: the kernel
    /// may have dropped what it could not write, and a second call would say all is well.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in octets.
    fn len_bytes(&self) -> io::Result<u64>;
    /// Cuts the file. Durable after the next [`IoFile::sync_data`].
    fn truncate(&self, len_bytes: u64) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug)]
pub struct RealIo {
    path: PathBuf,
    directory: File,
}

impl RealIo {
    /// Uses `path`, which is created (durably, within its parent) if it does not exist.
    pub fn open(path: &Path) -> io::Result<RealIo> {
        create_directory(path)?;
        Ok(RealIo {
            path: path.to_path_buf(),
            directory: File::open(path)?,
        })
    }
}

impl RealIo {
    /// Writes a file under the name `draft`, which may be left over by a crash, and renames it to
    /// `name` once all of it is on disk.
    fn put(&self, draft: &str, name: &str, content: &[u8]) -> io::Result<File> {
        let draft = self.path.join(draft);
        let file = create_file(&draft)?;
        if let Err(error) = file.write_all_at(content, 0).and_then(|()| file.sync_all()) {
            // What there is of it takes space. It is written over should it stay.
            let _ = std::fs::remove_file(&draft);
            return Err(error);
        }
        std::fs::rename(&draft, self.path.join(name))?;
        self.directory.sync_all()?;
        Ok(file)
    }
}

/// Messages and password hashes are for the broker's own user only, whatever its umask.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Creates a file, or empties it, to be read and written.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    options.mode(FILE_MODE).open(path)
}

/// Creates `path` with all that is missing above it, durably.
pub(crate) fn create_directories(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
        && !parent.exists()
    {
        create_directories(parent)?;
    }
    create_directory(path)
}

/// Creates `path` unless it exists, and syncs the directory that names it.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    sync_parent(path)
}

/// Makes a creation, renaming or deletion of `path` last.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

impl Io for RealIo {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is none of ours, and is told from ours by its lossy form.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<Arc<dyn IoFile>> {
        let path = self.path.join(name);
        if path.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Arc::new(RealFile {
            file: self.put("next.new", name, content)?,
        }))
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.put("replacement.new", name, content).map(drop)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn IoFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(RealFile { file }))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))?;
        self.directory.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.path.join(to);
        if to.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(self.path.join(from), to)?;
        self.directory.sync_all()
    }

    fn reserve(&self, name: &str, bytes: u64) -> io::Result<()> {
        let path = self.path.join(name);
        let has = std::fs::metadata(&path).is_ok_and(|file| file.len() >= bytes);
        if has {
            return Ok(());
        }
        let file = create_file(&path)?;
        let flags = rustix::fs::FallocateFlags::empty();
        retry(|| rustix::fs::fallocate(&file, flags, 0, bytes)).inspect_err(|_| {
            // It is empty, or takes what is left.
            let _ = std::fs::remove_file(&path);
        })
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.directory)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct RealFile {
    file: File,
}

/// `IOV_MAX` of every system we run on; `pwritev` refuses more slices.
const SLICES_MAX: usize = 1024;

impl IoFile for RealFile {
    fn write_all_at(&self, slices: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        for chunk in slices.chunks(SLICES_MAX) {
            let expected: usize = chunk.iter().map(|slice| slice.len()).sum();
            let mut written = retry(|| rustix::io::pwritev(&self.file, chunk, offset))?;
            // A short write is rare (a signal, a full disk): finish it slice by slice.
            if written < expected {
                let start = offset;
                let mut skip = written;
                for slice in chunk {
                    let rest = slice.get(skip.min(slice.len())..).unwrap_or_default();
                    skip = skip.saturating_sub(slice.len());
                    self.file.write_all_at(rest, start + written as u64)?;
                    written += rest.len();
                }
            }
            offset += expected as u64;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| rustix::io::pread(&self.file, &mut *buffer, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn truncate(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => continue,
            other => return Ok(other?),
        }
    }
}
