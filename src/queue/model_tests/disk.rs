//! A disk that a test fills and reads: messages and pages by position, and reads that come late, in any
//! order, or when nobody wants them any more.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::base::LogPos;
use crate::base::index::IndexEntry;
use crate::message::Message;
use crate::queue::{Effects, Load, Queue};

pub(super) struct Disk {
    rng: StdRng,
    messages: HashMap<LogPos, Message>,
    pub(super) pages: HashMap<LogPos, Vec<IndexEntry>>,
    next: u32,
    durable: LogPos,
    /// What was asked for and is not read yet.
    pending: Vec<Load>,
    /// The queue has asked for a load, and has not been told that there is none.
    asked: bool,
    pub(super) pages_read: usize,
    pub(super) messages_read: usize,
    /// Most messages go to the spill now.
    spills: bool,
    pub(super) spilled_pages: usize,
}

/// The position in the spill that is like one in the log.
fn spilled(pos: LogPos) -> LogPos {
    LogPos::spilled(pos.segment(), pos.offset())
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Disk {
            rng: StdRng::seed_from_u64(seed),
            messages: HashMap::new(),
            pages: HashMap::new(),
            next: 1,
            durable: LogPos::new(1, 0),
            pending: Vec::new(),
            asked: false,
            pages_read: 0,
            messages_read: 0,
            spills: false,
            spilled_pages: 0,
        }
    }

    /// Whether some page has held a message.
    pub(super) fn is_in_page(&self, pos: LogPos) -> bool {
        let mut pages = self.pages.values();
        pos.is_some() && pages.any(|page| page.iter().any(|entry| entry.pos == pos))
    }

    /// A few records to a segment.
    pub(super) fn position(&mut self) -> LogPos {
        self.next += 1;
        LogPos::new(1 + self.next / 50, self.next)
    }

    pub(super) fn write(&mut self, message: &Message) -> LogPos {
        let pos = self.position();
        self.messages.insert(pos, message.clone());
        pos
    }

    /// A transient message goes to the spill.
    pub(super) fn spill(&mut self, message: &Message) -> LogPos {
        let pos = spilled(self.position());
        self.messages.insert(pos, message.clone());
        pos
    }

    /// Writes a message as broker and chance want it: few in memory only, the others in stretches of either kind.
    pub(super) fn write_or_spill(&mut self, message: &Message) -> LogPos {
        if self.rng.random_range(0..12) == 0 {
            self.spills = self.rng.random();
        }
        match self.rng.random_range(0..20) {
            0 => LogPos::NONE,
            1 => self.write(message),
            2 => self.spill(message),
            _ if self.spills => self.spill(message),
            _ => self.write(message),
        }
    }

    /// What follows a batch of messages, or does not.
    pub(super) fn perhaps_page_out(&mut self, queue: &mut Queue) {
        if self.rng.random() {
            self.durable = LogPos::new(1 + self.next / 50, self.next + 1);
        }
        if self.rng.random() {
            return;
        }
        let durable = self.durable;
        let spill_takes = self.rng.random_range(0..8) > 0;
        let paged = queue.page_out(durable, spill_takes, |level, entries| {
            assert!(entries.iter().all(|entry| entry.priority == level));
            let in_order = entries.windows(2).all(|pair| pair[0].pos < pair[1].pos);
            assert!(in_order, "not in the order of publishing");
            let pos = self.position();
            let of_spill = entries.iter().filter(|entry| entry.pos.is_spilled());
            assert!(spill_takes || of_spill.clone().count() == 0);
            let pos = match of_spill.count() {
                0 => pos,
                // The disk may be full.
                _ if self.rng.random_range(0..4) == 0 => return Ok((LogPos::NONE, ())),
                count => {
                    assert_eq!(count, entries.len(), "a page of either kind");
                    self.spilled_pages += 1;
                    spilled(pos)
                }
            };
            self.pages.insert(pos, entries.to_vec());
            Ok::<_, ()>((pos, ()))
        });
        paged.unwrap();
    }

    /// Notes what a call has asked for.
    pub(super) fn note(&mut self, effects: &mut Effects) {
        if std::mem::take(&mut effects.load) {
            assert!(!self.asked, "asked twice");
            self.asked = true;
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// One step of the pager's: asks what to read, or reads some of it. Whether anything was read.
    pub(super) fn step(&mut self, queue: &mut Queue, now_ms: u64, effects: &mut Effects) -> bool {
        if self.asked && self.rng.random() {
            let budget = self.rng.random_range(1..600);
            match queue.next_load(self.durable, now_ms, budget) {
                Load::Nothing => self.asked = false,
                Load::Wait(pos) => {
                    assert!(pos >= self.durable && pos.is_kept());
                    self.durable = LogPos(pos.0 + 1);
                }
                load => self.pending.push(load),
            }
            return false;
        }
        if self.pending.is_empty() {
            return false;
        }
        let at = self.rng.random_range(0..self.pending.len());
        let load = self.pending.swap_remove(at);
        self.read(load, queue, effects);
        true
    }

    /// Reads until nothing more is wanted.
    pub(super) fn read_all(
        &mut self,
        queue: &mut Queue,
        now_ms: u64,
        effects: &mut Effects,
    ) -> bool {
        let mut read = false;
        while self.asked {
            match queue.next_load(LogPos(u64::MAX), now_ms, 600) {
                Load::Nothing => self.asked = false,
                load => {
                    self.read(load, queue, effects);
                    read = true;
                }
            }
        }
        read
    }

    /// Reads what stands first, as basic.get does.
    pub(super) fn read_next(&mut self, queue: &mut Queue, effects: &mut Effects) {
        let load = queue.next_needed(LogPos(u64::MAX), 1);
        assert_ne!(load, Load::Nothing, "nothing to read for who waits");
        self.read(load, queue, effects);
    }

    fn read(&mut self, load: Load, queue: &mut Queue, effects: &mut Effects) {
        match load {
            Load::Nothing | Load::Wait(_) => {}
            Load::Page(pos) => {
                queue.page_loaded(pos, &self.pages[&pos], effects);
                self.pages_read += 1;
            }
            Load::Messages(mut wanted) => {
                if self.rng.random_range(0..4) == 0 {
                    wanted.shuffle(&mut self.rng);
                    wanted.truncate(wanted.len().div_ceil(2));
                }
                for wanted in wanted {
                    queue.loaded(wanted, self.messages[&wanted.pos].clone());
                    self.messages_read += 1;
                }
            }
        }
    }

    /// The queue begins anew from what is on disk.
    pub(super) fn restarted(&mut self, queue: &mut Queue) {
        self.asked = false;
        self.pending.clear();
        self.messages.retain(|pos, _| pos.is_kept());
        self.pages.retain(|pos, _| pos.is_kept());
        for (level, pos) in queue.pages_with_ttl() {
            queue.note_page(level, pos, &self.pages[&pos]);
        }
    }
}
