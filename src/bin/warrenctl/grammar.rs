//! What holds for the arguments of all commands: names are not empty, and each says what it is.
//!
//! Owns what [`Args`] would have to repeat at every command; the commands and their flags are there.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::args::Args;

/// Names of things, of which none is empty: an empty part of a path would be another path.
const NAMES: [&str; 5] = ["name", "queue", "component", "argument", "id"];

/// The command line given.
pub(crate) fn parse() -> Result<Args, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Args::from_arg_matches(&matches).map_err(|fault| fault.format(&mut command))
}

/// The whole grammar.
pub(crate) fn command() -> Command {
    Args::command().mut_subcommands(completed)
}

fn completed(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|arg| completed_arg(&name, arg))
        .mut_subcommands(completed)
}

fn completed_arg(command: &str, arg: Arg) -> Arg {
    if !arg.is_positional() {
        return arg;
    }
    let id = arg.get_id().to_string();
    let arg = match arg.get_help() {
        None => arg.help(help(command, &id)),
        Some(_) => arg,
    };
    match NAMES.contains(&id.as_str()) {
        true => arg.value_parser(NonEmptyStringValueParser::new()),
        false => arg,
    }
}

fn help(command: &str, id: &str) -> &'static str {
    match id {
        "name" => named_by(command),
        "secret" => "The password",
        "tags" => "The tags, all there are to be; none takes them away",
        "configure" => "Regex of what may be declared and deleted; '' is nothing",
        "write" => "Regex of what may be published to; '' is nothing",
        "read" => "Regex of what may be consumed from; '' is nothing",
        "exchange" => "The exchange; amq.default is the one without a name",
        "routing_key" => "The routing key",
        "limits" => "The limits, as JSON",
        "limit" => "The limit, or all",
        "columns" => "What to show of each; without any, what is shown mostly",
        "queue" => "The queue",
        "argument" => "The argument, as x-max-length",
        "value" => "Its value, as JSON",
        "component" => "The component",
        "text" => "What to look for",
        "id" => "The message, by the id that peek shows",
        "reason" => "What the client is told",
        "file" => "The file",
        "port" => "The port",
        "protocol" => "The protocol",
        "shell" => "The shell",
        _ => "",
    }
}

/// What a command calls by its name.
fn named_by(command: &str) -> &'static str {
    let kinds = [
        ("cluster_name", "The name"),
        ("policy", "The policy"),
        ("parameter", "The parameter"),
        ("user", "The user"),
        ("vhost", "The vhost"),
        ("queue", "The queue"),
        ("close_connection", "The connection, by its name"),
    ];
    let found = kinds.into_iter().find(|(part, _)| command.contains(part));
    // Passwords and permissions.
    found.map_or("The user", |(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(command: Command) -> Vec<Command> {
        let inner = command.get_subcommands().cloned().flat_map(all);
        let inner: Vec<Command> = inner.collect();
        [vec![command], inner].concat()
    }

    #[test]
    fn every_argument_says_what_it_is() {
        command().debug_assert();
        for sub in all(command()) {
            for arg in sub.get_positionals() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty(), "{} of {}", arg.get_id(), sub.get_name());
            }
        }
    }

    #[test]
    fn no_name_is_empty() {
        for line in [
            &["add_user", "", "x"][..],
            &["add_vhost", ""],
            &["delete_queue", ""],
            &["peek", ""],
            &["set_policy", "", "^q", "{}"],
        ] {
            let line = [&["warrenctl"][..], line].concat();
            let fault = command().try_get_matches_from(line).unwrap_err();
            assert!(fault.to_string().contains("a value is required"), "{fault}");
        }
        let nothing = ["warrenctl", "set_permissions", "app", "", "", ""];
        assert!(command().try_get_matches_from(nothing).is_ok());
    }
}
