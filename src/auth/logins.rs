//! Logging in by user and password (A1.14, A10).
//!
//! Owns the check of a password and what is remembered of it. A hash that is slow by intention is
//! computed by a few threads that give way to the runtime's workers, and a password that was right is
//! remembered for a short time, so that a storm of reconnects costs no storm of hashing; nor does one that was wrong, over
//! and over. Never tells a client why a login was refused: the reason is for the log, which gets no password either.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::aside::aside;
use super::failures::{FailureRules, Failures};
use super::wrong::{Guess, Wrong};
use super::{
    Authority, Directory, HttpAuth, Login, OAuth2, PasswordHash, SharedDirectory, TokenRefused,
};
use crate::base::Name;
use crate::base::limits::{LOGIN_REMEMBERED, LOGINS_REMEMBERED_MAX};

/// A user and password as a SASL mechanism or HTTP delivered them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password, any octets.
    pub password: Vec<u8>,
}

/// What a client shows for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A password, which is to be checked.
    Password(Credentials),
    /// A certificate that names this user, and has been checked (EXTERNAL).
    Certificate(Name),
    /// An access token on its own.
    Token(Vec<u8>),
    /// An access token in the place of the one this user logged in with (A1.17).
    Renewal(Name, Vec<u8>),
}

impl Proof {
    /// The name it is shown for; a token tells its own.
    pub fn user(&self) -> &str {
        match self {
            Proof::Password(given) => &given.user,
            Proof::Token(_) => "",
            Proof::Certificate(user) | Proof::Renewal(user, _) => user.as_str(),
        }
    }
}

impl From<Credentials> for Proof {
    fn from(given: Credentials) -> Self {
        Proof::Password(given)
    }
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
    /// An access token will not do.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The new access token is another user's.
    #[error("the new token is another user's")]
    OtherUser,
    /// The HTTP server says so.
    #[error("the HTTP server refuses it")]
    Denied,
    /// The HTTP server does not answer, or not as it should.
    #[error("the HTTP server gives no answer")]
    Unanswered,
    /// It was not even tried.
    #[error("too many failed logins from there")]
    TooMany,
}

/// What knows users, in the order they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The directory.
    Internal,
    /// Access tokens.
    OAuth2,
    /// An HTTP server.
    Http,
    /// An HTTP server knows passwords, the directory all else.
    #[serde(rename = "http/internal")]
    HttpInternal,
}

impl Backend {
    /// Whether it needs the HTTP server.
    pub const fn is_http(self) -> bool {
        matches!(self, Backend::Http | Backend::HttpInternal)
    }
}

/// See the module.
pub struct Logins {
    loopback_only: ArcSwap<Vec<String>>,
    backends: Vec<Backend>,
    oauth2: Option<Arc<OAuth2>>,
    http: Option<Arc<HttpAuth>>,
    /// What a name that nobody has is checked against, so that it takes as long as one somebody has.
    nobody: Option<PasswordHash>,
    /// Which passwords were right, by a digest that only this process can make.
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    key: [u8; 32],
    /// Slow checks that may run at a time.
    slots: Arc<Semaphore>,
    wrong: Wrong,
    failures: Failures,
}

/// That a password had this hash.
struct Remembered {
    hash: PasswordHash,
    until: Instant,
}

/// Argon2id of a password nobody knows, with the costs of those set here.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$d2FycmVubm9ib2R5d2FzLg\
                      $nDWAcdLS28xcVtBcI1PDmwh1jwcEqHmLlbcSZUC3b8E";

impl Logins {
    /// With the names of those who may log in from this machine only.
    pub fn new(loopback_only: Vec<String>) -> Self {
        // Half of the processors: hashing must not take the broker's own.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_a_time = (cores / 2).max(1);
        Logins {
            loopback_only: ArcSwap::from_pointee(loopback_only),
            backends: vec![Backend::Internal],
            oauth2: None,
            http: None,
            nobody: PasswordHash::import(Some("argon2id"), NOBODY).ok(),
            remembered: Mutex::new(HashMap::new()),
            key: rand::random(),
            slots: Arc::new(Semaphore::new(at_a_time)),
            wrong: Wrong::new(at_a_time),
            failures: Failures::new(FailureRules::default()),
        }
    }

    /// Has failures slow down whoever guesses.
    #[must_use]
    pub fn slowing(self, rules: FailureRules) -> Self {
        self.failures.set_rules(rules);
        self
    }

    /// Goes by other settings from now on; who is logged in stays so.
    pub fn follow(&self, loopback_only: Vec<String>, rules: FailureRules) {
        self.loopback_only.store(Arc::new(loopback_only));
        self.failures.set_rules(rules);
    }

