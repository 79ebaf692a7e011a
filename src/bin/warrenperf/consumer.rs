//! A consumer: reads large pieces, walks the frames in them, acknowledges once per read.

use crate::check::{ConsumerCheck, Findings, QueueCheck};
use crate::client::{CHANNEL, Client};
use crate::clock;
use crate::delivery::{Assembler, Delivery, Event};
use crate::error::{Error, Result};
use crate::gather::Gather;
use crate::latency::Latency;
use crate::link::Fill;
use crate::shared::{Control, Phase, Progress};
use crate::wire;
use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::FieldTable;

/// What a consumer is to do.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Where from.
    pub(crate) queue: String,
    /// At most so many unacknowledged; 0 for no limit.
    pub(crate) prefetch: u16,
    /// Acknowledge every so many; 0 for automatically.
    pub(crate) ack_every: u32,
    /// Bodies carry stamps of this run's clock.
    pub(crate) timed: bool,
    /// How many publishers of this run, for the check.
    pub(crate) publishers: u16,
    /// Nothing depends on how soon a delivery is read, so several may gather.
    pub(crate) relaxed: bool,
    /// How many to take.
    pub(crate) limit: u64,
}

/// What it did.
#[derive(Debug)]
pub(crate) struct Received {
    /// From send to delivery.
    pub(crate) latency: Latency,
    /// What the check found, loss aside.
    pub(crate) findings: Findings,
}

/// A consumer at work.
#[derive(Debug)]
pub(crate) struct Consumer<'a> {
    client: Client,
    job: Job,
    assembler: Assembler,
    check: Option<ConsumerCheck<'a>>,
    gather: Option<Gather>,
    control: &'a Control,
    progress: &'a Progress,
    latency: Latency,
    acks: Vec<u8>,
    /// Deliveries since the last acknowledgement, and the tag of the last.
    unacked: (u32, u64),
    received: u64,
}

impl<'a> Consumer<'a> {
    /// Prepares the channel.
    pub(crate) fn new(
        mut client: Client,
        job: Job,
        check: Option<&'a QueueCheck>,
        control: &'a Control,
        progress: &'a Progress,
    ) -> Result<Self> {
        if job.prefetch > 0 {
            let qos = basic::AMQPMethod::Qos(basic::Qos {
                prefetch_count: job.prefetch,
                global: false,
            });
            client.call(CHANNEL, AMQPClass::Basic(qos), "basic.qos")?;
        }
        Ok(Self {
            assembler: Assembler::default(),
            check: check.map(|queue| ConsumerCheck::new(queue, job.publishers)),
            gather: job.relaxed.then(Gather::default),
            latency: Latency::new()?,
            acks: Vec::new(),
            unacked: (0, 0),
            received: 0,
            client,
            job,
            control,
            progress,
        })
    }

    /// Consumes until told to stop or the limit is reached.
    pub(crate) fn work(mut self) -> Result<Received> {
        clock::tighten_sleep();
        consume(&mut self.client, &self.job.queue, self.job.ack_every == 0)?;
        // Deliveries may have come along with the answer.
        self.walk()?;
        while self.control.phase() < Phase::Stop && self.received < self.job.limit {
            self.flush_acks()?;
            if self.client.link.fill()? == Fill::More {
                self.walk()?;
                self.relax();
            }
        }
        let (count, tag) = self.unacked;
        if count > 0 {
            wire::put_ack(&mut self.acks, CHANNEL, tag, true);
        }
        self.client.link.write_all(&self.acks, 50)?;
        self.client.close();
        Ok(Received {
            latency: self.latency,
            findings: self.check.map(|c| c.findings()).unwrap_or_default(),
        })
    }

    /// Takes in all whole frames that were read.
    fn walk(&mut self) -> Result<()> {
        let now = clock::now_ns();
        let timed = self.job.timed && self.control.phase() == Phase::Measure;
        let before = self.received;
        while self.received < self.job.limit
            && let Some(frame) = self.client.link.next_frame()?
        {
            match self.assembler.take(frame)? {
                Event::Nothing => {}
                Event::Delivered(delivery) => self.delivered(&delivery, timed.then_some(now)),
                Event::Cancelled => {
                    return Err(Error::Protocol("the queue is gone: basic.cancel".into()));
                }
            }
        }
        if let Some(check) = &mut self.check {
            check.judge();
        }
        if self.received > before {
            self.progress.add(self.received - before, now);
        }
        Ok(())
    }

    /// Lets deliveries gather, if nobody waits for them.
    fn relax(&mut self) {
        if let Some(gather) = &mut self.gather {
            let now = clock::now_ns();
            clock::sleep_until(now + gather.pause(now, self.client.link.last_read()));
        }
    }

    #[inline]
    fn delivered(&mut self, delivery: &Delivery, now: Option<u64>) {
        self.received += 1;
        if let (Some(now), Some(stamp)) = (now, delivery.stamp) {
            self.latency.record(now.saturating_sub(stamp.time));
        }
        if let Some(check) = &mut self.check {
            check.note(delivery);
        }
        match self.job.ack_every {
            0 => {}
            1 => wire::put_ack(&mut self.acks, CHANNEL, delivery.tag, false),
            every => {
                self.unacked = (self.unacked.0 + 1, delivery.tag);
                if self.unacked.0 >= every {
                    wire::put_ack(&mut self.acks, CHANNEL, delivery.tag, true);
                    self.unacked.0 = 0;
                }
            }
        }
    }

    /// Writes the acknowledgements, as far as the broker takes them now: while it takes none it
    /// may be waiting for us to read.
    fn flush_acks(&mut self) -> Result<()> {
        if !self.acks.is_empty() {
            let written = self.client.link.write_some(&self.acks)?;
            self.acks.drain(..written);
        }
        Ok(())
    }
}

/// Starts deliveries from a queue.
pub(crate) fn consume(client: &mut Client, queue: &str, auto_ack: bool) -> Result<()> {
    let consume = basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        consumer_tag: "c".into(),
        no_local: false,
        no_ack: auto_ack,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    });
    client.call(CHANNEL, AMQPClass::Basic(consume), "basic.consume")?;
    Ok(())
}
