//! Shows a webhook's signing secret.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use serde::Serialize;

use super::not_found;
use crate::api::ApiState;
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::params::PathParams;
use crate::api::problem::Problem;
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::outbound::sign;

#[derive(Serialize)]
pub(in crate::api) struct SecretView {
    signing_secret: String,
    /// The secret before it, and until when it signs too, if it does.
    #[serde(flatten)]
    previous: Option<PreviousSecretView>,
}

#[derive(Serialize)]
struct PreviousSecretView {
    previous_signing_secret: String,
    previous_until: String,
}

impl SecretView {
    /// `now` is in milliseconds since 1970.
    fn new(webhook: &Webhook, now: i64) -> Self {
        let previous = webhook.previous_secret.as_ref().filter(|previous| now < previous.until);
        Self {
            signing_secret: sign::show_secret(&webhook.signing_secret),
            previous: previous.map(|previous| PreviousSecretView {
                previous_signing_secret: sign::show_secret(&previous.secret),
                previous_until: rfc3339(previous.until),
            }),
        }
    }
}

/// `GET /webhooks/{id}/secret`. It needs the scope for changes: who knows the secret can send in the service's name.
pub(in crate::api) async fn secret(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
) -> Result<([(HeaderName, &'static str); 1], Json<SecretView>), Problem> {
    let webhook = api.store.webhook(&company, &id).await?.ok_or_else(not_found)?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(SecretView::new(&webhook, api.clock.now_ms()))))
}
