//! A connection with one open channel: the handshake, and calls that wait for their answer.

use crate::error::{Error, Result};
use crate::link::{Fill, Link};
use crate::target::Target;
use crate::wire;
use amq_protocol::frame::WriteContext;
use amq_protocol::frame::{AMQPFrame, gen_frame};
use amq_protocol::protocol::{AMQPClass, channel, connection, parse_class};
use amq_protocol::types::{AMQPValue, FieldTable, LongString};
use std::time::{Duration, Instant};

/// The channel everything happens on.
pub(crate) const CHANNEL: u16 = 1;

const CALL_PATIENCE: Duration = Duration::from_secs(30);
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// An open connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// The socket, for those who read and write frames themselves.
    pub(crate) link: Link,
    /// The largest frame agreed on; 0 for no limit.
    pub(crate) frame_max: u32,
}

impl Client {
    /// Connects, logs in and opens the channel.
    pub(crate) fn open(target: &Target) -> Result<Self> {
        let mut client = Self::connect(target)?;
        client.open_channel(CHANNEL)?;
        Ok(client)
    }

    /// Connects and logs in.
    pub(crate) fn connect(target: &Target) -> Result<Self> {
        let mut client = Self {
            link: Link::new(target.connect()?)?,
            frame_max: 0,
        };
        client.link.write_all(b"AMQP\x00\x00\x09\x01", 50)?;
        client.receive("the protocol header", CALL_PATIENCE)?;
        client.log_in(target)?;
        client.call(
            0,
            AMQPClass::Connection(connection::AMQPMethod::Open(connection::Open {
                virtual_host: target.vhost().into(),
            })),
            "connection.open",
        )?;
        Ok(client)
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self, number: u16) -> Result<()> {
        let open = channel::AMQPMethod::Open(channel::Open {});
        self.call(number, AMQPClass::Channel(open), "channel.open")?;
        Ok(())
    }

    /// From connection.start to connection.tune-ok.
    fn log_in(&mut self, target: &Target) -> Result<()> {
        let start_ok = connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: client_properties(),
            mechanism: "PLAIN".into(),
            response: LongString::from(target.plain_response()),
            locale: "en_US".into(),
        });
        self.send(0, AMQPClass::Connection(start_ok))?;
        let refused = |reason: String| Error::Auth {
            user: target.user().to_owned(),
            reason,
        };
        let tune = match self.receive("the login", CALL_PATIENCE) {
            Ok(AMQPClass::Connection(connection::AMQPMethod::Tune(tune))) => tune,
            Ok(other) => return Err(Error::Protocol(format!("{other:?} instead of tune"))),
            Err(Error::HungUp) => return Err(refused("it hung up during the login".into())),
            Err(Error::Closed {
                code: 403, text, ..
            }) => return Err(refused(text)),
            Err(error) => return Err(error),
        };
        self.frame_max = tune.frame_max;
        let tune_ok = connection::AMQPMethod::TuneOk(connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat: 0,
        });
        self.send(0, AMQPClass::Connection(tune_ok))
    }

    fn send(&mut self, channel: u16, method: AMQPClass) -> Result<()> {
        let frame = AMQPFrame::Method(channel, method);
        let context = gen_frame(&frame)(WriteContext::from(Vec::new()))
            .map_err(|error| Error::Protocol(error.to_string()))?;
        self.link.write_all(&context.into_inner().0, 50)
    }

    /// Waits for the next method that is not a delivery's part; a close is an error.
    fn receive(&mut self, what: &'static str, patience: Duration) -> Result<AMQPClass> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some(frame) = self.link.next_frame()? {
                let Some((method, arguments)) = frame.method() else {
                    continue;
                };
                match method {
                    wire::CHANNEL_CLOSE | wire::CONNECTION_CLOSE => {
                        return Err(wire::close_error(method, arguments));
                    }
                    wire::BASIC_DELIVER | wire::BASIC_ACK | wire::BASIC_NACK => {}
                    _ => {
                        let parsed = parse_class(frame.payload);
                        let (_, class) =
                            parsed.map_err(|error| Error::Protocol(error.to_string()))?;
                        return Ok(class);
                    }
                }
            }
            if self.link.fill()? == Fill::Idle && Instant::now() > deadline {
                return Err(Error::Timeout(what));
            }
        }
    }

    /// Sends a method and waits for its answer.
    pub(crate) fn call(
        &mut self,
        channel: u16,
        method: AMQPClass,
        what: &'static str,
    ) -> Result<AMQPClass> {
        self.send(channel, method)?;
        self.receive(what, CALL_PATIENCE)
    }

    /// Closes the channel: when it returns, the broker has taken in all that was published on it.
    pub(crate) fn close_channel(&mut self, number: u16) -> Result<()> {
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        });
        self.call(number, AMQPClass::Channel(close), "channel.close")?;
        Ok(())
    }

    /// Says goodbye and closes the socket, whatever the answer.
    pub(crate) fn close(mut self) {
        // Nothing depends on the answer; the socket closes either way.
        let _ = self.end(CLOSE_PATIENCE);
        self.link.shutdown();
    }

    /// Says goodbye, waits for the answer, and closes the socket.
    pub(crate) fn close_in_order(mut self) -> Result<()> {
        self.end(CALL_PATIENCE)?;
        self.link.shutdown();
        Ok(())
    }

    fn end(&mut self, patience: Duration) -> Result<()> {
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        });
        self.send(0, AMQPClass::Connection(close))?;
        self.receive("connection.close", patience)?;
        Ok(())
    }
}

fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "basic.nack",
        "consumer_cancel_notify",
        "authentication_failure_close",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, value) in [
        ("product", "warrenperf"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", "Rust"),
    ] {
        properties.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties
}
