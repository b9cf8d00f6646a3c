//! Subscribing.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};

use super::fields::Fields;
use super::plugin::resolve_plugin;
use super::{WebhookView, check_target, new_secret};
use crate::api::auth::Caller;
use crate::api::body::{self, Params, SMALL};
use crate::api::problem::Problem;
use crate::api::{Api, App, CompanyOnly, RETRIES};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::Digest;
use crate::domain::webhook::{DEFAULT_MAX_IN_FLIGHT, OnError, Webhook};
use crate::store::StoreError;

/// `POST /webhooks`: 201, or 200 where it overwrote.
pub(in crate::api) async fn create(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    request: Request<Body>,
) -> Result<(StatusCode, Json<WebhookView>), Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let fields: Fields = body::json(&bytes)?;
    let (event_type, target_url) = fields.check_new(&api.challenge_header)?;
    check_target(&api, target_url).await?;
    let mut webhook = plain(&api, company, event_type)?;
    fields.apply(&mut webhook);
    let (created, stored) = store(&api, webhook).await?;
    api.engine.webhooks.changed(&stored);
    Ok(match created {
        true => (StatusCode::CREATED, Json(WebhookView::with_secret(stored))),
        false => (StatusCode::OK, Json(stored.into())),
    })
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

/// A webhook with every field at its default; it points nowhere yet.
fn plain(api: &Api, company: String, event_type: &str) -> Result<Webhook, Problem> {
    let now = api.clock.now_ms();
    Ok(Webhook {
        id: api.engine.ids.next("wh", now),
        company,
        event_type: event_type.to_owned(),
        target_url: String::new(),
        challenge: None,
        name: None,
        enabled: true,
        disabled_reason: None,
        plugin: None,
        plugin_digest: None,
        config: "null".into(),
        config_digest: Digest::of(b"null"),
        on_error: OnError::default(),
        headers: Vec::new(),
        max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        rate_limit: None,
        ordered: false,
        failing_since: None,
        proven: false,
        created_at: now,
        updated_at: now,
        signing_secret: Arc::from(new_secret()?),
        previous_secret: None,
    })
}
