//! What follows when a queue was changed: records of what was consumed, dead letters, timers.
//!
//! Owns the order in which they follow. A dead letter to a durable queue is one record in the log
//! that takes the message out of one queue and puts it into the others: no crash can lose it or
//! double it. Dead letters can make further queues overflow; that is worked off in a list, never by
//! recursion.

use std::collections::VecDeque;

use super::letters::Letter;
use super::vhost::Vhost;
use crate::base::{AmqpError, LogPos, QueueId, clock};
use crate::message::Message;
use crate::queue::{Dead, DeadLetter, Effects, Queue, QueueRef};
use crate::router::Routes;
use crate::store::{Appended, Batch, RecordOffset, Spilled};

/// A message on its way into a queue.
pub(super) struct Posted {
    to: QueueRef,
    /// In the log.
    record: Option<RecordOffset>,
    /// In the spill.
    spilled: Option<RecordOffset>,
    message: Message,
    /// No limit of the queue refuses it.
    forced: bool,
}

impl Posted {
    /// The same message to several queues. `record` is for those that keep it.
    pub(super) fn to_each(
        targets: impl IntoIterator<Item = QueueRef>,
        message: &Message,
        record: Option<RecordOffset>,
    ) -> impl Iterator<Item = Posted> {
        targets.into_iter().map(move |to| Posted {
            record: record.filter(|_| to.keeps(message)),
            spilled: None,
            to,
            message: message.clone(),
            forced: false,
        })
    }

    /// The same, whatever the limit of its queue.
    pub(super) fn forced(self) -> Self {
        Posted {
            forced: true,
            ..self
        }
    }
}

/// Those of some queues that keep a message on disk.
pub(super) fn keepers(targets: &[QueueRef], message: &Message) -> Vec<QueueId> {
    let kept = targets.iter().filter(|queue| queue.keeps(message));
    kept.map(|queue| queue.id).collect()
}

impl Vhost {
    /// Changes a queue, delivers what can be delivered, and does what follows. The log position that
    /// makes it last.
    pub(super) fn change_queue<T>(
        &self,
        queue: &QueueRef,
        effects: &mut Effects,
        change: impl FnOnce(&mut Queue, u64, &mut Effects) -> T,
    ) -> Result<(T, LogPos), AmqpError> {
        let now_ms = clock::now_ms();
        let value = {
            let mut state = queue.lock();
            let value = change(&mut state, now_ms, effects);
            state.dispatch(effects);
            state.wake(now_ms, effects);
            value
        };
        let end = self.follow_up(queue, effects)?;
        Ok((value, end))
    }

    /// Does what `effects` of `queue` ask for, and empties them.
    pub(super) fn follow_up(
        &self,
        queue: &QueueRef,
        effects: &mut Effects,
    ) -> Result<LogPos, AmqpError> {
        if effects.is_empty() {
            return Ok(LogPos::NONE);
        }
        if effects.dead.is_empty() {
            return self.note(queue, effects);
        }
        self.work_off(VecDeque::from([(queue.clone(), std::mem::take(effects))]))
    }

    pub(super) fn work_off(
        &self,
        mut todo: VecDeque<(QueueRef, Effects)>,
    ) -> Result<LogPos, AmqpError> {
        let mut end = LogPos::NONE;
        while let Some((queue, mut effects)) = todo.pop_front() {
            end = end.max(self.post(&queue, &mut effects, &mut todo)?);
        }
        Ok(end)
    }

    /// Writes the record of a message that goes to some queues, if any of them keeps it.
    pub(super) fn record(
        &self,
        message: &Message,
        targets: &[QueueRef],
        batch: &mut Batch,
    ) -> Option<RecordOffset> {
        let durable = keepers(targets, message);
        let now_ms = clock::now_ms();
        (!durable.is_empty())
            .then(|| message.with_logged(|parts| batch.publish(now_ms, &durable, parts)))
    }

    /// Puts messages into queues, with their records, and does what follows. The log position that
    /// makes it last.
    pub(super) fn post_all(&self, batch: Batch, posted: Vec<Posted>) -> Result<LogPos, AmqpError> {
        let mut todo = VecDeque::new();
        let appended = self.append(batch)?;
        self.put(posted, appended.as_ref(), &mut todo)?;
        let end = appended.map_or(LogPos::NONE, |appended| appended.end());
        Ok(self.work_off(todo)?.max(end))
    }

    fn append(&self, batch: Batch) -> Result<Option<Appended>, AmqpError> {
        if batch.is_empty() {
            return Ok(None);
        }
        let appended = self.log.append(batch);
        appended.map(Some).map_err(|_| AmqpError::internal())
    }

