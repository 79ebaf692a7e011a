//! The task of one connection: socket, timers, and the loop around the state machine.
//!
//! Owns the socket and the read buffer. One round takes what other tasks left, writes, waits for
//! whatever comes first, and reads once; the cost of a wake-up is shared by all that came with it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::{debug, info};

use super::connection::{Inquiry, Phase};
use super::newcomers::Newcomer;
use super::outbox::Outbox;
use super::stream::{Origin, Stream};
use super::{Connection, Settings};
use crate::auth::{Login, LoginRefused, Proof};
use crate::base::limits::{QUOTA_LOOK_EVERY, READ_MAX_BYTES, READ_MIN_BYTES};
use crate::base::{LogPos, clock};
use crate::broker::Broker;
use crate::broker::stats::ConnectionStats;

/// Runs a connection from accept to its end.
pub async fn serve<S: Stream>(
    stream: S,
    origin: Origin,
    newcomer: Newcomer,
    broker: Arc<Broker>,
    settings: Arc<Settings>,
) {
    let outbox = Arc::new(Outbox::default());
    let Origin { peer, local, .. } = origin;
    let deadline = origin.accepted + settings.handshake_timeout;
    let stats = broker.connect(outbox.clone(), peer, local);
    let id = stats.id();
    debug!(connection = %id, %peer, %local, "accepted");
    let handle = Arc::clone(&broker);
    let connection = Connection::new(
        Arc::clone(&stats),
        broker,
        settings,
        Arc::clone(&outbox),
        origin,
    );
    let mut task = Task {
        stream,
        peer,
        outbox,
        broker: Arc::clone(&handle),
        connection,
        stats,
        input: Input::default(),
        pulse: Pulse::default(),
        watched: None,
        watching_room: false,
        inquiry: None,
        newcomer: Some(newcomer),
        quiet: None,
        expires_at_s: None,
        expiry: None,
    };
    let ended = task.run(deadline).await;
    task.stream.finish();
    task.connection.end();
    handle.disconnect(id);
    debug!(connection = %id, %peer, reason = ended.err().map(|e| e.to_string()), "ended");
}

/// Octets read after which the task lets others have the worker.
const YIELD_AFTER_BYTES: usize = 16 * 1024;

struct Task<S> {
    stream: S,
    peer: SocketAddr,
    outbox: Arc<Outbox>,
    broker: Arc<Broker>,
    connection: Connection,
    stats: Arc<ConnectionStats>,
    input: Input,
    pulse: Pulse,
    /// The log position whose coming to disk will wake us.
    watched: Option<LogPos>,
    /// The log had no room when last asked, and will wake us when it has.
    watching_room: bool,
    /// What is being found out about the client.
    inquiry: Option<Running>,
    /// Until it is open.
    newcomer: Option<Newcomer>,
    /// Until when the socket is not read, as a quota is passed.
    quiet: Option<Pin<Box<Sleep>>>,
    /// When the client's credentials end, and the alarm for it.
    expires_at_s: Option<u64>,
    expiry: Option<Pin<Box<Sleep>>>,
}

/// A hash may be slow, or another login before it, or a server that is asked.
type Running = Pin<Box<dyn Future<Output = Finding> + Send>>;

/// What was found out.
enum Finding {
    Login(Result<Login, LoginRefused>),
    /// What the user may do, which it knows itself.
    Answers,
}

