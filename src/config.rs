//! The configuration: every key with its default, read from a TOML file.
//!
//! Owns the names, units and defaults of all settings, and the one-line faults of a bad file. An
//! unknown key is a fault, never ignored. `config/warren.toml` documents each key; a test holds it
//! equal to the defaults here.

mod auth_http;
mod cautions;
mod changes;
mod faults;
mod http;
mod limit;
mod listen;
mod log;
mod oauth2;
mod throttle;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use auth_http::HttpAuthSettings;
pub use changes::Change;
pub use limit::Limit;
pub use listen::{Endpoint, Listen};
pub use oauth2::OAuth2Settings;
pub use throttle::Throttle;
pub use tls::{KeyPair, LoginFrom, Tls, TlsVersion, Verify};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

pub use http::{Address, Management, Metrics};

use crate::auth::{self, Backend, Pattern};
use crate::base::limits;

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the log and the catalogue live.
    pub data_dir: PathBuf,
    /// Where AMQP is spoken in the clear.
    pub listen: Vec<Listen>,
    /// What is logged, in `tracing`'s filter syntax.
    pub log: String,
    /// AMQP over TLS.
    pub tls: Tls,
    /// The protocol's limits.
    pub amqp: Amqp,
    /// What a confirm means, and the log's shape.
    pub storage: Storage,
    /// When publishers are stopped for want of memory or disk.
    pub alarms: Alarms,
    /// What the node may hold at most.
    pub limits: NodeLimits,
    /// How fast strangers may come.
    pub throttle: Throttle,
    /// Logging in, and the user that a new data directory has.
    pub auth: Auth,
    /// Access tokens.
    pub oauth2: OAuth2Settings,
    /// The HTTP API and the pages.
    pub management: Management,
    /// Prometheus.
    pub metrics: Metrics,
    /// A file of definitions that is imported at each start; empty is none.
    pub load_definitions: PathBuf,
    /// How policies count.
    pub policies: Policies,
    /// Lifecycle events.
    pub events: Events,
    /// What is noted in messages as they come.
    pub interceptors: Interceptors,
    /// Spans of sampled messages.
    pub tracing: Tracing,
}

/// The settings in force, for all who must follow them.
pub type InForce = Arc<ArcSwap<Config>>;

/// The protocol's limits, as offered to clients in connection.tune.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// Largest frame, in octets.
    pub frame_max_bytes: u32,
    /// Most channels open on one connection.
    pub channel_max: u16,
    /// Seconds between heartbeats; 0 suggests none.
    pub heartbeat_s: u16,
    /// Seconds from accept to connection.open.
    pub handshake_timeout_s: u64,
    /// Largest message body, in octets.
    pub max_message_bytes: u64,
    /// Milliseconds in which consumers of quorum queues must settle a delivery; 0 is for ever.
    pub consumer_timeout_ms: u64,
    /// That a consumer is late closes its channel, and the limit holds for classic queues too.
    pub consumer_timeout_closes_channel: bool,
}

/// What a confirm means, and the log's shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// When a persistent message counts as safe.
    pub durability: Durability,
    /// Milliseconds between syncs with `durability = "interval"`.
    pub sync_interval_ms: u64,
    /// Octets of one log segment.
    pub segment_bytes: u32,
}

/// How policies count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    /// Of several policies that match a name, all count, key by key, in the order of their
    /// priorities. RabbitMQ has only the first count.
    pub stacking: bool,
}

/// Lifecycle events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// The first vhost has an exchange `amq.rabbitmq.event`, to which they are published: what
    /// RabbitMQ's plugin `rabbitmq_event_exchange` does once it is enabled.
    pub exchange: bool,
}

/// What is noted in messages as clients publish them: RabbitMQ's `message_interceptors.incoming`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Interceptors {
    /// When it came: the header `timestamp_in_ms` and the property timestamp.
    pub timestamp: Stamp,
    /// The node it came to: the header `x-routed-by`.
    pub routing_node: Stamp,
}

