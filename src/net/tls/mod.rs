//! TLS: what the listeners' handshakes use, and its renewal while they run.
//!
//! Owns the one current configuration of the TLS listeners. It is replaced whole, and only by one
//! that was read without a fault; open connections keep theirs.

mod certificates;
mod error;
mod expiry;
mod identity;
mod stream;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tracing::{info, warn};

use crate::amqp::{Stream, TlsSession};
use crate::config;
pub use error::TlsError;
pub use expiry::{CertificateEnds, certificate_ends};
use stream::TlsStream;

/// See the module.
pub(super) struct Tls {
    settings: config::Tls,
    current: ArcSwap<ServerConfig>,
    /// What the files looked like before they were first read.
    first_seen: Vec<Seen>,
}

/// What tells that a file is another than it was. None if it can't be looked at.
type Seen = Option<(SystemTime, u64)>;

impl Tls {
    /// Reads certificates and keys.
    pub(super) fn load(settings: &config::Tls) -> Result<Self, TlsError> {
        let first_seen = look(settings);
        Ok(Tls {
            current: ArcSwap::new(certificates::load(settings)?),
            settings: settings.clone(),
            first_seen,
        })
    }

    /// Shakes hands with a client.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, TlsSession)>
    where
        S: Stream + AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        let (socket, session) = acceptor.accept(stream).await?.into_inner();
        let settled = self.settled(&session);
        Ok((TlsStream::new(socket, session), settled))
    }

    fn settled(&self, session: &ServerConnection) -> TlsSession {
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
            _ => "tlsv1.3",
        };
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        let cipher = suite.and_then(|suite| suite.as_str()).unwrap_or_default();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        TlsSession {
            version,
            // The name that the RFC gives it, without the mark rustls puts in.
            cipher: cipher.replacen("TLS13_", "TLS_", 1),
            user: certificate.and_then(|der| identity::user(der, self.settings.login_from)),
        }
    }

    /// Reads the files again whenever they have changed or SIGHUP comes, for ever. One task runs it.
    pub(super) async fn keep_fresh(&self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(e) => return warn!(error = %e, "certificates are not reloaded"),
        };
        let interval = Duration::from_secs(self.settings.reload_interval_s);
        let mut seen = self.first_seen.clone();
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                () = tokio::time::sleep(interval), if !interval.is_zero() => {
                    if look(&self.settings) == seen {
                        continue;
                    }
                }
            }
            // Before they are read: what changes meanwhile is seen as changed the next time.
            seen = look(&self.settings);
            self.reload();
        }
    }

    fn reload(&self) {
        match certificates::load(&self.settings) {
            Ok(config) => {
                self.current.store(config);
                info!("TLS certificates reloaded");
            }
            Err(fault) => warn!(%fault, "TLS certificates not reloaded: the old ones stay in use"),
        }
    }
}

fn files(settings: &config::Tls) -> impl Iterator<Item = &Path> {
    let pairs = settings.certificates.iter();
    let further = pairs.flat_map(|pair| [&pair.cert_file, &pair.key_file]);
    let first = [
        &settings.cert_file,
        &settings.key_file,
        &settings.ca_file,
        &settings.crl_file,
    ];
    let all = first.into_iter().chain(further).map(PathBuf::as_path);
    all.filter(|path| !path.as_os_str().is_empty())
}

fn look(settings: &config::Tls) -> Vec<Seen> {
    let seen = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files(settings).map(seen).collect()
}
