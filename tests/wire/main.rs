//! The wire, octet by octet: what a client may send and what it gets, over a real socket.
//!
//! Each test is named after the row of the reference it covers. The broker is the real executable,
//! so that what is measured of it (its memory, whether it lives) is its own.

// A test fails by panicking: that is how it says what was wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod alarms;
mod broker;
mod channels;
mod client;
mod closing;
mod confirms;
mod consume;
mod content;
mod edges;
mod fields;
mod flood;
mod frames;
mod handshake;
mod heartbeats;
mod hostile;
mod limits;
mod login;
mod octets;
mod patience;
mod publish;
mod say;
mod settle;
mod strangers;
