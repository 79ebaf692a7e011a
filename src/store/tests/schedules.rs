//! Random schedules of work, crashes and restarts against the naive model.
//!
//! The writer and the catalogue are driven by hand, so a seed says all that happens.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::base::QueueId;
use crate::store::catalogue::{Change, Keeper};
use crate::store::directory::{Parts, recover};
use crate::store::options::Options;
use crate::store::{Table, error::StoreError};

use super::machine::{Machine, QUEUES};
use super::mirror::Mirror;
use super::model::{Held, Plan, message};
use super::sim::{Fault, Random, SimIo};
use super::sim_rows::SimRows;

/// What drives the store's other thread.
pub(super) struct Catalogue {
    keeper: Keeper,
    changes: Receiver<Vec<Change>>,
}

impl Catalogue {
    pub(super) fn keep(&mut self, flush: bool) {
        while let Ok(changes) = self.changes.try_recv() {
            self.keeper.apply(&changes).unwrap();
        }
        if flush {
            self.keeper.flush().unwrap();
        }
    }
}

pub(super) fn start(
    io: &SimIo,
    rows: &SimRows,
    random: &mut Random,
) -> Result<(Machine, Catalogue, bool), String> {
    let options = Options {
        segment_bytes: 512 + random.below(2048) as u32,
        full_retry_every: Duration::ZERO,
        ..Options::default()
    };
    let parts = recover(
        Arc::new(io.clone()),
        Box::new(rows.clone()),
        options,
        super::model::describe,
        false,
    );
    let Parts {
        log,
        writer,
        keeper,
        changes,
        recovered,
    } = parts.map_err(|error: StoreError| error.to_string())?;
    let clean = recovered.clean;
    let (mirror, held) = Mirror::recovered(recovered, clean)?;
    let machine = Machine::new(log, writer, mirror, held);
    Ok((machine, Catalogue { keeper, changes }, clean))
}

/// A batch of random content. Every message acked in it is one that is held now, and none twice.
fn random_plan(machine: &mut Machine, random: &mut Random) -> Plan {
    let mut plan = Plan::new(&machine.log);
    let mut messages = machine.mirror.loose();
    for _ in 0..1 + random.below(4) {
        let queues: Vec<_> = QUEUES.filter(|_| random.one_in(2)).map(QueueId).collect();
        let rest: Vec<u8> = (0..random.below(300))
            .map(|_| random.next() as u8)
            .collect();
        match random.below(10) {
            0..=3 if !queues.is_empty() => {
                plan.publish(
                    random.below(1000),
                    &queues,
                    message(machine.next_id(0), &rest),
                );
            }
            4..=6 if !messages.is_empty() => {
                let first = random.below(messages.len() as u64) as usize;
                let (queue, ..) = messages[first];
                let mut acked = Vec::new();
                messages.retain(|(of, entry, id)| {
                    let taken = *of == queue && random.one_in(2);
                    if taken {
                        acked.push((entry.pos, *id));
                    }
                    !taken
                });
                if random.one_in(3) {
                    acked.reverse();
                }
                plan.ack(queue, &acked);
            }
            7 if !messages.is_empty() && !queues.is_empty() => {
                let index = random.below(messages.len() as u64) as usize;
                let (queue, entry, id) = messages.swap_remove(index);
                let moved = message(machine.next_id(0), &rest);
                plan.move_to((queue, entry.pos, id), random.below(1000), &queues, moved);
            }
            8 => plan.put(Table::Queues, &[random.below(8) as u8], &rest),
            9 => plan.delete(Table::Queues, &[random.below(8) as u8]),
            _ => plan.ack(QueueId(9), &[(crate::base::LogPos::new(1, 999), 0)]),
        }
    }
    plan
}

/// Appends, writes, keeps, takes checkpoints; false once the disk has failed.
pub(super) fn work(machine: &mut Machine, catalogue: &mut Catalogue, random: &mut Random) -> bool {
    for _ in 0..random.below(100) {
        let running = match random.below(20) {
            0..=4 => {
                let plan = random_plan(machine, random);
                machine.append(plan)
            }
            5..=7 => machine.turn(),
            8 => {
                let plan = random_plan(machine, random);
                machine.turn_while(plan)
            }
            9 => {
                catalogue.keep(random.one_in(2));
                true
            }
            10 => machine.delay(random),
            11 => {
                machine.arrive();
                true
            }
            12..=13 => machine.page(random),
            14 => machine.load(random),
            15 => machine.expire(random),
            16 => {
                machine.requeue(random);
                true
            }
            17 => machine.purge(random),
            18 => machine.compact(random),
            _ => machine.checkpoint(),
        };
        if !running {
            return false;
        }
    }
    true
}

