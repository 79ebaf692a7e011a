//! Looking at the messages of a queue without taking them, also at those that are on disk only.
//!
//! Owns the reading: a stretch at a time, without the queue's lock. Nothing of the queue changes by
//! it. All of it blocks, and is for threads that may.

use std::ops::ControlFlow;

use tracing::error;

use super::vhost::{Durably, Vhost};
use crate::base::{AmqpError, LogPos};
use crate::message::Message;
use crate::queue::{Cursor, Effects, MessageId, QueueRef, Seen};
use crate::store::{ReadError, Reader};

/// Most messages looked at under one lock of the queue.
const STRETCH: usize = 512;

/// How much one look may cost.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most messages looked at.
    pub messages: usize,
    /// Octets of bodies after which no further ones are looked at.
    pub bytes: usize,
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Browsed {
    /// Messages looked at.
    pub examined: usize,
    /// Where to look on; `None` at the end of the queue.
    pub next: Option<Cursor>,
}

/// A stretch of a queue, every message of it in memory.
pub(super) struct Stretch {
    pub(super) messages: Vec<(Seen, Message)>,
    pub(super) next: Option<Cursor>,
}

impl Vhost {
    /// Shows the ready messages of a queue to `visit`, in the order in which they would go out, from
    /// `from` on, until it breaks or a bound is met. Blocks.
    ///
    /// # Errors
    /// 541 if the log has failed.
    pub fn browse(
        &self,
        queue: &QueueRef,
        from: Cursor,
        bounds: Bounds,
        visit: &mut dyn FnMut(&Seen, &Message) -> ControlFlow<()>,
    ) -> Result<Browsed, AmqpError> {
        let mut reader = self.log.reader();
        let (mut at, mut examined, mut bytes) = (from, 0, 0);
        loop {
            let left = Bounds {
                messages: bounds.messages.saturating_sub(examined),
                bytes: bounds.bytes.saturating_sub(bytes),
            };
            if left.messages == 0 || left.bytes == 0 {
                return Ok(Browsed {
                    examined,
                    next: Some(at),
                });
            }
            let stretch = self.stretch(queue, at, left, &mut reader)?;
            for (seen, message) in &stretch.messages {
                examined += 1;
                bytes += message.size();
                if visit(seen, message).is_break() {
                    return Ok(Browsed {
                        examined,
                        next: Some(seen.id.behind()),
                    });
                }
            }
            match stretch.next {
                Some(next) => at = next,
                None => {
                    return Ok(Browsed {
                        examined,
                        next: None,
                    });
                }
            }
        }
    }

