//! Sends a test event to a webhook.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::not_found;
use crate::api::ApiState;
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::deliveries::AttemptView;
use crate::api::params::PathParams;
use crate::api::problem::Problem;

/// `POST /webhooks/{id}/test`: sends a `ping` now; 200 with the attempt, whatever its result.
pub(in crate::api) async fn ping(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
) -> Result<Json<AttemptView>, Problem> {
    let webhook = api.store.webhook(&company, &id).await?.ok_or_else(not_found)?;
    Ok(Json(api.engine.pinger.ping(&webhook).await?.into()))
}
