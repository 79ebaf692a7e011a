//! Content headers and their properties (spec 4.2.6.1, row A1.10).
//!
//! Properties stay the octets the publisher sent: two octets of flags, then the values in the order
//! of the flags. One [`scan`] at publishing validates them and gives what every publish needs;
//! after that, values are found by walking, and a change copies all the others as they are.
//!
//! Never keeps a decoded form, and gives strings as octets: RabbitMQ does not check them for UTF-8.

mod patch;

use bytes::Bytes;

pub use patch::PropertyPatch;

use super::read::Reader;
use super::table::{TableRef, validate_table};
use crate::base::AmqpError;
use crate::base::limits::MAX_MESSAGE_BYTES_HARD;

/// The flags that stand for properties. The two lowest are ignored, as in RabbitMQ.
const FLAGS: u16 = 0xFFFC;

/// A property, in the order of flags and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Property {
    /// MIME type of the body: string.
    ContentType,
    /// How the body is encoded: string.
    ContentEncoding,
    /// Field table.
    Headers,
    /// 1 transient, 2 persistent: octet.
    DeliveryMode,
    /// 0 to 255: octet.
    Priority,
    /// String.
    CorrelationId,
    /// String.
    ReplyTo,
    /// Time to live in ms, written as text: string.
    Expiration,
    /// String.
    MessageId,
    /// Seconds since 1970: eight octets.
    Timestamp,
    /// The application's name for it: string.
    Type,
    /// String.
    UserId,
    /// String.
    AppId,
    /// Deprecated: string.
    ClusterId,
}

impl Property {
    /// All, in order.
    pub const ALL: [Property; 14] = [
        Property::ContentType,
        Property::ContentEncoding,
        Property::Headers,
        Property::DeliveryMode,
        Property::Priority,
        Property::CorrelationId,
        Property::ReplyTo,
        Property::Expiration,
        Property::MessageId,
        Property::Timestamp,
        Property::Type,
        Property::UserId,
        Property::AppId,
        Property::ClusterId,
    ];

    const fn flag(self) -> u16 {
        0x8000 >> self as u8
    }

    /// Reads past a value; gives its octets, the length in front of a string or table included.
    #[inline]
    fn skip<'a>(self, from: &mut Reader<'a>) -> Option<&'a [u8]> {
        let start = from.rest();
        match self {
            Property::DeliveryMode | Property::Priority => from.take(1)?,
            Property::Timestamp => from.take(8)?,
            Property::Headers => from.long()?,
            _ => from.short()?,
        };
        start.get(..start.len() - from.rest().len())
    }
}

/// The payload of a content header frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Octets of body that follow.
    pub body_size: u64,
    /// Flags and values.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads a content header due after a method of class `class_id`. The properties are not looked
    /// at.
    ///
    /// # Errors
    /// 505 another class, or a weight; 501 more body than any message may have (row A1.8).
    #[inline]
    pub fn parse(payload: &'a [u8], class_id: u16) -> Result<Self, AmqpError> {
        let mut from = Reader::new(payload);
        let (Some(class), Some(weight), Some(body_size)) = (from.u16(), from.u16(), from.u64())
        else {
            return Err(AmqpError::expected_content_header(class_id));
        };
        if weight != 0 {
            return Err(AmqpError::expected_content_header(class_id));
        }
        if class != class_id {
            return Err(AmqpError::content_header_class(class_id, class));
        }
        if body_size > MAX_MESSAGE_BYTES_HARD {
            return Err(AmqpError::body_size_exceeds_max(body_size));
        }
        Ok(ContentHeader {
            body_size,
            properties: from.rest(),
        })
    }
}

/// What every publish asks of its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PropertyScan {
    flags: u16,
    /// 1 transient, 2 persistent; absent means transient.
    pub delivery_mode: Option<u8>,
    /// 0 to 255; absent means 0.
    pub priority: Option<u8>,
}

impl PropertyScan {
    /// Whether a property is there.
    #[inline]
    pub const fn has(&self, property: Property) -> bool {
        self.flags & property.flag() != 0
    }

    /// Whether the message is to survive a restart.
    #[inline]
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(2)
    }
}

/// Validates properties, the headers to their depths, in one walk.
///
/// # Errors
/// 502 if the values do not fit the flags, octets are left over, or the headers are malformed or
/// nested too deep.
#[inline]
pub fn scan(raw: &[u8]) -> Result<PropertyScan, AmqpError> {
    match raw {
        [0, 0..=3] => Ok(PropertyScan::default()),
        _ => scan_values(raw),
    }
}

