//! The versions that the API announces.

/// Warren's own.
pub(super) const WARREN: &str = env!("CARGO_PKG_VERSION");

/// The RabbitMQ whose API this is: clients choose by it what they may ask. Newer paths exist where
/// Warren has what they show.
pub(super) const RABBITMQ: &str = "3.10.8";
