//! A certificate authority of the tests' own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};

/// See the module.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
pub(crate) struct Issued {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Authority {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate to a file.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, self.pem()).unwrap();
    }

    /// A server's certificate for DNS names, and 127.0.0.1.
    pub(crate) fn server(&self, dir: &Path, file: &str, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let loopback = "127.0.0.1".parse().unwrap();
        params.subject_alt_names.push(SanType::IpAddress(loopback));
        self.issue(dir, file, params)
    }

    /// One whose time is over.
    pub(crate) fn expired(&self, dir: &Path, file: &str) -> Issued {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.issue(dir, file, params)
    }

    /// A client's, with its name in every place that may be asked for it.
    pub(crate) fn client(&self, dir: &Path, name: &str) -> Issued {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        let email = format!("{name}@example").try_into().unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name(email));
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Hutch, Inc.");
        params.distinguished_name.push(DnType::CommonName, name);
        self.issue(dir, name, params)
    }

    fn issue(&self, dir: &Path, file: &str, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let issued = Issued {
            cert: dir.join(format!("{file}.pem")),
            key: dir.join(format!("{file}.key")),
        };
        fs::write(&issued.cert, cert.pem()).unwrap();
        fs::write(&issued.key, key.serialize_pem()).unwrap();
        issued
    }
}
