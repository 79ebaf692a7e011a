//! The reply codes of the protocol: number, name, and what each one closes.
//!
//! Owns no texts beyond the names.

/// A reply code, as sent in connection.close, channel.close and basic.return (table A2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ReplyCode {
    /// 200: a normal close.
    ReplySuccess = 200,
    /// 311
    ContentTooLarge = 311,
    /// 312: only in basic.return.
    NoRoute = 312,
    /// 313: only in basic.return.
    NoConsumers = 313,
    /// 320
    ConnectionForced = 320,
    /// 402
    InvalidPath = 402,
    /// 403
    AccessRefused = 403,
    /// 404
    NotFound = 404,
    /// 405
    ResourceLocked = 405,
    /// 406
    PreconditionFailed = 406,
    /// 501
    FrameError = 501,
    /// 502
    SyntaxError = 502,
    /// 503
    CommandInvalid = 503,
    /// 504
    ChannelError = 504,
    /// 505
    UnexpectedFrame = 505,
    /// 506
    ResourceError = 506,
    /// 530
    NotAllowed = 530,
    /// 540
    NotImplemented = 540,
    /// 541
    InternalError = 541,
}

impl ReplyCode {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The name a reply text starts with.
    pub const fn name(self) -> &'static str {
        match self {
            ReplyCode::ReplySuccess => "REPLY_SUCCESS",
            ReplyCode::ContentTooLarge => "CONTENT_TOO_LARGE",
            ReplyCode::NoRoute => "NO_ROUTE",
            ReplyCode::NoConsumers => "NO_CONSUMERS",
            ReplyCode::ConnectionForced => "CONNECTION_FORCED",
            ReplyCode::InvalidPath => "INVALID_PATH",
            ReplyCode::AccessRefused => "ACCESS_REFUSED",
            ReplyCode::NotFound => "NOT_FOUND",
            ReplyCode::ResourceLocked => "RESOURCE_LOCKED",
            ReplyCode::PreconditionFailed => "PRECONDITION_FAILED",
            ReplyCode::FrameError => "FRAME_ERROR",
            ReplyCode::SyntaxError => "SYNTAX_ERROR",
            ReplyCode::CommandInvalid => "COMMAND_INVALID",
            ReplyCode::ChannelError => "CHANNEL_ERROR",
            ReplyCode::UnexpectedFrame => "UNEXPECTED_FRAME",
            ReplyCode::ResourceError => "RESOURCE_ERROR",
            ReplyCode::NotAllowed => "NOT_ALLOWED",
            ReplyCode::NotImplemented => "NOT_IMPLEMENTED",
            ReplyCode::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether it closes the connection. The others close the channel, unless they arise on
    /// channel 0, where everything closes the connection.
    pub const fn is_hard(self) -> bool {
        !matches!(
            self,
            ReplyCode::ReplySuccess
                | ReplyCode::ContentTooLarge
                | ReplyCode::NoRoute
                | ReplyCode::NoConsumers
                | ReplyCode::AccessRefused
                | ReplyCode::NotFound
                | ReplyCode::ResourceLocked
                | ReplyCode::PreconditionFailed
        )
    }
}
