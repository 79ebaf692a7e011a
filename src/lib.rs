//! Warren: a message broker that speaks AMQP 0-9-1 the way RabbitMQ does.
//!
//! The modules are layers, listed from the bottom up. A module imports only from those above it in
//! this list; `tests/layering.rs` holds that. docs/ARCHITECTURE.md draws the picture.
#![cfg_attr(test, allow(clippy::indexing_slicing))]

pub mod amqp;
pub mod auth;
pub mod base;
pub mod broker;
pub mod codec;
pub mod config;
pub mod message;
pub mod net;
pub mod queue;
pub mod router;
pub mod server;
pub mod store;
