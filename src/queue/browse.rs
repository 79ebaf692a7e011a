//! Looking at the ready messages of a queue, and taking one out from wherever it stands.
//!
//! Owns what names a message to somebody who looks: looking changes neither order nor marks. Reads
//! nothing itself: of a message on disk it tells where its octets are, of a page where its entries are.

use std::fmt;
use std::str::FromStr;

use super::entry::{Entry, Spot};
use super::lane::Part;
use super::machine::Queue;
use super::outcome::Effects;
use crate::base::LogPos;
use crate::base::index::{IndexEntry, PageState};
use crate::message::Message;

/// From where on to look: before this stand higher priorities, and what came earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(Spot);

/// Which message: its place, and its record. A message that only is in memory has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    spot: Spot,
    pos: LogPos,
}

/// A text that names no message, or no place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a message")]
pub struct NotAnId;

impl MessageId {
    /// The place at which it stands.
    pub fn cursor(self) -> Cursor {
        Cursor(self.spot)
    }

    /// The place right behind it.
    pub fn behind(self) -> Cursor {
        Cursor(self.spot.next())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0.bits())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.cursor(), self.pos.0)
    }
}

fn hex(text: &str) -> Result<u64, NotAnId> {
    u64::from_str_radix(text, 16).map_err(|_| NotAnId)
}

/// Of an id, too: the place it stands at.
impl FromStr for Cursor {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let spot = text.split_once('-').map_or(text, |(spot, _)| spot);
        Ok(Cursor(Spot::of_bits(hex(spot)?)))
    }
}

impl FromStr for MessageId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (_, pos) = text.split_once('-').ok_or(NotAnId)?;
        let Cursor(spot) = text.parse()?;
        Ok(MessageId {
            spot,
            pos: LogPos(hex(pos)?),
        })
    }
}

/// A ready message that was looked at.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which it is.
    pub id: MessageId,
    /// The message; absent while its octets are on disk only.
    pub message: Option<Message>,
    index: IndexEntry,
    /// The page it is a place of.
    page: Option<LogPos>,
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        Seen {
            id: MessageId {
                spot: entry.spot,
                pos: entry.pos,
            },
            message: entry.message.clone(),
            index: entry.index(),
            page: None,
        }
    }

    /// Its record, to be read; [`LogPos::NONE`] if it is in memory only.
    pub fn pos(&self) -> LogPos {
        self.id.pos
    }

    /// Octets of its body.
    pub fn body_bytes(&self) -> usize {
        self.index.body_bytes as usize
    }

    /// Whether it was delivered before.
    pub fn redelivered(&self) -> bool {
        self.index.redelivered
    }

    /// When it came to the queue, in ms since 1970.
    pub fn stamped_ms(&self) -> u64 {
        self.index.stamped_ms
    }
}

/// A page that is next: what is in it must be read.
#[derive(Debug, Clone)]
pub struct PageAhead {
    level: u8,
    from_seq: u64,
    page: PageState,
}

impl PageAhead {
    /// Its record.
    pub fn pos(&self) -> LogPos {
        self.page.pos
    }

    /// Messages left in it, those before the cursor among them.
    pub fn live(&self) -> usize {
        self.page.live() as usize
    }

    /// Whether the cursor stands before all of it.
    pub fn is_whole(&self) -> bool {
        self.from_seq <= self.page.first_seq
    }

    /// Its messages, of which `entries` tell that were read, from the cursor on.
    pub fn seen(&self, entries: &[IndexEntry]) -> Vec<Seen> {
        let places = entries.iter().enumerate().filter_map(|(place, index)| {
            let seq = self.page.first_seq + place as u64;
            let is_there = seq >= self.from_seq && !self.page.removed.contains(place);
            is_there.then(|| Seen {
                id: MessageId {
                    spot: Spot::new(self.level, seq),
                    pos: index.pos,
                },
                message: None,
                index: IndexEntry {
                    redelivered: index.redelivered || self.page.redelivered,
                    priority: self.level,
                    ..*index
                },
                page: Some(self.page.pos),
            })
        });
        places.collect()
    }
}

