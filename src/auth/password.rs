//! Hashes of passwords: RabbitMQ's, so that its users can be taken over, and argon2id for those set
//! here.
//!
//! Owns the forms of a hash and the check of a password against one. Keeps and shows no password.

use argon2::password_hash::{self, phc};
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::base::limits::{ARGON2_MEMORY_MAX_KIB, ARGON2_PASSES_MAX};

/// How a password was hashed (A10, A11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashingAlgorithm {
    /// Salt of 4 octets, then SHA-256 of salt and password: RabbitMQ's default.
    #[serde(rename = "rabbit_password_hashing_sha256")]
    Sha256,
    /// The same with SHA-512.
    #[serde(rename = "rabbit_password_hashing_sha512")]
    Sha512,
    /// The same with MD5: very old RabbitMQs.
    #[serde(rename = "rabbit_password_hashing_md5")]
    Md5,
    /// Argon2id in the PHC string format.
    #[serde(rename = "argon2id")]
    Argon2id,
}

/// Octets of the salt before RabbitMQ's hashes.
const SALT_BYTES: usize = 4;

impl HashingAlgorithm {
    /// By its name in definitions.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512, Self::Md5, Self::Argon2id]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// Its name in definitions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
            Self::Argon2id => "argon2id",
        }
    }

    /// RabbitMQ's hashes alone.
    fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
        fn of<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
            D::new()
                .chain_update(salt)
                .chain_update(password)
                .finalize()
                .to_vec()
        }
        match self {
            Self::Sha256 => of::<Sha256>(salt, password),
            Self::Sha512 => of::<Sha512>(salt, password),
            Self::Md5 => of::<Md5>(salt, password),
            Self::Argon2id => Vec::new(),
        }
    }

    fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
            Self::Argon2id => 0,
        }
    }
}

/// A hashed password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    algorithm: HashingAlgorithm,
    /// Salt and digest, or the octets of a PHC string.
    octets: bytes::Bytes,
}

/// Why there is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// A hash from outside with an algorithm that is not known.
    #[error("unknown hashing algorithm '{0}'")]
    UnknownAlgorithm(String),
    /// A hash from outside that is none of its algorithm.
    #[error("password_hash is not a hash of algorithm {}", .0.name())]
    Malformed(HashingAlgorithm),
    /// A hash from outside whose check would take the machine down.
    #[error(
        "password_hash asks for more than {ARGON2_MEMORY_MAX_KIB} KiB of memory or \
         {ARGON2_PASSES_MAX} passes"
    )]
    TooCostly,
    /// There was no memory to hash in.
    #[error("the password could not be hashed: {0}")]
    Failed(String),
}

impl PasswordHash {
    /// Hashes a new password by argon2id with a random salt. Takes tens of milliseconds and 19 MiB: not
    /// for the runtime's workers.
    ///
    /// # Errors
    /// [`HashError::Failed`].
    pub fn new(password: &[u8]) -> Result<Self, HashError> {
        let salt: [u8; 16] = rand::random();
        let hashed = Argon2::default().hash_password_with_salt(password, &salt);
        let phc: phc::PasswordHash = hashed.map_err(|e| HashError::Failed(e.to_string()))?;
        Ok(PasswordHash {
            algorithm: HashingAlgorithm::Argon2id,
            octets: phc.to_string().into(),
        })
    }

    /// Hashes as RabbitMQ does: `algorithm` is one of its.
    pub fn salted(algorithm: HashingAlgorithm, password: &[u8]) -> Result<Self, HashError> {
        if algorithm == HashingAlgorithm::Argon2id {
            return Self::new(password);
        }
        let mut octets = rand::random::<[u8; SALT_BYTES]>().to_vec();
        let digest = algorithm.digest(&octets, password);
        octets.extend(digest);
        Ok(PasswordHash {
            algorithm,
            octets: octets.into(),
        })
    }

    /// From a definition: base64 of salt and digest, or a PHC string for `argon2id`. Without an
    /// algorithm it is RabbitMQ's default, SHA-256.
    ///
    /// # Errors
    /// It is not of that form, or its check would cost too much.
    pub fn import(algorithm: Option<&str>, text: &str) -> Result<Self, HashError> {
        let algorithm = match algorithm {
            None => HashingAlgorithm::Sha256,
            Some(name) => HashingAlgorithm::from_name(name)
                .ok_or_else(|| HashError::UnknownAlgorithm(name.to_owned()))?,
        };
        let malformed = HashError::Malformed(algorithm);
        if algorithm == HashingAlgorithm::Argon2id {
            let phc = phc::PasswordHash::new(text).map_err(|_| malformed.clone())?;
            if phc.algorithm != argon2::ARGON2ID_IDENT || phc.hash.is_none() {
                return Err(malformed);
            }
            let params = Params::try_from(&phc).map_err(|_| malformed)?;
            if params.m_cost() > ARGON2_MEMORY_MAX_KIB || params.t_cost() > ARGON2_PASSES_MAX {
                return Err(HashError::TooCostly);
            }
            return Ok(PasswordHash {
                algorithm,
                octets: text.to_owned().into(),
            });
        }
        let octets = BASE64_STANDARD
            .decode(text)
            .map_err(|_| malformed.clone())?;
        match octets.len() == SALT_BYTES + algorithm.digest_bytes() {
            true => Ok(PasswordHash {
                algorithm,
                octets: octets.into(),
            }),
            false => Err(malformed),
        }
    }

