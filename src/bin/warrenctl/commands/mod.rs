//! What each command does.
//!
//! Owns the way from a command to the calls of the HTTP API and back to lines of output; one file for
//! each kind of thing.

mod messages;
mod node;
mod objects;
mod policies;
mod top;
mod users;
mod vhosts;

use std::io::{self, BufRead, Write};

use serde_json::{Map, Value};

use crate::args::{Args, Command};
use crate::client::Client;
use crate::fault::Fault;
use crate::grammar;
use crate::output::Output;

/// What every command works with.
struct Context<'a> {
    client: Client,
    output: Output,
    vhost: &'a str,
    timeout_s: u64,
}

/// Runs the command of `args`.
pub(crate) async fn run(args: &Args) -> Result<(), Fault> {
    match &args.command {
        Command::Completion { shell } => {
            let mut command = grammar::command();
            // Into memory first: what generates it panics over an output that fails.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "warrenctl", &mut script);
            return Ok(io::stdout().lock().write_all(&script)?);
        }
        Command::ManPage => {
            return Ok(clap_mangen::Man::new(grammar::command()).render(&mut io::stdout())?);
        }
        _ => {}
    }
    let context = Context {
        client: Client::new(&args.access)?,
        output: args.output(),
        vhost: &args.vhost,
        timeout_s: args.access.timeout_s,
    };
    let command = &args.command;
    // Each takes what is its own, and leaves the rest.
    if users::run(&context, command).await?
        || vhosts::run(&context, command).await?
        || policies::run(&context, command).await?
        || objects::run(&context, command).await?
        || messages::run(&context, command).await?
        || node::run(&context, command).await?
    {
        return Ok(());
    }
    match command {
        Command::Top {
            interval,
            count,
            rows,
        } => top::run(&context, *interval, *count, *rows).await,
        _ => Err(Fault::Usage("this command does nothing".to_owned())),
    }
}

impl Context<'_> {
    /// Lists `path`, with the fields of the API as columns.
    async fn list(&self, path: &str, columns: &[&str]) -> Result<(), Fault> {
        let items = self.client.list(path).await?;
        self.show(columns, items)
    }

    fn show(&self, columns: &[&str], items: Vec<Value>) -> Result<(), Fault> {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let row = |item: &Value| -> Map<String, Value> {
            columns
                .iter()
                .map(|column| {
                    (
                        column.clone(),
                        item.get(column).cloned().unwrap_or(Value::Null),
                    )
                })
                .collect()
        };
        let rows = items.iter().map(row).collect();
        Ok(self.output.rows(&columns, rows)?)
    }
}

/// JSON that was given on the command line.
fn json(what: &str, text: &str) -> Result<Value, Fault> {
    serde_json::from_str(text).map_err(|e| Fault::Data(format!("{what} is not JSON: {e}")))
}

/// The password given, or a line of standard input.
fn password(given: Option<&String>) -> Result<String, Fault> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => Err(Fault::Usage(
            "a password is needed, as an argument or on standard input".to_owned(),
        )),
        false => Ok(password.to_owned()),
    }
}
