//! Errors as the API shows them: RFC 9457 problem details, and the one table of what is which status.
//!
//! Whatever a caller can mend is told in full, with a pointer to the place. What only an operator can mend is logged in
//! full and told in general.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::Invalid;
use crate::store::StoreError;

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    Credential,
    Scope,
    NotFound,
    Method,
    Conflict,
    Slow,
    TooLarge,
    MediaType,
    Rule,
    Internal,
    Unavailable,
}

/// What a response says in its extensions when it is a problem: the word for its kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reason(pub(super) &'static str);

impl Kind {
    /// The status table: status, `type` (after `urn:posthaste:problem:`) and `title`.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::Credential => (StatusCode::UNAUTHORIZED, "credential", "A valid credential is needed"),
            Self::Scope => (StatusCode::FORBIDDEN, "forbidden", "This credential does not allow it"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not supported here"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Something else stands in the way"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request did not arrive in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "This kind of body is not supported"),
            Self::Rule => (StatusCode::UNPROCESSABLE_ENTITY, "broken-rule", "The request breaks a rule"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong inside"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot do this now"),
        }
    }
}

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<Invalid>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new() }
    }

    /// Broken rules in the body, at least one.
    pub(super) fn invalid(errors: Vec<Invalid>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            many => format!("{} fields break a rule", many.len()),
        };
        Self { kind: Kind::Rule, detail, errors }
    }
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        Self::invalid(vec![error])
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Limit(text) => Self::new(Kind::Rule, text),
            StoreError::InUse(text) => Self::new(Kind::Conflict, text),
            StoreError::Changed(text) => Self::new(Kind::Conflict, format!("{text}; nothing was changed, try again")),
            StoreError::NotCommitted | StoreError::Closed => {
                Self::new(Kind::Unavailable, format!("{error}; nothing was stored, try again"))
            }
            StoreError::Setup(_) | StoreError::Database(_) => {
                tracing::error!(%error, "a request failed at the database");
                Self::new(Kind::Unavailable, "the database did not answer as it should; try again")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, kind, title) = self.kind.row();
        let mut body = json!({
            "type": format!("urn:posthaste:problem:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let (false, Some(object)) = (self.errors.is_empty(), body.as_object_mut()) {
            let error = |error: &Invalid| json!({"pointer": error.pointer, "detail": error.detail});
            object.insert("errors".into(), self.errors.iter().map(error).collect());
        }
        let mut response = (status, body.to_string()).into_response();
        response.extensions_mut().insert(Reason(kind));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            Kind::Credential => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"posthaste\""));
            }
            Kind::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // The rest of the body is not read, so the connection cannot be used again.
            Kind::Slow | Kind::TooLarge => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => (),
        }
        response
    }
}
