//! Subscriptions: looking them up and removing them here, all else in one file for each call.

mod create;
mod fields;
mod patch;
mod ping;
mod plugin;
mod rotate;

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::body::{self, Parameters, Params, SMALL};
use super::problem::{Kind, Problem};
use super::{Api, App, CompanyOnly};
use crate::domain::credential::{Access, Area};
use crate::domain::time::rfc3339;
use crate::domain::webhook::Webhook;
use crate::domain::{Invalid, headers};
use crate::outbound::sign;

pub(super) use create::create;
pub(super) use patch::patch;
pub(super) use ping::ping;
pub(super) use rotate::rotate;

/// Bytes of a signing secret (Standard Webhooks: 24 to 64).
const SECRET_BYTES: usize = 32;

#[derive(Serialize)]
struct PluginView {
    name: String,
    digest: Option<String>,
}

#[derive(Serialize)]
pub(super) struct WebhookView {
    id: String,
    company: String,
    r#type: String,
    target_url: String,
    challenge: Option<String>,
    name: Option<String>,
    enabled: bool,
    disabled_reason: Option<String>,
    plugin: Option<PluginView>,
    config: Option<Box<RawValue>>,
    on_error: &'static str,
    headers: BTreeMap<String, String>,
    max_in_flight: u32,
    rate_limit: Option<u32>,
    ordered: bool,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let digest = webhook.plugin_digest.map(|digest| digest.to_string());
        Self {
            id: webhook.id,
            company: webhook.company,
            r#type: webhook.event_type,
            target_url: webhook.target_url,
            challenge: webhook.challenge,
            name: webhook.name,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason,
            plugin: webhook.plugin.map(|plugin| PluginView { name: plugin.name, digest }),
            config: RawValue::from_string(webhook.config.to_string()).ok(),
            on_error: webhook.on_error.name(),
            headers: webhook.headers.into_iter().collect(),
            max_in_flight: webhook.max_in_flight,
            rate_limit: webhook.rate_limit,
            ordered: webhook.ordered,
            created_at: rfc3339(webhook.created_at),
            updated_at: rfc3339(webhook.updated_at),
            signing_secret: None,
        }
    }
}

impl WebhookView {
    /// With the secret: only in the answer that made it.
    fn with_secret(webhook: Webhook) -> Self {
        let secret = sign::show_secret(&webhook.signing_secret);
        Self { signing_secret: Some(secret), ..webhook.into() }
    }
}

/// A fresh signing secret.
fn new_secret() -> Result<[u8; SECRET_BYTES], Problem> {
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| Problem::new(Kind::Internal, "the machine has no random numbers to give"))?;
    Ok(secret)
}

/// Checks the headers that a webhook or an event asks for.
pub(super) fn check_headers(headers: &[(String, String)], challenge_header: &str) -> Result<(), Problem> {
    header_error(headers, challenge_header).map_or(Ok(()), |error| Err(error.into()))
}

/// The first of them that cannot be, with its pointer.
pub(super) fn header_error(headers: &[(String, String)], challenge_header: &str) -> Option<Invalid> {
    let (index, detail) = headers::check_all(headers, challenge_header).err()?;
    let name = index.and_then(|index| headers.get(index)).map(|(name, _)| body::escaped(name));
    Some(Invalid::at(name.map_or_else(|| "/headers".into(), |name| format!("/headers/{name}")), detail))
}

/// Judges the target now; it is judged again whenever it is dialled.
async fn check_target(api: &Api, url: &str) -> Result<(), Problem> {
    let judged = api.outbound.check_target(url).await;
    judged.map(drop).map_err(|detail| Invalid::at("/target_url", detail).into())
}

/// `GET /webhooks`: a bare array.
pub(super) async fn list(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
) -> Result<Json<Vec<WebhookView>>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Read, query.company.as_deref())?;
    Ok(Json(api.store.webhooks(&company).await?.into_iter().map(Into::into).collect()))
}

/// `GET /webhooks/{id}`.
pub(super) async fn one(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<Json<WebhookView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Read, query.company.as_deref())?;
    Ok(Json(api.store.webhook(&company, &id).await?.ok_or_else(missing)?.into()))
}

fn missing() -> Problem {
    Problem::new(Kind::NotFound, "this company has no such webhook")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    #[serde(alias = "subscription_type")]
    r#type: String,
}

/// `DELETE /webhooks` with `{"type"}`.
pub(super) async fn delete_by_type(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    request: Request<Body>,
) -> Result<Json<WebhookView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let unsubscribe: Unsubscribe = body::json(&bytes)?;
    let found = api.store.webhook_for(&company, &unsubscribe.r#type).await?;
    remove(&api, found.as_deref()).await
}

/// `DELETE /webhooks/{id}`.
pub(super) async fn delete_by_id(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
) -> Result<Json<WebhookView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    remove(&api, api.store.webhook(&company, &id).await?.as_ref()).await
}

async fn remove(api: &Api, found: Option<&Webhook>) -> Result<Json<WebhookView>, Problem> {
    let webhook = found.ok_or_else(missing)?;
    if !api.store.delete_webhook(webhook).await? {
        return Err(missing());
    }
    api.engine.webhooks.removed(webhook).await?;
    Ok(Json(webhook.clone().into()))
}
