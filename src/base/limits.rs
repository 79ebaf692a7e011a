//! Every limit and default the protocol side works with, by name and with its reason.
//!
//! Owns the numbers only; what happens when one is passed is in `base::reply` and in the layer
//! that checks. Limits an operator may set are the defaults here, read from the configuration.

use std::time::Duration;

/// Octets around a frame's payload: type, channel, size before it and the end octet after it.
pub const FRAME_OVERHEAD: usize = 8;

/// Octets of a frame before its payload.
pub const FRAME_HEADER: usize = 7;

/// The octet every frame ends with (spec 4.2.3).
pub const FRAME_END: u8 = 0xCE;

/// `frame_max` offered in connection.tune: the largest frame, overhead included (row A1.5).
pub const FRAME_MAX: u32 = 131_072;

/// The smallest `frame_max` that may be offered, and the limit until a client has chosen one: client
/// properties with a token in them need more than the 4096 of the spec (row A1.6, RabbitMQ 4.1+).
pub const FRAME_MIN: u32 = 8_192;

/// The spec's own smallest `frame_max`, accepted by RabbitMQ before 4.1. Choosing less than
/// [`FRAME_MIN`] but no less than this is what old clients do; a server that wants them lowers
/// its minimum to this value (row A1.6).
pub const FRAME_MIN_SPEC: u32 = 4_096;

/// How far above `frame_max` a received frame may be: many clients forget to count the overhead,
/// and RabbitMQ lets them (Corrections, A1.8).
pub const FRAME_SLACK: usize = FRAME_OVERHEAD;

/// `channel_max` offered in connection.tune; counts open channels, not channel numbers (A1.18).
pub const CHANNEL_MAX: u16 = 2_047;

/// Heartbeat interval offered in connection.tune, in seconds; the client's answer wins (A1.12).
pub const HEARTBEAT_S: u16 = 60;

/// From accept to connection.open-ok (A1.2).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection that fails before it is open is kept, silent, before the socket is
/// closed: it slows down password guessing (A1.13, Corrections A1.6).
pub const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);

/// The longest wait for close-ok after a connection.close of ours; the heartbeat interval if that
/// is shorter (A1.13).
pub const CLOSE_OK_TIMEOUT: Duration = Duration::from_secs(30);

/// `max_message_size` by default: the largest message body (A1.11).
pub const MAX_MESSAGE_BYTES: u64 = 16 * 1024 * 1024;

/// The largest `max_message_size` that can be configured. A content header that announces more is
/// refused before its body is awaited (A1.8, A1.11).
pub const MAX_MESSAGE_BYTES_HARD: u64 = 512 * 1024 * 1024;

/// The most octets of a short string: its length is one octet.
pub const SHORTSTR_MAX: usize = 255;

/// The most octets of a reply text, as it is a short string (A2).
pub const REPLY_TEXT_MAX: usize = SHORTSTR_MAX;

/// How deep tables and arrays may be nested in each other. RabbitMQ sets no limit; a frame of
/// 131072 octets could nest 26000 deep (5 octets a level), enough to overflow the stack of any
/// recursive reader, and headers are read again wherever they travel. Real headers (`x-death`:
/// table in array in table) need three levels; 64 leaves room and costs a few hundred octets each.
pub const TABLE_DEPTH_MAX: usize = 64;

/// The longest time to live or expiry, ms: ten years (A4, `x-expires`, `x-message-ttl`).
pub const EXPIRY_MAX_MS: i64 = 315_360_000_000;

/// In which a consumer of a quorum queue must settle a delivery, ms: half an hour (A6.13).
pub const CONSUMER_TIMEOUT_MS: u64 = 30 * 60 * 1000;

/// The part of the memory above which publishers are stopped (A1.15; RabbitMQ before 4.0: 0.4).
pub const MEMORY_WATERMARK: f64 = 0.6;

/// The room on the disk below which publishers are stopped, in octets (A1.15).
pub const DISK_FREE_LIMIT_BYTES: u64 = 50_000_000;

/// Ids that a window for deduplication remembers unless told otherwise (A3.21).
pub const DEDUP_SIZE: u64 = 128;

/// The most ids that it can be told to remember: about 30 MB.
pub const DEDUP_SIZE_MAX: i64 = 100_000;

/// The longest delay of a message, ms: what a timer of RabbitMQ's plugin can be set to (A3.11).
pub const DELAY_MAX_MS: u64 = u32::MAX as u64;

/// Messages that an `x-recent-history` exchange remembers unless told otherwise (A3.10).
pub const HISTORY_LEN: u64 = 20;

/// The highest `x-max-priority` (A4).
pub const PRIORITY_MAX: u8 = 255;

/// Steps back that matching a policy's pattern may take before it gives up.
pub const PATTERN_BACKTRACKS_MAX: usize = 10_000;

/// Octets on their way to one connection, queued or encoded, above which its consumers are passed
/// over and its socket is not read.
pub const OUTBOUND_HIGH_BYTES: usize = 1024 * 1024;

/// Pieces of a body at least this long go to the socket as they are, by a vectored write; shorter
/// ones are copied beside their frame headers. A body that is shorter fits one frame of any client's.
pub const BODY_BY_REFERENCE_BYTES: usize = FRAME_MIN_SPEC as usize - FRAME_OVERHEAD;

/// An outbound buffer larger than this is looked at for giving memory back once it is empty.
pub const IDLE_BUFFER_BYTES: usize = 64 * 1024;

/// Octets read from a socket at once: the first reads are small, and double while they are filled.
pub const READ_MIN_BYTES: usize = 4 * 1024;

/// The most octets read from a socket at once.
pub const READ_MAX_BYTES: usize = 128 * 1024;

