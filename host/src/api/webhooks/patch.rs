//! Changes some fields of a webhook.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;

use super::fields::WebhookFields;
use super::plugin_version::resolve_plugins;
use super::tls::check_scheme;
use super::view::WebhookView;
use super::{check_target, field_rules, not_found, shown};
use crate::api::auth::{Authorized, WebhooksWrite};
use crate::api::body::{self, BodyLimit};
use crate::api::params::PathParams;
use crate::api::problem::Problem;
use crate::api::{ApiState, MAX_CHANGE_RETRIES};
use crate::domain::plugin::{Digest, PluginRef};
use crate::domain::transform::Transform;
use crate::domain::webhook::Webhook;
use crate::store::{StoreError, WebhookKey};

/// What was checked is no longer what would be stored.
const CHANGING: &str = "other requests keep changing the webhook";

/// `PATCH /webhooks/{id}`: 200 with the changed webhook.
pub(in crate::api) async fn patch(
    State(api): State<Arc<ApiState>>,
    Authorized { company, .. }: Authorized<WebhooksWrite>,
    PathParams(id): PathParams<String>,
    request: Request<Body>,
) -> Result<Json<WebhookView>, Problem> {
    let bytes = body::read(&api.shares, &company, request, BodyLimit::Json).await?;
    let current = api.store.webhook(&company, &id).await?.ok_or_else(not_found)?;
    let check = |fields: WebhookFields| fields.check_change(&current, field_rules(&api));
    let fields = body::checked(&bytes, check)?;
    Ok(Json(shown(&api, edit(&api, current, fields).await?).await))
}

/// Changes a webhook, and lets its queue follow it. Returns the changed webhook.
///
/// # Errors
/// The target may not be reached, the plugin refuses the config, or the store refuses the change.
pub(in crate::api) async fn edit(api: &ApiState, before: Webhook, fields: WebhookFields) -> Result<Webhook, Problem> {
    if let Some(url) = fields.target_url() {
        check_target(api, &before.company, url).await?;
    }
    let stored = change(api, before.clone(), Arc::new(fields)).await?;
    api.engine.webhooks.edited(&stored, &before).await;
    Ok(stored)
}

/// Stores the change. If it concerns plugins or configs, the plugins check their configs first; the check is
/// repeated if the other of the two, or the active version, changed meanwhile.
async fn change(api: &ApiState, mut current: Webhook, fields: Arc<WebhookFields>) -> Result<Webhook, Problem> {
    let (company, id) = (current.company.clone(), current.id.clone());
    let mut retries = 0;
    loop {
        let mut changed = current.clone();
        fields.apply(&mut changed);
        check_scheme(&changed)?;
        let checked = match fields.concern_plugins() {
            true => Some(CheckedPlugins::new(api, current, &fields).await?),
            false => None,
        };
        let (fields, now) = (fields.clone(), api.clock.now_ms());
        let edit = move |webhook: &mut Webhook| {
            fields.apply(webhook);
            webhook.updated_at = now.max(webhook.updated_at);
            check_scheme(webhook).map_err(|_| StoreError::Changed(CHANGING.into()))?;
            checked.map_or(Ok(()), |checked| checked.settle(webhook))
        };
        match api.store.change_webhook(WebhookKey { company: &company, id: &id }, edit).await {
            Err(StoreError::Changed(_)) if retries < MAX_CHANGE_RETRIES => retries += 1,
            done => return done?.ok_or_else(not_found),
        }
        current = api.store.webhook(&company, &id).await?.ok_or_else(not_found)?;
    }
}

/// Plugins that have checked their configs, and the versions that did.
struct CheckedPlugins {
    /// The transforms as the webhook named them before the check, in its fields.
    requested: (Option<PluginRef>, Digest, Vec<Transform>),
    /// The same plugin, with a pin's prefix completed to the whole digest.
    resolved: Option<PluginRef>,
    version: Option<Digest>,
    /// The same, for several.
    chain: Vec<Transform>,
}

fn requested(webhook: &Webhook) -> (Option<PluginRef>, Digest, Vec<Transform>) {
    let unresolved = |transform: &Transform| Transform { digest: None, ..transform.clone() };
    let chain = webhook.chain.iter().map(unresolved).collect();
    (webhook.plugin.clone(), webhook.config_digest.clone(), chain)
}

impl CheckedPlugins {
    async fn new(api: &ApiState, mut webhook: Webhook, fields: &WebhookFields) -> Result<Self, Problem> {
        fields.apply(&mut webhook);
        webhook.plugin_digest = None;
        let requested = requested(&webhook);
        resolve_plugins(api, &mut webhook, fields.list_transforms()).await?;
        let Webhook { plugin: resolved, plugin_digest: version, chain, .. } = webhook;
        Ok(Self { requested, resolved, version, chain })
    }

    /// Puts the versions into `webhook`, if the check still applies to its plugins and configs.
    fn settle(self, webhook: &mut Webhook) -> Result<(), StoreError> {
        if requested(webhook) != self.requested {
            return Err(StoreError::Changed(CHANGING.into()));
        }
        webhook.plugin = self.resolved;
        webhook.plugin_digest = self.version;
        webhook.chain = self.chain;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(pin: Option<&str>) -> Webhook {
        let plugin = PluginRef { name: "mask".into(), digest_prefix: pin.map(Into::into) };
        Webhook { plugin: Some(plugin), ..Webhook::sample("acme", "wh_1") }
    }

    fn checked(webhook: &Webhook) -> CheckedPlugins {
        CheckedPlugins {
            requested: requested(webhook),
            resolved: Some(PluginRef { name: "mask".into(), digest_prefix: Some("whole".into()) }),
            version: Some(Digest::of(b"version")),
            chain: webhook.chain.clone(),
        }
    }

    #[test]
    fn a_check_settles_only_the_plugin_and_config_that_it_checked() {
        let mut same = webhook(Some("prefix"));
        checked(&webhook(Some("prefix"))).settle(&mut same).unwrap();
        assert_eq!(same.plugin.unwrap().digest_prefix.as_deref(), Some("whole"));
        assert_eq!(same.plugin_digest, Some(Digest::of(b"version")));
        let mut unpinned = webhook(None);
        assert!(checked(&webhook(Some("prefix"))).settle(&mut unpinned).is_err());
        let mut other_config = Webhook { config_digest: Digest::of(b"{}"), ..webhook(Some("prefix")) };
        assert!(checked(&webhook(Some("prefix"))).settle(&mut other_config).is_err());
        assert_eq!(other_config.plugin_digest, None);
    }
}
