//! Access for whoever may read the data directory: the operator on the same machine, without a
//! password.
//!
//! Owns the access file, which holds the API's address and a token drawn at each start, readable by
//! the broker's own user only; it is there while the API serves. What the bearer may do is decided
//! where all logins are looked at.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::RngCore as _;
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::auth::{Authority, Login, Token};
use crate::base::Name;

/// Its name in the data directory; `warrenctl` looks for it.
const FILE: &str = "warrenctl.access";

/// What the bearer is called where it is told who did something.
const OPERATOR: &str = "warrenctl";

/// For the broker's own user only.
const MODE: u32 = 0o600;

/// See the module. Dropping it removes the file.
pub(super) struct LocalAccess {
    path: PathBuf,
    token: String,
}

impl LocalAccess {
    /// Writes the file, over one that a killed broker left.
    pub(super) fn open(data_dir: &Path, address: SocketAddr, prefix: &str) -> io::Result<Self> {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        let access = LocalAccess {
            path: data_dir.join(FILE),
            token: BASE64_URL_SAFE_NO_PAD.encode(secret),
        };
        let url = format!(
            "http://{}{}",
            reachable(address),
            prefix.trim_end_matches('/')
        );
        let text = json!({"url": url, "token": access.token}).to_string();
        let unnamed = data_dir.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&unnamed)?;
        // One that was there already kept its mode.
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&unnamed, &access.path)?;
        Ok(access)
    }

    /// The operator, if a token is that of the file. Takes as long for a wrong one as for the right one.
    pub(super) fn log_in(&self, token: Option<&str>) -> Option<Login> {
        let is_right: bool = self.token.as_bytes().ct_eq(token?.as_bytes()).into();
        is_right.then(|| {
            let token = Token::of_operator(Name::from(OPERATOR));
            Login {
                user: token.user().clone(),
                tags: token.tags().to_vec(),
                authority: Authority::Token(Arc::new(token)),
            }
        })
    }
}

impl Drop for LocalAccess {
    fn drop(&mut self) {
        // One that stays opens nothing: its token is forgotten.
        let _ = fs::remove_file(&self.path);
    }
}

/// Where a program on this machine reaches a socket that listens at `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_for_its_owner_and_goes_with_the_broker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "left by a killed one").unwrap();
        let access =
            LocalAccess::open(dir.path(), "0.0.0.0:15672".parse().unwrap(), "/mq/").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        let told: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(told["url"], "http://127.0.0.1:15672/mq");
        let login = access.log_in(told["token"].as_str()).unwrap();
        assert!(login.has_tag("administrator"));
        for wrong in [None, Some(""), Some("guess")] {
            assert_eq!(access.log_in(wrong), None);
        }
        drop(access);
        assert!(!path.exists());
    }
}
