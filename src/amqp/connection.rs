//! A connection's state machine: octets in, octets out.
//!
//! Owns the protocol header, the handshake and closing from either side (A1); a [`Session`] does
//! what lies between. Never waits: the task around it reads, writes and keeps time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amq_protocol::protocol::{AMQPClass, connection};
use bytes::BytesMut;
use tracing::{debug, info, warn};

use super::handshake::{self, Fault, Opened, Progress, Step};
use super::link::Link;
use super::outbox::Outbox;
use super::session::{Go, Session};
use super::stream::Origin;
use super::{OutBuffer, Settings, replies};
use crate::auth::{HttpUser, Login, LoginRefused, Proof};
use crate::base::limits::{CLOSE_OK_TIMEOUT, FRAME_MIN, OUTBOUND_HIGH_BYTES, SILENT_CLOSE_DELAY};
use crate::base::{AmqpError, ConnectionId, LogPos, clock};
use crate::broker::stats::{ConnectionDetails, ConnectionStats};
use crate::broker::{Broker, Entered};
use crate::codec::protocol::PROTOCOL_HEADER_LEN;
use crate::codec::{
    FrameCursor, FrameKind, FrameSplitter, Method, ProtocolHeader, encode, parse_method,
    protocol_header,
};

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before connection.open: the handshake's deadline holds.
    Handshake,
    /// Open for business.
    Open,
    /// connection.close was sent: the answer is waited for, but not for ever.
    Closing(Duration),
    /// Nothing is read or said any more, and after this the socket closes (A1.13).
    Silent(Duration),
    /// The socket closes once everything is written.
    Ended,
}

enum Stage {
    Header,
    Handshake(Step),
    /// It is to be asked whether the user may enter the vhost.
    Entering(Box<Opened>),
    Session(Box<Session>),
    /// Ended before it began.
    Nothing,
}

/// See the module.
pub(super) struct Connection {
    id: ConnectionId,
    stats: Arc<ConnectionStats>,
    broker: Arc<Broker>,
    settings: Arc<Settings>,
    outbox: Arc<Outbox>,
    origin: Origin,
    splitter: FrameSplitter,
    stage: Stage,
    phase: Phase,
    /// What comes can no longer be told apart into frames, and is thrown away.
    deaf: bool,
    heartbeat_s: u16,
    /// The output until there is a session, which has its own.
    early: OutBuffer,
    /// To be checked by the broker.
    login: Option<Proof>,
    /// Whom to ask about before it is open.
    question: Option<Arc<HttpUser>>,
}

/// What takes a while, and not the client's doing.
pub(super) enum Inquiry {
    /// A login is to be checked; then call [`Connection::logged_in`].
    Login(Proof),
    /// It is to be asked what the user may do; then call [`Connection::answered`].
    Question(Arc<HttpUser>),
}

impl Connection {
    pub(super) fn new(
        stats: Arc<ConnectionStats>,
        broker: Arc<Broker>,
        settings: Arc<Settings>,
        outbox: Arc<Outbox>,
        origin: Origin,
    ) -> Self {
        Connection {
            id: stats.id(),
            stats,
            broker,
            settings,
            outbox,
            origin,
            // Until tune-ok the smallest limit holds (A1.6).
            splitter: FrameSplitter::new(FRAME_MIN),
            stage: Stage::Header,
            phase: Phase::Handshake,
            deaf: false,
            heartbeat_s: 0,
            early: OutBuffer::default(),
            login: None,
            question: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Seconds between heartbeats; 0 before they are negotiated, or for none.
    pub(super) fn heartbeat_s(&self) -> u16 {
        self.heartbeat_s
    }

    pub(super) fn out(&mut self) -> &mut OutBuffer {
        match &mut self.stage {
            Stage::Session(session) => &mut session.link.out,
            _ => &mut self.early,
        }
    }

    /// How long the socket is not to be read, by the quotas that the last batches were held to. To be
    /// asked after each [`Self::receive`], and again when the time is over.
    pub(super) fn pause_left(&mut self) -> Option<Duration> {
        match &mut self.stage {
            Stage::Session(session) if self.phase == Phase::Open => session.pause_left(),
            _ => None,
        }
    }

    /// Whether the socket should be read: not while its own answers pile up, nor unless it is `free`,
    /// which is: there is room in the log, and no quota is passed. That is passed in, as who is not
    /// read for want of it must have asked to be woken: the log itself may say otherwise a moment
    /// later.
    pub(super) fn wants_input(&mut self, free: bool) -> bool {
        match self.phase {
            Phase::Silent(_) | Phase::Ended => false,
            Phase::Handshake => !self.is_authenticating(),
            Phase::Closing(_) => true,
            Phase::Open => {
                let open = free && !self.is_blocked() && !self.is_waiting();
                open && self.answers_bytes() < OUTBOUND_HIGH_BYTES
            }
        }
    }

    /// Whether the socket is not read for an alarm: then nothing tells whether the client lives (A1.12).
    pub(super) fn is_blocked(&self) -> bool {
        match &self.stage {
            Stage::Session(session) => session.is_blocked(),
            _ => false,
        }
    }

    /// Whether the socket is not read until it is known what the user may do.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.stage {
            Stage::Session(session) => session.is_waiting(),
            _ => false,
        }
    }

