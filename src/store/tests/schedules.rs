//! Random schedules of work, crashes and restarts against the naive model.
//!
//! The writer and the catalogue are driven by hand, so a seed says all that happens.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::base::{LogPos, QueueId};
use crate::store::catalogue::{Change, Keeper};
use crate::store::directory::{Parts, recover};
use crate::store::log::Log;
use crate::store::options::{Durability, Options};
use crate::store::shared::Group;
use crate::store::writer::Writer;
use crate::store::{Table, error::StoreError};

use super::model::{Held, Plan, Step, recovered};
use super::sim::{Fault, Random, SimIo};
use super::sim_rows::SimRows;

/// A store whose threads are the test.
struct Machine {
    log: Log,
    writer: Writer,
    keeper: Keeper,
    changes: Receiver<Vec<Change>>,
    group: Group,
}

/// The whole history since the last restart.
struct History {
    base: Held,
    batches: Vec<(LogPos, Vec<Step>)>,
    now: Held,
}

impl History {
    fn new(base: Held) -> History {
        History {
            now: base.clone(),
            base,
            batches: Vec::new(),
        }
    }

    /// The states that a restart may find: after any number of batches from the durable ones on.
    fn allowed(&self, durable: LogPos) -> Vec<Held> {
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

fn start(io: &SimIo, rows: &SimRows, random: &mut Random) -> Result<(Machine, Held, bool), String> {
    let durability = Durability::Fsync;
    let segment_bytes = 512 + random.below(2048) as u32;
    let options = Options {
        segment_bytes,
        durability,
        ..Options::default()
    };
    let parts = recover(Arc::new(io.clone()), Box::new(rows.clone()), options);
    let Parts {
        log,
        writer,
        keeper,
        changes,
        recovered: found,
    } = parts.map_err(|error: StoreError| error.to_string())?;
    let (held, clean) = recovered(found)?;
    Ok((
        Machine {
            log,
            writer,
            keeper,
            changes,
            group: Group::default(),
        },
        held,
        clean,
    ))
}

impl Machine {
    /// One turn of the writer; false once it has failed.
    fn turn(&mut self) -> bool {
        self.log.shared.nudge();
        self.log.shared.take(&mut self.group, None);
        match self.writer.turn(&mut self.group) {
            Ok(()) => true,
            Err(failure) => {
                self.log.shared.stop(failure);
                false
            }
        }
    }

    /// A turn of the writer while a producer appends: the batch is too late for this turn.
    fn turn_while(&mut self, plan: Plan, history: &mut History) -> bool {
        self.log.shared.nudge();
        self.log.shared.take(&mut self.group, None);
        if !self.append(plan, history) {
            return false;
        }
        match self.writer.turn(&mut self.group) {
            Ok(()) => true,
            Err(failure) => {
                self.log.shared.stop(failure);
                false
            }
        }
    }

    fn keep(&mut self, flush: bool) {
        while let Ok(changes) = self.changes.try_recv() {
            self.keeper.apply(&changes).unwrap();
        }
        if flush {
            self.keeper.flush().unwrap();
        }
    }

    fn append(&mut self, plan: Plan, history: &mut History) -> bool {
        let (batch, steps) = plan.split();
        let Ok(appended) = self.log.append(batch) else {
            return false;
        };
        let steps = steps.place(&appended);
        let before = history.now.clone();
        steps.iter().for_each(|step| history.now.apply(step));
        history.batches.push((appended.end(), steps.clone()));
        drop(appended);
        // What left the queues is released, once.
        for step in &steps {
            if let Step::Ack { queue, positions } = step {
                for position in positions {
                    if before
                        .queues
                        .get(queue)
                        .is_some_and(|held| held.contains_key(position))
                    {
                        self.log.release(*position, 1);
                    }
                }
            }
        }
        true
    }
}

/// A batch of random content. Every message acked in it is one that is held now, and none twice.
fn random_plan(machine: &Machine, held: &Held, random: &mut Random) -> Plan {
    let mut plan = Plan::new(machine.log.batch());
    let mut messages = held.messages();
    for _ in 0..1 + random.below(4) {
        let queues: Vec<_> = (1..=4).filter(|_| random.one_in(2)).map(QueueId).collect();
        let payload: Vec<u8> = (0..random.below(300))
            .map(|_| random.next() as u8)
            .collect();
        match random.below(10) {
            0..=3 => plan.publish(random.below(1000), &queues, &payload),
            4..=6 if !messages.is_empty() => {
                let first = random.below(messages.len() as u64) as usize;
                let (queue, _) = messages[first];
                let mut positions = Vec::new();
                messages.retain(|(of, position)| {
                    let taken = *of == queue && random.one_in(2);
                    if taken {
                        positions.push(*position);
                    }
                    !taken
                });
                if random.one_in(3) {
                    positions.reverse();
                }
                plan.ack(queue, positions);
            }
            7 if !messages.is_empty() => {
                let index = random.below(messages.len() as u64) as usize;
                let from = messages.swap_remove(index);
                plan.move_to(from, random.below(1000), &queues, &payload);
            }
            8 => plan.put(Table::Queues, &[random.below(8) as u8], &payload),
            9 => plan.delete(Table::Queues, &[random.below(8) as u8]),
            _ => plan.ack(QueueId(9), vec![LogPos::new(1, 999)]),
        }
    }
    plan
}

fn redelivered_plan(machine: &Machine, held: &Held, random: &mut Random) -> Plan {
    let mut plan = Plan::new(machine.log.batch());
    for (queue, position) in held.messages() {
        if random.one_in(3) || held.redelivered.contains(&(queue, position)) {
            plan.redelivered(queue, vec![position]);
        }
    }
    plan
}

/// Appends, writes, keeps; false once the disk has failed.
fn work(machine: &mut Machine, history: &mut History, random: &mut Random) -> bool {
    let mut running = true;
    for _ in 0..random.below(60) {
        running = match random.below(8) {
            0..=3 => {
                let plan = random_plan(machine, &history.now, random);
                machine.append(plan, history)
            }
            4..=5 => machine.turn(),
            6 => {
                let plan = random_plan(machine, &history.now, random);
                machine.turn_while(plan, history)
            }
            _ => {
                machine.keep(random.one_in(2));
                true
            }
        };
        if !running {
            break;
        }
    }
    running
}

/// One life of the process: returns what a restart may find, and whether it was shut down cleanly;
/// `None` if the end came during the shutdown.
fn live(
    machine: &mut Machine,
    io: &SimIo,
    base: Held,
    random: &mut Random,
) -> (Vec<Held>, Option<bool>) {
    let mut history = History::new(base);
    if !random.one_in(4) {
        let fault = if random.one_in(4) {
            Fault::Error
        } else {
            Fault::Crash
        };
        io.fail_after(random.below(60), fault);
    }
    let running = work(machine, &mut history, random);
    let mut clean = Some(false);
    if running && random.one_in(2) {
        let plan = redelivered_plan(machine, &history.now, random);
        let mut batch = machine.log.batch();
        batch.clean_shutdown();
        let done = machine.append(plan, &mut history)
            && machine.log.append(batch).is_ok()
            && machine.turn();
        clean = done.then_some(true);
        machine.keep(done);
    }
    if random.one_in(2) {
        // The catalogue's thread may come to run after the log has failed.
        machine.keep(true);
    }
    let durable = machine.log.durable();
    if machine.log.failure().is_some() {
        assert_ne!(clean, Some(true));
        assert!(
            machine.log.append(machine.log.batch()).is_err(),
            "a failed log takes nothing"
        );
    }
    (history.allowed(durable), clean)
}

fn schedule(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let io = SimIo::new(random.next());
    let rows = SimRows::default();
    let mut allowed = vec![Held::default()];
    let mut was_clean = None;
    for life in 0..6 {
        let (mut machine, mut held, clean) = loop {
            match start(&io, &rows, &mut random) {
                Ok(started) => break started,
                // The fault is sometimes left over for the start: start again.
                Err(_) if io.crashed() => {
                    io.restart(random.one_in(2));
                    rows.restart();
                }
                Err(error) => return Err(format!("life {life}: {error}")),
            }
        };
        if let Some(was_clean) = was_clean
            && clean != was_clean
        {
            return Err(format!("life {life}: clean is {clean}, not {was_clean}"));
        }
        // After a crash nobody knows what was redelivered.
        if !clean {
            allowed.iter_mut().for_each(|held| held.redelivered.clear());
        }
        if !allowed.contains(&held) {
            return Err(format!(
                "life {life}: found {held:#?}\nallowed {allowed:#?}"
            ));
        }
        if !clean {
            held.redelivered = held.messages().into_iter().collect();
        }
        let (next, closed) = live(&mut machine, &io, held, &mut random);
        allowed = next;
        was_clean = closed;
        drop(machine);
        let crashed = io.crashed();
        io.restart(crashed || random.one_in(2));
        rows.restart();
        // The next start may crash, too. It is then no longer clean.
        if random.one_in(3) {
            io.fail_after(random.below(6), Fault::Crash);
            was_clean = None;
        }
    }
    Ok(())
}

#[test]
fn what_was_durable_survives_and_nothing_comes_back() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let first = number("WARREN_SEED").unwrap_or(0);
    let count = number("WARREN_SEEDS").unwrap_or(600);
    for seed in first..first + count {
        if let Err(error) = schedule(seed) {
            panic!("WARREN_SEED={seed} WARREN_SEEDS=1: {error}");
        }
    }
}
