//! When the certificates in use end.
//!
//! Owns reading that from the files that the settings name: whoever asks wants to know of those that
//! will be read next, too.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config;

/// A server's certificate with those behind it, and the authorities of clients.
#[derive(Debug)]
pub struct CertificateEnds {
    /// The file of the server's certificate.
    pub cert_file: PathBuf,
    /// When each in it ends, in seconds since 1970; else why it can't be told.
    pub cert: Result<Vec<u64>, String>,
    /// The file of the authorities; empty for none.
    pub ca_file: PathBuf,
    /// When each in it ends.
    pub ca: Result<Vec<u64>, String>,
}

/// Reads all files of certificates that `settings` name. Blocks.
pub fn certificate_ends(settings: &config::Tls) -> Vec<CertificateEnds> {
    let further = settings.certificates.iter().map(|pair| &pair.cert_file);
    let files = std::iter::once(&settings.cert_file).chain(further);
    let ends = files.map(|cert_file| CertificateEnds {
        cert: ends(cert_file),
        cert_file: cert_file.clone(),
        ca: match settings.ca_file.as_os_str().is_empty() {
            true => Ok(Vec::new()),
            false => ends(&settings.ca_file),
        },
        ca_file: settings.ca_file.clone(),
    });
    ends.collect()
}

fn ends(file: &Path) -> Result<Vec<u64>, String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())?;
    let end = |der: CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| e.to_string())?;
        let end_s = parsed.validity().not_after.timestamp();
        Ok(u64::try_from(end_s).unwrap_or(0))
    };
    let certificates = certificates.map(|der| end(der.map_err(|e| e.to_string())?));
    certificates.collect()
}