    /// A batch for what happens in a queue, of which nobody is told when it is safe: it is to cause no sync
    /// that the queue's messages do not.
    fn batch_of(&self, queue: &QueueRef) -> Batch {
        let mut batch = self.log.batch();
        let setting = self.log.durability();
        batch.wants(queue.durability().unwrap_or(setting).min(setting));
        batch
    }

    /// The part without dead letters.
    fn note(&self, queue: &QueueRef, effects: &mut Effects) -> Result<LogPos, AmqpError> {
        if let Some(at_ms) = effects.wake_at_ms.take() {
            self.timers.set(queue, at_ms);
        }
        if std::mem::take(&mut effects.load) {
            self.pages.join(queue.clone());
        }
        self.log.release_all(effects.opened.drain(..));
        let kept = |pos: &LogPos| pos.is_kept();
        if !effects.consumed.iter().chain(&effects.pages).any(kept) {
            self.release(effects);
            return Ok(LogPos::NONE);
        }
        let mut batch = self.batch_of(queue);
        batch.ack(queue.id, effects.consumed.iter().copied().filter(kept));
        batch.ack_pages(queue.id, effects.pages.iter().copied().filter(kept));
        let appended = self.log.append(batch).map_err(|_| AmqpError::internal())?;
        self.release(effects);
        Ok(appended.end())
    }

    /// What left a queue for good is needed no longer. After the record that says so.
    pub(super) fn release(&self, effects: &mut Effects) {
        self.log.release_all(effects.consumed.drain(..));
        self.log.release_all(effects.pages.drain(..));
        for (segment, count) in effects.released.drain(..) {
            self.log.release_many(segment, count.into());
        }
    }

    /// Writes pages of what a queue holds beyond its window, and has what comes next spilled if it is too much for
    /// memory. Ends every batch of messages into it, under its lock.
    pub(super) fn page_out(&self, queue: &QueueRef, state: &mut Queue) -> Result<(), AmqpError> {
        if !state.has_long_tail() {
            if queue.spills() {
                queue.show_spills(state.spills());
            }
            return Ok(());
        }
        queue.show_spills(state.spills());
        let spill_takes = self.log.takes_spill();
        state.page_out(self.log.settled(), spill_takes, |lane, entries| {
            if entries.first().is_some_and(|entry| entry.pos.is_spilled()) {
                let mut batch = self.log.batch();
                let record = batch.page(queue.id, lane, LogPos::NONE, entries);
                let spilled = self.log.spill(batch);
                let page = spilled.map_or(LogPos::NONE, |spilled| spilled.position(record));
                return Ok((page, None));
            }
            let mut batch = self.batch_of(queue);
            let record = batch.page(queue.id, lane, LogPos::NONE, entries);
            let appended = self.log.append(batch).map_err(|_| AmqpError::internal())?;
            Ok((appended.position(record), Some(appended)))
        })
    }

    /// Publishes the dead of one queue. What that does to other queues is added to `todo`.
    fn post(
        &self,
        queue: &QueueRef,
        effects: &mut Effects,
        todo: &mut VecDeque<(QueueRef, Effects)>,
    ) -> Result<LogPos, AmqpError> {
        let dead = std::mem::take(&mut effects.dead);
        let letters = queue.settings().options.dead_letter.clone();
        let moved: Vec<LogPos> = dead.iter().map(|d| d.pos).filter(|p| p.is_some()).collect();
        let mut batch = self.log.batch();
        let mut posted = Vec::new();
        for dead in dead {
            match &letters {
                Some(to) => self.address(queue, &dead, to, &mut batch, &mut posted),
                // Another policy came between.
                None if dead.pos.is_kept() => batch.ack(queue.id, [dead.pos]),
                None => {}
            }
        }
        let noted = self.note(queue, effects)?;
        let end = self.post_moved(queue, batch, &moved, posted, todo)?;
        Ok(end.max(noted))
    }

    /// Writes what takes messages out of a queue, which remembers them until then, and puts them where
    /// they go. What that does to other queues is added to `todo`.
    pub(super) fn post_moved(
        &self,
        from: &QueueRef,
        batch: Batch,
        moved: &[LogPos],
        posted: Vec<Posted>,
        todo: &mut VecDeque<(QueueRef, Effects)>,
    ) -> Result<LogPos, AmqpError> {
        let appended = self.append(batch)?;
        from.lock().buried(moved);
        self.log.release_all(moved.iter().copied());
        self.put(posted, appended.as_ref(), todo)?;
        Ok(appended.map_or(LogPos::NONE, |appended| appended.end()))
    }

