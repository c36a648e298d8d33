//! Errors as `application/problem+json` (RFC 9457). A problem is told in words, without
//! anything from inside the program.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use plugin_host::AdmissionError;
use plugin_host::check::Refused;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::store::StoreError;

#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// For programs, e.g. `plugin_refused`.
    pub(super) code: &'static str,
    /// For people.
    pub(super) detail: String,
    /// Seconds.
    pub(super) retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Problem {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Also for what belongs to somebody else.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path has no such method",
        )
    }

    pub(super) fn unauthorized() -> Self {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "give a valid token: `Authorization: Bearer TOKEN`",
        )
    }

    pub(super) fn forbidden(scope: &str) -> Self {
        Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("the token has no scope `{scope}`"),
        )
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Problem {
            retry_after: Some(1),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "concurrency_exceeded",
                detail,
            )
        }
    }

    /// What a status says that somebody else chose.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
            status if status.is_server_error() => "internal",
            _ => "bad_request",
        };
        Problem::new(
            status,
            code,
            status
                .canonical_reason()
                .unwrap_or("the request cannot be served")
                .to_lowercase(),
        )
    }

    pub(super) fn to_json(&self, correlation_id: &str) -> Value {
        json!({
            "type": format!("urn:gatepost:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "correlation_id": correlation_id,
        })
    }
}

/// The body is written by `edge`, which knows the correlation id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the database failed a request");
        let problem = Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "the database does not answer",
        );
        Problem {
            retry_after: Some(5),
            ..problem
        }
    }
}

impl From<AdmissionError> for Problem {
    fn from(error: AdmissionError) -> Self {
        let detail = error.to_string();
        match error {
            AdmissionError::Refused(Refused::TooLarge { .. }) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
            }
            AdmissionError::Refused(_)
            | AdmissionError::Compile(_)
            | AdmissionError::CompileLimit(_)
            | AdmissionError::Instantiate(_)
            | AdmissionError::Trial(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "plugin_refused", detail)
            }
            AdmissionError::Settings(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_settings", detail)
            }
            AdmissionError::Unknown { .. } => Problem::not_found(detail),
            AdmissionError::Conflict(_) => Problem::conflict("conflict", detail),
            AdmissionError::Store(_) => {
                tracing::error!(%detail, "an upload cannot be kept");
                let problem = Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "storage_unavailable",
                    "the file cannot be kept: look at the host's log",
                );
                Problem {
                    retry_after: Some(30),
                    ..problem
                }
            }
        }
    }
}
