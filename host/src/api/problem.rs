//! Errors as the API shows them: problem details (RFC 9457), and the one table of statuses.
//!
//! The answer describes every error that the caller can correct in full, with a pointer to its place. An error that
//! only an operator can correct is logged in full, and the answer describes it in general terms.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::Invalid;
use crate::domain::company_limit::CompanyLimit;
use crate::domain::hops::HOPS_HEADER;
use crate::shares::ShareExceeded;
use crate::store::StoreError;
use crate::telemetry::ThrottledLog;

/// The challenge for a request without a credential (RFC 6750 §3).
const BEARER_CHALLENGE: &str = "Bearer realm=\"posthaste\"";

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProblemKind {
    Malformed,
    MissingCredential,
    /// A credential that is unknown, revoked, expired or not valid here.
    InvalidCredential,
    /// More failed authentications from one address than [`super::AuthFailureLimiter`] allows.
    AuthRateLimited,
    Scope,
    NotFound,
    Method,
    Conflict,
    TooSlow,
    TooLarge,
    MediaType,
    /// A broken rule: in the body, the query or the state that the request assumes.
    Rule,
    /// A limit of one company; the limits of the whole process are [`Self::Unavailable`].
    CompanyLimit,
    /// The request is the result of too many others.
    Loop,
    Internal,
    Unavailable,
    DiskFull,
}

/// The last word of a problem's `type`, as an extension of the response: for the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProblemReason(pub(super) &'static str);

/// A row of the status table.
struct StatusRow {
    status: StatusCode,
    /// `type`, after `urn:posthaste:problem:`.
    reason: &'static str,
    title: &'static str,
}

impl ProblemKind {
    /// Returns the row of the status table.
    fn row(self) -> StatusRow {
        let (status, reason, title) = match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::MissingCredential | Self::InvalidCredential => {
                (StatusCode::UNAUTHORIZED, "credential", "A valid credential is required")
            }
            Self::AuthRateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-failures", "Too many failed authentications")
            }
            Self::Scope => (StatusCode::FORBIDDEN, "forbidden", "The credential does not permit this"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "The method is not supported here"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The request conflicts with the current state"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too-slow", "The request did not arrive in time"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::MediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body's media type or encoding is not supported")
            }
            Self::Rule => (StatusCode::UNPROCESSABLE_ENTITY, "broken-rule", "The request breaks a rule"),
            Self::CompanyLimit => (StatusCode::TOO_MANY_REQUESTS, "limit", "A limit of the company is reached"),
            Self::Loop => (StatusCode::LOOP_DETECTED, "loop", "Webhooks lead in a circle"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "full", "The disk is full"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service cannot do this now"),
        };
        StatusRow { status, reason, title }
    }
}

/// While the database is unreachable, every request fails at it.
static DATABASE_WARNINGS: LazyLock<ThrottledLog> = LazyLock::new(ThrottledLog::default);

/// An error that is answered as problem details.
#[derive(Debug)]
pub(super) struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<Invalid>,
    /// The name of the company's limit and when to try again, for [`ProblemKind::CompanyLimit`].
    limit: Option<(&'static str, Duration)>,
}

