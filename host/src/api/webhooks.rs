//! Subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::body::{self, Parameters, Params, SMALL};
use super::problem::{Kind, Problem};
use super::{Api, App, CompanyOnly, RETRIES};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::{Digest, PluginRef, is_standard, owner};
use crate::domain::time::rfc3339;
use crate::domain::webhook::{self, DEFAULT_MAX_IN_FLIGHT, MAX_MAX_IN_FLIGHT, OnError, Webhook};
use crate::domain::{Invalid, event, headers};
use crate::outbound::sign;
use crate::store::StoreError;

/// Most attempts per second that a rate limit may name.
const MAX_RATE: u32 = 100_000;
/// Most bytes of a webhook's name.
const MAX_NAME: usize = 256;
/// Bytes of a signing secret (Standard Webhooks: 24 to 64).
const SECRET_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    #[serde(alias = "subscription_type")]
    r#type: String,
    target_url: String,
    challenge: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
    plugin: Option<String>,
    config: Option<Box<RawValue>>,
    on_error: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    max_in_flight: Option<u32>,
    rate_limit: Option<u32>,
    ordered: Option<bool>,
}

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

/// `POST /webhooks`: 201, or 200 where it overwrote.
pub(super) async fn create(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let subscribe: Subscribe = body::json(&bytes)?;
    check_rules(&subscribe, &api.challenge_header)?;
    check_target(&api, &subscribe.target_url).await?;
    let webhook = build(&api, company, subscribe)?;
    let secret = sign::show_secret(&webhook.signing_secret);
    let (created, stored) = store(&api, webhook).await?;
    api.pipeline.webhook_changed(&stored);
    let mut view = WebhookView::from(stored);
    view.signing_secret = created.then_some(secret);
    Ok((if created { StatusCode::CREATED } else { StatusCode::OK }, Json(view)))
}

/// Stores it once its plugin has checked its config; again where another version became active in between.
async fn store(api: &Api, webhook: Webhook) -> Result<(bool, Webhook), Problem> {
    let mut tries = 0;
    loop {
        let mut resolved = webhook.clone();
        resolve_plugin(api, &mut resolved).await?;
        match api.store.put_webhook(resolved).await {
            Err(StoreError::Changed(_)) if tries < RETRIES => tries += 1,
            done => return Ok(done?),
        }
    }
}

fn check_rules(subscribe: &Subscribe, challenge_header: &str) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let mut rule = |pointer: &str, result: Result<(), String>| {
        errors.extend(result.err().map(|detail| Invalid::at(pointer, detail)));
    };
    rule("/type", event::check_type(&subscribe.r#type));
    rule("/challenge", subscribe.challenge.as_deref().map_or(Ok(()), webhook::check_challenge));
    rule(
        "/name",
        match &subscribe.name {
            Some(name) if name.len() > MAX_NAME => Err(format!("a name is at most {MAX_NAME} bytes")),
            _ => Ok(()),
        },
    );
    rule("/plugin", subscribe.plugin.as_deref().map_or(Ok(()), |text| PluginRef::parse(text).map(|_| ())));
    rule(
        "/on_error",
        match subscribe.on_error.as_deref() {
            Some(name) if OnError::named(name).is_none() => {
                Err(format!("`{name}` is not a policy; there are retry, send_original and drop"))
            }
            _ => Ok(()),
        },
    );
    rule("/max_in_flight", between(subscribe.max_in_flight, MAX_MAX_IN_FLIGHT));
    rule("/rate_limit", between(subscribe.rate_limit, MAX_RATE));
    let headers: Vec<_> = subscribe.headers.clone().unwrap_or_default().into_iter().collect();
    errors.extend(header_error(&headers, challenge_header));
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}

fn between(given: Option<u32>, most: u32) -> Result<(), String> {
    match given {
        Some(number) if !(1..=most).contains(&number) => Err(format!("from 1 to {most}")),
        _ => Ok(()),
    }
}

/// Checks the headers that a webhook or an event asks for.
pub(super) fn check_headers(headers: &[(String, String)], challenge_header: &str) -> Result<(), Problem> {
    header_error(headers, challenge_header).map_or(Ok(()), |error| Err(error.into()))
}

/// The first of them that cannot be, with its pointer.
pub(super) fn header_error(headers: &[(String, String)], challenge_header: &str) -> Option<Invalid> {
    let (index, detail) = headers::check_all(headers, challenge_header).err()?;
    let name = index.and_then(|index| headers.get(index)).map(|(name, _)| name.replace('~', "~0").replace('/', "~1"));
    Some(Invalid::at(name.map_or_else(|| "/headers".into(), |name| format!("/headers/{name}")), detail))
}

/// Judges the target now; it is judged again whenever it is dialled.
async fn check_target(api: &Api, url: &str) -> Result<(), Problem> {
    let judged = api.outbound.check_target(url).await;
    judged.map(drop).map_err(|detail| Invalid::at("/target_url", detail).into())
}

fn build(api: &Api, company: String, subscribe: Subscribe) -> Result<Webhook, Problem> {
    let now = api.clock.now_ms();
    let mut secret = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| Problem::new(Kind::Internal, "the machine has no random numbers to give"))?;
    let plugin = subscribe.plugin.as_deref().map(PluginRef::parse).transpose();
    let config: Arc<str> = subscribe.config.map_or_else(|| "null".into(), |raw| raw.get().into());
    Ok(Webhook {
        id: api.pipeline.ids().next("wh", now),
        company,
        event_type: subscribe.r#type,
        target_url: subscribe.target_url,
        challenge: subscribe.challenge,
        name: subscribe.name,
        enabled: subscribe.enabled.unwrap_or(true),
        disabled_reason: None,
        plugin: plugin.map_err(|detail| Invalid::at("/plugin", detail))?,
        plugin_digest: None,
        config_digest: Digest::of(config.as_bytes()),
        config,
        on_error: subscribe.on_error.as_deref().and_then(OnError::named).unwrap_or_default(),
        headers: subscribe.headers.unwrap_or_default().into_iter().collect(),
        max_in_flight: subscribe.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
        rate_limit: subscribe.rate_limit,
        ordered: subscribe.ordered.unwrap_or(false),
        failing_since: None,
        created_at: now,
        updated_at: now,
        signing_secret: Arc::from(secret),
    })
}

