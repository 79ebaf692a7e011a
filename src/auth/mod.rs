//! Who may log in.
//!
//! Owns the users and the check of a password. Never tells why a login was refused: the reason is
//! for the log, which gets no password either.

use std::net::IpAddr;

use crate::base::Name;

/// A user and password as a SASL mechanism delivered them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password, any octets.
    pub password: Vec<u8>,
}

/// Why a login was refused: for the broker's log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// No such user, or another password.
    #[error("unknown user or wrong password")]
    Credentials,
    /// The user may log in from this machine only (A10).
    #[error("this user may only connect from localhost")]
    NotLoopback,
}

/// The users.
pub struct Users {
    default: Credentials,
    loopback_only: Vec<String>,
}

impl Users {
    /// One user, and the names of those who may log in from this machine only.
    pub fn new(default: Credentials, loopback_only: Vec<String>) -> Self {
        Users {
            default,
            loopback_only,
        }
    }

    /// Checks a login from `peer`. The user's name.
    pub fn login(&self, given: &Credentials, peer: IpAddr) -> Result<Name, LoginRefused> {
        let known = given.user == self.default.user;
        if !known || !same(&given.password, &self.default.password) {
            return Err(LoginRefused::Credentials);
        }
        if self.loopback_only.contains(&given.user) && !peer.to_canonical().is_loopback() {
            return Err(LoginRefused::NotLoopback);
        }
        Ok(Name::from(given.user.as_str()))
    }
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |found, (x, y)| found | (x ^ y));
    a.len() == b.len() && differing == 0
}

// By hand, so that no log or panic message ever shows a password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.into(),
            password: password.into(),
        }
    }

    #[test]
    fn a10_guest_from_loopback_only() {
        let guest = credentials("guest", "guest");
        let users = Users::new(guest.clone(), vec!["guest".into()]);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(
                users.login(&guest, peer.parse().unwrap()),
                Ok("guest".into()),
                "{peer}"
            );
        }
        for peer in ["192.168.1.2", "::2", "::ffff:10.0.0.1"] {
            let refused = users.login(&guest, peer.parse().unwrap());
            assert_eq!(refused, Err(LoginRefused::NotLoopback), "{peer}");
        }
    }

    #[test]
    fn only_the_right_password_will_do() {
        let users = Users::new(credentials("app", "secret"), vec![]);
        let peer = "10.0.0.1".parse().unwrap();
        assert!(users.login(&credentials("app", "secret"), peer).is_ok());
        for (user, password) in [
            ("app", ""),
            ("app", "secre"),
            ("app", "secrets"),
            ("", "secret"),
        ] {
            let refused = users.login(&credentials(user, password), peer);
            assert_eq!(refused, Err(LoginRefused::Credentials));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(!format!("{:?}", credentials("app", "secret")).contains("secret"));
    }
}
