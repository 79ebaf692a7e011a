//! A broker whose threads are the test: a log, its queues, and the history of what was appended.
//!
//! Each step is what a broker does at once; between any two of them the machine may stop.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::base::index::{IndexEntry, PageState};
use crate::base::{LogPos, QueueId};
use crate::store::shared::Group;
use crate::store::writer::Writer;
use crate::store::{Appended, Batch, Checkpoint, Log};

use super::mirror::{Loose, Mirror, Place, release_page};
use super::model::{Held, Id, Plan, Step, id_of, message};
use super::sim::Random;

pub(super) const QUEUES: RangeInclusive<u64> = 1..=4;

/// The whole history since the last restart.
pub(super) struct History {
    base: Held,
    batches: Vec<(LogPos, Vec<Step>)>,
    pub(super) now: Held,
}

impl History {
    /// The states that a restart may find: after any number of batches from the durable ones on.
    pub(super) fn allowed(&self, durable: LogPos) -> Vec<Held> {
        let mut held = self.base.clone();
        let mut allowed = Vec::new();
        for (end, steps) in &self.batches {
            if *end > durable {
                allowed.push(held.clone());
            }
            steps.iter().for_each(|step| held.apply(step));
        }
        allowed.push(held);
        allowed
    }
}

/// A checkpoint under way.
pub(super) struct Taking {
    checkpoint: Checkpoint,
    left: Vec<QueueId>,
}

pub(super) struct Machine {
    pub(super) log: Log,
    writer: Writer,
    group: Group,
    pub(super) mirror: Mirror,
    pub(super) history: History,
    pub(super) taking: Option<Taking>,
    /// Appended by a producer that has not come to put it into the queues.
    delayed: Option<(Appended, Vec<(Step, LogPos)>)>,
    next_id: u64,
}

impl Machine {
    pub(super) fn new(log: Log, writer: Writer, mirror: Mirror, held: Held) -> Machine {
        let history = History {
            base: held.clone(),
            batches: Vec::new(),
            now: held,
        };
        Machine {
            log,
            writer,
            group: Group::default(),
            mirror,
            history,
            taking: None,
            delayed: None,
            next_id: 0,
        }
    }

    /// Numbers of messages are never used again.
    pub(super) fn start_numbers(&mut self, life: u64) {
        self.next_id = life * 1_000_000;
    }

    /// The number of the next message of a publisher.
    pub(super) fn next_id(&mut self, publisher: u64) -> Id {
        self.next_id += 1;
        publisher << 32 | self.next_id
    }

    /// One turn of the writer; false once it has failed.
    pub(super) fn turn(&mut self) -> bool {
        if self.log.pending_bytes() > 0 {
            self.log.shared.take(&mut self.group, None);
        }
        self.write()
    }

    /// A turn of the writer while a producer appends: the batch is too late for this turn.
    pub(super) fn turn_while(&mut self, plan: Plan) -> bool {
        if self.log.pending_bytes() > 0 {
            self.log.shared.take(&mut self.group, None);
        }
        self.append(plan) && self.write()
    }

    fn write(&mut self) -> bool {
        match self.writer.turn(&mut self.group) {
            Ok(()) => true,
            Err(failure) => {
                self.log.shared.stop(failure);
                false
            }
        }
    }

    pub(super) fn append(&mut self, plan: Plan) -> bool {
        let (batch, unplaced) = plan.split();
        let Ok(appended) = self.log.append(batch) else {
            return false;
        };
        let steps = unplaced.place(&appended);
        self.note(&appended, &steps);
        for (step, pos) in &steps {
            self.mirror.apply(&self.log, step, *pos);
        }
        true
    }

    fn note(&mut self, appended: &Appended, steps: &[(Step, LogPos)]) {
        let steps: Vec<Step> = steps.iter().map(|(step, _)| step.clone()).collect();
        steps.iter().for_each(|step| self.history.now.apply(step));
        self.history.batches.push((appended.end(), steps));
    }

    /// Another publisher appends, and is interrupted before its messages are in the queues.
    pub(super) fn delay(&mut self, random: &mut Random) -> bool {
        self.arrive();
        let mut plan = Plan::new(&self.log);
        for _ in 0..1 + random.below(3) {
            let queues: Vec<_> = QUEUES.filter(|_| random.one_in(2)).map(QueueId).collect();
            if !queues.is_empty() {
                let octets = message(self.next_id(1), &[7; 20]);
                plan.publish(random.below(1000), &queues, octets);
            }
        }
        let (batch, unplaced) = plan.split();
        let Ok(appended) = self.log.append(batch) else {
            return false;
        };
        let steps = unplaced.place(&appended);
        self.note(&appended, &steps);
        self.delayed = Some((appended, steps));
        true
    }

