//! Subscribes to an event type, or to a pattern of types.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};

use super::fields::{NewFields, WebhookFields};
use super::plugin_version::resolve_plugins;
use super::tls::check_scheme;
use super::view::WebhookView;
use super::{check_target, field_rules, new_secret, policies, shown};
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::problem::Problem;
use crate::api::{ApiState, MAX_CHANGE_RETRIES};
use crate::domain::Invalid;
use crate::domain::webhook::{NewWebhook, Webhook, WebhookHealth};
use crate::store::{IfTaken, StoreError, StoredWebhook};

/// `POST /webhooks`: 201, or 200 if it overwrote a webhook.
pub(in crate::api) async fn create(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let new = body::checked(&bytes, |fields: WebhookFields| fields.check_new(field_rules(&api)))?;
    let if_taken = match new.fields.signing_secret() {
        Some(_) => IfTaken::OverwriteWithSecret,
        None => IfTaken::Overwrite,
    };
    let StoredWebhook { webhook, before } = subscribe(&api, company, new, if_taken).await?;
    if before.is_some() {
        return Ok((StatusCode::OK, Json(shown(&api, webhook).await)));
    }
    let secret = webhook.signing_secret.clone();
    let policies = policies(&api, &webhook.company).await;
    let view = WebhookView::with_health(webhook, WebhookHealth::default()).with_policies(policies.as_deref());
    Ok((StatusCode::CREATED, Json(view.with_secret(&secret))))
}

/// Stores a new webhook, and lets its queue follow it.
///
/// # Errors
/// The target may not be reached, the plugin refuses the config, or the store refuses the webhook: if there is one already, as
/// [`IfTaken::Refuse`] says, 422.
pub(in crate::api) async fn subscribe(
    api: &ApiState,
    company: String,
    NewFields { event_type, label, recipient, fields }: NewFields,
    if_taken: IfTaken,
) -> Result<StoredWebhook, Problem> {
    if let Some(url) = recipient.url() {
        check_target(api, &company, url).await?;
    }
    let now = api.clock.now_ms();
    let mut webhook = Webhook::new(NewWebhook {
        id: api.engine.ids.next("wh", now),
        company,
        event_type,
        recipient,
        signing_secret: new_secret()?,
        created_at: now,
    });
    webhook.label = label;
    fields.apply(&mut webhook);
    check_scheme(&webhook)?;
    let stored = store(api, webhook, fields.list_transforms(), if_taken).await?;
    match &stored.before {
        None => api.engine.webhooks.created(&stored.webhook).await,
        Some(before) => api.engine.webhooks.edited(&stored.webhook, before).await,
    }
    Ok(stored)
}

/// Stores the webhook once its plugins have checked their configs; repeats the check if another version became active
/// meanwhile.
async fn store(api: &ApiState, webhook: Webhook, is_list: bool, if_taken: IfTaken) -> Result<StoredWebhook, Problem> {
    let mut retries = 0;
    loop {
        let mut resolved = webhook.clone();
        resolve_plugins(api, &mut resolved, is_list).await?;
        match api.store.put_webhook(resolved, if_taken).await {
            Err(StoreError::Changed(_)) if retries < MAX_CHANGE_RETRIES => retries += 1,
            Err(StoreError::InUse(taken)) if if_taken == IfTaken::Refuse => {
                return Err(Invalid::at("/subscription_type", taken).into());
            }
            done => return Ok(done?),
        }
    }
}