    /// As definitions have it; [`Self::import`] reads it.
    pub fn text(&self) -> String {
        match self.algorithm {
            HashingAlgorithm::Argon2id => String::from_utf8_lossy(&self.octets).into_owned(),
            _ => BASE64_STANDARD.encode(&self.octets),
        }
    }

    /// How it was hashed.
    pub fn algorithm(&self) -> HashingAlgorithm {
        self.algorithm
    }

    /// Whether [`Self::check`] takes too long for the runtime's workers.
    pub fn is_slow(&self) -> bool {
        self.algorithm == HashingAlgorithm::Argon2id
    }

    /// Whether it is the hash of `password`. Which octet differs does not show in the time.
    ///
    /// # Errors
    /// It could not be found out, for want of memory.
    pub fn check(&self, password: &[u8]) -> Result<bool, password_hash::Error> {
        if self.algorithm == HashingAlgorithm::Argon2id {
            let text = String::from_utf8_lossy(&self.octets);
            let Ok(hash) = phc::PasswordHash::new(&text) else {
                return Ok(false);
            };
            return match Argon2::default().verify_password(password, &hash) {
                Ok(()) => Ok(true),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(fault) => Err(fault),
            };
        }
        let Some((salt, digest)) = self.octets.split_at_checked(SALT_BYTES) else {
            return Ok(false);
        };
        let given = self.algorithm.digest(salt, password);
        Ok(given.ct_eq(digest).into())
    }

    /// [`Self::check`], and not if it cannot be found out.
    pub fn matches(&self, password: &[u8]) -> bool {
        self.check(password).unwrap_or(false)
    }
}

// By hand, so that no log or panic message ever shows a hash.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordHash")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_hashes_of_rabbitmq_are_understood() {
        // The example of RabbitMQ's documentation on passwords.
        let documented = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        let hash = PasswordHash::import(None, documented).unwrap();
        assert_eq!(hash.algorithm(), HashingAlgorithm::Sha256);
        assert!(hash.matches(b"test12"));
        assert!(!hash.matches(b"test13"));
        assert!(!hash.matches(b""));
        assert_eq!(hash.text(), documented);
    }

    #[test]
    fn every_algorithm_reads_back_and_knows_its_password() {
        for name in [
            "rabbit_password_hashing_sha256",
            "rabbit_password_hashing_sha512",
            "rabbit_password_hashing_md5",
            "argon2id",
        ] {
            let algorithm = HashingAlgorithm::from_name(name).unwrap();
            let hash = PasswordHash::salted(algorithm, b"secret").unwrap();
            let back = PasswordHash::import(Some(name), &hash.text()).unwrap();
            assert!(back == hash && back.matches(b"secret"), "{name}");
            assert!(!back.matches(b"Secret"), "{name}");
            let again = PasswordHash::salted(algorithm, b"secret").unwrap();
            assert!(again != hash, "{name}: the salt is random");
        }
    }

    #[test]
    fn a_hash_from_outside_is_checked() {
        let import = |algorithm, text: &str| PasswordHash::import(algorithm, text).unwrap_err();
        let sha256 = HashError::Malformed(HashingAlgorithm::Sha256);
        assert_eq!(import(None, "not base64!"), sha256);
        assert_eq!(import(None, "AAAA"), sha256);
        let other = "rabbit_password_hashing_rot13";
        let unknown = HashError::UnknownAlgorithm(other.into());
        assert_eq!(import(Some(other), "AAAA"), unknown);
        let argon = |params: &str| {
            format!(
                "$argon2id$v=19${params}$c2FsdHNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI"
            )
        };
        assert!(PasswordHash::import(Some("argon2id"), &argon("m=19456,t=2,p=1")).is_ok());
        for costly in ["m=4194304,t=2,p=1", "m=19456,t=100000,p=1"] {
            assert_eq!(
                import(Some("argon2id"), &argon(costly)),
                HashError::TooCostly
            );
        }
        let plain = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ";
        assert!(PasswordHash::import(Some("argon2id"), plain).is_err());
    }

    #[test]
    fn hashes_are_not_shown() {
        let hash = PasswordHash::salted(HashingAlgorithm::Sha256, b"secret").unwrap();
        assert!(!format!("{hash:?}").contains(&hash.text()));
    }
}
