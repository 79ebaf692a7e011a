//! An amount that is written as octets or as a part of the machine's memory.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::ConfigError;

/// An amount, in TOML an integer of octets or a fraction such as `0.6` of the memory there is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Limit {
    /// Octets.
    Bytes(u64),
    /// A part of the machine's memory, or of the control group's if that is less.
    Fraction(f64),
}

impl Limit {
    /// It in octets, of a machine with `memory_bytes`.
    pub fn bytes(self, memory_bytes: u64) -> u64 {
        match self {
            Limit::Bytes(bytes) => bytes,
            Limit::Fraction(part) => (memory_bytes as f64 * part) as u64,
        }
    }

    pub(super) fn check(self, key: &'static str, most: f64) -> Result<(), ConfigError> {
        match self {
            Limit::Fraction(part) if !(0.0..=most).contains(&part) => {
                Err(ConfigError::OutOfRange {
                    key,
                    value: format!("{part:?}"),
                    reason: format!(
                        "must be a fraction from 0.0 to {most:?}, or a number of octets"
                    ),
                })
            }
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of octets, or a fraction such as 0.6, without a unit")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Limit, E> {
                Ok(Limit::Bytes(bytes))
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Limit, E> {
                let bytes = u64::try_from(bytes).map_err(|_| E::custom("must not be negative"))?;
                Ok(Limit::Bytes(bytes))
            }

            fn visit_f64<E: Error>(self, part: f64) -> Result<Limit, E> {
                Ok(Limit::Fraction(part))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
