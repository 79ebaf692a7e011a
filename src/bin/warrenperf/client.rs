//! A connection with one open channel: the handshake, and calls that wait for their answer.

use crate::error::{Error, Result};
use crate::link::{Fill, Link};
use crate::wire;
use amq_protocol::frame::WriteContext;
use amq_protocol::frame::{AMQPFrame, gen_frame};
use amq_protocol::protocol::{AMQPClass, channel, connection, parse_class};
use amq_protocol::types::{AMQPValue, FieldTable, LongString};
use amq_protocol::uri::{AMQPScheme, AMQPUri};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The channel everything happens on.
pub(crate) const CHANNEL: u16 = 1;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const CALL_PATIENCE: Duration = Duration::from_secs(30);
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// Where the broker is and who we are there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    uri: AMQPUri,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let uri: AMQPUri = text.parse()?;
        if uri.scheme != AMQPScheme::AMQP {
            return Err("only amqp:// is supported".into());
        }
        Ok(Self { uri })
    }
}

impl Target {
    fn connect(&self) -> Result<TcpStream> {
        let authority = &self.uri.authority;
        let wrap = |source| Error::Connect {
            address: format!("{}:{}", authority.host, authority.port),
            source,
        };
        let addresses = (authority.host.as_str(), authority.port)
            .to_socket_addrs()
            .map_err(wrap)?;
        let mut last = std::io::ErrorKind::AddrNotAvailable.into();
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(wrap(last))
    }
}

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
                virtual_host: target.uri.vhost.as_str().into(),
            })),
            "connection.open",
        )?;
        let open = channel::AMQPMethod::Open(channel::Open {});
        client.call(CHANNEL, AMQPClass::Channel(open), "channel.open")?;
        Ok(client)
    }

    /// From connection.start to connection.tune-ok.
    fn log_in(&mut self, target: &Target) -> Result<()> {
        let user = &target.uri.authority.userinfo;
        let response = format!("\0{}\0{}", user.username, user.password);
        let start_ok = connection::AMQPMethod::StartOk(connection::StartOk {
            client_properties: client_properties(),
            mechanism: "PLAIN".into(),
            response: LongString::from(response),
            locale: "en_US".into(),
        });
        self.send(0, AMQPClass::Connection(start_ok))?;
        let refused = |reason: String| Error::Auth {
            user: user.username.clone(),
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
    pub(crate) fn close_channel(&mut self) -> Result<()> {
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        });
        self.call(CHANNEL, AMQPClass::Channel(close), "channel.close")?;
        Ok(())
    }

    /// Says goodbye and closes the socket, whatever the answer.
    pub(crate) fn close(mut self) {
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: 200,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        });
        if self.send(0, AMQPClass::Connection(close)).is_ok() {
            // Nothing depends on the answer; the socket closes either way.
            let _ = self.receive("connection.close", CLOSE_PATIENCE);
        }
        self.link.shutdown();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_checked() {
        let target: Target = "amqp://me:pw@example:77/%2f".parse().unwrap();
        assert_eq!(target.uri.vhost, "/");
        assert_eq!(target.uri.authority.port, 77);
        assert!("amqps://h/".parse::<Target>().is_err());
        assert!("what".parse::<Target>().is_err());
    }

    #[test]
    fn a_refused_connection_names_the_address() {
        // Bound and dropped, so that nothing listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let target: Target = format!("amqp://127.0.0.1:{port}").parse().unwrap();
        let error = Client::open(&target).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot connect to 127.0.0.1:{port}")),
            "{error}"
        );
    }
}
