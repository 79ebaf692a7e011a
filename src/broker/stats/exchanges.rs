//! Counts of exchanges: what clients published in, and what came out into queues.
//!
//! Owns the counts, and each publisher's own until the end of its batch.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::Name;
use crate::base::counter::SharedCounter;
use crate::base::history::History;
use crate::broker::vhost::Vhost;
use crate::counts;

counts! {
    /// Messages through an exchange.
    pub struct ExchangeCounts {
        /// Published to it by clients.
        published_in,
        /// Put into queues by it, once for each queue.
        published_out,
    }
}

/// One exchange's.
#[derive(Default)]
pub struct ExchangeStats {
    published_in: SharedCounter,
    published_out: SharedCounter,
    pub(super) history: Mutex<Option<History<ExchangeCounts>>>,
}

impl ExchangeStats {
    /// The counts so far.
    pub fn counts(&self) -> ExchangeCounts {
        ExchangeCounts {
            published_in: self.published_in.get(),
            published_out: self.published_out.get(),
        }
    }

    /// The course of the counts, once there is one.
    pub fn history(&self) -> Option<History<ExchangeCounts>> {
        self.history.lock().clone()
    }
}

/// Exchanges that a publisher remembers.
const REMEMBERED_MAX: usize = 64;

/// What one publisher has counted since its last flush.
#[derive(Default)]
pub(in crate::broker) struct ExchangeTally {
    counted: Vec<Counted>,
    current: usize,
}

struct Counted {
    exchange: Name,
    stats: Arc<ExchangeStats>,
    counts: ExchangeCounts,
}

impl ExchangeTally {
    /// What is counted from now on is for `exchange`, which is there.
    pub(in crate::broker) fn turn_to(&mut self, vhost: &Vhost, exchange: &[u8]) {
        let is_it = |counted: &Counted| counted.exchange.as_bytes() == exchange;
        if self.counted.get(self.current).is_some_and(is_it) {
            return;
        }
        if let Some(known) = self.counted.iter().position(is_it) {
            self.current = known;
            return;
        }
        if self.counted.len() >= REMEMBERED_MAX {
            self.forget();
        }
        let exchange = Name::from(String::from_utf8_lossy(exchange).as_ref());
        self.current = self.counted.len();
        self.counted.push(Counted {
            stats: vhost.exchange_stats(&exchange),
            exchange,
            counts: ExchangeCounts::default(),
        });
    }

    /// A message, to so many queues.
    pub(in crate::broker) fn count(&mut self, queues: usize) {
        if let Some(current) = self.counted.get_mut(self.current) {
            current.counts.published_in += 1;
            current.counts.published_out += queues as u64;
        }
    }

    /// Adds what was counted to the exchanges.
    pub(in crate::broker) fn flush(&mut self) {
        for counted in &mut self.counted {
            let ExchangeCounts {
                published_in,
                published_out,
            } = std::mem::take(&mut counted.counts);
            if published_in > 0 {
                counted.stats.published_in.add(published_in);
                counted.stats.published_out.add(published_out);
            }
        }
    }

    /// Forgets the exchanges: some may be gone.
    pub(in crate::broker) fn forget(&mut self) {
        self.flush();
        self.counted.clear();
        self.current = 0;
    }
}
