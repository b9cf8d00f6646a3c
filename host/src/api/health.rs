//! Health checks for load balancers and process managers; they need no credential.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::ApiState;
use super::problem::{Problem, ProblemKind};
use crate::store::StoreError;

/// `GET /healthz`: 200 while the process answers.
pub(super) async fn process() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// `GET /readyz`: 200 while the database answers and accepts writes, and no delivery that could be sent is left waiting
/// too long; 503 otherwise.
pub(super) async fn ready(State(api): State<Arc<ApiState>>) -> Result<Response, Problem> {
    if let Err(error) = api.store.ping().await {
        tracing::warn!(%error, "not ready");
        let detail = match error {
            StoreError::Malformed => error.to_string(),
            _ => "the database does not answer, or takes no writes".into(),
        };
        return Err(Problem::new(ProblemKind::Unavailable, detail));
    }
    if let Some(trouble) = api.engine.trouble().await? {
        tracing::warn!(trouble, "not ready");
        return Err(Problem::new(ProblemKind::Unavailable, trouble));
    }
    Ok(Json(json!({"status": "ready"})).into_response())
}
