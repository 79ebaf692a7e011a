//! `warrenctl`: manages a running broker, with the commands of rabbitmqctl, rabbitmq-diagnostics and
//! rabbitmq-queues, and some of its own.
//!
//! Owns the command line only: everything it does is a call of the broker's HTTP API, so whatever it
//! can do, any other program can do too. Never touches the data directory, but for reading how to
//! reach the broker that runs there.

mod args;
mod client;
mod commands;
mod fault;
mod grammar;
mod listing;
mod output;

use std::io::Write;
use std::process::ExitCode;

use args::Args;
use fault::Fault;

fn main() -> ExitCode {
    let args = match grammar::parse() {
        Ok(args) => args,
        Err(fault) => {
            // --help and --version come this way too.
            let code = if fault.use_stderr() { fault::USAGE } else { 0 };
            let _ = fault.print();
            return ExitCode::from(code);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        // Who reads has seen enough, as `head`.
        Err(fault) if fault.is_closed_pipe() => ExitCode::SUCCESS,
        Err(fault) => {
            let _ = writeln!(std::io::stderr(), "Error: {fault}");
            ExitCode::from(fault.exit_code())
        }
    }
}

fn run(args: &Args) -> Result<(), Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Fault::Local)?
        .block_on(commands::run(args))
}
