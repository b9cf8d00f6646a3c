//! Recomputes the body that a delivery sent, or would send.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::not_found;
use super::webhook_now::webhook_now;
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesRead};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::api::turns::heavy_call;
use crate::delivery::Preview;

/// `GET /deliveries/{id}/transformed`: the bytes themselves; 204 if the plugin drops the event, 409 if there is nothing
/// that can be sent, or the data was erased.
pub(in crate::api) async fn transformed(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesRead>,
    PathParams(id): PathParams<String>,
) -> Result<Response, Problem> {
    let _turn = heavy_call(&api, &company, None).await?;
    let (delivery, event, attempts) = api.store.delivery(&company, &id).await?.ok_or_else(not_found)?;
    if delivery.erased_at.is_some() {
        let detail = "the data of this delivery's event was erased: there is nothing left to transform";
        return Err(Problem::new(ProblemKind::Conflict, detail));
    }
    let webhook = webhook_now(&api.store, &delivery).await?;
    match api.engine.previewer.preview(Arc::new(event), &attempts, webhook.as_deref()).await {
        Preview::Body(body, content_type) => Ok(([(header::CONTENT_TYPE, content_type)], body).into_response()),
        Preview::Dropped => Ok(StatusCode::NO_CONTENT.into_response()),
        Preview::PluginFails(why) => {
            Err(Problem::new(ProblemKind::Conflict, format!("this delivery cannot be sent: {why}")))
        }
        Preview::NoWebhook => {
            let detail = "this delivery was never sent, and nobody subscribes to its type now";
            Err(Problem::new(ProblemKind::Conflict, detail))
        }
    }
}