    /// Puts messages into queues. What that does to them is added to `todo`.
    fn put(
        &self,
        mut posted: Vec<Posted>,
        appended: Option<&Appended>,
        todo: &mut VecDeque<(QueueRef, Effects)>,
    ) -> Result<(), AmqpError> {
        let spilled = self.spill_posted(&mut posted);
        // Stable: each queue gets its letters in the order of the deaths.
        posted.sort_by_key(|letter| letter.to.id);
        for of_one in posted.chunk_by(|a, b| a.to == b.to) {
            let Some(to) = of_one.first().map(|letter| letter.to.clone()) else {
                continue;
            };
            let mut effects = Effects::default();
            let now_ms = clock::now_ms();
            let mut state = to.lock();
            for letter in of_one {
                let pos = match (appended, letter.record, spilled, letter.spilled) {
                    (Some(appended), Some(record), ..) => appended.position(record),
                    (.., Some(spilled), Some(record)) => spilled.position(record),
                    _ => LogPos::NONE,
                };
                let message = letter.message.clone();
                match letter.forced {
                    true => state.put_in(pos, message, now_ms, &mut effects),
                    // A full queue that refuses loses it: at most once, as RabbitMQ's default (A7.8).
                    false => drop(state.publish(pos, message, now_ms, &mut effects)),
                }
            }
            state.dispatch(&mut effects);
            state.wake(now_ms, &mut effects);
            self.page_out(&to, &mut state)?;
            drop(state);
            if !effects.is_empty() {
                todo.push_back((to, effects));
            }
        }
        Ok(())
    }

    /// Gives those a record in the spill that go to queues which want that and do not keep them: one, if
    /// they are the same message.
    fn spill_posted(&self, posted: &mut [Posted]) -> Option<Spilled> {
        let wants = |letter: &Posted| letter.record.is_none() && letter.to.spills();
        if !posted.iter().any(wants) || !self.log.takes_spill() {
            return None;
        }
        let (now_ms, mut batch) = (clock::now_ms(), self.log.batch());
        for same in posted.chunk_by_mut(|a, b| a.message.is_same(&b.message)) {
            let mut wanted: Vec<&mut Posted> = same.iter_mut().filter(|l| wants(l)).collect();
            let count = wanted.len() as u32;
            let Some(message) = wanted.first().map(|letter| letter.message.clone()) else {
                continue;
            };
            let record = message.with_logged(|parts| batch.spill(now_ms, count, parts));
            wanted
                .iter_mut()
                .for_each(|letter| letter.spilled = Some(record));
        }
        self.log.spill(batch)
    }

    /// Finds where a dead message goes, and writes the record of it.
    fn address(
        &self,
        from: &QueueRef,
        dead: &Dead,
        to: &DeadLetter,
        batch: &mut Batch,
        posted: &mut Vec<Posted>,
    ) {
        let now_ms = clock::now_ms();
        let (topology, mut routes) = (self.topology(), Routes::new());
        let (message, targets) = match from.is_store {
            // Its delay is over.
            true => topology.release(&to.exchange, &dead.message, &mut routes),
            false => {
                let letter = Letter::new(&dead.message, &from.name, dead.reason, now_ms / 1000, to);
                let found = topology.route(&letter.message, &letter.extra_keys, &mut routes);
                let allowed = found.into_iter().filter(|to| !letter.is_cycle(&to.name));
                let targets = allowed.collect();
                (letter.message, targets)
            }
        };
        let durable = keepers(&targets, &message);
        let record = match dead.pos.is_kept() {
            false => self.record(&message, &targets, batch),
            true if durable.is_empty() => {
                batch.ack(from.id, [dead.pos]);
                None
            }
            true => Some(
                message
                    .with_logged(|parts| batch.move_to(from.id, dead.pos, now_ms, &durable, parts)),
            ),
        };
        posted.extend(Posted::to_each(targets, &message, record));
    }

    /// A queue's time has come: messages that expired, or the whole queue.
    pub(super) fn on_timer(&self, queue: &QueueRef) -> Result<(), AmqpError> {
        let changed = self.change_queue(queue, &mut Effects::default(), |state, now_ms, _| {
            state.is_expired(now_ms)
        });
        let (expired, _) = changed?;
        match expired {
            // Nobody waits for it to be on disk: after a crash the queue expires again.
            true => self.delete_expired(queue).map(|_| ()),
            false => Ok(()),
        }
    }
}
