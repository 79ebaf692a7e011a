//! Which connections are open, whose, and in which vhost; and what there is on the whole node.
//!
//! Owns the counts that limits are held against. A connection takes its [`Seat`] at connection.open
//! and leaves it by dropping it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::auth::{Limit, Limits};
use crate::base::{AmqpError, ConnectionId, Name};

/// Whose a connection is, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) user: Name,
    pub(super) vhost: Name,
}

/// What the node may hold, and how much of it is there.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// By its configuration.
    pub(super) limits: ArcSwap<Limits>,
    pub(super) queues: AtomicU64,
    pub(super) exchanges: AtomicU64,
}

impl Node {
    /// The limit of something, if there are `count` or more than it allows.
    pub(super) fn reached(&self, limit: Limit, count: u64) -> Option<u64> {
        self.limits.load().reached(limit, count)
    }

    /// The number of something went from one to another. It may pass a limit by as many as were
    /// declared at the same instant.
    pub(super) fn recount(count: &AtomicU64, before: usize, now: usize) {
        count.fetch_add(now as u64, Ordering::Relaxed);
        count.fetch_sub(before as u64, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Census {
    node: Arc<Node>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    places: HashMap<ConnectionId, Place>,
    /// Connections, by vhost.
    vhosts: HashMap<Name, u64>,
    users: HashMap<Name, OfUser>,
    channels: u64,
}

#[derive(Debug, Default)]
struct OfUser {
    connections: u64,
    channels: u64,
}

/// A connection's entry in the census, until it leaves or is dropped.
#[derive(Debug)]
pub struct Seat {
    id: ConnectionId,
    user: Name,
    channels: u64,
    census: Arc<Census>,
}

impl Census {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Census {
            node,
            open: Mutex::default(),
        }
    }

    /// Enters a connection, if no limit is reached: of the node, the vhost, the user, in this order.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: ConnectionId,
        place: Place,
        of_vhost: &Limits,
        of_user: &Limits,
    ) -> Result<Seat, AmqpError> {
        let mut open = self.open.lock();
        let all = open.places.len() as u64;
        let vhost = open.vhosts.get(&place.vhost).copied().unwrap_or_default();
        let user = open.users.get(&place.user).map_or(0, |of| of.connections);
        if let Some(limit) = self.node.reached(Limit::Connections, all) {
            return Err(AmqpError::node_connection_limit(limit));
        }
        if let Some(limit) = of_vhost.reached(Limit::Connections, vhost) {
            let Place { user, vhost } = &place;
            return Err(AmqpError::vhost_connection_limit(vhost, user, limit));
        }
        if let Some(limit) = of_user.reached(Limit::Connections, user) {
            return Err(AmqpError::user_connection_limit(&place.user, limit));
        }
        *open.vhosts.entry(place.vhost.clone()).or_default() += 1;
        open.users
            .entry(place.user.clone())
            .or_default()
            .connections += 1;
        let seat = Seat {
            id,
            user: place.user.clone(),
            channels: 0,
            census: Arc::clone(self),
        };
        open.places.insert(id, place);
        Ok(seat)
    }

    /// The connections that are `wanted`.
    pub(super) fn find(&self, wanted: impl Fn(&Place) -> bool) -> Vec<ConnectionId> {
        let open = self.open.lock();
        let found = open.places.iter().filter(|(_, place)| wanted(place));
        found.map(|(id, _)| *id).collect()
    }
}

impl Seat {
    /// A channel opens, if neither the node's nor the user's limit is reached.
    ///
    /// # Errors
    /// 530.
    pub fn open_channel(&mut self, node: &str, of_user: &Limits) -> Result<(), AmqpError> {
        let mut open = self.census.open.lock();
        let all = open.channels;
        if let Some(limit) = self.census.node.reached(Limit::Channels, all) {
            return Err(AmqpError::node_channel_limit(node, limit));
        }
        let user = open.users.entry(self.user.clone()).or_default();
        if let Some(limit) = of_user.reached(Limit::Channels, user.channels) {
            return Err(AmqpError::user_channel_limit(&self.user, limit));
        }
        user.channels += 1;
        open.channels += 1;
        self.channels += 1;
        Ok(())
    }

