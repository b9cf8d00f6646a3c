//! Attempts one delivery again now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::webhook_now::webhook_now;
use super::{DeliveryView, not_found};
use crate::api::ApiState;
use crate::api::auth::{Authorized, DeliveriesWrite};
use crate::api::params::PathParams;
use crate::api::problem::{Problem, ProblemKind};
use crate::store::RetryRequest;

/// `POST /deliveries/{id}/retry`: 202 with the delivery; 409 if nobody subscribes to its type any more or the data was erased, 429 if it was sent
/// again too often.
pub(in crate::api) async fn retry(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<DeliveriesWrite>,
    PathParams(id): PathParams<String>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let delivery = api.store.delivery_record(&company, &id).await?.ok_or_else(not_found)?;
    let Some(webhook) = webhook_now(&api.store, &delivery).await? else {
        let detail = format!("nobody subscribes to `{}` any more; subscribe first", delivery.event_type);
        return Err(Problem::new(ProblemKind::Conflict, detail));
    };
    if matches!(api.engine.manual_retry.retry(&company, &id, &webhook).await?, RetryRequest::Missing) {
        return Err(not_found());
    }
    let delivery = api.store.delivery_record(&company, &id).await?.ok_or_else(not_found)?;
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::new(&api, delivery))))
}
