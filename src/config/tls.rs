//! `[tls]`: AMQPS listeners, certificates, and what is asked of clients.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Listen};

/// See the module. An empty path stands for none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Where AMQP over TLS is spoken; by convention port 5671.
    pub listen: Vec<Listen>,
    /// The chain shown to clients, PEM, the server's own certificate first.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Further certificates, chosen by the name the client asks for (SNI).
    pub certificates: Vec<KeyPair>,
    /// Authorities that clients' certificates are held against, PEM.
    pub ca_file: PathBuf,
    /// Certificates those authorities have revoked, PEM.
    pub crl_file: PathBuf,
    /// The versions spoken.
    pub versions: Vec<TlsVersion>,
    /// Whether clients are asked for a certificate.
    pub verify: Verify,
    /// Whether a client without one is refused.
    pub fail_if_no_peer_cert: bool,
    /// The part of a client's certificate that is its user name with SASL EXTERNAL.
    pub login_from: LoginFrom,
    /// Seconds between looks at the files above, which are read again if they have changed; 0 never
    /// looks. SIGHUP always has them read.
    pub reload_interval_s: u64,
}

/// A certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// As in [`Tls`].
    pub cert_file: PathBuf,
    /// As in [`Tls`].
    pub key_file: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// No.
    None,
    /// Yes, and one that `ca_file` does not vouch for is refused.
    Peer,
}

/// Where a certificate names its user (A10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginFrom {
    /// Nowhere: EXTERNAL is not offered.
    None,
    /// The subject's last common name.
    CommonName,
    /// The whole subject, as RFC 4514 writes it.
    DistinguishedName,
    /// The first DNS name.
    SanDns,
    /// The first e-mail address.
    SanEmail,
    /// The first URI.
    SanUri,
    /// The first IP address.
    SanIp,
}

impl Default for Tls {
    fn default() -> Self {
        Tls {
            listen: Vec::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            certificates: Vec::new(),
            ca_file: PathBuf::new(),
            crl_file: PathBuf::new(),
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            verify: Verify::None,
            fail_if_no_peer_cert: false,
            login_from: LoginFrom::None,
            reload_interval_s: 30,
        }
    }
}

impl Tls {
    /// Holds the settings against each other.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fault = |key, value: String, reason: &str| {
            Err(ConfigError::OutOfRange {
                key,
                value,
                reason: reason.to_owned(),
            })
        };
        let absent = |path: &PathBuf| path.as_os_str().is_empty();
        if self.versions.is_empty() {
            return fault("tls.versions", "[]".into(), "needs at least one");
        }
        if self.listen.is_empty() {
            return Ok(());
        }
        if absent(&self.cert_file) {
            return fault("tls.cert_file", "\"\"".into(), "a TLS listener needs it");
        }
        if absent(&self.key_file) {
            return fault("tls.key_file", "\"\"".into(), "a TLS listener needs it");
        }
        if self.verify == Verify::Peer && absent(&self.ca_file) {
            return fault(
                "tls.ca_file",
                "\"\"".into(),
                "verify = \"peer\" needs the authorities of clients' certificates",
            );
        }
        if self.verify == Verify::None && self.fail_if_no_peer_cert {
            return fault(
                "tls.fail_if_no_peer_cert",
                "true".into(),
                "needs verify = \"peer\"",
            );
        }
        if self.verify == Verify::None && self.login_from != LoginFrom::None {
            return fault(
                "tls.login_from",
                // As it is written in the file.
                serde_json::to_string(&self.login_from).unwrap_or_default(),
                "needs verify = \"peer\": an unverified name is nobody's",
            );
        }
        Ok(())
    }
}
