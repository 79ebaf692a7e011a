//! What every layer may use: ids, names, index entries, the texts a client can see, limits, rates,
//! counts and the clock.
//!
//! Owns no state and does no I/O.

pub mod clock;
pub mod counter;
mod durability;
pub mod history;
pub mod host;
pub mod ids;
pub mod index;
pub mod limits;
pub mod name;
pub mod quota;
pub mod reply;
mod source;

pub use durability::Durability;
pub use ids::{ChannelId, ConnectionId, DeliveryTag, LogPos, QueueId};
pub use name::Name;
pub use quota::Quota;
pub use reply::{
    Access, AmqpError, ArgFault, ArgValue, BinaryTerm, ReplyCode, Resource, blocked_reason,
    quota_reason,
};
pub use source::source_of;