    /// Octets that wait to be written and are not deliveries. Those have a bound of their own, and a
    /// client that publishes before it reads must not be stopped by them for ever.
    fn answers_bytes(&self) -> usize {
        match &self.stage {
            Stage::Session(session) => session.answers_bytes(),
            _ => self.early.len(),
        }
    }

    /// Whether nothing the client sends is looked at until its login is checked, or whether it may
    /// enter.
    fn is_authenticating(&self) -> bool {
        matches!(
            self.stage,
            Stage::Handshake(Step::Authenticating { .. }) | Stage::Entering(_)
        )
    }

    /// What is to be found out before the connection goes on.
    pub(super) fn take_inquiry(&mut self) -> Option<Inquiry> {
        if let Stage::Session(session) = &mut self.stage {
            let renewal = session.take_renewal().map(Inquiry::Login);
            return renewal.or_else(|| session.take_question().map(Inquiry::Question));
        }
        let login = self.login.take().map(Inquiry::Login);
        login.or_else(|| self.question.take().map(Inquiry::Question))
    }

    /// When the client's credentials end, in seconds since 1970.
    pub(super) fn expires_at_s(&self) -> Option<u64> {
        match &self.stage {
            Stage::Session(session) if self.phase == Phase::Open => session.expires_at_s(),
            _ => None,
        }
    }

    /// The client's credentials have ended (A1.17).
    pub(super) fn expire(&mut self) {
        self.close(&AmqpError::credential_expired());
    }

    /// The broker has checked the login. `buf` is what was read before and not taken.
    pub(super) fn logged_in(&mut self, result: Result<Login, LoginRefused>, buf: &mut BytesMut) {
        if let Stage::Session(session) = &mut self.stage {
            if self.phase == Phase::Open
                && let Err(fault) = session.renewed(result)
            {
                self.close(&fault);
            }
            return;
        }
        if let Stage::Handshake(step) = std::mem::replace(&mut self.stage, Stage::Nothing) {
            let done = step.logged_in(result, &self.settings, self.early.tail());
            self.progress(done.map(Progress::Next));
        }
        self.receive(buf);
    }

    /// It is known what the user may do. `buf` as above.
    pub(super) fn answered(&mut self, buf: &mut BytesMut) {
        match std::mem::replace(&mut self.stage, Stage::Nothing) {
            Stage::Entering(opened) if self.phase == Phase::Handshake => {
                self.progress(Ok(Progress::Opened(*opened)));
            }
            Stage::Session(mut session) if self.phase == Phase::Open => {
                let done = session.resume();
                self.stage = Stage::Session(session);
                self.go_on(done);
            }
            other => {
                self.stage = other;
                return;
            }
        }
        self.receive(buf);
    }

    /// Takes what was read. Of `buf` a frame that is not whole yet is left.
    pub(super) fn receive(&mut self, buf: &mut BytesMut) {
        loop {
            if self.deaf || matches!(self.phase, Phase::Silent(_) | Phase::Ended) {
                buf.clear();
                return;
            }
            if let Phase::Closing(_) = self.phase {
                return self.closing_frames(buf);
            }
            let more = match &mut self.stage {
                Stage::Header => self.header(buf),
                Stage::Handshake(Step::Authenticating { .. }) => false,
                Stage::Handshake(_) => self.handshake_frame(buf),
                Stage::Session(_) => {
                    self.session_frames(buf);
                    false
                }
                Stage::Entering(_) | Stage::Nothing => false,
            };
            if !more {
                return;
            }
        }
    }

    fn header(&mut self, buf: &mut BytesMut) -> bool {
        match protocol_header(buf) {
            ProtocolHeader::Incomplete => false,
            ProtocolHeader::Accepted => {
                let _ = buf.split_to(PROTOCOL_HEADER_LEN);
                let parameters = self.broker.parameters();
                let name = parameters.cluster_name();
                handshake::start(&self.origin, name, self.early.tail());
                self.stage = Stage::Handshake(Step::Starting);
                true
            }
            ProtocolHeader::Refused(answer) => {
                debug!(connection = %self.id, "not AMQP 0-9-1");
                self.early.tail().extend_from_slice(&answer);
                self.phase = Phase::Ended;
                true
            }
        }
    }

