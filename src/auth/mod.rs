//! Who may log in, and what they may do.
//!
//! Owns users, passwords, permissions and limits as data ([`Directory`]), the check of a login
//! ([`Logins`]) and of an operation ([`Actor`]). Never stores anything and knows no connection: the
//! broker keeps the directory in its catalogue and asks.

mod actor;
mod answers;
mod aside;
mod directory;
mod failures;
mod http;
mod limits;
mod logins;
mod oauth2;
mod password;
mod pattern;
mod wrong;

pub use actor::{Actor, Authority, Login};
pub use directory::{Account, Directory, Permission, SharedDirectory, TopicPermission, User, tag};
pub use failures::FailureRules;
pub use http::{HttpAuth, HttpAuthError, HttpMethod, HttpRules, HttpUser};
pub use limits::{Limit, Limits};
pub use logins::{Backend, Credentials, LoginRefused, Logins, Proof};
pub use oauth2::{KeySource, KeysError, OAuth2, Token, TokenRefused, TokenRules};
pub use password::{HashError, HashingAlgorithm, PasswordHash};
pub use pattern::{Pattern, PatternError};
