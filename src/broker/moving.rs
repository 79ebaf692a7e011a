//! Moving messages from a queue to others on an operator's word.
//!
//! Owns which are moved, and that each is in the old place or in the new ones whatever happens: one
//! record of the log takes it out of its queue and puts it into the others, as with a dead letter.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::aftermath::{Posted, keepers};
use super::browse::Bounds;
use super::letters::extra_keys;
use super::publish::Publisher;
use super::vhost::Vhost;
use crate::auth::Actor;
use crate::base::{AmqpError, LogPos, Name, QueueId, clock};
use crate::message::Message;
use crate::queue::{Cursor, Effects, QueueRef, Seen};
use crate::router::Routes;

/// Where to.
#[derive(Debug, Clone)]
pub enum MoveTo {
    /// Into this queue, the messages as they are.
    Queue(QueueRef),
    /// To where this exchange routes them.
    Exchange {
        /// The exchange.
        exchange: Name,
        /// The routing key; that of each message if there is none.
        routing_key: Option<Bytes>,
    },
}

/// What is to be moved.
#[derive(Debug, Clone)]
pub struct Move {
    /// Out of this queue.
    pub from: QueueRef,
    /// From this place on.
    pub start: Cursor,
    /// Where to.
    pub to: MoveTo,
    /// At most so many.
    pub most: usize,
    /// What stands in the queue stays there.
    pub copy: bool,
}

/// What was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Messages moved.
    pub moved: usize,
    /// Messages looked at.
    pub examined: usize,
    /// Messages wanted that would have gone nowhere, and stay.
    pub unroutable: usize,
    /// The queue that is full and refuses more, if that ended it.
    pub full: Option<Name>,
    /// Where to go on; `None` at the end of the queue.
    pub next: Option<Cursor>,
    /// What makes it last.
    pub end: LogPos,
}

/// Times a stretch is looked at again, since messages changed their places.
const AGAIN_MAX: usize = 3;

/// A message on its way.
struct Going {
    seen: Seen,
    message: Message,
    targets: SmallVec<[QueueRef; 2]>,
}

/// The messages of a stretch that go.
#[derive(Default)]
struct Chosen {
    going: Vec<Going>,
    examined: usize,
    unroutable: usize,
    full: Option<Name>,
    /// Where to go on, if before the end of the stretch.
    stopped_at: Option<Cursor>,
}

impl Vhost {
    /// Moves ready messages that are `wanted`, as far as `bounds` allow. Blocks.
    ///
    /// # Errors
    /// 403 or 404: the actor may not send them there, or there is no such exchange. What was moved
    /// before stays so. 541 if the log has failed.
    pub fn move_messages(
        self: &Arc<Self>,
        actor: &Actor,
        what: &Move,
        bounds: Bounds,
        wanted: &mut dyn FnMut(&Seen, &Message) -> bool,
    ) -> Result<Moved, AmqpError> {
        let mut check = Publisher::new(Arc::clone(self)).held_to(actor.clone());
        check.check_exchange(match &what.to {
            MoveTo::Queue(_) => b"",
            MoveTo::Exchange { exchange, .. } => exchange.as_bytes(),
        })?;
        let mut reader = self.log.reader();
        let mut done = Moved {
            moved: 0,
            examined: 0,
            unroutable: 0,
            full: None,
            next: Some(what.start),
            end: LogPos::NONE,
        };
        // What comes while it runs, from this very move or from others, is not for it.
        let present = what.from.lock().ready_len();
        let most = bounds.messages.min(present);
        let (mut bytes, mut again) = (0, 0);
        while let Some(at) = done.next
            && done.moved < what.most
            && done.examined < most
            && bytes < bounds.bytes
        {
            let left = Bounds {
                messages: most - done.examined,
                bytes: bounds.bytes - bytes,
            };
            let stretch = self.stretch(&what.from, at, left, &mut reader)?;
            bytes += stretch
                .messages
                .iter()
                .map(|(_, m)| m.size())
                .sum::<usize>();
            let room = what.most - done.moved;
            let chosen = self.choose(&check, what, stretch.messages, room, wanted)?;
            let count = chosen.going.len();
            let (gone, end) = self.send_on(what, chosen.going)?;
            done.end = done.end.max(end);
            done.moved += gone;
            // Some have been taken by others, or stand elsewhere since a page was written.
            if gone < count && again < AGAIN_MAX {
                again += 1;
                continue;
            }
            again = 0;
            done.examined += chosen.examined;
            done.unroutable += chosen.unroutable;
            done.next = chosen.stopped_at.or(stretch.next);
            if chosen.full.is_some() {
                done.full = chosen.full;
                break;
            }
        }
        if done.examined >= present {
            done.next = None;
        }
        Ok(done)
    }

