//! Which connections are open: whose, and in which vhost.
//!
//! Owns the counts that limits are held against. A connection takes its [`Seat`] at connection.open
//! and leaves it by dropping it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::{ConnectionId, Name};

/// Whose a connection is, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) user: Name,
    pub(super) vhost: Name,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Census {
    places: Mutex<HashMap<ConnectionId, Place>>,
}

/// A connection's entry in the census, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    id: ConnectionId,
    census: Arc<Census>,
}

impl Census {
    /// Enters a connection.
    pub(super) fn enter(self: &Arc<Self>, id: ConnectionId, place: Place) -> Seat {
        self.places.lock().insert(id, place);
        Seat {
            id,
            census: Arc::clone(self),
        }
    }

    /// The connections that are `wanted`.
    pub(super) fn find(&self, wanted: impl Fn(&Place) -> bool) -> Vec<ConnectionId> {
        let places = self.places.lock();
        let found = places.iter().filter(|(_, place)| wanted(place));
        found.map(|(id, _)| *id).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.census.places.lock().remove(&self.id);
    }
}
