//! Rotates a webhook's signing secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::Deserialize;

use super::view::WebhookView;
use super::{new_secret, not_found, shown};
use crate::api::ApiState;
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::params::PathParams;
use crate::api::problem::Problem;
use crate::config::duration;
use crate::domain::Invalid;
use crate::store::{Rotation, WebhookKey};

/// How long the previous secret signs too, by default.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time that the previous secret may sign too.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateRequest {
    overlap: Option<String>,
}

/// `POST /webhooks/{id}/secret/rotate`: 200 with the webhook and its new secret.
pub(in crate::api) async fn rotate(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<WebhookView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let parse = |RotateRequest { overlap }| match overlap.as_deref().map(parse_overlap) {
        None => Ok(DEFAULT_OVERLAP),
        Some(overlap) => overlap.map_err(|error| vec![error]),
    };
    let overlap = if bytes.is_empty() { DEFAULT_OVERLAP } else { body::checked(&bytes, parse)? };
    let now = api.clock.now_ms();
    let until = now.saturating_add(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
    let rotation = Rotation { secret: new_secret()?, now, until };
    let key = WebhookKey { company: &company, id: &id };
    let stored = api.store.rotate_secret(key, rotation).await?.ok_or_else(not_found)?;
    api.engine.webhooks.rotated(&stored).await;
    let secret = stored.signing_secret.clone();
    Ok(Json(shown(&api, stored).await.with_secret(&secret)))
}

fn parse_overlap(text: &str) -> Result<Duration, Invalid> {
    let overlap = duration(text).map_err(|detail| Invalid::at("/overlap", detail))?;
    if overlap > MAX_OVERLAP {
        return Err(Invalid::at("/overlap", format!("`{text}` is too long: from 0s to 30d")));
    }
    Ok(overlap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_at_most_30_days() {
        assert_eq!(parse_overlap("0s").unwrap(), Duration::ZERO);
        assert_eq!(parse_overlap("30d").unwrap(), MAX_OVERLAP);
        for bad in ["30d1s", "-1s", "soon", ""] {
            assert_eq!(parse_overlap(bad).unwrap_err().pointer, "/overlap", "{bad}");
        }
    }
}