    /// It goes on.
    pub(super) fn arrive(&mut self) {
        let Some((appended, steps)) = self.delayed.take() else {
            return;
        };
        for (step, pos) in &steps {
            self.mirror.apply(&self.log, step, *pos);
        }
        drop(appended);
    }

    /// A run of messages becomes a page. What stands behind it must have come later in the log.
    pub(super) fn page(&mut self, random: &mut Random) -> bool {
        let settled = self.log.settled();
        let queue = QueueId(1 + random.below(4));
        let priority = random.below(3) as usize;
        let Some(lane) = self
            .mirror
            .queues
            .get_mut(&queue)
            .map(|lanes| &mut lanes[priority])
        else {
            return true;
        };
        if lane.places.is_empty() {
            return true;
        }
        let start = random.below(lane.places.len() as u64) as usize;
        let mut entries = Vec::new();
        let mut first_seq = 0;
        for place in lane
            .places
            .iter()
            .skip(start)
            .take(1 + random.below(6) as usize)
        {
            match place {
                Place::Loose(seq, entry, _) if entry.pos < settled => {
                    if entries.is_empty() {
                        first_seq = *seq;
                    }
                    entries.push(*entry);
                }
                _ => break,
            }
        }
        let behind = lane.places.iter().skip(start + entries.len());
        let behind = behind.map(|place| match place {
            Place::Loose(_, entry, _) => entry.pos,
            Place::Page(page) => page.span.0,
        });
        let last = entries.iter().map(|entry: &IndexEntry| entry.pos).max();
        if entries.is_empty() || behind.min().is_some_and(|behind| Some(behind) < last) {
            return true;
        }
        let mut batch = self.log.batch();
        let offset = batch.page(queue, priority as u8, LogPos::NONE, &entries);
        let Ok(appended) = self.log.append(batch) else {
            return false;
        };
        let page = PageState::new(appended.position(offset), first_seq, &entries);
        lane.places
            .splice(start..start + entries.len(), [Place::Page(page)]);
        true
    }

    /// Queue, lane and number of a page that is on disk.
    fn some_page(&self, random: &mut Random) -> Option<(QueueId, usize, usize)> {
        let mut found = Vec::new();
        for (queue, lanes) in &self.mirror.queues {
            for (priority, lane) in lanes.iter().enumerate() {
                for (at, place) in lane.places.iter().enumerate() {
                    if matches!(place, Place::Page(page) if page.pos < self.log.durable()) {
                        found.push((*queue, priority, at));
                    }
                }
            }
        }
        let index = random.below(found.len().max(1) as u64) as usize;
        found.get(index).copied()
    }

    fn page_at(&mut self, (queue, priority, at): (QueueId, usize, usize)) -> &mut PageState {
        match &mut self.mirror.queues.get_mut(&queue).unwrap()[priority].places[at] {
            Place::Page(page) => page,
            Place::Loose(..) => panic!("not a page"),
        }
    }

    fn read(&self, entry: &IndexEntry) -> Vec<u8> {
        let mut found = None;
        let mut reader = self.log.reader();
        reader.messages(&[entry.pos], &mut |_, octets| {
            found = Some(
                octets
                    .unwrap_or_else(|error| panic!("{error}: {entry:?}"))
                    .to_vec(),
            );
        });
        found.unwrap()
    }

    /// What is left in a page is in memory again.
    pub(super) fn load(&mut self, random: &mut Random) -> bool {
        let Some(which) = self.some_page(random) else {
            return true;
        };
        let page = self.page_at(which).clone();
        let mut places = Vec::new();
        for (place, mut entry) in self
            .log
            .reader()
            .page(page.pos)
            .unwrap()
            .into_iter()
            .enumerate()
        {
            if !page.removed.contains(place) {
                let id = id_of(&self.read(&entry)).unwrap();
                entry.redelivered |= page.redelivered;
                places.push(Place::Loose(page.first_seq + place as u64, entry, id));
            }
        }
        let (queue, priority, at) = which;
        let lane = &mut self.mirror.queues.get_mut(&queue).unwrap()[priority];
        lane.places.splice(at..=at, places);
        self.log.release(page.pos, 1);
        true
    }

