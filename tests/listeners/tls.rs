//! AMQP over TLS: whom it talks to, whom it refuses, and what keeps the broker from starting.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::authority::{Authority, Issued};
use crate::client::Client;
use crate::support::{Broker, LIMIT, address};
use crate::{broker, command, reload};

type Tls = StreamOwned<ClientConnection, TcpStream>;

const OVER_TLS: &str = "over TLS address=";
const SIZES: [usize; 5] = [0, 1, 5_000, 70_000, 3_000_000];

/// An authority, its certificate in `ca.pem`, a server's in `server.pem`, and the start of a
/// configuration that uses them.
struct Setup {
    dir: TempDir,
    authority: Authority,
}

impl Setup {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::new("Warren test authority");
        authority.write(&dir.path().join("ca.pem"));
        authority.server(dir.path(), "server", &["localhost"]);
        Setup { dir, authority }
    }

    fn config(more: &str) -> String {
        format!(
            "listen = [\"127.0.0.1:0\"]\n[tls]\nlisten = [\"127.0.0.1:0\"]\n\
             cert_file = \"{{dir}}/server.pem\"\nkey_file = \"{{dir}}/server.key\"\n{more}"
        )
    }

    fn broker(&self, more: &str) -> (Broker, SocketAddr) {
        let broker = broker(&self.dir, &Setup::config(more));
        let listening = address(&broker.wait_for(OVER_TLS));
        (broker, listening)
    }

    /// Exit code and last line of a broker that can't start.
    fn refused(&self, more: &str) -> (Option<i32>, String) {
        let (status, log) = Broker::spawn(command(&self.dir, &Setup::config(more))).ended();
        (status.code(), log.last().cloned().unwrap_or_default())
    }

    fn client(&self, name: &str) -> Issued {
        self.authority.client(self.dir.path(), name)
    }

    fn dial(&self) -> Dial<'_> {
        Dial {
            trusts: &self.authority,
            shows: None,
            asks_for: "localhost",
            version: &TLS13,
        }
    }
}

/// How a client dials.
struct Dial<'s> {
    trusts: &'s Authority,
    shows: Option<&'s Issued>,
    asks_for: &'static str,
    version: &'static SupportedProtocolVersion,
}

impl Dial<'_> {
    /// A session after its handshake.
    fn connect(&self, address: SocketAddr) -> io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        let pem = self.trusts.pem();
        for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match self.shows {
            None => config.with_no_client_auth(),
            Some(issued) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&issued.cert)
                    .unwrap()
                    .collect();
                let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
                config.with_client_auth_cert(chain.unwrap(), key).unwrap()
            }
        };
        let name = ServerName::try_from(self.asks_for).unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let mut tls = StreamOwned::new(session, socket);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(tls)
    }

    /// That the handshake fails: at the latest when the first octets are awaited, as with TLS 1.3 a
    /// client is done before its certificate has been looked at.
    fn is_refused(&self, address: SocketAddr) -> bool {
        let mut tls = match self.connect(address) {
            Ok(tls) => tls,
            Err(_) => return true,
        };
        let _ = tls.write_all(b"AMQP\x00\x00\x09\x01");
        !matches!(tls.read(&mut [0; 8]), Ok(count) if count > 0)
    }
}

#[test]
fn messages_of_every_size_pass_in_both_versions() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("");
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let dial = Dial {
            version,
            ..setup.dial()
        };
        let tls = dial.connect(address).unwrap();
        assert_eq!(tls.conn.protocol_version(), Some(expected));
        let mut client = Client::new(tls);
        client.open_as_guest();
        client.echo(&SIZES);
        client.close();
        // The broker says goodbye as TLS has it: the end is no cut.
        assert_eq!(client.rest().unwrap(), b"");
    }
    broker.stop();
}

#[test]
fn only_the_versions_named_are_spoken() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("versions = [\"1.3\"]");
    let old = Dial {
        version: &TLS12,
        ..setup.dial()
    };
    assert!(old.connect(address).is_err());
    assert!(setup.dial().connect(address).is_ok());
    broker.stop();
}

#[test]
fn what_is_no_tls_is_refused_and_harms_nobody() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("");
    for octets in [
        &b"AMQP\x00\x00\x09\x01"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16; 64],
    ] {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(octets).unwrap();
        let mut answer = Vec::new();
        // An alert, and the end; or the end alone.
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 16, "{answer:?}");
    }
    let mut client = Client::new(setup.dial().connect(address).unwrap());
    client.open_as_guest();
    client.close();
    broker.stop();
}

#[test]
fn a1_2_a_handshake_that_never_ends_is_cut_off() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("[amqp]\nhandshake_timeout_s = 1");
    let began = Instant::now();
    // One says nothing; another has shaken hands, and then says nothing.
    let mut silent = TcpStream::connect(address).unwrap();
    let mut idle = setup.dial().connect(address).unwrap();
    silent.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(silent.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0);
    assert!(began.elapsed().as_millis() >= 1000);
    broker.stop();
}