/// Time that connections get at shutdown to close in good order.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The longest pattern of a permission, in octets.
pub const PATTERN_MAX_BYTES: usize = 4 * 1024;

/// What a pattern may take once it is compiled, in octets: `\w{100}` and its like take much.
pub const PATTERN_COMPILED_MAX_BYTES: usize = 1024 * 1024;

/// The longest name of a user or vhost, in octets: vhosts travel as short strings.
pub const NAME_MAX_BYTES: usize = SHORTSTR_MAX;

/// Memory that the check of an imported argon2id hash may take; those made here take 19 MiB.
pub const ARGON2_MEMORY_MAX_KIB: u32 = 256 * 1024;

/// Passes over it that such a hash may ask for; those made here ask for 2.
pub const ARGON2_PASSES_MAX: u32 = 16;

/// How long a password that was right is taken without computing its slow hash again.
pub const LOGIN_REMEMBERED: Duration = Duration::from_secs(60);

/// Logins remembered at a time.
pub const LOGINS_REMEMBERED_MAX: usize = 4096;

/// How long a password that was wrong is refused without computing its slow hash again.
pub const GUESS_REMEMBERED: Duration = Duration::from_secs(60);

/// Such passwords remembered at a time: about 300 kB.
pub const GUESSES_REMEMBERED_MAX: usize = 4096;

/// The delay of a login after the first failure that is not free; each one more doubles it.
pub const FAILED_LOGIN_DELAY_MIN: Duration = Duration::from_millis(100);

/// How long after the last failure it is as if there had been none.
pub const FAILED_LOGIN_FORGOTTEN: Duration = Duration::from_secs(300);

/// Addresses and users whose failures are remembered at a time.
pub const FAILED_LOGINS_MAX: usize = 16_384;

/// Most connections to the HTTP API, and as many again to the metrics: browsers open six each.
pub const HTTP_CONNECTIONS_MAX: usize = 1024;

/// Most octets of an HTTP request's head. A bearer token is the longest part of it.
pub const HTTP_HEAD_MAX_BYTES: usize = 64 * 1024;

/// Most octets of an HTTP request's body: RabbitMQ's limit, enough for definitions of tens of
/// thousands of queues.
pub const HTTP_BODY_MAX_BYTES: usize = 20_000_000;

/// From connecting, or from the last answer, until an HTTP request's head is there.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// From an HTTP request's head to the head of its answer, its body being read meanwhile.
pub const HTTP_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Most items on a page of the HTTP API (A12).
pub const HTTP_PAGE_SIZE_MAX: usize = 500;

/// Octets below which an answer over HTTP is not compressed.
pub const HTTP_COMPRESSED_MIN_BYTES: u16 = 1024;

/// Items on a page of the HTTP API if the request does not say.
pub const HTTP_PAGE_SIZE: usize = 100;

/// Most messages that one request to the HTTP API looks at without taking them.
pub const HTTP_BROWSE_MAX: usize = 20_000;

/// Octets of messages after which such a request looks at no further ones.
pub const HTTP_BROWSE_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Most messages that one request to the HTTP API takes out of a queue or looks at.
pub const HTTP_MESSAGES_MAX: usize = 10_000;

/// How far a publisher may be ahead of its quota before its socket is not read for a while: what
/// comes in one burst is most often followed by silence.
pub const QUOTA_BURST: Duration = Duration::from_millis(100);

/// How far a publisher may still be ahead of its quota when its socket is read again. Until something of its comes
/// then takes a while, on a busy machine tens of milliseconds, and what that is would be lost to its rate.
pub const QUOTA_RESUME: Duration = Duration::from_millis(50);

/// How soon a publisher that is held to a quota notices that the quota was changed.
pub const QUOTA_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Octets of messages that a queue keeps in memory at its head, all priorities together, and again of
/// those delivered and not acked. Beyond that a message that is in the log is known by its place only.
pub const QUEUE_WINDOW_BYTES: usize = 1024 * 1024;

/// Octets of the longest answer of an HTTP server that knows users.
pub const HTTP_AUTH_ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Threads that stand still at a time for such an answer, where a request of the HTTP API needs one. The runtime
/// has others in their place, of which it has 512.
pub const HTTP_AUTH_WAITING_MAX: usize = 32;

/// Octets of the longest access token: more does not fit into the first frame a client may send
/// ([`FRAME_MIN`]), and this leaves room for those that come by connection.update-secret (A1.17).
pub const TOKEN_MAX_BYTES: usize = 64 * 1024;

/// Most scopes of ours in one token; RabbitMQ's limit.
pub const TOKEN_SCOPES_MAX: usize = 2048;

/// How far the clock of who issues tokens may be ahead of ours, seconds.
pub const TOKEN_LEEWAY_S: u64 = 60;

/// Octets of the longest set of token keys.
pub const JWKS_MAX_BYTES: usize = 1024 * 1024;

/// The longest wait for a set of token keys.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between requests for a set of token keys because a token was signed by a key not in it.
pub const JWKS_RETRY: Duration = Duration::from_secs(10);

/// Most lifecycle events that wait to be published; further ones are lost.
pub const EVENTS_WAITING_MAX: usize = 8192;

/// Most spans that wait to be exported; further ones are lost.
pub const SPANS_WAITING_MAX: usize = 8192;

/// Most queues that a span names: their number is told, too.
pub const SPAN_QUEUES_MAX: usize = 16;

/// Most spans in one request to the collector.
pub const SPANS_AT_ONCE: usize = 512;

/// The longest wait for the collector's answer.
pub const SPANS_EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of the process waits for spans to be exported.
pub const SPANS_GRACE: Duration = Duration::from_secs(5);
