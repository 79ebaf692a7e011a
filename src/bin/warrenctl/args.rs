//! The command line: rabbitmqctl's names and flags wherever the thing exists in Warren.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::output::{Formatter, Output};

/// Manages a running Warren broker.
///
/// Without --user it uses the access file in the broker's data directory: whoever may read that
/// directory may manage the broker, without a password.
///
/// Exit codes: 0 done, 64 wrong use, 65 refused as wrong data, 69 no broker or a failed check,
/// 70 refused by the broker, 74 a file or the terminal, 77 not permitted.
#[derive(Parser)]
#[command(name = "warrenctl", version, rename_all = "snake_case")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) access: Access,

    /// Vhost of the command
    #[arg(
        short = 'p',
        long,
        global = true,
        default_value = "/",
        value_name = "VHOST"
    )]
    pub(crate) vhost: String,

    /// Form of the output
    #[arg(long, global = true, value_enum, default_value_t = Formatter::Table)]
    pub(crate) formatter: Formatter,

    /// No line that says what is done
    #[arg(short, long, global = true)]
    quiet: bool,

    /// Only the rows: no headings either
    #[arg(short, long, global = true)]
    silent: bool,

    /// No line of headings
    #[arg(long = "no-table-headers", alias = "no_table_headers", global = true)]
    no_table_headers: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    pub(crate) fn output(&self) -> Output {
        Output {
            formatter: self.formatter,
            quiet: self.quiet,
            silent: self.silent,
            headers: !self.no_table_headers,
        }
    }
}

/// How to reach the broker.
#[derive(ClapArgs)]
#[command(next_help_heading = "The broker")]
pub(crate) struct Access {
    /// Data directory of a broker on this machine
    #[arg(
        long,
        global = true,
        default_value = "warren-data",
        env = "WARREN_DATA_DIR",
        value_name = "DIR"
    )]
    pub(crate) data_dir: PathBuf,

    /// Address of the HTTP API, as http://HOST:PORT
    #[arg(long, global = true, env = "WARREN_URL", value_name = "URL")]
    pub(crate) url: Option<String>,

    /// User to log in as
    #[arg(long, global = true, env = "WARREN_USER", value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Its password; better given by the environment than on the command line
    #[arg(
        long,
        global = true,
        env = "WARREN_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD",
        requires = "user"
    )]
    pub(crate) password: Option<String>,

    /// Seconds to wait for an answer
    #[arg(
        short = 't',
        long = "timeout",
        global = true,
        default_value_t = 60,
        value_name = "SECONDS"
    )]
    pub(crate) timeout_s: u64,
}

/// What to do.
#[derive(Subcommand)]
#[command(rename_all = "snake_case")]
pub(crate) enum Command {
    // Users and permissions
    /// Add a user; without PASSWORD it is read from standard input
    AddUser {
        name: String,
        #[arg(value_name = "PASSWORD")]
        secret: Option<String>,
    },
    /// Delete a user
    DeleteUser { name: String },
    /// Change a password; without PASSWORD it is read from standard input
    ChangePassword {
        name: String,
        #[arg(value_name = "PASSWORD")]
        secret: Option<String>,
    },
    /// Take a user's password away: it can no longer log in by one
    ClearPassword { name: String },
    /// Set a user's tags: administrator, monitoring, policymaker, management, impersonator
    SetUserTags { name: String, tags: Vec<String> },
    /// List the users
    ListUsers,
    /// Succeeds if a user may log in; without PASSWORD it is read from standard input
    AuthenticateUser {
        name: String,
        #[arg(value_name = "PASSWORD")]
        secret: Option<String>,
    },
    /// Hash a password as definitions hold it; without PASSWORD it is read from standard input
    HashPassword {
        #[arg(value_name = "PASSWORD")]
        secret: Option<String>,
    },
    /// Let a user configure, write and read what the three regexes match
    SetPermissions {
        name: String,
        configure: String,
        write: String,
        read: String,
    },
    /// Take a user's permissions in the vhost away
    ClearPermissions { name: String },
    /// List the permissions in the vhost
    ListPermissions,
    /// List a user's permissions
    ListUserPermissions { name: String },
    /// Restrict a user's routing keys on a topic exchange
    SetTopicPermissions {
        name: String,
        exchange: String,
        write: String,
        read: String,
    },
    /// Lift such restrictions, on one exchange or all
    ClearTopicPermissions {
        name: String,
        exchange: Option<String>,
    },
    /// List the topic permissions in the vhost
    ListTopicPermissions,
    /// List a user's topic permissions
    ListUserTopicPermissions { name: String },
    /// Limit a user, as JSON: {"max-connections": 10, "max-channels": 100}
    SetUserLimits { name: String, limits: String },
    /// Lift one limit of a user, or all
    ClearUserLimits {
        name: String,
        #[arg(default_value = "all")]
        limit: String,
    },
    /// List the limits of users
    ListUserLimits {
        #[arg(long)]
        name: Option<String>,
    },