/// OpenTelemetry spans of messages that their publishers have sampled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tracing {
    /// The base address of a collector that takes OTLP over HTTP; empty is none, and no spans.
    pub otlp_endpoint: String,
}

/// Whether something is noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stamp {
    /// It is not.
    #[default]
    Off,
    /// Unless the client has set it.
    Keep,
    /// Whatever the client has set.
    Overwrite,
}

impl Stamp {
    /// Whether it is noted in a message in which the client has set it, or not.
    pub fn sets(self, is_there: bool) -> bool {
        match self {
            Stamp::Off => false,
            Stamp::Keep => !is_there,
            Stamp::Overwrite => true,
        }
    }
}

/// When a persistent message is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When `fdatasync` of its record returned.
    Fsync,
    /// When it is written; synced every `sync_interval_ms`.
    Interval,
    /// When it is written; the kernel decides when it reaches the disk.
    Os,
}

/// When publishers are stopped (A1.15).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alarms {
    /// Resident memory above which they are.
    pub memory_watermark: Limit,
    /// Room on the disk below which they are.
    pub disk_free_limit: Limit,
}

/// Logging in, and the user that a new data directory has.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Its name; empty for none.
    pub default_user: String,
    /// Its password.
    pub default_password: String,
    /// Its tags.
    pub default_tags: Vec<String>,
    /// Its patterns for configure, write and read in the first vhost.
    pub default_permissions: [String; 3],
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<String>,
    /// What knows users, in the order they are asked.
    pub backends: Vec<Backend>,
    /// The HTTP server that knows users.
    pub http: HttpAuthSettings,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: PathBuf::from("warren-data"),
            listen: vec![Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 5672))).into()],
            log: "info".to_owned(),
            tls: Tls::default(),
            amqp: Amqp::default(),
            storage: Storage::default(),
            alarms: Alarms::default(),
            limits: NodeLimits::default(),
            throttle: Throttle::default(),
            auth: Auth::default(),
            oauth2: OAuth2Settings::default(),
            management: Management::default(),
            metrics: Metrics::default(),
            load_definitions: PathBuf::new(),
            policies: Policies::default(),
            events: Events::default(),
            interceptors: Interceptors::default(),
            tracing: Tracing::default(),
        }
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Amqp {
            frame_max_bytes: limits::FRAME_MAX,
            channel_max: limits::CHANNEL_MAX,
            heartbeat_s: limits::HEARTBEAT_S,
            handshake_timeout_s: limits::HANDSHAKE_TIMEOUT.as_secs(),
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            consumer_timeout_ms: limits::CONSUMER_TIMEOUT_MS,
            consumer_timeout_closes_channel: false,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            durability: Durability::Fsync,
            sync_interval_ms: 100,
            segment_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for Alarms {
    fn default() -> Self {
        Alarms {
            memory_watermark: Limit::Fraction(limits::MEMORY_WATERMARK),
            disk_free_limit: Limit::Bytes(limits::DISK_FREE_LIMIT_BYTES),
        }
    }
}

/// What the node may hold at most; -1 is no limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeLimits {
    /// Open connections.
    pub connections: i64,
    /// Open channels.
    pub channels: i64,
    /// Consumers on one channel.
    pub consumers_per_channel: i64,
    /// Queues.
    pub queues: i64,
    /// Exchanges, without those that every vhost has.
    pub exchanges: i64,
}

impl Default for NodeLimits {
    fn default() -> Self {
        NodeLimits {
            connections: -1,
            channels: -1,
            consumers_per_channel: -1,
            queues: -1,
            exchanges: -1,
        }
    }
}

