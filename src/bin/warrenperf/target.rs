//! Where the broker is, and who we are there.

use crate::args::BrokerArgs;
use crate::error::{Error, Result};
use crate::stream::Stream;
use crate::trust;
use amq_protocol::uri::{AMQPScheme, AMQPUri};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ClientConfig;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// The nodes that a run's connections go to, in turn.
#[derive(Clone, Debug)]
pub(crate) struct Targets(Vec<Target>);

/// One node, and the login there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
}

impl Targets {
    /// What the options say.
    pub(crate) fn new(args: &BrokerArgs) -> Result<Self> {
        let encrypted = |uri: &AMQPUri| uri.scheme == AMQPScheme::AMQPS;
        let tls = match (args.uri.iter().any(encrypted), &args.tls_ca) {
            (false, None) => None,
            (false, Some(_)) => {
                return Err(Error::Usage("--tls-ca is for amqps:// URIs".into()));
            }
            (true, None) if !args.tls_insecure => {
                return Err(Error::Usage(
                    "amqps:// needs --tls-ca FILE, or --tls-insecure to trust anyone".into(),
                ));
            }
            (true, authorities) => Some(trust::client_config(authorities.as_deref())?),
        };
        let target = |uri: &AMQPUri| {
            let mut uri = uri.clone();
            let user = &mut uri.authority.userinfo;
            let replace = |part: &mut String, with: &Option<String>| {
                if let Some(with) = with {
                    part.clone_from(with);
                }
            };
            replace(&mut user.username, &args.user);
            replace(&mut user.password, &args.password);
            replace(&mut uri.vhost, &args.vhost);
            let tls = tls.clone().filter(|_| encrypted(&uri));
            Target { uri, tls }
        };
        Ok(Self(args.uri.iter().map(target).collect()))
    }

    /// Where connection `number` goes.
    pub(crate) fn of(&self, number: usize) -> Result<&Target> {
        let at = number.checked_rem(self.0.len()).unwrap_or(0);
        self.0
            .get(at)
            .ok_or_else(|| Error::Usage("there is no --uri".into()))
    }
}

impl Target {
    /// Connects.
    pub(crate) fn connect(&self) -> Result<Stream> {
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
                Ok(socket) => {
                    return match &self.tls {
                        Some(config) => Stream::tls(socket, config, &authority.host),
                        None => Ok(Stream::Plain(socket)),
                    };
                }
                Err(error) => last = error,
            }
        }
        Err(wrap(last))
    }

    /// Who logs in.
    pub(crate) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    /// The answer of SASL's PLAIN.
    pub(crate) fn plain_response(&self) -> String {
        let user = &self.uri.authority.userinfo;
        format!("\0{}\0{}", user.username, user.password)
    }

    /// The virtual host.
    pub(crate) fn vhost(&self) -> &str {
        &self.uri.vhost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(uris: &[&str], change: impl FnOnce(&mut BrokerArgs)) -> Result<Targets> {
        let mut args = BrokerArgs {
            uri: uris.iter().map(|uri| uri.parse().unwrap()).collect(),
            vhost: None,
            user: None,
            password: None,
            tls_ca: None,
            tls_insecure: false,
            broker_pid: None,
        };
        change(&mut args);
        Targets::new(&args)
    }

    #[test]
    fn connections_take_the_nodes_in_turn() {
        let both = targets(&["amqp://a:1/%2f", "amqp://b:2/x"], |_| ()).unwrap();
        let host = |number| both.of(number).unwrap().uri.authority.host.clone();
        assert_eq!([host(0), host(1), host(2)], ["a", "b", "a"]);
        assert_eq!(both.of(1).unwrap().vhost(), "x");
    }

    #[test]
    fn options_override_the_uri() {
        let one = targets(&["amqp://me:pw@h/v"], |args| {
            args.user = Some("you".into());
            args.vhost = Some("w".into());
        });
        let one = one.unwrap();
        let target = one.of(0).unwrap();
        assert_eq!(target.vhost(), "w");
        assert_eq!(target.plain_response(), "\0you\0pw");
    }

    #[test]
    fn whom_to_trust_must_be_said() {
        assert!(targets(&["amqps://h/"], |_| ()).is_err());
        assert!(targets(&["amqps://h/"], |args| args.tls_insecure = true).is_ok());
        let missing = |args: &mut BrokerArgs| args.tls_ca = Some("/nowhere/ca.pem".into());
        assert!(targets(&["amqps://h/"], missing).is_err());
        assert!(targets(&["amqp://h/"], missing).is_err());
    }

    #[test]
    fn a_refused_connection_names_the_address() {
        // Bound and dropped, so that nothing listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let nobody = targets(&[&format!("amqp://127.0.0.1:{port}")], |_| ()).unwrap();
        let error = nobody.of(0).unwrap().connect().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot connect to 127.0.0.1:{port}")),
            "{error}"
        );
    }
}
