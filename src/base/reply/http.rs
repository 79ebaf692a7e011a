//! What the HTTP API answers instead of a result (A12): the status, and the texts `error` and
//! `reason` of the body.
//!
//! RabbitMQ prints some reasons as arrays of Erlang terms; here each is one text, as its clients
//! expect.

use super::{AmqpError, ReplyCode};

/// A fault as an HTTP client sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {error}: {reason}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// What kind of fault it is.
    pub error: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl ApiError {
    fn new(status: u16, error: &'static str, reason: impl Into<String>) -> Self {
        ApiError {
            status,
            error,
            reason: reason.into(),
        }
    }

    /// There is no such path or object.
    pub fn not_found() -> Self {
        Self::new(404, "Object Not Found", "Not Found")
    }

    /// RabbitMQ has it, Warren does not.
    pub fn absent(what: &str) -> Self {
        Self::new(404, "Object Not Found", format!("Warren has no {what}"))
    }

    /// A request to change something in a vhost that does not exist.
    pub fn no_vhost() -> Self {
        Self::new(404, "not_found", "vhost_not_found")
    }

    /// No user and password were sent.
    pub fn no_credentials() -> Self {
        Self::new(401, "not_authorized", "No credentials were given")
    }

    /// The user is unknown, the password wrong, or the user may not log in from there.
    pub fn login_failed() -> Self {
        Self::new(401, "not_authorized", "Login failed")
    }

    /// The user lacks a tag (A10).
    pub fn not_tagged(level: &str) -> Self {
        Self::not_authorised(format!("Not {level} user"))
    }

    /// The user has no permission in the vhost.
    pub fn not_vhost_user() -> Self {
        Self::not_authorised("User not authorised to access virtual host")
    }

    /// The user may see the thing but not do this to it.
    pub fn not_object_user() -> Self {
        Self::not_authorised("User not authorised to access object")
    }

    fn not_authorised(reason: impl Into<String>) -> Self {
        Self::new(401, "not_authorised", reason)
    }

    /// The request is wrong in a way that `reason` says.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(400, "bad_request", reason)
    }

    /// The thing is protected from what is asked.
    pub fn precondition_failed(reason: impl Into<String>) -> Self {
        Self::new(412, "precondition_failed", reason)
    }

    /// The body is no JSON object.
    pub fn not_json() -> Self {
        Self::bad_request("not_json")
    }

    /// Fields that must be there are not.
    pub fn keys_missing(keys: &[&str]) -> Self {
        let missing: Vec<_> = keys
            .iter()
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        Self::bad_request(format!("[{}]", missing.join(",")))
    }

    /// A field has a value of another type than `wanted`, such as `boolean`.
    pub fn wrong_type(field: &str, wanted: &str) -> Self {
        Self::bad_request(format!("{field} is not_{wanted}"))
    }

    /// A field has a value that nothing is known of.
    pub fn unknown_value(field: &str, value: &str) -> Self {
        Self::bad_request(format!("unknown {field}: {value}"))
    }

    /// A text that is no base64.
    pub fn not_base64(field: &str) -> Self {
        Self::bad_request(format!("{field} is not_base64"))
    }

    /// Page or page size are no numbers, or the name filter is no regular expression.
    pub fn page_parameters() -> Self {
        Self::bad_request("Pagination parameters are invalid")
    }

    /// Page or page size are out of their ranges.
    pub fn page_range(page: u64, page_size: Option<u64>) -> Self {
        let size = page_size.map_or("undefined".to_owned(), |size| size.to_string());
        Self::new(
            400,
            "invalid_pagination_parameters",
            format!("Invalid pagination parameters: page number {page}, page size {size}"),
        )
    }

    /// There are fewer pages.
    pub fn no_such_page(page: usize, page_size: usize, len: usize) -> Self {
        Self::new(
            400,
            "page_out_of_range",
            format!("Page out of range, page: {page} page size: {page_size}, len: {len}"),
        )
    }

    /// The body is larger than allowed.
    pub fn body_too_large(max: usize) -> Self {
        Self::new(
            413,
            "payload_too_large",
            format!("Exceeded HTTP request body size limit of {max} bytes"),
        )
    }

    /// The request's body did not come in time, or the answer was not there in time.
    pub fn timeout() -> Self {
        Self::new(408, "request_timeout", "The request took too long")
    }

    /// Neither `auto` nor `base64`.
    pub fn get_encoding() -> Self {
        Self::bad_request("Unsupported encoding. Please use auto or base64.")
    }

    /// A publish fails as it would on a channel: RabbitMQ shows the code, too.
    pub fn publish(fault: &AmqpError) -> Self {
        match fault.code {
            ReplyCode::AccessRefused => Self::access_refused(),
            code => Self::bad_request(format!("{} {}", code as u16, fault.text)),
        }
    }

    fn access_refused() -> Self {
        Self::not_authorised("Access refused.")
    }
}

/// A fault of the broker, as RabbitMQ's API shows those of a channel.
impl From<AmqpError> for ApiError {
    fn from(fault: AmqpError) -> Self {
        let (_, reason) = fault.text.split_once(" - ").unwrap_or(("", &fault.text));
        match fault.code {
            ReplyCode::NotFound => Self::new(404, "not_found", reason),
            ReplyCode::AccessRefused => Self::access_refused(),
            ReplyCode::InternalError => Self::new(500, "internal_error", reason),
            _ => Self::bad_request(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Name;

    #[test]
    fn a12_faults_of_the_broker_keep_their_reason() {
        let (queue, vhost) = (Name::from("q"), Name::from("/"));
        let fault = ApiError::from(AmqpError::no_queue(&queue, &vhost));
        assert_eq!((fault.status, fault.error), (404, "not_found"));
        assert_eq!(fault.reason, "no queue 'q' in vhost '/'");
        let fault = ApiError::publish(&AmqpError::no_exchange(&queue, &vhost));
        assert_eq!(fault.reason, "404 NOT_FOUND - no exchange 'q' in vhost '/'");
        let fault = ApiError::from(AmqpError::reserved_queue_prefix(&queue));
        assert_eq!(
            (fault.status, fault.reason.as_str()),
            (401, "Access refused.")
        );
    }

    #[test]
    fn a12_missing_keys_are_listed_as_rabbitmq_does() {
        assert_eq!(
            ApiError::keys_missing(&["count", "ackmode"]).reason,
            "[{key_missing,count},{key_missing,ackmode}]"
        );
    }
}
