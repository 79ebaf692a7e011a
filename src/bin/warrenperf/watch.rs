//! Watches the workers: begins and ends the measured window, prints progress, waits for the rest.

use crate::args::OutputArgs;
use crate::clock;
use crate::error::Result;
use crate::live::Live;
use crate::measure::{Gauges, Moment};
use crate::shared::{Control, Phase};

const TICK: u64 = 10_000_000;
const SECOND: u64 = 1_000_000_000;

/// How long nothing may happen before a run that ends by count is taken as ended.
const STALLED: u64 = 5 * SECOND;

/// What ends the measured window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Nanoseconds before it begins.
    pub(crate) warmup: u64,
    /// Nanoseconds it lasts.
    pub(crate) time: Option<u64>,
    /// How many deliveries are the last, when publishers or queues have an end.
    pub(crate) deliveries: Option<u64>,
}

/// The watching thread's state.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    control: &'a Control,
    gauges: &'a Gauges,
    ending: Ending,
    live: Live,
    begin: u64,
    shown: Moment,
    seconds: u64,
    peak_rss: u64,
}

impl<'a> Watch<'a> {
    /// One that has not begun to watch.
    pub(crate) fn new(
        control: &'a Control,
        gauges: &'a Gauges,
        ending: Ending,
        output: &OutputArgs,
    ) -> Self {
        let seconds = ending.time.map(|time| (ending.warmup + time) / SECOND);
        Self {
            control,
            gauges,
            ending,
            live: Live::new(output, seconds),
            begin: 0,
            shown: Moment::default(),
            seconds: 0,
            peak_rss: 0,
        }
    }

    /// The broker's resident memory in KiB: at `end`, and the most seen.
    pub(crate) fn broker_rss(&self, end: &Moment) -> Option<(u64, u64)> {
        let usage = end.broker?;
        Some((usage.rss_kib, self.peak_rss.max(usage.rss_kib)))
    }

    /// Makes ready, before the load begins. Without a warm-up the window begins here, so that it
    /// holds the very first message.
    pub(crate) fn arm(&mut self) -> Result<()> {
        self.shown = self.gauges.read()?;
        self.begin = self.shown.time;
        if self.ending.warmup == 0 {
            self.control.set(Phase::Measure);
        }
        Ok(())
    }

    /// From the start of the load to the end of the measured window; gives its bounds.
    pub(crate) fn measure(&mut self) -> Result<(Moment, Moment)> {
        let bounds = self.bounds();
        self.live.end();
        bounds
    }

    fn bounds(&mut self) -> Result<(Moment, Moment)> {
        let from = self.warm_up()?;
        let deadline = self.ending.time.map_or(u64::MAX, |time| from.time + time);
        while clock::now_ns() < deadline {
            if self.over() {
                let mut to = self.gauges.read()?;
                if self.control.running() {
                    // It ended by itself, somewhere within the last tick or stall.
                    to.time = self.gauges.last_activity().max(from.time);
                }
                return Ok((from, to));
            }
            self.tick(deadline)?;
        }
        Ok((from, self.gauges.read()?))
    }

    /// Waits for the measured window; gives its beginning.
    fn warm_up(&mut self) -> Result<Moment> {
        if self.ending.warmup == 0 {
            return Ok(self.shown);
        }
        let deadline = self.begin + self.ending.warmup;
        while clock::now_ns() < deadline && !self.over() {
            self.tick(deadline)?;
        }
        self.control.set(Phase::Measure);
        self.gauges.read()
    }

    /// Whether the load has ended before its time.
    fn over(&self) -> bool {
        if !self.control.running() || self.gauges.worked_all() {
            return true;
        }
        if !self.gauges.publishers.is_empty() && !self.gauges.published_all() {
            return false;
        }
        let Some(deliveries) = self.ending.deliveries else {
            return false;
        };
        self.gauges.consumed_all() || self.gauges.delivered() >= deliveries || self.stalled(STALLED)
    }

    fn stalled(&self, patience: u64) -> bool {
        let last = self.gauges.last_activity().max(self.begin);
        clock::now_ns().saturating_sub(last) > patience
    }

    /// Sleeps a little, and shows progress once a second.
    fn tick(&mut self, deadline: u64) -> Result<()> {
        let now = clock::now_ns();
        clock::sleep_until(deadline.min(now + TICK));
        let next = self.begin + (self.seconds + 1) * SECOND;
        if clock::now_ns() < next {
            return Ok(());
        }
        self.seconds += 1;
        let moment = self.gauges.read()?;
        if let Some(usage) = moment.broker {
            self.peak_rss = self.peak_rss.max(usage.rss_kib);
        }
        let measured = self.control.phase() == Phase::Measure;
        self.live.show(self.seconds, measured, &self.shown, &moment);
        self.shown = moment;
        Ok(())
    }

    /// Waits until every publisher is through.
    pub(crate) fn await_publishers(&self) {
        while !self.gauges.published_all() && !self.control.failed() {
            clock::sleep_until(clock::now_ns() + TICK);
        }
    }

    /// Waits until so many were delivered, or none for `patience` seconds.
    pub(crate) fn drain(&self, deliveries: u64, patience: f64) {
        let patience = (patience * 1e9) as u64;
        while self.gauges.delivered() < deliveries
            && !self.stalled(patience)
            && !self.control.failed()
        {
            clock::sleep_until(clock::now_ns() + TICK);
        }
    }
}