impl Problem {
    /// Makes a problem without pointers. `detail` is for people: the cause and its correction.
    pub(super) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), limit: None }
    }

    /// Makes a problem of the rules that the body breaks, at least one.
    pub(super) fn invalid(errors: Vec<Invalid>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.pointer.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.pointer, only.detail),
            many => format!("{} fields break a rule", many.len()),
        };
        Self { kind: ProblemKind::Rule, detail, errors, limit: None }
    }

    /// Returns the kind.
    #[cfg(test)]
    pub(super) fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// Whether the credential is missing or invalid (401).
    pub(super) fn is_about_credential(&self) -> bool {
        matches!(self.kind, ProblemKind::MissingCredential | ProblemKind::InvalidCredential)
    }

    /// Turns a 401 into a 429, for an address with too many of them.
    pub(super) fn rate_limited(self) -> Self {
        let detail = format!("too many failed authentications from this address; this request: {}", self.detail);
        Self { kind: ProblemKind::AuthRateLimited, detail, ..self }
    }

    /// Returns the last word of the problem's `type`.
    pub(super) fn reason(&self) -> &'static str {
        self.kind.row().reason
    }

    /// Returns the problem object (RFC 9457 §3).
    pub(super) fn object(&self) -> Value {
        let StatusRow { status, reason, title } = self.kind.row();
        let mut object = json!({
            "type": format!("urn:posthaste:problem:{reason}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let (false, Some(object)) = (self.errors.is_empty(), object.as_object_mut()) {
            let error = |error: &Invalid| json!({"pointer": error.pointer, "detail": error.detail});
            object.insert("errors".into(), self.errors.iter().map(error).collect());
        }
        if let (Some((name, _)), Some(object)) = (self.limit, object.as_object_mut()) {
            object.insert("limit".into(), name.into());
        }
        object
    }
}

impl From<CompanyLimit> for Problem {
    fn from(CompanyLimit { name, detail, retry_after }: CompanyLimit) -> Self {
        Self { limit: Some((name, retry_after)), ..Self::new(ProblemKind::CompanyLimit, detail) }
    }
}

impl From<ShareExceeded> for Problem {
    fn from(exceeded: ShareExceeded) -> Self {
        match exceeded.own {
            true => CompanyLimit::from(exceeded).into(),
            // Nothing that the company itself has would make room.
            false => Self::new(ProblemKind::Unavailable, exceeded.to_string()),
        }
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
            StoreError::Limit(limit) => limit.into(),
            StoreError::Rule(error) => error.into(),
            StoreError::InUse(text) => Self::new(ProblemKind::Conflict, text),
            StoreError::Changed(text) => {
                Self::new(ProblemKind::Conflict, format!("{text}; nothing was changed, try again"))
            }
            StoreError::Full => {
                let detail = "the disk is full; nothing was stored: make room, or try again later";
                Self::new(ProblemKind::DiskFull, detail)
            }
            // What is read after a change may show the damage first: the change may be stored.
            StoreError::Malformed => Self::new(ProblemKind::Unavailable, error.to_string()),
            StoreError::NotCommitted | StoreError::Closed => {
                Self::new(ProblemKind::Unavailable, format!("{error}; nothing was stored, try again"))
            }
            StoreError::Unanswered => Self::new(
                ProblemKind::Unavailable,
                format!("{error}, so it may or may not be stored; try again, and send an event with the same `id`"),
            ),
            StoreError::TooSlow => {
                let detail = "the database took longer for this request than it may, and stopped: ask for less, for \
                              example a shorter time with `since` and `until`, one `type`, or a smaller `limit`";
                Self::new(ProblemKind::Unavailable, detail)
            }
            StoreError::Setup(_) | StoreError::Database(_) => {
                DATABASE_WARNINGS.warn("requests fail at the database", &error);
                Self::new(ProblemKind::Unavailable, "the database failed to answer the request; try again")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let StatusRow { status, reason, .. } = self.kind.row();
        let mut response = (status, self.object().to_string()).into_response();
        response.extensions_mut().insert(ProblemReason(reason));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            ProblemKind::MissingCredential => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(BEARER_CHALLENGE));
            }
            ProblemKind::InvalidCredential => {
                headers.insert(header::WWW_AUTHENTICATE, invalid_token(&self.detail));
            }
            ProblemKind::Unavailable | ProblemKind::DiskFull | ProblemKind::AuthRateLimited => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            ProblemKind::CompanyLimit => {
                let seconds = self.limit.map_or(1, |(_, retry_after)| retry_after.as_secs().max(1));
                headers.insert(header::RETRY_AFTER, seconds.into());
            }
            // By which a Posthaste that sent the request knows that it is meant.
            ProblemKind::Loop => {
                headers.insert(HOPS_HEADER, HeaderValue::from_static("too-many"));
            }
            // The rest of the body is not read, so the connection cannot be used again.
            ProblemKind::TooSlow | ProblemKind::TooLarge => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => (),
        }
        response
    }
}

