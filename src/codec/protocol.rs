//! The eight octets a client opens a connection with (spec 4.2.2, row A1.1).
//!
//! Decides what they ask for and what to answer; sending and closing are the connection's.

/// The octets of a header.
pub const PROTOCOL_HEADER_LEN: usize = 8;

/// The protocol Warren speaks, and what it answers to whoever asks for another one.
pub const AMQP_0_9_1: [u8; PROTOCOL_HEADER_LEN] = *b"AMQP\x00\x00\x09\x01";

/// AMQP 0-9, which differs in nothing that matters and is served the same.
const AMQP_0_9: [u8; PROTOCOL_HEADER_LEN] = *b"AMQP\x01\x01\x00\x09";

/// What the first octets of a connection ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// Fewer than eight octets: read on.
    Incomplete,
    /// AMQP 0-9-1 (or 0-9): drop the eight octets and send connection.start.
    Accepted,
    /// Anything else, other AMQP versions, HTTP and TLS among it: send these octets and close.
    /// RabbitMQ 4 offers AMQP 1.0 here to all but 0-9 clients; Warren has only this to offer.
    Refused([u8; PROTOCOL_HEADER_LEN]),
}

/// Reads the header. As soon as eight octets are there the answer is final.
pub fn protocol_header(octets: &[u8]) -> ProtocolHeader {
    match octets.first_chunk::<PROTOCOL_HEADER_LEN>() {
        None => ProtocolHeader::Incomplete,
        Some(&AMQP_0_9_1 | &AMQP_0_9) => ProtocolHeader::Accepted,
        Some(_) => ProtocolHeader::Refused(AMQP_0_9_1),
    }
}
