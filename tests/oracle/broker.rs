//! A Warren of its own for the run: started on a free port, ended with it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::people;

/// A running broker.
pub(crate) struct Broker {
    process: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Broker {
    /// Starts Warren as it was built with this test, with the users of a file.
    pub(crate) fn start(definitions: &Path) -> Self {
        let data = tempfile::tempdir().unwrap();
        people::settle(definitions, data.path());
        let mut process = Command::new(env!("CARGO_BIN_EXE_warren"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--management",
                "off",
                "--metrics",
                "off",
                "--data-dir",
            ])
            .arg(data.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut address = None;
        while address.is_none() {
            let line = log.next().expect("warren says where it listens").unwrap();
            address = listening(&line);
        }
        // Its pipe must not fill up.
        std::thread::spawn(move || log.for_each(drop));
        Broker {
            process,
            address: address.unwrap(),
            _data: data,
        }
    }
}

fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening for AMQP 0-9-1")?;
    let (_, address) = rest.split_once("address")?;
    let address = address.trim_start_matches(|c: char| !c.is_ascii_digit());
    address
        .split(|c: char| c != ':' && c != '.' && !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
