//! For load balancers and process managers; no credential needed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::problem::{Kind, Problem};

/// The process answers.
pub(super) async fn process() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// The database answers and takes writes, and nothing that could be sent is left waiting.
pub(super) async fn ready(State(api): App) -> Result<Response, Problem> {
    if let Err(error) = api.store.ping().await {
        tracing::warn!(%error, "not ready");
        return Err(Problem::new(Kind::Unavailable, "the database does not answer, or takes no writes"));
    }
    if let Some(trouble) = api.engine.trouble().await? {
        tracing::warn!(trouble, "not ready");
        return Err(Problem::new(Kind::Unavailable, trouble));
    }
    Ok(Json(json!({"status": "ready"})).into_response())
}
