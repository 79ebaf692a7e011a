//! A Warren of its own for the run: started on a free port, ended with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::peer::Peer;
use super::people;

/// How long it may take to read its settings again.
const LIMIT: Duration = Duration::from_secs(30);

/// A running broker.
pub(crate) struct Broker {
    process: Child,
    address: SocketAddr,
    settings: PathBuf,
    /// It has read its settings again.
    reloads: Mutex<Receiver<()>>,
    _data: tempfile::TempDir,
}

impl Broker {
    /// Starts Warren as it was built with this test, with the users of a file.
    pub(crate) fn start(definitions: &Path) -> Self {
        let data = tempfile::tempdir().unwrap();
        let directory = data.path().join("data");
        let settings = data.path().join("warren.toml");
        fs::write(&settings, "").unwrap();
        people::settle(definitions, &directory);
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
            .arg(&directory)
            .arg("--config")
            .arg(&settings)
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
        let (tell, reloads) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.map_while(Result::ok) {
                if line.contains("the settings were read again") {
                    let _ = tell.send(());
                }
            }
        });
        Broker {
            process,
            address: address.unwrap(),
            settings,
            reloads: Mutex::new(reloads),
            _data: data,
        }
    }
}

impl Peer for Broker {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn set_alarm(&self, on: bool) {
        let settings = match on {
            true => "[alarms]\nmemory_watermark = 0\n",
            false => "",
        };
        fs::write(&self.settings, settings).unwrap();
        let pid = Pid::from_raw(self.process.id().cast_signed()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        let reloads = self.reloads.lock().unwrap();
        reloads
            .recv_timeout(LIMIT)
            .expect("warren reads its settings again");
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