    /// A message in the middle of a page goes.
    pub(super) fn expire(&mut self, random: &mut Random) -> bool {
        let Some(which) = self.some_page(random) else {
            return true;
        };
        let page = self.page_at(which).clone();
        let entries = self.log.reader().page(page.pos).unwrap();
        let place = random.below(entries.len() as u64) as usize;
        if page.removed.contains(place) {
            return true;
        }
        let entry = entries[place];
        let id = id_of(&self.read(&entry)).unwrap();
        let mut plan = Plan::new(&self.log);
        plan.ack(which.0, &[(entry.pos, id)]);
        // The step finds it in no place of the mirror, so the rest is done here.
        if !self.append(plan) {
            return false;
        }
        self.log.release(entry.pos, 1);
        let page = self.page_at(which);
        assert!(page.remove(place, entry.pos, entry.body_bytes));
        if page.live() == 0 {
            let pos = page.pos;
            let (queue, priority, at) = which;
            self.mirror.queues.get_mut(&queue).unwrap()[priority]
                .places
                .remove(at);
            self.log.release(pos, 1);
        }
        true
    }

    /// A message was delivered and came back.
    pub(super) fn requeue(&mut self, random: &mut Random) {
        for lane in self.mirror.queues.values_mut().flatten() {
            for place in &mut lane.places {
                if let Place::Loose(_, entry, _) = place
                    && random.one_in(8)
                {
                    entry.redelivered = true;
                    entry.failed_deliveries += random.below(2) as u32;
                }
            }
        }
    }