#[test]
fn clients_need_a_certificate_of_the_authority_where_they_are_asked() {
    let setup = Setup::new();
    let strict = "ca_file = \"{dir}/ca.pem\"\nverify = \"peer\"\nfail_if_no_peer_cert = true";
    let (broker, address) = setup.broker(strict);
    let ours = setup.client("ours");
    let other = Authority::new("Another authority");
    let theirs = other.client(setup.dir.path(), "theirs");
    let expired = setup.authority.expired(setup.dir.path(), "expired");
    for version in [&TLS12, &TLS13] {
        let dial = |shows| Dial {
            shows,
            version,
            ..setup.dial()
        };
        assert!(dial(None).is_refused(address), "no certificate");
        assert!(dial(Some(&theirs)).is_refused(address), "another authority");
        assert!(dial(Some(&expired)).is_refused(address), "expired");
        let mut client = Client::new(dial(Some(&ours)).connect(address).unwrap());
        client.open_as_guest();
        client.close();
    }
    broker.stop();
}

#[test]
fn a_client_may_do_without_a_certificate_but_not_show_a_bad_one() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("ca_file = \"{dir}/ca.pem\"\nverify = \"peer\"");
    let other = Authority::new("Another authority");
    let theirs = other.client(setup.dir.path(), "theirs");
    let dial = Dial {
        shows: Some(&theirs),
        ..setup.dial()
    };
    assert!(dial.is_refused(address));
    let mut client = Client::new(setup.dial().connect(address).unwrap());
    client.open_as_guest();
    client.close();
    broker.stop();
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_was_asked_for() {
    let setup = Setup::new();
    let dir = setup.dir.path();
    let names = ["other.example", "*.wild.example"];
    let other = setup.authority.server(dir, "other", &names);
    let further =
        "certificates = [{ cert_file = \"{dir}/other.pem\", key_file = \"{dir}/other.key\" }]";
    let (broker, address) = setup.broker(further);
    let shown = |asks_for| {
        let dial = Dial {
            asks_for,
            ..setup.dial()
        };
        let tls = dial.connect(address)?;
        let shown = tls.conn.peer_certificates().unwrap()[0].clone();
        io::Result::Ok(shown)
    };
    let own = CertificateDer::from_pem_file(dir.join("server.pem")).unwrap();
    let other = CertificateDer::from_pem_file(&other.cert).unwrap();
    assert_eq!(shown("localhost").unwrap(), own);
    assert_eq!(shown("127.0.0.1").unwrap(), own);
    assert_eq!(shown("other.example").unwrap(), other);
    assert_eq!(shown("a.wild.example").unwrap(), other);
    // Both are given the first certificate, which is not theirs.
    assert!(shown("wild.example").is_err());
    assert!(shown("a.b.wild.example").is_err());
    broker.stop();
}

/// Replaces the server's certificate; the new one.
fn replace(setup: &Setup) -> CertificateDer<'static> {
    let issued = setup
        .authority
        .server(setup.dir.path(), "server", &["localhost"]);
    CertificateDer::from_pem_file(&issued.cert).unwrap()
}

fn shown(setup: &Setup, address: SocketAddr) -> CertificateDer<'static> {
    let tls = setup.dial().connect(address).unwrap();
    tls.conn.peer_certificates().unwrap()[0].clone()
}

#[test]
fn sighup_reloads_certificates_under_open_connections() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("reload_interval_s = 0");
    let mut open = Client::new(setup.dial().connect(address).unwrap());
    open.open_as_guest();
    let new = replace(&setup);
    assert_ne!(shown(&setup, address), new);
    broker.signal(Signal::HUP);
    broker.wait_for("TLS certificates reloaded");
    assert_eq!(shown(&setup, address), new);
    // A bad file changes nothing.
    fs::write(setup.dir.path().join("server.pem"), "no certificate").unwrap();
    broker.signal(Signal::HUP);
    let line = broker.wait_for("the old ones stay in use");
    assert!(line.contains("there is no certificate in"), "{line}");
    assert_eq!(shown(&setup, address), new);
    open.echo(&SIZES);
    open.close();
    broker.stop();
}

#[test]
fn settings_that_name_other_certificates_are_taken_up_whole_or_not_at_all() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("reload_interval_s = 0");
    let other = setup
        .authority
        .server(setup.dir.path(), "other", &["localhost"]);
    let other = CertificateDer::from_pem_file(&other.cert).unwrap();
    let named = |name: &str, more: &str| {
        let config = Setup::config(more).replace("/server.", &format!("/{name}."));
        format!("{config}\n[amqp]\nheartbeat_s = 9")
    };
    let old = shown(&setup, address);
    let kept = "the settings stay as they are";
    reload(&broker, &setup.dir, &named("absent", ""), kept);
    assert_eq!(shown(&setup, address), old);
    let untouched = |line: &String| !line.contains("heartbeat_s");
    assert!(broker.log().iter().all(untouched));
    let more = "reload_interval_s = 1\nversions = [\"1.3\"]";
    let config = named("other", more);
    reload(&broker, &setup.dir, &config, "setting=amqp.heartbeat_s");
    assert_eq!(shown(&setup, address), other);
    let old_version = Dial {
        version: &TLS12,
        ..setup.dial()
    };
    assert!(old_version.connect(address).is_err());
    broker.stop();
}