impl NodeLimits {
    /// -1 is no limit; what is below is surely something else meant.
    fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("limits.connections", self.connections),
            ("limits.channels", self.channels),
            ("limits.consumers_per_channel", self.consumers_per_channel),
            ("limits.queues", self.queues),
            ("limits.exchanges", self.exchanges),
        ];
        match limits.into_iter().find(|(_, limit)| *limit < -1) {
            None => Ok(()),
            Some((key, limit)) => Err(ConfigError::OutOfRange {
                key,
                value: limit.to_string(),
                reason: "must be 0 or more, or -1 for no limit".to_owned(),
            }),
        }
    }

    /// Those that are counted for the whole node.
    pub fn of_node(&self) -> auth::Limits {
        let mut limits = auth::Limits::default();
        limits.set(auth::Limit::Connections, self.connections);
        limits.set(auth::Limit::Channels, self.channels);
        limits.set(auth::Limit::Queues, self.queues);
        limits.set(auth::Limit::Exchanges, self.exchanges);
        limits
    }
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            default_user: "guest".to_owned(),
            default_password: "guest".to_owned(),
            default_tags: vec!["administrator".to_owned()],
            default_permissions: [".*", ".*", ".*"].map(str::to_owned),
            loopback_users: vec!["guest".to_owned()],
            backends: vec![Backend::Internal],
            http: HttpAuthSettings::default(),
        }
    }
}

// By hand, so that no log or panic message ever shows the password.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("default_user", &self.default_user)
            .field("default_tags", &self.default_tags)
            .field("default_permissions", &self.default_permissions)
            .field("loopback_users", &self.loopback_users)
            .field("backends", &self.backends)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

/// Why there is no usable configuration; one line, for the operator.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's reason.
        reason: String,
    },
    /// The file is not TOML, has an unknown key, or a value of the wrong type.
    #[error("{path}{}: {reason}", faults::at_line(.line))]
    Invalid {
        /// The file.
        path: String,
        /// The line, from 1, unless it is about something that is not there.
        line: Option<usize>,
        /// What is wrong there.
        reason: String,
    },
    /// A value is out of its range.
    #[error("{key} = {value}: {reason}")]
    OutOfRange {
        /// The key with its table.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        reason: String,
    },
}