impl<S: Stream> Task<S> {
    async fn run(&mut self, handshake_deadline: Instant) -> io::Result<()> {
        let mut phase = Phase::Handshake;
        let timer = sleep_until(handshake_deadline);
        let look = sleep_until(handshake_deadline);
        tokio::pin!(timer, look);
        let mut look_every = None;
        let mut unyielded_bytes = 0;

        loop {
            self.connection.work();
            self.write()?;
            if self.outbox.has_starved() {
                // The write made room for consumers that were passed over.
                tokio::task::yield_now().await;
                continue;
            }
            if self.connection.phase() == Phase::Ended && !self.has_output() {
                return Ok(());
            }
            self.begin_inquiry();
            self.watch_expiry();
            self.watch_log();
            if phase != self.connection.phase() {
                phase = self.connection.phase();
                self.newcomer = None;
                if let Some(next) = self.deadline(phase) {
                    timer.as_mut().reset(next);
                }
            }
            if look_every != self.connection.look_every() {
                look_every = self.connection.look_every();
                look.as_mut()
                    .reset(Instant::now() + look_every.unwrap_or_default());
            }
            let interest = self.interest();
            if unyielded_bytes >= YIELD_AFTER_BYTES {
                unyielded_bytes = 0;
                tokio::task::yield_now().await;
            }
            // In this order, so that a busy socket cannot keep the timers from being seen. It may come
            // before the outbox, as every round looks into that first.
            tokio::select! {
                biased;
                () = timer.as_mut() => self.on_timer(timer.as_mut())?,
                () = evicted(&self.newcomer) => return Err(timed_out("made room for others")),
                () = look.as_mut(), if look_every.is_some() => {
                    let now = Instant::now();
                    self.connection.look(now.into_std());
                    look.as_mut().reset(now + look_every.unwrap_or_default());
                }
                finding = found(&mut self.inquiry) => {
                    self.inquiry = None;
                    self.set_busy(false);
                    let buf = &mut self.input.buf;
                    match finding {
                        Finding::Login(result) => self.connection.logged_in(result, buf),
                        Finding::Answers => self.connection.answered(buf),
                    }
                    self.pause();
                }
                () = over(&mut self.quiet) => self.pause(),
                () = over(&mut self.expiry) => {
                    self.expiry = None;
                    self.connection.expire();
                }
                ready = ready(&self.stream, interest) => {
                    if ready?.is_readable() && self.wants_input() {
                        let count = self.read()?;
                        // Readiness does not count against a task's budget: without this a busy
                        // publisher would keep the worker from those it has woken. Small reads are
                        // most often alone, and a turn of the scheduler costs more than they do.
                        unyielded_bytes += count.max(YIELD_AFTER_BYTES / 16);
                    }
                }
                () = self.outbox.woken() => {}
            }
        }
    }

    /// Lets the socket be for as long as a quota asks for, which may change meanwhile.
    fn pause(&mut self) {
        let left = self.connection.pause_left();
        self.quiet = left.map(|left| Box::pin(sleep(left.min(QUOTA_LOOK_EVERY))));
    }

    fn begin_inquiry(&mut self) {
        if self.inquiry.is_some() {
            return;
        }
        let Some(inquiry) = self.connection.take_inquiry() else {
            return;
        };
        self.set_busy(true);
        self.inquiry = Some(match inquiry {
            Inquiry::Login(given) => self.check_login(given),
            Inquiry::Question(user) => Box::pin(async move {
                user.ask().await;
                Finding::Answers
            }),
        });
    }

    fn check_login(&self, given: Proof) -> Running {
        let (broker, peer) = (Arc::clone(&self.broker), self.peer);
        Box::pin(async move {
            let user = given.user().to_owned();
            let result = broker.login(given, peer.ip()).await;
            match &result {
                Ok(_) => broker.counters().logins_succeeded.add(1),
                Err(_) => broker.counters().logins_failed.add(1),
            }
            if let Err(reason) = &result {
                info!(user, %peer, %reason, "login refused");
            }
            Finding::Login(result)
        })
    }

    fn set_busy(&self, busy: bool) {
        if let Some(newcomer) = &self.newcomer {
            newcomer.set_busy(busy);
        }
    }

    /// Sets the alarm for the end of the client's credentials: a new token moves it.
    fn watch_expiry(&mut self) {
        let at_s = self.connection.expires_at_s();
        if self.expires_at_s == at_s {
            return;
        }
        self.expires_at_s = at_s;
        self.expiry = at_s.map(|at_s| {
            let left_ms = at_s.saturating_mul(1000).saturating_sub(clock::now_ms());
            Box::pin(sleep(Duration::from_millis(left_ms)))
        });
    }

