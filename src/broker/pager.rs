//! Reads from the log what queues want and do not have in memory.
//!
//! Owns the thread that does it, `warren-pager`, and the line of queues that wait for it: each is in it
//! at most once, since a queue asks once until its load is done. Whoever waits for one message of a
//! queue ([`Vhost::get`]) reads that on its own thread. Which messages are read is the queue's to say.
//!
//! [`Vhost::get`]: super::Vhost::get

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use tracing::{debug, error, warn};

use super::vhost::Vhost;
use crate::base::index::IndexEntry;
use crate::base::limits::QUEUE_WINDOW_BYTES;
use crate::base::{AmqpError, LogPos, Name, clock};
use crate::message::Message;
use crate::queue::{Effects, Load, Queue, QueueRef, Wanted};
use crate::store::{Durable, Log, ReadError, Reader};

/// The vhosts by name, shared with who must see them all.
pub(super) type Vhosts = Arc<ArcSwap<HashMap<Name, Arc<Vhost>>>>;

/// What cannot be read since the system is short of something is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often that is said.
const SAY_AGAIN_EVERY: Duration = Duration::from_secs(10);

/// How often somebody who waits for one message tries, and how long it is between two tries.
const NEEDED_TRIES_MAX: u32 = 50;
const NEEDED_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Queues that wait for the pager.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    queues: VecDeque<QueueRef>,
    /// Those that come again, and when, in order.
    later: VecDeque<(Instant, QueueRef)>,
    stopped: bool,
}

impl Line {
    /// A queue wants something read.
    pub(super) fn join(&self, queue: QueueRef) {
        self.state.lock().queues.push_back(queue);
        self.changed.notify_one();
    }

    /// As [`Self::join`], in a while.
    fn join_later(&self, queue: QueueRef) {
        let at = Instant::now() + AGAIN_AFTER;
        self.state.lock().later.push_back((at, queue));
    }

    /// The queue whose turn it is; waits for one. `None` when the pager is to stop.
    fn next(&self) -> Option<QueueRef> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            let now = Instant::now();
            while let Some((_, queue)) = state.later.pop_front_if(|(at, _)| *at <= now) {
                state.queues.push_back(queue);
            }
            if let Some(queue) = state.queues.pop_front() {
                return Some(queue);
            }
            match state.later.front().map(|(at, _)| *at) {
                Some(at) => drop(self.changed.wait_until(&mut state, at)),
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        state.queues.clear();
        state.later.clear();
        drop(state);
        self.changed.notify_all();
    }
}

