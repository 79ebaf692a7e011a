//! What a queue is: the order of ready messages, what is unacked, and who consumes.
//!
//! A queue keeps a window of its messages in memory; of the others it knows where in the log they are, by
//! the entry at its tail, in pages of the log (`base::index`) behind that.
//!
//! [`Queue`] is a plain state machine without I/O, tasks or clock: a call changes it, and what must
//! be done outside (positions to log as consumed) comes out as [`Effects`]. Deliveries leave
//! through [`ConsumerPort`], in batches. [`QueueRef`] is the handle that the rest of the broker
//! shares; whoever holds its lock owns the queue for the length of one batch.
//!
//! Never knows exchanges, the wire, or the log beyond the position a message has in it.
//! Lock order: a queue's lock, then what a port locks; never two queues at once.

mod browse;
mod consumer;
mod entry;
mod lane;
mod levels;
mod load;
mod machine;
mod moving;
mod options;
mod outcome;
mod paging;
mod places;
mod present;
mod ready;
mod retry;
mod shared;
mod subscription;
mod tally;
mod turns;
mod upkeep;

#[cfg(test)]
mod model_tests;

pub use browse::{Cursor, MessageId, NotAnId, PageAhead, Seen, View};
pub use consumer::{
    ConsumerInfo, ConsumerKey, ConsumerPort, ConsumerSpec, ConsumerToken, Delivery, Slot,
};
pub use levels::Levels;
pub use load::{Load, Wanted};
pub use machine::Queue;
pub use options::{DeadLetter, DeathReason, Overflow, QueueKind, QueueOptions};
pub use outcome::{Admission, Dead, Effects, Got, SubscribeError};
pub use retry::{DelayedRetry, Requeue};
pub use shared::{QueueGuard, QueueRef, QueueSpec, Settings, WeakQueue};
pub use tally::{QueueCounts, QueueSample, Tally};
