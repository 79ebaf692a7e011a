//! The broker through lapin, an ordinary client: what a program may rely on. A test is named after
//! the row of the behaviour it covers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing)]

mod acknowledgements;
mod client;
mod connections;
mod consumers;
mod durable;
mod exchanges;
mod expiry;
mod load;
mod publishing;
mod queues;
mod routing;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
mod turmoil;
