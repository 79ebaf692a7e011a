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
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
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
    current: ArcSwap<TlsRead>,
    /// What the files looked like before they were last read, well or not.
    seen: Mutex<Vec<Seen>>,
    replaced: Notify,
}

/// Certificates and keys that were read without a fault, and the settings that name them.
pub struct TlsRead {
    settings: config::Tls,
    handshakes: Arc<ServerConfig>,
}

/// What tells that a file is another than it was. None if it can't be looked at.
type Seen = Option<(SystemTime, u64)>;

impl Tls {
    /// Reads certificates and keys.
    pub(super) fn load(settings: &config::Tls) -> Result<Self, TlsError> {
        let seen = look(settings);
        Ok(Tls {
            current: ArcSwap::from_pointee(TlsRead::new(settings)?),
            seen: Mutex::new(seen),
            replaced: Notify::new(),
        })
    }

    /// Reads them again, for [`Self::replace`].
    pub(super) fn read(&self, settings: &config::Tls) -> Result<TlsRead, TlsError> {
        // Before they are read: what changes meanwhile is seen as changed the next time.
        *self.seen.lock() = look(settings);
        TlsRead::new(settings)
    }

    /// Shakes hands by what was read from now on.
    pub(super) fn replace(&self, read: TlsRead) {
        self.current.store(Arc::new(read));
        self.replaced.notify_one();
        info!("TLS certificates reloaded");
    }

    /// Shakes hands with a client.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, TlsSession)>
    where
        S: Stream + AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.current.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&current.handshakes));
        let (socket, session) = acceptor.accept(stream).await?.into_inner();
        let settled = current.settled(&session);
        Ok((TlsStream::new(socket, session), settled))
    }

    /// Reads the files again whenever they have changed, for ever. One task runs it.
    pub(super) async fn keep_fresh(&self) {
        loop {
            let current = self.current.load_full();
            let settings = &current.settings;
            let interval = Duration::from_secs(settings.reload_interval_s);
            tokio::select! {
                () = self.replaced.notified() => continue,
                () = tokio::time::sleep(interval), if !interval.is_zero() => {}
            }
            if look(settings) == *self.seen.lock() {
                continue;
            }
            match self.read(settings) {
                Ok(read) => self.replace(read),
                Err(fault) => not_reloaded(&fault),
            }
        }
    }
}

impl TlsRead {
    fn new(settings: &config::Tls) -> Result<Self, TlsError> {
        Ok(TlsRead {
            settings: settings.clone(),
            handshakes: certificates::load(settings)?,
        })
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
}

/// Tells the log that certificates can't be used.
pub fn not_reloaded(fault: &TlsError) {
    warn!(%fault, "TLS certificates not reloaded: the old ones stay in use");
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
