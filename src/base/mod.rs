//! What every layer may use: ids, names, the texts a client can see, limits and the clock.
//!
//! Owns no state and does no I/O.

pub mod ids;
pub mod name;

pub use ids::{ChannelId, ConnectionId, DeliveryTag, LogPos, QueueId};
pub use name::Name;
