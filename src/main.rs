//! The broker's executable: flags, configuration, logs, and the exit code.
//!
//! Exit codes: 0 after a clean stop, 1 if the broker could not start or stopped on a fault, 2 for a
//! wrong flag or configuration.

use std::env::VarError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use warren::broker;
use warren::config::{Address, Config, Listen};
use warren::server;

// Messages are freed by another thread than the one that allocated them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A message broker that speaks AMQP 0-9-1 the way RabbitMQ does.
///
/// Without any flag it listens on 127.0.0.1:5672 and keeps its data in ./warren-data.
#[derive(Clone, Parser)]
#[command(version, about, long_about)]
struct Flags {
    /// Configuration file (TOML); config/warren.toml in the source documents every key
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Directory for messages and metadata, created if missing [default: warren-data]
    #[arg(long, value_name = "DIR", global = true, env = "WARREN_DATA_DIR")]
    data_dir: Option<PathBuf>,

    /// Address or unix:PATH to listen on for AMQP, may be given several times [default: 127.0.0.1:5672]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<Listen>,

    /// Address to listen on for AMQP over TLS, by convention port 5671; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    tls_listen: Vec<Listen>,

    /// Certificate chain for TLS (PEM)
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Address of the HTTP API and the pages, or "off" [default: 127.0.0.1:15672]
    #[arg(long, value_name = "ADDR:PORT")]
    management: Option<Address>,

    /// Address of the Prometheus endpoint, or "off" [default: 127.0.0.1:15692]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<Address>,

    /// Definitions to import at start (JSON, as RabbitMQ exports them)
    #[arg(long, value_name = "FILE")]
    load_definitions: Option<PathBuf>,

    /// What to log: error, warn, info, debug, trace, or a filter like "warn,warren::amqp=debug"
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Subcommand)]
enum Command {
    /// Says what can be saved of a damaged data directory, queue by queue; with --apply, saves it
    ///
    /// The broker must be stopped. Without --apply nothing is changed. With it, files in which something is
    /// damaged are copied to damaged/ in the data directory; what can be read of them is kept.
    ///
    /// Exit codes: 0 if there is no damage, or what there was is repaired; 1 otherwise.
    Repair {
        /// Change what has to be changed
        #[arg(long)]
        apply: bool,
    },
}

const FAILED: u8 = 1;
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let command = flags.command.clone();
    set_environment();
    let (config, filter) = match configure(&flags) {
        Ok(configured) => configured,
        Err(fault) => return complain(&fault, MISUSED),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours())
        .with_target(false)
        .with_filter_reloading();
    let handle = log.reload_handle();
    let source = Source {
        flags,
        set_filter: Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())),
    };
    log.init();
    if let Some(Command::Repair { apply }) = command {
        return repair(&config.data_dir, apply);
    }
    match server::run(config, &source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => complain(&e.to_string(), FAILED),
    }
}

fn repair(data_dir: &Path, apply: bool) -> ExitCode {
    match broker::repair(data_dir, apply, &mut std::io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(e) => complain(&e.to_string(), FAILED),
    }
}

/// Starts over in the same process with another environment, as these are read before `main`:
///
/// * A PATH that leads nowhere. Whenever sled opens it runs the command `sync`, twice, which waits until all
///   file systems of the machine have written everything out: on a busy machine that takes minutes.
///   Warren needs none of it, as the log is the truth and is synced by itself. A command that is not found
///   is no fault to sled.
/// * What the allocator keeps. By default it takes huge pages, which a few small objects keep whole; holds what
///   was freed for a second, after which threads that have nothing to do give nothing back; and a
///   thread that frees into a full page takes it over, so that what others free there waits for that thread to
///   look. A burst would stay in memory until the next one.
fn set_environment() {
    use std::os::unix::process::CommandExt;
    const NOWHERE: &str = "/dev/null";
    const ALLOCATOR: [(&str, &str); 3] = [
        ("MIMALLOC_ALLOW_THP", "0"),
        ("MIMALLOC_PURGE_DELAY", "0"),
        ("MIMALLOC_PAGE_RECLAIM_ON_FREE", "-1"),
    ];
    if std::env::var_os("PATH").is_some_and(|path| path == NOWHERE) {
        return;
    }
    if let Ok(this) = std::env::current_exe() {
        let mut again = std::process::Command::new(this);
        for (variable, value) in ALLOCATOR {
            if std::env::var_os(variable).is_none() {
                again.env(variable, value);
            }
        }
        // Comes back only if it fails; then sled and the allocator have their way.
        let _ = again
            .args(std::env::args_os().skip(1))
            .env("PATH", NOWHERE)
            .exec();
    }
}

/// Where the settings came from, to be read there again.
struct Source {
    flags: Flags,
    set_filter: Box<dyn Fn(EnvFilter) -> Result<(), String>>,
}

impl server::Source for Source {
    fn read(&self) -> Result<Config, String> {
        configure(&self.flags).map(|(config, _)| config)
    }

    fn set_log(&self, filter: &str) -> Result<(), String> {
        (self.set_filter)(log_filter(filter)?)
    }
}

fn log_filter(filter: &str) -> Result<EnvFilter, String> {
    // sled warns of what `set_environment` did.
    EnvFilter::try_new(format!("sled=error,{filter}"))
        .map_err(|e| format!("log filter {filter:?}: {e}"))
}

fn configure(flags: &Flags) -> Result<(Config, EnvFilter), String> {
    let flags = flags.clone();
    let mut config = match &flags.config {
        Some(path) => Config::read(path).map_err(|e| e.to_string())?,
        None => Config::default(),
    };
    for (variable, setting) in [
        ("WARREN_DEFAULT_USER", &mut config.auth.default_user),
        ("WARREN_DEFAULT_PASS", &mut config.auth.default_password),
    ] {
        match std::env::var(variable) {
            Ok(value) => *setting = value,
            Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(_)) => return Err(format!("{variable} is not UTF-8")),
        }
    }
    if let Some(dir) = flags.data_dir {
        config.data_dir = dir;
    }
    if !flags.listen.is_empty() {
        config.listen = flags.listen;
    }
    if let Some(address) = flags.management {
        config.management.listen = address;
    }
    if let Some(address) = flags.metrics {
        config.metrics.listen = address;
    }
    if !flags.tls_listen.is_empty() {
        config.tls.listen = flags.tls_listen;
    }
    if let Some(file) = flags.tls_cert {
        config.tls.cert_file = file;
    }
    if let Some(file) = flags.tls_key {
        config.tls.key_file = file;
    }
    if let Some(file) = flags.load_definitions {
        config.load_definitions = file;
    }
    if let Some(filter) = flags.log {
        config.log = filter;
    }
    config.check().map_err(|e| e.to_string())?;
    let filter = log_filter(&config.log)?;
    Ok((config, filter))
}

/// Colours are for a terminal, and for who wants them (<https://no-color.org>).
fn colours() -> bool {
    use std::io::IsTerminal;
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}

/// One line for the operator, also if nothing reads standard error any more.
fn complain(fault: &str, code: u8) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "warren: {fault}");
    ExitCode::from(code)
}
