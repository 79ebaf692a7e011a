//! Recovery of the log.
//!
//! `Written`: a log that was written whole, by the store itself, is read as the naive model has it, after a
//! clean stop and after none, with pages, checkpoints, moves and copies. One that was damaged after is
//! refused or cut, and never gives a message that was not written to that queue, nor one twice.
//!
//! `Forged`: files with any records in them, all checksums right. They are refused, or taken; what was taken
//! once is taken again as the same.
//!
//! Input: one of these, by `arbitrary`.
#![no_main]

mod disk;
mod forge;
mod read;
mod write;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use warren::base::index::Described;
use warren::store::{Durability, Options};
use warren_fuzz::bounded;

use disk::Disk;
use forge::{Forged, forge};
use read::read;
use write::{Record, write};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Written {
        records: Vec<Record>,
        damage: Vec<Damage>,
    },
    Forged(Forged<'a>),
}

/// What happens to a file.
#[derive(Debug, Arbitrary)]
pub struct Damage {
    file: u8,
    how: How,
}

#[derive(Debug, Arbitrary)]
pub enum How {
    Flip { at: u16, mask: u8 },
    Cut(u16),
    Append(u8),
    Zero { at: u16, len: u8 },
    Lose,
}

/// Octets allocated at start for each octet of the files: an entry of a page is three octets there.
const FACTOR: usize = 256;

/// A read window, and what a store needs whatever it holds.
const SLACK: usize = 2 << 20;

fuzz_target!(|input: Input<'_>| match input {
    Input::Written { records, damage } => {
        let disk = Disk::default();
        let written = write(&disk, &records);
        let found = bounded(disk.len(), FACTOR, SLACK, || read(&disk))
            .expect("what was written whole can be read");
        assert_eq!(found.faults, 0);
        assert_eq!(found.held, written.held, "an intact log");
        assert_eq!(found.rows, written.rows, "an intact log");
        if damage.is_empty() {
            return;
        }
        disk.damage(&damage);
        if let Ok(found) = bounded(disk.len(), FACTOR, SLACK, || read(&disk)) {
            for (queue, message) in found.messages() {
                assert!(
                    written.ever.contains(&(queue, message)),
                    "nobody wrote {message} to queue {queue}"
                );
            }
        }
    }
    Input::Forged(forged) => {
        let disk = Disk::default();
        forge(&disk, &forged);
        if let Ok(first) = bounded(disk.len(), FACTOR, SLACK, || read(&disk)) {
            let second = read(&disk).expect("what was taken once");
            assert_eq!(second.count, first.count);
            let third = read(&disk).expect("what was taken twice");
            assert_eq!((third.count, third.held), (second.count, second.held));
        }
    }
});

pub fn options() -> Options {
    Options {
        // Small, so that there are several.
        segment_bytes: 2048,
        durability: Durability::Os,
        ..Options::default()
    }
}

/// A message is its number and so many octets that follow from it.
pub fn message(id: u64, len: u8) -> Vec<u8> {
    let mut octets = id.to_le_bytes().to_vec();
    octets.extend((0..len).map(|at| at ^ id as u8));
    octets
}

pub fn describe(octets: &[u8]) -> Option<Described> {
    let id = u64::from_le_bytes(*octets.first_chunk()?);
    Some(Described {
        body_bytes: octets.len() as u32,
        priority: (id % 3) as u8,
        ttl_ms: id.is_multiple_of(5).then_some(id),
    })
}
