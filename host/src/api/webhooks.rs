//! Subscriptions: looking them up and removing them; every other call has a file of its own.

mod create;
mod fields;
mod list;
mod patch;
mod ping;
mod plugin_version;
mod pull;
mod rotate;
mod secret;
mod tls;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::ApiState;
use super::auth::{Authorized, WebhooksRead, WebhooksWrite};
use super::body::{self, BodyLimit};
use super::params::PathParams;
use super::problem::{Problem, ProblemKind};
use crate::domain::Invalid;
use crate::domain::policy::Policy;
use crate::domain::subscription::Subscription;
use crate::domain::webhook::Webhook;
use crate::outbound::sign;
use fields::FieldRules;
use view::WebhookView;

pub(super) use view::TransformView;

pub(super) use create::{create, subscribe};
pub(super) use fields::{
    ChangedSubscription, NewSubscription, SubscriptionFields, TransformFields, broken_transforms, transforms,
};
pub(super) use list::list;
pub(super) use patch::{edit, patch};
pub(super) use ping::ping;
pub(super) use plugin_version::resolve_transforms;
pub(super) use pull::{acknowledge, pull};
pub(super) use rotate::rotate;
pub(super) use secret::secret;

/// Makes a signing secret.
fn new_secret() -> Result<Arc<[u8]>, Problem> {
    sign::new_secret().map_err(|error| Problem::new(ProblemKind::Internal, error))
}

/// Returns what the rules of a webhook's fields depend on.
pub(super) fn field_rules(api: &ApiState) -> FieldRules<'_> {
    FieldRules { challenge_header: &api.challenge_header, guard: api.outbound.guard() }
}

/// Checks whether the target may be reached. It is checked again each time a connection to it is opened.
async fn check_target(api: &ApiState, company: &str, url: &str) -> Result<(), Problem> {
    let checked = api.outbound.check_target(company, url).await;
    checked.map(drop).map_err(|detail| Invalid::at("/target_url", detail).into())
}

/// `GET /webhooks/{id}`.
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksRead>,
    PathParams(id): PathParams<String>,
) -> Result<Json<WebhookView>, Problem> {
    Ok(Json(shown(&api, api.store.webhook(&company, &id).await?.ok_or_else(not_found)?).await))
}

/// `GET /webhooks/{id}/config`: the config alone, as it was given; of several transforms, an array of their configs.
pub(super) async fn config(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksRead>,
    PathParams(id): PathParams<String>,
) -> Result<Response, Problem> {
    let webhook = api.store.webhook(&company, &id).await?.ok_or_else(not_found)?;
    let text = if webhook.has_several_transforms() {
        let configs = webhook.chain.iter().filter_map(|transform| transform.config.text());
        format!("[{}]", configs.map(|text| &**text).collect::<Vec<_>>().join(","))
    } else {
        api.store.config_text(&webhook.config, &webhook.config_digest).await?.to_string()
    };
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// Shows a webhook with its health; without, if that cannot be read now: a change that is stored must not look as if it were
/// not.
async fn shown(api: &ApiState, webhook: Webhook) -> WebhookView {
    let (health, policies) = (api.store.webhook_health(&webhook).await, policies(api, &webhook.company).await);
    let view = match health {
        Ok(health) => WebhookView::with_health(webhook, health),
        Err(_) => webhook.into(),
    };
    view.with_policies(policies.as_deref())
}

/// Returns the policies of a company; `None` if they cannot be read now.
async fn policies(api: &ApiState, company: &str) -> Option<Arc<[Policy]>> {
    api.store.policies_in_force(company).await.ok()
}

/// Shows a webhook that was removed.
async fn removed(api: &ApiState, webhook: Webhook) -> WebhookView {
    let policies = policies(api, &webhook.company).await;
    WebhookView::from(webhook).with_policies(policies.as_deref())
}

pub(super) fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "this company has no such webhook")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnsubscribeRequest {
    #[serde(alias = "subscription_type")]
    r#type: String,
    label: Option<String>,
}

/// `DELETE /webhooks` with `{"type", "label"?}`: 200 with the removed webhook.
pub(super) async fn delete_by_type(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    request: Request<Body>,
) -> Result<Json<WebhookView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let UnsubscribeRequest { r#type, label } = body::json(&bytes)?;
    let subscription = Subscription { event_type: &r#type, label: label.as_deref() };
    let webhook = remove(&api, api.store.subscribed(&company, subscription).await?).await?;
    Ok(Json(removed(&api, webhook).await))
}

/// `DELETE /webhooks/{id}`: 200 with the removed webhook.
pub(super) async fn delete_by_id(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
) -> Result<Json<WebhookView>, Problem> {
    let webhook = remove(&api, api.store.webhook(&company, &id).await?).await?;
    Ok(Json(removed(&api, webhook).await))
}

/// Removes a webhook that was looked up, and returns it.
///
/// # Errors
/// 404 if it was not found, or is not there any more.
pub(super) async fn remove(api: &ApiState, found: Option<Webhook>) -> Result<Webhook, Problem> {
    let webhook = found.ok_or_else(not_found)?;
    if !api.engine.webhooks.remove(webhook.clone()).await? {
        return Err(not_found());
    }
    Ok(webhook)
}
