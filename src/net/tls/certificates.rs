//! Certificates and keys, from files to what a handshake uses.
//!
//! Owns every check that can be made before the first client: that files are there and hold what
//! they should, that a key belongs to its certificate, that its time has come and is not over.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{
    ClientHello, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TlsError, identity};
use crate::config::{self, TlsVersion, Verify};

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";
const CRL: &str = "revocation list";

/// Reads everything that `settings` names.
pub(super) fn load(settings: &config::Tls) -> Result<Arc<ServerConfig>, TlsError> {
    // Named, because a process where several libraries could choose has no default.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let first = certified(&settings.cert_file, &settings.key_file, &provider)?;
    let mut certificates = Certificates {
        first,
        by_name: HashMap::new(),
    };
    for pair in &settings.certificates {
        let further = certified(&pair.cert_file, &pair.key_file, &provider)?;
        for name in further.end_entity_cert().map(identity::dns_names)? {
            let further = Arc::clone(&further);
            certificates.by_name.entry(name).or_insert(further);
        }
    }
    let verifier = verifier(settings, &provider)?;
    let versions: Vec<&'static SupportedProtocolVersion> = settings
        .versions
        .iter()
        .map(|version| match version {
            TlsVersion::V1_2 => &TLS12,
            TlsVersion::V1_3 => &TLS13,
        })
        .collect();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    Ok(Arc::new(config))
}

fn certified(
    cert_file: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = all(CERTIFICATE, cert_file)?;
    if let Some(own) = chain.first() {
        check_time(own, cert_file)?;
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| unreadable(KEY, key_file, e))?;
    let refused = |path: &Path, fault: Error| TlsError::Refused {
        path: path.to_owned(),
        reason: fault.to_string(),
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|fault| refused(key_file, fault))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            key: key_file.to_owned(),
            cert: cert_file.to_owned(),
        }),
        Err(fault) => Err(refused(cert_file, fault)),
    }
}

/// The time of the certificates behind the first is for clients to judge.
fn check_time(certificate: &CertificateDer<'_>, path: &Path) -> Result<(), TlsError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| TlsError::Refused {
        path: path.to_owned(),
        reason: e.to_string(),
    })?;
    let validity = parsed.validity();
    if validity.is_valid() {
        return Ok(());
    }
    Err(TlsError::OutOfDate {
        path: path.to_owned(),
        from: validity.not_before.to_string(),
        until: validity.not_after.to_string(),
    })
}

fn verifier(
    settings: &config::Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if settings.verify == Verify::None {
        return Ok(Arc::new(NoClientAuth));
    }
    let path = &settings.ca_file;
    let refused = |fault: &dyn fmt::Display| TlsError::Refused {
        path: path.clone(),
        reason: fault.to_string(),
    };
    let mut authorities = RootCertStore::empty();
    for authority in all(CERTIFICATE, path)? {
        authorities.add(authority).map_err(|e| refused(&e))?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    if !settings.crl_file.as_os_str().is_empty() {
        let lists: Vec<CertificateRevocationListDer<'static>> = all(CRL, &settings.crl_file)?;
        // An authority without a list has revoked nothing.
        builder = builder.with_crls(lists).allow_unknown_revocation_status();
    }
    if !settings.fail_if_no_peer_cert {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder.build().map_err(|e| refused(&e))?;
    Ok(verifier)
}

/// Everything of one kind in a file, which must hold at least one.
fn all<T: PemObject>(what: &'static str, path: &Path) -> Result<Vec<T>, TlsError> {
    let found: Vec<T> = T::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable(what, path, e))?;
    match found.is_empty() {
        true => Err(TlsError::Empty {
            what,
            path: path.to_owned(),
        }),
        false => Ok(found),
    }
}

fn unreadable(what: &'static str, path: &Path, fault: pem::Error) -> TlsError {
    let path = path.to_owned();
    let reason = match fault {
        pem::Error::NoItemsFound => return TlsError::Empty { what, path },
        pem::Error::Io(e) => e.to_string(),
        fault => fault.to_string(),
    };
    TlsError::Unreadable { what, path, reason }
}

/// Chooses by the name that a client asks for.
#[derive(Debug)]
struct Certificates {
    first: Arc<CertifiedKey>,
    /// By the names in each, in lower case; `*.` stands for one label.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn find(&self, asked: &str) -> &Arc<CertifiedKey> {
        let asked = asked.to_ascii_lowercase();
        let wild = || {
            let (_, parent) = asked.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        let found = self.by_name.get(&asked).or_else(wild);
        found.unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().unwrap_or_default();
        Some(Arc::clone(self.find(asked)))
    }
}
