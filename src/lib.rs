//! Warren: a message broker that speaks AMQP 0-9-1 the way RabbitMQ does.
//!
//! The modules are layers, listed from the bottom up. A module imports only from those above it in
//! this list; `tests/layering.rs` holds that. docs/ARCHITECTURE.md draws the picture.

pub mod base;
pub mod store;
