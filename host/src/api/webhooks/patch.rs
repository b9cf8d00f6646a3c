//! Changing some fields of a webhook.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;

use super::fields::Fields;
use super::plugin::resolve_plugin;
use super::{WebhookView, check_target, missing};
use crate::api::auth::Caller;
use crate::api::body::{self, Parameters, Params, SMALL};
use crate::api::problem::Problem;
use crate::api::{Api, App, CompanyOnly, RETRIES};
use crate::domain::credential::{Access, Area};
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::webhook::Webhook;
use crate::store::StoreError;

/// `PATCH /webhooks/{id}`: 200 with the webhook as it then is.
pub(in crate::api) async fn patch(
    State(api): App,
    caller: Caller,
    Params(query): Params<CompanyOnly>,
    Parameters(id): Parameters<String>,
    request: Request<Body>,
) -> Result<Json<WebhookView>, Problem> {
    let company = caller.company(Area::Webhooks, Access::Write, query.company.as_deref())?;
    let bytes = body::of(request, SMALL).await?;
    let fields: Fields = body::json(&bytes)?;
    let current = api.store.webhook(&company, &id).await?.ok_or_else(missing)?;
    fields.check_change(&current.event_type, &api.challenge_header)?;
    if let Some(url) = fields.target_url() {
        check_target(&api, url).await?;
    }
    let stored = change(&api, current, Arc::new(fields)).await?;
    api.engine.webhooks.changed(&stored);
    Ok(Json(stored.into()))
}

/// Stores the change once the plugin has checked the config, where one of the two changes; again where the other one, or
/// the active version, changed in between.
async fn change(api: &Api, mut current: Webhook, fields: Arc<Fields>) -> Result<Webhook, Problem> {
    let (company, id) = (current.company.clone(), current.id.clone());
    let mut tries = 0;
    loop {
        let checked = if fields.asks_plugin() { Some(Checked::of(api, current, &fields).await?) } else { None };
        let (fields, now) = (fields.clone(), api.clock.now_ms());
        let edit = move |webhook: &mut Webhook| {
            fields.apply(webhook);
            webhook.updated_at = now.max(webhook.updated_at);
            checked.map_or(Ok(()), |checked| checked.settle(webhook))
        };
        match api.store.change_webhook((&company, &id), edit).await {
            Err(StoreError::Changed(_)) if tries < RETRIES => tries += 1,
            done => return done?.ok_or_else(missing),
        }
        current = api.store.webhook(&company, &id).await?.ok_or_else(missing)?;
    }
}

/// A plugin that was asked about a config, and the version that answered.
struct Checked {
    asked: Option<PluginRef>,
    config: Digest,
    plugin: Option<PluginRef>,
    version: Option<Digest>,
}

impl Checked {
    async fn of(api: &Api, mut webhook: Webhook, fields: &Fields) -> Result<Self, Problem> {
        fields.apply(&mut webhook);
        webhook.plugin_digest = None;
        let (asked, config) = (webhook.plugin.clone(), webhook.config_digest.clone());
        resolve_plugin(api, &mut webhook).await?;
        Ok(Self { asked, config, plugin: webhook.plugin, version: webhook.plugin_digest })
    }

    /// Puts the version into `webhook`, where that is still what was asked about.
    fn settle(self, webhook: &mut Webhook) -> Result<(), StoreError> {
        if (&webhook.plugin, &webhook.config_digest) != (&self.asked, &self.config) {
            return Err(StoreError::Changed("the webhook's plugin and config change all the time".into()));
        }
        webhook.plugin = self.plugin;
        webhook.plugin_digest = self.version;
        Ok(())
    }
}
