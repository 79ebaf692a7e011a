//! What a vhost or a user may have at most (A10, limits).
//!
//! Owns the names and values; who counts is who holds the things.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Quota;

/// A thing that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Limit {
    /// Open connections.
    #[serde(rename = "max-connections")]
    Connections,
    /// Open channels.
    #[serde(rename = "max-channels")]
    Channels,
    /// Queues.
    #[serde(rename = "max-queues")]
    Queues,
    /// Exchanges, without those that every vhost has.
    #[serde(rename = "max-exchanges")]
    Exchanges,
    /// Messages published in a second.
    #[serde(rename = "max-messages-per-second")]
    MessageRate,
    /// Octets of bodies published in a second.
    #[serde(rename = "max-bytes-per-second")]
    ByteRate,
}

impl Limit {
    /// Those of a vhost.
    pub const OF_VHOST: &[Limit] = &[
        Limit::Connections,
        Limit::Queues,
        Limit::Exchanges,
        Limit::MessageRate,
        Limit::ByteRate,
    ];
    /// Those of a user.
    pub const OF_USER: &[Limit] = &[
        Limit::Connections,
        Limit::Channels,
        Limit::MessageRate,
        Limit::ByteRate,
    ];

    /// Its name in definitions and in the HTTP API.
    pub const fn name(self) -> &'static str {
        match self {
            Limit::Connections => "max-connections",
            Limit::Channels => "max-channels",
            Limit::Queues => "max-queues",
            Limit::Exchanges => "max-exchanges",
            Limit::MessageRate => "max-messages-per-second",
            Limit::ByteRate => "max-bytes-per-second",
        }
    }

    /// The one of `among` with this name.
    pub fn from_name(name: &str, among: &[Limit]) -> Option<Limit> {
        among.iter().copied().find(|limit| limit.name() == name)
    }
}

/// The limits that are set. One that is not set does not hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limits(BTreeMap<Limit, u64>);

impl Limits {
    /// The most there may be, if that is limited.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).copied()
    }

    /// Sets one. A value below 0 takes it away, as in RabbitMQ.
    pub fn set(&mut self, limit: Limit, value: i64) {
        match u64::try_from(value) {
            Ok(most) => self.0.insert(limit, most),
            Err(_) => self.0.remove(&limit),
        };
    }

    /// Takes one away.
    pub fn clear(&mut self, limit: Limit) {
        self.0.remove(&limit);
    }

    /// A quota with the rates that are set.
    pub fn quota(&self) -> Quota {
        let quota = Quota::default();
        self.set_rates(&quota);
        quota
    }

    /// Holds a quota to the rates that are set.
    pub fn set_rates(&self, quota: &Quota) {
        quota.set(self.get(Limit::MessageRate), self.get(Limit::ByteRate));
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that are set.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> {
        self.0.iter().map(|(limit, most)| (*limit, *most))
    }

    /// The limit, if `count` things are as many as there may be.
    pub fn reached(&self, limit: Limit, count: u64) -> Option<u64> {
        self.get(limit).filter(|most| count >= *most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_below_zero_is_no_limit_and_zero_is_nothing() {
        let mut limits = Limits::default();
        assert_eq!(limits.reached(Limit::Queues, u64::MAX), None);
        limits.set(Limit::Queues, 0);
        assert_eq!(limits.reached(Limit::Queues, 0), Some(0));
        limits.set(Limit::Queues, 2);
        assert_eq!(limits.reached(Limit::Queues, 1), None);
        assert_eq!(limits.reached(Limit::Queues, 2), Some(2));
        limits.set(Limit::Queues, -1);
        assert!(limits.is_empty());
    }

    #[test]
    fn names_read_back() {
        for limit in Limit::OF_VHOST.iter().chain(Limit::OF_USER) {
            let all = [Limit::OF_VHOST, Limit::OF_USER].concat();
            assert_eq!(Limit::from_name(limit.name(), &all), Some(*limit));
        }
        assert_eq!(Limit::from_name("max-channels", Limit::OF_VHOST), None);
    }
}