    // Vhosts
    /// Add a vhost
    AddVhost {
        name: String,
        #[arg(long, default_value = "")]
        description: String,
        #[arg(long, default_value = "", value_name = "TAG,TAG")]
        tags: String,
        #[arg(
            long = "default-queue-type",
            alias = "default_queue_type",
            value_name = "TYPE"
        )]
        default_queue_type: Option<String>,
    },
    /// Delete a vhost and everything in it
    DeleteVhost { name: String },
    /// List the vhosts
    ListVhosts { columns: Vec<String> },
    /// Change what is said of a vhost
    UpdateVhostMetadata {
        name: String,
        #[arg(long)]
        description: Option<String>,
        #[arg(long, value_name = "TAG,TAG")]
        tags: Option<String>,
        #[arg(
            long = "default-queue-type",
            alias = "default_queue_type",
            value_name = "TYPE"
        )]
        default_queue_type: Option<String>,
    },
    /// Limit the vhost, as JSON: {"max-connections": 10, "max-queues": 100}
    SetVhostLimits { limits: String },
    /// Lift the vhost's limits
    ClearVhostLimits,
    /// List the limits of vhosts
    ListVhostLimits,
    /// Copy all messages of the vhost to amq.rabbitmq.trace
    TraceOn,
    /// Stop doing so
    TraceOff,

    // Policies and parameters
    /// Set a policy: settings, as JSON, for what PATTERN matches
    SetPolicy(PolicyArgs),
    /// Clear a policy
    ClearPolicy { name: String },
    /// List the policies
    ListPolicies,
    /// Set an operator policy
    SetOperatorPolicy(PolicyArgs),
    /// Clear an operator policy
    ClearOperatorPolicy { name: String },
    /// List the operator policies
    ListOperatorPolicies,
    /// Which settings of a queue are in force, and which argument or policy they come from
    Explain {
        /// A queue, or with --exchange an exchange
        name: String,
        #[arg(long)]
        exchange: bool,
    },
    /// Change an argument of a queue, as JSON, without declaring it again
    SetQueueArgument {
        queue: String,
        argument: String,
        value: String,
    },
    /// Take an argument of a queue away
    ClearQueueArgument { queue: String, argument: String },
    /// Set a parameter of a component, as JSON
    SetParameter {
        component: String,
        name: String,
        value: String,
    },
    /// Clear a parameter
    ClearParameter { component: String, name: String },
    /// List the parameters
    ListParameters,
    /// Set a parameter of the whole broker, as JSON
    SetGlobalParameter { name: String, value: String },
    /// Clear it
    ClearGlobalParameter { name: String },
    /// List them
    ListGlobalParameters,

    // What there is
    /// List queues; columns as in the HTTP API
    ListQueues { columns: Vec<String> },
    /// List exchanges
    ListExchanges { columns: Vec<String> },
    /// List bindings
    ListBindings { columns: Vec<String> },
    /// List connections
    ListConnections { columns: Vec<String> },
    /// List channels
    ListChannels { columns: Vec<String> },
    /// List consumers
    ListConsumers { columns: Vec<String> },
    /// Delete a queue with its messages
    DeleteQueue {
        name: String,
        /// Only if it is empty
        #[arg(short = 'e', long = "if-empty", alias = "if_empty")]
        if_empty: bool,
        /// Only if nobody consumes from it
        #[arg(short = 'u', long = "if-unused", alias = "if_unused")]
        if_unused: bool,
    },
    /// Drop a queue's ready messages
    PurgeQueue { name: String },
    /// Show messages of a queue without consuming them
    Peek {
        queue: String,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Find messages of a queue that have a text in body, properties, routing key or exchange
    Search {
        queue: String,
        text: String,
        /// TEXT is a regular expression
        #[arg(long)]
        regex: bool,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Move messages to another queue or an exchange: each is in one of both, whatever happens
    Move {
        queue: String,
        #[command(flatten)]
        to: MoveArgs,
    },
    /// Drop one message, by the id that peek shows
    #[command(name = "delete-message", alias = "delete_message")]
    DeleteMessage { queue: String, id: String },
    /// What would become of a message
    Route {
        #[command(subcommand)]
        what: RouteCommand,
    },
    /// Close one connection, by its name
    CloseConnection { name: String, reason: String },
    /// Close all connections, of one vhost if --vhost is given with --only-vhost
    CloseAllConnections {
        reason: String,
        /// Only those to --vhost
        #[arg(long = "only-vhost", alias = "only_vhost")]
        only_vhost: bool,
    },
    /// Close all connections of a user
    CloseAllUserConnections { name: String, reason: String },
    /// Write the definitions to a file, - is standard output
    ExportDefinitions { file: String },
    /// Read definitions from a file, - is standard input
    ImportDefinitions { file: String },

    // The broker
    /// What runs, since when, and how it is doing
    Status,
    /// Live rates of the busiest queues
    Top {
        /// Seconds between two looks
        #[arg(long, default_value_t = 2)]
        interval: u64,
        /// How many looks; without end if 0
        #[arg(long, default_value_t = 0)]
        count: u64,
        /// How many queues to show
        #[arg(long, default_value_t = 20)]
        rows: usize,
    },
    /// The settings in force
    Environment,
    /// Succeeds if the broker answers
    Ping,
    /// The broker's version
    #[command(alias = "server_version")]
    Version,
    /// Name of the broker as clients and pages see it
    SetClusterName { name: String },
    /// Wait until the broker answers, as long as --timeout
    #[command(alias = "wait", alias = "await_online_nodes")]
    AwaitStartup,
    /// Alarms that hold publishers back
    Alarms,
    /// Addresses the broker listens on
    Listeners,
    /// Fails if an alarm is raised
    #[command(alias = "check_local_alarms")]
    CheckAlarms,
    /// Fails if the broker does not run
    #[command(alias = "is_running")]
    CheckRunning,
    /// Fails if nothing listens on PORT
    CheckPortListener { port: u16 },
    /// Fails if nothing speaks PROTOCOL: amqp, amqps, http, prometheus …
    CheckProtocolListener { protocol: String },
    /// Fails if a listener does not take connections
    CheckPortConnectivity,
    /// Fails if a vhost is down
    CheckVirtualHosts,
    /// Fails if a certificate ends within a time
    CheckCertificateExpiration {
        /// How many of --unit
        #[arg(long)]
        within: u64,
        /// days, weeks, months, years
        #[arg(long, default_value = "weeks")]
        unit: String,
    },

    // This program
    /// Completion for a shell, to be sourced
    Completion { shell: clap_complete::Shell },
    /// The manual page
    ManPage,
}

/// Which messages to show.
#[derive(ClapArgs)]
#[command(rename_all = "kebab-case")]
pub(crate) struct LookArgs {
    /// How many
    #[arg(long, default_value_t = 20)]
    pub(crate) count: usize,
    /// Pass over so many first
    #[arg(long, default_value_t = 0)]
    pub(crate) skip: usize,
    /// Octets shown of each body
    #[arg(long, default_value_t = 200)]
    pub(crate) truncate: usize,
}

/// Which messages go where.
#[derive(ClapArgs)]
#[command(rename_all = "kebab-case")]
pub(crate) struct MoveArgs {
    /// The queue they go to, as they are
    #[arg(long, required_unless_present = "to_exchange")]
    pub(crate) to_queue: Option<String>,
    /// The exchange they are published to again
    #[arg(long, conflicts_with = "to_queue")]
    pub(crate) to_exchange: Option<String>,
    /// With this key, instead of their own
    #[arg(long, requires = "to_exchange")]
    pub(crate) routing_key: Option<String>,
    /// At most so many; else all
    #[arg(long)]
    pub(crate) count: Option<usize>,
    /// Only those that have this text somewhere
    #[arg(long)]
    pub(crate) search: Option<String>,
    /// --search is a regular expression
    #[arg(long, requires = "search")]
    pub(crate) regex: bool,
    /// Only this one
    #[arg(long, conflicts_with_all = ["count", "search"])]
    pub(crate) id: Option<String>,
    /// Leave them where they are, too
    #[arg(long)]
    pub(crate) copy: bool,
}

/// What to ask of a route.
#[derive(Subcommand)]
#[command(rename_all = "snake_case")]
pub(crate) enum RouteCommand {
    /// Which queues a message would reach, and why
    Explain {
        /// amq.default is the one without a name
        exchange: String,
        routing_key: String,
        /// Headers, as JSON
        #[arg(long, default_value = "{}")]
        headers: String,
    },
}

/// What a policy is.
#[derive(ClapArgs)]
#[command(rename_all = "kebab-case")]
pub(crate) struct PolicyArgs {
    /// Its name
    pub(crate) name: String,
    /// Regex of the names of queues and exchanges
    pub(crate) pattern: String,
    /// Settings, as JSON
    pub(crate) definition: String,
    /// Of several that match, the highest counts
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i64,
    /// all, queues, classic_queues, quorum_queues, exchanges
    #[arg(long)]
    pub(crate) apply_to: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_behind_the_command() {
        let before =
            Args::try_parse_from(["warrenctl", "-q", "-p", "v", "list_queues", "name"]).unwrap();
        let behind =
            Args::try_parse_from(["warrenctl", "list_queues", "name", "-q", "-p", "v"]).unwrap();
        for args in [before, behind] {
            assert_eq!(args.vhost, "v");
            assert!(args.output().quiet);
            assert!(matches!(args.command, Command::ListQueues { columns } if columns == ["name"]));
        }
    }

    /// An argument of a command with the id of a global flag would take its place.
    #[test]
    fn no_command_hides_a_flag_of_all() {
        let command = Args::command();
        let flags: Vec<_> = command
            .get_arguments()
            .filter(|arg| arg.is_global_set())
            .map(|arg| arg.get_id().clone())
            .collect();
        assert!(flags.len() > 5);
        for sub in command.get_subcommands() {
            for arg in sub.get_positionals() {
                assert!(
                    !flags.contains(arg.get_id()),
                    "{} of {}",
                    arg.get_id(),
                    sub.get_name()
                );
            }
        }
    }

    /// Commands are parted by underscores, flags by dashes, as rabbitmqctl's.
    #[test]
    fn a13_flags_are_parted_by_dashes() {
        let all = Args::command();
        for sub in all.get_subcommands().chain([&all]) {
            for flag in sub.get_arguments().filter_map(|arg| arg.get_long()) {
                assert!(!flag.contains('_'), "--{flag} of {}", sub.get_name());
            }
        }
    }

    #[test]
    fn a_password_needs_a_user() {
        let parsed = Args::try_parse_from(["warrenctl", "--password", "x", "ping"]);
        assert!(parsed.is_err());
    }
}