/// Makes the challenge that describes an invalid token (RFC 6750 §3), in the characters that a quoted string may hold
/// there.
fn invalid_token(detail: &str) -> HeaderValue {
    let allowed = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        ' '..='~' => c,
        _ => '?',
    };
    let description: String = detail.chars().map(allowed).collect();
    let text = format!("Bearer realm=\"posthaste\", error=\"invalid_token\", error_description=\"{description}\"");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(BEARER_CHALLENGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(response: &Response, name: header::HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn each_kind_sends_the_headers_that_its_status_needs() {
        for (kind, name, value) in [
            (ProblemKind::MissingCredential, header::WWW_AUTHENTICATE, "Bearer realm=\"posthaste\""),
            (ProblemKind::AuthRateLimited, header::RETRY_AFTER, "1"),
            (ProblemKind::Unavailable, header::RETRY_AFTER, "1"),
            (ProblemKind::DiskFull, header::RETRY_AFTER, "1"),
            (ProblemKind::TooSlow, header::CONNECTION, "close"),
            (ProblemKind::TooLarge, header::CONNECTION, "close"),
            (ProblemKind::Rule, header::RETRY_AFTER, ""),
            (ProblemKind::Scope, header::WWW_AUTHENTICATE, ""),
        ] {
            let response = Problem::new(kind, "d").into_response();
            assert_eq!(header(&response, header::CONTENT_TYPE), "application/problem+json");
            assert_eq!(header(&response, name), value, "{kind:?}");
        }
    }

    #[test]
    fn a_company_limit_is_named_and_says_when_to_try_again() {
        for (limit, seconds) in [
            (CompanyLimit::in_progress("uploads", "d".into()), "1"),
            (CompanyLimit::stored("uploads", "d".into()), "60"),
        ] {
            let problem = Problem::from(limit);
            let object = problem.object();
            assert_eq!((&object["status"], &object["limit"]), (&json!(429), &json!("uploads")));
            assert_eq!(header(&problem.into_response(), header::RETRY_AFTER), seconds);
        }
        assert_eq!(Problem::new(ProblemKind::Rule, "d").object().get("limit"), None);
    }

    #[test]
    fn the_challenge_for_an_invalid_token_stays_a_quoted_string() {
        let response = Problem::new(ProblemKind::InvalidCredential, "a \"b\" \\ é\n").into_response();
        assert!(header(&response, header::WWW_AUTHENTICATE).ends_with("error_description=\"a 'b' / ??\""));
    }

    #[test]
    fn only_a_401_is_about_the_credential() {
        for kind in [ProblemKind::MissingCredential, ProblemKind::InvalidCredential] {
            let problem = Problem::new(kind, "d");
            assert!(problem.is_about_credential());
            let limited = problem.rate_limited();
            assert_eq!((limited.kind(), limited.is_about_credential()), (ProblemKind::AuthRateLimited, false));
            assert!(limited.object()["detail"].as_str().unwrap().ends_with(": d"));
        }
        assert!(!Problem::new(ProblemKind::Scope, "d").is_about_credential());
    }

    #[test]
    fn errors_point_to_their_places() {
        let one = Problem::from(Invalid::at("/a", "x")).object();
        assert_eq!((&one["detail"], &one["errors"][0]["pointer"]), (&json!("/a: x"), &json!("/a")));
        assert_eq!(Problem::from(Invalid::at("", "x")).object()["detail"], "x");
        let two = Problem::invalid(vec![Invalid::at("/a", "x"), Invalid::at("/b", "y")]).object();
        assert_eq!((&two["detail"], two["errors"].as_array().unwrap().len()), (&json!("2 fields break a rule"), 2));
        assert_eq!(Problem::new(ProblemKind::Rule, "d").object().get("errors"), None);
    }
}