fn scan_values(raw: &[u8]) -> Result<PropertyScan, AmqpError> {
    let mut from = Reader::new(raw);
    let Some(flags) = from.u16() else {
        return Err(AmqpError::malformed_properties());
    };
    let mut found = PropertyScan {
        flags: flags & FLAGS,
        delivery_mode: None,
        priority: None,
    };
    let mut left = found.flags;
    while left != 0 {
        let at = left.leading_zeros() as u8;
        left &= !(0x8000 >> at);
        let whole = match at {
            2 => match from.long() {
                Some(headers) => {
                    validate_table(headers)?;
                    true
                }
                None => false,
            },
            3 => {
                found.delivery_mode = from.u8();
                found.delivery_mode.is_some()
            }
            4 => {
                found.priority = from.u8();
                found.priority.is_some()
            }
            9 => from.take(8).is_some(),
            _ => from.short().is_some(),
        };
        if !whole {
            return Err(AmqpError::malformed_properties());
        }
    }
    if from.is_empty() {
        Ok(found)
    } else {
        Err(AmqpError::malformed_properties())
    }
}

/// Properties as they travel: raw, and a share of the octets they were read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties(Bytes);

impl Default for Properties {
    fn default() -> Self {
        Properties(Bytes::from_static(&[0, 0]))
    }
}

impl Properties {
    /// Takes properties in, and says what a publish needs to know.
    ///
    /// # Errors
    /// 502, as for [`scan`].
    pub fn new(raw: Bytes) -> Result<(Self, PropertyScan), AmqpError> {
        let found = scan(&raw)?;
        Ok((Properties(raw), found))
    }

    /// Takes in properties that went through a scan before, such as those of a stored message. Of
    /// octets that did not, some properties are absent; nothing worse.
    pub const fn trusted(raw: Bytes) -> Self {
        Properties(raw)
    }

    /// Flags and values as they go out in a content header.
    pub const fn raw(&self) -> &Bytes {
        &self.0
    }

    /// The value of a property as octets, any length in front included.
    fn find(&self, property: Property) -> Option<&[u8]> {
        let mut from = Reader::new(&self.0);
        let flags = from.u16()?;
        if flags & property.flag() == 0 {
            return None;
        }
        for before in Property::ALL.into_iter().take(property as usize) {
            if flags & before.flag() != 0 {
                before.skip(&mut from)?;
            }
        }
        property.skip(&mut from)
    }

    /// A property that is a string, as octets. `None` if it is absent or no string.
    pub fn text(&self, property: Property) -> Option<&[u8]> {
        match property {
            Property::Headers
            | Property::DeliveryMode
            | Property::Priority
            | Property::Timestamp => None,
            _ => self.find(property)?.get(1..),
        }
    }

    /// The headers.
    pub fn headers(&self) -> Option<TableRef<'_>> {
        self.find(Property::Headers)?
            .get(4..)
            .map(TableRef::trusted)
    }

    /// 1 transient, 2 persistent.
    pub fn delivery_mode(&self) -> Option<u8> {
        self.find(Property::DeliveryMode)?.first().copied()
    }

    /// Priority.
    pub fn priority(&self) -> Option<u8> {
        self.find(Property::Priority)?.first().copied()
    }

    /// Seconds since 1970, as the publisher sees it.
    pub fn timestamp(&self) -> Option<u64> {
        self.find(Property::Timestamp)?
            .first_chunk()
            .copied()
            .map(u64::from_be_bytes)
    }

    /// Time to live in ms, as text (row A5.7).
    pub fn expiration(&self) -> Option<&[u8]> {
        self.text(Property::Expiration)
    }

    /// Where replies go.
    pub fn reply_to(&self) -> Option<&[u8]> {
        self.text(Property::ReplyTo)
    }

    /// Who published it, as they say (row A5.6).
    pub fn user_id(&self) -> Option<&[u8]> {
        self.text(Property::UserId)
    }

    /// The application's id of the message.
    pub fn message_id(&self) -> Option<&[u8]> {
        self.text(Property::MessageId)
    }

    /// What it answers.
    pub fn correlation_id(&self) -> Option<&[u8]> {
        self.text(Property::CorrelationId)
    }
}