    /// When the timer is due in a phase that has just begun.
    fn deadline(&mut self, phase: Phase) -> Option<Instant> {
        let now = Instant::now();
        match phase {
            Phase::Handshake => None,
            Phase::Open => Some(self.pulse.start(self.connection.heartbeat_s(), now)),
            Phase::Closing(wait) | Phase::Silent(wait) => Some(now + wait),
            Phase::Ended => Some(now + crate::base::limits::CLOSE_OK_TIMEOUT),
        }
    }

    fn on_timer(&mut self, timer: std::pin::Pin<&mut Sleep>) -> io::Result<()> {
        match self.connection.phase() {
            Phase::Open => {
                self.hear_unread();
                match self.pulse.beat() {
                    Beat::Quiet => {}
                    Beat::Send => self.connection.heartbeat(),
                    Beat::Dead => return Err(timed_out("missed heartbeats from client")),
                }
                self.connection.out().release();
                self.input.release();
                timer.reset(Instant::now() + self.pulse.half);
                Ok(())
            }
            Phase::Handshake => Err(timed_out("no connection.open in time")),
            Phase::Closing(_) => Err(timed_out("no close-ok in time")),
            Phase::Silent(_) | Phase::Ended => Err(timed_out("closed without a word")),
        }
    }

    /// While the socket is not read, what comes is a sign of life where it waits. If it is the log
    /// or an alarm, a quota or a question that holds reading up, the client may have no room left to send one.
    fn hear_unread(&mut self) {
        let unread = match self.wants_input() {
            true => 0,
            false => self.stream.unread_bytes(),
        };
        let connection = &self.connection;
        let waits = connection.is_blocked() || connection.is_waiting();
        let held_up = self.watching_room || self.quiet.is_some() || waits;
        self.pulse.received |= unread > self.pulse.unread || held_up;
        self.pulse.unread = unread;
    }

    fn wants_input(&mut self) -> bool {
        let free = !self.watching_room && self.quiet.is_none();
        self.connection.wants_input(free)
    }

    /// Whether anything is still to be written, now or later.
    fn has_output(&mut self) -> bool {
        self.stream.holds_back() || !self.connection.out().is_empty()
    }

    fn interest(&mut self) -> Option<Interest> {
        let sendable = self.stream.holds_back() || self.connection.out().sendable_len() > 0;
        let write = sendable.then_some(Interest::WRITABLE);
        let read = self.wants_input().then_some(Interest::READABLE);
        match (read, write) {
            (Some(read), Some(write)) => Some(read | write),
            (read, write) => read.or(write),
        }
    }

    /// Has the log wake us when what we wait for is on disk, or when it takes more again.
    fn watch_log(&mut self) {
        let log = self.broker.log();
        let durable = log.durable();
        if self.watched.is_some_and(|pos| pos <= durable) {
            self.watched = None;
        }
        if self.watched.is_none()
            && let Some(pos) = self.connection.waits_for()
        {
            self.watched = Some(pos);
            log.notify_when_durable(pos, self.outbox.clone());
        }
        let room = log.has_room();
        if !room && !self.watching_room {
            log.notify_when_room(self.outbox.clone());
        }
        self.watching_room = !room;
        // By an alarm, or by a quota, which the client is told in the same way.
        let blocked = self.connection.is_blocked() || self.quiet.is_some();
        self.stats.blocked.store(blocked, Ordering::Relaxed);
        if !room {
            self.stats.held_back();
        }
    }

