//! Lists a company's webhooks.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::LINK;
use axum::{Extension, Json};
use serde::Deserialize;

use super::policies;
use super::view::WebhookView;
use crate::api::ApiState;
use crate::api::answers::HeldAnswer;
use crate::api::auth::{Authorized, WebhooksRead};
use crate::api::pagination::{cursor, page_limit};
use crate::api::params::NamesCompany;
use crate::api::problem::Problem;
use crate::domain::id;
use crate::domain::webhook::Webhook;
use crate::store::WebhookPage;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct WebhookListQuery {
    company: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl NamesCompany for WebhookListQuery {
    fn company(&self) -> Option<&str> {
        self.company.as_deref()
    }
}

/// `GET /webhooks`: a bare array, newest first. It has all webhooks, unless `limit` is given or they have over 4 MiB: then a
/// `Link` with the relation `next` leads to the others (RFC 8288).
pub(in crate::api) async fn list(
    State(api): State<Arc<ApiState>>,
    Authorized { company, query, .. }: Authorized<WebhooksRead, WebhookListQuery>,
) -> Result<(Option<Extension<HeldAnswer>>, HeaderMap, Json<Vec<WebhookView>>), Problem> {
    let limit = query.limit.as_deref().map(|limit| page_limit(Some(limit))).transpose()?;
    let after = cursor(query.cursor.as_deref(), |text| id::is_id_of("wh", text).then(|| text.to_owned()))?;
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let WebhookPage { webhooks, bytes, next, .. } = api.store.webhooks(&company, after.as_deref(), limit).await?;
    // They are in memory while their health is read.
    let held = HeldAnswer::take(&api, &company, bytes)?.map(Extension);
    let mut headers = HeaderMap::new();
    if let Some(cursor) = next {
        let limit = query.limit.map_or_else(String::new, |limit| format!("&limit={limit}"));
        let link = format!("</api/v1/webhooks?cursor={cursor}{limit}>; rel=\"next\"");
        // An id and a number are valid in a header.
        headers.extend(link.parse().ok().map(|link| (LINK, link)));
    }
    let (Some(newest), Some(oldest)) = (webhooks.first(), webhooks.last()) else {
        return Ok((held, headers, Json(Vec::new())));
    };
    let mut health = api.store.health_of_webhooks(&company, &oldest.id, &newest.id).await?;
    let policies = policies(&api, &company).await;
    let view = |webhook: Webhook| {
        let health = health.remove(&webhook.id).unwrap_or_default();
        WebhookView::with_health(webhook, health).with_policies(policies.as_deref())
    };
    Ok((held, headers, Json(webhooks.into_iter().map(view).collect())))
}
