//! The one table of everything a client can be told: reply codes, and a constructor for each fault
//! with its exact text (reference table A2).
//!
//! No text a client can see is formatted anywhere else. Owns no state and decides nothing: which
//! fault it is, is the caller's to know. The texts are RabbitMQ's, its Erlang notation included
//! where it prints terms (`{value_negative,-1}`).

mod arguments;
mod channel;
mod codes;
mod connection;
mod erlang;
mod frames;
mod http;
mod kinds;
mod policies;
#[cfg(test)]
mod tests;

use std::fmt;

pub use arguments::{ArgFault, ArgValue};
pub use codes::ReplyCode;
pub use connection::{blocked_reason, quota_reason};
pub use erlang::{Atom, BinaryTerm, Octets};
pub use http::ApiError;
pub use policies::{ParameterFault, PolicyFault};

use super::limits::REPLY_TEXT_MAX;

/// A fault as the client sees it in channel.close or connection.close.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct AmqpError {
    /// The code, which also says what is closed.
    pub code: ReplyCode,
    /// The whole reply text, at most 255 octets.
    pub text: String,
    /// Class of the method that failed; 0 if there is none.
    pub class_id: u16,
    /// The method that failed within its class; 0 if there is none.
    pub method_id: u16,
}

impl AmqpError {
    /// `NAME - explanation`. One that is too long for a short string ends in `...`, as RabbitMQ
    /// cuts it, but never within a character.
    fn new(code: ReplyCode, explanation: fmt::Arguments<'_>) -> Self {
        let mut text = format!("{} - {}", code.name(), explanation);
        if text.len() > REPLY_TEXT_MAX {
            text.truncate(text.floor_char_boundary(REPLY_TEXT_MAX - 3));
            text.push_str("...");
        }
        AmqpError {
            code,
            text,
            class_id: 0,
            method_id: 0,
        }
    }

    /// Says which method failed. The first to say it is right: a fault that knows its method
    /// already keeps it.
    #[must_use]
    pub fn at(mut self, class_id: u16, method_id: u16) -> Self {
        if self.class_id == 0 {
            self.class_id = class_id;
            self.method_id = method_id;
        }
        self
    }

    /// Whether it closes the connection whatever channel it is on.
    pub const fn is_hard(&self) -> bool {
        self.code.is_hard()
    }
}

/// What a text calls a queue or an exchange: `queue 'q' in vhost '/'`.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    kind: &'static str,
    name: &'a str,
    vhost: &'a str,
}

impl<'a> Resource<'a> {
    /// A queue.
    pub const fn queue(name: &'a str, vhost: &'a str) -> Self {
        Resource {
            kind: "queue",
            name,
            vhost,
        }
    }

    /// An exchange; the default one has the empty name.
    pub const fn exchange(name: &'a str, vhost: &'a str) -> Self {
        Resource {
            kind: "exchange",
            name,
            vhost,
        }
    }

    /// Whether it is the exchange without a name.
    pub fn is_default_exchange(&self) -> bool {
        self.kind == "exchange" && self.name.is_empty()
    }

    /// `queue` or `exchange`.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its name as permissions know it: the default exchange is `amq.default` (A3.6).
    pub fn shown_name(&self) -> &'a str {
        match self.is_default_exchange() {
            true => "amq.default",
            false => self.name,
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.kind, self.name, self.vhost)
    }
}

/// What a permission allows, as texts name it (A10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Declare and delete.
    Configure,
    /// Publish to, bind to.
    Write,
    /// Consume from, bind from.
    Read,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Configure => "configure",
            Access::Write => "write",
            Access::Read => "read",
        })
    }
}