    /// Has these backends asked in turn; the first that takes the login wins.
    #[must_use]
    pub fn asking(
        mut self,
        backends: Vec<Backend>,
        oauth2: Option<Arc<OAuth2>>,
        http: Option<Arc<HttpAuth>>,
    ) -> Self {
        (self.backends, self.oauth2, self.http) = (backends, oauth2, http);
        self
    }

    /// The check of access tokens, if there is one.
    pub fn oauth2(&self) -> Option<&Arc<OAuth2>> {
        self.oauth2.as_ref()
    }

    /// Checks a login from `peer`.
    ///
    /// # Errors
    /// It is refused.
    pub async fn check(
        &self,
        directory: &SharedDirectory,
        given: impl Into<Proof>,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        match given.into() {
            Proof::Certificate(user) => self.check_certified(directory, &user, peer).await,
            Proof::Password(given) => self.check_guess(directory, given, peer).await,
            Proof::Token(token) => self.check_token(&token).await,
            Proof::Renewal(user, token) => {
                let login = self.check_token(&token).await?;
                match login.user == user {
                    true => Ok(login),
                    false => Err(LoginRefused::OtherUser),
                }
            }
        }
    }

    /// Checks what may be a guess: as slowly as there were failures before it.
    async fn check_guess(
        &self,
        directory: &SharedDirectory,
        given: Credentials,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        if self.was_right(directory, &given) {
            return self.check_secret(directory, given, peer).await;
        }
        let user = given.user.clone();
        let now = Instant::now();
        let turn = self.failures.turn(peer, &user, now);
        let turn = turn.map_err(|_| LoginRefused::TooMany)?;
        wait(turn - now).await;
        let checked = self.check_secret(directory, given, peer).await;
        match &checked {
            Ok(_) => self.failures.succeeded(peer, &user),
            Err(LoginRefused::Credentials | LoginRefused::Denied | LoginRefused::Token(_)) => {
                wait(self.failures.failed(peer, &user, Instant::now())).await;
            }
            Err(_) => {}
        }
        checked
    }

    /// Whether this password was right a short time ago, so that it is no guess.
    fn was_right(&self, directory: &SharedDirectory, given: &Credentials) -> bool {
        let hash = password_of(&directory.load(), &given.user);
        let slow = hash.filter(PasswordHash::is_slow);
        let Credentials { user, password } = given;
        let of_server = |http: &Arc<HttpAuth>| http.was_right(user, password);
        slow.is_some_and(|hash| self.remembers(&self.digest(user, password), &hash))
            || self.http.as_ref().is_some_and(of_server)
    }

