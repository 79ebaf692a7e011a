//! What a publish is held to besides its frames: expiration, extra routing keys, user id (A5.1).
//!
//! Owns the reading of those properties. Nearly all messages have none of them and pass at once.

use bytes::Bytes;

use super::assembly::facts;
use crate::auth::Actor;
use crate::base::AmqpError;
use crate::base::limits::EXPIRY_MAX_MS;
use crate::codec::properties::PropertyScan;
use crate::codec::{Properties, Property, PropertyPatch, TableBuilder, TableRef, Value};
use crate::message::Message;

const CC: &str = "CC";
const BCC: &str = "BCC";

/// Checks the properties of `message`. Further routing keys are added to `keys` (A3.18), and a
/// header BCC is marked as hidden.
pub(super) fn check(
    message: Message,
    scan: &PropertyScan,
    keys: &mut Vec<Bytes>,
) -> Result<Message, AmqpError> {
    if !scan.has(Property::Expiration) && !scan.has(Property::Headers) {
        return Ok(message);
    }
    let properties = Properties::trusted(message.properties_bytes());
    if let Some(text) = properties.expiration() {
        check_expiration(text)?;
    }
    let mut hidden = false;
    if let Some(headers) = properties.headers() {
        extra_keys(headers, CC, keys)?;
        hidden = extra_keys(headers, BCC, keys)?;
    }
    Ok(if hidden {
        message.hiding_bcc()
    } else {
        message
    })
}

/// A message that came by another way than frames, held to the same checks (A5.1). Further routing
/// keys are added to `keys`.
///
/// # Errors
/// 502 for octets that are no properties, and what the checks of a publish find.
pub fn compose(
    exchange: &[u8],
    routing_key: &[u8],
    properties: Bytes,
    body: Bytes,
    actor: &Actor,
    keys: &mut Vec<Bytes>,
) -> Result<Message, AmqpError> {
    let (properties, scan) = Properties::new(properties)?;
    let (raw, facts) = (properties.raw(), facts(&scan));
    let message = Message::from_parts(exchange, routing_key, raw, vec![body], facts);
    let message = check(message, &scan, keys)?;
    check_user_id(&message, &scan, actor)?;
    Ok(message)
}

/// The properties that a receiver of the message may see.
pub fn visible_properties(message: &Message) -> Properties {
    match message.hides_bcc() {
        true => without_bcc(message),
        false => Properties::trusted(message.properties_bytes()),
    }
}

/// The property user-id is the user's own name, unless it may speak for others (A5.6).
pub(super) fn check_user_id(
    message: &Message,
    scan: &PropertyScan,
    actor: &Actor,
) -> Result<(), AmqpError> {
    if !scan.has(Property::UserId) {
        return Ok(());
    }
    let properties = Properties::trusted(message.properties_bytes());
    match properties.user_id() {
        Some(claimed) if claimed != actor.user().as_bytes() && !actor.is_impersonator() => Err(
            AmqpError::user_id_mismatch(&String::from_utf8_lossy(claimed), actor.user()),
        ),
        _ => Ok(()),
    }
}

/// Digits with an optional sign, not negative, at most ten years (A5.7).
fn check_expiration(text: &[u8]) -> Result<(), AmqpError> {
    let text = String::from_utf8_lossy(text);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let sign = text.len() - unsigned.len();
    let (number, rest) = text.split_at_checked(sign + digits).unwrap_or((&text, ""));
    if digits == 0 {
        return Err(AmqpError::expiration_not_integer(&text));
    }
    if !rest.is_empty() {
        return Err(AmqpError::expiration_leftover(&text, rest));
    }
    match number.parse::<i64>() {
        Ok(ms) if ms < 0 => Err(AmqpError::expiration_negative(&text, number)),
        Ok(ms) if ms <= EXPIRY_MAX_MS => Ok(()),
        Err(_) if number.starts_with('-') => Err(AmqpError::expiration_negative(&text, number)),
        _ => Err(AmqpError::expiration_too_large(&text, number)),
    }
}

/// Adds the keys in a header. Whether the header is there.
fn extra_keys(headers: TableRef<'_>, name: &str, keys: &mut Vec<Bytes>) -> Result<bool, AmqpError> {
    match headers.get(name) {
        None => Ok(false),
        Some(Value::Array(array)) => {
            keys.extend(array.iter().filter_map(|value| match value {
                Value::LongStr(key) => Some(Bytes::copy_from_slice(key)),
                _ => None,
            }));
            Ok(true)
        }
        Some(other) => Err(AmqpError::unacceptable_header(name, other.type_name())),
    }
}

/// The properties that the receiver of a message may see, if it hides some.
#[cold]
pub(super) fn without_bcc(message: &Message) -> Properties {
    let properties = Properties::trusted(message.properties_bytes());
    let mut left = TableBuilder::new();
    for (name, value) in properties.headers().unwrap_or_default() {
        if name != BCC.as_bytes() {
            left.insert_raw(name, value);
        }
    }
    let left = left.finish();
    PropertyPatch::new().headers(left.view()).apply(&properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_7_expiration_is_a_count_of_milliseconds() {
        for fine in ["0", "60000", "+60000", "0060000", "315360000000"] {
            assert_eq!(check_expiration(fine.as_bytes()), Ok(()), "{fine}");
        }
        let fault = |text: &str| check_expiration(text.as_bytes()).unwrap_err().text;
        let about = "PRECONDITION_FAILED - invalid expiration";
        assert_eq!(fault("abc"), format!("{about} 'abc': no_integer"));
        assert_eq!(fault(""), format!("{about} '': no_integer"));
        assert_eq!(fault("-1"), format!("{about} '-1': {{value_negative,-1}}"));
        assert_eq!(
            fault("1.5"),
            format!("{about} '1.5': {{leftover_string,\".5\"}}")
        );
        assert!(fault("315360000001").contains("value_too_large"));
        assert!(fault("99999999999999999999999").contains("value_too_large"));
    }
}
