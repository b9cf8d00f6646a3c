//! Tracing spans, so that all log lines of one request, or of one published event, can be found.
//!
//! Spans never hold bodies, credentials, signing secrets or query strings.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::ApiState;
use crate::delivery::NewEvent;

/// Names a request in the log, and in its answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that a span holds, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// Runs a request in its span, and puts its id into the answer.
pub(super) async fn trace_request(State(api): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let given = request_id(request.headers()).map(ToOwned::to_owned);
    let id = given.unwrap_or_else(|| api.engine.ids.next("req", api.clock.now_ms()));
    let span = request_span(&request, &id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Makes the span `request`. The route is its pattern: a path may hold names, a query anything.
fn request_span(request: &Request, request_id: &str) -> Span {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    info_span!("request", method = request.method().as_str(), route, request_id, company = Empty)
}

/// Returns the id that the client, or a proxy before this service, gave to the request. It goes into the log, so any
/// text that could pass for more than one word is left out.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some(id)
}

/// Adds the company to the request's span, once it is known.
pub(super) fn record_company(company: &str) {
    Span::current().record("company", company);
}

/// Makes the span `publish`. `event` is the producer's id, if it gave one.
pub(super) fn publish_span(event: &NewEvent) -> Span {
    info_span!(
        "publish",
        company = event.company.as_str(),
        event_type = event.event_type.as_str(),
        event = event.id.as_deref()
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tracing_subscriber::fmt::format::FmtSpan;

    use super::*;
    use crate::telemetry::log_buffer::LogBuffer;

    #[test]
    fn only_a_short_plain_request_id_is_logged() {
        let id = |text: &str| {
            let headers = HeaderMap::from_iter([(
                "x-request-id".parse().unwrap(),
                HeaderValue::from_bytes(text.as_bytes()).unwrap(),
            )]);
            request_id(&headers).map(ToOwned::to_owned)
        };
        for good in ["7", "01JABC-def_0", &"x".repeat(MAX_REQUEST_ID)] {
            assert_eq!(id(good).as_deref(), Some(good));
        }
        for bad in ["", "a b", "a\tb", "é", &"x".repeat(MAX_REQUEST_ID + 1)] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
        assert_eq!(request_id(&HeaderMap::new()), None);
    }

    #[test]
    fn span_of_a_request_holds_neither_its_path_nor_its_query() {
        let (log, request) = (LogBuffer::default(), Request::get("/api/v1/webhooks/wh_1?cursor=secret"));
        let request = request.body(Body::empty()).unwrap();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_span_events(FmtSpan::NEW).with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || drop(request_span(&request, "7")));
        let text = log.text();
        assert!(text.contains(r#"request{method="GET" request_id="7"}"#), "{text}");
    }
}
