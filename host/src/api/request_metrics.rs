//! Request metrics, and `GET /metrics`, which needs no credential.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use tokio::time::Instant;

use super::ApiState;
use super::problem::ProblemReason;
use crate::metrics::CONTENT_TYPE;

/// The paths of the calls that publish. [`super::events`] counts the refused lines of a batch itself.
const PUBLISHING_PATHS: [&str; 2] = ["/api/v1/events", "/api/v1/events/batch"];

/// `GET /metrics`: the metrics in the text format of Prometheus.
pub(super) async fn scrape(State(api): State<Arc<ApiState>>) -> Response {
    api.metrics.writer_queue(api.store.writer_queue());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.text()).into_response()
}

/// Counts a request once it is answered and, if it was to publish, its refusal. The refusal is counted here because a
/// request with an invalid credential never reaches a handler.
pub(super) async fn count_request(State(api): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let publishes = method == Method::POST && PUBLISHING_PATHS.contains(&request.uri().path());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let begun = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map(MatchedPath::as_str);
    api.metrics.request_answered(&method, route, response.status(), begun.elapsed());
    if let (true, Some(ProblemReason(reason))) = (publishes, response.extensions().get()) {
        api.metrics.event_refused(reason);
    }
    response
}