    /// Asks the backends in turn. The last one's reason is the one that is told.
    async fn check_secret(
        &self,
        directory: &SharedDirectory,
        given: Credentials,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        let mut refused = LoginRefused::Credentials;
        for backend in &self.backends {
            let checked = match backend {
                Backend::Internal => {
                    let user = self.check_password(directory, given.clone()).await;
                    user.and_then(|user| self.login(directory, &user, peer))
                }
                Backend::OAuth2 => self.check_token(&given.password).await,
                Backend::Http | Backend::HttpInternal => {
                    let Credentials { user, password } = &given;
                    let login = self.ask_server(user, Some(password), peer).await;
                    login.and_then(|login| self.by_server(*backend, directory, login, peer))
                }
            };
            match checked {
                Ok(login) => return Ok(login),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    /// Asks the backends in turn about who needs no password.
    async fn check_certified(
        &self,
        directory: &SharedDirectory,
        user: &Name,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        let mut refused = LoginRefused::Credentials;
        for backend in &self.backends {
            let checked = match backend {
                Backend::Internal => self.login(directory, user, peer),
                Backend::OAuth2 => continue,
                Backend::Http | Backend::HttpInternal => {
                    let login = self.ask_server(user, None, peer).await;
                    login.and_then(|login| self.by_server(*backend, directory, login, peer))
                }
            };
            match checked {
                Ok(login) => return Ok(login),
                Err(reason) => refused = reason,
            }
        }
        Err(refused)
    }

    async fn ask_server(
        &self,
        user: &str,
        password: Option<&[u8]>,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        // An empty password is nobody's (A10).
        if password.is_some_and(<[u8]>::is_empty) {
            return Err(LoginRefused::Credentials);
        }
        self.check_place(user, peer)?;
        let http = self.http.as_ref().ok_or(LoginRefused::Credentials)?;
        http.log_in(user, password, peer).await
    }

    /// A user whom the HTTP server lets in; it may be the directory that knows what it may do.
    fn by_server(
        &self,
        backend: Backend,
        directory: &SharedDirectory,
        login: Login,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        if backend != Backend::HttpInternal {
            return Ok(login);
        }
        let mut known = self.login(directory, &login.user, peer)?;
        let more = login.tags.into_iter();
        let more: Vec<Name> = more.filter(|tag| !known.tags.contains(tag)).collect();
        known.tags.extend(more);
        Ok(known)
    }

    fn check_place(&self, user: &str, peer: IpAddr) -> Result<(), LoginRefused> {
        let loopback_only = self.loopback_only.load().iter().any(|name| name == user);
        match loopback_only && !peer.to_canonical().is_loopback() {
            true => Err(LoginRefused::NotLoopback),
            false => Ok(()),
        }
    }

    async fn check_token(&self, token: &[u8]) -> Result<Login, LoginRefused> {
        let oauth2 = self.oauth2.as_ref().ok_or(LoginRefused::Credentials)?;
        let token = oauth2.check(token).await?;
        Ok(Login {
            user: token.user().clone(),
            tags: token.tags().to_vec(),
            authority: Authority::Token(Arc::new(token)),
        })
    }

    /// A user who has shown to be it.
    fn login(
        &self,
        directory: &SharedDirectory,
        user: &str,
        peer: IpAddr,
    ) -> Result<Login, LoginRefused> {
        self.check_place(user, peer)?;
        let directory = directory.load();
        let account = directory.account(user).ok_or(LoginRefused::Credentials)?;
        Ok(Login {
            user: account.user.name.clone(),
            tags: account.user.tags.clone(),
            authority: Authority::Directory,
        })
    }

    /// The user's name.
    async fn check_password(
        &self,
        directory: &SharedDirectory,
        given: Credentials,
    ) -> Result<String, LoginRefused> {
        let Credentials { user, password } = given;
        let hash = password_of(&directory.load(), &user);
        let is_known = hash.is_some();
        // A user without a password has none that would be right; nor is an empty one.
        let hash = hash.or_else(|| self.nobody.clone());
        let right = match hash {
            Some(hash) if !password.is_empty() => self.verify(&user, password, hash).await,
            _ => false,
        };
        match is_known && right {
            true => Ok(user),
            false => Err(LoginRefused::Credentials),
        }
    }

    async fn verify(&self, user: &str, password: Vec<u8>, hash: PasswordHash) -> bool {
        if !hash.is_slow() {
            return hash.matches(&password);
        }
        let digest = self.digest(user, &password);
        if self.remembers(&digest, &hash) {
            return true;
        }
        let guess = self.guess(&digest, &hash);
        if self.wrong.refuses(&guess).await {
            return false;
        }
        // Fails only when closed, which nobody does.
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return false;
        };
        // Another with the same password may have been first.
        if self.remembers(&digest, &hash) {
            return true;
        }
        if self.wrong.knows(&guess) {
            drop(slot);
            self.wrong.refuses(&guess).await;
            return false;
        }
        let checked = hash.clone();
        let check = move || {
            let begun = std::time::Instant::now();
            let right = checked.check(&password);
            // Not before, even if whoever asked has gone.
            drop(slot);
            (right, begun.elapsed())
        };
        match aside(check).await {
            Ok((Ok(true), _)) => {
                self.remember(digest, hash);
                true
            }
            Ok((Ok(false), took)) => {
                self.wrong.note(guess, took);
                false
            }
            // It may be right: it must not be remembered as wrong.
            Ok((Err(fault), _)) => {
                warn!(%fault, "a password cannot be checked");
                false
            }
            Err(fault) => {
                warn!(%fault, "a password cannot be checked");
                false
            }
        }
    }

    /// What a password that was held against a hash is known by, should it be wrong.
    fn guess(&self, digest: &[u8; 32], hash: &PasswordHash) -> Guess {
        Sha256::new()
            .chain_update(self.key)
            .chain_update(digest)
            .chain_update(hash.text())
            .finalize()
            .into()
    }

    fn digest(&self, user: &str, password: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.key)
            .chain_update(user.len().to_be_bytes())
            .chain_update(user)
            .chain_update(password)
            .finalize()
            .into()
    }

    /// With a password that was changed the hash is another.
    fn remembers(&self, digest: &[u8; 32], hash: &PasswordHash) -> bool {
        let remembered = self.remembered.lock();
        let entry = remembered.get(digest);
        entry.is_some_and(|entry| entry.hash == *hash && Instant::now() < entry.until)
    }

    fn remember(&self, digest: [u8; 32], hash: PasswordHash) {
        let now = Instant::now();
        let until = now + LOGIN_REMEMBERED;
        let mut remembered = self.remembered.lock();
        if remembered.len() >= LOGINS_REMEMBERED_MAX {
            remembered.retain(|_, entry| now < entry.until);
        }
        if remembered.len() >= LOGINS_REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest, Remembered { hash, until });
    }
}

