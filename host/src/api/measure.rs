//! What is measured here, and `GET /metrics`; no credential needed.

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::Reason;
use crate::metrics::CONTENT_TYPE;

/// Where events come in. What is wrong with one line of a batch, [`super::events`] counts itself.
const PUBLISHING: [&str; 2] = ["/api/v1/events", "/api/v1/events/batch"];

/// `GET /metrics`: what Prometheus reads.
pub(super) async fn scrape(State(api): App) -> Response {
    api.metrics.writer_queue(api.store.writer_queue());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.text()).into_response()
}

/// Counts a request once it is answered, and the event that it did not get stored: here, because who is not let in
/// never reaches a handler.
pub(super) async fn count(State(api): App, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let publishes = method == Method::POST && PUBLISHING.contains(&request.uri().path());
    let response = next.run(request).await;
    api.metrics.request_answered(&method, response.status());
    if let (true, Some(Reason(reason))) = (publishes, response.extensions().get()) {
        api.metrics.event_refused(reason);
    }
    response
}