    /// Which messages go where.
    fn choose(
        &self,
        check: &Publisher,
        what: &Move,
        messages: Vec<(Seen, Message)>,
        most: usize,
        wanted: &mut dyn FnMut(&Seen, &Message) -> bool,
    ) -> Result<Chosen, AmqpError> {
        let (topology, mut routes) = (self.topology(), Routes::new());
        let mut chosen = Chosen::default();
        let mut added: HashMap<QueueId, (u64, u64)> = HashMap::new();
        for (seen, message) in messages {
            if chosen.going.len() >= most {
                chosen.stopped_at = Some(seen.id.cursor());
                break;
            }
            let is_wanted = wanted(&seen, &message);
            if !is_wanted {
                chosen.examined += 1;
                continue;
            }
            let (message, targets) = match &what.to {
                MoveTo::Queue(queue) => (message, SmallVec::from_iter([queue.clone()])),
                MoveTo::Exchange {
                    exchange,
                    routing_key,
                } => {
                    let key = routing_key.as_deref().unwrap_or(message.routing_key());
                    let extra = match routing_key {
                        None => extra_keys(&message),
                        Some(_) => Vec::new(),
                    };
                    let message = message.readdressed(exchange.as_bytes(), key);
                    check.check_keys(&message, &extra)?;
                    let targets = topology.route(&message, &extra, &mut routes);
                    (message, targets)
                }
            };
            if targets.is_empty() {
                chosen.examined += 1;
                chosen.unroutable += 1;
                continue;
            }
            let bytes = message.body_len() as u64;
            let full = targets.iter().find(|target| {
                let (messages, octets) = added.get(&target.id).copied().unwrap_or_default();
                !target.lock().has_room_for(messages + 1, octets + bytes)
            });
            if let Some(full) = full {
                chosen.full = Some(full.name.clone());
                chosen.stopped_at = Some(seen.id.cursor());
                break;
            }
            for target in &targets {
                let (messages, octets) = added.entry(target.id).or_default();
                (*messages, *octets) = (*messages + 1, *octets + bytes);
            }
            chosen.examined += 1;
            chosen.going.push(Going {
                seen,
                message,
                targets,
            });
        }
        Ok(chosen)
    }

    /// Takes what goes out of its queue, writes where it is now, and puts it there. How many were still
    /// there to be taken.
    fn send_on(&self, what: &Move, mut going: Vec<Going>) -> Result<(usize, LogPos), AmqpError> {
        let mut effects = Effects::default();
        if !what.copy {
            let mut state = what.from.lock();
            going.retain(|one| state.pick_to_move(&one.seen, &mut effects));
        }
        let now_ms = clock::now_ms();
        let mut batch = self.log.batch();
        let mut posted = Vec::new();
        let mut moved = Vec::new();
        for Going {
            seen,
            message,
            targets,
        } in &going
        {
            let durable = keepers(targets, message);
            let taken = seen.pos().is_kept() && !what.copy;
            let record = match (taken, durable.is_empty()) {
                (false, _) => self.record(message, targets, &mut batch),
                (true, true) => {
                    batch.ack(what.from.id, [seen.pos()]);
                    None
                }
                (true, false) => Some(message.with_logged(|parts| {
                    batch.move_to(what.from.id, seen.pos(), now_ms, &durable, parts)
                })),
            };
            // To be released, wherever its record is.
            moved.extend(Some(seen.pos()).filter(|pos| pos.is_some() && !what.copy));
            let each = Posted::to_each(targets.iter().cloned(), message, record);
            posted.extend(each.map(Posted::forced));
        }
        let mut todo = VecDeque::new();
        let end = self.post_moved(&what.from, batch, &moved, posted, &mut todo)?;
        let (_, settled) = self.change_queue(&what.from, &mut effects, |_, _, _| ())?;
        let after = self.work_off(todo)?;
        Ok((going.len(), end.max(settled).max(after)))
    }
}
