//! A connection without a socket: octets in, octets out, when the caller wants it.
//!
//! Owns nothing but the state machine and its outbox. For whoever measures or drives the protocol
//! without I/O; [`serve`](super::serve) is what a broker uses.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;

use super::connection::Inquiry;
use super::outbox::Outbox;
use super::stream::Origin;
use super::{Connection, Settings};
use crate::base::ConnectionId;
use crate::broker::Broker;

/// See the module.
pub struct Detached {
    id: ConnectionId,
    broker: Arc<Broker>,
    connection: Connection,
}

impl Detached {
    /// A connection from loopback of which nothing has been heard.
    pub fn new(broker: Arc<Broker>, settings: Arc<Settings>) -> Self {
        let outbox = Arc::new(Outbox::default());
        // There is no socket to have ports.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let stats = broker.connect(outbox.clone(), address, address);
        Detached {
            id: stats.id(),
            broker: Arc::clone(&broker),
            connection: Connection::new(
                stats,
                broker,
                settings,
                outbox,
                Origin::new(address, address),
            ),
        }
    }

    /// Takes what the client sent, as one read. Of `octets` a frame that is not whole yet is left.
    pub fn receive(&mut self, octets: &mut BytesMut) {
        self.connection.receive(octets);
    }

    /// Has the broker check the login that the client has given, if it has, or ask what it may do; then
    /// as [`Self::receive`]. It must be called in a tokio runtime.
    pub async fn log_in(&mut self, octets: &mut BytesMut) {
        match self.connection.take_inquiry() {
            Some(Inquiry::Login(given)) => {
                let result = self.broker.login(given, Ipv4Addr::LOCALHOST.into()).await;
                self.connection.logged_in(result, octets);
            }
            Some(Inquiry::Question(user)) => {
                user.ask().await;
                self.connection.answered(octets);
            }
            None => {}
        }
    }

    /// Does what queues, the log and other connections have left for it.
    pub fn work(&mut self) {
        self.connection.work();
    }

    /// Octets that may be sent to the client now.
    pub fn sendable_len(&mut self) -> usize {
        self.connection.out().sendable_len()
    }

    /// Gives what may be sent to `write`, as one vectored write, which says how much it took.
    ///
    /// # Errors
    /// Those of `write`; nothing counts as sent then.
    pub fn send(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = self.connection.out().write_with(write)?;
        self.connection.written();
        Ok(count)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.connection.end();
        self.broker.disconnect(self.id);
    }
}