    pub(super) fn purge(&mut self, random: &mut Random) -> bool {
        let queue = QueueId(1 + random.below(4));
        let Some(lanes) = self.mirror.queues.get(&queue).filter(|_| random.one_in(2)) else {
            return true;
        };
        let lanes = lanes.clone();
        let (mut loose, mut pages, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for place in lanes.iter().flat_map(|lane| &lane.places) {
            match place {
                Place::Loose(_, entry, id) => loose.push((entry.pos, *id)),
                Place::Page(page) => {
                    // The model must be told what was in it.
                    if page.pos >= self.log.durable() {
                        return true;
                    }
                    let entries = self.log.reader().page(page.pos).unwrap();
                    let left = entries.iter().enumerate();
                    let left = left.filter(|(place, _)| !page.removed.contains(*place));
                    ids.extend(left.map(|(_, entry)| id_of(&self.read(entry)).unwrap()));
                    pages.push(page.clone());
                }
            }
        }
        let mut plan = Plan::new(&self.log);
        plan.ack(queue, &loose);
        let positions: Vec<LogPos> = pages.iter().map(|page| page.pos).collect();
        plan.ack_pages(queue, &positions, ids);
        if !self.append(plan) {
            return false;
        }
        self.mirror.queues.remove(&queue);
        pages.iter().for_each(|page| release_page(&self.log, page));
        true
    }

    /// A step of a checkpoint: it begins, a queue's state is taken, it ends.
    pub(super) fn checkpoint(&mut self) -> bool {
        let Some(mut taking) = self.taking.take() else {
            self.taking = Some(Taking {
                checkpoint: self.log.begin_checkpoint(),
                left: QUEUES.map(QueueId).collect(),
            });
            return true;
        };
        if let Some(queue) = taking.left.pop() {
            taking.checkpoint.add(self.mirror.snapshot(queue));
            self.taking = Some(taking);
            return true;
        }
        // The sync of `finish`. What was taken from the log before is not on disk before the rest is.
        if !self.write() || !self.turn() {
            return false;
        }
        assert_eq!(self.log.pending_bytes(), 0);
        match taking.checkpoint.write(false) {
            Ok(()) => true,
            // The disk's refusal is no reason to stop; a machine that stopped is.
            Err(error) => error.to_string().contains("os error"),
        }
    }

    /// The end in order.
    pub(super) fn close(&mut self) -> bool {
        self.taking = None;
        let mut checkpoint = self.log.begin_checkpoint();
        QUEUES.for_each(|queue| checkpoint.add(self.mirror.snapshot(QueueId(queue))));
        checkpoint.write(true).is_ok()
    }

    /// Whether all is as it was left at a clean end, but for the numbers.
    pub(super) fn is_as(&self, left: &Mirror) -> Result<(), String> {
        for queue in QUEUES.map(QueueId) {
            let plain = |mirror: &Mirror| {
                let mut state = mirror.snapshot(queue);
                for lane in &mut state.lanes {
                    lane.next_seq = 0;
                    lane.loose.iter_mut().for_each(|(seq, _)| *seq = 0);
                    lane.pages.iter_mut().for_each(|page| page.first_seq = 0);
                }
                state
            };
            let (found, left) = (plain(&self.mirror), plain(left));
            if found != left {
                return Err(format!("left {left:#?}\nfound {found:#?}"));
            }
        }
        Ok(())
    }

    /// Copies the messages of a segment forward, and has the queues refer to the copies: some of them,
    /// as if the machine were slow.
    pub(super) fn compact(&mut self, random: &mut Random) -> bool {
        // Not what a producer that is late could still hold back from a checkpoint.
        let durable = self.log.settled();
        let mut wanted: BTreeMap<LogPos, IndexEntry> = BTreeMap::new();
        let victim = 1 + random.below(u64::from(durable.segment())) as u32;
        for (_, entry) in self.entries() {
            if entry.pos.segment() == victim && entry.pos < durable {
                wanted.insert(entry.pos, entry);
            }
        }
        if wanted.is_empty() {
            return true;
        }
        let mut batch = self.log.batch();
        let mut offsets = Vec::new();
        for (pos, entry) in &wanted {
            let octets = self.read(entry);
            offsets.push((*pos, batch.copy(entry.stamped_ms, &octets)));
        }
        let Ok(appended) = self.log.append(batch) else {
            return false;
        };
        let copies: BTreeMap<LogPos, LogPos> = offsets
            .into_iter()
            .map(|(old, offset)| (old, appended.position(offset)))
            .collect();
        drop(appended);
        let mut running = self.write() && self.turn();
        for queue in QUEUES.map(QueueId) {
            if running && !random.one_in(4) {
                running = self.refer(queue, &copies);
            }
            if running && self.taking.is_some() && random.one_in(3) {
                running = self.checkpoint();
            }
        }
        self.log.release_all(copies.into_values());
        running
    }

    /// Every entry, in a page or not.
    fn entries(&self) -> Vec<(QueueId, IndexEntry)> {
        let loose = self.mirror.loose().into_iter();
        let mut found: Vec<_> = loose
            .map(|(queue, entry, _): Loose| (queue, entry))
            .collect();
        for (queue, lanes) in &self.mirror.queues {
            for place in lanes.iter().flat_map(|lane| &lane.places) {
                if let Place::Page(page) = place
                    && page.pos < self.log.durable()
                {
                    let entries = self
                        .log
                        .reader()
                        .page(page.pos)
                        .unwrap()
                        .into_iter()
                        .enumerate();
                    let left = entries.filter(|(place, _)| !page.removed.contains(*place));
                    found.extend(left.map(|(_, entry)| (*queue, entry)));
                }
            }
        }
        found
    }

    /// Has a queue refer to the copies, in one batch.
    fn refer(&mut self, queue: QueueId, copies: &BTreeMap<LogPos, LogPos>) -> bool {
        let mut batch: Batch = self.log.batch();
        let (mut renamed, mut replaced) = (Vec::new(), Vec::new());
        let durable = self.log.durable();
        let Some(lanes) = self.mirror.queues.get_mut(&queue) else {
            return true;
        };
        for (priority, lane) in lanes.iter_mut().enumerate() {
            for (at, place) in lane.places.iter_mut().enumerate() {
                match place {
                    Place::Loose(_, entry, _) => {
                        if let Some(copy) = copies.get(&entry.pos) {
                            renamed.push((entry.pos, *copy));
                            entry.pos = *copy;
                        }
                    }
                    Place::Page(page) if page.pos < durable => {
                        let mut entries = self.log.reader().page(page.pos).unwrap();
                        let mut moved = Vec::new();
                        for (place, entry) in entries.iter_mut().enumerate() {
                            if let Some(copy) = copies.get(&entry.pos)
                                && !page.removed.contains(place)
                            {
                                moved.push((entry.pos, *copy));
                                entry.pos = *copy;
                            }
                        }
                        if !moved.is_empty() {
                            let offset = batch.page(queue, priority as u8, page.pos, &entries);
                            replaced.push((priority, at, offset, entries, moved));
                        }
                    }
                    Place::Page(_) => {}
                }
            }
        }
        batch.rename(queue, &renamed);
        let Ok(appended) = self.log.append(batch) else {
            return false;
        };
        let mut moved = renamed;
        for (priority, at, offset, entries, of_page) in replaced {
            let page = self.page_at((queue, priority, at));
            let old = page.clone();
            *page = PageState::new(appended.position(offset), old.first_seq, &entries);
            page.redelivered = old.redelivered;
            for (place, entry) in entries.iter().enumerate() {
                if old.removed.contains(place) {
                    page.remove(place, entry.pos, entry.body_bytes);
                }
            }
            self.log.release(old.pos, 1);
            moved.extend(of_page);
        }
        for (old, new) in moved {
            self.log.hold_many(new.segment(), 1);
            self.log.release(old, 1);
        }
        true
    }
}
