//! A publisher: writes batches as fast as the broker, its window and its rate let it.

use crate::client::{CHANNEL, Client};
use crate::clock;
use crate::confirm::ConfirmWindow;
use crate::error::{Error, Result};
use crate::latency::Latency;
use crate::link::{Fill, PATIENCE};
use crate::pacer::Pacer;
use crate::shared::{Control, Phase, Progress};
use crate::template::{Batch, Shape};
use crate::wire;
use amq_protocol::protocol::{AMQPClass, confirm};

/// How many times PATIENCE a stopping publisher waits for the broker to move.
const LAST_TRIES: u32 = 100;

/// How many writes go by between looks for a close, when there are no confirms to read.
const WRITES_PER_LOOK: u32 = 64;

/// What a publisher is to do.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its number in the stamps.
    pub(crate) id: u16,
    /// What to send.
    pub(crate) shape: Shape,
    /// How many unconfirmed at most, if confirms are wanted.
    pub(crate) window: Option<usize>,
    /// Messages per second.
    pub(crate) rate: Option<f64>,
    /// How many to send.
    pub(crate) limit: u64,
}

/// What it did.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Its number in the stamps.
    pub(crate) id: u16,
    /// How many it sent.
    pub(crate) messages: u64,
    /// From send to confirm.
    pub(crate) latency: Latency,
}

/// A publisher at work.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    client: Client,
    job: Job,
    batch: Batch,
    window: Option<ConfirmWindow>,
    pacer: Option<Pacer>,
    control: &'a Control,
    progress: &'a Progress,
    latency: Latency,
    seq: u64,
    writes: u32,
}

impl<'a> Publisher<'a> {
    /// Prepares the channel and the buffer.
    pub(crate) fn new(
        mut client: Client,
        job: Job,
        control: &'a Control,
        progress: &'a Progress,
    ) -> Result<Self> {
        if job.window.is_some() {
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
            client.call(CHANNEL, AMQPClass::Confirm(select), "confirm.select")?;
        }
        Ok(Self {
            batch: Batch::new(&job.shape, CHANNEL, client.frame_max),
            window: job.window.map(ConfirmWindow::new),
            pacer: None,
            latency: Latency::new()?,
            seq: 0,
            writes: 0,
            client,
            job,
            control,
            progress,
        })
    }

    /// Publishes until told to stop or the limit is reached, then makes sure all has arrived.
    pub(crate) fn work(mut self) -> Result<Sent> {
        clock::tighten_sleep();
        let rate = self.job.rate;
        self.pacer = rate.map(|rate| Pacer::new(clock::now_ns(), rate));
        while self.seq < self.job.limit && self.control.phase() < Phase::Drain {
            let now = clock::now_ns();
            match self.allowance(now) {
                0 => self.wait(now)?,
                count => self.publish(now, count)?,
            }
        }
        self.await_confirms()?;
        self.client.close_channel(CHANNEL)?;
        self.client.close();
        Ok(Sent {
            id: self.job.id,
            messages: self.seq,
            latency: self.latency,
        })
    }

    /// How many messages to write now.
    fn allowance(&self, now: u64) -> usize {
        let left = self.job.limit - self.seq;
        let due = self
            .pacer
            .map_or(left, |p| p.ready(self.seq, now).min(left));
        let count = usize::try_from(due).unwrap_or(usize::MAX);
        let count = count.min(self.batch.room());
        match &self.window {
            None => count,
            Some(window) if window.room() < window.worthwhile().min(count) => 0,
            Some(window) => window.room().min(count),
        }
    }

    /// Waits for a confirm or the next due time.
    fn wait(&mut self, now: u64) -> Result<()> {
        let due = self.pacer.map_or(0, |p| p.due(self.seq));
        if due <= now {
            // Only the window holds us up.
            self.client.link.fill()?;
            return self.take_confirms();
        }
        let until = due.min(now + PATIENCE.as_nanos() as u64);
        if self.window.is_none() {
            clock::sleep_until(until);
            return Ok(());
        }
        self.client.link.wait(until - now)?;
        self.look()
    }

    fn publish(&mut self, now: u64, count: usize) -> Result<()> {
        let (pacer, first) = (self.pacer, self.seq);
        let sent_at = |seq| pacer.map_or(now, |p| p.due(seq));
        let bytes = self.batch.fill(self.job.id, first, count, sent_at);
        let mut unsent = bytes;
        let mut tries = LAST_TRIES;
        while !unsent.is_empty() {
            let written = self.client.link.write_some(unsent)?;
            unsent = unsent.get(written..).unwrap_or_default();
            if written == 0 && self.control.phase() >= Phase::Drain {
                tries = tries
                    .checked_sub(1)
                    .ok_or(Error::Timeout("what was published"))?;
            }
        }
        self.seq += count as u64;
        if let Some(window) = &mut self.window {
            (first..self.seq).for_each(|seq| window.sent(sent_at(seq)));
        }
        self.progress.add(count as u64, clock::now_ns());
        self.writes = self.writes.wrapping_add(1);
        if self.window.is_some() || self.writes.is_multiple_of(WRITES_PER_LOOK) {
            self.look()?;
        }
        Ok(())
    }

    /// Takes in what the broker has said, without waiting.
    fn look(&mut self) -> Result<()> {
        match self.client.link.fill_now()? {
            Fill::More => self.take_confirms(),
            Fill::Idle => Ok(()),
        }
    }

    fn take_confirms(&mut self) -> Result<()> {
        let measured = self.control.phase() == Phase::Measure;
        let now = clock::now_ns();
        let (mut confirmed, mut nacked) = (0, 0);
        while let Some(frame) = self.client.link.next_frame()? {
            let Some((method, arguments)) = frame.method() else {
                continue;
            };
            match (method, &mut self.window) {
                (wire::BASIC_ACK | wire::BASIC_NACK, Some(window)) => {
                    let (tag, multiple) = wire::tag_and_flag(arguments)
                        .ok_or_else(|| Error::Protocol("a short confirm".into()))?;
                    let latency = &mut self.latency;
                    let mut settled = 0;
                    window.settle(tag, multiple, |sent| {
                        settled += 1;
                        if measured {
                            latency.record(now.saturating_sub(sent));
                        }
                    });
                    match method {
                        wire::BASIC_ACK => confirmed += settled,
                        _ => nacked += settled,
                    }
                }
                (wire::CHANNEL_CLOSE | wire::CONNECTION_CLOSE, _) => {
                    return Err(wire::close_error(method, arguments));
                }
                _ => {}
            }
        }
        self.progress.add_confirms(confirmed, nacked, now);
        Ok(())
    }

    fn await_confirms(&mut self) -> Result<()> {
        let mut tries = LAST_TRIES;
        while self.window.as_ref().is_some_and(|w| w.unconfirmed() > 0) {
            if self.client.link.fill()? == Fill::Idle {
                tries = tries
                    .checked_sub(1)
                    .ok_or(Error::Timeout("the last messages"))?;
            }
            self.take_confirms()?;
        }
        Ok(())
    }
}