    /// One frame at a time: tune-ok changes the limit for the next.
    fn handshake_frame(&mut self, buf: &mut BytesMut) -> bool {
        let scan = self.splitter.scan_first(buf);
        if scan.complete == 0 {
            if let Some(fault) = scan.fault {
                self.give_up(&fault);
            }
            return false;
        }
        let octets = buf.split_to(scan.complete).freeze();
        let frame = match FrameCursor::new(&octets).next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return true,
            Err(fault) => {
                self.give_up(&fault);
                return true;
            }
        };
        match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) => {}
            (FrameKind::Method, 0) => match parse_method(frame.payload) {
                Ok(Method::Other(command)) => self.handshake_method(&command),
                Ok(_) => self.give_up(&AmqpError::unexpected_method("starting")),
                // Who has logged in is told (A1.9).
                Err(fault) if matches!(self.stage, Stage::Handshake(Step::Opening { .. })) => {
                    self.refuse(&fault.at(10, 40));
                }
                Err(fault) => self.give_up(&fault),
            },
            (kind, _) => self.give_up(&AmqpError::unexpected_frame(kind as u8, frame.payload)),
        }
        true
    }

    fn handshake_method(&mut self, command: &crate::codec::Command) {
        if let AMQPClass::Connection(connection::AMQPMethod::Close(_)) = &command.method {
            encode::write_method(self.early.tail(), 0, &replies::connection_close_ok());
            self.phase = Phase::Ended;
            return;
        }
        let Stage::Handshake(step) = std::mem::replace(&mut self.stage, Stage::Nothing) else {
            return;
        };
        let done = step.take(command, &self.origin, &self.settings);
        self.progress(done);
    }

    fn progress(&mut self, done: Result<Progress, Fault>) {
        match done {
            Ok(Progress::Login(step, given)) => {
                self.login = Some(given);
                self.stage = Stage::Handshake(step);
            }
            Ok(Progress::Next(step)) => {
                if let Step::Opening { tuned, .. } = &step {
                    self.splitter.set_frame_max(tuned.frame_max);
                    self.heartbeat_s = tuned.heartbeat_s;
                }
                self.stage = Stage::Handshake(step);
            }
            Ok(Progress::Opened(opened)) => {
                if let Err(fault) = self.open(opened) {
                    self.refuse(&fault.at(10, 40));
                }
            }
            Err(Fault::Silent(fault)) => self.give_up(&fault),
            Err(Fault::Told(fault)) => self.refuse(&fault),
        }
    }

    fn open(&mut self, opened: Opened) -> Result<(), AmqpError> {
        let login = Arc::clone(&opened.login);
        let entered = self.broker.enter(self.id, login, &opened.vhost);
        if entered.is_err()
            && let Some(user) = opened.login.undecided()
        {
            self.question = Some(Arc::clone(user));
            self.stage = Stage::Entering(Box::new(opened));
            return Ok(());
        }
        let Entered {
            vhost,
            actor,
            seat,
            quota,
        } = entered?;
        let Opened { client, tuned, .. } = opened;
        actor.login().forget();
        debug!(connection = %self.id, user = %actor.user(), vhost = %vhost.name(), "connection open");
        let details = ConnectionDetails {
            user: actor.user().clone(),
            vhost: vhost.name().clone(),
            mechanism: client.mechanism,
            client_properties: client.properties,
            channel_max: tuned.channel_max,
            frame_max: tuned.frame_max,
            heartbeat_s: tuned.heartbeat_s,
            connected_at_ms: clock::now_ms(),
        };
        self.broker.opened(&self.stats, &vhost, details);
        let mut link = Link {
            stats: Arc::clone(&self.stats),
            broker: Arc::clone(&self.broker),
            settings: Arc::clone(&self.settings),
            vhost,
            actor,
            seat,
            quota,
            pause: None,
            capabilities: client.capabilities,
            frame_max: tuned.frame_max,
            outbox: Arc::clone(&self.outbox),
            out: std::mem::take(&mut self.early),
            exclusive: Vec::new(),
            told_of_header: false,
            published: false,
            look_every: None,
        };
        link.send(0, &replies::connection_open_ok());
        self.stage = Stage::Session(Box::new(Session::new(link, tuned.channel_max)));
        self.phase = Phase::Open;
        Ok(())
    }

    fn session_frames(&mut self, buf: &mut BytesMut) {
        if self.is_waiting() {
            return;
        }
        let scan = self.splitter.scan(buf);
        let frames = buf.split_to(scan.complete).freeze();
        let Stage::Session(session) = &mut self.stage else {
            return;
        };
        let done = session.frames(&frames);
        if !self.go_on(done) {
            return;
        }
        match scan.fault {
            Some(fault) => {
                self.close(&fault);
                self.stop_listening(buf);
            }
            // The next read should find room for the frame that has begun.
            None => buf.reserve(scan.missing),
        }
    }

    /// What a batch of frames has led to. Whether what comes after it may be looked at: while it waits
    /// that stays where it is.
    fn go_on(&mut self, done: Result<Go, AmqpError>) -> bool {
        match done {
            Ok(Go::On) => return true,
            Ok(Go::Waits) => {}
            Ok(Go::Closed) => self.phase = Phase::Ended,
            Err(fault) => self.close(&fault),
        }
        false
    }

    /// After connection.close only its answer counts, or the client's own close.
    fn closing_frames(&mut self, buf: &mut BytesMut) {
        let scan = self.splitter.scan(buf);
        let frames = buf.split_to(scan.complete).freeze();
        if scan.fault.is_some() {
            self.stop_listening(buf);
        }
        let mut cursor = FrameCursor::new(&frames);
        loop {
            let frame = match cursor.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(_) => continue,
            };
            if frame.kind != FrameKind::Method || frame.channel != 0 {
                continue;
            }
            let Ok(Method::Other(command)) = parse_method(frame.payload) else {
                continue;
            };
            match &command.method {
                AMQPClass::Connection(connection::AMQPMethod::CloseOk(_)) => {}
                AMQPClass::Connection(connection::AMQPMethod::Close(_)) => {
                    encode::write_method(self.out().tail(), 0, &replies::connection_close_ok());
                }
                _ => continue,
            }
            self.phase = Phase::Ended;
            return;
        }
    }

    /// The octets have lost their frames: not even the answer to connection.close will be found in
    /// them. The client has a moment to read what it was told (A1.8).
    fn stop_listening(&mut self, buf: &mut BytesMut) {
        buf.clear();
        self.deaf = true;
        if let Phase::Closing(wait) = self.phase {
            self.phase = Phase::Closing(wait.min(SILENT_CLOSE_DELAY));
        }
    }

    /// Closes with a reason that the client is told.
    fn close(&mut self, reason: &AmqpError) {
        match &mut self.stage {
            Stage::Session(session) if self.phase == Phase::Open => {
                warn!(connection = %self.id, reason = reason.text, "connection closed");
                session.end();
                encode::write_close(session.link.tail(), 0, reason);
                let most = Duration::from_secs(self.heartbeat_s.into());
                let wait = if most.is_zero() {
                    CLOSE_OK_TIMEOUT
                } else {
                    most
                };
                self.phase = Phase::Closing(wait.min(CLOSE_OK_TIMEOUT));
            }
            Stage::Session(_) => {}
            _ => self.phase = Phase::Ended,
        }
    }

    /// Ends a handshake with a reason that the client is told.
    fn refuse(&mut self, fault: &AmqpError) {
        info!(connection = %self.id, peer = %self.origin.peer, fault = fault.text, "connection refused");
        encode::write_close(self.early.tail(), 0, fault);
        self.phase = Phase::Closing(SILENT_CLOSE_DELAY);
    }

    /// Ends a handshake without a word (A1.13, A1.14).
    fn give_up(&mut self, fault: &AmqpError) {
        info!(connection = %self.id, peer = %self.origin.peer, fault = fault.text, "handshake failed");
        self.phase = Phase::Silent(SILENT_CLOSE_DELAY);
    }

    /// Does what other tasks have left for the connection.
    pub(super) fn work(&mut self) {
        let reason = match &mut self.stage {
            Stage::Session(session) => session.work(),
            _ => self.outbox.take(&mut Vec::new()).close,
        };
        if let Some(reason) = reason {
            self.close(&reason);
        }
    }

    /// How often [`Self::look`] is to be called, if at all.
    pub(super) fn look_every(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Session(session) if self.phase == Phase::Open => session.link.look_every,
            _ => None,
        }
    }

    /// Looks for consumers that are late.
    pub(super) fn look(&mut self, now: Instant) {
        if let Stage::Session(session) = &mut self.stage
            && let Err(fault) = session.look(now)
        {
            self.close(&fault);
        }
    }

    /// The log position that something here waits for.
    pub(super) fn waits_for(&mut self) -> Option<LogPos> {
        match &mut self.stage {
            Stage::Session(session) => session.waits_for(),
            _ => None,
        }
    }

    /// The socket took something.
    pub(super) fn written(&mut self) {
        if let Stage::Session(session) = &mut self.stage {
            session.written();
        }
    }

    pub(super) fn heartbeat(&mut self) {
        self.out().tail().extend_from_slice(&encode::HEARTBEAT);
    }

    /// The socket is gone: takes back all that the connection held.
    pub(super) fn end(&mut self) {
        if let Stage::Session(session) = &mut self.stage {
            session.end();
        }
    }
}
