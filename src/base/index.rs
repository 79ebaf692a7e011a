//! What is kept of messages whose octets are on disk only: the words the store and the queues share.
//!
//! Owns the index entry, the page of entries and the state of a queue as a checkpoint has it.
//! Neither reads a file nor knows what a message is.

use smallvec::SmallVec;

use super::{LogPos, QueueId};

/// Most places of a page. One Page record for as many messages costs the log about 0.1 % of a
/// batch header each, and one page is loaded by one small read.
pub const PAGE_LEN: usize = 1024;

/// What a queue keeps of a message whose octets are on disk only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its record: where the octets are.
    pub pos: LogPos,
    /// When it was accepted, ms since the epoch.
    pub stamped_ms: u64,
    /// Time to live that its publisher gave it, ms.
    pub ttl_ms: Option<u64>,
    /// Octets of its body.
    pub body_bytes: u32,
    /// Deliveries that failed (A6.14).
    pub failed_deliveries: u32,
    /// The lane it stands in.
    pub priority: u8,
    /// It may have been delivered before.
    pub redelivered: bool,
}

/// What can be told of a message from its octets; recovery asks for it, since to the store they are
/// opaque.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Described {
    /// Octets of its body.
    pub body_bytes: u32,
    /// The priority its publisher gave it, 0 if none.
    pub priority: u8,
    /// The time to live its publisher gave it, ms.
    pub ttl_ms: Option<u64>,
}

impl Described {
    /// The entry of a message that was published, and has not been delivered.
    pub fn entry(self, pos: LogPos, stamped_ms: u64) -> IndexEntry {
        IndexEntry {
            pos,
            stamped_ms,
            ttl_ms: self.ttl_ms,
            body_bytes: self.body_bytes,
            failed_deliveries: 0,
            priority: self.priority,
            redelivered: false,
        }
    }
}

/// Which places of a page are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed(Option<Box<[u64; PAGE_LEN / 64]>>);

impl Removed {
    /// Marks a place as gone; false if it was already, or is none of a page.
    pub fn insert(&mut self, place: usize) -> bool {
        if place >= PAGE_LEN {
            return false;
        }
        let bit = 1 << (place % 64);
        let words = self.0.get_or_insert_default();
        let Some(word) = words.get_mut(place / 64).filter(|word| **word & bit == 0) else {
            return false;
        };
        *word |= bit;
        true
    }

    /// Whether a place is gone.
    pub fn contains(&self, place: usize) -> bool {
        let word = self.words().get(place / 64);
        word.is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    /// How many places are gone.
    pub fn len(&self) -> u32 {
        self.words().iter().map(|word| word.count_ones()).sum()
    }

    /// Whether every place is still there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bits, the lowest place in the lowest bit of the first word; none at all if no place is
    /// gone.
    pub fn words(&self) -> &[u64] {
        self.0
            .as_deref()
            .map(<[u64; _]>::as_slice)
            .unwrap_or_default()
    }

    /// What [`Removed::words`] gave.
    pub fn from_words(words: [u64; PAGE_LEN / 64]) -> Removed {
        Removed(Some(Box::new(words)))
    }
}

/// A page of a lane: a Page record in the log. A place that is gone stays as one, so that place `i`
/// always has the number `first_seq + i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageState {
    /// The Page record.
    pub pos: LogPos,
    /// Number of its first place.
    pub first_seq: u64,
    /// Places, gone or not.
    pub len: u32,
    /// The places that are gone.
    pub removed: Removed,
    /// Octets of the bodies that are left.
    pub body_bytes: u64,
    /// When its first message was accepted, gone or not; ms since the epoch.
    pub first_stamped_ms: u64,
    /// Some message in it has a time to live of its own.
    pub has_ttl: bool,
    /// All of it may have been delivered before: the broker has crashed since it was written.
    pub redelivered: bool,
    /// The smallest and the largest position in it.
    pub span: (LogPos, LogPos),
    /// Segments, and how many of the messages that are left are in each.
    pub segments: SmallVec<[(u32, u32); 2]>,
}

