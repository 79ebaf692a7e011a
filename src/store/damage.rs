//! Damage: what no crash can explain, refused by a start, noted by a repair.
//!
//! Owns the notes. Never decides what is damage.

use super::error::StoreError;

/// Something in the data directory that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Octet offset in it.
    pub offset: u64,
    /// Where the damaged stretch ends, if that is known.
    pub end: Option<u64>,
    /// What is wrong there.
    pub reason: String,
}

/// How reading the log meets damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// It is refused.
    Refuse,
    /// It is noted and passed over, to be repaired.
    PassOver,
}

/// Damage so far.
#[derive(Debug)]
pub(crate) struct Notes {
    strictness: Strictness,
    pub(crate) damage: Vec<Damage>,
}

impl Notes {
    pub(crate) fn new(strictness: Strictness) -> Notes {
        Notes {
            strictness,
            damage: Vec::new(),
        }
    }

    pub(crate) fn pass_over(&self) -> bool {
        self.strictness == Strictness::PassOver
    }

    /// Notes what is wrong, or refuses it. Failures of the system are always refused, and so is what
    /// another version wrote.
    pub(crate) fn meet(&mut self, error: StoreError) -> Result<(), StoreError> {
        if !self.pass_over() {
            return Err(error);
        }
        let (file, offset, reason) = match error {
            StoreError::Corrupt {
                file,
                offset,
                reason,
            } => (file, offset, reason),
            StoreError::Missing { file, reason } => (file, 0, format!("it is missing: {reason}")),
            other => return Err(other),
        };
        // The checkpoint and the next segment may both say that one is missing.
        let known = |found: &Damage| (&found.file, found.offset) == (&file, offset);
        if self.damage.iter().any(known) {
            return Ok(());
        }
        self.damage.push(Damage {
            file,
            offset,
            end: None,
            reason,
        });
        Ok(())
    }

    /// The last damage that was noted reaches to `end`.
    pub(crate) fn ends_at(&mut self, end: u64) {
        if let Some(last) = self.damage.last_mut() {
            last.end = Some(end);
        }
    }
}
