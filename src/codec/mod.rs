//! Octets ↔ frames, methods, field tables and content properties.
//!
//! Plain functions over octets already read or about to be written; never sockets, tasks or time.
//! Whatever a client sends, nothing here panics, recurses without bound, or allocates by a length
//! that was only announced: every length is checked against the octets that are there.
//!
//! `amq-protocol` gives the methods and their fields ([`method`] explains where it is and is not
//! used); frames, tables and properties are read in place, as slices of what was read.

pub mod encode;
pub mod frame;
pub mod method;
pub mod properties;
pub mod protocol;
mod read;
pub mod table;
#[cfg(test)]
mod tests;

pub use amq_protocol::protocol::AMQPClass;
pub use frame::{Frame, FrameCursor, FrameKind, FrameSplitter, Scan};
pub use method::{Command, Method, Publish, parse_method};
pub use properties::{ContentHeader, Properties, Property, PropertyPatch, PropertyScan};
pub use protocol::{ProtocolHeader, protocol_header};
pub use table::{ArrayBuilder, ArrayRef, JsonError, Null, RawTable, TableBuilder, TableRef, Value};