    /// Channels have closed.
    pub fn close_channels(&mut self, count: u64) {
        let count = count.min(self.channels);
        self.channels -= count;
        let mut open = self.census.open.lock();
        open.channels -= count;
        if let Some(user) = open.users.get_mut(&self.user) {
            user.channels -= count;
        }
    }

    /// The connection is none any more. It counts no longer, nor do its channels.
    pub fn leave(&mut self) {
        self.close_channels(self.channels);
        let mut open = self.census.open.lock();
        let Some(place) = open.places.remove(&self.id) else {
            return;
        };
        if let Some(vhost) = open.vhosts.get_mut(&place.vhost) {
            *vhost -= 1;
            if *vhost == 0 {
                open.vhosts.remove(&place.vhost);
            }
        }
        if let Some(user) = open.users.get_mut(&place.user) {
            user.connections -= 1;
            if user.connections == 0 {
                open.users.remove(&place.user);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(set: &[(Limit, i64)]) -> Limits {
        let mut limits = Limits::default();
        for (limit, value) in set {
            limits.set(*limit, *value);
        }
        limits
    }

    fn census(node: &[(Limit, i64)]) -> Arc<Census> {
        Arc::new(Census::new(Arc::new(Node {
            limits: ArcSwap::from_pointee(limits(node)),
            ..Node::default()
        })))
    }

    #[test]
    fn a10_connections_are_held_to_the_limits_of_node_vhost_and_user() {
        let census = census(&[(Limit::Connections, 4)]);
        let (none, one) = (Limits::default(), limits(&[(Limit::Connections, 1)]));
        let mut next = 0;
        let mut enter = |user: &str, vhost: &str, of_vhost: &Limits, of_user: &Limits| {
            next += 1;
            let place = Place {
                user: user.into(),
                vhost: vhost.into(),
            };
            let entered = census.enter(ConnectionId(next), place, of_vhost, of_user);
            entered.map_err(|fault| fault.text)
        };
        let first = enter("a", "v", &one, &one).unwrap();
        let refused = enter("b", "v", &one, &one).unwrap_err();
        assert!(refused.ends_with("user 'b': connection limit (1) is reached"));
        let refused = enter("a", "w", &one, &one).unwrap_err();
        assert!(refused.ends_with("user 'a': user connection limit (1) is reached"));
        drop(first);
        let all: Vec<Seat> = ["v", "v", "w", "w"]
            .iter()
            .map(|vhost| enter("a", vhost, &none, &none).unwrap())
            .collect();
        let refused = enter("b", "x", &none, &none).unwrap_err();
        assert!(refused.ends_with("node connection limit (4) is reached"));
        assert_eq!(census.find(|place| place.vhost == "w".into()).len(), 2);
        drop(all);
        let open = census.open.lock();
        assert!(open.places.is_empty() && open.vhosts.is_empty() && open.users.is_empty());
    }

    #[test]
    fn a10_channels_are_held_to_the_limits_of_node_and_user() {
        let census = census(&[(Limit::Channels, 3)]);
        let (none, two) = (Limits::default(), limits(&[(Limit::Channels, 2)]));
        let enter = |id, user: &str| {
            let place = Place {
                user: user.into(),
                vhost: "/".into(),
            };
            census.enter(ConnectionId(id), place, &none, &none).unwrap()
        };
        let (mut a, mut also_a, mut b) = (enter(1, "a"), enter(2, "a"), enter(3, "b"));
        a.open_channel("n", &two).unwrap();
        also_a.open_channel("n", &two).unwrap();
        let refused = a.open_channel("n", &two).unwrap_err().text;
        assert!(refused.contains("user 'a' has reached the maximum allowed user limit of 2"));
        b.open_channel("n", &none).unwrap();
        let refused = b.open_channel("n", &none).unwrap_err().text;
        assert!(refused.contains("on node 'n' has reached the maximum allowed limit of 3"));
        a.close_channels(1);
        b.open_channel("n", &none).unwrap();
        drop((a, also_a, b));
        assert_eq!(census.open.lock().channels, 0);
    }
}