fn password_of(directory: &Directory, user: &str) -> Option<PasswordHash> {
    directory.account(user)?.user.password.clone()
}

// By hand, so that no log or panic message ever shows a password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Waits, and needs no timer where there is nothing to wait for.
async fn wait(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;

    use super::*;
    use crate::auth::{HashingAlgorithm, User};

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.into(),
            password: password.into(),
        }
    }

    fn directory(name: &str, password: PasswordHash) -> SharedDirectory {
        let mut directory = Directory::default();
        directory.put_user(User {
            name: name.into(),
            password: Some(password),
            tags: vec!["management".into()],
        });
        directory.put_user(User {
            name: "passwordless".into(),
            password: None,
            tags: vec![],
        });
        Arc::new(ArcSwap::from_pointee(directory))
    }

    fn sha256(password: &str) -> PasswordHash {
        PasswordHash::salted(HashingAlgorithm::Sha256, password.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a10_guest_from_loopback_only() {
        let directory = directory("guest", sha256("guest"));
        let logins = Logins::new(vec!["guest".into()]);
        let login = async |peer: &str| {
            let peer = peer.parse().unwrap();
            let given = credentials("guest", "guest");
            logins.check(&directory, given, peer).await
        };
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let login = login(peer).await.expect(peer);
            assert_eq!(login.user, "guest".into());
            assert!(login.has_tag("management"));
        }
        for peer in ["192.168.1.2", "::2", "::ffff:10.0.0.1"] {
            assert_eq!(login(peer).await, Err(LoginRefused::NotLoopback), "{peer}");
        }
    }

    #[tokio::test]
    async fn a10_only_the_right_password_will_do() {
        let peer = "10.0.0.1".parse().unwrap();
        for hash in [sha256("secret"), PasswordHash::new(b"secret").unwrap()] {
            let directory = directory("app", hash);
            let logins = Logins::new(vec![]);
            for (user, password, right) in [
                ("app", "secret", true),
                ("app", "", false),
                ("app", "secre", false),
                ("app", "secrets", false),
                ("", "secret", false),
                ("other", "secret", false),
                ("passwordless", "", false),
                ("passwordless", "secret", false),
                ("app", "secret", true),
            ] {
                let given = credentials(user, password);
                let login = logins.check(&directory, given, peer).await;
                assert_eq!(login.is_ok(), right, "{user} {password}");
            }
        }
    }

    #[tokio::test]
    async fn a10_a_certificate_stands_for_a_known_user_without_a_password() {
        let directory = directory("guest", sha256("guest"));
        let logins = Logins::new(vec!["guest".into()]);
        let login = async |user: &str, peer: &str| {
            let proof = Proof::Certificate(user.into());
            let login = logins.check(&directory, proof, peer.parse().unwrap()).await;
            login.map(|login| login.user)
        };
        let known = login("passwordless", "10.0.0.1").await;
        assert_eq!(known, Ok("passwordless".into()));
        let unknown = login("nobody", "127.0.0.1").await;
        assert_eq!(unknown, Err(LoginRefused::Credentials));
        let far = login("guest", "10.0.0.1").await;
        assert_eq!(far, Err(LoginRefused::NotLoopback));
    }

    #[tokio::test]
    async fn a_changed_password_is_not_remembered() {
        let peer = "10.0.0.1".parse().unwrap();
        let shared = directory("app", PasswordHash::new(b"old").unwrap());
        let logins = Logins::new(vec![]);
        let login = async |password: &str| {
            let given = credentials("app", password);
            logins.check(&shared, given, peer).await.is_ok()
        };
        assert!(login("old").await && login("old").await);
        let changed = directory("app", PasswordHash::new(b"new").unwrap());
        shared.store(changed.load_full());
        assert!(!login("old").await);
        assert!(login("new").await);
    }

    #[tokio::test]
    async fn a_wrong_password_is_hashed_once_and_is_right_when_it_is_set() {
        let peer = "127.0.0.1".parse().unwrap();
        let shared = directory("app", PasswordHash::new(b"old").unwrap());
        let logins = Logins::new(vec![]);
        let login = async |user: &str, password: &str| {
            let given = credentials(user, password);
            logins.check(&shared, given, peer).await.is_ok()
        };
        assert!(!login("app", "new").await && !login("nobody", "new").await);
        // With no slot left nothing is hashed: what is not known would wait for ever.
        let permits = logins.slots.available_permits();
        let all = logins.slots.acquire_many(permits as u32).await.unwrap();
        assert!(!login("app", "new").await && !login("nobody", "new").await);
        drop(all);
        assert!(login("app", "old").await, "another password");
        assert!(!login("app", "new").await);
        let changed = directory("app", PasswordHash::new(b"new").unwrap());
        shared.store(changed.load_full());
        assert!(login("app", "new").await);
        assert!(!login("app", "old").await && !login("nobody", "new").await);
    }

    #[tokio::test]
    async fn what_another_found_out_meanwhile_is_not_hashed_again() {
        let peer = "127.0.0.1".parse().unwrap();
        let shared = directory("app", PasswordHash::new(b"secret").unwrap());
        let logins = Logins::new(vec![]);
        let login = || logins.check(&shared, credentials("app", "secret"), peer);
        let hash = password_of(&shared.load(), "app").unwrap();
        let guess = logins.guess(&logins.digest("app", b"secret"), &hash);
        let permits = logins.slots.available_permits();
        let all = logins.slots.acquire_many(permits as u32).await.unwrap();
        let found_out = async {
            // All wait for a slot. A hash would show that this is not so.
            logins.wrong.note(guess, Duration::ZERO);
            drop(all);
        };
        let (a, b, c, ()) = tokio::join!(login(), login(), login(), found_out);
        for refused in [a, b, c] {
            assert_eq!(refused, Err(LoginRefused::Credentials));
        }
        assert_eq!(logins.slots.available_permits(), permits);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let logins = Logins::new(vec![]);
        let hash = sha256("secret");
        for number in 0..=LOGINS_REMEMBERED_MAX {
            let digest = logins.digest(&number.to_string(), b"secret");
            logins.remember(digest, hash.clone());
            assert!(logins.remembers(&digest, &hash));
        }
        assert!(logins.remembered.lock().len() <= LOGINS_REMEMBERED_MAX);
    }

    #[tokio::test]
    async fn a10_guesses_get_slower_and_a_right_password_from_elsewhere_does_not() {
        let directory = directory("app", sha256("secret"));
        let logins = Logins::new(vec![]).slowing(FailureRules {
            exempt: vec![],
            free: 2,
            delay_max: Duration::from_millis(400),
        });
        let (here, elsewhere) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let login = async |password: &str, peer| {
            let begun = Instant::now();
            let given = credentials("app", password);
            let login = logins.check(&directory, given, peer).await;
            (login.map(drop), begun.elapsed())
        };
        for least_ms in [0, 0, 100, 200, 400] {
            let (login, took) = login("wrong", here).await;
            assert_eq!(login, Err(LoginRefused::Credentials));
            assert!(took >= Duration::from_millis(least_ms), "{took:?}");
        }
        let now = Instant::now();
        assert_eq!(logins.failures.turn(elsewhere, "app", now), Ok(now));
        assert_eq!(login("secret", elsewhere).await.0, Ok(()));
        // From there when it is its turn, and then all is forgotten.
        assert_eq!(login("secret", here).await.0, Ok(()));
        let now = Instant::now();
        assert_eq!(logins.failures.turn(here, "app", now), Ok(now));
    }

    #[tokio::test]
    async fn who_was_right_a_moment_ago_does_not_wait_for_those_who_guess() {
        let directory = directory("app", PasswordHash::new(b"secret").unwrap());
        let logins = Logins::new(vec![]).slowing(FailureRules {
            exempt: vec![],
            free: 0,
            delay_max: Duration::from_secs(60),
        });
        let here = "10.0.0.1".parse().unwrap();
        let login = async |password: &str| {
            let given = credentials("app", password);
            logins.check(&directory, given, here).await.map(drop)
        };
        assert_eq!(login("secret").await, Ok(()));
        for _ in 0..20 {
            logins.failures.failed(here, "app", Instant::now());
        }
        let waits = logins.failures.turn(here, "app", Instant::now());
        assert!(waits.is_ok());
        assert_eq!(login("guess").await, Err(LoginRefused::TooMany));
        assert_eq!(login("secret").await, Ok(()));
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(!format!("{:?}", credentials("app", "secret")).contains("secret"));
    }

    #[test]
    fn a_name_that_nobody_has_is_checked_as_slowly() {
        let nobody = Logins::new(vec![]).nobody.unwrap();
        assert!(nobody.is_slow() && !nobody.matches(b""));
        let params = |text: String| text.split('$').nth(3).map(str::to_owned);
        let fresh = PasswordHash::new(b"secret").unwrap();
        assert_eq!(params(nobody.text()), params(fresh.text()));
    }
}
