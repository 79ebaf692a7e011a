//! Faults as HTTP answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::base::AmqpError;
use crate::base::reply::ApiError;
use crate::broker::ChangeError;
use crate::broker::definitions::ImportError;
use crate::broker::parameters::ParameterError;
use crate::broker::policies::PolicyError;

/// Browsers ask for a password when they read this.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Warren Management\"");

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Json(json!({ "error": self.error, "reason": self.reason }));
        let mut response = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}

impl From<ChangeError> for ApiError {
    fn from(fault: ChangeError) -> Self {
        let text = fault.to_string();
        match fault {
            ChangeError::NoUser(_) | ChangeError::NoVhost(_) | ChangeError::Name => {
                ApiError::bad_request(text)
            }
            ChangeError::Protected(_) => ApiError::precondition_failed(text),
            ChangeError::Log => AmqpError::internal().into(),
        }
    }
}

impl From<ImportError> for ApiError {
    fn from(fault: ImportError) -> Self {
        ApiError::bad_request(fault.to_string())
    }
}

impl From<ParameterError> for ApiError {
    fn from(fault: ParameterError) -> Self {
        match fault {
            ParameterError::Log(fault) => fault.into(),
            other => ApiError::bad_request(other.to_string()),
        }
    }
}

impl From<PolicyError> for ApiError {
    fn from(fault: PolicyError) -> Self {
        match fault {
            PolicyError::Invalid(fault) => ApiError::bad_request(fault.to_string()),
            PolicyError::Refused(fault) => fault.into(),
        }
    }
}
