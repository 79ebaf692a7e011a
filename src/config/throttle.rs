//! `[throttle]`: how fast strangers may come.
//!
//! Owns the settings; who is held to them is decided where connections and logins come in.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// See the module. 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    /// Networks that are held to nothing here.
    pub exempt: Vec<IpNet>,
    /// Connections that have not come to connection.open yet.
    pub handshakes: usize,
    /// The same from one address.
    pub handshakes_per_address: usize,
    /// Connections a second from one address, and as many at once.
    pub connects_per_address_per_s: u32,
    /// Failed logins before the next is delayed.
    pub failed_logins_free: u32,
    /// Milliseconds that a login is delayed at most.
    pub failed_login_delay_max_ms: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle {
            exempt: vec![
                IpNet::new_assert([127, 0, 0, 0].into(), 8),
                IpNet::new_assert(std::net::Ipv6Addr::LOCALHOST.into(), 128),
            ],
            handshakes: 4096,
            handshakes_per_address: 1000,
            connects_per_address_per_s: 500,
            failed_logins_free: 5,
            failed_login_delay_max_ms: 5000,
        }
    }
}