impl Config {
    /// Reads a file. Every key may be absent; none may be unknown.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable {
            path: shown.clone(),
            reason: e.to_string(),
        })?;
        Self::parse(&text, &shown)
    }

    /// Parses the text of a file that errors call `path`.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        let config: Config =
            toml::from_str(text).map_err(|fault| faults::unreadable(&fault, text, path))?;
        let located = |fault| faults::located(fault, text, path);
        config.check().map_err(located)?;
        Ok(config)
    }

    /// Holds each value against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        log::check(&self.log).map_err(|reason| ConfigError::OutOfRange {
            key: "log",
            value: format!("{:?}", self.log),
            reason,
        })?;
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::OutOfRange {
                key: "data_dir",
                value: "\"\"".to_owned(),
                reason: "must name a directory".to_owned(),
            });
        }
        self.limits.check()?;
        let Amqp {
            frame_max_bytes,
            channel_max,
            handshake_timeout_s,
            max_message_bytes,
            ..
        } = self.amqp;
        let frame_min = u64::from(limits::FRAME_MIN);
        range(
            "amqp.frame_max_bytes",
            frame_max_bytes.into(),
            frame_min,
            16 * 1024 * 1024,
        )?;
        range("amqp.channel_max", channel_max.into(), 1, u16::MAX.into())?;
        range("amqp.handshake_timeout_s", handshake_timeout_s, 1, 3600)?;
        range(
            "amqp.max_message_bytes",
            max_message_bytes,
            1,
            limits::MAX_MESSAGE_BYTES_HARD,
        )?;
        range(
            "storage.sync_interval_ms",
            self.storage.sync_interval_ms,
            1,
            60_000,
        )?;
        let segment_bytes = u64::from(self.storage.segment_bytes);
        range(
            "storage.segment_bytes",
            segment_bytes,
            1024 * 1024,
            1024 * 1024 * 1024,
        )?;
        range(
            "throttle.failed_login_delay_max_ms",
            self.throttle.failed_login_delay_max_ms,
            0,
            60_000,
        )?;
        for source in &self.auth.default_permissions {
            Pattern::new(source).map_err(|fault| ConfigError::OutOfRange {
                key: "auth.default_permissions",
                value: format!("{source:?}"),
                reason: fault.to_string(),
            })?;
        }
        let prefix = &self.management.path_prefix;
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        let starts = prefix.is_empty() || (prefix.starts_with('/') && prefix.len() > 1);
        if !starts || !prefix.chars().all(plain) {
            return Err(ConfigError::OutOfRange {
                key: "management.path_prefix",
                value: format!("{prefix:?}"),
                reason: "must begin with / and hold letters, digits and -._~/ only".to_owned(),
            });
        }
        range(
            "tls.reload_interval_s",
            self.tls.reload_interval_s,
            0,
            86_400,
        )?;
        self.tls.check()?;
        self.alarms
            .memory_watermark
            .check("alarms.memory_watermark", 1.0)?;
        self.alarms
            .disk_free_limit
            .check("alarms.disk_free_limit", 100.0)?;
        range(
            "oauth2.jwks_refresh_s",
            self.oauth2.jwks_refresh_s,
            1,
            86_400,
        )?;
        if self.auth.backends.contains(&Backend::OAuth2) {
            self.oauth2.check()?;
        }
        let backends = &self.auth.backends;
        if backends.iter().any(|backend| backend.is_http()) {
            let permissions = backends.contains(&Backend::Http);
            self.auth.http.check(permissions)?;
        }
        let collector = &self.tracing.otlp_endpoint;
        if !collector.is_empty()
            && let Err(reason) = auth_http::check_address(collector)
        {
            return Err(ConfigError::OutOfRange {
                key: "tracing.otlp_endpoint",
                value: auth_http::hidden(collector),
                reason: reason.to_owned(),
            });
        }
        if self.auth.backends.is_empty() {
            return Err(ConfigError::OutOfRange {
                key: "auth.backends",
                value: "[]".to_owned(),
                reason: "without one nobody can log in".to_owned(),
            });
        }
        if self.listen.is_empty() && self.tls.listen.is_empty() {
            let reason = "needs at least one ADDR:PORT, or tls.listen".to_owned();
            return Err(ConfigError::OutOfRange {
                key: "listen",
                value: "[]".into(),
                reason,
            });
        }
        Ok(())
    }
}

