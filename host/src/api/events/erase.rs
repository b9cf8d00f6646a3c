//! Erases the data of events.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::api::ApiState;
use crate::api::auth::{Authorized, EventsWrite};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::domain::time::rfc3339;

#[derive(Serialize)]
pub(in crate::api) struct ErasedView {
    id: String,
    erased_at: String,
}

/// `DELETE /events/{id}`: 200 once the data is erased, and each time after that.
pub(in crate::api) async fn erase(
    State(api): State<Arc<ApiState>>,
    Authorized { company, credential, .. }: Authorized<EventsWrite>,
    PathParams(id): PathParams<String>,
) -> Result<Json<ErasedView>, Problem> {
    let erased = api.engine.eraser.erase_one(&company, &id, credential.name()).await?;
    let not_found = || Problem::new(ProblemKind::NotFound, "this company has no event with that id");
    Ok(Json(ErasedView { id, erased_at: rfc3339(erased.ok_or_else(not_found)?.erased_at) }))
}
