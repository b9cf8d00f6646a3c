//! A new signing secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::Deserialize;

use super::{WebhookView, missing, new_secret};
use crate::api::auth::Caller;
use crate::api::body::{self, Parameters, Params, SMALL};
use crate::api::problem::Problem;
use crate::api::{App, CompanyOnly};
use crate::config::duration;
use crate::domain::Invalid;
use crate::domain::credential::{Access, Area};
use crate::store::Rotation;

/// How long the previous secret signs too, where the request does not say.
const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest that it may.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Rotate {
    overlap: Option<String>,
}

/// `POST /webhooks/{id}/secret/rotate`: 200 with the webhook and its new secret.
pub(in crate::api) async fn rotate(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
    request: Request<Body>,
) -> Result<Json<WebhookView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let rotate: Rotate = if bytes.is_empty() { Rotate::default() } else { body::json(&bytes)? };
    let overlap = rotate.overlap.as_deref().map_or(Ok(OVERLAP), overlap)?;
    let now = api.clock.now_ms();
    let until = now.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
    let rotation = Rotation { secret: Arc::from(new_secret()?), now, until };
    let stored = api.store.rotate_secret((&company, &id), rotation).await?.ok_or_else(missing)?;
    Ok(Json(WebhookView::with_secret(stored)))
}

fn overlap(text: &str) -> Result<Duration, Invalid> {
    let overlap = duration(text).map_err(|detail| Invalid::at("/overlap", detail))?;
    if overlap > MAX_OVERLAP {
        return Err(Invalid::at("/overlap", format!("`{text}` is too long: from 0s to 30d")));
    }
    Ok(overlap)
}
