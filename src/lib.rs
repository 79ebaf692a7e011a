//! Warren: a message broker that speaks AMQP 0-9-1 the way RabbitMQ does.
//!
//! The modules are layers, listed from the bottom up. A module imports only from those above it in
//! this list; `tests/layering.rs` holds that. docs/ARCHITECTURE.md draws the picture.
#![cfg_attr(test, allow(clippy::indexing_slicing))]

// Blank lines between them, or rustfmt would sort them.
pub mod base;

pub mod codec;

pub mod message;

pub mod store;

pub mod queue;

pub mod router;

pub mod auth;

pub mod config;

pub mod broker;

pub mod amqp;

pub mod net;

pub mod management;

pub mod server;