/// A look at a part of a queue.
#[derive(Debug, Default)]
pub struct View {
    /// Messages, in the order in which they would go out.
    pub seen: Vec<Seen>,
    /// What comes instead of messages.
    pub page: Option<PageAhead>,
    /// Where to look on; `None` at the end of the queue.
    pub next: Option<Cursor>,
}

impl View {
    /// Whether there is room for more.
    fn add(&mut self, entry: &Entry, most: usize) -> bool {
        match self.seen.len() < most {
            true => self.seen.push(Seen::of(entry)),
            false => self.next = Some(Cursor(entry.spot)),
        }
        self.next.is_none()
    }
}

impl Queue {
    /// Looks at up to `most` ready messages from a place on. A page is looked at alone.
    pub fn look(&self, from: Cursor, most: usize) -> View {
        let Cursor(from) = from;
        let mut view = View::default();
        let returned = self.ready.returned.range(from..).map(|(_, entry)| entry);
        let mut returned = returned.peekable();
        for (level, lane) in self
            .ready
            .lanes()
            .filter(|(level, _)| *level <= from.level())
        {
            let from_seq = match level == from.level() {
                true => from.seq(),
                false => 0,
            };
            for part in lane.from(from_seq) {
                let spot = Spot::new(level, part.first_seq());
                while let Some(entry) = returned.next_if(|entry| entry.spot < spot) {
                    if !view.add(entry, most) {
                        return view;
                    }
                }
                let page = match part {
                    Part::Entry(entry) if view.add(entry, most) => continue,
                    Part::Entry(_) => return view,
                    Part::Page(page) => page,
                };
                view.next = Some(Cursor(spot.max(from)));
                if view.seen.is_empty() {
                    view.next = Some(Cursor(Spot::new(
                        level,
                        page.first_seq + u64::from(page.len),
                    )));
                    view.page = Some(PageAhead {
                        level,
                        from_seq,
                        page: page.clone(),
                    });
                }
                return view;
            }
        }
        for entry in returned {
            if !view.add(entry, most) {
                break;
            }
        }
        view
    }

    /// Takes one out that was looked at, if it is where it was: false if somebody else has it by now,
    /// or if it has another place. [`Self::wake`] follows, once for all.
    pub fn pick(&mut self, seen: &Seen, effects: &mut Effects) -> bool {
        let taken = self
            .ready
            .pick(seen.id.spot, &seen.index, seen.page, &mut effects.opened);
        if taken.is_some() {
            self.left(seen.id.spot);
        }
        taken.is_some()
    }

    /// As [`Self::pick`]; until [`Self::buried`] tells that the log says where the message went, a
    /// checkpoint finds it here.
    pub fn pick_to_move(&mut self, seen: &Seen, effects: &mut Effects) -> bool {
        let picked = self.pick(seen, effects);
        if picked && seen.id.pos.is_kept() {
            self.dying.insert(seen.id.pos, (seen.id.spot, seen.index));
        }
        picked
    }

    /// Whether so many messages more, of so many octets together, would be taken without a limit
    /// refusing them. A queue that makes room by dropping its first ones always has room.
    pub fn has_room_for(&self, messages: u64, bytes: u64) -> bool {
        use super::options::Overflow;
        let options = &self.options;
        let fits = |most: Option<u64>, now: usize, more: u64| {
            most.is_none_or(|most| (now as u64).saturating_add(more) <= most)
        };
        options.overflow == Overflow::DropHead
            || (fits(options.max_len, self.ready.len(), messages)
                && fits(options.max_len_bytes, self.ready.bytes(), bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_texts() {
        let id = MessageId {
            spot: Spot::new(3, 77),
            pos: LogPos(0xabc),
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().parse(), Ok(id.cursor()));
        assert_eq!(id.behind().to_string().parse(), Ok(id.behind()));
        assert!(id.behind() > id.cursor());
        for wrong in ["", "x", "1-", "-1", "1-2-3"] {
            assert_eq!(wrong.parse::<MessageId>(), Err(NotAnId), "{wrong}");
        }
    }
}
