//! A broker of the tests' own: the executable, on a port and a directory nobody else has.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::client::{Client, WAIT};
use crate::say;

/// Ends with its last user.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Mutex<Receiver<String>>,
    _data: tempfile::TempDir,
}

/// The broker that tests share which need nothing of their own.
pub(crate) fn shared() -> Arc<Broker> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let broker = Broker::start("");
        *shared = Arc::downgrade(&broker);
        broker
    })
}

impl Broker {
    /// Starts one with the lines of a configuration file.
    pub(crate) fn start(config: &str) -> Arc<Broker> {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("warren.toml");
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_warren"))
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(data.path().join("data"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--management",
                "off",
                "--metrics",
                "off",
                "--log",
                "info",
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines(child.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let Ok(line) = log.recv_timeout(WAIT) else {
                let _ = child.kill();
                panic!("the broker did not say where it listens; it said:\n{seen}");
            };
            // The log colours the field's name.
            if line.contains("listening for AMQP")
                && let Some((_, port)) = line.trim_end().rsplit_once("127.0.0.1:")
            {
                let port: String = port.chars().take_while(char::is_ascii_digit).collect();
                break SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
            }
            seen.push_str(&line);
            seen.push('\n');
        };
        Arc::new(Broker {
            child,
            address,
            log: Mutex::new(log),
            _data: data,
        })
    }

    /// The lines of the log up to the next that has this, which is waited for.
    #[track_caller]
    pub(crate) fn log_until(&self, text: &str) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|line| !line.contains(text)) {
            lines.push(log.recv_timeout(WAIT).expect("not logged"));
        }
        lines
    }

    /// A socket, and nothing sent yet.
    pub(crate) fn connect(self: &Arc<Self>) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        Client::new(stream, Arc::clone(self))
    }

    /// A client with an open connection, and on request channels 1 to `channels` open.
    pub(crate) fn client(self: &Arc<Self>, channels: u16) -> Client {
        let mut client = self.connect();
        client.open(&say::Options::default());
        for channel in 1..=channels {
            client.open_channel(channel);
        }
        client
    }

    /// That it lives and serves: a message goes through it.
    pub(crate) fn check_alive(self: &Arc<Self>) {
        let mut client = self.client(1);
        let queue = client.declare_queue(1, "", say::EXCLUSIVE);
        client.send(&say::publish(1, "", &queue, b"are you there?"));
        client.method(1, say::get(&queue, true));
        let (_, body) = client.content(1, say::GET_OK);
        assert_eq!(body, b"are you there?");
        client.close();
    }

    /// KiB that the broker holds now.
    pub(crate) fn resident_kib(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most KiB that it ever held.
    pub(crate) fn peak_kib(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the broker is gone");
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a log, read to its end so that the writer never waits.
fn lines(log: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines() {
            let Ok(line) = line else { return };
            if line.contains("panicked") {
                eprintln!("broker: {line}");
            }
            let _ = sender.send(line);
        }
    });
    receiver
}