    /// Writes what may be written, as far as the socket takes it.
    fn write(&mut self) -> io::Result<()> {
        self.stream.try_flush()?;
        let out = self.connection.out();
        let mut wrote_bytes = 0;
        while out.sendable_len() > 0 {
            match out.write_with(|slices| self.stream.try_write(slices)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => wrote_bytes += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        if wrote_bytes > 0 {
            self.stats.sent(wrote_bytes);
            self.pulse.sent = true;
            self.connection.written();
        }
        let left = self.connection.out().len() as u64;
        self.stats.send_pending_bytes.set(left);
        Ok(())
    }

    /// Reads once, and has what came done. How many octets it was.
    fn read(&mut self) -> io::Result<usize> {
        match self.input.read(&mut self.stream) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.pulse.received = true;
                self.stats.received(count);
                self.connection.receive(&mut self.input.buf);
                self.pause();
                Ok(count)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(e) => Err(e),
        }
    }
}

async fn found(inquiry: &mut Option<Running>) -> Finding {
    match inquiry {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

async fn evicted(newcomer: &Option<Newcomer>) {
    match newcomer {
        Some(newcomer) => newcomer.evicted().await,
        None => std::future::pending().await,
    }
}

async fn over(quiet: &mut Option<Pin<Box<Sleep>>>) {
    match quiet {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

async fn ready<S: Stream>(stream: &S, interest: Option<Interest>) -> io::Result<tokio::io::Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => std::future::pending().await,
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, what)
}

/// The read buffer. It grows with what comes, and an idle connection has none.
struct Input {
    buf: BytesMut,
    chunk: usize,
}

impl Default for Input {
    fn default() -> Self {
        Input {
            buf: BytesMut::new(),
            chunk: READ_MIN_BYTES,
        }
    }
}

impl Input {
    fn read<S: Stream>(&mut self, stream: &mut S) -> io::Result<usize> {
        if self.buf.capacity() - self.buf.len() < self.chunk / 2 {
            self.buf.reserve(self.chunk);
        }
        let room = self.buf.capacity() - self.buf.len();
        let count = stream.try_read(&mut self.buf)?;
        if count >= room {
            self.chunk = (self.chunk * 2).min(READ_MAX_BYTES);
        } else if count < self.chunk / 8 {
            self.chunk = (self.chunk / 2).max(READ_MIN_BYTES);
        }
        Ok(count)
    }

    fn release(&mut self) {
        if self.buf.is_empty() {
            *self = Input::default();
        }
    }
}

/// Heartbeats (A1.12): looked at every half interval.
#[derive(Default)]
struct Pulse {
    half: Duration,
    enabled: bool,
    sent: bool,
    received: bool,
    /// Octets that waited in the socket when last looked at.
    unread: u64,
    /// Halves in a row in which nothing came.
    silent_halves: u8,
}

enum Beat {
    Quiet,
    Send,
    Dead,
}

/// Halves of silence after which a client is dead: two intervals, counted from when the first one
/// was noticed.
const SILENT_HALVES_MAX: u8 = 5;

/// How often an idle connection without heartbeats is looked at, to give its buffers back.
const IDLE_LOOK: Duration = Duration::from_secs(30);

impl Pulse {
    fn start(&mut self, heartbeat_s: u16, now: Instant) -> Instant {
        self.enabled = heartbeat_s > 0;
        self.half = match self.enabled {
            true => Duration::from_millis(u64::from(heartbeat_s) * 500),
            false => IDLE_LOOK,
        };
        now + self.half
    }

    fn beat(&mut self) -> Beat {
        let (sent, received) = (self.sent, self.received);
        (self.sent, self.received) = (false, false);
        self.silent_halves = if received {
            0
        } else {
            self.silent_halves.saturating_add(1)
        };
        match self.enabled {
            false => Beat::Quiet,
            true if self.silent_halves >= SILENT_HALVES_MAX => Beat::Dead,
            true if !sent => Beat::Send,
            true => Beat::Quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a1_12_a_silent_client_is_dead_between_two_and_three_intervals() {
        let mut pulse = Pulse::default();
        pulse.start(10, Instant::now());
        pulse.received = true;
        let mut halves = 0;
        while !matches!(pulse.beat(), Beat::Dead) {
            halves += 1;
        }
        // Each half is 5 s; the last octet came somewhere within the first.
        assert!((4..=5).contains(&halves), "{halves}");
    }

    #[test]
    fn a1_12_a_heartbeat_is_sent_only_when_nothing_else_was() {
        let mut pulse = Pulse::default();
        pulse.start(10, Instant::now());
        pulse.sent = true;
        assert!(matches!(pulse.beat(), Beat::Quiet));
        assert!(matches!(pulse.beat(), Beat::Send));
    }
}