#[test]
fn a_file_that_changes_is_read_again() {
    let setup = Setup::new();
    let (broker, address) = setup.broker("reload_interval_s = 1");
    let new = replace(&setup);
    broker.wait_for("TLS certificates reloaded");
    // Certificate and key change one after the other: a look between the two changes nothing.
    let deadline = Instant::now() + LIMIT;
    while shown(&setup, address) != new {
        assert!(Instant::now() < deadline, "the new certificate is not used");
    }
    broker.stop();
}

#[test]
fn what_is_wrong_with_the_files_is_said_at_start() {
    let setup = Setup::new();
    let dir = setup.dir.path();
    let other = Authority::new("Another authority");
    let foreign = other.server(dir, "foreign", &["localhost"]);
    setup.authority.expired(dir, "expired");
    fs::write(dir.join("garbage.pem"), "garbage").unwrap();
    drop(foreign);
    // The later key of two is refused, so each case is a file of its own.
    let case = |cert: &str, key: &str, more: &str| {
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\n[tls]\nlisten = [\"127.0.0.1:0\"]\n\
             cert_file = \"{{dir}}/{cert}\"\nkey_file = \"{{dir}}/{key}\"\n{more}"
        );
        let (status, log) = Broker::spawn(command(&setup.dir, &config)).ended();
        (status.code(), log.last().cloned().unwrap_or_default())
    };
    for (cert, key, more, expected) in [
        ("absent.pem", "server.key", "", "cannot read certificate"),
        ("server.pem", "absent.key", "", "cannot read private key"),
        (
            "garbage.pem",
            "server.key",
            "",
            "there is no certificate in",
        ),
        (
            "server.pem",
            "garbage.pem",
            "",
            "there is no private key in",
        ),
        ("server.key", "server.pem", "", "there is no certificate in"),
        (
            "server.pem",
            "foreign.key",
            "",
            "does not belong to the certificate",
        ),
        (
            "expired.pem",
            "expired.key",
            "",
            "is valid from Jan  1 00:00:00 2020",
        ),
        (
            "server.pem",
            "server.key",
            "verify = \"peer\"\nca_file = \"{dir}/absent\"",
            "cannot read certificate",
        ),
    ] {
        let (code, line) = case(cert, key, more);
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(expected), "{cert}, {key}: {line}");
        assert!(line.contains(&format!("{}/", dir.display())), "{line}");
    }
}

#[test]
fn settings_that_do_not_fit_are_named() {
    let setup = Setup::new();
    for (more, expected) in [
        ("verify = \"peer\"", "tls.ca_file"),
        ("fail_if_no_peer_cert = true", "tls.fail_if_no_peer_cert"),
        ("login_from = \"common_name\"", "tls.login_from"),
        ("versions = []", "tls.versions"),
        ("versions = [\"1.1\"]", "unknown variant `1.1`"),
    ] {
        let (code, line) = setup.refused(more);
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn certificate_and_listener_may_be_flags() {
    let setup = Setup::new();
    let dir = setup.dir.path();
    let path = |file: &str| Path::join(dir, file).display().to_string();
    let (cert, key) = (path("server.pem"), path("server.key"));
    let tls = ["--tls-listen", "127.0.0.1:0", "--tls-cert", &cert];
    let broker = Broker::start_with(
        &dir.join("data"),
        &[&tls[..], &["--tls-key", &key]].concat(),
    );
    let address = address(&broker.wait_for(OVER_TLS));
    let mut client = Client::new(setup.dial().connect(address).unwrap());
    client.open_as_guest();
    client.close();
    broker.stop();
}

#[test]
fn a10_external_logs_in_by_the_name_in_the_certificate() {
    let setup = Setup::new();
    let strict = "ca_file = \"{dir}/ca.pem\"\nverify = \"peer\"\nlogin_from = \"common_name\"";
    let (broker, address) = setup.broker(strict);
    let (guest, stranger) = (setup.client("guest"), setup.client("stranger"));
    let dial = |shows| Dial {
        shows,
        ..setup.dial()
    };
    let mut client = Client::new(dial(Some(&guest)).connect(address).unwrap());
    client.open("EXTERNAL", b"");
    client.echo(&[10]);
    client.close();
    // A certificate is no user by itself.
    let mut client = Client::new(dial(Some(&stranger)).connect(address).unwrap());
    assert_eq!(client.start(), "PLAIN AMQPLAIN EXTERNAL");
    client.start_ok("EXTERNAL", b"guest");
    let (code, text) = client.closed();
    assert_eq!(code, 403);
    assert!(text.contains("mechanism EXTERNAL"), "{text}");
    // Without a certificate it is not offered.
    let mut client = Client::new(dial(None).connect(address).unwrap());
    assert_eq!(client.start(), "PLAIN AMQPLAIN");
    client.start_ok("EXTERNAL", b"guest");
    assert_eq!(client.rest().unwrap(), b"");
    broker.stop();
}