/// The running thread.
pub(super) struct Pager {
    line: Arc<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pager {
    pub(super) fn start(line: Arc<Line>, log: Log, vhosts: Vhosts) -> std::io::Result<Pager> {
        let thread = std::thread::Builder::new()
            .name("warren-pager".into())
            .spawn({
                let line = Arc::clone(&line);
                move || run(&line, &log, &vhosts)
            })?;
        Ok(Pager {
            line,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The line of queues that wait for it.
    pub(super) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// Ends the thread; what it is reading comes to its end.
    pub(super) fn stop(&self) {
        self.line.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in it has been printed; queues then go on with what they have in memory.
            let _ = thread.join();
        }
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(line: &Arc<Line>, log: &Log, vhosts: &Vhosts) {
    let mut reader = log.reader();
    let mut said: Option<Instant> = None;
    while let Some(queue) = line.next() {
        let Some(vhost) = vhosts.load().get(&queue.vhost).cloned() else {
            continue;
        };
        let now_ms = clock::now_ms();
        let load = queue
            .lock()
            .next_load(log.durable(), now_ms, QUEUE_WINDOW_BYTES);
        match load {
            Load::Nothing => {}
            Load::Wait(pos) => {
                // A log that has failed makes nothing durable any more.
                if log.failure().is_none() {
                    let again = Again(Arc::clone(line), queue);
                    log.notify_when_durable(LogPos(pos.0 + 1), Arc::new(again));
                }
            }
            load => match vhost.read_in(&queue, load, &mut reader) {
                Ok(None) => line.join(queue),
                Ok(Some(fault)) => {
                    if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN_EVERY) {
                        said = Some(Instant::now());
                        warn!(queue = %queue.name, %fault, "messages cannot be read for now");
                    }
                    line.join_later(queue);
                }
                Err(fault) => debug!(queue = %queue.name, %fault, "pager"),
            },
        }
    }
}

/// A queue that joins the line again.
struct Again(Arc<Line>, QueueRef);

impl Durable for Again {
    fn durable(&self) {
        self.0.join(self.1.clone());
    }
}

/// What was read for a queue.
pub(super) enum Found {
    /// The entries of a page.
    Page(LogPos, Result<Vec<IndexEntry>, ReadError>),
    /// Each, or why not.
    Messages(Vec<(Wanted, Result<Message, ReadError>)>),
}

impl Vhost {
    /// Reads what a queue wants, without its lock, gives it that, and does what follows. Why some of it is
    /// to be read again later, if so.
    fn read_in(
        &self,
        queue: &QueueRef,
        load: Load,
        reader: &mut Reader,
    ) -> Result<Option<ReadError>, AmqpError> {
        let Some(found) = read(load, reader, QUEUE_WINDOW_BYTES) else {
            return Ok(None);
        };
        let mut effects = Effects::default();
        let changed = self.change_queue(queue, &mut effects, |state, _, effects| {
            put_in(queue, state, found, effects)
        });
        changed.map(|(passing, _)| passing)
    }

    /// Reads, on this thread, what stands first in a queue that has it on disk only; `load` says what. At
    /// most about `budget_bytes` of messages. Waits a little if the system is short of something, and counts that in
    /// `tries`.
    pub(super) fn read_first(
        &self,
        queue: &QueueRef,
        load: Load,
        budget_bytes: usize,
        tries: &mut u32,
        effects: &mut Effects,
    ) -> Result<(), AmqpError> {
        if let Load::Wait(pos) = load {
            return self.wait_readable(pos);
        }
        let Some(found) = read(load, &mut self.log.reader(), budget_bytes) else {
            return Ok(());
        };
        let passing = put_in(queue, &mut queue.lock(), found, effects);
        if let Some(fault) = passing {
            *tries += 1;
            if *tries >= NEEDED_TRIES_MAX {
                error!(queue = %queue.name, %fault, "messages cannot be read for now");
                return Err(AmqpError::internal());
            }
            std::thread::sleep(NEEDED_AGAIN_AFTER);
        }
        Ok(())
    }
}

impl Vhost {
    /// Waits, on this thread, until the record at `pos` can be read.
    pub(super) fn wait_readable(&self, pos: LogPos) -> Result<(), AmqpError> {
        if !pos.is_readable(self.log.durable()) {
            let gate = Arc::new(Gate::default());
            let waiter = Arc::clone(&gate);
            self.log.notify_when_durable(LogPos(pos.0 + 1), waiter);
            gate.wait();
        }
        match self.log.failure() {
            Some(_) => Err(AmqpError::internal()),
            None => Ok(()),
        }
    }
}

/// Reads all of a queue, at the start.
pub(super) fn read_all(queue: &QueueRef, state: &mut Queue, log: &Log, reader: &mut Reader) {
    let mut effects = Effects::default();
    loop {
        let load = state.next_needed(log.durable(), usize::MAX);
        match read(load, reader, usize::MAX) {
            Some(found) => {
                if let Some(fault) = put_in(queue, state, found, &mut effects) {
                    wait_at_start(&fault);
                }
            }
            None => break,
        }
    }
    log.release_all(effects.opened);
}

/// The entries of a page, at the start; as long as the system is short of something it is tried again.
pub(super) fn page_at_start(
    reader: &mut Reader,
    pos: LogPos,
) -> Result<Vec<IndexEntry>, ReadError> {
    loop {
        match reader.page(pos) {
            Err(fault) if fault.is_passing() => wait_at_start(&fault),
            done => return done,
        }
    }
}

fn wait_at_start(fault: &ReadError) {
    error!(%fault, "the start waits for what cannot be read for now");
    std::thread::sleep(AGAIN_AFTER);
}

/// Opens when what is waited for is durable, or never will be.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut open = self.open.lock();
        while !*open {
            self.opened.wait(&mut open);
        }
    }
}

impl Durable for Gate {
    fn durable(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

/// Messages that are more than the budget are left for the next time.
pub(super) fn read(load: Load, reader: &mut Reader, budget_bytes: usize) -> Option<Found> {
    match load {
        Load::Nothing | Load::Wait(_) => None,
        Load::Page(pos) => Some(Found::Page(pos, reader.page(pos))),
        Load::Messages(wanted) => {
            let positions: Vec<LogPos> = wanted.iter().map(|wanted| wanted.pos).collect();
            let mut found = Vec::with_capacity(wanted.len());
            let mut octets = 0;
            reader.messages(&positions, &mut |index, message| {
                let Some(&wanted) = wanted.get(index) else {
                    return;
                };
                // The first one in any case, or nothing would ever come.
                if octets > budget_bytes && index > 0 {
                    return;
                }
                let message = message.and_then(|octets| {
                    let no_message = || ReadError::damaged(wanted.pos, "there is no message");
                    Message::from_logged(octets).ok_or_else(no_message)
                });
                octets += message.as_ref().map_or(0, Message::size);
                found.push((wanted, message));
            });
            Some(Found::Messages(found))
        }
    }
}

/// What cannot be read is said, unless it has left the queue meanwhile. What cannot be read for now stays as it
/// is; then it is told why.
pub(super) fn put_in(
    queue: &QueueRef,
    state: &mut Queue,
    found: Found,
    effects: &mut Effects,
) -> Option<ReadError> {
    let mut passing = None;
    match found {
        Found::Page(pos, Ok(entries)) => state.page_loaded(pos, &entries, effects),
        Found::Page(_, Err(fault)) if fault.is_passing() => passing = Some(fault),
        Found::Page(pos, Err(fault)) => {
            if state.page_unreadable(pos) {
                error!(queue = %queue.name, %fault, "messages cannot be read and are set aside; stop the broker and see what `warren repair` can save");
            }
        }
        Found::Messages(found) => {
            // From the last one on: to set one aside must not move those before it.
            for (wanted, message) in found.into_iter().rev() {
                match message {
                    Ok(message) => state.loaded(wanted, message),
                    Err(fault) if fault.is_passing() => passing = Some(fault),
                    Err(fault) => {
                        if state.unreadable(wanted) {
                            error!(queue = %queue.name, %fault, "a message cannot be read and is set aside; stop the broker and see what `warren repair` can save");
                        }
                    }
                }
            }
        }
    }
    passing
}