fn range(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let reason = format!("must be from {least} to {most}");
    Err(ConfigError::OutOfRange {
        key,
        value: value.to_string(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = include_str!("../config/warren.toml");

    fn keys(table: &toml::Table, prefix: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match value {
                toml::Value::Table(inner) => keys(inner, &format!("{name}."), found),
                _ => found.push(name),
            }
        }
    }

    #[test]
    fn the_documented_file_has_every_key_with_its_default() {
        assert_eq!(
            Config::parse(DOCUMENTED, "config/warren.toml").unwrap(),
            Config::default()
        );
        let mut documented = Vec::new();
        keys(&DOCUMENTED.parse().unwrap(), "", &mut documented);
        let mut known = Vec::new();
        keys(
            &toml::Table::try_from(Config::default()).unwrap(),
            "",
            &mut known,
        );
        documented.sort();
        known.sort();
        assert_eq!(documented, known);
    }

    #[test]
    fn faults_are_one_line_that_says_where() {
        let fault = |text: &str| Config::parse(text, "w.toml").unwrap_err().to_string();
        let unknown = fault("# hello\n[amqp]\nframe_max = 4096\n");
        assert!(
            unknown.starts_with("w.toml:3: unknown field `frame_max`"),
            "{unknown}"
        );
        assert!(fault("listen = [\"nowhere\"]").starts_with("w.toml:1: "));
        assert!(fault("[storage]\ndurability = \"maybe\"").starts_with("w.toml:2: "));
        assert_eq!(
            fault("[amqp]\nframe_max_bytes = 100"),
            "w.toml:2: amqp.frame_max_bytes = 100: must be from 8192 to 16777216"
        );
        for text in ["listen = 5", "x", "[amqp]\nheartbeat_s = -1", "listen = []"] {
            assert!(!fault(text).contains('\n'), "{text}");
        }
    }

    #[test]
    fn http_can_be_off_and_have_a_prefix() {
        let read = |text: &str| Config::parse(text, "w.toml");
        let config = read("[management]\nlisten = \"off\"\npath_prefix = \"/warren\"").unwrap();
        assert_eq!(config.management.listen.get(), None);
        for wrong in ["warren", "/", "/a{b}", "/a b"] {
            let fault = read(&format!("[management]\npath_prefix = {wrong:?}")).unwrap_err();
            assert!(fault.to_string().starts_with("w.toml:2: "), "{fault}");
        }
        assert!(read("[metrics]\nlisten = \"nowhere\"").is_err());
    }

    #[test]
    fn a_limit_is_a_number_of_octets_or_a_fraction() {
        let alarms = |text: &str| Config::parse(text, "w.toml").map(|config| config.alarms);
        let set = alarms("[alarms]\nmemory_watermark = 1000\ndisk_free_limit = 1.5").unwrap();
        assert_eq!(set.memory_watermark.bytes(200), 1000);
        assert_eq!(set.disk_free_limit.bytes(200), 300);
        assert_eq!(
            alarms("[alarms]\nmemory_watermark = 1.5")
                .unwrap_err()
                .to_string(),
            "w.toml:2: alarms.memory_watermark = 1.5: must be a fraction from 0.0 to 1.0, or a number of octets"
        );
    }

    #[test]
    fn a_backend_http_needs_addresses() {
        let read = |backends: &str, paths: &str| {
            let text = format!("[auth]\nbackends = {backends}\n[auth.http]\n{paths}");
            Config::parse(&text, "w.toml").map_err(|fault| fault.to_string())
        };
        let path = |name: &str, at: &str| format!("{name}_path = {at:?}\n");
        let all = ["user", "vhost", "resource", "topic"].map(|name| path(name, "http://a/b"));
        assert!(read("[\"http\", \"internal\"]", &all.concat()).is_ok());
        assert!(read("[\"http/internal\"]", &all[0]).is_ok());
        assert!(read("[\"internal\"]", "").is_ok());
        let fault = read("[\"http\"]", &all[..3].concat()).unwrap_err();
        assert_eq!(
            fault,
            "w.toml:3: auth.http.topic_path = \"\": the backend http needs it"
        );
        for wrong in [
            "",
            "a/b",
            "ftp://a/b",
            "http://user:s3cret@a/b",
            "http://a/b#c",
        ] {
            let fault = read("[\"http/internal\"]", &path("user", wrong)).unwrap_err();
            assert!(fault.contains("auth.http.user_path"), "{fault}");
            assert!(!fault.contains("s3cret"), "{fault}");
        }
        let many = format!("{}requests_max = 0", all.concat());
        assert!(read("[\"http\"]", &many).is_err());
    }

    #[test]
    fn a_collector_is_an_address_or_none() {
        let read = |at: &str| {
            let text = format!("[tracing]\notlp_endpoint = {at:?}");
            Config::parse(&text, "w.toml").map_err(|fault| fault.to_string())
        };
        for right in [
            "",
            "http://127.0.0.1:4318",
            "https://collector.example/otlp/",
        ] {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in ["127.0.0.1:4318", "grpc://a", "http://user:s3cret@a"] {
            let fault = read(wrong).unwrap_err();
            assert!(
                fault.starts_with("w.toml:2: tracing.otlp_endpoint"),
                "{fault}"
            );
            assert!(!fault.contains("s3cret"), "{fault}");
        }
    }

    #[test]
    fn faults_name_the_key_and_the_value() {
        let fault = |text: &str| Config::parse(text, "w.toml").unwrap_err().to_string();
        for (text, expected) in [
            (
                "[throttle]\nexempt = [\"::1/128\", \"10.0.0.0/33\"]",
                "w.toml:2: throttle.exempt = \"10.0.0.0/33\": must be a network, such as 10.0.0.0/8 or ::1/128",
            ),
            (
                "[amqp]\nchannel_max = 70000",
                "w.toml:2: amqp.channel_max = 70000: invalid value: integer `70000`, expected a number from 0 to 65535",
            ),
            (
                "[alarms]\nmemory_watermark = \"60%\"",
                "w.toml:2: alarms.memory_watermark = \"60%\": invalid type: string \"60%\", \
                 expected a number of octets, or a fraction such as 0.6, without a unit",
            ),
            (
                "# log = 1\n[throttle]\nfailed_logins_free = 1\n[tls]\nverify = \"none\"\n[limits]\nconnections = -2",
                "w.toml:7: limits.connections = -2: must be 0 or more, or -1 for no limit",
            ),
            (
                "amqp.heartbeat_s = 1\n[tls]\nlisten = [\"127.0.0.1:5671\"]",
                "w.toml:2: tls.cert_file = \"\": a TLS listener needs it",
            ),
            (
                "[tls]\nversions = []",
                "w.toml:2: tls.versions = []: needs at least one",
            ),
            (
                "data_dir = \"\"",
                "w.toml:1: data_dir = \"\": must name a directory",
            ),
        ] {
            assert_eq!(fault(text), expected);
        }
        let network = "listen = [{ address = \"127.0.0.1:1\", allow = [\"localhost\"] }]";
        let line = fault(network);
        assert!(
            line.starts_with("w.toml:1: listen.allow = \"localhost\": must be a network"),
            "{line}"
        );
        let secret =
            fault("auth.backends = [\"http\"]\n[auth.http]\nuser_path = \"http://u:s3cret@a\"");
        assert!(
            secret.starts_with("w.toml:3: auth.http.user_path = \"***\": "),
            "{secret}"
        );
        let password = fault("auth.default_password = 1234");
        assert!(!password.contains("= 1234"), "{password}");
        let tls = "[tls]\nlisten = [\"127.0.0.1:1\"]\ncert_file = \"c\"\nkey_file = \"k\"\n";
        let login = fault(&format!("{tls}login_from = \"common_name\""));
        assert!(
            login.starts_with("w.toml:5: tls.login_from = \"common_name\": "),
            "{login}"
        );
        let absent = Config::parse("auth.backends = [\"oauth2\"]", "w.toml").unwrap_err();
        assert!(
            absent
                .to_string()
                .starts_with("w.toml: oauth2.resource_server_id"),
            "{absent}"
        );
    }

    #[test]
    fn a_word_that_is_no_level_is_no_filter() {
        let read = |log: &str| Config::parse(&format!("\nlog = {log:?}"), "w.toml");
        for right in [
            "info",
            "WARN",
            "off",
            "3",
            "warn,warren::amqp=debug",
            "warren::store",
            "error,audit=info",
        ] {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in ["warning", "inof", "info,verbose", "", "warren=loud"] {
            let fault = read(wrong).unwrap_err().to_string();
            assert!(fault.starts_with("w.toml:2: log = "), "{fault}");
        }
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let told = |text: &str| Config::parse(text, "w.toml").unwrap().cautions();
        assert!(Config::default().cautions().is_empty());
        for (text, key) in [
            ("[auth]\ndefault_tags = [\"admin\"]", "auth.default_tags"),
            ("[tls]\ncert_file = \"/nosuch\"", "tls.cert_file"),
            (
                "[tls]\nlisten = [\"127.0.0.1:1\"]\ncert_file = \"c\"\nkey_file = \"k\"\ncrl_file = \"/nosuch\"",
                "tls.crl_file",
            ),
        ] {
            let cautions = told(text);
            assert_eq!(cautions.len(), 1, "{cautions:?}");
            assert!(cautions[0].starts_with(key), "{cautions:?}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let auth = Auth {
            default_password: "s3cret".into(),
            ..Auth::default()
        };
        assert!(!format!("{auth:?}").contains("s3cret"));
    }
}
