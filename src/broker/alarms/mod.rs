//! Alarms: too little memory, or too little room on the disk (A1.15).
//!
//! Owns the limits, what was measured last, and whether publishers are stopped. Never stops one: a connection
//! asks after each batch that published, and is woken when all alarms are over.

mod probe;

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

pub use probe::{Probe, Reading, SystemProbe};

use crate::base::blocked_reason;
use crate::config::{self, Limit};

/// How often the resources are measured.
pub(super) const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Bits of [`Alarms::raised`].
const MEMORY: u8 = 1;
const DISK: u8 = 2;

/// See the module.
pub struct Alarms {
    probe: Box<dyn Probe>,
    /// Which alarms there are.
    raised: AtomicU8,
    state: Mutex<State>,
}

struct State {
    limits: config::Alarms,
    reading: Reading,
}

/// The alarms and what they come from, for whoever shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmsView {
    /// More memory is in use than the watermark allows.
    pub memory_alarm: bool,
    /// There is less room on the disk than there must be.
    pub disk_alarm: bool,
    /// Octets of the process that are resident.
    pub memory_used_bytes: u64,
    /// Octets from which on the memory alarm is raised.
    pub memory_limit_bytes: u64,
    /// Octets that the process may use at most: the machine's or the control group's.
    pub memory_total_bytes: u64,
    /// Octets free where the data directory is.
    pub disk_free_bytes: u64,
    /// Octets below which the disk alarm is raised.
    pub disk_limit_bytes: u64,
}

impl Alarms {
    /// Measures at once, so that a broker that starts short of something knows it.
    pub(super) fn new(limits: &config::Alarms, probe: Box<dyn Probe>) -> Self {
        let state = State {
            limits: limits.clone(),
            reading: probe.read(),
        };
        let alarms = Alarms {
            probe,
            raised: AtomicU8::new(0),
            state: Mutex::new(state),
        };
        alarms.update(|_| ());
        alarms
    }

    /// Why publishers are stopped, in the words that clients are told; `None` if they are not. Cheap.
    pub fn reason(&self) -> Option<&'static str> {
        let raised = self.raised.load(Ordering::SeqCst);
        blocked_reason(raised & MEMORY != 0, raised & DISK != 0)
    }

    /// What is measured, allowed and exceeded now.
    pub fn view(&self) -> AlarmsView {
        let State { limits, reading } = &*self.state.lock();
        let raised = self.raised.load(Ordering::SeqCst);
        AlarmsView {
            memory_alarm: raised & MEMORY != 0,
            disk_alarm: raised & DISK != 0,
            memory_used_bytes: reading.memory_used_bytes,
            memory_limit_bytes: limits.memory_watermark.bytes(reading.memory_total_bytes),
            memory_total_bytes: reading.memory_total_bytes,
            disk_free_bytes: reading.disk_free_bytes,
            disk_limit_bytes: limits.disk_free_limit.bytes(reading.memory_total_bytes),
        }
    }

    /// Measures. Whether all alarms are over that there were. May wait for a slow disk.
    pub(super) fn measure(&self) -> bool {
        let reading = self.probe.read();
        self.update(|state| state.reading = reading)
    }

    /// As [`Self::measure`], with another limit of memory.
    pub(super) fn set_memory_watermark(&self, watermark: Limit) -> bool {
        self.update(|state| state.limits.memory_watermark = watermark)
    }

    /// As [`Self::measure`], with another limit of free disk.
    pub(super) fn set_disk_free_limit(&self, limit: Limit) -> bool {
        self.update(|state| state.limits.disk_free_limit = limit)
    }

    fn update(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.state.lock();
        change(&mut state);
        let State { limits, reading } = &*state;
        let memory_limit = limits.memory_watermark.bytes(reading.memory_total_bytes);
        let disk_limit = limits.disk_free_limit.bytes(reading.memory_total_bytes);
        let memory = reading.memory_used_bytes > memory_limit;
        // A disk that takes no more is full whatever the limit.
        let disk = reading.disk_full || reading.disk_free_bytes < disk_limit;
        let raised = if memory { MEMORY } else { 0 } | if disk { DISK } else { 0 };
        let before = self.raised.swap(raised, Ordering::SeqCst);
        let of = |bit: u8| (before & bit != 0, raised & bit != 0);
        tell(
            "memory",
            of(MEMORY),
            reading.memory_used_bytes,
            memory_limit,
        );
        tell("disk", of(DISK), reading.disk_free_bytes, disk_limit);
        before != 0 && raised == 0
    }
}

fn tell(what: &'static str, (before, now): (bool, bool), bytes: u64, limit_bytes: u64) {
    match (before, now) {
        (false, true) => warn!(what, bytes, limit_bytes, "alarm: publishers are stopped"),
        (true, false) => info!(what, bytes, limit_bytes, "the alarm is over"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    struct Fake(Arc<Mutex<Reading>>);

    impl Probe for Fake {
        fn read(&self) -> Reading {
            *self.0.lock()
        }
    }

    fn alarms() -> (Arc<Mutex<Reading>>, Alarms) {
        let reading = Arc::new(Mutex::new(Reading {
            memory_used_bytes: 100 * MIB,
            memory_total_bytes: 1000 * MIB,
            disk_free_bytes: 1000 * MIB,
            disk_full: false,
        }));
        let alarms = Alarms::new(&config::Alarms::default(), Box::new(Fake(reading.clone())));
        (reading, alarms)
    }

    #[test]
    fn a1_15_each_shortage_has_its_reason_and_its_end() {
        let (reading, alarms) = alarms();
        assert_eq!(alarms.reason(), None);
        reading.lock().memory_used_bytes = 601 * MIB;
        assert!(!alarms.measure());
        assert_eq!(alarms.reason(), Some("low on memory"));
        reading.lock().disk_free_bytes = 10 * MIB;
        alarms.measure();
        assert_eq!(alarms.reason(), Some("low on memory & disk"));
        reading.lock().memory_used_bytes = 599 * MIB;
        assert!(!alarms.measure(), "one is left");
        assert_eq!(alarms.reason(), Some("low on disk"));
        reading.lock().disk_free_bytes = 60 * MIB;
        assert!(alarms.measure());
        assert_eq!(alarms.reason(), None);
        assert!(!alarms.measure(), "over already");
    }

    #[test]
    fn a_full_disk_is_an_alarm_without_a_limit_too() {
        let (reading, alarms) = alarms();
        alarms.set_disk_free_limit(Limit::Bytes(0));
        reading.lock().disk_free_bytes = 0;
        alarms.measure();
        assert_eq!(alarms.reason(), None, "nobody has found it full");
        reading.lock().disk_full = true;
        alarms.measure();
        assert_eq!(alarms.reason(), Some("low on disk"));
        reading.lock().disk_full = false;
        assert!(alarms.measure());
    }

    #[test]
    fn a1_15_limits_change_at_run_time_and_count_at_once() {
        let (_, alarms) = alarms();
        alarms.set_memory_watermark(Limit::Bytes(99 * MIB));
        assert_eq!(alarms.reason(), Some("low on memory"));
        assert!(alarms.set_memory_watermark(Limit::Fraction(0.2)));
        alarms.set_disk_free_limit(Limit::Fraction(1.5));
        assert_eq!(alarms.reason(), Some("low on disk"));
        let view = alarms.view();
        assert_eq!((view.memory_alarm, view.disk_alarm), (false, true));
        assert_eq!(view.memory_limit_bytes, 200 * MIB);
        assert_eq!(view.disk_limit_bytes, 1500 * MIB);
    }
}