    /// The place behind the first `count` ready messages; none at the end of the queue. Blocks.
    ///
    /// # Errors
    /// 541 if the log has failed.
    pub fn skip(&self, queue: &QueueRef, count: usize) -> Result<Option<Cursor>, AmqpError> {
        let mut reader = self.log.reader();
        let (mut at, mut left) = (Cursor::default(), count);
        while left > 0 {
            let view = queue.lock().look(at, left.min(STRETCH));
            left -= match view.page {
                Some(page) if page.live() <= left => page.live(),
                Some(page) => {
                    self.wait_readable(page.pos())?;
                    let Ok(entries) = reader.page(page.pos()) else {
                        return Ok(view.next);
                    };
                    let seen = page.seen(&entries);
                    return Ok(seen.get(left).map(|seen| seen.id.cursor()).or(view.next));
                }
                None => view.seen.len(),
            };
            match view.next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Drops a ready message, from wherever it stands. Whether it was there. Blocks.
    ///
    /// # Errors
    /// 541 if the log has failed.
    pub fn delete_message(
        &self,
        queue: &QueueRef,
        id: MessageId,
    ) -> Result<Durably<bool>, AmqpError> {
        let Some(seen) = self.seen(queue, id)? else {
            return Ok(self.unchanged(false));
        };
        let mut effects = Effects::default();
        let (value, end) = self.change_queue(queue, &mut effects, |state, _, effects| {
            let picked = state.pick(&seen, effects);
            if picked && seen.pos().is_some() {
                effects.consumed.push(seen.pos());
            }
            picked
        })?;
        Ok(Durably { value, end })
    }

    /// Finds a message by its id, without its octets.
    fn seen(&self, queue: &QueueRef, id: MessageId) -> Result<Option<Seen>, AmqpError> {
        let view = queue.lock().look(id.cursor(), 1);
        let found = match &view.page {
            None => view.seen,
            Some(page) => {
                self.wait_readable(page.pos())?;
                let entries = self.log.reader().page(page.pos());
                entries.map_or_else(|_| Vec::new(), |entries| page.seen(&entries))
            }
        };
        Ok(found.into_iter().find(|seen| seen.id == id))
    }

    /// The next messages of a queue, read where they are on disk only: at most `bounds` of them, and at
    /// least one if there is any. A message that went while it was read is left out; one that was moved meanwhile
    /// is found where it is now.
    pub(super) fn stretch(
        &self,
        queue: &QueueRef,
        from: Cursor,
        bounds: Bounds,
        reader: &mut Reader,
    ) -> Result<Stretch, AmqpError> {
        let (stretch, left_out) = self.stretch_once(queue, from, bounds, reader)?;
        match left_out {
            None => Ok(stretch),
            Some(_) => Ok(self.stretch_once(queue, from, bounds, reader)?.0),
        }
    }

    /// As [`Self::stretch`]: what can be read, and why the first that cannot be read was left out.
    fn stretch_once(
        &self,
        queue: &QueueRef,
        from: Cursor,
        bounds: Bounds,
        reader: &mut Reader,
    ) -> Result<(Stretch, Option<ReadError>), AmqpError> {
        let mut view = queue.lock().look(from, bounds.messages.min(STRETCH));
        let mut unreadable = LogPos::NONE;
        while let Some(page) = view.page.take() {
            self.wait_readable(page.pos())?;
            match reader.page(page.pos()) {
                Ok(entries) => view.seen = page.seen(&entries),
                Err(fault) if fault.is_passing() => return Err(for_now(queue, &fault)),
                // Its record went as its messages were read in; if it is still a page, it is damaged.
                Err(_) if page.pos() != unreadable => {
                    unreadable = page.pos();
                    view = queue.lock().look(from, bounds.messages.min(STRETCH));
                }
                Err(_) => {}
            }
        }
        let (mut seen, mut next) = (view.seen, view.next);
        // What is more than the bounds is looked at the next time.
        let mut bytes = 0;
        let within = seen.iter().take(bounds.messages).take_while(|seen| {
            let fits = bytes < bounds.bytes;
            bytes += seen.body_bytes();
            fits
        });
        let len = within.count().max(1);
        if let Some(first_left) = seen.get(len) {
            next = Some(first_left.id.cursor());
            seen.truncate(len);
        }
        let unread = || seen.iter().enumerate().filter(|(_, s)| s.message.is_none());
        let (places, positions): (Vec<usize>, Vec<_>) =
            unread().map(|(at, seen)| (at, seen.pos())).unzip();
        let kept = positions.iter().filter(|pos| pos.is_kept());
        if let Some(last) = kept.max() {
            self.wait_readable(*last)?;
        }
        let mut left_out: Option<ReadError> = None;
        reader.messages(&positions, &mut |index, octets| {
            let place = places.get(index).and_then(|&place| seen.get_mut(place));
            match (place, octets) {
                (Some(seen), Ok(octets)) => seen.message = Message::from_logged(octets),
                (Some(_), Err(fault)) if left_out.is_none() || fault.is_passing() => {
                    left_out = Some(fault);
                }
                _ => {}
            }
        });
        if let Some(fault) = left_out.as_ref().filter(|fault| fault.is_passing()) {
            return Err(for_now(queue, fault));
        }
        let messages = seen.into_iter().filter_map(|mut seen| {
            let message = seen.message.take()?;
            Some((seen, message))
        });
        let stretch = Stretch {
            messages: messages.collect(),
            next,
        };
        Ok((stretch, left_out))
    }
}

/// Nothing is left out because the system is short of something.
fn for_now(queue: &QueueRef, fault: &ReadError) -> AmqpError {
    error!(queue = %queue.name, %fault, "messages cannot be read for now");
    AmqpError::internal()
}