/// Finds the version that the webhook asks for and has it check the config.
async fn resolve_plugin(api: &Api, webhook: &mut Webhook) -> Result<(), Problem> {
    let Some(reference) = &mut webhook.plugin else {
        return Ok(());
    };
    let digest = match &mut reference.digest_prefix {
        None => active(api, &webhook.company, &reference.name).await?,
        Some(prefix) => {
            let digest = pinned(api, &webhook.company, &reference.name, prefix).await?;
            *prefix = digest.to_string();
            digest
        }
    };
    let owner = owner(&webhook.company, &reference.name);
    let plugin = api.pipeline.plugins().get(owner, &reference.name, &digest).await;
    let plugin = plugin.map_err(|detail| Invalid::at("/plugin", detail))?;
    let call = api.sandbox.check_config(&plugin, webhook.config.clone()).await;
    call.result.map_err(|failure| {
        Invalid::at("/config", format!("plugin `{}` refuses this config: {failure}", reference.name))
    })?;
    webhook.plugin_digest = Some(digest);
    Ok(())
}

async fn active(api: &Api, company: &str, name: &str) -> Result<Digest, Problem> {
    let detail = match api.store.plugin(company, name).await? {
        Some(plugin) => match plugin.active {
            Some(digest) => return Ok(digest),
            None => format!(
                "plugin `{name}` has no active version: make one active with POST /plugins/{name}/activate, or pin one \
                 as `{name}@digest`"
            ),
        },
        None if is_standard(name) => format!("there is no `{name}` among the transforms that ship with Posthaste"),
        None => format!("there is no plugin `{name}`; upload it with PUT /plugins/{name}"),
    };
    Err(Invalid::at("/plugin", detail).into())
}

async fn pinned(api: &Api, company: &str, name: &str, prefix: &str) -> Result<Digest, Problem> {
    let found = api.store.versions_by_prefix(company, name, prefix).await?;
    match found.as_slice() {
        [one] => Ok(one.digest.clone()),
        [] => Err(Invalid::at("/plugin", format!("plugin `{name}` has no version `{prefix}`")).into()),
        _ => {
            Err(Invalid::at("/plugin", format!("`{prefix}` names several versions of `{name}`; give more digits"))
                .into())
        }
    }
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
    api.pipeline.webhook_removed(webhook).await?;
    Ok(Json(webhook.clone().into()))
}
