//! What is listened on: an address, and what holds for whoever connects there.
//!
//! Owns how a listener is written in the file and on the command line. In the file it is a string,
//! or a table where more than the address is to be said.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub at: Endpoint,
    /// Every connection begins with a header of the PROXY protocol, version 1 or 2.
    pub proxy_protocol: bool,
    /// Who may connect; empty is everyone. Of a proxied connection, which proxies.
    pub allow: Vec<IpNet>,
}

/// Where a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `ADDR:PORT`.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
}

const UNIX: &str = "unix:";

impl From<Endpoint> for Listen {
    fn from(at: Endpoint) -> Self {
        Listen {
            at,
            proxy_protocol: false,
            allow: Vec::new(),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(|at: Endpoint| at.into())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some("") => Err(format!("no path after {UNIX:?}")),
            Some(path) => Ok(Endpoint::Unix(path.into())),
            None => text.parse().map(Endpoint::Tcp).map_err(|_| {
                format!("{text:?} is neither ADDR:PORT, with an IP address, nor unix:PATH")
            }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The form as a table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detailed {
    address: Endpoint,
    #[serde(default)]
    proxy_protocol: bool,
    #[serde(default)]
    allow: Vec<IpNet>,
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Listen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a table with one")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Listen, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listen, A::Error> {
                let Detailed {
                    address,
                    proxy_protocol,
                    allow,
                } = Detailed::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Listen {
                    at: address,
                    proxy_protocol,
                    allow,
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Listen::from(self.at.clone()) {
            return self.at.serialize(serializer);
        }
        let detailed = Detailed {
            address: self.at.clone(),
            proxy_protocol: self.proxy_protocol,
            allow: self.allow.clone(),
        };
        detailed.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        listen: Vec<Listen>,
    }

    #[test]
    fn a_string_or_a_table() {
        let text = r#"listen = ["127.0.0.1:5672", "unix:/run/warren.sock",
            { address = "[::]:5673", proxy_protocol = true, allow = ["10.0.0.0/8", "::1/128"] }]"#;
        let file: File = toml::from_str(text).unwrap();
        assert_eq!(file.listen[1].at, Endpoint::Unix("/run/warren.sock".into()));
        assert!(file.listen[2].proxy_protocol);
        assert_eq!(file.listen[2].allow.len(), 2);
        let again = toml::to_string(&file).unwrap();
        assert_eq!(toml::from_str::<File>(&again).unwrap(), file);
    }

    #[test]
    fn faults_say_what_was_expected() {
        let fault = |listener: &str| {
            let text = format!("listen = [{listener}]");
            toml::from_str::<File>(&text).unwrap_err().to_string()
        };
        assert!(fault("\"nowhere\"").contains("neither ADDR:PORT"));
        assert!(fault("\"unix:\"").contains("no path"));
        assert!(fault("5").contains("an address, or a table with one"));
        assert!(fault("{ address = \"127.0.0.1:1\", tls = true }").contains("unknown field `tls`"));
        let network = "{ address = \"127.0.0.1:1\", allow = [\"10.0.0.0/33\"] }";
        assert!(fault(network).contains("invalid IP address syntax"));
    }
}
