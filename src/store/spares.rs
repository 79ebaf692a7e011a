//! Files of segments that are gone, kept to be written again.
//!
//! Owns their list and the making of a segment's file, from one of them or anew. A sync of what was
//! written over blocks that were written before has nothing of the file system's own to write, which is
//! half of what it costs otherwise. What an earlier life of the file left in it cannot be taken for
//! the log: `format.rs` has why.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{FileHeader, file_name};
use super::io::{Io, IoFile};
use super::options::SPARES_MAX;

/// What a spare file's name ends with; it begins with the number of the segment it last was.
const SUFFIX: &str = ".spare";

/// Names of the spare files.
#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<String>>);

/// The file of a new segment.
pub(crate) struct NewSegment {
    pub(crate) file: Arc<dyn IoFile>,
    /// What the checksums of its batches start from.
    pub(crate) nonce: u32,
    /// Octets that were written before, and can be written over.
    pub(crate) written_bytes: u64,
    /// It was a segment's before.
    pub(crate) reused: bool,
}

impl Spares {
    /// Takes over what an earlier life left; deletes what is too much.
    pub(crate) fn adopt(&self, io: &dyn Io) -> io::Result<()> {
        let mut kept = self.0.lock();
        for name in io.list()? {
            if !name.ends_with(SUFFIX) {
                continue;
            }
            if kept.len() < SPARES_MAX {
                kept.push(name);
            } else {
                io.delete(&name)?;
            }
        }
        Ok(())
    }

    /// Deletes all. True if there were some.
    pub(crate) fn give_up(&self, io: &dyn Io) -> bool {
        let names = std::mem::take(&mut *self.0.lock());
        let mut gone = false;
        for name in names {
            match io.delete(&name) {
                Ok(()) => gone = true,
                // The next start looks again.
                Err(error) => tracing::warn!(%error, file = name, "cannot delete a spare file"),
            }
        }
        gone
    }

    /// The file of `segment` is needed no longer: it becomes a spare one if `keep` and there is room in the
    /// list, or is deleted.
    pub(crate) fn retire(&self, io: &dyn Io, segment: u32, keep: bool) -> io::Result<()> {
        let (name, spare) = (file_name(segment), format!("{segment:08}{SUFFIX}"));
        // Only the thread that takes checkpoints adds, so that the room seen here stays.
        if !keep || self.0.lock().len() >= SPARES_MAX {
            return io.delete(&name);
        }
        io.rename(&name, &spare)?;
        self.0.lock().push(spare);
        Ok(())
    }

    /// Begins a segment's file, durably.
    pub(crate) fn create(
        &self,
        io: &dyn Io,
        segment: u32,
        previous_end: u32,
    ) -> io::Result<NewSegment> {
        // The standard library's hasher is seeded by the system: nobody outside can guess this.
        let nonce = RandomState::new().hash_one(segment) as u32;
        let header = FileHeader {
            segment,
            previous_end,
            nonce,
        }
        .encode();
        let spare = self.0.lock().pop();
        if let Some(spare) = spare {
            match reuse(io, &spare, &file_name(segment), &header) {
                Ok((file, written_bytes)) => {
                    return Ok(NewSegment {
                        file,
                        nonce,
                        written_bytes,
                        reused: true,
                    });
                }
                // It holds nothing that anybody needs.
                Err(error) => tracing::warn!(%error, file = spare, "cannot use a spare file"),
            }
        }
        Ok(NewSegment {
            file: io.create(&file_name(segment), &header)?,
            nonce,
            written_bytes: header.len() as u64,
            reused: false,
        })
    }
}

/// The header is on disk before the file has the segment's name.
fn reuse(
    io: &dyn Io,
    spare: &str,
    name: &str,
    header: &[u8],
) -> io::Result<(Arc<dyn IoFile>, u64)> {
    let file = io.open(spare)?;
    file.write_all_at(&[IoSlice::new(header)], 0)?;
    file.sync_data()?;
    let written_bytes = file.len_bytes()?;
    io.rename(spare, name)?;
    Ok((file, written_bytes))
}