impl PageState {
    /// The page that `entries` make, all of them there, with its record at `pos`.
    pub fn new(pos: LogPos, first_seq: u64, entries: &[IndexEntry]) -> PageState {
        let positions = || entries.iter().map(|entry| entry.pos);
        let smallest = positions().min().unwrap_or_default();
        let mut page = PageState {
            pos,
            first_seq,
            len: entries.len() as u32,
            removed: Removed::default(),
            body_bytes: entries
                .iter()
                .map(|entry| u64::from(entry.body_bytes))
                .sum(),
            first_stamped_ms: entries.first().map_or(0, |entry| entry.stamped_ms),
            has_ttl: entries.iter().any(|entry| entry.ttl_ms.is_some()),
            redelivered: false,
            span: (smallest, positions().max().unwrap_or_default()),
            segments: SmallVec::new(),
        };
        for segment in positions().map(LogPos::segment) {
            match page.segments.iter_mut().find(|(id, _)| *id == segment) {
                Some((_, live)) => *live += 1,
                None => page.segments.push((segment, 1)),
            }
        }
        page
    }

    /// Messages that are left.
    pub fn live(&self) -> u32 {
        self.len - self.removed.len().min(self.len)
    }

    /// Takes out the message at a place, whose record is at `pos`; false if it was gone already.
    pub fn remove(&mut self, place: usize, pos: LogPos, body_bytes: u32) -> bool {
        if place >= self.len as usize || !self.removed.insert(place) {
            return false;
        }
        self.body_bytes = self.body_bytes.saturating_sub(u64::from(body_bytes));
        let segment = pos.segment();
        if let Some((_, live)) = self.segments.iter_mut().find(|(id, _)| *id == segment) {
            *live = live.saturating_sub(1);
        }
        self.segments.retain(|(_, live)| *live > 0);
        true
    }
}

/// The messages of one priority of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneState {
    /// The priority.
    pub priority: u8,
    /// The number the next message gets.
    pub next_seq: u64,
    /// Its pages, by their numbers.
    pub pages: Vec<PageState>,
    /// Messages in no page and their numbers, ascending. Some may stand before, between or behind
    /// the pages.
    pub loose: Vec<(u64, IndexEntry)>,
}

/// The messages of a durable queue: what a checkpoint holds of it and recovery gives back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueState {
    /// The queue.
    pub queue: QueueId,
    /// Its lanes, each priority once.
    pub lanes: Vec<LaneState>,
}

impl QueueState {
    /// Messages in it.
    pub fn len(&self) -> u64 {
        let in_lane = |lane: &LaneState| {
            let paged: u64 = lane.pages.iter().map(|page| u64::from(page.live())).sum();
            paged + lane.loose.len() as u64
        };
        self.lanes.iter().map(in_lane).sum()
    }

    /// Whether it holds no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_what_is_left() {
        let entry = |segment, offset, body_bytes| IndexEntry {
            pos: LogPos::new(segment, offset),
            stamped_ms: 7,
            ttl_ms: None,
            body_bytes,
            failed_deliveries: 0,
            priority: 0,
            redelivered: false,
        };
        let entries = [entry(1, 900, 10), entry(2, 32, 20), entry(2, 64, 30)];
        let mut page = PageState::new(LogPos::new(2, 500), 100, &entries);
        assert_eq!((page.live(), page.body_bytes), (3, 60));
        assert_eq!(page.segments.as_slice(), [(1, 1), (2, 2)]);
        assert_eq!(page.span, (LogPos::new(1, 900), LogPos::new(2, 64)));
        assert!(page.remove(0, entries[0].pos, 10));
        assert!(!page.remove(0, entries[0].pos, 10), "only once");
        assert!(!page.remove(3, entries[0].pos, 10), "no such place");
        assert_eq!((page.live(), page.body_bytes), (2, 50));
        assert_eq!(page.segments.as_slice(), [(2, 2)]);
        assert!(page.removed.contains(0) && !page.removed.contains(1));
    }

    #[test]
    fn bits_read_back() {
        let mut removed = Removed::default();
        assert!(removed.is_empty() && removed.words().is_empty());
        for place in [0, 63, 64, PAGE_LEN - 1] {
            assert!(removed.insert(place));
        }
        assert!(!removed.insert(PAGE_LEN) && !removed.contains(PAGE_LEN));
        assert_eq!(removed.len(), 4);
        let words = removed.words().try_into().unwrap();
        assert_eq!(Removed::from_words(words), removed);
    }
}
