//! Starts the real broker for a test and watches over it.
//!
//! A wait ends by what the broker does, never by a pause; [`LIMIT`] only keeps a broken test from
//! hanging. The process is killed when the [`Broker`] is dropped.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod raw;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The longest any test waits for one thing.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What the log says once the broker accepts connections.
pub(crate) const LISTENING: &str = "listening for AMQP 0-9-1 address=";

/// On a free port, and nothing beside AMQP.
pub(crate) const AMQP_ONLY: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--management",
    "off",
    "--metrics",
    "off",
];

/// The broker's executable, without arguments, away from the source tree.
pub(crate) fn warren() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command.current_dir(std::env::temp_dir());
    // What the one who runs the tests has set for a broker of their own.
    command.env_remove("WARREN_DATA_DIR");
    command
}

/// A running broker.
pub(crate) struct Broker {
    child: Child,
    log: Arc<Log>,
    address: SocketAddr,
}

/// What the broker has written to standard error.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, End)>,
    more: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Reached,
}

impl Broker {
    /// On a free port, with its data in `dir`.
    pub(crate) fn start(dir: &Path) -> Broker {
        Broker::start_with(dir, &[])
    }

    /// The same with more flags.
    pub(crate) fn start_with(dir: &Path, flags: &[&str]) -> Broker {
        let mut command = warren();
        command.args(AMQP_ONLY);
        command.arg("--data-dir").arg(dir).args(flags);
        Broker::run(command)
    }

    /// From a command made up by the test; waits until it listens.
    pub(crate) fn run(command: Command) -> Broker {
        let mut broker = Broker::spawn(command);
        let line = broker.wait_for(LISTENING);
        broker.address = address(&line);
        broker
    }

    /// Does not wait for anything: the broker may still be recovering.
    pub(crate) fn spawn(mut command: Command) -> Broker {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the broker's executable runs");
        let log = Arc::new(Log::default());
        let (stderr, into) = (child.stderr.take().unwrap(), Arc::clone(&log));
        thread::spawn(move || into.fill(stderr));
        Broker {
            child,
            log,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// Where it listens; the first address, if there are several.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For a client. `query` is empty or begins with a question mark.
    pub(crate) fn uri(&self, query: &str) -> String {
        format!("amqp://guest:guest@{}/%2f{query}", self.address)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the broker runs");
    }

    /// The first line of the log that contains `text`, once it is there.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let found = self.log.wait(|lines| find(lines, text).is_some());
        let line = find(&found, text).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {text:?} in the log:\n{}", found.join("\n")))
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// Waits for the end of the process: how it ended, and its whole log.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let log = self.log.wait(|_| false);
        let open = self.log.lines.lock().unwrap().1 == End::Open;
        assert!(!open, "the broker does not end:\n{}", log.join("\n"));
        (self.child.wait().unwrap(), log)
    }

    /// SIGTERM, and a clean end.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let (status, log) = self.ended();
        assert!(status.success(), "{status}:\n{}", log.join("\n"));
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn fill(&self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.lines.lock().unwrap().0.push(line);
            self.more.notify_all();
        }
        self.lines.lock().unwrap().1 = End::Reached;
        self.more.notify_all();
    }

    /// Waits until `enough`, or until nothing more will come; what there is by then.
    fn wait(&self, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let waiting =
            |(lines, end): &mut (Vec<String>, End)| *end == End::Open && !enough(lines.as_slice());
        let guard = self.lines.lock().unwrap();
        let (guard, _) = self.more.wait_timeout_while(guard, LIMIT, waiting).unwrap();
        guard.0.clone()
    }
}

/// The address at the end of a line that says where the broker listens.
pub(crate) fn address(line: &str) -> SocketAddr {
    let (_, address) = line.rsplit_once("address=").expect("an address");
    address
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("no plain address: {line:?}"))
}

fn find<'l>(lines: &'l [String], text: &str) -> Option<&'l str> {
    lines
        .iter()
        .map(String::as_str)
        .find(|line| line.contains(text))
}
