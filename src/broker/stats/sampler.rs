//! The sampler: looks at everything every five seconds, for rates and charts.
//!
//! Owns the rhythm, and what is kept of whom. One task runs it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::overview::OverviewSample;
use crate::base::history::{History, Tier};
use crate::base::{Name, clock};
use crate::broker::Broker;
use crate::broker::vhost::Vhost;

/// From one look to the next.
const STEP: Duration = Duration::from_secs(5);

/// What is kept of the broker and of each vhost: ten minutes, an hour, eight hours, a day.
const SUMS: [Tier; 4] = [tier(5, 121), tier(60, 61), tier(600, 49), tier(1_800, 49)];

/// What is kept of an object: a minute, an hour.
const OBJECT: [Tier; 2] = [tier(5, 13), tier(60, 61)];

/// What is kept of an object once [`HISTORIES_MAX`] have more: enough for a rate.
const RATE_ONLY: [Tier; 1] = [tier(5, 2)];

/// Most objects of a kind with a history of more than its rate: 74 samples of some 150 octets each.
const HISTORIES_MAX: usize = 4_096;

/// Objects looked at before others have the worker.
const YIELD_AFTER: usize = 512;

const fn tier(step_s: u64, kept: usize) -> Tier {
    Tier {
        step_ms: step_s * 1000,
        kept,
    }
}

/// How the sums have developed.
pub(in crate::broker) struct Course {
    node: Mutex<History<OverviewSample>>,
    vhosts: Mutex<HashMap<Name, History<OverviewSample>>>,
}

impl Default for Course {
    fn default() -> Self {
        Course {
            node: Mutex::new(History::new(&SUMS)),
            vhosts: Mutex::default(),
        }
    }
}

impl Course {
    pub(super) fn node(&self) -> History<OverviewSample> {
        self.node.lock().clone()
    }

    pub(super) fn vhost(&self, name: &Name) -> History<OverviewSample> {
        let known = self.vhosts.lock().get(name).cloned();
        known.unwrap_or_else(|| History::new(&SUMS))
    }
}

/// How many more objects may have a long history in this round.
struct Budget(usize);

impl Budget {
    fn tiers(&self) -> &'static [Tier] {
        match self.0 {
            0 => &RATE_ONLY,
            _ => &OBJECT,
        }
    }

    fn spend(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

impl Broker {
    /// Samples everything in turn, for ever. One task runs it.
    pub async fn keep_statistics(&self) {
        let mut ticks = interval(STEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample(clock::now_ms()).await;
        }
    }

    /// Forgets how everything has developed. The counts themselves stay.
    pub fn forget_statistics(&self) {
        *self.course.node.lock() = History::new(&SUMS);
        self.course.vhosts.lock().clear();
        for vhost in self.vhosts() {
            for queue in vhost.queues() {
                queue.lock().forget_history();
            }
            for stats in &vhost.exchange_stats {
                *stats.history.lock() = None;
            }
        }
        for connection in self.connections() {
            connection.forget_history();
        }
    }

    /// One look at everything.
    pub(in crate::broker) async fn sample(&self, now_ms: u64) {
        let mut node = OverviewSample::default();
        let mut queues = Budget(HISTORIES_MAX);
        let vhosts = self.vhosts();
        for vhost in &vhosts {
            let mut sum = OverviewSample::of_clients(self, vhost);
            let topology = vhost.topology();
            for (number, queue) in topology.queues.values().enumerate() {
                if queue.levels().is_used() && queue.lock().sample(now_ms, queues.tiers()) {
                    queues.spend();
                }
                sum.add_queue(queue);
                if number % YIELD_AFTER == YIELD_AFTER - 1 {
                    tokio::task::yield_now().await;
                }
            }
            sample_exchanges(vhost, now_ms);
            node.add(&sum);
            let mut courses = self.course.vhosts.lock();
            courses
                .entry(vhost.name().clone())
                .or_insert_with(|| History::new(&SUMS))
                .push(now_ms, sum);
        }
        let exists = |name: &Name| vhosts.iter().any(|vhost| vhost.name() == name);
        self.course.vhosts.lock().retain(|name, _| exists(name));
        self.course.node.lock().push(now_ms, node);
        let mut clients = Budget(HISTORIES_MAX);
        for connection in self.connections() {
            connection.sample(now_ms, clients.tiers());
            clients.spend();
        }
    }
}

/// Also forgets the counts of exchanges that are gone.
fn sample_exchanges(vhost: &Vhost, now_ms: u64) {
    let topology = vhost.topology();
    let exists = |name: &Name| name.is_empty() || topology.graph.get(name.as_bytes()).is_some();
    let mut budget = Budget(HISTORIES_MAX);
    vhost.exchange_stats.retain(|name, stats| {
        stats
            .history
            .lock()
            .get_or_insert_with(|| History::new(budget.tiers()))
            .push(now_ms, stats.counts());
        budget.spend();
        exists(name)
    });
}
