//! Errors as the API shows them: RFC 9457 problem details, and the one table of what is which status.
//!
//! Whatever a caller can mend is told in full, with a pointer to the place. What only an operator can mend is logged in
//! full and told in general.

use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::Invalid;
use crate::store::StoreError;
use crate::telemetry::Seldom;

/// The challenge to who gave no credential.
const BEARER: &str = "Bearer realm=\"posthaste\"";

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Malformed,
    /// There is no credential.
    Credential,
    /// There is one, and it opens nothing.
    Refused,
    /// There were many of these.
    Attempts,
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
    Full,
}

/// What a response says in its extensions when it is a problem: the word for its kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reason(pub(super) &'static str);

impl Kind {
    /// The status table: status, `type` (after `urn:posthaste:problem:`) and `title`.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::Credential | Self::Refused => {
                (StatusCode::UNAUTHORIZED, "credential", "A valid credential is needed")
            }
            Self::Attempts => (StatusCode::TOO_MANY_REQUESTS, "too-many-failures", "Too many wrong credentials"),
            Self::Scope => (StatusCode::FORBIDDEN, "forbidden", "This credential does not allow it"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not supported here"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Something else stands in the way"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request did not arrive in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "This kind of body is not supported"),
            Self::Rule => (StatusCode::UNPROCESSABLE_ENTITY, "broken-rule", "The request breaks a rule"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong inside"),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "full", "There is no room to store it"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot do this now"),
        }
    }
}

/// While the database is away every request fails at it.
static SAID: LazyLock<Seldom> = LazyLock::new(Seldom::default);

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

    /// Whether it is about the credential (401).
    pub(super) fn is_about_credential(&self) -> bool {
        matches!(self.kind, Kind::Credential | Kind::Refused)
    }

    /// The same, for an address that has had many of these.
    pub(super) fn too_often(self) -> Self {
        let detail =
            format!("too many requests with a wrong credential came from this address; of this one: {}", self.detail);
        Self { kind: Kind::Attempts, detail, ..self }
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
            StoreError::Full => {
                Self::new(Kind::Full, "the disk is full; nothing was stored: make room, or try again later")
            }
            StoreError::NotCommitted | StoreError::Closed => {
                Self::new(Kind::Unavailable, format!("{error}; nothing was stored, try again"))
            }
            StoreError::Unanswered => Self::new(
                Kind::Unavailable,
                format!("{error}, so it may be stored or not; try again, an event with the same `id`"),
            ),
            StoreError::Setup(_) | StoreError::Database(_) => {
                SAID.warn("requests fail at the database", &error);
                Self::new(Kind::Unavailable, "the database did not answer as it should; try again")
            }
        }
    }
}

impl Problem {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The word for its kind, the last of its `type`.
    pub(super) fn reason(&self) -> &'static str {
        self.kind.row().1
    }

    /// The problem object (RFC 9457 §3).
    pub(super) fn object(&self) -> Value {
        let (status, kind, title) = self.kind.row();
        let mut object = json!({
            "type": format!("urn:posthaste:problem:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let (false, Some(object)) = (self.errors.is_empty(), object.as_object_mut()) {
            let error = |error: &Invalid| json!({"pointer": error.pointer, "detail": error.detail});
            object.insert("errors".into(), self.errors.iter().map(error).collect());
        }
        object
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let ((status, ..), reason) = (self.kind.row(), self.reason());
        let mut response = (status, self.object().to_string()).into_response();
        response.extensions_mut().insert(Reason(reason));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            Kind::Credential => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(BEARER));
            }
            Kind::Refused => {
                headers.insert(header::WWW_AUTHENTICATE, invalid_token(&self.detail));
            }
            Kind::Unavailable | Kind::Full | Kind::Attempts => {
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

/// RFC 6750 §3: what is wrong with the token that was given, in the characters that stand there between quotes.
fn invalid_token(detail: &str) -> HeaderValue {
    let plain = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    let description: String = detail.chars().map(plain).collect();
    let text = format!("Bearer realm=\"posthaste\", error=\"invalid_token\", error_description=\"{description}\"");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(BEARER))
}