/// One life of the process: returns what a restart may find, and whether it was shut down cleanly;
/// `None` if the end came during the shutdown.
fn live(
    machine: &mut Machine,
    catalogue: &mut Catalogue,
    io: &SimIo,
    random: &mut Random,
) -> (Vec<Held>, Option<bool>) {
    if !random.one_in(4) {
        let fault = match random.below(8) {
            0..=1 => Fault::Error,
            2 => Fault::Full,
            _ => Fault::Crash,
        };
        io.fail_after(random.below(90), fault);
    }
    let running = work(machine, catalogue, random);
    let mut clean = Some(false);
    if running && random.one_in(2) {
        machine.arrive();
        let mut done = machine.turn();
        if done {
            catalogue.keep(true);
            done = machine.close();
        }
        clean = done.then_some(true);
    }
    if random.one_in(2) {
        // The catalogue's thread may come to run after the log has failed.
        catalogue.keep(true);
    }
    if machine.log.failure().is_some() {
        assert_ne!(clean, Some(true));
        assert!(
            machine.log.append(machine.log.batch()).is_err(),
            "a failed log takes nothing"
        );
    }
    (machine.history.allowed(machine.log.durable()), clean)
}

/// What schedules have seen.
#[derive(Debug, Default)]
struct Seen {
    /// Times the log was opened, also in vain.
    starts: u64,
    /// Ends that were told to the log.
    clean_stops: u64,
    /// Ends at which what was not synced was lost, torn or reordered.
    power_cuts: u64,
    /// Ends at which the kernel went on.
    kills: u64,
    /// Lives in which the disk failed.
    disk_failures: u64,
}

fn schedule(seed: u64, seen: &mut Seen) -> Result<(), String> {
    let mut random = Random(seed);
    let io = SimIo::new(random.next());
    let rows = SimRows::default();
    let mut allowed = vec![Held::default()];
    let mut was_clean = None;
    let mut left: Option<Mirror> = None;
    for life in 0..6 {
        let (mut machine, mut catalogue, clean) = loop {
            seen.starts += 1;
            match start(&io, &rows, &mut random) {
                Ok(started) => break started,
                // The fault is sometimes left over for the start: start again.
                Err(_) if io.crashed() => {
                    seen.power_cuts += 1;
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
        if !allowed.contains(&machine.history.now) {
            return Err(format!(
                "life {life}: found\n{:?}\nallowed\n{allowed:#?}",
                machine.history.now
            ));
        }
        if let Some(left) = left.filter(|_| clean) {
            machine
                .is_as(&left)
                .map_err(|error| format!("life {life}: {error}"))?;
        }
        machine.start_numbers(life);
        let (next, closed) = live(&mut machine, &mut catalogue, &io, &mut random);
        allowed = next;
        was_clean = closed;
        left = Some(machine.mirror.clone());
        if life == 5 && machine.log.failure().is_none() && !io.crashed() && closed == Some(false) {
            io.fail_after(u64::MAX >> 1, Fault::Crash);
            space_comes_back(&mut machine, &mut catalogue)?;
        }
        let failed = machine.log.failure().is_some();
        drop(machine);
        let crashed = io.crashed();
        seen.disk_failures += u64::from(failed && !crashed);
        let cut = crashed || random.one_in(2);
        match (closed, cut) {
            (Some(true), _) => seen.clean_stops += 1,
            (_, true) => seen.power_cuts += 1,
            (_, false) => seen.kills += 1,
        }
        io.restart(cut);
        rows.restart();
        // The next start may crash, too. It is then no longer clean.
        if random.one_in(3) {
            io.fail_after(random.below(6), Fault::Crash);
            was_clean = None;
        }
    }
    Ok(())
}

/// When nothing is held any more, nothing but the last segments stays.
fn space_comes_back(machine: &mut Machine, catalogue: &mut Catalogue) -> Result<(), String> {
    machine.arrive();
    machine.mirror.release_all(&machine.log);
    if !machine.turn() {
        return Err(String::from("the log has failed"));
    }
    catalogue.keep(true);
    machine.taking = None;
    for _ in 0..QUEUES.count() + 2 {
        if !machine.checkpoint() {
            return Err(String::from("no checkpoint"));
        }
    }
    match machine.log.totals() {
        (1, 0) => Ok(()),
        totals => Err(format!("segments and messages that stay: {totals:?}")),
    }
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
    let mut seen = Seen::default();
    for seed in first..first + count {
        if let Err(error) = schedule(seed, &mut seen) {
            panic!("WARREN_SEED={seed} WARREN_SEEDS=1: {error}");
        }
    }
    println!("{count} schedules from seed {first} on: {seen:?}");
}
