//! The settings of what speaks HTTP.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where to listen, if at all: `ADDR:PORT` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// Not at all.
    Off,
    /// There.
    At(SocketAddr),
}

impl Address {
    /// The address, unless it is off.
    pub fn get(self) -> Option<SocketAddr> {
        match self {
            Address::Off => None,
            Address::At(address) => Some(address),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Address::Off),
            text => text
                .parse()
                .map(Address::At)
                .map_err(|_| "must be ADDR:PORT or off".to_owned()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Off => f.write_str("off"),
            Address::At(address) => address.fmt(f),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

/// The HTTP API and the pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Management {
    /// Where it listens.
    pub listen: Address,
    /// In front of every path.
    pub path_prefix: String,
    /// Origins whose pages may use the API.
    pub cors_allow_origins: Vec<String>,
    /// Seconds a browser may remember the answer to that.
    pub cors_max_age_s: u64,
}

impl Default for Management {
    fn default() -> Self {
        Management {
            listen: Address::At(SocketAddr::from(([127, 0, 0, 1], 15672))),
            path_prefix: String::new(),
            cors_allow_origins: Vec::new(),
            cors_max_age_s: 1800,
        }
    }
}

/// Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where it listens.
    pub listen: Address,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            listen: Address::At(SocketAddr::from(([127, 0, 0, 1], 15692))),
        }
    }
}
